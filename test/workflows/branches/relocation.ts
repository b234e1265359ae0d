import { expect } from 'vitest';
import { robotReleasedSignal } from '../../../workflows/messages/robot.ts';
import { failure } from '../fakes.ts';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';
import type { FakePosition, RobotFault } from '../laboratory.ts';
import { type Branches, decides, ends, failing } from './branch.ts';

const retrieval: JobSetup = { kind: 'retrieval', mode: 'robot' };
const placement: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };
const SOON = { pickupMs: 1 };
const LATER = { pickupMs: 1_500 };

/** A job whose robot is a store that takes worklists. */
function byStore(floor: Floor, setup: JobSetup, ...faults: RobotFault['how'][]): Promise<RunningJob> {
  const robot = floor.lab.addRobot('job');
  for (const how of faults) robot.faults.push({ on: 'transfer', how } as RobotFault);
  return floor.start({ ...setup, robot });
}

const isAt = (floor: Floor, { job }: RunningJob) => floor.lab.sample(job.sampleId).custody.kind;

const sourceOf = (floor: Floor, { job }: RunningJob): FakePosition =>
  floor.lab.position(job.source?.positionId ?? '');

const targetOf = (floor: Floor, { job }: RunningJob): FakePosition =>
  floor.lab.position(job.handoffPositionId ?? '');

/** A setup in which the n-th order of a motion is refused for good. */
function refusedAtOrder(floor: Floor, setup: JobSetup, nth: number): JobSetup {
  let orders = 0;
  return {
    ...setup,
    prepare: (job) => {
      floor.hooks.set(job.id, {
        before: ({ name }) => {
          if (name !== 'submitMotion') return;
          orders += 1;
          if (orders === nth) throw failure('LEASE_LOST', 'the position is gone');
        },
      });
    },
  };
}

/** How often the store was ordered to bring the job's tube somewhere. */
const transfersOf = (floor: Floor, { job }: RunningJob) =>
  floor.lab.motions.filter(({ jobId, order }) => jobId === job.id && order.operation === 'transfer').length;

/** A person releases the store that stood in a safety hold. */
async function release({ handle, robot }: RunningJob): Promise<void> {
  robot.stop = null;
  await handle.signal(robotReleasedSignal, { faultId: 'none' });
}

