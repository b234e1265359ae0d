import type { Actor } from '../../domain/actor.ts';

export const RECONCILE_JOB = 'reconcileJob';

/** Answers for a job whose own workflow was terminated or lost: parks it, asks, settles. Started by the sweep. */
export interface ReconcileInput {
  readonly jobId: string;
  readonly actor: Actor;
  /** why it was started, for people */
  readonly cause: 'workflow_gone' | 'workflow_terminated' | 'workflow_reset' | 'workflow_failed';
}
