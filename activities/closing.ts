import { clearAlarmsOfJob } from '../db/alarms.ts';
import type { Change } from '../db/change.ts';
import { dropSample } from '../db/custody.ts';
import { exposureDeviation, judgeStillOut } from '../db/exposure.ts';
import { releasePositions } from '../db/handoff.ts';
import type { JobRecord } from '../db/jobs.ts';
import { placesInDoubt } from '../db/places.ts';
import type { JobMark } from '../db/steps.ts';
import type { FinalJobState } from '../domain/job.ts';

/** What the row of a job that is over says. */
type Closed = JobMark & {
  readonly state: FinalJobState;
  readonly result: { readonly detail: string };
};

/** Lets go of what a job holds: its positions but those in doubt, and its sample. @returns how many of both */
export async function release(change: Change, job: JobRecord): Promise<number> {
  const { tenantId } = job.actor;
  await judgeStillOut(change, tenantId, job.sampleId, job.id);
  const doubtful = await placesInDoubt(change.tx, tenantId, job.id, job.sampleId);
  const released = await releasePositions(change.tx, tenantId, job.id, doubtful);
  const hadSample = await dropSample(change.tx, tenantId, job.sampleId, job.id);
  return released + (hadSample ? 1 : 0);
}

/**
 * Ends a job in the transaction of its last step: releases, clears its alarms, and says how it ended. What would be
 * completed is so with a deviation when the tube was outside its cold for too long.
 */
export async function closeJob(
  change: Change,
  job: JobRecord,
  state: FinalJobState,
  detail: string,
): Promise<Closed> {
  const { tenantId } = job.actor;
  await release(change, job);
  await clearAlarmsOfJob(change, tenantId, job.id);
  const phase = isLost(job) ? 'SAMPLE_LOST' : 'SETTLED';
  const closed = { phase, question: null, faultId: null } as const;
  const exceeded =
    state === 'COMPLETED' || state === 'COMPLETED_WITH_DEVIATION'
      ? await exposureDeviation(change.tx, tenantId, job.sampleId, job.id)
      : null;
  return exceeded === null
    ? { ...closed, state, result: { detail } }
    : { ...closed, state: 'COMPLETED_WITH_DEVIATION', result: { detail: `${detail} ${exceeded}` } };
}

/** The last answer of an operator was that nobody finds the tube. */
function isLost({ result }: JobRecord): boolean {
  const deviation: unknown = result?.deviation;
  return (
    typeof deviation === 'object' &&
    deviation !== null &&
    'answer' in deviation &&
    deviation.answer === 'not_found'
  );
}
