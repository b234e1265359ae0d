import { expect } from 'vitest';
import { workflowIds } from '../../../workflows/ids.ts';
import { COMPARE_INVENTORIES, COMPARE_INVENTORY } from '../../../workflows/messages/inventory.ts';
import { inventoryStartOptions } from '../../../workflows/messages/start.ts';
import { failure } from '../fakes.ts';
import type { Floor } from '../floor.ts';
import type { FakeRobot } from '../laboratory.ts';
import { type Branches, gateAt } from './branch.ts';

/** The comparison of one store's inventory, as somebody asks for it. */
async function comparing(floor: Floor, robot: FakeRobot) {
  const { tenantId } = floor.lab.actor;
  const comparisonId = floor.lab.comparisonOf(robot.id);
  const handle = await floor.client.workflow.start(COMPARE_INVENTORY, {
    ...inventoryStartOptions({ tenantId, robotId: robot.id, comparisonId }),
    taskQueue: floor.taskQueue,
  });
  return { handle, comparisonId };
}

/** The comparison of all stores, as the schedule starts it. */
function comparingAll(floor: Floor) {
  const { tenantId } = floor.lab.actor;
  return floor.client.workflow.start(COMPARE_INVENTORIES, {
    workflowId: workflowIds.inventories(tenantId),
    args: [{ tenantId }],
    taskQueue: floor.taskQueue,
    workflowTaskTimeout: '2 seconds',
  });
}

export const inventories: Branches = {
  'inventory--compared': async (floor) => {
    const { handle, comparisonId } = await comparing(floor, floor.lab.addRobot('job'));
    await handle.result();
    expect(floor.lab.comparisons.get(comparisonId)).toMatchObject({ isEnded: true, failure: null });
    return handle;
  },
  'inventory--the-store-does-not-answer': async (floor) => {
    const robot = floor.lab.addRobot('job');
    robot.isBlind = true;
    const { handle, comparisonId } = await comparing(floor, robot);
    await handle.result();
    expect(floor.lab.comparisons.get(comparisonId)).toMatchObject({ failure: 'the store does not answer' });
    return handle;
  },
  'inventory--cannot-be-judged': async (floor) => {
    const robot = floor.lab.addRobot('job');
    const comparisonId = floor.lab.comparisonOf(robot.id);
    floor.hooks.set(comparisonId, {
      before: ({ name }) => {
        if (name === 'judgeInventory') throw failure('NOT_FOUND', 'there is none');
      },
    });
    const { handle } = await comparing(floor, robot);
    await handle.result();
    expect(floor.lab.comparisons.get(comparisonId)).toMatchObject({ failure: 'there is none' });
    return handle;
  },
  'inventory--cancelled-in-temporal': async (floor) => {
    const robot = floor.lab.addRobot('job');
    const gate = gateAt(floor, robot.id, 'readInventory');
    const { handle, comparisonId } = await comparing(floor, robot);
    await gate.isReached;
    await handle.cancel();
    gate.open();
    await handle.result();
    expect(floor.lab.comparisons.get(comparisonId)?.isEnded).toBe(true);
    return handle;
  },
  'inventory--of-all-stores': async (floor) => {
    floor.lab.addRobot();
    const stores = [floor.lab.addRobot('job'), floor.lab.addRobot('job')];
    const running = gateAt(floor, stores[0]?.id ?? '', 'readInventory');
    const first = stores[0] && (await comparing(floor, stores[0]));
    await running.isReached;
    const all = await comparingAll(floor);
    await all.result();
    running.open();
    await first?.handle.result();
    const ended = [...floor.lab.comparisons.values()];
    expect(ended.map(({ robotId }) => robotId).sort()).toEqual(stores.map(({ id }) => id).sort());
    expect(ended.every(({ isEnded, failure: why }) => isEnded && why === null)).toBe(true);
    return all;
  },
};
