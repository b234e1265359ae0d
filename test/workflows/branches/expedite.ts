import { expect } from 'vitest';
import { until } from '../../../stack/processes.ts';
import { type Expedite, expediteSignal, type JobOutcome } from '../../../workflows/messages/job.ts';
import type { Addressee, Floor, JobSetup } from '../floor.ts';
import { type Branches, decides, ends, failing, gateAt, heldAt, type Recordable } from './branch.ts';
import { reconcile } from './reconcile.ts';

const byHand: JobSetup = { kind: 'placement', mode: 'hand' };
const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };

function expedite(
  floor: Floor,
  { handle }: Pick<Addressee, 'handle'>,
  event: Omit<Expedite, 'actor'> & Partial<Expedite>,
): Promise<void> {
  return handle.signal(expediteSignal, { actor: floor.lab.actor, ...event });
}

const hasPriority = ({ job }: Pick<Addressee, 'job'>, priority: number) =>
  until(`job ${job.id} having priority ${priority}`, 10_000, () => job.priority === priority);

/**
 * A job that hears of events together with its scan: all are written one by one, and the job comes to its end before the
 * last of them. Null when the events came alone.
 */
async function toldWhenOver(floor: Floor): Promise<Recordable | null> {
  const job = floor.prepare(byHand);
  const handle = floor.client.workflow.getHandle<() => Promise<JobOutcome>>(job.workflowId);
  const reserving = gateAt(floor, job.id, 'reservePlacement');
  const begun = floor.begin(job, byHand);
  await reserving.isReached;
  for (const eventId of ['event-1', 'event-2', 'event-3'])
    await expedite(floor, { handle }, { eventId, priority: 9 });
  const writing = gateAt(floor, job.id, 'reprioritise', () => job.state === 'COMPLETED');
  if (job.target.kind !== 'named') throw new Error('the place of the tube is not known');
  const { containerBarcode, place } = floor.lab.position(job.target.positionId);
  const right = { containerBarcode, position: place.label };
  const scans = Promise.all([floor.confirm({ job, handle }, right), floor.confirm({ job, handle }, right)]);
  await handle.describe();
  reserving.open();
  await begun.reservation;
  const isOver = await Promise.race([writing.isReached, handle.result()]);
  expect((await scans).map(({ outcome }) => outcome).sort()).toEqual(['accepted', 'refused']);
  if (isOver !== undefined) return null;
  const cancelled = await floor.cancel({ handle });
  expect(cancelled).toMatchObject({ outcome: 'refused', refusal: { code: 'JOB_FINISHED' } });
  writing.open();
  await expect(handle.result()).resolves.toMatchObject({ state: 'COMPLETED' });
  return handle;
}

/** Other services say how urgent a job is, at every time of its life. */
export const expedites: Branches = {
  'placement-by-robot--expedited-in-the-queue': async (floor) => {
    const robot = floor.lab.addRobot();
    const gate = heldAt(floor, { ...byRobot, robot }, 'awaitMotion');
    const first = await floor.start(gate.setup);
    await floor.reaches(first, 'RUNNING', 'PICKING');
    const second = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, second.job.id);
    const stranger = { ...floor.lab.actor, tenantId: 'another tenant' };
    await expedite(floor, second, { eventId: 'event-0', priority: 1, actor: stranger });
    await expedite(floor, second, { eventId: 'event-1', priority: 90 });
    await expedite(floor, second, { eventId: 'event-1', priority: 90 });
    await until('the new place in the queue', 10_000, () => robot.queue[0]?.priority === 90);
    gate.open();
    await ends(first, 'COMPLETED');
    return ends(second, 'COMPLETED');
  },
  'placement-by-robot--expedited-before-and-during-its-turn': async (floor) => {
    const running = await floor.start({ ...byRobot, isScanned: false });
    await expedite(floor, running, { eventId: 'event-1', priority: 80 });
    await hasPriority(running, 80);
    const gate = gateAt(floor, running.job.id, 'awaitMotion');
    await floor.confirm(running);
    await gate.isReached;
    await expedite(floor, running, { eventId: 'event-2', priority: 70 });
    await hasPriority(running, 70);
    gate.open();
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--expedite-not-written': async (floor) => {
    const running = await floor.start(failing(floor, byHand, 'reprioritise', 'NOT_FOUND', 1));
    await expedite(floor, running, { eventId: 'event-1', priority: 80 });
    await expedite(floor, running, { eventId: 'event-2', priority: 70 });
    await hasPriority(running, 70);
    await floor.confirm(running);
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--told-when-it-is-over': async (floor) => {
    // The scans have to reach the server before the step is done that the events wait for; nothing tells that they have.
    for (let attempt = 1; ; attempt += 1) {
      const handle = await toldWhenOver(floor);
      if (handle !== null) return handle;
      expect(attempt).toBeLessThan(10);
    }
  },
  'reconcile--by-hand--expedited': async (floor) => {
    const running = await floor.start(byHand);
    await running.handle.terminate('by hand');
    const taken = { ...running, handle: await reconcile(floor, running, 'workflow_terminated') };
    await floor.reaches(taken, 'AWAITING_OPERATOR');
    await expedite(floor, taken, { eventId: 'event-1', priority: 90 });
    await hasPriority(taken, 90);
    await decides(floor, taken, 'with_me');
    return ends(taken, 'FAILED');
  },
};
