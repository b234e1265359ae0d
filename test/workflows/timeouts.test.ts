import { ApplicationFailure, type ApplicationFailureOptions } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WAITS } from '../../domain/waits.ts';
import { CONTROL_QUEUE, workflowIds } from '../../workflows/ids.ts';
import { COMPARE_INVENTORY } from '../../workflows/messages/inventory.ts';
import { resumeUpdate, robotReleasedSignal } from '../../workflows/messages/robot.ts';
import { RUN_DUE, type RunDueReport } from '../../workflows/messages/schedule.ts';
import { inventoryStartOptions } from '../../workflows/messages/start.ts';
import { findTimeSkippingServer } from '../setup/time-skipping/server.ts';
import { failure } from './fakes.ts';
import type { Floor, JobSetup, RunningJob } from './floor.ts';
import type { RobotFault } from './laboratory.ts';
import { SkippingServer } from './skipping-floor.ts';
import { timersOf } from './timers.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** What the machine may take from a timer to what follows it. */
const LITTLE = 5 * SECOND;

const program = await findTimeSkippingServer((line) => console.log(line));
if ('missing' in program && process.env.CI === 'true') throw new Error(program.missing);
const note = 'missing' in program ? ` (skipped: ${program.missing})` : '';

let server: SkippingServer;
let floor: Floor;
beforeAll(async () => {
  if (!('path' in program)) return;
  server = await SkippingServer.start(program.path);
  floor = await server.open();
});
afterAll(() => server?.close());

/** Timers that a test below shows at work, as `timersOf` and `Waits` name them. */
const shown = new Set<string>();

/** A test of timers, which fails when they come too early or too late. */
function timing(timers: readonly string[], title: string, body: () => Promise<void>): void {
  for (const timer of timers) shown.add(timer);
  test(title, body);
}

/** Checks that this long passed, or a little more. */
function passed(from: number | undefined, to: number | undefined, ms: number, little = LITTLE): void {
  if (from === undefined || to === undefined) throw new Error(`it did not happen: from ${from} to ${to}`);
  expect(to - from).toBeGreaterThanOrEqual(ms);
  expect(to - from).toBeLessThan(ms + little);
}

/** When an activity was called for the job. */
const times = ({ job }: Pick<RunningJob, 'job'>, name: string) => server.times(job.id, name);
const gaps = (at: readonly number[]) => at.slice(1).map((each, n) => each - (at[n] ?? 0));

const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };

function withFaults(on: Floor, ...faults: readonly RobotFault[]): Promise<RunningJob> {
  const robot = on.lab.addRobot();
  robot.faults.push(...faults);
  return on.start({ ...byRobot, robot });
}

/** A job at a robot that people have paused: its turn does not come. */
function atPausedRobot(setup: JobSetup): Promise<RunningJob> {
  const robot = floor.lab.addRobot();
  robot.dispatch = 'paused';
  return floor.start({ ...setup, robot });
}

/** A tube that the robot has brought to the hand-off, and that nobody takes. */
async function atHandoff(): Promise<RunningJob> {
  const running = await floor.start({ kind: 'retrieval', mode: 'robot' });
  await floor.reaches(running, 'AWAITING_PERSON', 'AT_HANDOFF');
  return running;
}

async function ends(running: RunningJob, state: string, detail: RegExp): Promise<void> {
  const outcome = await running.handle.result();
  expect(outcome.detail).toMatch(detail);
  expect(outcome.state).toBe(state);
}

