import { expect } from 'vitest';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';
import type { RobotFault } from '../laboratory.ts';
import { type Branches, cancelledDuring, decides, ends, heldAt, type Recordable } from './branch.ts';

const byHand: JobSetup = { kind: 'retrieval', mode: 'hand' };
const byRobot: JobSetup = { kind: 'retrieval', mode: 'robot' };
const SOON = { pickupMs: 200 };

async function withFaults(floor: Floor, setup: JobSetup, ...faults: RobotFault[]): Promise<RunningJob> {
  const robot = floor.lab.addRobot();
  robot.faults.push(...faults);
  return floor.start({ ...setup, robot });
}

/** Nobody takes the tube; the label the robot reads as it fetches it back is another one, and a person says where it is. */
async function anotherFetchedBack(
  floor: Floor,
  answer: 'at_source' | 'at_target',
  state: 'COMPLETED_WITH_DEVIATION' | 'FAILED',
  detail: RegExp,
): Promise<Recordable> {
  const robot = floor.lab.addRobot();
  const running = await floor.start({ ...byRobot, robot, limits: { pickupMs: 1_500 } });
  await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
  robot.faults.push({ on: 'scan', how: 'foreign' });
  await floor.reaches(running, 'AWAITING_OPERATOR');
  const { source, handoff } = running.job;
  await decides(floor, running, answer);
  const ended = await ends(running, state, detail);
  const where = answer === 'at_source' ? source : handoff;
  expect(floor.lab.sample(running.job.sampleId).custody).toMatchObject({ positionId: where?.positionId });
  return ended;
}

