import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { type Announcements, listen } from '../../db/announcements.ts';
import { MOTION_SETTLED_CHANNEL, type Motion } from '../../db/motion.ts';
import { RobotFleet } from '../../workers/robot-fleet.ts';
import { generator } from './gateway-campaign.ts';
import { type LabRobot, MotionLab } from './motion-lab.ts';
import { CELL_DRIVERS, type CellDriver, type CellWorld, type LoggedMotion, RobotCell } from './robot-cell.ts';

const WIRE_TIMEOUT_MS = 50;
/** Long after the reply was given up, and until the recovery is over. */
const LATE_MS = { least: 55, most: 200 };

type Random = () => number;
type Fault = Record<string, unknown>;

/** What happens to one command on the wire. */
const DISTURBANCES: Record<string, (random: Random) => Fault> = {
  'timeout before effect': (random) =>
    random() < 0.5
      ? { kind: 'no_reply_to_trigger', when: 'before' }
      : { kind: 'late_trigger', ms: late(random) },
  'timeout after effect': () => ({ kind: 'no_reply_to_trigger', when: 'after' }),
  'late reply': (random) => ({ kind: 'late_reply', to: target(random), ms: late(random) }),
  'wrong transaction': (random) => ({ kind: 'wrong_transaction', to: target(random) }),
};

const late = (random: Random) => Math.round(LATE_MS.least + random() * (LATE_MS.most - LATE_MS.least));
const target = (random: Random) => (random() < 0.5 ? 'trigger' : 'any');

/** How the commands of one driver under one disturbance ended. */
export interface Tally {
  readonly driver: CellDriver;
  readonly disturbance: string;
  commands: number;
  /** commands on which the fault really struck */
  struck: number;
  done: number;
  /** settled as having moved nothing */
  notMoved: number;
  unknown: number;
  /** sentences: what the journal says is not what the store did */
  readonly wrong: string[];
  /** DONE in the journal, and not done by the store's own log */
  readonly silentlySuccessful: string[];
}

/**
 * Sends commands through the real gateway and journal to the real simulators, each with its wire disturbed, for each
 * driver and disturbance at the same time; then holds each result against the store's own motion log.
 * @param commands on which the disturbance strikes, for each driver and disturbance
 */
async function runWireCampaign(seed: number, commands: number): Promise<Tally[]> {
  const lab = await MotionLab.open();
  const settled = new EventEmitter();
  const announcements: Announcements = listen(
    lab.database.appUrl,
    [MOTION_SETTLED_CHANNEL],
    (_, commandId) => settled.emit(commandId),
    () => undefined,
  );
  const fleet = new RobotFleet({
    db: lab.db,
    instance: 'wire campaign',
    log: () => ({ info: () => undefined, warn: () => undefined }),
    wireTimeoutMs: WIRE_TIMEOUT_MS,
    timing: { motionDeadlineMs: 10_000, lookEveryMs: 60_000, retryMs: 5 },
    onServed: () => () => undefined,
  });
  const cells = await Promise.all(
    CELL_DRIVERS.flatMap((driver) =>
      Object.keys(DISTURBANCES).map(async (disturbance) => ({
        disturbance,
        cell: await RobotCell.open(['--speed', '0', '--seed', String(seed)], driver),
      })),
    ),
  );
  try {
    const courses: Course[] = [];
    for (const { cell, disturbance } of cells) {
      await cell.putTube(1, 1, 1, 'TUBE-1');
      const robot = await lab.addRobot(cell.port, cell.driver);
      const counts = { commands: 0, struck: 0, done: 0, notMoved: 0, unknown: 0 };
      const tally = { driver: cell.driver, disturbance, ...counts, wrong: [], silentlySuccessful: [] };
      courses.push({ lab, fleet, settled, cell, robot, tally, random: generator(seed + courses.length) });
    }
    await fleet.start();
    await Promise.all(courses.map((course) => disturbAll(course, commands)));
    return courses.map(({ tally }) => tally);
  } finally {
    await fleet.stop(0);
    await announcements.close();
    await Promise.all(cells.map(({ cell }) => cell.close()));
    await lab.close();
  }
}

interface Course {
  readonly lab: MotionLab;
  readonly fleet: RobotFleet;
  /** emits the command's id when it has a result */
  readonly settled: EventEmitter;
  readonly cell: RobotCell;
  readonly robot: LabRobot;
  readonly tally: Tally;
  readonly random: Random;
}

