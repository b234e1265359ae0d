import { expect } from 'vitest';
import { failure } from '../fakes.ts';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';
import type { FakePosition, RobotFault } from '../laboratory.ts';
import { type Branches, cancelledDuring, decides, ends, failing } from './branch.ts';

const retrieval: JobSetup = { kind: 'retrieval', mode: 'robot' };
const placement: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };
const SOON = { pickupMs: 1 };

/** A job whose robot is a store that takes worklists. */
function byStore(floor: Floor, setup: JobSetup, ...faults: RobotFault['how'][]): Promise<RunningJob> {
  const robot = floor.lab.addRobot('job');
  for (const how of faults) robot.faults.push({ on: 'transfer', how } as RobotFault);
  return floor.start({ ...setup, robot });
}

const isAt = (floor: Floor, { job }: RunningJob) => floor.lab.sample(job.sampleId).custody.kind;

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

export const relocations: Branches = {
  'relocation--retrieval-handed-over': async (floor) => {
    const running = await byStore(floor, retrieval);
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    await floor.handOver(running);
    const operations = floor.lab.motions
      .filter(({ jobId }) => jobId === running.job.id)
      .map(({ order }) => order.operation);
    expect(operations).toEqual(['transfer']);
    return ends(running, 'COMPLETED');
  },
  'relocation--retrieval-nobody-came': async (floor) => {
    const running = await byStore(floor, { ...retrieval, limits: SOON });
    const ended = await ends(running, 'FAILED', /Nobody took the tube.*brought the tube back/s);
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
  'relocation--cancelled-on-the-way': async (floor) => {
    const robot = floor.lab.addRobot('job');
    const running = await floor.start({ ...cancelledDuring(floor, retrieval, 'awaitMotion'), robot });
    const ended = await ends(running, 'CANCELLED', /brought the tube back/);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--nothing-moved': async (floor) => {
    const running = await byStore(floor, retrieval, 'nothing_moved');
    return ends(running, 'FAILED', /did not bring the tube.*nothing to take back/s);
  },
  'relocation--false-failure': async (floor) => {
    const running = await byStore(floor, placement, 'moved_but_failed');
    return ends(running, 'COMPLETED');
  },
  'relocation--dropped': async (floor) => {
    const running = await byStore(floor, retrieval, 'dropped');
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(floor.lab.sample(running.job.sampleId).custody).toMatchObject({
      kind: 'unknown',
      candidates: [{ kind: 'position' }, { kind: 'carrier' }, { kind: 'handoff' }],
    });
    await decides(floor, running, 'not_found');
    return ends(running, 'FAILED', /Nobody knows where the tube is/);
  },
  'relocation--no-answer': async (floor) => {
    const running = await byStore(floor, retrieval, 'no_answer');
    await decides(floor, running, 'at_target');
    await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
    await floor.handOver(running);
    return ends(running, 'COMPLETED');
  },
  'relocation--stays-in-the-carrier': async (floor) => {
    const running = await byStore(floor, placement, 'stays_in_carrier');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'OUTCOME_UNKNOWN');
    expect(floor.lab.sample(running.job.sampleId).custody).toMatchObject({
      candidates: [{ kind: 'carrier' }],
    });
    await decides(floor, running, 'in_carrier');
    // The store's own robot takes no single moves: a person takes the tube out.
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /nothing to take back/);
  },
  'relocation--label-unread': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable');
    const ended = await ends(running, 'FAILED', /could not read the label.*brought the tube back/s);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--label-unread-in-its-position': async (floor) => {
    const running = await byStore(floor, placement, 'unreadable');
    const ended = await ends(running, 'FAILED', /brought the tube back to hand-off/);
    expect(isAt(floor, running)).toBe('handoff');
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
  'relocation--take-back-refused-once': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'nothing_moved');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    await decides(floor, running, 'retry_undo');
    const ended = await ends(running, 'FAILED', /brought the tube back/);
    expect(isAt(floor, running)).toBe('position');
    return ended;
  },
  'relocation--take-back-unknown': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'no_answer');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    await decides(floor, running, 'at_source');
    return ends(running, 'FAILED', /nothing to take back/);
  },
  'relocation--take-back-finds-another-tube': async (floor) => {
    const running = await byStore(floor, retrieval, 'unreadable', 'foreign');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    const source = floor.lab.position(running.job.source?.positionId ?? '');
    expect(source.blockedReason).toMatch(/another barcode/);
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /nothing to take back/);
  },
};
