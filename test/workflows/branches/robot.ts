import { WorkflowFailedError } from '@temporalio/client';
import { expect } from 'vitest';
import { until } from '../../../stack/processes.ts';
import { workflowIds } from '../../../workflows/ids.ts';
import {
  clearUpdate,
  faultSignal,
  maintenanceUpdate,
  pauseUpdate,
  ROBOT,
  type RobotInput,
  releaseTurnSignal,
  requestTurnSignal,
  resumeUpdate,
  robotViewQuery,
} from '../../../workflows/messages/robot.ts';
import { failure } from '../fakes.ts';
import type { Floor, JobSetup, RunningJob } from '../floor.ts';
import type { FakeRobot } from '../laboratory.ts';
import { type Branches, ends, gateAt, heldAt } from './branch.ts';

/** Starts a robot's entity, or finds the one that runs. */
export async function entityOf(floor: Floor, robot: FakeRobot, input: Partial<RobotInput> = {}) {
  const { tenantId } = floor.lab.actor;
  return floor.client.workflow.start<(input: RobotInput) => Promise<void>>(ROBOT, {
    workflowId: workflowIds.robot(tenantId, robot.id),
    taskQueue: floor.taskQueue,
    workflowTaskTimeout: '2 seconds',
    workflowIdConflictPolicy: 'USE_EXISTING',
    args: [{ tenantId, robotId: robot.id, state: null, ...input }],
  });
}

const byRobot: JobSetup = { kind: 'placement', mode: 'robot', isScanned: true };