export const retrievals: Branches = {
  'retrieval-by-hand--scanned': async (floor) => {
    const running = await floor.start(byHand);
    const early = await floor.handOver(running);
    expect(early).toMatchObject({ outcome: 'refused', refusal: { code: 'NOT_WAITING' } });
    await floor.confirm(running);
    const ended = await ends(running, 'COMPLETED');
    expect(floor.lab.sample(running.job.sampleId).custody.kind).toBe('person');
    return ended;
  },
  'retrieval-by-hand--cancelled': async (floor) => {
    const running = await floor.start(byHand);
    await floor.cancel(running);
    return ends(running, 'CANCELLED');
  },
  'retrieval--sample-not-stored': async (floor) => {
    const running = await floor.start({
      ...byHand,
      prepare: (job) => {
        const sample = floor.lab.sample(job.sampleId);
        floor.lab.setCustody(sample, { kind: 'person', userId: 'somebody' });
        sample.physical = { kind: 'person', userId: 'somebody' };
      },
    });
    expect(running.reservation).toMatchObject({ outcome: 'refused', refusal: { code: 'SAMPLE_NOT_STORED' } });
    return ends(running, 'REFUSED');
  },
  'retrieval-by-robot--handed-over': async (floor) => {
    const running = await floor.start(byRobot);
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    const wrong = await floor.handOver(running, 'OTHER');
    expect(wrong).toMatchObject({ outcome: 'refused', refusal: { code: 'BARCODE_MISMATCH' } });
    await expect(floor.handOver(running)).resolves.toEqual({ outcome: 'accepted' });
    return ends(running, 'COMPLETED');
  },
  'retrieval-by-robot--scan-by-hand-refused': async (floor) => {
    const running = await floor.start(byRobot);
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    const scan = await floor.confirm(running);
    expect(scan).toMatchObject({ outcome: 'refused', refusal: { code: 'NOT_WAITING' } });
    await floor.handOver(running);
    return ends(running, 'COMPLETED');
  },
  'retrieval-by-robot--nobody-came': async (floor) => {
    const running = await floor.start({ ...byRobot, limits: SOON });
    const ended = await ends(running, 'FAILED', /Nobody took the tube.*put back/s);
    expect(floor.lab.sample(running.job.sampleId).custody.kind).toBe('position');
    return ended;
  },
  'retrieval-by-robot--nobody-came-in-the-time-of-its-class': async (floor) => {
    floor.lab.pickupMs = SOON.pickupMs;
    const running = await floor.start(byRobot);
    return ends(running, 'FAILED', /Nobody took the tube.*put back/s);
  },
  'retrieval-by-robot--another-tube-fetched-back--it-stands-in-the-hand-off': (floor) =>
    anotherFetchedBack(floor, 'at_target', 'COMPLETED_WITH_DEVIATION', /left the tube in hand-off/),
  'retrieval-by-robot--another-tube-fetched-back--it-is-stored': (floor) =>
    anotherFetchedBack(floor, 'at_source', 'FAILED', /put back/),
  'retrieval-by-robot--taken-while-the-robot-is-asked-for': async (floor) => {
    const robot = floor.lab.addRobot();
    const running = await floor.start({ ...byRobot, robot, limits: { pickupMs: 1_500 } });
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    const gate = heldAt(floor, { kind: 'placement', mode: 'robot', isScanned: true, robot }, 'awaitMotion');
    const other = await floor.start(gate.setup);
    await floor.reaches(other, 'RUNNING', 'PICKING');
    await floor.queues(robot.id, running.job.id);
    await expect(floor.handOver(running)).resolves.toEqual({ outcome: 'accepted' });
    const ended = await ends(running, 'COMPLETED');
    gate.open();
    await ends(other, 'COMPLETED');
    return ended;
  },
  'retrieval-by-robot--cancelled-at-the-hand-off': async (floor) => {
    const running = await floor.start(byRobot);
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    await floor.cancel(running);
    const ended = await ends(running, 'CANCELLED', /put back/);
    expect(floor.lab.sample(running.job.sampleId).custody.kind).toBe('position');
    return ended;
  },
  'retrieval-by-robot--closed-by-a-scan-whose-answer-was-lost': async (floor) => {
    const running = await floor.start(byRobot);
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    // The cancel reaches the server while the hand-over is written: its workflow task is lost, its row is not.
    floor.hooks.set(running.job.id, {
      before: async ({ name }) => {
        if (name === 'handOver') await running.handle.cancel();
      },
    });
    await floor.handOver(running).catch(() => {});
    return ends(running, 'COMPLETED');
  },
  'retrieval-by-robot--cancelled-in-the-carrier': async (floor) => {
    const running = await floor.start(cancelledDuring(floor, byRobot, 'awaitMotion', 2));
    return ends(running, 'CANCELLED', /put back/);
  },
  'retrieval-by-robot--not-fetched-back': async (floor) => {
    const setup: JobSetup = { ...byRobot, limits: SOON };
    const running = await floor.start(setup);
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    // Three tries of the return, one of the undo that is left then.
    running.robot.faults.push(...Array<RobotFault>(4).fill({ on: 'pick', how: 'nothing_moved' }));
    await decides(floor, running, 'retry_undo');
    return ends(running, 'FAILED', /put back/);
  },
  'retrieval-by-robot--taken-without-a-scan': async (floor) => {
    const running = await floor.start({ ...byRobot, limits: SOON });
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    floor.lab.sample(running.job.sampleId).physical = { kind: 'person', userId: floor.lab.actor.userId };
    running.robot.faults.push({ on: 'pick', how: 'dropped' });
    await decides(floor, running, 'with_me');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'retrieval-by-robot--at-the-hand-off-by-the-operator': async (floor) => {
    const running = await withFaults(floor, byRobot, { on: 'place', how: 'no_answer' });
    await decides(floor, running, 'at_target');
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    await floor.handOver(running);
    return ends(running, 'COMPLETED');
  },
  'retrieval-by-robot--with-the-operator': async (floor) => {
    const running = await withFaults(floor, byRobot, { on: 'place', how: 'dropped' });
    await decides(floor, running, 'with_me');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
};
