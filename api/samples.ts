import type { SamplePlace, SampleView, SampleWhereabouts } from '../db/samples.ts';
import type { TimelineEntry } from '../db/timeline.ts';
import type { Custody } from '../domain/custody.ts';
import type { Sample, SampleLocation, Timeline } from '../schemas/storage.ts';
import { withoutNullsIn } from './absent.ts';

/** Where a sample is, as the API shows it. */
export function presentWhereabouts(sample: SampleWhereabouts): SampleLocation {
  return { sampleId: sample.id, ...whereaboutsOf(sample) };
}

function whereaboutsOf(sample: SampleWhereabouts): Omit<SampleLocation, 'sampleId'> {
  return {
    custody: presentCustody(sample.custody),
    since: sample.since.toISOString(),
    witness: sample.witness,
    certainty:
      sample.custody.kind === 'unknown' ? 'unknown' : sample.witness === 'asserted' ? 'asserted' : 'seen',
    ...(sample.replacedBarcode !== null && { replacedBarcode: sample.replacedBarcode }),
    ...(sample.place && { path: [...sample.place.path], position: presentPlace(sample.place) }),
  };
}

function presentCustody(custody: Custody): SampleLocation['custody'] {
  return custody.kind === 'unknown'
    ? { kind: custody.kind, candidates: custody.candidates.map((candidate) => ({ ...candidate })) }
    : custody;
}

function presentPlace(place: SamplePlace): SampleLocation['position'] {
  return {
    positionId: place.positionId,
    containerId: place.containerId,
    ...(place.containerBarcode !== null && { containerBarcode: place.containerBarcode }),
    label: place.label,
    row: place.row + 1,
    column: place.column + 1,
    ...(place.zone !== null && { zone: place.zone }),
  };
}

/** A sample as the API shows it. */
export function presentSample(sample: SampleView): Sample {
  return {
    id: sample.id,
    barcode: sample.barcode,
    type: sample.type,
    ...(sample.project !== null && { project: sample.project }),
    zone: sample.zone,
    ...(sample.class !== null && { class: sample.class }),
    ...(sample.hazard !== null && { hazard: sample.hazard }),
    ...(sample.owner !== null && { owner: sample.owner }),
    ...(sample.quarantine && { quarantine: true }),
    ...whereaboutsOf(sample),
    aiOptimized: sample.aiOptimized,
    ...(sample.jobId !== null && { jobId: sample.jobId }),
    ...(sample.exposure.warmSince && { warmSince: sample.exposure.warmSince.toISOString() }),
    exposureSeconds: sample.exposure.exposureMs / 1000,
    freezeThawCount: sample.exposure.freezeThawCount,
    ...presentLife(sample.life),
    createdAt: sample.createdAt.toISOString(),
    version: sample.version,
  };
}

function presentLife(life: SampleView['life']) {
  return {
    state: life.state,
    ...(life.holdReason !== null && { holdReason: life.holdReason }),
    ...(life.enteredStorageAt && { enteredStorageAt: life.enteredStorageAt.toISOString() }),
    ...(life.parentId !== null && { parentId: life.parentId }),
    generation: life.generation,
    ...(life.subject !== null && { subject: life.subject }),
    ...(life.quantity && { quantity: { ...life.quantity } }),
    ...(life.lot !== null && { lot: life.lot }),
    ...(life.expiresOn !== null && { expiresOn: life.expiresOn }),
    useCount: life.useCount,
  };
}

export function presentTimelineEntry(entry: TimelineEntry): Timeline['entries'][number] {
  return {
    eventId: entry.eventId,
    type: entry.type,
    version: entry.version,
    entry: entry.entry,
    ...(entry.from !== null && { from: entry.from }),
    ...(entry.to !== null && { to: entry.to }),
    ...(entry.place && { place: { label: entry.place.label, path: [...entry.place.path] } }),
    reason: entry.reason,
    actor: {
      userId: entry.actor.userId,
      ...(entry.actor.name !== null && { name: entry.actor.name }),
      role: entry.actor.role,
    },
    ...(entry.device !== null && { device: entry.device }),
    occurredAt: entry.occurredAt.toISOString(),
    recordedAt: entry.recordedAt.toISOString(),
    data: withoutNullsIn(entry.data),
  };
}
