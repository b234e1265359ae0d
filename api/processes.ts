import { randomBytes } from 'node:crypto';
import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { Context } from 'hono';
import { findStoredReply, storeReply, takeKeyForJob } from '../db/idempotency.ts';
import { insertJob, insertJobs, type JobRecord, jobRecord, type NewJob } from '../db/jobs.ts';
import { inTenant } from '../db/tenancy.ts';
import type { Confirmation } from '../domain/confirmation.ts';
import { DomainError, ERRORS, type ErrorCode, type Refusal } from '../domain/errors.ts';
import type { JobKind } from '../domain/job.ts';
import { jobIdAt, timeOfId } from '../domain/job-id.ts';
import type { Order } from '../domain/order.ts';
import { RESERVED_UPDATE_ID } from '../workflows/ids.ts';
import { type Reservation, reservedUpdate } from '../workflows/messages/job.ts';
import { jobStart, jobStartOptions } from '../workflows/messages/start.ts';
import type { ApiEnv } from './dependencies.ts';
import type { IdempotencyClaim } from './middleware/idempotency.ts';
import { isServiceFailure } from './workflow-service.ts';

/** What somebody asks for, with every reference resolved to an id. */
export interface ProcessRequest {
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  readonly sampleId: string;
  readonly priority: number;
  readonly order: Order;
  readonly confirmation: Confirmation | null;
}

/** The early answer of a process. */
export type ProcessAnswer =
  | { readonly outcome: 'accepted'; readonly job: JobRecord; readonly reservation: Accepted | null }
  | { readonly outcome: 'refused'; readonly jobId: string | null; readonly refusal: Refusal };

type Accepted = Extract<Reservation, { outcome: 'accepted' }>;

/** Starts under way at a time for one request's list. */
const AT_ONCE = 8;

/**
 * Starts one process for each request and waits for the early answers: writes all jobs (and takes the
 * Idempotency-Key) in one transaction, then starts each workflow together with its first update. From the commit on
 * the jobs will be done: what could not be started here is started by the sweep, so that an answer that did not come
 * in time is no failure.
 * @param resolve one function a process, called again only when nothing was committed before; what it throws as a
 *   DomainError refuses that process alone
 * @throws DomainError IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_BUSY
 */
export async function startProcesses(
  c: Context<ApiEnv>,
  resolve: readonly (() => Promise<ProcessRequest>)[],
): Promise<ProcessAnswer[]> {
  const { actor, idempotency } = c.var;
  if (idempotency?.jobId) return attach(c, idempotency, idempotency.jobId, resolve.length);
  const moment = Date.now();
  const seed = seedOf(c, idempotency);
  const outcomes = await inTurns(resolve, (one, index) =>
    orRefusal(async () => newJob(c, jobIdAt(moment, seed, index), await one())),
  );
  const jobs = outcomes.filter((outcome): outcome is NewJob => 'workflowId' in outcome);
  if (jobs.length > 0) {
    try {
      await register(c, jobs);
    } catch (error) {
      if (!(error instanceof DomainError && error.code === 'IDEMPOTENCY_KEY_BUSY' && idempotency))
        throw error;
      // The same request came twice at once and the other was faster: answer with its process.
      const first = await findStoredReply(
        c.var.dependencies.db,
        actor.tenantId,
        actor.userId,
        idempotency.keyHash,
      );
      if (!first?.jobId) throw error;
      return attach(c, idempotency, first.jobId, resolve.length);
    }
  }
  return inTurns(outcomes, (outcome) =>
    'workflowId' in outcome
      ? earlyAnswer(c, outcome)
      : Promise.resolve({ outcome: 'refused' as const, jobId: null, refusal: outcome }),
  );
}

/** Writes the jobs, and takes the request's key if it has one. @throws DomainError IDEMPOTENCY_KEY_BUSY */
async function register(c: Context<ApiEnv>, jobs: readonly NewJob[]): Promise<void> {
  const { actor, dependencies, idempotency } = c.var;
  const { tenantId, userId } = actor;
  if (!idempotency) return insertJobs(dependencies.db, tenantId, jobs);
  await inTenant(dependencies.db, tenantId, async (tx) => {
    for (const job of jobs) await insertJob(tx, job);
    // One id is enough: with the key, the others follow from it.
    if (jobs[0]) await takeKeyForJob(tx, { tenantId, actorId: userId, ...idempotency }, jobs[0].id);
  });
}

/** Answers for processes that an earlier request with the same key has started. */
function attach(
  c: Context<ApiEnv>,
  key: IdempotencyClaim,
  oneId: string,
  count: number,
): Promise<ProcessAnswer[]> {
  const { actor, dependencies } = c.var;
  const seed = seedOf(c, key);
  return inTurns(Array.from({ length: count }), async (_, index) => {
    const job = await jobRecord(dependencies.db, actor.tenantId, jobIdAt(timeOfId(oneId), seed, index));
    if (job) return earlyAnswer(c, job);
    const detail = 'The first request with this Idempotency-Key was refused here; ask with a new key.';
    return { outcome: 'refused', jobId: null, refusal: { code: 'CONFLICT', detail } };
  });
}

