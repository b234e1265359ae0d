import { expect } from 'vitest';
import { until } from '../../../stack/processes.ts';
import { workflowIds } from '../../../workflows/ids.ts';
import type { JobOutcome } from '../../../workflows/messages/job.ts';
import { RECONCILE_JOB, type ReconcileInput } from '../../../workflows/messages/reconcile.ts';
import { failure } from '../fakes.ts';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';
import { type Branches, decides, ends } from './branch.ts';

/** Terminates a job's workflow from outside, and starts the one that takes over, as the sweep does. */
export async function takenOver(
  floor: Floor,
  setup: JobSetup,
  until: (running: RunningJob) => Promise<void>,
): Promise<RunningJob> {
  const running = await floor.start(setup);
  await until(running);
  await running.handle.terminate('by hand');
  return { ...running, handle: await reconcile(floor, running, 'workflow_terminated') };
}

/** Starts the workflow that takes a job over. */
export function reconcile(
  floor: Floor,
  { job }: Pick<RunningJob, 'job'>,
  cause: ReconcileInput['cause'],
): Promise<RunningJob['handle']> {
  return floor.client.workflow.start<(input: ReconcileInput) => Promise<JobOutcome>>(RECONCILE_JOB, {
    workflowId: workflowIds.reconcile(floor.lab.actor.tenantId, job.id),
    taskQueue: floor.taskQueue,
    workflowTaskTimeout: '2 seconds',
    args: [{ jobId: job.id, actor: floor.lab.actor, cause }],
  });
}

const byHand: JobSetup = { kind: 'placement', mode: 'hand' };

