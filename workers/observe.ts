import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { GatewayActivities } from '../activities/contract.ts';
import { failingAsWorkflowsExpect } from '../activities/failures.ts';
import type { GatewayLog } from '../devices/robot-gateway.ts';
import type { ControllerView } from '../domain/controller.ts';
import { gatewayQueue } from '../workflows/ids.ts';

const RETRY_MS = 2_000;

export interface ObserveOptions {
  readonly connection: Parameters<typeof NativeConnection.connect>[0];
  readonly namespace: string;
  readonly log: GatewayLog;
}

/** The ways of looking at one robot. */
export interface RobotLooks {
  observe(): Promise<ControllerView>;
  inspect(tenantId: string, places: Parameters<GatewayActivities['inspect']>[2]): Promise<ControllerView>;
  /** reads its own inventory into the database, for one comparison */
  readInventory(tenantId: string, comparisonId: string): Promise<void>;
}

/** Looks at the robots, and nothing else, on the task queue of each robot served here. */
export interface ObserveWorkers {
  serve(robotId: string, looks: RobotLooks): () => void;
  close(): Promise<void>;
}

/**
 * Keeps one worker for each robot. Without a Temporal server it goes on trying: motion comes from the journal and does
 * not need one.
 */
export function createObserveWorkers({ connection, namespace, log }: ObserveOptions): ObserveWorkers {
  // The process ends its workers itself, after its motions.
  Runtime.install({ shutdownSignals: [], logger: new DefaultLogger('ERROR') });
  const stopping = new AbortController();
  const loops = new Set<Promise<void>>();
  let connecting: Promise<NativeConnection> | null = null;

  const connected = (): Promise<NativeConnection> => {
    connecting ??= NativeConnection.connect(connection).catch((error: unknown) => {
      connecting = null;
      throw error;
    });
    return connecting;
  };

  const keep = async (robotId: string, activities: GatewayActivities, signal: AbortSignal): Promise<void> => {
    let told = false;
    while (!signal.aborted) {
      try {
        const taskQueue = gatewayQueue(robotId);
        const native = await connected();
        const worker = await Worker.create({
          connection: native,
          namespace,
          taskQueue,
          activities: { ...activities },
        });
        if (signal.aborted) return;
        told = false;
        await worker.runUntil(
          new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
        );
      } catch (error) {
        if (!told)
          log.warn({ robot: robotId, err: error }, 'cannot answer questions about the robot; will try again');
        told = true;
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined); // woken to stop
      }
    }
  };

  return {
    serve(robotId, { observe, inspect, readInventory }) {
      const ended = new AbortController();
      const activities: GatewayActivities = {
        async observe(asked) {
          refuseOther(robotId, asked);
          return observe();
        },
        async inspect(tenantId, asked, places) {
          refuseOther(robotId, asked);
          return inspect(tenantId, places);
        },
        async readInventory(tenantId, asked, comparisonId) {
          refuseOther(robotId, asked);
          await failingAsWorkflowsExpect(() => readInventory(tenantId, comparisonId));
        },
      };
      const loop = keep(robotId, activities, AbortSignal.any([ended.signal, stopping.signal]));
      loops.add(loop);
      void loop.finally(() => loops.delete(loop));
      return () => ended.abort();
    },
    async close() {
      stopping.abort();
      await Promise.all(loops);
      await (await connecting?.catch(() => null))?.close();
    },
  };
}

function refuseOther(robotId: string, asked: string): void {
  if (asked === robotId) return;
  throw ApplicationFailure.nonRetryable(`this queue answers for robot ${robotId}, not ${asked}`, 'NOT_FOUND');
}
