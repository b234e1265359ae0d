import {
  type Client,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowExecutionStatusName,
  WorkflowNotFoundError,
} from '@temporalio/client';
import type { Database } from '../db/connection.ts';
import { isJobLive, type JobRecord, quietJobs, unstartedJobs } from '../db/jobs.ts';
import { freeLapsedLeases } from '../db/places.ts';
import { freeExpiredReservations } from '../db/reservations.ts';
import { lastAnswer } from '../db/steps.ts';
import { inTenant } from '../db/tenancy.ts';
import type { Phase } from '../domain/job.ts';
import { CONTROL_QUEUE, workflowIds } from '../workflows/ids.ts';
import { type Decision, decideUpdate } from '../workflows/messages/job.ts';
import { RECONCILE_JOB, type ReconcileInput } from '../workflows/messages/reconcile.ts';
import { jobStart, jobStartOptions } from '../workflows/messages/start.ts';
import type { JobLooks } from './job-looks.ts';

/** Where the sweep says what it passed over. */
export interface SweepLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
}

export interface SweepDependencies {
  readonly db: Database;
  readonly client: Client;
  readonly log: SweepLog;
  /** which jobs need no look now; one for all tenants, kept from round to round */
  readonly looks: JobLooks;
  /** age from which a job that nothing has started is started here, in ms */
  readonly unstartedMs: number;
  /** time without a write after which a job's workflow is looked for, in ms */
  readonly quietMs: number;
  /** how long a call to Temporal may take, in ms; 2 s when left out */
  readonly callMs?: number;
}

/** What one look at a tenant's jobs did. */
export interface SweepReport {
  readonly started: number;
  readonly reconciled: number;
  /** answers of people given again to workflows that had lost them */
  readonly answered: number;
  readonly freed: number;
  /** jobs that could not be looked at, each told in the log */
  readonly failed: number;
}

/** The phases in which a job has asked. */
const ASKED_IN: ReadonlySet<Phase> = new Set(['OUTCOME_UNKNOWN', 'COMPENSATION_STUCK']);
/** Jobs looked at, at a time. */
const AT_ONCE = 8;
const CALL_MS = 2_000;

/** Sweeps one tenant after the other; one that fails does not keep the next from its turn. */
export async function sweepTenants(
  deps: SweepDependencies,
  tenantIds: readonly string[],
  ending?: AbortSignal,
): Promise<void> {
  for (const tenant of tenantIds) {
    if (ending?.aborted) return;
    try {
      const report = await sweepTenant(deps, tenant);
      if (report.started + report.reconciled + report.answered + report.freed > 0)
        deps.log.info({ tenant, ...report }, 'swept');
    } catch (error) {
      deps.log.warn(
        { err: error, tenant },
        'a tenant could not be swept: the next round looks again, the tenants after it do not wait for that',
      );
    }
  }
  deps.looks.forgetPast();
}

/**
 * Looks after what no workflow looks after: starts jobs that were written and never started, hands jobs whose workflow is
 * gone to reconcileJob, gives a person's answer again that a workflow lost, frees lapsed leases of jobs that are over. Repeating it, or running it twice at a time, is safe.
 * A job that cannot be looked at, because Temporal is away or for a reason of its own, is counted and left as it is:
 * nothing is concluded from silence.
 * @throws what the database throws when it is away
 */
export async function sweepTenant(deps: SweepDependencies, tenantId: string): Promise<SweepReport> {
  const counts = { started: 0, reconciled: 0, answered: 0, settled: 0, failed: 0 };
  const look = async (
    page: (afterId: string | null) => Promise<JobRecord[]>,
    at: (job: JobRecord) => Promise<Look>,
  ) => {
    for (let jobs = await page(null); jobs.length > 0; jobs = await page(jobs.at(-1)?.id ?? null)) {
      const due = jobs.filter((job) => deps.looks.isDue(job));
      await each(due, async (job) => {
        counts[await lookAt(deps, job, at)] += 1;
      });
    }
  };
  await look(
    (afterId) => unstartedJobs(deps.db, tenantId, deps.unstartedMs, afterId),
    (job) => startAgain(deps, job),
  );
  await look(
    (afterId) => quietJobs(deps.db, tenantId, deps.quietMs, afterId),
    async (job) => {
      if (await reconcileIfAbandoned(deps, job)) return 'reconciled';
      return (await answerAgain(deps, job)) ? 'answered' : 'settled';
    },
  );
  const freed = await inTenant(
    deps.db,
    tenantId,
    async (tx) => (await freeLapsedLeases(tx, tenantId)) + (await freeExpiredReservations(tx, tenantId)),
  );
  const { started, reconciled, answered, failed } = counts;
  return { started, reconciled, answered, freed, failed };
}

