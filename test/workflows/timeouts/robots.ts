import { expect } from 'vitest';
import { robotReleasedSignal } from '../../../workflows/messages/robot.ts';
import type { JobSetup, RunningJob } from '../floor.ts';
import { byRobot, ends, gaps, HOUR, MINUTE, passed, type Scene, SECOND, type Timing } from './scene.ts';

/** A job at a robot that people have paused: its turn does not come. */
function atPausedRobot({ floor }: Scene, setup: JobSetup): Promise<RunningJob> {
  const robot = floor.lab.addRobot();
  robot.dispatch = 'paused';
  return floor.start({ ...setup, robot });
}

/** Waits for robots: for a turn, for a look that explains, for the end of a safety hold. */
export const robots: Timing[] = [];
const timing = (shows: Timing['shows'], title: string, body: Timing['body']) =>
  robots.push({ shows, title, body });

for (const kind of ['placement', 'retrieval', 'move'] as const) {
  timing(
    ['queueMs', 'notReadyMs', 'turn.ts within 1', 'turn.ts within 2'],
    `a ${kind} whose turn does not come warns after 5 minutes and gives up after 30`,
    async (scene) => {
      const { floor, server } = scene;
      const running = await atPausedRobot(scene, { ...byRobot, kind, isScanned: kind === 'placement' });
      await server.skip(29 * MINUTE);
      const [asked] = scene.times(running, 'requestTurn');
      passed(asked, scene.times(running, 'warnNotReady')[0], 5 * MINUTE);
      expect(floor.lab.alarms).toContain(running.job.id);
      expect(running.job).toMatchObject({ state: 'RUNNING', phase: 'AWAITING_TURN' });
      await server.skip(2 * MINUTE);
      await ends(running, 'FAILED', /did not come within 30 minutes/);
      passed(asked, scene.times(running, 'releaseTurn')[0], 30 * MINUTE);
      expect(scene.times(running, 'warnNotReady')).toHaveLength(1);
    },
  );
}

timing(
  ['observeEveryMs', 'observeMs', 'doubt.ts new Deadline 1', 'doubt.ts sleep 1'],
  'a robot that cannot be asked is looked at every 2 s for 30 s, then a person is asked',
  async (scene) => {
    const { floor, server } = scene;
    const running = await scene.withFaults({ on: 'pick', how: 'no_answer' });
    await server.skip(MINUTE);
    const looks = server.times(`looks at ${running.robot.id}`, 'inspect');
    for (const gap of gaps(looks)) passed(0, gap, 2 * SECOND, 2 * SECOND);
    // 16 at 0, 2, … 30 s; fewer where each look itself takes its time.
    expect(looks.length).toBeGreaterThanOrEqual(12);
    expect(looks.length).toBeLessThanOrEqual(16);
    passed(scene.times(running, 'freeze')[0], scene.times(running, 'park')[0], 30 * SECOND);
    expect(running.job).toMatchObject({ state: 'AWAITING_OPERATOR', phase: 'OUTCOME_UNKNOWN' });
    running.robot.isBlind = false;
    await floor.decide(running, 'in_carrier', { next: 'go_on' });
    await ends(running, 'COMPLETED', /placed/);
  },
);

timing(
  ['observeEveryMs', 'doubt.ts sleep 1'],
  'two looks that agree, 2 s apart, settle it without a person',
  async (scene) => {
    const { server } = scene;
    const running = await scene.withFaults({ on: 'pick', how: 'lost_sight' });
    await server.skip(MINUTE);
    await ends(running, 'COMPLETED', /placed/);
    const looks = server.times(`looks at ${running.robot.id}`, 'inspect');
    expect(looks).toHaveLength(2);
    passed(looks[0], looks[1], 2 * SECOND, SECOND);
    expect(scene.times(running, 'park')).toEqual([]);
  },
);

timing(
  ['holdLookMs', 'process.ts within 1'],
  'a safety hold is looked at after 2 s, then after pauses that double up to 10 minutes',
  async (scene) => {
    const { floor, server } = scene;
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'pick', how: 'stopped' });
    const prepare: JobSetup['prepare'] = ({ id }) => {
      floor.hooks.set(id, {
        before: ({ name }) => {
          if (name === 'holdForSafety') robot.heldFaults = ['stopped'];
        },
      });
    };
    const running = await floor.start({ ...byRobot, robot, prepare });
    await server.skip(HOUR);
    const looks = gaps([...scene.times(running, 'holdForSafety'), ...scene.times(running, 'isHeld')]);
    const pauses = [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600];
    expect(looks).toHaveLength(pauses.length);
    for (const [n, seconds] of pauses.entries()) passed(0, looks[n], seconds * SECOND, 2 * SECOND);
    expect(running.job.state).toBe('SAFETY_HOLD');
    running.robot.stop = null;
    running.robot.heldFaults = [];
    await running.handle.signal(robotReleasedSignal, { faultId: 'stopped' });
    // Told, it looks at once; the two looks where the tube is are 2 s apart.
    await server.skip(MINUTE);
    await ends(running, 'COMPLETED', /placed/);
  },
);

timing(
  ['robot.ts new Deadline 1'],
  'a robot’s turn that another has is asked for again every 10 s, until it is free',
  async (scene) => {
    const { floor, server } = scene;
    const robot = floor.lab.addRobot();
    robot.turnJobId = 'another';
    const running = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, running.job.id);
    await server.skip(35 * SECOND);
    const asked = server.times(robot.id, 'grantTurn');
    expect(asked).toHaveLength(4);
    for (const gap of gaps(asked)) passed(0, gap, 10 * SECOND, 2 * SECOND);
    robot.turnJobId = null;
    await server.skip(10 * SECOND);
    await ends(running, 'COMPLETED', /placed/);
  },
);
