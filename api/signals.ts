import { WorkflowNotFoundError } from '@temporalio/client';
import type { SignalDefinition } from '@temporalio/common';
import type { Context } from 'hono';
import type { ApiEnv } from './dependencies.ts';
import { bindKey, nobodyAnswers, refuseFinished, requireJob, translate } from './updates.ts';

/**
 * Leaves a signal for a job's workflow: the workflow service keeps it, also while no worker runs, and nobody waits for what
 * comes of it.
 * @throws DomainError NOT_FOUND; JOB_FINISHED; NOT_WAITING when no workflow runs for the job at this moment;
 *   WORKFLOWS_UNAVAILABLE when it was not kept in time; IDEMPOTENCY_KEY_REUSED
 */
export async function signalJob<A>(
  c: Context<ApiEnv>,
  jobId: string,
  signal: SignalDefinition<[A]>,
  content: A,
): Promise<void> {
  const job = await requireJob(c, jobId);
  refuseFinished(job);
  await bindKey(c, jobId);
  const { temporal } = c.var.dependencies;
  try {
    await temporal.withDeadline(Date.now() + c.var.limits.answerMs, () =>
      temporal.workflow.getHandle(job.workflowId).signal(signal, content),
    );
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw translate(error);
    refuseFinished(await requireJob(c, jobId));
    throw nobodyAnswers(jobId, error);
  }
}
