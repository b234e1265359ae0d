import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  CancellationScope,
  executeChild,
  ParentClosePolicy,
  proxyActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type { GatewayActivities, InventoryActivities } from '../activities/contract.ts';
import { RETRY } from './activities.ts';
import { isStepFailure, reasonOf } from './failures.ts';
import { observeQueue } from './ids.ts';
import { COMPARE_INVENTORY, type InventoriesInput, type InventoryInput } from './messages/inventory.ts';
import { inventoryStartOptions } from './messages/start.ts';

/** Steps on the database; opening deviations one by one may take its time. */
const steps = (summary: string) =>
  proxyActivities<InventoryActivities>({
    startToCloseTimeout: '10 minutes',
    heartbeatTimeout: '30 seconds',
    retry: RETRY,
    summary,
  });

/**
 * Compares one store's own inventory with the record: reads it through the gateway, opens a deviation for each tube they
 * differ about. A store that cannot be read in time fails the comparison; the next one tries again.
 */
export async function compareInventory({ tenantId, robotId, comparisonId }: InventoryInput): Promise<void> {
  const { readInventory } = proxyActivities<GatewayActivities>({
    taskQueue: observeQueue(workflowInfo().taskQueue, robotId),
    scheduleToCloseTimeout: '15 minutes',
    startToCloseTimeout: '10 minutes',
    heartbeatTimeout: '30 seconds',
    retry: { ...RETRY, maximumAttempts: 10 },
    summary: 'Read the store’s inventory',
  });
  try {
    await readInventory(tenantId, robotId, comparisonId);
    await steps('Compare it with the record').judgeInventory(tenantId, comparisonId);
  } catch (error) {
    if (!isStepFailure(error)) throw error;
    await CancellationScope.nonCancellable(() =>
      steps('End the comparison: it failed').failComparison(tenantId, comparisonId, reasonOf(error)),
    );
  }
}

/** Compares the inventories of all stores of a tenant, each in a workflow of its own; one that runs already is left alone. */
export async function compareInventories({ tenantId }: InventoriesInput): Promise<void> {
  const begun = await steps('Which stores keep an inventory?').beginComparisons(tenantId);
  const { taskQueue } = workflowInfo();
  await Promise.all(
    begun.map(async ({ comparisonId, robotId }) => {
      const options = inventoryStartOptions({ tenantId, robotId, comparisonId });
      try {
        await executeChild(COMPARE_INVENTORY, {
          ...options,
          taskQueue,
          parentClosePolicy: ParentClosePolicy.ABANDON,
        });
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      }
    }),
  );
}
