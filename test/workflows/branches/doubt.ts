import { expect } from 'vitest';
import { PICK_TRIES } from '../../../domain/waits.ts';
import { until } from '../../../stack/processes.ts';
import { robotReleasedSignal, turnGrantedSignal } from '../../../workflows/messages/robot.ts';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';
import type { FakeRobot, RobotFault } from '../laboratory.ts';
import { type Branches, decides, ends, failing, type Recordable } from './branch.ts';

const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };
const pick = (how: Extract<RobotFault, { on: 'pick' | 'place' }>['how']): RobotFault => ({ on: 'pick', how });
const place = (how: Extract<RobotFault, { on: 'pick' | 'place' }>['how']): RobotFault => ({
  on: 'place',
  how,
});

/** A placement by a robot that does this wrong. */
function withFaults(
  floor: Floor,
  faults: readonly RobotFault[],
  setup: JobSetup = byRobot,
): Promise<RunningJob> {
  const robot = floor.lab.addRobot();
  robot.faults.push(...faults);
  return floor.start({ ...setup, robot });
}

/** How often the robot did each of the two. */
function motionsOf(floor: Floor, { job }: RunningJob): string {
  return floor.lab.motions
    .flatMap(({ jobId, order }) => (jobId === job.id ? [order.operation] : []))
    .join(' ');
}

async function endsAfter(
  floor: Floor,
  faults: readonly RobotFault[],
  state: 'COMPLETED' | 'FAILED',
  motions: string,
): Promise<Recordable> {
  const running = await withFaults(floor, faults);
  const ended = await ends(running, state);
  expect(motionsOf(floor, running)).toBe(motions);
  expect(running.robot.fence).toBeGreaterThan(0);
  return ended;
}

/** A person releases a robot that stood in a safety hold. */
async function release({ handle, robot }: { handle: RunningJob['handle']; robot: FakeRobot }): Promise<void> {
  const [faultId = 'none'] = robot.heldFaults;
  robot.stop = null;
  robot.heldFaults = [];
  await handle.signal(robotReleasedSignal, { faultId });
}

/** Nobody comes for a tube, the robot fails to fetch it, and its undo's own try to fetch it ends like this. */
async function fetchedBack(floor: Floor, how: 'lost_sight' | 'stopped'): Promise<Recordable> {
  const running = await floor.start({ kind: 'retrieval', mode: 'robot', limits: { pickupMs: 200 } });
  await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
  running.robot.faults.push(...Array<RobotFault>(PICK_TRIES).fill(pick('nothing_moved')), pick(how));
  if (how === 'lost_sight') return ends(running, 'FAILED', /put back/);
  await floor.reaches(running, 'SAFETY_HOLD');
  await release(running);
  return ends(running, 'FAILED', /put back/);
}

/** The job stands in a safety hold; the robot is released, and the job goes on. */
async function stoppedAndReleased(floor: Floor, faults: readonly RobotFault[]): Promise<RunningJob> {
  const running = await withFaults(floor, faults);
  await floor.reaches(running, 'SAFETY_HOLD', 'RECONCILING');
  const { custody } = floor.lab.sample(running.job.sampleId);
  expect(custody.kind).toBe('unknown');
  running.robot.heldFaults = [floor.lab.newId()];
  await release(running);
  return running;
}

