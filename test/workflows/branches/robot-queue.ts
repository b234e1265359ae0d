import { expect } from 'vitest';
import { until } from '../../../stack/processes.ts';
import {
  gateFreeSignal,
  maintenanceUpdate,
  pauseUpdate,
  releaseTurnSignal,
  requestTurnSignal,
  resumeUpdate,
  robotViewQuery,
} from '../../../workflows/messages/robot.ts';
import type { Floor, JobSetup } from '../floor.ts';
import { type Branches, ends, gateAt, heldAt } from './branch.ts';
import { entityOf } from './robot.ts';

const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };
const byOf = (floor: Floor) => ({ actor: floor.lab.actor, reason: null });

/** Two robots that do each other's work, the first with work under way and work that waits, and the turn in hand. */
async function busyPair(floor: Floor) {
  const [first, second] = [floor.lab.addRobot(), floor.lab.addRobot()];
  Object.assign(first, { store: 'S' });
  Object.assign(second, { store: 'S' });
  const entity = await entityOf(floor, first);
  const gate = heldAt(floor, { ...byRobot, robot: first }, 'awaitMotion');
  const holder = await floor.start(gate.setup);
  await floor.reaches(holder, 'RUNNING', 'PICKING');
  return { first, second, entity, gate, holder };
}

