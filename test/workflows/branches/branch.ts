import { expect } from 'vitest';
import type { JobOutcome } from '../../../workflows/messages/job.ts';
import { type Call, failure } from '../fakes.ts';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';

/** What a branch leaves for the record: one history or more. */
export type Recordable = Pick<RunningJob['handle'], 'workflowId' | 'fetchHistory'>;

/** One way through a workflow: plays it, checks it, and gives the workflow whose history shows it. */
export type Branch = (floor: Floor) => Promise<Recordable>;

/** Branches of one workflow by name; the name is that of the history's file. */
export type Branches = Readonly<Record<string, Branch>>;

/** Waits for the end, and checks how it ended. */
export async function ends(
  running: RunningJob,
  state: JobOutcome['state'],
  detail?: RegExp,
): Promise<Recordable> {
  const outcome = await running.handle.result();
  expect(outcome.state, outcome.detail).toBe(state);
  if (detail !== undefined) expect(outcome.detail).toMatch(detail);
  expect(running.job.state).toBe(state);
  return running.handle;
}

/** Answers the operator's question, which must be taken. */
export async function decides(
  floor: Floor,
  running: RunningJob,
  ...answer: Parameters<Floor['decide']> extends [unknown, ...infer Rest] ? Rest : never
): Promise<void> {
  await floor.reaches(running, 'AWAITING_OPERATOR');
  await expect(floor.decide(running, ...answer)).resolves.toEqual({ outcome: 'accepted' });
}

/** A setup whose activity of this name throws, as often as said, before it does anything. */
export function failing(
  floor: Floor,
  setup: JobSetup,
  activity: string,
  code: Parameters<typeof failure>[0],
  times = Number.POSITIVE_INFINITY,
): JobSetup {
  let left = times;
  return {
    ...setup,
    prepare: (job) => {
      setup.prepare?.(job);
      floor.hooks.set(job.id, {
        before: ({ name }) => {
          if (name !== activity || left === 0) return;
          left -= 1;
          throw failure(code, `${activity} says no`);
        },
      });
    },
  };
}

/** Holds every call of this activity, for a job or a robot, until the gate is opened. @param when only those */
export function gateAt(
  floor: Floor,
  whose: string,
  activity: string,
  when: () => boolean = () => true,
): { readonly isReached: Promise<void>; open(): void } {
  let reach = () => {};
  const isReached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const before = ({ name }: Call) => {
    if (name !== activity || !when()) return undefined;
    reach();
    return opened;
  };
  floor.hooks.set(whose, { before });
  return { isReached, open: () => open() };
}

/** A setup that asks to cancel while this activity runs for the n-th time, and lets it end when that is heard. */
export function cancelledDuring(floor: Floor, setup: JobSetup, activity: string, nth = 1): JobSetup {
  let seen = 0;
  return {
    ...setup,
    prepare: (job) => {
      setup.prepare?.(job);
      floor.hooks.set(job.id, {
        before: async ({ name }) => {
          if (name !== activity) return;
          seen += 1;
          if (seen === nth) await floor.cancel({ handle: floor.client.workflow.getHandle(job.workflowId) });
        },
      });
    },
  };
}

/** A setup whose job waits in this activity until the gate is opened. */
export function heldAt(
  floor: Floor,
  setup: JobSetup,
  activity: string,
): { readonly setup: JobSetup; open(): void } {
  let gate: Pick<ReturnType<typeof gateAt>, 'open'> = { open: () => {} };
  const prepare: JobSetup['prepare'] = (job) => {
    setup.prepare?.(job);
    gate = gateAt(floor, job.id, activity);
  };
  return { setup: { ...setup, prepare }, open: () => gate.open() };
}
