import { expect } from 'vitest';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';
import type { RobotFault } from '../laboratory.ts';
import type { SkippingServer } from './server.ts';

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
/** What the machine may take from a timer to what follows it. */
const LITTLE = 5 * SECOND;

export const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };

/** A test of timers. */
export interface Timing {
  /** the timers it shows at work, as `timersOf` and `Waits` name them */
  readonly shows: readonly string[];
  readonly title: string;
  readonly body: (scene: Scene) => Promise<void>;
}

/** Where timers are tested. */
export class Scene {
  readonly server: SkippingServer;
  readonly floor: Floor;

  constructor(server: SkippingServer, floor: Floor) {
    this.server = server;
    this.floor = floor;
  }

  /** When an activity was called for the job. */
  times({ job }: Pick<RunningJob, 'job'>, name: string): readonly number[] {
    return this.server.times(job.id, name);
  }

  /** A placement by a robot that does this wrong. */
  withFaults(...faults: readonly RobotFault[]): Promise<RunningJob> {
    const robot = this.floor.lab.addRobot();
    robot.faults.push(...faults);
    return this.floor.start({ ...byRobot, robot });
  }
}

/**
 * Checks that this long passed, or a little more.
 * @param ms what is expected
 * @param little what may pass above that
 */
export function passed(from: number | undefined, to: number | undefined, ms: number, little = LITTLE): void {
  if (from === undefined || to === undefined) throw new Error(`it did not happen: from ${from} to ${to}`);
  expect(to - from).toBeGreaterThanOrEqual(ms);
  expect(to - from).toBeLessThan(ms + little);
}

/** What passed from each to the next. */
export const gaps = (at: readonly number[]) => at.slice(1).map((each, n) => each - (at[n] ?? 0));

/** Waits for the end, and checks how it ended. */
export async function ends(running: RunningJob, state: string, detail: RegExp): Promise<void> {
  const outcome = await running.handle.result();
  expect(outcome.detail).toMatch(detail);
  expect(outcome.state).toBe(state);
}
