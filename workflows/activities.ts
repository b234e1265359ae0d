import {
  type LocalActivityInterfaceFor,
  type LocalActivityOptions,
  proxyActivities,
  proxyLocalActivities,
} from '@temporalio/workflow';
import type {
  HandlingActivities,
  MotionActivities,
  PicklistActivities,
  RobotActivities,
  ScheduleActivities,
  StorageActivities,
} from '../activities/contract.ts';
import { ERRORS } from '../domain/errors.ts';

/** Failures that the same call would meet again: by the code of the domain error they carry. */
const FINAL_FAILURES = Object.entries(ERRORS)
  .filter(([, { retryable }]) => !retryable)
  .map(([code]) => code);

/** Waits between attempts, in ms: doubling from the first to the longest. */
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 10_000;

/** Until the database or the server is back; a refusal is not repeated. */
export const RETRY = {
  initialInterval: FIRST_WAIT_MS,
  backoffCoefficient: 2,
  maximumInterval: LONGEST_WAIT_MS,
  nonRetryableErrorTypes: FINAL_FAILURES,
};

const STEP: LocalActivityOptions = {
  startToCloseTimeout: '2 seconds',
  localRetryThreshold: '5 seconds',
  retry: RETRY,
};

type LocalSteps = StorageActivities &
  RobotActivities &
  Pick<MotionActivities, 'submitMotion'> &
  Pick<PicklistActivities, 'advancePicklist' | 'cancelPicklist'>;

/** The steps of a process. */
export type Steps = LocalActivityInterfaceFor<LocalSteps>;

/** The step that runs now, of this workflow. */
let underWay: Promise<unknown> | null = null;

/**
 * Runs a step when no other runs. Two at once, one of the body's and one of a message's handler, would come back one by
 * one when they are run and together when they are replayed; what follows would happen in another order then, and the
 * workflow never go on.
 */
async function alone<T>(step: () => Promise<T>): Promise<T> {
  while (underWay !== null) await Promise.allSettled([underWay]);
  const mine = step();
  underWay = mine;
  try {
    return await mine;
  } finally {
    underWay = null;
  }
}

function oneByOne(options: LocalActivityOptions): Steps {
  return new Proxy(proxyLocalActivities<LocalSteps>(options), {
    get: (proxied, name, receiver) => {
      const step: (...args: unknown[]) => Promise<unknown> = Reflect.get(proxied, name, receiver);
      return (...args: unknown[]) => alone(() => step(...args));
    },
  });
}

/**
 * Steps of a process: one short transaction each, tried until it is written or refused.
 * @param summary what a person reads in the Temporal Web UI
 */
export function steps(summary: string): Steps {
  return oneByOne({ ...STEP, summary });
}

/**
 * The same steps for an undo. The server does not end the retries of a local activity by time, so attempts are counted.
 * @param undoMs milliseconds of failing after which the step fails, so that a person is asked
 */
export function undoSteps(summary: string, undoMs: number): Steps {
  return oneByOne({
    ...STEP,
    summary,
    retry: { ...RETRY, maximumAttempts: attemptsWithin(undoMs) },
  });
}

/**
 * Steps of a scan that comes again soon: given up after a few attempts, so that one that cannot be done holds up neither
 * those after it nor the next scan.
 */
export function scanSteps(summary: string) {
  const retry = { ...RETRY, maximumAttempts: 3 };
  return proxyLocalActivities<ScheduleActivities>({ ...STEP, summary, retry });
}

/** How many attempts the waits between them leave room for. */
function attemptsWithin(ms: number): number {
  let attempts = 1;
  for (let waited = 0, wait = FIRST_WAIT_MS; waited + wait <= ms; attempts += 1) {
    waited += wait;
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
  return attempts;
}

/**
 * Motions, and the wait for them: may be repeated at will. They have no end by time: a command that was accepted is
 * settled by the gateway alone.
 */
export function motions(summary: string) {
  return proxyActivities<HandlingActivities & Pick<MotionActivities, 'awaitMotion'>>({
    startToCloseTimeout: '15 minutes',
    heartbeatTimeout: '10 seconds',
    retry: RETRY,
    summary,
  });
}

/** What a picklist does to the jobs of its tubes: may be repeated at will. */
export function tubes(summary: string) {
  return proxyActivities<Pick<PicklistActivities, 'startTube' | 'stopTubes' | 'awaitTubes'>>({
    startToCloseTimeout: '15 minutes',
    heartbeatTimeout: '10 seconds',
    retry: RETRY,
    summary,
  });
}
