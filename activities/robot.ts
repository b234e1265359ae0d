import { ApplicationFailure, type SearchAttributePair, WorkflowNotFoundError } from '@temporalio/common';
import type { SignalDefinition } from '@temporalio/workflow';
import type { Database } from '../db/connection.ts';
import { commandRobot } from '../db/robot-commands.ts';
import { inTenant } from '../db/tenancy.ts';
import { ASKED, robotStateOf } from '../db/turn-requests.ts';
import { clearHold, endTurn, grantTurnTo, writeRobotQueue } from '../db/turns.ts';
import { DomainError } from '../domain/errors.ts';
import type { TurnRequest } from '../domain/turns.ts';
import {
  faultSignal,
  ROBOT,
  type RobotInput,
  releaseTurnSignal,
  requestTurnSignal,
  type TurnGranted,
  turnGrantedSignal,
} from '../workflows/messages/robot.ts';
import { robotStartOptions } from '../workflows/messages/start.ts';
import type { RobotActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';
import { runStep } from './step.ts';

/** What is needed of a workflow client: start the entity where it is not there, and tell it or a job something. */
interface Signaller {
  getHandle(workflowId: string): {
    signal(signal: SignalDefinition<[TurnGranted]>, granted: TurnGranted): Promise<void>;
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

/** How long the entity waits before it asks again for a turn that the database says is another's, in ms. */
const ASK_AGAIN_MS = 500;

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

  async function tellJob({ workflowId, turn }: TurnRequest, fence: number): Promise<void> {
    try {
      await workflows.getHandle(workflowId).signal(turnGrantedSignal, { turn, fence });
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
        const request = await runStep<TurnRequest>(
          db,
          ref,
          { params: ['requestTurn', robotId, priority, turn, revision] },
          async () => ({ result: asked, mark: { robotId }, outcome: ASKED, detail: { robotId, turn } }),
        );
        await tell(ref.actor.tenantId, robotId, requestTurnSignal, request);
      }),

    releaseTurn: (ref, robotId, turn) =>
      failingAsWorkflowsExpect(async () => {
        const { tenantId } = ref.actor;
        await runStep(
          db,
          ref,
          { params: ['releaseTurn', robotId, turn], evenWhenOver: true },
          async (change) => {
            const ended = await endTurn(change.tx, tenantId, robotId, ref.jobId);
            return { result: { ended }, mark: {}, outcome: 'done', detail: { robotId, ended } };
          },
        );
        await tell(tenantId, robotId, releaseTurnSignal, { jobId: ref.jobId, turn });
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
            await tellJob(request, grant.fence);
            return { fence: grant.fence };
          case 'withdrawn':
            return null;
          case 'not_now':
            return { standing: { dispatch: grant.dispatch, heldFaults: grant.heldFaults } };
          case 'taken':
            // Only after the entity was lost: the turn ends when that job releases it or is reconciled, not by time.
            throw ApplicationFailure.create({
              type: 'TURN_TAKEN',
              message: 'Another job has the turn',
              details: [{ code: 'ROBOT_UNAVAILABLE', detail: `Job ${grant.jobId} has the turn.` }],
              category: 'BENIGN',
              nextRetryDelay: ASK_AGAIN_MS,
            });
        }
      }),

    loadRobot: (tenantId, robotId) => failingAsWorkflowsExpect(() => robotStateOf(db, tenantId, robotId)),

    commandRobot: (robotId, key, order) =>
      failingAsWorkflowsExpect(async () => {
        try {
          return { answer: { outcome: 'accepted' }, standing: await commandRobot(db, robotId, key, order) };
        } catch (error) {
          if (!(error instanceof DomainError) || error.code === 'INTERNAL') throw error;
          return { answer: { outcome: 'refused', refusal: error.toRefusal() }, standing: null };
        }
      }),

    projectRobot: (tenantId, robotId, queue) =>
      failingAsWorkflowsExpect(() =>
        inTenant(db, tenantId, (tx) => writeRobotQueue(tx, tenantId, robotId, queue)),
      ),
  };
}