export const relocations: Branches = {
  'relocation--retrieval-handed-over': async (floor) => {
    const running = await byStore(floor, retrieval);
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    await floor.handOver(running);
    expect(transfersOf(floor, running)).toBe(1);
    return ends(running, 'COMPLETED');
  },
  'relocation--retrieval-nobody-came': async (floor) => {
    const running = await byStore(floor, { ...retrieval, limits: SOON });
    const ended = await ends(running, 'FAILED', /Nobody took the tube.*put back/s);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--placement': async (floor) => ends(await byStore(floor, placement), 'COMPLETED'),
  'relocation--move': async (floor) =>
    ends(await byStore(floor, { kind: 'move', mode: 'robot' }), 'COMPLETED'),
  'relocation--closing-fails': async (floor) => {
    const robot = floor.lab.addRobot('job');
    const running = await floor.start({ ...failing(floor, placement, 'finishJob', 'CONFLICT', 1), robot });
    const ended = await ends(running, 'FAILED', /nothing to take back/);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--fails-at-the-hand-off': async (floor) => {
    const robot = floor.lab.addRobot('job');
    const running = await floor.start({ ...failing(floor, retrieval, 'markPhase', 'CONFLICT', 1), robot });
    const ended = await ends(running, 'FAILED', /brought the tube back/);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--brought-at-the-third-try': async (floor) => {
    const running = await byStore(floor, placement, 'nothing_moved', 'lost_unmoved');
    const ended = await ends(running, 'COMPLETED');
    expect(transfersOf(floor, running)).toBe(3);
    return ended;
  },
  'relocation--not-brought-at-all': async (floor) => {
    const running = await byStore(floor, placement, ...Array<RobotFault['how']>(3).fill('nothing_moved'));
    return ends(running, 'FAILED', /did not bring the tube.*nothing to take back/s);
  },
  'relocation--false-failure': async (floor) => {
    const running = await byStore(floor, placement, 'moved_but_failed');
    return ends(running, 'COMPLETED');
  },
  'relocation--found-at-the-target': async (floor) => {
    const running = await byStore(floor, placement, 'lost_sight');
    const ended = await ends(running, 'COMPLETED');
    expect(transfersOf(floor, running)).toBe(1);
    return ended;
  },
  'relocation--found-at-the-target-unread': async (floor) => {
    const running = await byStore(floor, placement, 'lost_unread');
    const ended = await ends(running, 'FAILED', /could not read the label.*back to hand-off/s);
    expect(isAt(floor, running)).toBe('handoff');
    return ended;
  },
  'relocation--dropped': async (floor) => {
    const running = await byStore(floor, retrieval, 'dropped');
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(running.job.waitingFor).toMatchObject({
      kind: 'dropped',
      detail: expect.stringMatching(/^The robot was to bring the tube from A\d+ to hand-off H\d+/),
    });
    await decides(floor, running, 'not_found');
    return ends(running, 'FAILED', /may have fallen/);
  },
  'relocation--no-answer': async (floor) => {
    const running = await byStore(floor, retrieval, 'no_answer');
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(floor.lab.sample(running.job.sampleId).custody).toMatchObject({
      kind: 'unknown',
      candidates: [{ kind: 'position' }, { kind: 'carrier' }, { kind: 'handoff' }],
    });
    await decides(floor, running, 'at_target');
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    await floor.handOver(running);
    return ends(running, 'COMPLETED');
  },
  'relocation--brought-again-by-the-operators-word': async (floor) => {
    const running = await byStore(floor, placement, 'dropped');
    await decides(floor, running, 'at_source', { next: 'go_on' });
    return ends(running, 'COMPLETED');
  },
  'relocation--cancelled-before-it-was-brought-again': async (floor) => {
    const running = await byStore(floor, placement, 'dropped');
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await floor.cancel(running);
    await decides(floor, running, 'at_source', { next: 'go_on' });
    return ends(running, 'CANCELLED', /brought again/);
  },
  'relocation--cancelled-while-the-operator-looks': async (floor) => {
    const running = await byStore(floor, placement, 'dropped');
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await floor.cancel(running);
    await decides(floor, running, 'at_source');
    return ends(running, 'CANCELLED', /at source/);
  },
  'relocation--stays-in-the-carrier': async (floor) => {
    const running = await byStore(floor, placement, 'stays_in_carrier');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'OUTCOME_UNKNOWN');
    expect(running.job.waitingFor).toMatchObject({ detail: expect.stringMatching(/its own robot holds/) });
    // It takes no single moves: whoever says go on is asked again, and so is the undo.
    await decides(floor, running, 'in_carrier', { next: 'go_on' });
    await decides(floor, running, 'in_carrier');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /nothing to take back/);
  },
  'relocation--stopped': async (floor) => {
    const running = await byStore(floor, placement, 'stopped');
    await floor.reaches(running, 'SAFETY_HOLD', 'RECONCILING');
    await release(running);
    return ends(running, 'COMPLETED');
  },
  'relocation--label-unread': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable');
    const ended = await ends(running, 'FAILED', /could not read the label.*brought the tube back/s);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--label-unread-on-its-return': async (floor) => {
    const running = await byStore(floor, { ...retrieval, limits: LATER });
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    running.robot.faults.push(
      { on: 'transfer', how: 'nothing_moved' },
      { on: 'transfer', how: 'unreadable' },
    );
    const ended = await ends(running, 'FAILED', /Nobody took the tube.*put back/s);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--found-unread-on-its-return': async (floor) => {
    const running = await byStore(floor, { ...retrieval, limits: LATER });
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    running.robot.faults.push({ on: 'transfer', how: 'lost_unread' });
    return ends(running, 'FAILED', /Nobody took the tube.*put back/s);
  },
  'relocation--another-tube-on-its-return': async (floor) => {
    const running = await byStore(floor, { ...retrieval, limits: LATER });
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    running.robot.faults.push({ on: 'transfer', how: 'foreign' });
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(running.job.waitingFor).toMatchObject({ kind: 'barcode_mismatch' });
    expect(isAt(floor, running)).toBe('unknown');
    await decides(floor, running, 'with_me');
    const ended = await ends(running, 'COMPLETED_WITH_DEVIATION');
    expect(sourceOf(floor, running).blockedReason).toMatch(/another barcode/);
    return ended;
  },
  'relocation--another-tube-on-its-return--it-stands-in-the-hand-off': async (floor) => {
    const running = await byStore(floor, { ...retrieval, limits: LATER });
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    running.robot.faults.push({ on: 'transfer', how: 'foreign' });
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await decides(floor, running, 'at_target');
    const ended = await ends(running, 'COMPLETED_WITH_DEVIATION', /left the tube in hand-off/);
    expect(isAt(floor, running)).toBe('handoff');
    expect(sourceOf(floor, running).blockedReason).toMatch(/another barcode/);
    return ended;
  },
  'relocation--another-tube': async (floor) => {
    const running = await byStore(floor, retrieval, 'foreign');
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(running.job.waitingFor).toMatchObject({
      kind: 'barcode_mismatch',
      detail: expect.stringMatching(/brought it back to A/),
    });
    expect(isAt(floor, running)).toBe('position');
    await decides(floor, running, 'at_source');
    expect(targetOf(floor, running).blockedReason).toBeNull();
    return ends(running, 'FAILED', /another barcode/);
  },
  'relocation--another-tube-stays-out': async (floor) => {
    const running = await byStore(floor, retrieval, 'foreign', 'nothing_moved');
    await decides(floor, running, 'with_me');
    const ended = await ends(running, 'COMPLETED_WITH_DEVIATION');
    expect(targetOf(floor, running).blockedReason).toMatch(/another barcode/);
    return ended;
  },
  'relocation--another-tube-by-misreading': async (floor) => {
    const running = await byStore(floor, retrieval, 'foreign', 'nothing_moved');
    await decides(floor, running, 'at_target');
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    await floor.handOver(running);
    return ends(running, 'COMPLETED');
  },
  'relocation--another-tube-and-no-way-back': async (floor) => {
    const robot = floor.lab.addRobot('job');
    robot.faults.push({ on: 'transfer', how: 'foreign' });
    const running = await floor.start({ ...refusedAtOrder(floor, retrieval, 2), robot });
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(running.job.waitingFor).toMatchObject({
      detail: expect.stringMatching(/could not be brought back/),
    });
    await decides(floor, running, 'with_me');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'relocation--another-tube-at-the-source': async (floor) => {
    const running = await byStore(floor, retrieval, 'foreign_nothing_moved');
    await decides(floor, running, 'at_source');
    return ends(running, 'FAILED', /another barcode/);
  },
  'relocation--the-record-refuses': async (floor) => {
    const robot = floor.lab.addRobot('job');
    const running = await floor.start({
      ...failing(floor, placement, 'moveCustody', 'LEASE_LOST', 1),
      robot,
    });
    await decides(floor, running, 'at_target');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'relocation--taken-back-at-the-second-try': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'nothing_moved');
    const ended = await ends(running, 'FAILED', /brought the tube back/);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--taken-back-into-quarantine': async (floor) => {
    const quarantine = floor.lab.addPosition('position', true);
    const running = await byStore(floor, retrieval, 'unreadable', 'nothing_moved', 'nothing_moved');
    const ended = await ends(running, 'FAILED', /put into quarantine/);
    expect(quarantine.sampleId).toBe(running.job.sampleId);
    return ended;
  },
  'relocation--not-even-into-quarantine': async (floor) => {
    const quarantine = floor.lab.addPosition('position', true);
    const refusals = Array<RobotFault['how']>(4).fill('nothing_moved');
    const running = await byStore(floor, retrieval, 'unreadable', ...refusals);
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    quarantine.reservedBy = null;
    await decides(floor, running, 'retry_undo');
    return ends(running, 'FAILED', /brought the tube back/);
  },
  'relocation--take-back-refused-and-no-quarantine': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'nothing_moved', 'nothing_moved');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /nothing to take back/);
  },
  'relocation--taken-back-without-being-seen': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'lost_unmoved', 'lost_sight');
    const ended = await ends(running, 'FAILED', /brought the tube back/);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--stopped-while-it-is-taken-back': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'stopped');
    await floor.reaches(running, 'SAFETY_HOLD');
    await release(running);
    return ends(running, 'FAILED', /brought the tube back/);
  },
  'relocation--take-back-unknown': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'no_answer');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    await decides(floor, running, 'at_source');
    return ends(running, 'FAILED', /nothing to take back/);
  },
  'relocation--take-back-tried-again-before-anybody-looked': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'no_answer');
    await decides(floor, running, 'retry_undo');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    expect(running.job.waitingFor).toMatchObject({ detail: expect.stringMatching(/look for it/) });
    await decides(floor, running, 'at_source');
    return ends(running, 'FAILED', /nothing to take back/);
  },
  'relocation--take-back-stays-in-the-carrier': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'stays_in_carrier');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /nothing to take back/);
  },
  'relocation--take-back-finds-another-tube': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'foreign');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    expect(sourceOf(floor, running).blockedReason).toMatch(/another barcode/);
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /nothing to take back/);
  },
};
