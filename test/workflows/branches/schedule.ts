import type { WorkflowHandle } from '@temporalio/client';
import { expect } from 'vitest';
import { workflowIds } from '../../../workflows/ids.ts';
import { RUN_DUE, type RunDueReport } from '../../../workflows/messages/schedule.ts';
import { failure } from '../fakes.ts';
import type { Floor } from '../floor.ts';
import type { Branches } from './branch.ts';

const NOTHING: RunDueReport = { started: 0, refused: 0, missed: 0, unmet: 0, later: 0, failed: 0 };

/** One scan, as the Temporal Schedule starts it. */
function scan(floor: Floor): Promise<WorkflowHandle<() => Promise<RunDueReport>>> {
  const { tenantId } = floor.lab.actor;
  return floor.client.workflow.start<() => Promise<RunDueReport>>(RUN_DUE, {
    workflowId: `${workflowIds.due(tenantId)}-2026-03-02T08:15:00Z`,
    taskQueue: floor.taskQueue,
    workflowTaskTimeout: '2 seconds',
    args: [{ tenantId }] as never,
  });
}

/** Scans for planned jobs. */
export const scans: Branches = {
  'due--nothing': async (floor) => {
    const handle = await scan(floor);
    await expect(handle.result()).resolves.toEqual(NOTHING);
    return handle;
  },
  'due--some-of-each': async (floor) => {
    const ends = ['started', 'refused', 'missed', 'unmet', 'later', 'started'] as const;
    const schedules = ends.map((end) => floor.lab.addSchedule(end));
    const handle = await scan(floor);
    await expect(handle.result()).resolves.toEqual({
      ...NOTHING,
      started: 2,
      refused: 1,
      missed: 1,
      unmet: 1,
      later: 1,
    });
    expect(schedules.map(({ runs }) => runs)).toEqual([1, 1, 0, 0, 0, 1]);
    return handle;
  },
  'due--one-cannot-be-begun': async (floor) => {
    const stuck = floor.lab.addSchedule('started');
    const next = floor.lab.addSchedule('started');
    floor.hooks.set(stuck.id, {
      before: () => {
        throw failure('INTERNAL', 'it says no each time');
      },
    });
    const handle = await scan(floor);
    await expect(handle.result()).resolves.toEqual({ ...NOTHING, started: 1, failed: 1 });
    expect([stuck.runs, next.runs]).toEqual([0, 1]);
    return handle;
  },
};