describe.skipIf('missing' in program)(`waiting times by the server’s clock${note}`, () => {
  for (const [kind, mode, reserved] of [
    ['placement', 'hand', 'reservePlacement'],
    ['placement', 'robot', 'reservePlacement'],
    ['retrieval', 'hand', 'reserveRetrieval'],
    ['move', 'hand', 'reserveMove'],
  ] as const) {
    timing(
      ['process.ts new Deadline 1'],
      `a ${kind} by ${mode} that nobody scans gives its positions back when the lease ends`,
      async () => {
        const running = await floor.start({ kind, mode });
        await server.skip(floor.lab.leaseMs - MINUTE);
        expect(running.job.state).toBe('AWAITING_PERSON');
        await server.skip(2 * MINUTE);
        await ends(running, 'FAILED', /The reservation ran out/);
        passed(times(running, reserved)[0], times(running, 'releaseReservations')[0], 15 * MINUTE);
      },
    );
  }

  for (const kind of ['placement', 'retrieval', 'move'] as const) {
    timing(
      ['queueMs', 'notReadyMs', 'turn.ts within 1', 'turn.ts within 2'],
      `a ${kind} whose turn does not come warns after 5 minutes and gives up after 30`,
      async () => {
        const running = await atPausedRobot({ ...byRobot, kind, isScanned: kind === 'placement' });
        await server.skip(29 * MINUTE);
        const [asked] = times(running, 'requestTurn');
        passed(asked, times(running, 'warnNotReady')[0], 5 * MINUTE);
        expect(floor.lab.alarms).toContain(running.job.id);
        expect(running.job).toMatchObject({ state: 'RUNNING', phase: 'AWAITING_TURN' });
        await server.skip(2 * MINUTE);
        await ends(running, 'FAILED', /did not come within 30 minutes/);
        passed(asked, times(running, 'releaseTurn')[0], 30 * MINUTE);
        expect(times(running, 'warnNotReady')).toHaveLength(1);
      },
    );
  }

  for (const [what, classMs, ms] of [
    ['10 minutes', null, 10 * MINUTE],
    ['the 3 minutes of its temperature class', 3 * MINUTE, 3 * MINUTE],
    ['10 minutes where its temperature class allows more', HOUR, 10 * MINUTE],
  ] as const) {
    timing(
      ['pickupMs', 'retrieval.ts new Deadline 1'],
      `a tube that nobody takes from the hand-off goes back after ${what}`,
      async () => {
        floor.lab.pickupMs = classMs;
        const running = await atHandoff();
        await server.skip(ms - MINUTE);
        expect(running.job).toMatchObject({ state: 'AWAITING_PERSON', phase: 'AT_HANDOFF' });
        await server.skip(2 * MINUTE);
        await ends(running, 'FAILED', /Nobody took the tube .* put back/);
        passed(times(running, 'releaseTurn')[0], times(running, 'requestTurn')[1], ms);
        floor.lab.pickupMs = null;
      },
    );
  }

  timing(
    ['notReadyMs', 'turn.ts new Deadline 1'],
    'a tube that goes back and waits for the robot warns after 5 minutes, and nobody gives it up',
    async () => {
      const running = await atHandoff();
      running.robot.dispatch = 'paused';
      await server.skip(5 * HOUR);
      passed(times(running, 'requestTurn')[1], times(running, 'warnNotReady')[0], 5 * MINUTE);
      expect(times(running, 'warnNotReady')).toHaveLength(1);
      expect(running.job).toMatchObject({ state: 'AWAITING_PERSON', phase: 'AT_HANDOFF' });
      const { actor } = floor.lab;
      const entity = floor.client.workflow.getHandle(workflowIds.robot(actor.tenantId, running.robot.id));
      const by = { actor, reason: 'checked' };
      await expect(entity.executeUpdate(resumeUpdate, { args: [by] })).resolves.toMatchObject({
        outcome: 'accepted',
      });
      await ends(running, 'FAILED', /put back/);
    },
  );

  timing(
    ['observeEveryMs', 'observeMs', 'doubt.ts new Deadline 1', 'doubt.ts sleep 1'],
    'a robot that cannot be asked is looked at every 2 s for 30 s, then a person is asked',
    async () => {
      const running = await withFaults(floor, { on: 'pick', how: 'no_answer' });
      await server.skip(MINUTE);
      const looks = server.times(`looks at ${running.robot.id}`, 'inspect');
      for (const gap of gaps(looks)) passed(0, gap, 2 * SECOND, 2 * SECOND);
      // 16 at 0, 2, … 30 s; fewer where each look itself takes its time.
      expect(looks.length).toBeGreaterThanOrEqual(12);
      expect(looks.length).toBeLessThanOrEqual(16);
      passed(times(running, 'freeze')[0], times(running, 'park')[0], 30 * SECOND);
      expect(running.job).toMatchObject({ state: 'AWAITING_OPERATOR', phase: 'OUTCOME_UNKNOWN' });
      running.robot.isBlind = false;
      await floor.decide(running, 'in_carrier', { next: 'go_on' });
      await ends(running, 'COMPLETED', /placed/);
    },
  );

  timing(
    ['observeEveryMs', 'doubt.ts sleep 1'],
    'two looks that agree, 2 s apart, settle it without a person',
    async () => {
      const running = await withFaults(floor, { on: 'pick', how: 'lost_sight' });
      await server.skip(MINUTE);
      await ends(running, 'COMPLETED', /placed/);
      const looks = server.times(`looks at ${running.robot.id}`, 'inspect');
      expect(looks).toHaveLength(2);
      passed(looks[0], looks[1], 2 * SECOND, SECOND);
      expect(times(running, 'park')).toEqual([]);
    },
  );

  timing(
    ['escalateMs', 'process.ts new Deadline 2'],
    'a question that nobody answers is escalated after 5, 15 and 30 minutes, and no more',
    async () => {
      const running = await withFaults(floor, { on: 'pick', how: 'dropped' });
      await server.skip(10 * HOUR);
      const [asked] = times(running, 'park');
      const escalations = times(running, 'escalate');
      expect(escalations).toHaveLength(WAITS.escalateMs.length);
      for (const [n, minutes] of [5, 15, 30].entries()) passed(asked, escalations[n], minutes * MINUTE);
      const steps = floor.lab.escalations.flatMap(({ jobId, step }) =>
        jobId === running.job.id ? [step] : [],
      );
      expect(steps).toEqual([1, 2, 3]);
      expect(running.job.state).toBe('AWAITING_OPERATOR');
      await floor.decide(running, 'at_target');
      await ends(running, 'COMPLETED_WITH_DEVIATION', /as the operator said/);
    },
  );

  timing(['escalateMs'], 'an answer ends the escalation', async () => {
    const running = await withFaults(floor, { on: 'pick', how: 'dropped' });
    await server.skip(6 * MINUTE);
    await floor.decide(running, 'at_target');
    await ends(running, 'COMPLETED_WITH_DEVIATION', /as the operator said/);
    await server.skip(HOUR);
    expect(times(running, 'escalate')).toHaveLength(1);
  });

  timing(
    ['holdLookMs', 'process.ts within 1'],
    'a safety hold is looked at after 2 s, then after pauses that double up to 10 minutes',
    async () => {
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
      const looks = gaps([...times(running, 'holdForSafety'), ...times(running, 'isHeld')]);
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
    ['undoMs', 'activities.ts localRetryThreshold 1'],
    'an undo that keeps failing for 5 minutes asks a person, and goes on by the answer',
    async () => {
      const running = await floor.start({ kind: 'move', mode: 'hand' });
      let isBroken = true;
      floor.hooks.set(running.job.id, {
        before: ({ name }) => {
          if (name === 'releaseReservations' && isBroken)
            throw failure('DATABASE_UNAVAILABLE', 'the database is away');
        },
      });
      await floor.cancel(running);
      await server.skip(6 * MINUTE);
      const tries = times(running, 'releaseReservations');
      expect(running.job).toMatchObject({ state: 'AWAITING_OPERATOR', phase: 'COMPENSATION_STUCK' });
      // Pauses of 0.1 s that double to 6.4 s, then 28 of 10 s.
      expect(tries).toHaveLength(36);
      passed(tries[0], times(running, 'park')[0], 292 * SECOND, 15 * SECOND);
      isBroken = false;
      await floor.decide(running, 'retry_undo');
      await ends(running, 'CANCELLED', /reservations were released/);
    },
  );

  timing(
    ['robot.ts new Deadline 1'],
    'a robot’s turn that another has is asked for again every 10 s, until it is free',
    async () => {
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

  timing(
    [],
    'a store that cannot be read is asked ten times in half a minute, then its comparison fails',
    async () => {
      const { robotId, comparisonId } = await compared({});
      const tries = server.times(robotId, 'readInventory');
      expect(tries).toHaveLength(10);
      passed(tries[0], server.times(comparisonId, 'failComparison')[0], 32 * SECOND);
    },
  );

  timing(
    ['inventory.ts scheduleToCloseTimeout 1'],
    'a store that asks for patience gets 15 minutes of it, then its comparison fails',
    async () => {
      const { robotId, comparisonId } = await compared({ nextRetryDelay: '4 minutes' });
      const tries = server.times(robotId, 'readInventory');
      expect(tries).toHaveLength(4); // the fifth would come after 16 minutes
      for (const gap of gaps(tries)) passed(0, gap, 4 * MINUTE);
      passed(tries[3], server.times(comparisonId, 'failComparison')[0], 0);
    },
  );

  timing(
    [],
    'a planned job that cannot be begun is tried three times in a scan, and does not hold up the next',
    async () => {
      const { tenantId } = floor.lab.actor;
      const [broken, good] = [floor.lab.addSchedule('started'), floor.lab.addSchedule('started')];
      floor.hooks.set(broken.id, {
        before: () => {
          throw failure('DATABASE_UNAVAILABLE', 'the database is away');
        },
      });
      const report = await floor.client.workflow.execute<() => Promise<RunDueReport>>(RUN_DUE, {
        workflowId: workflowIds.due(tenantId),
        taskQueue: floor.taskQueue,
        args: [{ tenantId }] as never,
      });
      expect(report).toMatchObject({ started: 1, failed: 1 });
      const tries = server.times(broken.id, 'beginRun');
      expect(tries).toHaveLength(3);
      passed(tries[0], server.times(good.id, 'beginRun')[0], 300);
    },
  );

  timing(
    [
      'activities.ts startToCloseTimeout 1',
      'activities.ts heartbeatTimeout 1',
      'doubt.ts scheduleToCloseTimeout 1',
      'doubt.ts startToCloseTimeout 1',
    ],
    'a step that hangs is repeated after 2 s, a wait for a motion after 10, and a look is given up after 5',
    async () => {
      const alone = await server.open(CONTROL_QUEUE);
      const unseen = alone.lab.addRobot();
      unseen.faults.push({ on: 'pick', how: 'lost_sight' });
      const [step, motion, look] = [
        hanging('reservePlacement'),
        hanging('awaitMotion'),
        { setup: { ...byRobot, robot: unseen, limits: { observeMs: 1 } }, letGo: () => {} },
      ];
      const jobs = await Promise.all([
        floor.start(step.setup),
        floor.start(motion.setup),
        alone.start(look.setup),
      ]);
      const [stepped, moved, looked] = jobs;
      await alone.reaches(looked, 'AWAITING_OPERATOR');
      await alone.decide(looked, 'in_carrier', { next: 'go_on' });
      for (const job of jobs) await ends(job, 'COMPLETED', /placed/);
      step.letGo();
      motion.letGo();
      const [first, second] = times(stepped, 'reservePlacement');
      passed(first, second, 2 * SECOND);
      const waits = times(moved, 'awaitMotion');
      passed(waits[0], waits[1], 10 * SECOND);
      passed(times(looked, 'freeze')[0], times(looked, 'park')[0], 5 * SECOND);
    },
  );
});

/** A placement of which the first call of this activity hangs until it is let go. */
function hanging(activity: string): { readonly setup: JobSetup; letGo(): void } {
  let letGo = () => {};
  let hung: Promise<void> | null = null;
  const prepare: JobSetup['prepare'] = ({ id }) => {
    floor.hooks.set(id, {
      before: ({ name }) => {
        if (name !== activity || hung !== null) return undefined;
        hung = new Promise((resolve) => {
          letGo = resolve;
        });
        return hung;
      },
    });
  };
  return { setup: { ...byRobot, prepare }, letGo: () => letGo() };
}

/** A comparison with a store that cannot be read, to its end. */
async function compared(fails: Pick<ApplicationFailureOptions, 'nextRetryDelay'>) {
  const robot = floor.lab.addRobot('job');
  const { tenantId } = floor.lab.actor;
  const comparisonId = floor.lab.comparisonOf(robot.id);
  floor.hooks.set(robot.id, {
    before: () => {
      throw ApplicationFailure.create({ message: 'it reorganises itself', ...fails });
    },
  });
  const handle = await floor.client.workflow.start(COMPARE_INVENTORY, {
    ...inventoryStartOptions({ tenantId, robotId: robot.id, comparisonId }),
    taskQueue: floor.taskQueue,
  });
  await server.skip(HOUR);
  await handle.result();
  expect(floor.lab.comparisons.get(comparisonId)?.failure).toBe('it reorganises itself');
  return { robotId: robot.id, comparisonId };
}

const UNDER_WAY = 'the server skips no time while an activity is under way';
const LIKE_MOTIONS = `as of motions, above; kill-picklist.test.ts kills a worker that waits`;
/** Limits of calls that no test here waits for, and why. */
const NOT_HERE: Readonly<Record<string, string>> = {
  'activities.ts startToCloseTimeout 2': `15 minutes of a motion that heartbeats: ${UNDER_WAY}`,
  'activities.ts startToCloseTimeout 3': `15 minutes of a tube that heartbeats: ${UNDER_WAY}`,
  'activities.ts heartbeatTimeout 2': LIKE_MOTIONS,
  'inventory.ts startToCloseTimeout 1': `10 minutes of a comparison that heartbeats: ${UNDER_WAY}`,
  'inventory.ts heartbeatTimeout 1': `30 s: ${UNDER_WAY}`,
  'inventory.ts startToCloseTimeout 2': `10 minutes of reading that heartbeats: ${UNDER_WAY}`,
  'inventory.ts heartbeatTimeout 2': `30 s: ${UNDER_WAY}`,
};

test('every waiting time and every timer of the workflows has its test', () => {
  const timers = [...timersOf('workflows'), ...Object.keys(WAITS)];
  const untested = timers.filter((each) => !shown.has(each) && !(each in NOT_HERE));
  expect(untested).toEqual([]);
  const gone = [...shown, ...Object.keys(NOT_HERE)].filter((each) => !timers.includes(each));
  expect(gone).toEqual([]);
});
