import { expect } from 'vitest';
import { workflowIds } from '../../../workflows/ids.ts';
import type { JobOutcome } from '../../../workflows/messages/job.ts';
import { RECONCILE_JOB, type ReconcileInput } from '../../../workflows/messages/reconcile.ts';
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
    return ended;
  },
    // The lost workflow froze the robot too: one answer frees it, also for the robot's entity.
    const next = await floor.start({ ...byHand, mode: 'robot', isScanned: true, robot });
    await ends(next, 'COMPLETED');
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
  'reconcile--by-hand--cancelled-again-and-in-temporal': async (floor) => {
    const running = await takenOver(floor, byHand, (each) => floor.reaches(each, 'AWAITING_PERSON'));
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await floor.cancel(running);
    await expect(floor.cancel(running)).resolves.toEqual({ outcome: 'accepted' });
  'reconcile--by-hand--cancelled-in-temporal': async (floor) => {
    const running = await takenOver(floor, byHand, (each) => floor.reaches(each, 'AWAITING_PERSON'));
    await floor.reaches(running, 'AWAITING_OPERATOR');
    await running.handle.cancel();
    await decides(floor, running, 'with_me');
    const ended = await ends(running, 'CANCELLED');
    expect(running.job.isCancelRequested).toBe(true);
    return ended;
  },
    await running.handle.cancel();
    await decides(floor, running, 'with_me');
    return ends(running, 'CANCELLED');
  },
};
