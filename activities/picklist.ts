import { Context } from '@temporalio/activity';
import { withChange } from '../db/change.ts';
import type { Database } from '../db/connection.ts';
import { type JobRecord, jobRecord } from '../db/jobs.ts';
import { advance, isDue, markStarted, markTold, requestCancel, untoldJobs } from '../db/picklist-progress.ts';
import { type PicklistCancel, type PicklistRecord, picklistRecord } from '../db/picklists.ts';
import { inTenant } from '../db/tenancy.ts';
import { DomainError } from '../domain/errors.ts';
import { workflowIds } from '../workflows/ids.ts';
import type { PicklistActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';

/** The workflows of the tubes' jobs, as the API reaches them; see job-workflows.ts. */
export interface JobWorkflows {
  /** Starts the job's workflow, or joins it, and waits for its first decision; one that has closed is left alone. */
  start(job: JobRecord): Promise<void>;
  /** Tells the workflow that the job is to be cancelled, once however often it is told under this id. */
  cancel(workflowId: string, wish: PicklistCancel, id: string): Promise<void>;
}

export interface PicklistDependencies {
  readonly db: Database;
  readonly jobs: JobWorkflows;
  /** how long a tube waits for a full hand-off before it is refused, in ms; 30 minutes when left out */
  readonly handoffPatienceMs?: number;
  /** after how long `awaitTubes` returns with nothing to do, in ms; 10 minutes when left out */
  readonly longestWaitMs?: number;
}

const HANDOFF_PATIENCE_MS = 30 * 60_000;
const LONGEST_WAIT_MS = 10 * 60_000;
/** How often a list that waits is looked at, in ms: one query. */
const LOOK_EVERY_MS = 500;

/** Steps of picklists, over their rows and the workflows of their tubes' jobs. */
export function createPicklistActivities(deps: PicklistDependencies): PicklistActivities {
  const { db, jobs, handoffPatienceMs = HANDOFF_PATIENCE_MS, longestWaitMs = LONGEST_WAIT_MS } = deps;

  async function requirePicklist(tenantId: string, picklistId: string): Promise<PicklistRecord> {
    const list = await picklistRecord(db, tenantId, picklistId);
    if (list === null) throw new DomainError('NOT_FOUND', `There is no picklist ${picklistId}.`);
    return list;
  }

  return {
    advancePicklist: (tenantId, picklistId) =>
      failingAsWorkflowsExpect(async () => {
        const list = await requirePicklist(tenantId, picklistId);
        return withChange(db, { actor: list.actor, reason: list.kind }, (change) =>
          advance(change, list, handoffPatienceMs, (kind, tenant, jobId) => workflowIds[kind](tenant, jobId)),
        );
      }),

    cancelPicklist: (tenantId, picklistId, by, reason) =>
      failingAsWorkflowsExpect(async () => {
        const list = await requirePicklist(tenantId, picklistId);
        const actor = by ?? list.actor;
        try {
          await withChange(
            db,
            { actor, reason: list.kind, ...(reason !== null && { comment: reason }) },
            (change) => requestCancel(change, list, { actor, reason }),
          );
          return { outcome: 'accepted' };
        } catch (error) {
          if (!(error instanceof DomainError) || error.code !== 'JOB_FINISHED') throw error;
          return { outcome: 'refused', refusal: error.toRefusal() };
        }
      }),

    startTube: (tenantId, _picklistId, jobId) =>
      failingAsWorkflowsExpect(async () => {
        const job = await jobRecord(db, tenantId, jobId);
        if (job === null) throw new DomainError('NOT_FOUND', `There is no job ${jobId}.`);
        await jobs.start(job);
        await inTenant(db, tenantId, (tx) => markStarted(tx, tenantId, jobId));
      }),

    stopTubes: (tenantId, picklistId) =>
      failingAsWorkflowsExpect(async () => {
        const list = await requirePicklist(tenantId, picklistId);
        const wish = list.cancel;
        if (wish === null) throw new DomainError('CONFLICT', `Picklist ${picklistId} is not cancelled.`);
        const untold = await untoldJobs(db, tenantId, picklistId);
        await Promise.all(
          untold.map(async ({ jobId, workflowId }) => {
            await jobs.cancel(workflowId, wish, `cancel/${picklistId}`);
            await inTenant(db, tenantId, (tx) => markTold(tx, tenantId, jobId));
          }),
        );
      }),

    awaitTubes: (tenantId, picklistId) =>
      failingAsWorkflowsExpect(async () => {
        const context = Context.current();
        const end = Date.now() + longestWaitMs;
        while (!(await isDue(db, tenantId, picklistId, handoffPatienceMs))) {
          if (Date.now() >= end) return;
          context.heartbeat();
          await context.sleep(LOOK_EVERY_MS);
        }
      }),
  };
}