/** What came of looking at one job; settled: there was nothing to do. */
type Look = 'started' | 'reconciled' | 'answered' | 'settled';

async function lookAt(
  deps: SweepDependencies,
  job: JobRecord,
  at: (job: JobRecord) => Promise<Look>,
): Promise<Look | 'failed'> {
  const { callMs = CALL_MS } = deps;
  try {
    const look = await deps.client.withDeadline(Date.now() + callMs, () => at(job));
    deps.looks.note(job, 'seen');
    return look;
  } catch (error) {
    deps.looks.note(job, 'unseen');
    deps.log.warn(
      { err: error, tenant: job.actor.tenantId, job: job.id },
      'a job could not be looked at: it stays as it is and is looked at again, the jobs after it do not wait for that',
    );
    return 'failed';
  }
}

/** The same start as the API's: a workflow that is just starting is joined. */
async function startAgain(deps: SweepDependencies, job: JobRecord): Promise<Look> {
  try {
    await deps.client.workflow.start(jobStart(job).workflowName, jobStartOptions(job));
    return 'started';
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    // It ran and closed without its first step.
    return (await reconcileIfAbandoned(deps, job)) ? 'reconciled' : 'settled';
  }
}

async function reconcileIfAbandoned(deps: SweepDependencies, job: JobRecord): Promise<boolean> {
  const { status, isReset } = await describe(deps.client, job.workflowId);
  const cause = isReset && status === 'RUNNING' ? 'workflow_reset' : causeOf(status);
  if (cause === null) return false;
  // What it did after the point it was reset to stands, and it does not know: it may wait for an answer that was given.
  if (cause === 'workflow_reset')
    await deps.client.workflow.getHandle(job.workflowId).terminate('reset from outside');
  const { tenantId } = job.actor;
  // The job's last step commits before its workflow closes: one that is still open now has lost its workflow.
  if (!(await isJobLive(deps.db, tenantId, job.id, job.workflowId))) return false;
  const input: ReconcileInput = { jobId: job.id, actor: job.actor, cause };
  await deps.client.workflow.start(RECONCILE_JOB, {
    workflowId: workflowIds.reconcile(tenantId, job.id),
    args: [input],
    taskQueue: CONTROL_QUEUE,
    // One that runs although the job was restored knows another history of it, and a question nobody can answer any more.
    workflowIdConflictPolicy:
      job.workflowId === workflowIds.restored(tenantId, job.id) ? 'TERMINATE_EXISTING' : 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    workflowTaskTimeout: '2 seconds',
    staticSummary: `takes over job ${job.id}: ${cause}`,
  });
  return true;
}

/**
 * An answer stands in the record, and the job's workflow may wait for it still: its worker died before it could say that it
 * had it, and whoever answered gave up. Given again it is the same answer; a workflow that goes on by itself refuses it.
 */
async function answerAgain(deps: SweepDependencies, job: JobRecord): Promise<boolean> {
  const isAnswered = job.state === 'RUNNING' && job.faultId === null && ASKED_IN.has(job.phase);
  const decision = isAnswered ? await lastAnswer(deps.db, job.actor.tenantId, job.id) : null;
  if (decision === null) return false;
  const answer = await deps.client.workflow.getHandle(job.workflowId).executeUpdate(decideUpdate, {
    args: [decision as unknown as Decision],
    updateId: `again-${String(decision.faultId)}`,
  });
  return answer.outcome === 'accepted';
}

type Status = WorkflowExecutionStatusName | 'NOT_FOUND';

/** How a workflow stands, by its latest run. @throws what the client throws when Temporal is away */
export async function statusOf(client: Client, workflowId: string): Promise<Status> {
  return (await describe(client, workflowId)).status;
}

/** @returns as well whether the latest run is not the first: of a job's workflow, that only a reset makes */
async function describe(client: Client, workflowId: string): Promise<{ status: Status; isReset: boolean }> {
  try {
    const { status, runId, raw } = await client.workflow.getHandle(workflowId).describe();
    const first = raw.workflowExecutionInfo?.firstRunId ?? '';
    return { status: status.name, isReset: first !== '' && first !== runId };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return { status: 'NOT_FOUND', isReset: false };
    throw error;
  }
}

/** Why a job needs somebody else to answer for it; null while its workflow runs, or nobody can tell. */
function causeOf(status: Status): ReconcileInput['cause'] | null {
  switch (status) {
    case 'NOT_FOUND':
      return 'workflow_gone';
    case 'TERMINATED':
    case 'CANCELLED':
    case 'TIMED_OUT':
      return 'workflow_terminated';
    case 'FAILED':
    case 'COMPLETED':
      return 'workflow_failed';
    default:
      return null;
  }
}

/** Runs `work` over the items with at most AT_ONCE under way: a slow one holds up its own place alone. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async () => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
}
