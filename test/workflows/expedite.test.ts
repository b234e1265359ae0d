import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../../stack/processes.ts';
import { workflowIds } from '../../workflows/ids.ts';
import { type Expedite, expediteSignal } from '../../workflows/messages/job.ts';
import { faultSignal, ROBOT } from '../../workflows/messages/robot.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { Floor, type RunningJob } from './floor.ts';
import type { FakeRobot } from './laboratory.ts';

let floor: Floor;
beforeAll(async () => {
  floor = await Floor.open(temporalServer(), workflowBundle());
});
afterAll(() => floor.close());

/** A robot that a fault keeps from working, so that jobs queue up at it. */
async function heldRobot() {
  const robot = floor.lab.addRobot();
  const { tenantId } = floor.lab.actor;
  const entity = await floor.client.workflow.start(ROBOT, {
    workflowId: workflowIds.robot(tenantId, robot.id),
    taskQueue: floor.taskQueue,
    workflowTaskTimeout: '2 seconds',
    args: [{ tenantId, robotId: robot.id, state: null }],
  });
  await entity.signal(faultSignal, { faultId: 'held', cleared: false });
  return { robot, free: () => entity.signal(faultSignal, { faultId: 'held', cleared: true }) };
}

async function queued(robot: FakeRobot, priority?: number): Promise<RunningJob> {
  const setup = { kind: 'placement', mode: 'robot', isScanned: true, robot } as const;
  const job = await floor.start(priority === undefined ? setup : { ...setup, priority });
  await floor.queues(robot.id, job.job.id);
  return job;
}

const expedite = (to: RunningJob, priority: number, changed: Partial<Expedite> = {}) =>
  to.handle.signal(expediteSignal, {
    actor: floor.lab.actor,
    eventId: randomUUID(),
    priority,
    ...changed,
  });
const order = (robot: FakeRobot) => robot.queue.map(({ jobId }) => jobId);
const orderIs = (robot: FakeRobot, ...jobs: readonly RunningJob[]) => {
  const wanted = jobs.map(({ job }) => job.id).join();
  return until('the order of the queue', 10_000, () => order(robot).join() === wanted);
};
const picksOf = (robot: FakeRobot) =>
  floor.lab.motions.flatMap(({ jobId, order: { robotId, operation } }) =>
    robotId === robot.id && operation === 'pick' ? [jobId] : [],
  );

test('a job that is urgent now goes before those that were before it, and back when it is not', async () => {
  const { robot, free } = await heldRobot();
  const [a, b, c] = [await queued(robot), await queued(robot), await queued(robot)];
  await orderIs(robot, a, b, c);
  await expedite(c, 90);
  await orderIs(robot, c, a, b);
  await expedite(b, 95);
  await orderIs(robot, b, c, a);
  await expedite(b, 20);
  await orderIs(robot, c, a, b);
  expect([a, b, c].map(({ job }) => job.priority)).toEqual([20, 20, 90]);
  await free();
  for (const { handle } of [a, b, c]) expect((await handle.result()).state).toBe('COMPLETED');
  expect(picksOf(robot)).toEqual([c, a, b].map(({ job }) => job.id));
  expect(floor.lab.problems()).toEqual([]);
});

test('an event counts once, and a stranger’s not at all', async () => {
  const { robot, free } = await heldRobot();
  const [a, b] = [await queued(robot), await queued(robot)];
  const eventId = randomUUID();
  await expedite(b, 90, { eventId });
  await orderIs(robot, b, a);
  await expedite(b, 30);
  await until('the second event', 10_000, () => b.job.priority === 30);
  await expedite(b, 90, { eventId });
  await expedite(b, 1, { actor: { ...floor.lab.actor, tenantId: randomUUID() } });
  await expedite(b, 31); // what comes after them is heard: so were they
  await until('the last event', 10_000, () => b.job.priority === 31);
  const waits = () => robot.queue.find(({ jobId }) => jobId === b.job.id);
  await until('the place', 10_000, () => waits()?.priority === 31);
  expect(waits()).toMatchObject({ revision: 3 });
  await free();
  for (const { handle } of [a, b]) expect((await handle.result()).state).toBe('COMPLETED');
});

test('told before it asks for the robot, the job asks with the new priority', async () => {
  const { robot, free } = await heldRobot();
  const first = await queued(robot, 50);
  const late = await floor.start({ kind: 'placement', mode: 'robot', robot });
  await floor.reaches(late, 'AWAITING_PERSON');
  await expedite(late, 80);
  await until('the priority', 10_000, () => late.job.priority === 80);
  await expect(floor.confirm(late)).resolves.toEqual({ outcome: 'accepted' });
  await orderIs(robot, late, first);
  await free();
  for (const { handle } of [first, late]) expect((await handle.result()).state).toBe('COMPLETED');
});

test('events that come while a job works or ends do it no harm', async () => {
  const robot = floor.lab.addRobot();
  const job = floor.prepare({ kind: 'placement', mode: 'robot', isScanned: true, robot });
  const handle = floor.client.workflow.getHandle(job.workflowId);
  const told = new Set<string>();
  floor.hooks.set(job.id, {
    before: async ({ name }) => {
      // At every kind of step, the last one included: what is told there meets a process that is over.
      if (name === 'reprioritise' || told.has(name)) return;
      const priority = told.add(name).size;
      await handle.signal(expediteSignal, { actor: floor.lab.actor, eventId: randomUUID(), priority });
    },
  });
  const { handle: begun } = floor.begin(job, { kind: 'placement', mode: 'robot', isScanned: true, robot });
  expect((await (await begun).result()).state).toBe('COMPLETED');
  expect(told.size).toBeGreaterThan(5);
  expect(floor.lab.problems()).toEqual([]);
});
