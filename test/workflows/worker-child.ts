import { ApplicationFailure } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import type { Reply, WorkerOrder } from './worker-process.ts';

/** A workflow worker in a process of its own: its activities are calls to the process that started it. */
// Refusals are what these tests are about: no warnings of them.
Runtime.install({ logger: new DefaultLogger('ERROR') });
const order: WorkerOrder = JSON.parse(process.argv[2] ?? '{}');
const waiting = new Map<number, (reply: Reply) => void>();
let calls = 0;

process.on('message', (reply: Reply) => {
  waiting.get(reply.call)?.(reply);
  waiting.delete(reply.call);
});
process.on('disconnect', () => process.exit(0));

const activities = Object.fromEntries(
  order.activities.map((name) => [
    name,
    async (...args: unknown[]): Promise<unknown> => {
      calls += 1;
      const call = calls;
      const reply = await new Promise<Reply>((resolve) => {
        waiting.set(call, resolve);
        process.send?.({ call, name, args });
      });
      if ('failure' in reply) throw ApplicationFailure.create(reply.failure);
      return reply.result;
    },
  ]),
);

const worker = await Worker.create({
  connection: await NativeConnection.connect(order.server),
  identity: 'worker',
  taskQueue: order.taskQueue,
  workflowBundle: { codePath: order.bundlePath },
  activities,
  stickyQueueScheduleToStartTimeout: '2 seconds',
  // Steps that hang until the worker dies keep their slots, and so does each try of them.
  maxConcurrentActivityTaskExecutions: 1_000,
  maxConcurrentLocalActivityExecutions: 1_000,
});
process.send?.({ ready: true });
await worker.run();