export const robots: Branches = {
  'robot--priority-order-after-a-pause': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const by = { actor: floor.lab.actor, reason: null };
    await expect(entity.executeUpdate(pauseUpdate, { args: [by] })).resolves.toEqual({ outcome: 'accepted' });
    const jobs: (RunningJob & { readonly priority: number })[] = [];
    for (const priority of [10, 30, 20]) {
      const job = await floor.start({ ...byRobot, robot, priority });
      await floor.queues(robot.id, job.job.id);
      jobs.push({ ...job, priority });
    }
    expect(robot.turnJobId).toBeNull();
    await entity.executeUpdate(resumeUpdate, { args: [by] });
    for (const job of jobs) await ends(job, 'COMPLETED');
    const order = floor.lab.motions.filter(
      ({ order: { robotId, operation } }) => robotId === robot.id && operation === 'pick',
    );
    expect(order.map(({ jobId }) => jobs.find(({ job }) => job.id === jobId)?.priority)).toEqual([
      30, 20, 10,
    ]);
    return entity;
  },
  'robot--held-by-a-fault': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const by = { actor: floor.lab.actor, reason: null };
    await entity.executeUpdate(maintenanceUpdate, { args: [by] });
    robot.heldFaults = ['fault-1'];
    await entity.signal(faultSignal, { faultId: 'fault-1', cleared: false });
    const resumed = await entity.executeUpdate(resumeUpdate, { args: [by] });
    expect(resumed).toMatchObject({ outcome: 'refused', refusal: { code: 'ROBOT_UNAVAILABLE' } });
    const job = await floor.start({ ...byRobot, robot });
    await entity.signal(faultSignal, { faultId: 'another', cleared: true });
    await floor.queues(robot.id, job.job.id);
    const stale = await entity.executeUpdate(clearUpdate, { args: [{ ...by, faultId: 'another' }] });
    expect(stale).toMatchObject({ outcome: 'refused', refusal: { code: 'STALE_ANSWER' } });
    await entity.executeUpdate(clearUpdate, { args: [{ ...by, faultId: 'fault-1' }] });
    await entity.executeUpdate(resumeUpdate, { args: [by] });
    await ends(job, 'COMPLETED');
    return entity;
  },
  'robot--terminated-while-held-and-in-maintenance': async (floor) => {
    const robot = floor.lab.addRobot();
    const first = await entityOf(floor, robot);
    const by = { actor: floor.lab.actor, reason: 'the gripper is bent' };
    await first.executeUpdate(maintenanceUpdate, { args: [by] });
    robot.heldFaults = ['fault-1', 'fault-2'];
    const waiting = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, waiting.job.id);
    await first.terminate('lost with its server');
    robot.queue = [];
    // It is started again by the next request, and knows the one before it, too.
    const next = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, next.job.id);
    expect(robot.queue.map(({ jobId }) => jobId)).toEqual([waiting.job.id, next.job.id]);
    const entity = floor.client.workflow.getHandle(first.workflowId);
    await expect(entity.query(robotViewQuery)).resolves.toMatchObject({
      dispatch: 'maintenance',
      heldFaults: ['fault-1', 'fault-2'],
      current: null,
    });
    for (const faultId of ['fault-1', 'fault-2']) {
      expect(await entity.executeUpdate(resumeUpdate, { args: [by] })).toMatchObject({ outcome: 'refused' });
      await entity.executeUpdate(clearUpdate, { args: [{ ...by, faultId }] });
    }
    expect(robot.turnJobId).toBeNull();
    expect(floor.lab.motions.filter(({ order }) => order.robotId === robot.id)).toEqual([]);
    await entity.executeUpdate(resumeUpdate, { args: [by] });
    for (const job of [waiting, next]) await ends(job, 'COMPLETED');
    return entity;
  },
  'robot--held-without-having-heard-of-it': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const by = { actor: floor.lab.actor, reason: null };
    await entity.executeUpdate(pauseUpdate, { args: [by] });
    await entity.executeUpdate(resumeUpdate, { args: [by] });
    robot.heldFaults = ['fault-1'];
    const job = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, job.job.id);
    expect(robot.turnJobId).toBeNull();
    await entity.executeUpdate(clearUpdate, { args: [{ ...by, faultId: 'fault-1' }] });
    await ends(job, 'COMPLETED');
    return entity;
  },
  'robot--a-stranger-is-refused': async (floor) => {
    const entity = await entityOf(floor, floor.lab.addRobot());
    const actor = { ...floor.lab.actor, tenantId: 'another tenant' };
    await expect(entity.executeUpdate(pauseUpdate, { args: [{ actor, reason: null }] })).rejects.toThrow();
    await expect(entity.query(robotViewQuery)).resolves.toMatchObject({ dispatch: 'running' });
    return entity;
  },
  'robot--request-repeated-and-late': async (floor) => {
    const robot = floor.lab.addRobot();
    const job = await floor.start({ ...byRobot, robot });
    await ends(job, 'COMPLETED');
    const entity = floor.client.workflow.getHandle(workflowIds.robot(floor.lab.actor.tenantId, robot.id));
    const request = {
      jobId: job.job.id,
      turn: 1,
      workflowId: job.job.workflowId,
      priority: 1,
      requestedAt: 1,
    };
    await entity.signal(requestTurnSignal, request);
    await entity.signal(releaseTurnSignal, { jobId: job.job.id, turn: 1 });
    await expect(entity.query(robotViewQuery)).resolves.toMatchObject({ queue: [], current: null });
    return entity;
  },
  'robot--the-job-is-gone': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const job = floor.prepare({ ...byRobot, robot });
    const request = { jobId: job.id, turn: 1, workflowId: job.workflowId, priority: 1, requestedAt: 1 };
    await entity.signal(requestTurnSignal, { ...request, jobId: 'a job nobody knows' });
    await entity.signal(requestTurnSignal, request);
    await until('the turn being granted', 5_000, () => robot.turnJobId === job.id);
    robot.turnJobId = null; // the reconciliation's step ends the turn before it tells the entity
    await entity.signal(releaseTurnSignal, { jobId: job.id, turn: null });
    const next = await floor.start({ ...byRobot, robot });
    await ends(next, 'COMPLETED');
    Object.assign(job, { state: 'FAILED' });
    return entity;
  },
  'robot--continued-as-new': async (floor) => {
    const { first } = await continued(floor);
    return first;
  },
  'robot--continued-from-the-run-before': async (floor) => {
    const { last } = await continued(floor);
    return last;
  },
  'robot--terminated-while-a-job-has-the-turn': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const gate = heldAt(floor, { ...byRobot, robot }, 'awaitMotion');
    const holder = await floor.start(gate.setup);
    await floor.reaches(holder, 'RUNNING', 'PICKING');
    await entity.terminate('lost with its server');
    const next = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, next.job.id);
    const again = floor.client.workflow.getHandle(entity.workflowId);
    await expect(again.query(robotViewQuery)).resolves.toMatchObject({ current: { jobId: holder.job.id } });
    gate.open();
    for (const job of [holder, next]) await ends(job, 'COMPLETED');
    return again;
  },
  'robot--the-turn-ends-before-its-job-is-told-again': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const gate = heldAt(floor, { ...byRobot, robot }, 'awaitMotion');
    const holder = await floor.start(gate.setup);
    await floor.reaches(holder, 'RUNNING', 'PICKING');
    await entity.terminate('lost with its server');
    floor.hooks.set(robot.id, {
      after: async ({ name }) => {
        if (name !== 'loadRobot') return;
        gate.open();
        await until('the turn being given back', 5_000, () => holder.job.state === 'COMPLETED');
      },
    });
    const again = await entityOf(floor, robot);
    await ends(holder, 'COMPLETED');
    await until('the entity knowing that', 5_000, async () => {
      return (await again.query(robotViewQuery)).current === null;
    });
    return again;
  },
  'robot--asked-while-it-grants': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const by = { actor: floor.lab.actor, reason: null };
    await entity.executeUpdate(resumeUpdate, { args: [by] }); // from here on it knows how it stands
    const gate = gateAt(floor, robot.id, 'grantTurn');
    const first = await floor.start({ ...byRobot, robot });
    await gate.isReached;
    const second = await floor.start({ ...byRobot, robot });
    // It hears nothing while a step runs, until the step has lasted for most of a workflow task's time.
    await until('both being queued', 10_000, async () => {
      return (await entity.query(robotViewQuery)).queue.length === 2;
    });
    gate.open();
    for (const job of [first, second]) await ends(job, 'COMPLETED');
    return entity;
  },
  'robot--cancelled-before-it-knows-how-it-stands': async (floor) => {
    const robot = floor.lab.addRobot();
    const gate = gateAt(floor, robot.id, 'loadRobot');
    const entity = await entityOf(floor, robot);
    await gate.isReached;
    const by = { actor: floor.lab.actor, reason: null };
    const commanded = entity.executeUpdate(pauseUpdate, { args: [by] });
    await entity.cancel();
    await expect(commanded).resolves.toMatchObject({
      outcome: 'refused',
      refusal: { code: 'WORKFLOWS_UNAVAILABLE' },
    });
    gate.open();
    await expect(entity.result()).rejects.toThrow(WorkflowFailedError);
    return entity;
  },
  'robot--cancelled-in-temporal': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const by = { actor: floor.lab.actor, reason: null };
    await entity.executeUpdate(pauseUpdate, { args: [by] });
    const waiting = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, waiting.job.id);
    await entity.cancel();
    await expect(entity.result()).rejects.toThrow(WorkflowFailedError);
    const cancelled = floor.client.workflow.getHandle(entity.workflowId, entity.firstExecutionRunId);
    // The next one who asks starts it again, and it knows who waited.
    Object.assign(robot, { queue: [], dispatch: 'running' });
    const next = await floor.start({ ...byRobot, robot });
    for (const job of [waiting, next]) await ends(job, 'COMPLETED');
    return cancelled;
  },
  'robot--refused-twice-for-the-same-fault': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const by = { actor: floor.lab.actor, reason: null };
    await entity.executeUpdate(resumeUpdate, { args: [by] }); // from here on it knows how it stands
    robot.heldFaults = ['fault-1'];
    const job = await floor.start({ ...byRobot, robot });
    await floor.queues(robot.id, job.job.id);
    await entity.signal(faultSignal, { faultId: 'fault-1', cleared: true });
    // It asked the database, was refused again, and knows that it is held.
    await until('the fault being known again', 5_000, async () => {
      return (await entity.query(robotViewQuery)).heldFaults.length === 1;
    });
    await entity.executeUpdate(clearUpdate, { args: [{ ...by, faultId: 'fault-1' }] });
    await ends(job, 'COMPLETED');
    return entity;
  },
  'robot--a-fault-is-told-while-the-turn-is-refused': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    const by = { actor: floor.lab.actor, reason: null };
    await entity.executeUpdate(resumeUpdate, { args: [by] }); // from here on it knows how it stands
    robot.heldFaults = ['fault-1'];
    const gate = gateAt(floor, robot.id, 'grantTurn');
    const job = await floor.start({ ...byRobot, robot });
    await gate.isReached;
    await entity.signal(faultSignal, { faultId: 'fault-1', cleared: false });
    // It hears nothing while a step runs, until the step has lasted for most of a workflow task's time.
    await holds(entity, 'fault-1');
    gate.open();
    await floor.queues(robot.id, job.job.id);
    await entity.executeUpdate(clearUpdate, { args: [{ ...by, faultId: 'fault-1' }] });
    await ends(job, 'COMPLETED');
    return entity;
  },
  'robot--a-command-is-overtaken-by-a-fault': async (floor) => {
    const robot = floor.lab.addRobot();
    robot.heldFaults = ['fault-1'];
    const entity = await entityOf(floor, robot);
    await holds(entity, 'fault-1');
    const gate = gateAt(floor, robot.id, 'commandRobot');
    const by = { actor: floor.lab.actor, reason: null };
    const cleared = entity.executeUpdate(clearUpdate, { args: [{ ...by, faultId: 'fault-1' }] });
    await gate.isReached;
    await entity.signal(faultSignal, { faultId: 'fault-2', cleared: false });
    await holds(entity, 'fault-1', 'fault-2');
    gate.open();
    await expect(cleared).resolves.toEqual({ outcome: 'accepted' });
    await holds(entity, 'fault-2');
    await entity.signal(faultSignal, { faultId: 'fault-2', cleared: true });
    await ends(await floor.start({ ...byRobot, robot }), 'COMPLETED');
    return entity;
  },
  'robot--a-command-fails-for-good': async (floor) => {
    const robot = floor.lab.addRobot();
    const entity = await entityOf(floor, robot);
    floor.hooks.set(robot.id, {
      before: ({ name }) => {
        if (name !== 'commandRobot') return;
        floor.hooks.delete(robot.id);
        throw failure('NOT_FOUND', 'the command cannot be written');
      },
    });
    const by = { actor: floor.lab.actor, reason: null };
    await expect(entity.executeUpdate(pauseUpdate, { args: [by] })).rejects.toThrow();
    // The commands after it are carried out.
    await expect(entity.executeUpdate(pauseUpdate, { args: [by] })).resolves.toEqual({ outcome: 'accepted' });
    await entity.executeUpdate(resumeUpdate, { args: [by] });
    await ends(await floor.start({ ...byRobot, robot }), 'COMPLETED');
    return entity;
  },
};

