import { expect } from 'vitest';
import type { PicklistEnd, PicklistItemState } from '../../../domain/picklist.ts';
import { PICK_TRIES } from '../../../domain/waits.ts';
import { until } from '../../../stack/processes.ts';
import { cancelUpdate } from '../../../workflows/messages/job.ts';
import type { Floor, JobSetup, RunningPicklist } from '../floor.ts';
import type { FakePicklist } from '../laboratory.ts';
import type { Branches, Recordable } from './branch.ts';

const byHand: JobSetup = { kind: 'retrieval', mode: 'hand' };
const byRobot: JobSetup = { kind: 'retrieval', mode: 'robot' };

const states = ({ items }: FakePicklist): PicklistItemState[] => items.map(({ state }) => state);

/** Waits for the list's end, and checks how it and each tube ended. */
async function lists(
  { list, handle }: RunningPicklist,
  state: PicklistEnd,
  tubes: readonly PicklistItemState[],
): Promise<Recordable> {
  await expect(handle.result()).resolves.toEqual({ state });
  expect(states(list)).toEqual(tubes);
  return handle;
}

/** The robot brings tube n, and somebody takes it. */
async function handsOver(floor: Floor, running: RunningPicklist, n: number): Promise<void> {
  const tube = await floor.tube(running, n);
  await floor.reaches(tube, 'AWAITING_PERSON', 'AT_HANDOFF');
  await expect(floor.handOver(tube)).resolves.toEqual({ outcome: 'accepted' });
}

async function confirms(floor: Floor, running: RunningPicklist, n: number): Promise<void> {
  await expect(floor.confirm(await floor.tube(running, n))).resolves.toEqual({ outcome: 'accepted' });
}

/** A list by hand that goes on in more than one run. */
async function continued(floor: Floor) {
  const running = await floor.startPicklist(Array(5).fill(byHand), 2, { maxHistory: 30 });
  for (let n = 0; n < 5; n += 1) await confirms(floor, running, n);
  await lists(running, 'COMPLETED', Array(5).fill('COMPLETED'));
  expect(floor.lab.jobs.size).toBe(5);
  const { handle } = running;
  const { runId } = await floor.client.workflow.getHandle(handle.workflowId).describe();
  expect(runId).not.toBe(handle.firstExecutionRunId);
  return (id: string) =>
    floor.client.workflow.getHandle(handle.workflowId, id === 'first' ? handle.firstExecutionRunId : runId);
}

export const picklists: Branches = {
  'picklist--by-hand--no-more-at-a-time-than-the-window': async (floor) => {
    const running = await floor.startPicklist([byHand, byHand, byHand], 2);
    await floor.tube(running, 1);
    // The list has nothing to do now but to wait: the third is not begun.
    expect(states(running.list)).toEqual(['RUNNING', 'RUNNING', 'PLANNED']);
    await confirms(floor, running, 1);
    await confirms(floor, running, 2);
    expect(states(running.list)).toEqual(['RUNNING', 'COMPLETED', 'RUNNING']);
    await confirms(floor, running, 0);
    return lists(running, 'COMPLETED', ['COMPLETED', 'COMPLETED', 'COMPLETED']);
  },
  'picklist--by-robot--one-fails-and-one-is-refused': async (floor) => {
    const robot = floor.lab.addRobot();
    // As often as it tries.
    for (let n = 0; n < PICK_TRIES; n += 1) robot.faults.push({ on: 'pick', how: 'nothing_moved' });
    const running = await floor.startPicklist(Array(4).fill({ ...byRobot, robot }), 1);
    const gone = floor.lab.sample(running.list.items[1]?.order.sampleId ?? '');
    const taken = { kind: 'person', userId: 'somebody' } as const;
    floor.lab.setCustody(gone, taken);
    gone.physical = taken;
    await handsOver(floor, running, 2);
    await handsOver(floor, running, 3);
    return lists(running, 'COMPLETED_WITH_DEVIATION', ['FAILED', 'REFUSED', 'COMPLETED', 'COMPLETED']);
  },
  'picklist--by-robot--hand-off-full-for-a-while': async (floor) => {
    const robot = floor.lab.addRobot();
    const handoff = floor.lab.addPosition('handoff');
    const running = await floor.startPicklist(Array(3).fill({ ...byRobot, robot, handoff }), 2);
    const [, second] = running.list.items;
    for (const n of [0, 1, 2]) {
      if (n === 0) await until('the second tube waiting', 20_000, () => second?.waitsForHandoff === true);
      await handsOver(floor, running, n);
    }
    // The second was refused once, and not again before there was room; the third waited behind it.
    const refused = [...floor.lab.jobs.values()].filter(({ state }) => state === 'REFUSED');
    expect(refused.filter(({ sampleId }) => sampleId === second?.order.sampleId)).toHaveLength(1);
    return lists(running, 'COMPLETED', ['COMPLETED', 'COMPLETED', 'COMPLETED']);
  },
  'picklist--cancelled': async (floor) => {
    const running = await floor.startPicklist([byHand, byHand, byHand], 2);
    await floor.tube(running, 1);
    await confirms(floor, running, 0);
    await floor.tube(running, 2);
    await expect(floor.cancel(running)).resolves.toEqual({ outcome: 'accepted' });
    return lists(running, 'CANCELLED', ['COMPLETED', 'CANCELLED', 'CANCELLED']);
  },
  'picklist--cancelled-in-temporal': async (floor) => {
    const running = await floor.startPicklist([byHand, byHand, byHand], 1);
    await floor.tube(running, 0);
    await running.handle.cancel();
    return lists(running, 'CANCELLED', ['CANCELLED', 'CANCELLED', 'CANCELLED']);
  },
  'picklist--cancelled-when-it-is-over': async (floor) => {
    const running = await floor.startPicklist([byHand], 1);
    let answer: Promise<unknown> | undefined;
    let release = () => {};
    floor.hooks.set(running.list.id, {
      before: ({ name }) => {
        const [item] = running.list.items;
        if (name !== 'advancePicklist' || item?.job?.state !== 'COMPLETED' || answer) return undefined;
        answer = running.handle.executeUpdate(cancelUpdate, {
          args: [{ actor: floor.lab.actor, reason: null }],
        });
        // This attempt is lost, so that the wish is heard while the last step runs.
        return new Promise<void>((resolve) => {
          release = resolve;
        });
      },
    });
    await confirms(floor, running, 0);
    const ended = await lists(running, 'COMPLETED', ['COMPLETED']);
    release();
    await expect(answer).resolves.toMatchObject({ outcome: 'refused', refusal: { code: 'JOB_FINISHED' } });
    return ended;
  },
  'picklist--continued-as-new': async (floor) => (await continued(floor))('first'),
  'picklist--continued-from-the-run-before': async (floor) => (await continued(floor))('last'),
};
