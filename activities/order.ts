import type { JobRecord } from '../db/jobs.ts';
import type { Place } from '../db/places.ts';
import type { PlaceRef } from '../workflows/messages/job.ts';

/** What a job's first step reserved; kept in `job.result` beside the explanation. */
export interface Reserved {
  readonly place: PlaceRef;
  readonly handoff: PlaceRef | null;
  readonly robotId: string | null;
  readonly leaseExpiresAt: string | null;
  /** where the tube stood, when that was a position */
  readonly source: PlaceRef | null;
}

/** What the job's first step reserved; null before it. */
export function reservedBy(job: Pick<JobRecord, 'result'>): Reserved | null {
  const place = placeRefIn(job.result?.place);
  if (!place) return null;
  const { robotId, leaseExpiresAt } = job.result ?? {};
  return {
    place,
    handoff: placeRefIn(job.result?.handoff),
    robotId: typeof robotId === 'string' ? robotId : null,
    leaseExpiresAt: typeof leaseExpiresAt === 'string' ? leaseExpiresAt : null,
    source: placeRefIn(job.result?.source),
  };
}

function placeRefIn(value: unknown): PlaceRef | null {
  if (typeof value !== 'object' || value === null) return null;
  if (!('positionId' in value && 'containerId' in value && 'label' in value)) return null;
  const { positionId, containerId, label } = value;
  return typeof positionId === 'string' && typeof containerId === 'string' && typeof label === 'string'
    ? { positionId, containerId, label }
    : null;
}

/** A position as workflows know it. */
export function placeRef(place: Pick<Place, 'positionId' | 'containerId' | 'label'>): PlaceRef {
  return { positionId: place.positionId, containerId: place.containerId, label: place.label };
}

/** Where the tube comes from: a retrieval's place, a move's source, by robot a placement's hand-off. */
export function sourcePlace(job: JobRecord): PlaceRef | null {
  const reserved = reservedBy(job);
  return job.kind === 'placement' ? (reserved?.handoff ?? null) : (reserved?.source ?? null);
}

/** Where the tube goes: a retrieval's hand-off, otherwise the place. Null when it goes to a person. */
export function targetPlace(job: JobRecord): PlaceRef | null {
  const reserved = reservedBy(job);
  return job.kind === 'retrieval' ? (reserved?.handoff ?? null) : (reserved?.place ?? null);
}

/** Whether the system, not a person, chose the place the job stores its tube in. */
export function isChosenBySystem(job: JobRecord): boolean {
  const { order } = job.input;
  return order.kind !== 'retrieval' && order.target.kind === 'chosen';
}
