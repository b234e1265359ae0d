import { Context } from '@temporalio/activity';
import { sql } from 'kysely';
import type { Database } from '../db/connection.ts';
import { acceptMotion, type Motion, readMotion } from '../db/motion.ts';
import { read } from '../db/tenancy.ts';
import type { MotionReading } from '../domain/controller.ts';
import { DomainError } from '../domain/errors.ts';
import type { MotionActivities, MotionOutcome, StepRef } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';
import type { MotionWatch } from './motion-watch.ts';
import { requireHeld } from './scans.ts';
import { markOf, robotDevice, runStep } from './step.ts';

export interface MotionDependencies {
  readonly db: Database;
  readonly watch: MotionWatch;
}

/** How often the journal is read although nothing was announced, and a heartbeat sent, in ms. */
const LOOK_EVERY_MS = 1_000;

/** Orders to robots, by way of the journal of motion. */
export function createMotionActivities({ db, watch }: MotionDependencies): MotionActivities {
  return {
    submitMotion: (ref, order) =>
      runStep(db, ref, { params: ['submitMotion', order], device: robotDevice }, async (change, job) => {
        const { operation, robotId, fence, positionId, toPositionId } = order;
        // A tube is not taken up before it is sure that it can be put down.
        if (operation === 'pick' || operation === 'transfer') await requireHeld(change.tx, job);
        const commandId = `${ref.workflowId}/${ref.step}/${order.attempt}`;
        const motion = await acceptMotion(change.tx, {
          tenantId: ref.actor.tenantId,
          jobId: job.id,
          robotId,
          fence,
          commandId,
          operation,
          positionId,
          ...(toPositionId !== undefined && { toPositionId }),
        });
        return {
          result: { commandId },
          mark: markOf(order.next),
          outcome: 'ordered',
          detail: {
            operation,
            positionId,
            ...(toPositionId !== undefined && { toPositionId }),
            number: motion.number,
            fence,
          },
        };
      }),

    awaitMotion: (ref, commandId) =>
      failingAsWorkflowsExpect(async () => {
        const { tenantId } = ref.actor;
        const context = Context.current();
        // A heartbeat is a write of the server's: most motions end before one is due.
        for (let looks = 1; ; looks += 1) {
          const announced = watch.next(commandId, LOOK_EVERY_MS);
          try {
            const motion = await readMotion(db, tenantId, commandId);
            if (!motion) throw new DomainError('NOT_FOUND', `The journal knows no command ${commandId}.`);
            const settled = settledOf(motion);
            if (settled)
              return outcomeOf(
                motion.number,
                settled,
                await barcodeMatches(db, ref, motion, settled.reading),
              );
            if (looks > 1) context.heartbeat(motion.state);
            await Promise.race([announced.settled, context.cancelled]);
          } finally {
            announced.stop();
          }
        }
      }),
  };
}

interface Settled {
  readonly state: MotionOutcome['state'];
  readonly reading: MotionReading;
}

const NOTHING_SEEN: MotionReading = {
  errorCode: null,
  carrier: null,
  source: null,
  target: null,
  barcode: null,
  stop: null,
  detail: 'The gateway reported nothing.',
};

function settledOf(motion: Motion): Settled | null {
  if (motion.state === 'ACCEPTED' || motion.state === 'SENT') return null;
  return { state: motion.state, reading: motion.reading ?? NOTHING_SEEN };
}

/** Compared in the database: what a robot reads does not enter histories. Null when nothing was read. */
async function barcodeMatches(
  db: Database,
  ref: StepRef,
  motion: Motion,
  reading: MotionReading,
): Promise<boolean | null> {
  if (reading.barcode === null || reading.barcode === '') return null;
  const { tenantId } = ref.actor;
  const query = sql<{ matches: boolean }>`
    SELECT s.barcode = ${reading.barcode} AS matches FROM job j
    JOIN sample s ON s.tenant_id = j.tenant_id AND s.id = j.sample_id
    WHERE j.tenant_id = ${tenantId} AND j.id = ${motion.jobId}`.compile(db.kysely);
  const [row] = await read(db, tenantId, query);
  return row?.matches ?? null;
}

function outcomeOf(number: number, { state, reading }: Settled, matches: boolean | null): MotionOutcome {
  const { errorCode, carrier, source, target, stop, detail } = reading;
  return { state, number, errorCode, carrier, source, target, barcodeMatches: matches, stop, detail };
}
