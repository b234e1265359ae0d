import { type Client, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client';
import type { Database } from '../db/connection.ts';
import { inventoryRobots } from '../db/inventory.ts';
import { CONTROL_QUEUE, workflowIds } from '../workflows/ids.ts';
import { COMPARE_INVENTORIES } from '../workflows/messages/inventory.ts';
import type { SweepLog } from './job-sweep.ts';

export interface InventoryScheduleDependencies {
  readonly db: Database;
  readonly client: Client;
  readonly log: SweepLog;
  /** time between two comparisons, in ms, from 1000 on */
  readonly everyMs: number;
}

/** How long a call to Temporal may take, in ms. */
const CALL_MS = 2_000;

/**
 * Sees to it that each tenant with stores that keep an inventory has one Schedule, which compares them: one that is there
 * gets the interval that is wanted now, and is otherwise left as it is, paused or not. Rounds that were missed while
 * Temporal was away are not made up for, and one that still runs is not joined by the next.
 * @param done the tenants that were seen to by this process; those of this round are added
 */
export async function ensureInventorySchedules(
  deps: InventoryScheduleDependencies,
  tenantIds: readonly string[],
  done: Set<string>,
): Promise<void> {
  for (const tenantId of tenantIds) {
    if (done.has(tenantId)) continue;
    try {
      if ((await inventoryRobots(deps.db, tenantId)).length === 0) continue;
      await deps.client.withDeadline(Date.now() + CALL_MS, () => ensureSchedule(deps, tenantId));
      done.add(tenantId);
    } catch (error) {
      deps.log.warn(
        { err: error, tenant: tenantId },
        'the comparison of inventories is not scheduled yet: the next round tries again',
      );
    }
  }
}

async function ensureSchedule(
  { client, everyMs }: InventoryScheduleDependencies,
  tenantId: string,
): Promise<void> {
  const scheduleId = workflowIds.inventories(tenantId);
  const spec = { intervals: [{ every: everyMs }] };
  try {
    await client.schedule.create({
      scheduleId,
      spec,
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
      action: {
        type: 'startWorkflow',
        workflowType: COMPARE_INVENTORIES,
        workflowId: scheduleId,
        args: [{ tenantId }],
        taskQueue: CONTROL_QUEUE,
        workflowTaskTimeout: '2 seconds',
      },
    });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    const known = client.schedule.getHandle(scheduleId);
    const { intervals } = (await known.describe()).spec;
    if (intervals?.length === 1 && intervals[0]?.every === everyMs) return;
    await known.update((before) => ({ ...before, spec }));
  }
}
