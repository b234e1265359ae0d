import {
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import type { UpdateDefinition, Workflow } from '@temporalio/common';
import type { Context } from 'hono';
import { takeKeyForJob } from '../db/idempotency.ts';
import { type JobRecord, jobById } from '../db/jobs.ts';
import { inTenant } from '../db/tenancy.ts';
import { DomainError } from '../domain/errors.ts';
import { type FinalJobState, isFinal } from '../domain/job.ts';
import type { Answer } from '../workflows/messages/job.ts';
import { RUN_PICKLIST } from '../workflows/messages/picklist.ts';
import { ROBOT } from '../workflows/messages/robot.ts';
import { picklistStartOptions, robotStartOptions } from '../workflows/messages/start.ts';
import type { ApiEnv } from './dependencies.ts';
import { refusalOf } from './processes.ts';
import { isServiceFailure } from './workflow-service.ts';

/**
 * Names a message to a workflow: one sent again with its Idempotency-Key is the same message. Without a key every
 * request is a message of its own, since a scan that was refused may be right a minute later.
 */
function updateIdOf(c: Context<ApiEnv>, name: string): string {
  const { idempotency, actor } = c.var;
  if (!idempotency) return `${name}/${crypto.randomUUID()}`;
  const { keyHash, bodyHash } = idempotency;
  return `${name}/${actor.userId}/${keyHash.toString('base64url')}/${bodyHash.toString('base64url')}`;
}

/**
 * Binds the request's Idempotency-Key to this request before its message goes out, so that the key is good for no other,
 * whatever comes of it; a repeat sends the same message again, which the workflow answers once.
 * @throws DomainError IDEMPOTENCY_KEY_REUSED
 */
export async function bindKey(c: Context<ApiEnv>, jobId: string): Promise<void> {
  const { actor, dependencies, idempotency } = c.var;
  if (!idempotency || idempotency.jobId !== null) return;
  const key = { tenantId: actor.tenantId, actorId: actor.userId, ...idempotency };
  try {
    await inTenant(dependencies.db, actor.tenantId, (tx) => takeKeyForJob(tx, key, jobId));
  } catch (error) {
    // The same request came at the same moment: both send the same message.
    if (!(error instanceof DomainError && error.code === 'IDEMPOTENCY_KEY_BUSY')) throw error;
  }
}

/** @throws DomainError NOT_FOUND */
export async function requireJob(c: Context<ApiEnv>, id: string) {
  const { actor, dependencies } = c.var;
  const job = await jobById(dependencies.db, actor.tenantId, id);
  if (!job) throw new DomainError('NOT_FOUND', `There is no job ${id}.`);
  return job;
}

/**
 * Tells a job's workflow something and waits for its answer.
 * @param wanted the end that the message asks for: a job that ends so before the answer is there has done what was asked
 * @throws DomainError with the workflow's refusal; JOB_FINISHED; NOT_WAITING when no workflow runs for the job at this
 *   moment; WORKFLOWS_UNAVAILABLE when no answer came in time; IDEMPOTENCY_KEY_REUSED
 */
export async function tellJob<A>(
  c: Context<ApiEnv>,
  jobId: string,
  message: UpdateDefinition<Answer, [A]>,
  content: A,
  wanted: FinalJobState | null = null,
): Promise<void> {
  const job = await requireJob(c, jobId);
  // What was asked with this key before is still answered by a workflow that has ended since.
  if (!c.var.idempotency?.jobId) refuseFinished(job);
  await bindKey(c, jobId);
  const { temporal } = c.var.dependencies;
  try {
    const answer = await temporal.withDeadline(Date.now() + c.var.limits.answerMs, () =>
      temporal.workflow
        .getHandle(job.workflowId)
        .executeUpdate(message, { args: [content], updateId: updateIdOf(c, message.name) }),
    );
    requireAccepted(answer);
  } catch (error) {
    const isGone = error instanceof WorkflowNotFoundError || isEndOfWorkflow(error);
    // The end of the job may have taken the message, or its answer, with it.
    if (
      isGone ||
      isServiceFailure(error) ||
      (error instanceof DomainError && error.code === 'JOB_FINISHED')
    ) {
      const now = await requireJob(c, jobId);
      if (now.state === wanted) return;
      refuseFinished(now);
    }
    throw isGone ? nobodyAnswers(jobId, error) : translate(error);
  }
}

/** @throws DomainError JOB_FINISHED */
export function refuseFinished(job: JobRecord): void {
  if (!isFinal(job.state)) return;
  throw new DomainError('JOB_FINISHED', `Job ${job.id} is over: it ended as ${job.state}.`, {
    facts: { state: job.state },
  });
}

/** The refusal where a live job has no workflow at this moment. */
export function nobodyAnswers(jobId: string, cause: unknown): DomainError {
  return new DomainError(
    'NOT_WAITING',
    `No workflow answers for job ${jobId} at this moment; it will be taken up again, and ask an operator if need be.`,
    { cause },
  );
}

/** The workflow ended before it could answer. */
function isEndOfWorkflow(error: unknown): boolean {
  return error instanceof WorkflowUpdateFailedError && !carriesRefusal(error);
}

function carriesRefusal(error: WorkflowUpdateFailedError): boolean {
  try {
    refusalOf(error);
    return true;
  } catch {
    return false; // refusalOf throws what it does not know
  }
}

function requireAccepted(answer: Answer): void {
  if (answer.outcome === 'accepted') return;
  const { code, detail, errors, facts } = answer.refusal;
  throw new DomainError(code, detail, { ...(errors && { errors }), ...(facts && { facts }) });
}

/** What the workflow service failed with, in the words of the API; anything else as it is. */
export function translate(error: unknown): unknown {
  if (error instanceof WorkflowUpdateFailedError && carriesRefusal(error)) {
    const { code, detail } = refusalOf(error);
    return new DomainError(code, detail, { cause: error });
  }
  if (isServiceFailure(error)) {
    return new DomainError(
      'WORKFLOWS_UNAVAILABLE',
      'The workflow service did not answer in time; whether it took this is shown by the job, robot or picklist.',
      { cause: error },
    );
  }
  return error;
}

/**
 * Tells a robot's entity something, starting it when nobody has asked it for anything yet.
 * @throws DomainError with its refusal, WORKFLOWS_UNAVAILABLE
 */
export function tellRobot<A>(
  c: Context<ApiEnv>,
  robotId: string,
  message: UpdateDefinition<Answer, [A]>,
  content: A,
): Promise<void> {
  const options = robotStartOptions(c.var.actor.tenantId, robotId);
  return tellStarted(c, new WithStartWorkflowOperation(ROBOT, options), message, content);
}

/**
 * Tells a picklist's workflow something, starting it when it was lost.
 * @throws DomainError with its refusal, WORKFLOWS_UNAVAILABLE
 */
export function tellPicklist<A>(
  c: Context<ApiEnv>,
  picklistId: string,
  message: UpdateDefinition<Answer, [A]>,
  content: A,
): Promise<void> {
  const options = picklistStartOptions(c.var.actor.tenantId, picklistId);
  return tellStarted(c, new WithStartWorkflowOperation(RUN_PICKLIST, options), message, content);
}

async function tellStarted<A, W extends Workflow>(
  c: Context<ApiEnv>,
  startWorkflowOperation: WithStartWorkflowOperation<W>,
  message: UpdateDefinition<Answer, [A]>,
  content: A,
): Promise<void> {
  const { temporal } = c.var.dependencies;
  try {
    const answer = await temporal.withDeadline(Date.now() + c.var.limits.answerMs, () =>
      temporal.workflow.executeUpdateWithStart(message, {
        args: [content],
        updateId: updateIdOf(c, message.name),
        startWorkflowOperation,
      }),
    );
    requireAccepted(answer);
  } catch (error) {
    throw translate(error);
  }
}
