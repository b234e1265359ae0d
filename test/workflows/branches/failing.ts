import { ApplicationFailure } from '@temporalio/common';
import { expect } from 'vitest';
import { type Call, failure } from '../fakes.ts';
import type { Floor, JobSetup } from '../floor.ts';
import { type Branches, decides, ends, failing } from './branch.ts';
import { reconcile } from './reconcile.ts';

const byHand: JobSetup = { kind: 'placement', mode: 'hand' };
const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };

/** A setup whose n-th call of this activity, from 1 on, throws: before it does anything, or after it did it. */
function failingAt(
  floor: Floor,
  setup: JobSetup,
  activity: string,
  nth: number,
  thrown: Error,
  when: 'before' | 'after' = 'before',
): JobSetup {
  let seen = 0;
  const fail = ({ name }: Call) => {
    if (name !== activity) return;
    seen += 1;
    if (seen === nth) throw thrown;
  };
  return { ...setup, prepare: (job) => floor.hooks.set(job.id, { [when]: fail }) };
}

const repeatedDifferently = () => failure('STEP_REPEATED_DIFFERENTLY', 'the step was done before');

/** Steps that fail for good, or were done by a workflow task that was lost. */
export const failures: Branches = {
  'placement-by-robot--the-scan-of-the-label-fails-for-good': async (floor) => {
    const broken = ApplicationFailure.nonRetryable('The journal cannot be read', 'BROKEN');
    const running = await floor.start(failingAt(floor, byRobot, 'awaitMotion', 2, broken));
    return ends(running, 'FAILED', /journal cannot be read.*put back/s);
  },
  'placement-by-robot--record-refuses-the-carrier': async (floor) => {
    const lost = failure('LEASE_LOST', 'the position is another job’s');
    const running = await floor.start(failingAt(floor, byRobot, 'moveCustody', 1, lost));
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /The operator has the tube/);
  },
  'placement-by-robot--record-refuses-the-position': async (floor) => {
    const lost = failure('LEASE_LOST', 'the position is another job’s');
    const running = await floor.start(failingAt(floor, byRobot, 'moveCustody', 2, lost));
    await decides(floor, running, 'at_target');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'placement-by-robot--closed-before-and-closed-differently': async (floor) => {
    const setup = failingAt(floor, byRobot, 'finishJob', 1, repeatedDifferently(), 'after');
    return ends(await floor.start(setup), 'COMPLETED');
  },
  'placement-by-hand--over-when-it-is-undone': async (floor) => {
    const over = failure('JOB_FINISHED', 'The job is CANCELLED.', { state: 'CANCELLED' });
    const running = await floor.start(failingAt(floor, byHand, 'releaseReservations', 1, over));
    await floor.reaches(running, 'AWAITING_PERSON');
    await floor.cancel(running);
    return ends(running, 'CANCELLED', /nothing to undo/);
  },
  'placement-by-hand--closed-by-a-scan-that-is-repeated-differently': async (floor) => {
    const setup = failingAt(floor, byHand, 'confirmPlaced', 1, repeatedDifferently(), 'after');
    const running = await floor.start(setup);
    await expect(floor.confirm(running)).resolves.toMatchObject({ outcome: 'refused' });
    return ends(running, 'COMPLETED');
  },
  'placement-by-hand--the-question-fails-for-good': async (floor) => {
    const setup = failing(floor, byHand, 'confirmPlaced', 'STEP_REPEATED_DIFFERENTLY', 1);
    const conflicting = (job: Parameters<NonNullable<JobSetup['prepare']>>[0]) => {
      setup.prepare?.(job);
      const { before } = floor.hooks.get(job.id) ?? {};
      let isRefused = false;
      floor.hooks.set(job.id, {
        before: (call) => {
          if (call.name === 'park' && !isRefused) {
            isRefused = true;
            throw failure('NOT_FOUND', 'there is nobody to ask');
          }
          return before?.(call);
        },
      });
    };
    const running = await floor.start({ ...setup, prepare: conflicting });
    await floor.confirm(running);
    await expect(running.handle.result()).rejects.toThrow();
    const taken = { ...running, handle: await reconcile(floor, running, 'workflow_failed') };
    await decides(floor, taken, 'with_me');
    await ends(taken, 'FAILED');
    return running.handle;
  },
  'placement-by-hand--the-question-about-an-undo-fails-for-good': async (floor) => {
    const running = await floor.start(byHand);
    const refused = new Set(['releaseReservations', 'park']);
    floor.hooks.set(running.job.id, {
      before: ({ name }) => {
        if (refused.delete(name)) throw failure('NOT_FOUND', `${name} says no`);
      },
    });
    await floor.cancel(running);
    await expect(running.handle.result()).rejects.toThrow();
    const taken = { ...running, handle: await reconcile(floor, running, 'workflow_failed') };
    await decides(floor, taken, 'with_me');
    await ends(taken, 'FAILED');
    return running.handle;
  },
  'placement-by-robot--closing-fails-for-good': async (floor) => {
    const running = await floor.start(failing(floor, byRobot, 'finishJob', 'NOT_FOUND', 2));
    await expect(running.handle.result()).rejects.toThrow();
    const taken = { ...running, handle: await reconcile(floor, running, 'workflow_failed') };
    await decides(floor, taken, 'at_target');
    await ends(taken, 'COMPLETED_WITH_DEVIATION');
    return running.handle;
  },
};
