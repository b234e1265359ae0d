import { type Client, ScheduleAlreadyRunning, ScheduleNotFoundError } from '@temporalio/client';
import type { Database } from '../db/connection.ts';
import { hasActiveSchedules } from '../db/schedules.ts';
import { CONTROL_QUEUE, workflowIds } from '../workflows/ids.ts';
import { RUN_DUE, type RunDueInput } from '../workflows/messages/schedule.ts';
import type { SweepLog } from './job-sweep.ts';

export interface DueScheduleDependencies {
  readonly db: Database;
  readonly client: Client;
  readonly log: SweepLog;
  /** false: automation is switched off, nothing planned begins */
  readonly isOn: boolean;
  /** how often what is due is looked for, in ms; 30 s when left out */
  readonly scanEveryMs?: number;
  /** how often a Temporal Schedule that was there is looked at again, in ms; a minute when left out */
  readonly lookEveryMs?: number;
}

const SCAN_EVERY_MS = 30_000;
const LOOK_EVERY_MS = 60_000;
/** How long a call to Temporal may take, in ms. */
const CALL_MS = 2_000;

/**
 * The bootstrap of the Temporal Schedules that scan for due jobs: one for each tenant that has something planned, none for
 * the others, whose scans would only fill the history. It may be repeated, and run twice at a time.
 */
export class DueSchedules {
  readonly #deps: DueScheduleDependencies;
  /** when each tenant's was last seen as it should be, in ms of the clock; null: seen to be absent */
  readonly #seen = new Map<string, number | null>();

  constructor(deps: DueScheduleDependencies) {
    this.#deps = deps;
  }

  /** One tenant after the other; one that fails does not keep the next from its turn. */
  async ensure(tenantIds: readonly string[], ending?: AbortSignal): Promise<void> {
    const { client, log } = this.#deps;
    for (const tenant of tenantIds) {
      if (ending?.aborted) return;
      try {
        await client.withDeadline(Date.now() + CALL_MS, () => this.#ensureFor(tenant));
      } catch (error) {
        this.#seen.delete(tenant);
        log.warn(
          { err: error, tenant },
          'whether planned jobs are scanned for was not seen: the next round looks again',
        );
      }
    }
  }

  async #ensureFor(tenantId: string): Promise<void> {
    const { db, isOn, lookEveryMs = LOOK_EVERY_MS } = this.#deps;
    const seen = this.#seen.get(tenantId);
    if (isOn && (await hasActiveSchedules(db, tenantId))) {
      if (typeof seen === 'number' && performance.now() - seen < lookEveryMs) return;
      await this.#create(tenantId);
      this.#seen.set(tenantId, performance.now());
    } else if (seen !== null) {
      await this.#remove(tenantId);
      this.#seen.set(tenantId, null);
    }
  }

  async #create(tenantId: string): Promise<void> {
    const { client, log } = this.#deps;
    const wanted = this.#wanted(tenantId);
    try {
      await client.schedule.create(wanted);
      log.info({ tenant: tenantId }, 'planned jobs are scanned for');
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      const handle = client.schedule.getHandle(wanted.scheduleId);
      const { state, spec } = await handle.describe();
      const every = spec.intervals?.map((interval) => interval.every);
      if (!state.paused && every?.length === 1 && every[0] === wanted.spec.intervals[0].every) return;
      // Whoever wants a pause pauses the record, with a reason: in Temporal it would be one in silence.
      await handle.update((found) => ({ ...wanted, state: { ...found.state, paused: false } }));
      log.warn(
        { tenant: tenantId },
        'the scan for planned jobs was changed in Temporal: it is as it should be',
      );
    }
  }

  async #remove(tenantId: string): Promise<void> {
    try {
      await this.#deps.client.schedule.getHandle(workflowIds.due(tenantId)).delete();
    } catch (error) {
      if (!(error instanceof ScheduleNotFoundError)) throw error;
    }
  }

  #wanted(tenantId: string) {
    const { scanEveryMs = SCAN_EVERY_MS } = this.#deps;
    const input: RunDueInput = { tenantId };
    return {
      scheduleId: workflowIds.due(tenantId),
      spec: { intervals: [{ every: scanEveryMs }] as [{ every: number }] },
      action: {
        type: 'startWorkflow',
        workflowType: RUN_DUE,
        workflowId: workflowIds.due(tenantId),
        args: [input],
        taskQueue: CONTROL_QUEUE,
        workflowTaskTimeout: '2 seconds',
        // A scan that hangs is ended, so that the next one may begin: it owes nobody anything.
        workflowExecutionTimeout: '10 minutes',
        staticSummary: 'begins the planned jobs that are due',
      },
      // A scan sees all that is due: one that was missed is not made up for, and two never run at once.
      policies: { overlap: 'SKIP', catchupWindow: '10 seconds' },
    } as const;
  }
}
