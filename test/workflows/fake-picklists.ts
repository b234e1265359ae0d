import { type Client, WithStartWorkflowOperation } from '@temporalio/client';
import type { PicklistActivities } from '../../activities/contract.ts';
import { isFinal } from '../../domain/job.ts';
import { isPicklistLive, type PicklistItemState, picklistEnd } from '../../domain/picklist.ts';
import { until } from '../../stack/processes.ts';
import { RESERVED_UPDATE_ID, workflowIds } from '../../workflows/ids.ts';
import { cancelUpdate, reservedUpdate } from '../../workflows/messages/job.ts';
import { jobStart } from '../../workflows/messages/start.ts';
import type { FakePicklist, FakePicklistItem, Laboratory } from './laboratory.ts';

/** What a job is refused with when the hand-off has no room. */
export const HANDOFF_FULL = 'No hand-off position is free.';

/** The steps of picklists over a laboratory in memory, with the semantics of the real ones. */
export function createFakePicklists(lab: Laboratory, client: Client, taskQueue: string): PicklistActivities {
  const { tenantId } = lab.actor;
  const isUnderWay = ({ state }: FakePicklistItem) => state === 'STARTING' || state === 'RUNNING';
  const hasEnded = (item: FakePicklistItem) =>
    isUnderWay(item) && item.job !== null && isFinal(item.job.state);
  const isUntold = (item: FakePicklistItem) => item.state === 'RUNNING' && !item.isTold;

  function hasRoom({ order }: FakePicklistItem): boolean {
    return [...lab.positions.values()].some(
      ({ kind, place, sampleId, reservedBy }) =>
        kind === 'handoff' &&
        sampleId === null &&
        reservedBy === null &&
        (order.handoffPositionId === null || order.handoffPositionId === place.positionId),
    );
  }

  function recordEnds(list: FakePicklist): void {
    for (const item of list.items) {
      const { job } = item;
      if (job === null || !hasEnded(item) || !isFinal(job.state)) continue;
      item.waitsForHandoff = job.state === 'REFUSED' && job.detail === HANDOFF_FULL;
      item.state = item.waitsForHandoff ? 'PLANNED' : job.state;
    }
    if (list.state !== 'CANCELLING') return;
    for (const item of list.items) if (item.state === 'PLANNED') item.state = 'CANCELLED';
  }

  const isDue = ({ items, state }: FakePicklist) =>
    items.some(hasEnded) ||
    items.some((item) => item.state === 'PLANNED' && item.waitsForHandoff && hasRoom(item)) ||
    (state === 'CANCELLING' && items.some((item) => item.state === 'PLANNED' || isUntold(item)));

  return {
    advancePicklist: async (_tenantId, picklistId) => {
      const list = lab.picklist(picklistId);
      if (!isPicklistLive(list.state)) return { next: 'over', state: list.state };
      recordEnds(list);
      const counts: Partial<Record<PicklistItemState, number>> = {};
      for (const { state } of list.items) counts[state] = (counts[state] ?? 0) + 1;
      const end = picklistEnd(counts, list.state === 'CANCELLING');
      if (end !== null) {
        list.state = end;
        return { next: 'over', state: end };
      }
      const starting = list.items.find(({ state }) => state === 'STARTING');
      if (starting?.job) return { next: 'start', jobId: starting.job.id };
      if (list.state === 'CANCELLING') return { next: list.items.some(isUntold) ? 'stop' : 'wait' };
      const next = list.items.find(({ state }) => state === 'PLANNED');
      if (list.items.filter(isUnderWay).length >= list.window || !next) return { next: 'wait' };
      if (next.waitsForHandoff && !hasRoom(next)) return { next: 'wait' };
      const id = lab.newId();
      next.job = lab.addJob({ ...next.order, id, workflowId: workflowIds[next.order.kind](tenantId, id) });
      Object.assign(next, { state: 'STARTING', waitsForHandoff: false });
      return { next: 'start', jobId: id };
    },

    cancelPicklist: async (_tenantId, picklistId) => {
      const list = lab.picklist(picklistId);
      if (!isPicklistLive(list.state)) {
        const detail = `Picklist ${picklistId} is over: it ended as ${list.state}.`;
        return {
          outcome: 'refused',
          refusal: { code: 'JOB_FINISHED', detail, facts: { state: list.state } },
        };
      }
      list.state = 'CANCELLING';
      return { outcome: 'accepted' };
    },

    startTube: async (_tenantId, picklistId, jobId) => {
      const job = lab.job(jobId);
      const { workflowName, workflowId, input } = jobStart({ ...job, input: { confirmation: null } });
      await client.workflow.executeUpdateWithStart(reservedUpdate, {
        updateId: RESERVED_UPDATE_ID,
        startWorkflowOperation: new WithStartWorkflowOperation(workflowName, {
          workflowId,
          taskQueue,
          workflowTaskTimeout: '2 seconds',
          workflowIdConflictPolicy: 'USE_EXISTING',
          args: [input],
        }),
      });
      for (const item of lab.picklist(picklistId).items)
        if (item.job?.id === jobId && item.state === 'STARTING') item.state = 'RUNNING';
    },

    stopTubes: async (_tenantId, picklistId) => {
      await Promise.all(
        lab
          .picklist(picklistId)
          .items.filter(isUntold)
          .map(async (item) => {
            const handle = client.workflow.getHandle(item.job?.workflowId ?? '');
            await handle.executeUpdate(cancelUpdate, { args: [{ actor: lab.actor, reason: null }] });
            item.isTold = true;
          }),
      );
    },

    awaitTubes: (_tenantId, picklistId) =>
      until(`picklist ${picklistId} being due`, 60_000, () => isDue(lab.picklist(picklistId))),
  };
}
