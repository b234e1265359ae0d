import type { PicklistItemRecord, PicklistRecord } from '../db/picklists.ts';
import { doorOpenings, doorRuns } from '../domain/picklist.ts';
import { JobResult } from '../schemas/job-view.ts';
import type { Picklist, PicklistPlan, PicklistReport, PicklistTube } from '../schemas/picklist.ts';
import { workflowIds } from '../workflows/ids.ts';
import { withoutNulls } from './absent.ts';
import { jobPath, type Links, temporalLink } from './jobs.ts';

/** Path under which a picklist is found. */
export function picklistPath(id: string): string {
  return `/automation/picklists/${id}`;
}

/** A list as callers see it: what has no value is left out. */
export function presentPicklist(list: PicklistRecord, links: Links): Picklist {
  const { id, kind, mode, name, priority, window, state, counts, actor, cancel } = list;
  return {
    id,
    kind,
    mode,
    ...(name !== null && { name }),
    priority,
    window,
    state,
    counts,
    requestedBy: {
      userId: actor.userId,
      role: actor.role,
      ...(actor.stationId !== null && { stationId: actor.stationId }),
    },
    ...(cancel && {
      cancelledBy: {
        userId: cancel.actor.userId,
        ...(cancel.reason !== null && { reason: cancel.reason }),
      },
    }),
    createdAt: list.createdAt.toISOString(),
    ...(list.finishedAt && { finishedAt: list.finishedAt.toISOString() }),
    links: { self: picklistPath(id), ...temporalLink(links, workflowIds.picklist(actor.tenantId, id)) },
  };
}

/** @param items in the planned order */
export function presentPlan(items: readonly PicklistItemRecord[]): PicklistPlan {
  // Tubes that were refused before they had a turn are no part of the way.
  const onTheWay = items.filter(({ job, state }) => state !== 'REFUSED' || job !== null);
  const asGiven = onTheWay.toSorted((one, other) => one.given - other.given);
  return {
    tubes: items.map(presentTube),
    doors: doorRuns(onTheWay).map(({ unit, shelf, ...run }) => ({
      ...(unit && { unit }),
      ...(shelf && { shelf }),
      ...run,
    })),
    openings: { planned: doorOpenings(onTheWay), asGiven: doorOpenings(asGiven) },
  };
}

export function presentReport(
  list: PicklistRecord,
  items: readonly PicklistItemRecord[],
  links: Links,
): PicklistReport {
  return { ...presentPicklist(list, links), ...presentPlan(items) };
}

function presentTube(item: PicklistItemRecord): PicklistTube {
  const { job, place, sampleId, handoffId } = item;
  const ended = JobResult.parse(withoutNulls(item.result ?? {}));
  const handoff = JobResult.parse(withoutNulls(job?.result ?? {})).handoff;
  return {
    seq: item.seq,
    given: item.given,
    reference: item.reference,
    ...(sampleId !== null && { sampleId }),
    ...(place && { place: { path: [...place.path], ...(place.label !== null && { label: place.label }) } }),
    state: item.state,
    ...(handoffId !== null && { waitsForHandoffId: handoffId }),
    ...(job && { job: { id: job.id, state: job.state, phase: job.phase, link: jobPath(job.id) } }),
    ...(handoff && { handoff }),
    ...(ended.detail !== undefined && { detail: ended.detail }),
    ...(ended.refusal && { refusal: ended.refusal }),
    ...(item.finishedAt && { finishedAt: item.finishedAt.toISOString() }),
  };
}