async function disturbAll(course: Course, commands: number): Promise<void> {
  const { cell, tally, random } = course;
  await perform(course, 'pick', 1); // undisturbed, so that the controller shows a number it keeps
  const ended: Motion[] = [];
  const disturb = DISTURBANCES[tally.disturbance];
  let world = await cell.world();
  // A command may fail before its fault can strike: then it is judged, and not counted.
  while (disturb && tally.struck < commands && tally.commands < 2 * commands) {
    const { carrier, positions } = world;
    const operation = !carrier ? 'pick' : random() < 0.2 ? 'scan' : 'place';
    const [place = '1/1/1'] = Object.keys(positions);
    const slot = carrier ? 1 + Math.floor(random() * 8) : Number(place.split('/')[2]);
    await cell.fault(disturb(random));
    const motion = await perform(course, operation, slot);
    ended.push(motion);
    tally.commands += 1;
    if ((await cell.faults()).length === 0) tally.struck += 1;
    else await cell.clearFaults();
    world = await cell.world();
    const seen = contradiction(motion, world);
    if (seen) tally.wrong.push(seen);
  }
  await sleep(LATE_MS.most); // what is still on its way arrives now
  const log = await cell.log();
  for (const motion of ended) judge(motion, log, tally);
  const numbers = log.map(({ number }) => number);
  if (new Set(numbers).size !== numbers.length) tally.wrong.push('a number was moved under twice');
}

async function perform(
  { lab, fleet, settled, robot }: Course,
  operation: 'pick' | 'place' | 'scan',
  slot: number,
): Promise<Motion> {
  const commandId = randomUUID();
  const announced = once(settled, commandId, { signal: AbortSignal.timeout(60_000) });
  await lab.accept(robot, operation, slot, commandId);
  fleet.ring(robot.robotId);
  await announced;
  return lab.settled(robot, commandId);
}

/** What the sensors in a result say that does not stand so in the store; a sensor nobody read says nothing. */
function contradiction(
  { number, operation, cassette, level, slot, reading }: Motion,
  { carrier, positions }: CellWorld,
): string | null {
  const isThere = positions[`${cassette}/${level}/${slot}`] !== undefined;
  const isTrue = (read: boolean | null | undefined, real: boolean) => (read ?? real) === real;
  const isSeen =
    isTrue(reading?.carrier, carrier !== null) &&
    isTrue(reading?.source, isThere) &&
    isTrue(reading?.target, isThere);
  return isSeen ? null : `${number}: the sensors of the ${operation} read ${JSON.stringify(reading)}`;
}

/** Holds one result against the store's own log; nothing but the wire is disturbed, so a motion that began succeeded. */
function judge({ number, state, reading }: Motion, log: readonly LoggedMotion[], tally: Tally): void {
  const moved = log.find((line) => line.number === number);
  const told = `${number}: ${state}, ${reading?.detail}; the store: ${moved?.result ?? 'nothing'}`;
  if (state === 'DONE') {
    tally.done += 1;
    if (moved?.result !== 'done') tally.silentlySuccessful.push(told);
  } else if (state === 'FAILED') {
    tally.notMoved += 1;
    if (moved) tally.wrong.push(told);
  } else {
    tally.unknown += 1;
  }
}

/** Disturbs so many commands in each way, on each wire, and expects that none is classified wrongly. */
export async function expectWireCampaign(seed: number, commands: number): Promise<void> {
  const tallies = await runWireCampaign(seed, commands);
  console.table(
    tallies.map(({ wrong, silentlySuccessful, ...counts }) => ({
      ...counts,
      wrong: wrong.length,
      'silently successful': silentlySuccessful.length,
    })),
  );
  for (const tally of tallies) {
    const what = `${tally.driver}, ${tally.disturbance}`;
    expect(tally.wrong, what).toEqual([]);
    expect(tally.silentlySuccessful, what).toEqual([]);
    expect(tally.struck, what).toBe(commands);
    expect(tally.done + tally.notMoved + tally.unknown, what).toBe(tally.commands);
    // To know nothing would never be wrong. These controllers keep their number, so nearly everything can be known.
    expect(tally.unknown, what).toBeLessThanOrEqual(commands / 10);
  }
}
