import { type SearchAttributePair, WorkflowNotFoundError } from '@temporalio/common';
import type { SignalDefinition } from '@temporalio/workflow';
import type { Database } from '../db/connection.ts';
import { handRequestOver } from '../db/hand-over.ts';
import { commandRobot } from '../db/robot-commands.ts';
import { inTenant } from '../db/tenancy.ts';
import { ASKED, robotStateOf } from '../db/turn-requests.ts';
import { clearHold, endTurn, grantTurnTo, waitingAtGate, workflowAt, writeRobotQueue } from '../db/turns.ts';
import { DomainError } from '../domain/errors.ts';
import type { TurnKey, TurnRequest } from '../domain/turns.ts';
import {
  faultSignal,
  gateFreeSignal,
  ROBOT,
  type RobotInput,
  releaseTurnSignal,
  requestTurnSignal,
  robotReleasedSignal,
  turnGrantedSignal,
} from '../workflows/messages/robot.ts';
import { robotStartOptions } from '../workflows/messages/start.ts';
import type { RobotActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';
import { runStep } from './step.ts';

/** What is needed of a workflow client: start the entity where it is not there, and tell it or a job something. */
interface Signaller {
  getHandle(workflowId: string): {
    signal<Told>(signal: SignalDefinition<[Told]>, told: Told): Promise<void>;
  };
  signalWithStart(
    workflow: string,
    options: {
      readonly workflowId: string;
      readonly taskQueue: string;
      readonly workflowTaskTimeout: '2 seconds';
      readonly workflowIdConflictPolicy: 'USE_EXISTING';
      readonly typedSearchAttributes: SearchAttributePair[];
      readonly staticSummary: string;
      args: [RobotInput];
      signal: string;
      signalArgs: [unknown];
    },
  ): Promise<unknown>;
}

export interface RobotDependencies {
  readonly db: Database;
  readonly workflows: Signaller;
}

/** Turns at a robot: what the database says of them, and signals to the robot's entity. */
export function createRobotActivities({ db, workflows }: RobotDependencies): RobotActivities {
  /** An entity that is not there yet is started by whoever has something to tell it. */
  async function tell<Told>(
    tenantId: string,
    robotId: string,
    signal: SignalDefinition<[Told]>,
    told: Told,
  ): Promise<void> {
    await workflows.signalWithStart(ROBOT, {
      ...robotStartOptions(tenantId, robotId),
      signal: signal.name,
      signalArgs: [told],
    });
  }

  /** A job whose workflow is gone cannot be told: it is reconciled. */
  async function tellJob<Told>(
    workflowId: string,
    signal: SignalDefinition<[Told]>,
    told: Told,
  ): Promise<void> {
    try {
      await workflows.getHandle(workflowId).signal(signal, told);
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
  }

  return {
    requestTurn: (ref, robotId, priority, turn, revision = 0) =>
      failingAsWorkflowsExpect(async () => {
        const asked: TurnRequest = {
          jobId: ref.jobId,
          turn,
          workflowId: ref.workflowId,
          priority,
          requestedAt: Date.now(),
          revision,
        };
        const { robotId: at, ...request } = await runStep<TurnRequest & { readonly robotId: string }>(
          db,
          ref,
          { params: ['requestTurn', robotId, priority, turn, revision] },
          async (_change, job) => {
            // Who asks again may have been handed to another robot meanwhile, and not have heard of it.
            const at = revision > 0 && job.robotId !== null ? job.robotId : robotId;
            return {
              result: { ...asked, robotId: at },
              mark: { robotId: at },
              outcome: ASKED,
              detail: { robotId: at, turn },
            };
          },
        );
        await tell(ref.actor.tenantId, at, requestTurnSignal, request);
      }),

    releaseTurn: (ref, robotId, turn) =>
      failingAsWorkflowsExpect(async () => {
        const { tenantId } = ref.actor;
        const { robots, atGate } = await runStep(
          db,
          ref,
          { params: ['releaseTurn', robotId, turn], evenWhenOver: true },
          async ({ tx }, job) => {
            // The job may have been handed to another robot, and not have heard of it.
            const robots = [...new Set([robotId, job.robotId ?? robotId])];
            let ended = false;
            const atGate: string[] = [];
            for (const each of robots) {
              if (!(await endTurn(tx, tenantId, each, ref.jobId))) continue;
              ended = true;
              atGate.push(...(await waitingAtGate(tx, tenantId, each)));
            }
            return { result: { robots, atGate }, mark: {}, outcome: 'done', detail: { robotId, ended } };
          },
        );
        for (const each of robots) await tell(tenantId, each, releaseTurnSignal, { jobId: ref.jobId, turn });
        for (const each of atGate) await tell(tenantId, each, gateFreeSignal, {});
      }),

    reportFault: (ref, robotId, faultId, cleared) =>
      failingAsWorkflowsExpect(async () => {
        const { tenantId } = ref.actor;
        await runStep(
          db,
          ref,
          { params: ['reportFault', robotId, faultId, cleared], evenWhenOver: true },
          async (change) => {
            if (cleared) await clearHold(change.tx, tenantId, faultId);
            return { result: null, mark: {}, outcome: 'told', detail: { robotId, faultId, cleared } };
          },
        );
        await tell(tenantId, robotId, faultSignal, { faultId, cleared });
      }),

    grantTurn: (tenantId, robotId, request, waiting) =>
      failingAsWorkflowsExpect(async () => {
        const grant = await inTenant(db, tenantId, async (tx) => {
          const outcome = await grantTurnTo(tx, tenantId, robotId, request);
          if (outcome.outcome === 'granted') await writeRobotQueue(tx, tenantId, robotId, waiting);
          return outcome;
        });
        switch (grant.outcome) {
          case 'granted':
            await tellJob(request.workflowId, turnGrantedSignal, {
              turn: request.turn,
              fence: grant.fence,
              robotId,
            });
            return { fence: grant.fence };
          case 'withdrawn':
            return null;
          case 'not_now':
            return { standing: { dispatch: grant.dispatch, heldFaults: grant.heldFaults } };
          case 'moved':
            // It may have been changed since it was handed over: the robot that has it is told.
            await tell(tenantId, grant.robotId, requestTurnSignal, request);
            return null;
          case 'taken':
            return { taken: true };
        }
      }),

    loadRobot: (tenantId, robotId) => failingAsWorkflowsExpect(() => robotStateOf(db, tenantId, robotId)),

    commandRobot: (robotId, key, order) =>
      failingAsWorkflowsExpect(async () => {
        try {
          const standing = await commandRobot(db, robotId, key, order);
          if (order.command === 'clear') {
            const workflowId = await workflowAt(db, order.actor.tenantId, robotId);
            if (workflowId !== null)
              await tellJob(workflowId, robotReleasedSignal, { faultId: order.faultId });
          }
          return { answer: { outcome: 'accepted' }, standing };
        } catch (error) {
          if (!(error instanceof DomainError) || error.code === 'INTERNAL') throw error;
          return { answer: { outcome: 'refused', refusal: error.toRefusal() }, standing: null };
        }
      }),

    handQueueOver: (tenantId, robotId, requests) =>
      failingAsWorkflowsExpect(async () => {
        const moved: TurnKey[] = [];
        for (const request of requests) {
          const heir = await inTenant(db, tenantId, (tx) => handRequestOver(tx, tenantId, robotId, request));
          if (heir === null) continue;
          await tell(tenantId, heir, requestTurnSignal, request);
          moved.push({ jobId: request.jobId, turn: request.turn });
        }
        return moved;
      }),

    projectRobot: (tenantId, robotId, queue) =>
      failingAsWorkflowsExpect(() =>
        inTenant(db, tenantId, (tx) => writeRobotQueue(tx, tenantId, robotId, queue)),
      ),
  };
}
