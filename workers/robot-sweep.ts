import type { Client } from '@temporalio/client';
import type { Database } from '../db/connection.ts';
import { type OpenRequest, openRequests } from '../db/turn-requests.ts';
import { workflowIds } from '../workflows/ids.ts';
import { ROBOT, requestTurnSignal } from '../workflows/messages/robot.ts';
import { robotStartOptions } from '../workflows/messages/start.ts';
import { type SweepLog, statusOf } from './job-sweep.ts';

export interface RobotSweepDependencies {
  readonly db: Database;
  readonly client: Client;
  readonly log: SweepLog;
  /** time without a write after which the request of a job is looked at, in ms */
  readonly quietMs: number;
}

/** How long a call to Temporal may take, in ms. */
const CALL_MS = 2_000;

/** Sweeps the robots of one tenant after the other; one that fails does not keep the next from its turn. */
export async function sweepRobotsOf(
  deps: RobotSweepDependencies,
  tenantIds: readonly string[],
  ending?: AbortSignal,
): Promise<void> {
  for (const tenant of tenantIds) {
    if (ending?.aborted) return;
    try {
      const requested = await sweepRobots(deps, tenant);
      if (requested > 0) deps.log.info({ tenant, requested }, 'requests for turns were sent again');
    } catch (error) {
      deps.log.warn(
        { err: error, tenant },
        'the queues of the robots were not seen: the next round looks again',
      );
    }
  }
}

/**
 * Looks after the queues of one tenant's robots: where the robot's workflow is gone, or shows a queue without the job, the
 * request is sent again, which starts the workflow. Repeating it, or running it twice at a time, is safe: a request that
 * is known changes nothing.
 * @returns how many requests were sent
 * @throws what the database or Temporal throws when one of them is away
 */
export async function sweepRobots(deps: RobotSweepDependencies, tenantId: string): Promise<number> {
  const open = await openRequests(deps.db, tenantId, { quietMs: deps.quietMs });
  let sent = 0;
  for (const robotId of new Set(open.map((each) => each.robotId))) {
    const requests = open.filter((each) => each.robotId === robotId);
    const status = await deps.client.withDeadline(Date.now() + CALL_MS, () =>
      statusOf(deps.client, workflowIds.robot(tenantId, robotId)),
    );
    for (const { request } of requests.filter((each) => status !== 'RUNNING' || isForgotten(each))) {
      await deps.client.withDeadline(Date.now() + CALL_MS, () =>
        deps.client.workflow.signalWithStart(ROBOT, {
          ...robotStartOptions(tenantId, robotId),
          signal: requestTurnSignal,
          signalArgs: [request],
        }),
      );
      sent += 1;
    }
  }
  return sent;
}

const isForgotten = ({ fence, isQueued }: OpenRequest): boolean => fence === null && !isQueued;
