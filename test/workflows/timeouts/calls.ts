import { ApplicationFailure, type ApplicationFailureOptions } from '@temporalio/common';
import { expect } from 'vitest';
import { CONTROL_QUEUE, workflowIds } from '../../../workflows/ids.ts';
import { COMPARE_INVENTORY } from '../../../workflows/messages/inventory.ts';
import { RUN_DUE, type RunDueReport } from '../../../workflows/messages/schedule.ts';
import { inventoryStartOptions } from '../../../workflows/messages/start.ts';
import { failure } from '../fakes.ts';
import type { JobSetup } from '../floor.ts';
import { byRobot, ends, gaps, HOUR, MINUTE, passed, type Scene, SECOND, type Timing } from './scene.ts';

/** A placement of which the first call of this activity hangs until it is let go. */
function hanging({ floor }: Scene, activity: string): { readonly setup: JobSetup; letGo(): void } {
  let letGo = () => {};
  let hung: Promise<void> | null = null;
  const prepare: JobSetup['prepare'] = ({ id }) => {
    floor.hooks.set(id, {
      before: ({ name }) => {
        if (name !== activity || hung !== null) return undefined;
        hung = new Promise((resolve) => {
          letGo = resolve;
        });
        return hung;
      },
    });
  };
  return { setup: { ...byRobot, prepare }, letGo: () => letGo() };
}

/** A comparison with a store that cannot be read, to its end. */
async function compared({ floor, server }: Scene, fails: Pick<ApplicationFailureOptions, 'nextRetryDelay'>) {
  const robot = floor.lab.addRobot('job');
  const { tenantId } = floor.lab.actor;
  const comparisonId = floor.lab.comparisonOf(robot.id);
  floor.hooks.set(robot.id, {
    before: () => {
      throw ApplicationFailure.create({ message: 'it reorganises itself', ...fails });
    },
  });
  const handle = await floor.client.workflow.start(COMPARE_INVENTORY, {
    ...inventoryStartOptions({ tenantId, robotId: robot.id, comparisonId }),
    taskQueue: floor.taskQueue,
  });
  await server.skip(HOUR);
  await handle.result();
  expect(floor.lab.comparisons.get(comparisonId)?.failure).toBe('it reorganises itself');
  return { robotId: robot.id, comparisonId };
}

/** Calls that fail again and again, or hang. */
export const calls: Timing[] = [];
const timing = (shows: Timing['shows'], title: string, body: Timing['body']) =>
  calls.push({ shows, title, body });

timing(
  [],
  'a store that cannot be read is asked ten times in half a minute, then its comparison fails',
  async (scene) => {
    const { server } = scene;
    const { robotId, comparisonId } = await compared(scene, {});
    const tries = server.times(robotId, 'readInventory');
    expect(tries).toHaveLength(10);
    passed(tries[0], server.times(comparisonId, 'failComparison')[0], 32 * SECOND);
  },
);

timing(
  ['inventory.ts scheduleToCloseTimeout 1'],
  'a store that asks for patience gets 15 minutes of it, then its comparison fails',
  async (scene) => {
    const { server } = scene;
    const { robotId, comparisonId } = await compared(scene, { nextRetryDelay: '4 minutes' });
    const tries = server.times(robotId, 'readInventory');
    expect(tries).toHaveLength(4); // the fifth would come after 16 minutes
    for (const gap of gaps(tries)) passed(0, gap, 4 * MINUTE);
    passed(tries[3], server.times(comparisonId, 'failComparison')[0], 0);
  },
);

timing(
  [],
  'a planned job that cannot be begun is tried three times in a scan, and does not hold up the next',
  async (scene) => {
    const { floor, server } = scene;
    const { tenantId } = floor.lab.actor;
    const [broken, good] = [floor.lab.addSchedule('started'), floor.lab.addSchedule('started')];
    floor.hooks.set(broken.id, {
      before: () => {
        throw failure('DATABASE_UNAVAILABLE', 'the database is away');
      },
    });
    const report = await floor.client.workflow.execute<() => Promise<RunDueReport>>(RUN_DUE, {
      workflowId: workflowIds.due(tenantId),
      taskQueue: floor.taskQueue,
      args: [{ tenantId }] as never,
    });
    expect(report).toMatchObject({ started: 1, failed: 1 });
    const tries = server.times(broken.id, 'beginRun');
    expect(tries).toHaveLength(3);
    passed(tries[0], server.times(good.id, 'beginRun')[0], 300);
  },
);

timing(
  [
    'activities.ts startToCloseTimeout 1',
    'activities.ts heartbeatTimeout 1',
    'doubt.ts scheduleToCloseTimeout 1',
    'doubt.ts startToCloseTimeout 1',
  ],
  'a step that hangs is repeated after 2 s, a wait for a motion after 10, and a look is given up after 5',
  async (scene) => {
    const { floor, server } = scene;
    const alone = await server.open(CONTROL_QUEUE);
    const unseen = alone.lab.addRobot();
    unseen.faults.push({ on: 'pick', how: 'lost_sight' });
    const [step, motion, look] = [
      hanging(scene, 'reservePlacement'),
      hanging(scene, 'awaitMotion'),
      { setup: { ...byRobot, robot: unseen, limits: { observeMs: 1 } }, letGo: () => {} },
    ];
    const jobs = await Promise.all([
      floor.start(step.setup),
      floor.start(motion.setup),
      alone.start(look.setup),
    ]);
    const [stepped, moved, looked] = jobs;
    await alone.reaches(looked, 'AWAITING_OPERATOR');
    await alone.decide(looked, 'in_carrier', { next: 'go_on' });
    for (const job of jobs) await ends(job, 'COMPLETED', /placed/);
    step.letGo();
    motion.letGo();
    const [first, second] = scene.times(stepped, 'reservePlacement');
    passed(first, second, 2 * SECOND);
    const waits = scene.times(moved, 'awaitMotion');
    passed(waits[0], waits[1], 10 * SECOND);
    passed(scene.times(looked, 'freeze')[0], scene.times(looked, 'park')[0], 5 * SECOND);
  },
);