export const reconciliations: Branches = {
  'reconcile--job-is-over': async (floor) => {
    const running = await floor.start({ ...byHand, isScanned: true });
    await ends(running, 'COMPLETED');
    const handle = await reconcile(floor, running, 'workflow_gone');
    await expect(handle.result()).resolves.toBeNull();
    return handle;
  },
  'reconcile--by-hand--with-the-person': async (floor) => {
    const running = await takenOver(floor, byHand, (each) => floor.reaches(each, 'AWAITING_PERSON'));
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /terminated from outside/);
  },
  'reconcile--by-hand--cancelled': async (floor) => {
    const running = await takenOver(floor, byHand, (each) => floor.reaches(each, 'AWAITING_PERSON'));
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await floor.cancel(running);
    await decides(floor, running, 'with_me');
    return ends(running, 'CANCELLED');
  },
  'reconcile--retrieval-by-robot--with-the-person': async (floor) => {
    const running = await takenOver(floor, { kind: 'retrieval', mode: 'robot' }, (each) =>
      floor.reaches(each, 'AWAITING_PERSON', 'AT_HANDOFF'),
    );
    await floor.reaches(running, 'AWAITING_OPERATOR');
    const inCarrier = await floor.decide(running, 'in_carrier');
    expect(inCarrier).toMatchObject({ outcome: 'refused', refusal: { code: 'VALIDATION' } });
    await decides(floor, running, 'with_me');
    return ends(running, 'COMPLETED_WITH_DEVIATION');
  },
  'reconcile--placement-by-robot--in-place': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'no_answer' });
    const running = await takenOver(floor, { ...byHand, mode: 'robot', isScanned: true, robot }, (each) =>
      floor.reaches(each, 'AWAITING_OPERATOR'),
    );
    await floor.parkedBy(running.job, running.handle.workflowId);
    await decides(floor, running, 'at_target');
    const ended = await ends(running, 'COMPLETED_WITH_DEVIATION');
    expect(robot.turnJobId).toBeNull();
    // The lost workflow froze the robot too: one answer frees it, also for the robot's entity.
    const next = await floor.start({ ...byHand, mode: 'robot', isScanned: true, robot });
    await ends(next, 'COMPLETED');
    return ended;
  },
  'reconcile--placement-by-robot--not-found': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'dropped' });
    const running = await takenOver(floor, { ...byHand, mode: 'robot', isScanned: true, robot }, (each) =>
      floor.reaches(each, 'AWAITING_OPERATOR'),
    );
    await floor.parkedBy(running.job, running.handle.workflowId);
    await decides(floor, running, 'not_found');
    return ends(running, 'FAILED', /not found/);
  },
  'reconcile--by-hand--cancelled-in-temporal': async (floor) => {
    const running = await takenOver(floor, byHand, (each) => floor.reaches(each, 'AWAITING_PERSON'));
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await running.handle.cancel();
    await decides(floor, running, 'with_me');
    const ended = await ends(running, 'CANCELLED');
    expect(running.job.isCancelRequested).toBe(true);
    return ended;
  },
  'reconcile--by-hand--cancelled-again-and-in-temporal': async (floor) => {
    const running = await takenOver(floor, byHand, (each) => floor.reaches(each, 'AWAITING_PERSON'));
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await floor.cancel(running);
    await expect(floor.cancel(running)).resolves.toEqual({ outcome: 'accepted' });
    await running.handle.cancel();
    await decides(floor, running, 'with_me');
    return ends(running, 'CANCELLED');
  },
  'reconcile--placement-by-robot--its-last-motion-cannot-be-read': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'no_answer' });
    const running = await takenOver(
      floor,
      { ...byHand, mode: 'robot', isScanned: true, robot },
      async (each) => {
        await floor.reaches(each, 'AWAITING_OPERATOR');
        failsOnce(floor, each, 'awaitMotion');
      },
    );
    await floor.parkedBy(running.job, running.handle.workflowId);
    await decides(floor, running, 'at_target');
    const ended = await ends(running, 'COMPLETED_WITH_DEVIATION', /could not be read/);
    expect(robot).toMatchObject({ turnJobId: null, heldFaults: [] });
    return ended;
  },
  'reconcile--placement-by-robot--cannot-be-ended-at-first': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.faults.push({ on: 'place', how: 'no_answer' });
    const running = await takenOver(
      floor,
      { ...byHand, mode: 'robot', isScanned: true, robot },
      async (each) => {
        await floor.reaches(each, 'AWAITING_OPERATOR');
        failsOnce(floor, each, 'releaseTurn');
      },
    );
    await floor.parkedBy(running.job, running.handle.workflowId);
    const { faultId } = running.job;
    await decides(floor, running, 'at_target');
    await until('the next question', 10_000, () => ![null, faultId].includes(running.job.faultId));
    await decides(floor, running, 'at_target');
    const ended = await ends(running, 'COMPLETED_WITH_DEVIATION');
    expect(robot).toMatchObject({ turnJobId: null, heldFaults: [] });
    return ended;
  },
  'reconcile--by-hand--the-question-fails-for-good': async (floor) => {
    const running = await takenOver(floor, byHand, async (each) => {
      await floor.reaches(each, 'AWAITING_PERSON');
      failsOnce(floor, each, 'park');
    });
    await expect(running.handle.result()).rejects.toThrow();
    const { runId } = await running.handle.describe();
    // Nobody was asked: the job stays open, and the sweep has it taken over again.
    expect(running.job.state).toBe('AWAITING_PERSON');
    const again = { ...running, handle: await reconcile(floor, running, 'workflow_failed') };
    await decides(floor, again, 'with_me');
    await ends(again, 'FAILED', /failed/);
    return floor.client.workflow.getHandle(running.handle.workflowId, runId);
  },
  'reconcile--by-hand--taken-over-again-after-it-asked': async (floor) => {
    const taken = await takenOver(floor, byHand, (each) => floor.reaches(each, 'AWAITING_PERSON'));
    await floor.reaches(taken, 'AWAITING_OPERATOR');
    const { faultId } = taken.job;
    await taken.handle.terminate('by hand');
    const running = { ...taken, handle: await reconcile(floor, taken, 'workflow_gone') };
    await until('the next question', 10_000, () => taken.job.faultId !== faultId);
    expect(taken.job.waitingFor).toMatchObject({ kind: 'workflow_gone' });
    await decides(floor, running, 'with_me');
    return ends(running, 'FAILED', /The operator answered: with me/);
  },
};

/** The job's next activity of this name fails for good. */
function failsOnce(floor: Floor, { job }: Pick<RunningJob, 'job'>, activity: string): void {
  let hasFailed = false;
  floor.hooks.set(job.id, {
    before: ({ name }) => {
      if (name !== activity || hasFailed) return;
      hasFailed = true;
      throw failure('CONFLICT', `${activity} says no`);
    },
  });
}