/** Queues that move: to another robot, and through a gate. */
export const robotQueues: Branches = {
  'robot--its-queue-handed-over': async (floor) => {
    const { first, second, entity, gate, holder } = await busyPair(floor);
    const waiting = [
      await floor.start({ ...byRobot, robot: first }),
      await floor.start({ ...byRobot, robot: first }),
    ];
    for (const { job } of waiting) await floor.queues(first.id, job.id);
    await entity.executeUpdate(maintenanceUpdate, { args: [byOf(floor)] });
    for (const job of waiting) await ends(job, 'COMPLETED');
    // The turn under way ends; what comes now goes to the other one too.
    const late = await floor.start({ ...byRobot, robot: first });
    await ends(late, 'COMPLETED');
    gate.open();
    await ends(holder, 'COMPLETED');
    const workOf = (robotId: string) =>
      floor.lab.motions.flatMap(({ jobId, order }) =>
        order.robotId === robotId && order.operation === 'pick' ? [jobId] : [],
      );
    expect(workOf(first.id)).toEqual([holder.job.id]);
    expect(workOf(second.id)).toEqual([...waiting, late].map(({ job }) => job.id));
    expect(first.queue).toEqual([]);
    return entity;
  },
  'robot--its-queue-stays-where-nobody-else-can': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    await entity.executeUpdate(maintenanceUpdate, { args: [byOf(floor)] });
    const waiting = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, waiting.job.id);
    const other = floor.lab.addRobot();
    Object.assign(robot, { store: 'S' });
    Object.assign(other, { store: 'S' });
    expect(waiting.job.robotId).toBe(robot.id);
    // Commanded again, it looks again.
    await entity.executeUpdate(maintenanceUpdate, { args: [byOf(floor)] });
    await ends(waiting, 'COMPLETED');
    expect(waiting.job.robotId).toBe(other.id);
    return entity;
  },
  'robot--takes-a-job-back-that-it-handed-over': async (floor) => {
    const { first, second, entity, gate, holder } = await busyPair(floor);
    const job = await floor.start({ ...byRobot, robot: first });
    await floor.queues(first.id, job.job.id);
    const other = await entityOf(floor, second);
    await other.executeUpdate(pauseUpdate, { args: [byOf(floor)] });
    Object.assign(second, { dispatch: 'running' }); // the database says so; its entity has not heard of it
    await entity.executeUpdate(maintenanceUpdate, { args: [byOf(floor)] });
    await floor.queues(second.id, job.job.id);
    await entity.executeUpdate(resumeUpdate, { args: [byOf(floor)] });
    await other.executeUpdate(maintenanceUpdate, { args: [byOf(floor)] });
    await floor.queues(first.id, job.job.id);
    gate.open();
    for (const each of [holder, job]) await ends(each, 'COMPLETED');
    expect(job.job.robotId).toBe(first.id);
    return entity;
  },
  'placement-by-robot--cancelled-where-it-was-handed-to': async (floor) => {
    const { first, second, entity, gate, holder } = await busyPair(floor);
    const job = await floor.start({ ...byRobot, robot: first });
    await floor.queues(first.id, job.job.id);
    const other = await entityOf(floor, second);
    await other.executeUpdate(pauseUpdate, { args: [byOf(floor)] });
    Object.assign(second, { dispatch: 'running' });
    await entity.executeUpdate(maintenanceUpdate, { args: [byOf(floor)] });
    await floor.queues(second.id, job.job.id);
    await floor.cancel(job);
    const ended = await ends(job, 'CANCELLED');
    await until('both queues being empty', 10_000, () => first.queue.length + second.queue.length === 0);
    gate.open();
    await ends(holder, 'COMPLETED');
    return ended;
  },
  'retrieval-by-robot--fetched-back-by-the-robot-it-was-handed-to': async (floor) => {
    const { first, second, entity, gate, holder } = await busyPair(floor);
    const job = await floor.start({
      kind: 'retrieval',
      mode: 'robot',
      robot: first,
      limits: { pickupMs: 1_000 },
    });
    await floor.queues(first.id, job.job.id);
    await entity.executeUpdate(maintenanceUpdate, { args: [byOf(floor)] });
    const ended = await ends(job, 'FAILED', /Nobody took the tube/);
    const motions = floor.lab.motions.filter(({ jobId }) => jobId === job.job.id);
    expect(new Set(motions.map(({ order }) => order.robotId))).toEqual(new Set([second.id]));
    gate.open();
    await ends(holder, 'COMPLETED');
    return ended;
  },
  'robot--waits-for-its-gate': async (floor) => {
    const [one, other] = [floor.lab.addRobot(), floor.lab.addRobot()];
    Object.assign(one, { gate: 'north' });
    Object.assign(other, { gate: 'north' });
    const gate = heldAt(floor, { ...byRobot, robot: one }, 'awaitMotion');
    const first = await floor.start(gate.setup);
    await floor.reaches(first, 'RUNNING', 'PICKING');
    const second = await floor.start({ ...byRobot, robot: other });
    await floor.queues(other.id, second.job.id);
    const entity = await entityOf(floor, other);
    // While it waits it hears what people say.
    await entity.executeUpdate(pauseUpdate, { args: [byOf(floor)] });
    await entity.executeUpdate(resumeUpdate, { args: [byOf(floor)] });
    expect(other.turnJobId).toBeNull();
    gate.open();
    for (const job of [first, second]) await ends(job, 'COMPLETED');
    return entity;
  },
  'robot--asks-again-for-a-turn-whose-end-nobody-told': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const stranger = floor.prepare({ ...byRobot, robot });
    Object.assign(robot, { turnJobId: stranger.id });
    const refused = gateAt(floor, robot.id, 'grantTurn');
    const job = await floor.start({ ...byRobot, robot });
    await refused.isReached;
    refused.open();
    await floor.queues(robot.id, job.job.id);
    Object.assign(stranger, { state: 'FAILED' });
    robot.turnJobId = null;
    await ends(job, 'COMPLETED');
    return entity;
  },
  'robot--told-of-its-gate-without-waiting-for-it': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    await entity.signal(gateFreeSignal, {});
    await ends(await floor.start({ ...byRobot, robot }), 'COMPLETED');
    return entity;
  },
  'robot--a-job-asks-where-it-waits-no-more': async (floor) => {
    const { first, second, entity, gate, holder } = await busyPair(floor);
    const job = await floor.start({ ...byRobot, robot: second });
    await ends(job, 'COMPLETED');
    const gone = { jobId: job.job.id, turn: 1, workflowId: job.job.workflowId, priority: 1, requestedAt: 1 };
    await entity.signal(requestTurnSignal, gone);
    await floor.queues(first.id, job.job.id);
    gate.open();
    await ends(holder, 'COMPLETED');
    await until(
      'its being let go',
      10_000,
      async () => (await entity.query(robotViewQuery)).queue.length === 0,
    );
    await entity.signal(releaseTurnSignal, { jobId: job.job.id, turn: 1 });
    return entity;
  },
  'retrieval-by-robot--the-turn-to-fetch-it-back-takes-long': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const limits = { pickupMs: 500, notReadyMs: 50 };
    const running = await floor.start({ kind: 'retrieval', mode: 'robot', robot, limits });
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    await entity.executeUpdate(pauseUpdate, { args: [byOf(floor)] });
    await until('the alarm', 5_000, () => floor.lab.alarms.has(running.job.id));
    await entity.executeUpdate(resumeUpdate, { args: [byOf(floor)] });
    return ends(running, 'FAILED', /put back/);
  },
  'robot--paused-now-and-resumed': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    await entity.executeUpdate(pauseUpdate, { args: [{ ...byOf(floor), when: 'now' }] });
    expect(robot.dispatch).toBe('paused_now');
    const refused = await entity.executeUpdate(maintenanceUpdate, { args: [byOf(floor)] });
    expect(refused).toMatchObject({ outcome: 'refused', refusal: { code: 'CONFLICT' } });
    const job = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, job.job.id);
    await entity.executeUpdate(resumeUpdate, { args: [byOf(floor)] });
    await ends(job, 'COMPLETED');
    return entity;
  },
};
