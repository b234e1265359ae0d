import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import type { RackScanActivities } from '../activities/contract.ts';
import { RETRY } from './activities.ts';
import { isStepFailure, reasonOf } from './failures.ts';
import type { RackScanInput } from './messages/rack-scan.ts';

/**
 * Has a scanner read a rack: waits for the person who puts it there, and saves what was read. What the scanner does not
 * give ends the scan as failed, with its reason; the next one is asked for anew.
 */
export async function scanRack(input: RackScanInput): Promise<void> {
  const reading = proxyActivities<RackScanActivities>({
    // The person’s time, and the scanner’s.
    startToCloseTimeout: '3 minutes',
    scheduleToCloseTimeout: '4 minutes',
    heartbeatTimeout: '15 seconds',
    retry: RETRY,
    summary: 'Have the scanner read the rack',
  });
  const ending = proxyActivities<RackScanActivities>({
    startToCloseTimeout: '10 seconds',
    retry: RETRY,
    summary: 'End the scan: it failed',
  });
  try {
    await reading.readRack(input);
  } catch (error) {
    if (!isStepFailure(error)) throw error;
    await CancellationScope.nonCancellable(() => ending.failRackScan(input, reasonOf(error)));
  }
}