/** Waits until the entity knows just these faults. */
function holds(entity: Awaited<ReturnType<typeof entityOf>>, ...faults: readonly string[]): Promise<void> {
  return until(`the robot being held by ${faults.join()}`, 10_000, async () => {
    const { heldFaults } = await entity.query(robotViewQuery);
    return heldFaults.join() === faults.join();
  });
}

/** A robot that works through its queue in more than one run. */
async function continued(floor: Floor) {
  const robot = floor.lab.addRobot();
  const entity = await entityOf(floor, robot, { maxHistory: 30 });
  const jobs: RunningJob[] = [];
  for (let n = 0; n < 4; n += 1) jobs.push(await floor.start({ ...byRobot, robot }));
  for (const job of jobs) await ends(job, 'COMPLETED');
  const now = floor.client.workflow.getHandle(entity.workflowId);
  await until('every turn being settled', 5_000, async () => {
    return (await now.query(robotViewQuery)).settledTurns.length === 4;
  });
  expect((await now.query(robotViewQuery)).queue).toEqual([]);
  const { runId } = await now.describe();
  expect(runId).not.toBe(entity.firstExecutionRunId);
  return {
    first: floor.client.workflow.getHandle(entity.workflowId, entity.firstExecutionRunId),
    last: floor.client.workflow.getHandle(entity.workflowId, runId),
  };
}