/** Keys belong to one actor: two people may use the same key in the same millisecond. */
function seedOf(c: Context<ApiEnv>, key: IdempotencyClaim | null): Buffer {
  return key ? Buffer.concat([key.keyHash, Buffer.from(c.var.actor.userId)]) : randomBytes(32);
}

function newJob(c: Context<ApiEnv>, id: string, request: ProcessRequest): NewJob {
  const job = {
    id,
    kind: request.kind,
    mode: request.mode,
    sampleId: request.sampleId,
    priority: request.priority,
    actor: c.var.actor,
    input: { order: request.order, confirmation: request.confirmation },
  };
  return { ...job, workflowId: jobStart(job).workflowId, robotId: null };
}

/** Starts the workflow of a job that is written, or joins it, and waits for its first decision. */
async function earlyAnswer(c: Context<ApiEnv>, job: NewJob): Promise<ProcessAnswer> {
  const { dependencies, limits, actor } = c.var;
  const reservation = await reserve(dependencies.temporal, job, limits.earlyAnswerMs);
  if (reservation instanceof Error) {
    dependencies.log.warn({ requestId: c.var.requestId, jobId: job.id, err: reservation }, 'no early answer');
  }
  const answered = reservation instanceof Error ? null : reservation;
  const outcome = answered?.outcome ?? 'late';
  dependencies.metrics.processes.inc({ kind: job.kind, outcome });
  if (answered?.outcome === 'refused') {
    return { outcome: 'refused', jobId: job.id, refusal: answered.refusal };
  }
  const written = await jobRecord(dependencies.db, actor.tenantId, job.id);
  if (!written) throw new Error(`job ${job.id} was written and is not there`);
  return { outcome: 'accepted', job: written, reservation: answered };
}

/** @returns the first decision, or why there is none yet */
async function reserve(client: Client, job: NewJob, deadlineMs: number): Promise<Reservation | Error> {
  const startWorkflowOperation = new WithStartWorkflowOperation(
    jobStart(job).workflowName,
    jobStartOptions(job),
  );
  try {
    return await client.withDeadline(Date.now() + deadlineMs, () =>
      client.workflow.executeUpdateWithStart(reservedUpdate, {
        updateId: RESERVED_UPDATE_ID,
        startWorkflowOperation,
      }),
    );
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError) return { outcome: 'refused', refusal: refusalOf(error) };
    const isLate = error instanceof WorkflowExecutionAlreadyStartedError || isServiceFailure(error);
    if (isLate && error instanceof Error) return error;
    throw error;
  }
}

/**
 * What a failed update says: the code of a domain error when it carries one.
 * @throws the failure itself when it is none of ours
 */
export function refusalOf(failed: WorkflowUpdateFailedError): Refusal {
  const { cause } = failed;
  if (cause instanceof ApplicationFailure && cause.type && isErrorCode(cause.type)) {
    return { code: cause.type, detail: cause.message };
  }
  throw failed;
}

function isErrorCode(type: string): type is ErrorCode {
  return Object.hasOwn(ERRORS, type);
}

/** What came of it, or why it was refused. @throws what is no refusal of the caller's doing */
export async function orRefusal<T>(make: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await make();
  } catch (error) {
    if (error instanceof DomainError && ERRORS[error.code].status < 500) return error.toRefusal();
    throw error;
  }
}

/** As Promise.all over `map`, with at most `AT_ONCE` under way; order is kept. */
export async function inTurns<T, R>(
  items: readonly T[],
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += AT_ONCE) {
    const group = items.slice(start, start + AT_ONCE);
    results.push(...(await Promise.all(group.map((item, offset) => work(item, start + offset)))));
  }
  return results;
}

/**
 * Stores the final reply of a process under the request's key, so that a repeat gets it word for word. An answer that
 * did not come in time is not final and not stored: the repeat asks the process again.
 */
export async function rememberAnswer(
  c: Context<ApiEnv>,
  answer: { status: number; reply: unknown; location: string | null },
): Promise<void> {
  const { actor, dependencies, idempotency } = c.var;
  if (!idempotency) return;
  const { keyHash, bodyHash } = idempotency;
  const key = { tenantId: actor.tenantId, actorId: actor.userId, keyHash, bodyHash };
  try {
    await inTenant(dependencies.db, actor.tenantId, (tx) => storeReply(tx, { ...key, ...answer }));
  } catch (error) {
    // Stored by a request that came at the same time and was given the same answer.
    if (!(error instanceof DomainError && error.code === 'IDEMPOTENCY_KEY_BUSY')) throw error;
  }
}
