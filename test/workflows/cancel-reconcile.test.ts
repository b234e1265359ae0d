import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../stack/processes.ts';
import { workflowIds } from '../../workflows/ids.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { reconcile } from './branches/reconcile.ts';
import { failure } from './fakes.ts';
import { Floor } from './floor.ts';
import type { FakeJob, FakeRobot } from './laboratory.ts';
import { type Play, prepare, trueAnswer } from './play.ts';

let floor: Floor;
beforeAll(async () => {
  floor = await Floor.open(temporalServer(), workflowBundle());
});
afterAll(() => {
  stopSteps();
  return floor?.close();
});

/** A job, and when its workflow is lost: at a state of the job, or while its step of this name runs. */
interface Lost {
  readonly play: Play;
  readonly when: ((job: FakeJob) => boolean) | 'submitMotion' | 'awaitMotion';
}

const isAwaitingPerson = ({ state }: FakeJob) => state === 'AWAITING_PERSON';
const isParked = ({ state }: FakeJob) => state === 'AWAITING_OPERATOR';
const scanned = { kind: 'placement', mode: 'robot', isScanned: true } as const;

const LOST: Readonly<Record<string, Lost>> = {
  'placement by hand, before the scan': {
    play: { setup: { kind: 'placement', mode: 'hand' } },
    when: isAwaitingPerson,
  },
  'placement by robot, with the turn and before a motion': { play: { setup: scanned }, when: 'submitMotion' },
  'placement by robot, parked': {
    play: { setup: scanned, faults: [{ on: 'place', how: 'no_answer' }] },
    when: isParked,
  },
  'retrieval by robot, at the hand-off': {
    play: { setup: { kind: 'retrieval', mode: 'robot' } },
    when: isAwaitingPerson,
  },
  'move by robot, with a motion under way': {
    play: { setup: { kind: 'move', mode: 'robot' } },
    when: 'awaitMotion',
  },
};

/** Steps of a lost workflow that its worker still runs: they come to nothing, at the end of all tests. */
let stopSteps = () => {};
const stopped = new Promise<never>((_, reject) => {
  stopSteps = () => reject(failure('JOB_FINISHED', 'the workflow of this step is gone'));
});
stopped.catch(() => {});

/** Starts a job, and terminates its workflow when it is there. */
async function lose({ play, when }: Lost): Promise<FakeJob> {
  const { job, setup } = prepare(floor, play);
  const handle = floor.client.workflow.getHandle(job.workflowId);
  let isLost = false;
  floor.hooks.set(job.id, {
    before: async ({ name }) => {
      if (name !== when) return;
      if (!isLost) await handle.terminate('by hand');
      isLost = true;
      await stopped;
    },
  });
  const begun = floor.begin(job, setup);
  begun.reservation.catch(() => {}); // the workflow may be lost before it answers
  await begun.handle;
  if (typeof when === 'string') await until(`${job.id} being lost`, 20_000, () => isLost);
  else {
    await until(`${job.id} being where it is lost`, 20_000, () => when(job));
    await handle.terminate('by hand');
  }
  return job;
}

/** Where a cancel is thrown in: while a step of the reconciliation runs for the n-th time, or before the operator answers. */
type Await = { readonly step: number } | 'answer';

/** Reconciles a lost job, the operator saying what is true. */
async function reconciled(lost: Lost, at: Await | null, how: 'update' | 'temporal') {
  const job = await lose(lost);
  const robot = floor.lab.robot(job.robotId ?? '');
  let steps = 0;
  const asking: Promise<unknown>[] = [];
  const cancel = (): Promise<unknown> => {
    const to = floor.client.workflow.getHandle(reconcileId(job));
    // The workflow may have ended before it heard.
    const asked = (how === 'temporal' ? to.cancel() : floor.cancel({ handle: to })).catch(() => {});
    asking.push(asked);
    return asked;
  };
  floor.hooks.set(job.id, {
    before: async ({ name }) => {
      if (name === 'submitMotion') return stopped; // the lost workflow's: this one moves nothing
      const isHere = at !== null && at !== 'answer' && at.step === steps;
      steps += 1;
      if (!isHere) return;
      const asked = cancel();
      // A workflow hears nothing while one of its local steps runs; it waits for the motion and hears.
      if (name === 'awaitMotion' || how === 'temporal') await asked;
    },
  });
  const handle = await reconcile(floor, { job }, 'workflow_terminated');
  await floor.parkedBy(job, handle.workflowId);
  await floor.reaches({ job }, 'AWAITING_OPERATOR');
  if (at === 'answer') {
    await cancel();
    // Nobody knows where the tube is until somebody says so: the question stays.
    expect(job).toMatchObject({ state: 'AWAITING_OPERATOR', faultId: expect.any(String) });
  }
  const { physical } = floor.lab.sample(job.sampleId);
  // It moves nothing: a tube in the carrier has to be taken out.
  const answer = physical.kind === 'carrier' ? 'with_me' : trueAnswer(floor, job);
  // The answer may be lost together with its workflow task, by an event that came meanwhile: what it did stands.
  await floor.decide({ job, handle }, answer).catch(() => {});
  const outcome = await handle.result();
  await Promise.all(asking);
  return { job, robot, outcome, steps };
}

const reconcileId = ({ id }: FakeJob) => workflowIds.reconcile(floor.lab.actor.tenantId, id);

/** A robot whose job was reconciled works for the next. */
async function worksOn(robot: FakeRobot): Promise<void> {
  const next = await floor.start({ ...scanned, robot });
  await expect(next.handle.result()).resolves.toMatchObject({ state: 'COMPLETED' });
}

describe.each(Object.entries(LOST))('the reconciliation of a lost %s', (_name, lost) => {
  test.each(['update', 'temporal'] as const)(
    'cancelled by %s at every await asks all the same, and leaves nothing open',
    { timeout: 150_000 },
    async (how) => {
      const { steps, outcome: undisturbed } = await reconciled(lost, null, how);
      expect(steps).toBeGreaterThan(2);
      const places: Await[] = [...Array.from({ length: steps }, (_, step) => ({ step })), 'answer'];
      const all = await Promise.all(places.map((at) => reconciled(lost, at, how)));
      expect(floor.lab.problems()).toEqual([]);
      // A wish to cancel changes what an undone job is called, and nothing else.
      const isDone = undisturbed.state === 'COMPLETED_WITH_DEVIATION';
      for (const { job, outcome } of all) {
        expect(isDone ? [undisturbed.state] : ['CANCELLED', 'FAILED']).toContain(outcome.state);
        expect(job.state).toBe(outcome.state);
        if (outcome.state === 'CANCELLED') expect(job.isCancelRequested).toBe(true);
      }
      const states = all.map(({ outcome }) => outcome.state);
      if (!isDone) expect(states.filter((state) => state === 'CANCELLED').length).toBeGreaterThan(1);
      // Also what the lost workflow froze is free by the one answer.
      for (const { robot } of all) expect(robot).toMatchObject({ turnJobId: null, heldFaults: [] });
      await Promise.all(all.map(({ robot }) => worksOn(robot)));
      expect(floor.lab.problems()).toEqual([]);
      console.log(`${places.length} awaits: ${states.join(', ')}`);
    },
  );
});
