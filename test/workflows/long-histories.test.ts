import { afterEach, beforeEach, expect, test } from 'vitest';
import { until } from '../../stack/processes.ts';
import { faultSignal, ROBOT, type RobotInput, robotViewQuery } from '../../workflows/messages/robot.ts';
import { robotStartOptions } from '../../workflows/messages/start.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { Floor } from './floor.ts';

/** What a worker can replay within the 2 s of a workflow task, also on a busy machine. */
const MOST = 400;

let floor: Floor;
beforeEach(async () => {
  floor = await Floor.open(temporalServer(), workflowBundle());
});
afterEach(() => floor?.close());

test('a robot’s entity goes on in a new run before its history is too long to be replayed in time', async () => {
  const robot = floor.lab.addRobot();
  const { workflowId, workflowTaskTimeout, args } = robotStartOptions(floor.lab.actor.tenantId, robot.id);
  const first = await floor.client.workflow.start<(input: RobotInput) => Promise<void>>(ROBOT, {
    workflowId,
    workflowTaskTimeout,
    taskQueue: floor.taskQueue,
    args,
  });
  const now = floor.client.workflow.getHandle(workflowId);
  const isContinued = async () => (await now.describe()).runId !== first.firstExecutionRunId;
  for (let n = 0; n < MOST && !(await isContinued()); n += 1) {
    await now.signal(faultSignal, { faultId: `fault-${n}`, cleared: false });
    await until('the fault being heard of', 10_000, async () =>
      (await now.query(robotViewQuery)).heldFaults.includes(`fault-${n}`),
    );
    if (n > 0) await now.signal(faultSignal, { faultId: `fault-${n - 1}`, cleared: true });
  }
  expect(await isContinued()).toBe(true);
  const { historyLength } = await floor.client.workflow
    .getHandle(workflowId, first.firstExecutionRunId)
    .describe();
  expect(historyLength).toBeLessThan(MOST);
  // What was held before is held by the next run.
  expect((await now.query(robotViewQuery)).heldFaults.length).toBeGreaterThan(0);
});
