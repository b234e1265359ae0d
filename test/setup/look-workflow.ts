import { proxyActivities } from '@temporalio/workflow';
import type { GatewayActivities } from '../../activities/contract.ts';

/** Asks the gateway of a robot for a look, as a workflow would. */
export async function look(robotId: string, taskQueue: string) {
  const gateway = proxyActivities<GatewayActivities>({
    taskQueue,
    startToCloseTimeout: '5 s',
    scheduleToCloseTimeout: '30 s',
  });
  return gateway.observe(robotId);
}
