/** States of a job, stable for clients. */
export const JOB_STATES = [
  'QUEUED',
  'RUNNING',
  'AWAITING_PERSON',
  'AWAITING_OPERATOR',
  'SAFETY_HOLD',
  'COMPENSATING',
  'COMPLETED',
  'COMPLETED_WITH_DEVIATION',
  'REFUSED',
  'FAILED',
  'CANCELLED',
] as const;
export type JobState = (typeof JOB_STATES)[number];

export const FINAL_JOB_STATES = [
  'COMPLETED',
  'COMPLETED_WITH_DEVIATION',
  'REFUSED',
  'FAILED',
  'CANCELLED',
] as const;
export type FinalJobState = (typeof FINAL_JOB_STATES)[number];

export const JOB_KINDS = ['placement', 'retrieval', 'move'] as const;
export type JobKind = (typeof JOB_KINDS)[number];

/** Phases of the sagas: what `job.phase` may say. */
export const PHASES = [
  'REQUESTED',
  'RESERVED',
  'AWAITING_CONFIRMATION',
  'AWAITING_TURN',
  'PICKING',
  'IN_CARRIER',
  'VERIFYING',
  'PLACING',
  'TRANSFERRING',
  'AT_HANDOFF',
  'PUTTING_BACK',
  'RETURNING',
  'RECONCILING',
  'OUTCOME_UNKNOWN',
  'COMPENSATION_STUCK',
  'SAMPLE_LOST',
  'SETTLED',
] as const;
export type Phase = (typeof PHASES)[number];

/** True when nothing more will happen to a job in this state. */
export function isFinal(state: JobState): state is FinalJobState {
  return (FINAL_JOB_STATES as readonly JobState[]).includes(state);
}
