import type { Client } from '@temporalio/client';
import type { Database } from '../db/connection.ts';
import { livePicklists } from '../db/picklists.ts';
import { workflowIds } from '../workflows/ids.ts';
import { RUN_PICKLIST } from '../workflows/messages/picklist.ts';
import { picklistStartOptions } from '../workflows/messages/start.ts';
import { type SweepLog, statusOf } from './job-sweep.ts';

export interface PicklistSweepDependencies {
  readonly db: Database;
  readonly client: Client;
  readonly log: SweepLog;
}

/** How long a call to Temporal may take, in ms. */
const CALL_MS = 2_000;

/** Sweeps the picklists of one tenant after the other; one that fails does not keep the next from its turn. */
export async function sweepPicklistsOf(
  deps: PicklistSweepDependencies,
  tenantIds: readonly string[],
  ending?: AbortSignal,
): Promise<void> {
  for (const tenant of tenantIds) {
    if (ending?.aborted) return;
    try {
      const started = await sweepPicklists(deps, tenant);
      if (started > 0) deps.log.info({ tenant, started }, 'picklists without a workflow were started');
    } catch (error) {
      deps.log.warn({ err: error, tenant }, 'the picklists were not seen: the next round looks again');
    }
  }
}

/**
 * Starts the workflow of each list that is not over and has none that runs: it was never started, or was terminated or
 * lost. The list goes on where its rows say; its tubes' jobs stand by themselves. Repeating it, or running it twice at a
 * time, is safe. Lists are few, so each is looked at in every round.
 * @returns how many were started
 * @throws what the database or Temporal throws when one of them is away
 */
export async function sweepPicklists(
  { db, client }: PicklistSweepDependencies,
  tenantId: string,
): Promise<number> {
  let started = 0;
  for (const id of await livePicklists(db, tenantId)) {
    const isRunning = await client.withDeadline(Date.now() + CALL_MS, async () => {
      if ((await statusOf(client, workflowIds.picklist(tenantId, id))) === 'RUNNING') return true;
      await client.workflow.start(RUN_PICKLIST, picklistStartOptions(tenantId, id));
      return false;
    });
    if (!isRunning) started += 1;
  }
  return started;
}
