import type { WaitsInSeconds } from '../schemas/environment.ts';

/** How long the processes wait for people, robots and answers, in ms; the laboratory's own values come by configuration. */
export interface Waits {
  /** for a robot's turn, before the job gives up its place in the queue */
  readonly queueMs: number;
  /** for a robot that is not ready, before an alarm says so */
  readonly notReadyMs: number;
  /** a tube in the hand-off, before the robot takes it back, where its temperature class says nothing else */
  readonly pickupMs: number;
  /** between two looks at a robot whose last motion nobody can explain */
  readonly observeEveryMs: number;
  /** for looks that explain it, before a person is asked */
  readonly observeMs: number;
  /** longest pause between two looks whether a safety hold is over, which is usually told */
  readonly holdLookMs: number;
  /** for an operator's answer, before each further step of escalation; counted from the question */
  readonly escalateMs: readonly number[];
  /** an undo that keeps failing, before a person is asked */
  readonly undoMs: number;
  /** for a person's scan, before the position goes to somebody else */
  readonly leaseMs: number;
}

const MINUTE = 60_000;

/**
 * Presets. Queue, pick-up, observation and escalation are the proposals of reference/devices 13.2; a laboratory with
 * limits of its own sets them by `AUTOMATION_WAITS`.
 */
export const WAITS: Waits = {
  queueMs: 30 * MINUTE,
  notReadyMs: 5 * MINUTE,
  pickupMs: 10 * MINUTE,
  observeEveryMs: 2_000,
  observeMs: 30_000,
  holdLookMs: 10 * MINUTE,
  escalateMs: [5 * MINUTE, 15 * MINUTE, 30 * MINUTE],
  undoMs: 5 * MINUTE,
  leaseMs: 15 * MINUTE,
};

/** How often a robot tries to pick one tube up, and to put it down, before the tube goes back. */
export const PICK_TRIES = 3;
export const PLACE_TRIES = 2;

/** What a laboratory sets in seconds, in the milliseconds of the processes; what it does not set is left out. */
export function waitsOf(given: WaitsInSeconds | null): Partial<Waits> {
  const entries = Object.entries(given ?? {}).map(([name, value]) => [
    `${name}Ms`,
    Array.isArray(value) ? value.map((each) => each * 1_000) : value * 1_000,
  ]);
  return Object.fromEntries(entries);
}