export const doubts: Branches = {
  'doubt--picked-at-the-third-try': (floor) =>
    endsAfter(
      floor,
      [pick('nothing_moved'), pick('nothing_moved')],
      'COMPLETED',
      'pick pick pick scan place',
    ),
  'doubt--placed-at-the-second-try': (floor) =>
    endsAfter(floor, [place('nothing_moved')], 'COMPLETED', 'pick scan place place'),
  'doubt--found-in-the-carrier-after-the-pick': (floor) =>
    endsAfter(floor, [pick('lost_sight')], 'COMPLETED', 'pick scan place'),
  'doubt--found-at-the-source-after-the-pick': (floor) =>
    endsAfter(floor, [pick('lost_unmoved')], 'COMPLETED', 'pick pick scan place'),
  'doubt--found-at-the-target': (floor) =>
    endsAfter(floor, [place('lost_sight')], 'COMPLETED', 'pick scan place'),
  'doubt--found-in-the-carrier-after-the-place': (floor) =>
    endsAfter(floor, [place('lost_unmoved')], 'COMPLETED', 'pick scan place place'),
  'doubt--a-tube-too-many': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push(pick('lost_sight'));
    robot.stuck = 'source';
    const running = await floor.start({ ...byRobot, robot });
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(running.job.waitingFor).toMatchObject({ kind: 'foreign_item' });
    await decides(floor, running, 'in_carrier', { next: 'go_on' });
    return ends(running, 'COMPLETED');
  },
  'doubt--picked-again-by-the-operators-word': async (floor) => {
    const running = await withFaults(floor, [pick('dropped')]);
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(running.job.waitingFor).toMatchObject({ kind: 'dropped' });
    await decides(floor, running, 'at_source', { next: 'go_on' });
    const ended = await ends(running, 'COMPLETED');
    expect(motionsOf(floor, running)).toBe('pick pick scan place');
    return ended;
  },
  'doubt--cancelled-before-it-was-picked-again': async (floor) => {
    const running = await withFaults(floor, [pick('dropped')]);
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await floor.cancel(running);
    await decides(floor, running, 'at_source', { next: 'go_on' });
    return ends(running, 'CANCELLED', /picked again/);
  },
  'doubt--found-elsewhere': async (floor) => {
    const running = await withFaults(floor, [place('dropped')]);
    const found = floor.lab.addPosition();
    await decides(floor, running, 'elsewhere', { positionId: found.place.positionId });
    const ended = await ends(running, 'FAILED', /elsewhere/);
    expect(found.sampleId).toBe(running.job.sampleId);
    return ended;
  },
  'doubt--damaged': async (floor) => {
    const running = await withFaults(floor, [place('dropped')]);
    await floor.reaches(running, 'AWAITING_OPERATOR');
    const barehanded = await floor.decide(running, 'damaged', { lockedOut: false });
    expect(barehanded).toMatchObject({ refusal: { errors: [{ pointer: '/lockedOut' }] } });
    await decides(floor, running, 'damaged');
    return ends(running, 'FAILED', /damaged/);
  },
  'doubt--nobody-answers-for-a-while': async (floor) => {
    const limits = { escalateMs: [1, 150] };
    const running = await withFaults(floor, [pick('dropped')], { ...byRobot, limits });
    await floor.reaches(running, 'AWAITING_OPERATOR');
    const steps = () =>
      floor.lab.escalations.flatMap((each) => (each.jobId === running.job.id ? [each.step] : []));
    await until('two steps of escalation', 10_000, () => steps().length === 2);
    expect(steps()).toEqual([1, 2]);
    await decides(floor, running, 'at_target');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },

  'safety--stopped-at-the-pick': async (floor) =>
    ends(await stoppedAndReleased(floor, [pick('stopped')]), 'COMPLETED'),
  'safety--stopped-at-the-place': async (floor) =>
    ends(await stoppedAndReleased(floor, [place('stopped')]), 'COMPLETED'),
  'safety--stopped-before-the-label-is-read': async (floor) => {
    const robot = floor.lab.addRobot();
    const prepare: JobSetup['prepare'] = (job) => {
      let looks = 0;
      const before = ({ name }: { name: string }) => {
        // The second order is the one to read the label.
        if (name === 'submitMotion') looks += 1;
        if (name === 'submitMotion' && looks === 2) robot.stop = 'the controller is in mode estop, not auto';
      };
      floor.hooks.set(job.id, { before });
    };
    const running = await floor.start({ ...byRobot, robot, prepare });
    await floor.reaches(running, 'SAFETY_HOLD');
    await release(running);
    return ends(running, 'COMPLETED');
  },
  'safety--stopped-while-it-is-put-back': async (floor) => {
    const running = await withFaults(floor, [
      place('nothing_moved'),
      place('nothing_moved'),
      place('stopped'),
    ]);
    await floor.reaches(running, 'SAFETY_HOLD');
    await release(running);
    return ends(running, 'FAILED', /put back/);
  },
  'safety--held-by-a-fault-that-nobody-told-of': async (floor) => {
    const running = await withFaults(floor, [pick('stopped')]);
    await floor.reaches(running, 'SAFETY_HOLD');
    // The look finds it: no signal comes.
    running.robot.stop = null;
    return ends(running, 'COMPLETED');
  },
  'safety--stopped-again-before-the-look': async (floor) => {
    const running = await withFaults(floor, [pick('stopped')]);
    await floor.reaches(running, 'SAFETY_HOLD');
    const isHeldOnce = { left: 1 };
    floor.hooks.set(running.job.id, {
      after: ({ name }) => {
        if (name !== 'holdForSafety' || isHeldOnce.left === 0) return;
        isHeldOnce.left -= 1;
        running.robot.stop = null;
      },
    });
    return ends(running, 'COMPLETED');
  },

  'quarantine--when-the-source-does-not-take-it': async (floor) => {
    const quarantine = floor.lab.addPosition('position', true);
    const running = await withFaults(floor, Array<RobotFault>(4).fill(place('nothing_moved')));
    const ended = await ends(running, 'FAILED', /put into quarantine/);
    expect(quarantine.sampleId).toBe(running.job.sampleId);
    return ended;
  },
  'quarantine--does-not-take-it-either': async (floor) => {
    const quarantine = floor.lab.addPosition('position', true);
    const running = await withFaults(floor, Array<RobotFault>(6).fill(place('nothing_moved')));
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    quarantine.reservedBy = null;
    await decides(floor, running, 'retry_undo');
    return ends(running, 'FAILED', /put back/);
  },
  'doubt--put-back-without-being-seen': async (floor) => {
    const running = await withFaults(floor, [
      place('nothing_moved'),
      place('nothing_moved'),
      place('lost_sight'),
    ]);
    return ends(running, 'FAILED', /put back/);
  },
  'doubt--not-put-back-without-being-seen': async (floor) => {
    const running = await withFaults(floor, [
      place('nothing_moved'),
      place('nothing_moved'),
      place('lost_unmoved'),
    ]);
    return ends(running, 'FAILED', /put back/);
  },
  'doubt--put-back-tried-again-before-anybody-looked': async (floor) => {
    const running = await withFaults(floor, [
      place('nothing_moved'),
      place('nothing_moved'),
      place('dropped'),
    ]);
    await decides(floor, running, 'retry_undo');
    await floor.reaches(running, 'AWAITING_OPERATOR', 'COMPENSATION_STUCK');
    expect(running.job.waitingFor).toMatchObject({ detail: expect.stringMatching(/look for it/) });
    expect(floor.lab.sample(running.job.sampleId).custody.kind).toBe('unknown');
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /nothing to put back/);
  },
  'doubt--frozen-without-the-turn': async (floor) => {
    const running = await withFaults(
      floor,
      [pick('lost_unmoved')],
      failing(floor, byRobot, 'freeze', 'TURN_LOST', 1),
    );
    return ends(running, 'FAILED', /says no/);
  },

  'doubt--seen-once-and-too-late': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push(pick('lost_sight'));
    robot.isBlind = true;
    // The first look sees nothing; the second would need a third that agrees, for which there is no time.
    let looks = 0;
    floor.hooks.set(`looks at ${robot.id}`, {
      before: () => {
        looks += 1;
        robot.isBlind = looks < 2;
      },
    });
    const running = await floor.start({ ...byRobot, robot, limits: { observeMs: 50, observeEveryMs: 300 } });
    await floor.reaches(running, 'AWAITING_OPERATOR');
    expect(running.job.waitingFor).toMatchObject({ kind: 'outcome_unknown' });
    await decides(floor, running, 'in_carrier', { next: 'go_on' });
    return ends(running, 'COMPLETED');
  },
  'safety--held-for-longer-than-a-look': async (floor) => {
    const running = await withFaults(floor, [pick('stopped')]);
    let looks = 0;
    const isHeld = new Promise<void>((resolve) => {
      floor.hooks.set(running.job.id, {
        before: ({ name }) => {
          if (name === 'holdForSafety') running.robot.heldFaults = [floor.lab.newId()];
          if (name === 'isHeld') looks += 1;
          if (looks === 2) resolve();
        },
      });
    });
    await isHeld;
    await release(running);
    return ends(running, 'COMPLETED');
  },
  'doubt--the-old-fence-is-told-again': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push(pick('lost_sight'));
    const prepare: JobSetup['prepare'] = (job) => {
      floor.hooks.set(job.id, {
        // The fence has risen; a grant that was told again before it comes only now.
        after: async ({ name }) => {
          if (name !== 'freeze') return;
          const told = { turn: 1, fence: robot.fence - 1, robotId: robot.id };
          await floor.client.workflow.getHandle(job.workflowId).signal(turnGrantedSignal, told);
        },
      });
    };
    const running = await floor.start({ ...byRobot, robot, prepare });
    return ends(running, 'COMPLETED');
  },
  'doubt--fetched-back-without-being-seen': (floor) => fetchedBack(floor, 'lost_sight'),
  'safety--stopped-while-it-is-fetched-back': (floor) => fetchedBack(floor, 'stopped'),

  'queue--the-turn-does-not-come': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.dispatch = 'paused';
    const running = await floor.start({ ...byRobot, robot, limits: { queueMs: 300, notReadyMs: 50 } });
    await until('the alarm', 5_000, () => floor.lab.alarms.has(running.job.id));
    return ends(running, 'FAILED', /did not come/);
  },
};
