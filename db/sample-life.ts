import { sql, type Transaction } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import type { Custody, Witness } from '../domain/custody.ts';
import { DomainError } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import { isInCold } from '../domain/exposure.ts';
import { describeZone, zoneServes } from '../domain/placement.ts';
import { requireAction, type SampleAction, type Standing } from '../domain/sample-state.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import {
  changeSample,
  custodySets,
  exposureOf,
  lockSample,
  positionIn,
  type SampleRecord,
} from './custody.ts';
import { holdPlace } from './held-place.ts';
import { lockPlaces, type Place } from './places.ts';
import { resolveReference } from './references.ts';
import type { DB } from './schema.ts';

/** What else belongs into the transaction, such as the reply under its key. */
export type AlsoWriteSample = (tx: Transaction<DB>, sampleId: string) => Promise<void>;

/**
 * Does something with a sample that no job has, if its state allows it.
 * @param reference id or barcode, also one that was replaced
 * @returns the sample's id
 * @throws DomainError SAMPLE_BUSY, SAMPLE_STATE, NOT_FOUND, BARCODE_UNKNOWN, and what `body` throws
 */
export async function actOnSample(
  db: Database,
  context: ChangeContext,
  reference: string,
  action: SampleAction,
  body: (change: Change, sample: SampleRecord) => Promise<unknown>,
  also: AlsoWriteSample = async () => {},
): Promise<string> {
  const { tenantId } = context.actor;
  const sampleId = await resolveReference(db, tenantId, 'sample', reference);
  return withChange(db, context, async (change) => {
    await body(change, await sampleFor(change.tx, tenantId, sampleId, action));
    await also(change.tx, sampleId);
    return sampleId;
  });
}

/** A sample that no job has and whose state allows the action, held. @throws DomainError SAMPLE_BUSY, SAMPLE_STATE, NOT_FOUND */
export async function sampleFor(
  tx: Transaction<DB>,
  tenantId: string,
  sampleId: string,
  action: SampleAction,
): Promise<SampleRecord> {
  const sample = await lockSample(tx, tenantId, sampleId);
  if (!sample) throw new DomainError('NOT_FOUND', `There is no sample ${sampleId}.`);
  requireAction(sampleId, sample.life.state, action);
  if (sample.jobId !== null) {
    throw new DomainError(
      'SAMPLE_BUSY',
      `Job ${sample.jobId} has sample ${sampleId}: wait until it is over, or cancel it.`,
      { facts: { jobId: sample.jobId } },
    );
  }
  return sample;
}

/** A tube that a person has moved in one go: they took it, brought it back, destroyed it. */
export interface HandMove {
  readonly to: Custody;
  readonly witness: Witness;
  readonly type: Extract<EventType, `storage.sample.${string}`>;
  /** what becomes of the position it leaves */
  readonly leaves: 'free' | 'held';
  /** left out: as custody has it */
  readonly standing?: Standing;
  readonly isCheckedOut?: boolean;
  readonly data?: Readonly<Record<string, JsonValue>>;
}

/**
 * Custody that changes by a person's word and without a job. The position entered must be free.
 * @throws DomainError POSITION_OCCUPIED, ZONE_MISMATCH, NOT_FOUND
 */
export async function moveByPerson(
  change: Change,
  tenantId: string,
  sample: SampleRecord,
  move: HandMove,
): Promise<SampleRecord> {
  const { tx, recordedAt } = change;
  const leftId = positionIn(sample.custody);
  const enteredId = positionIn(move.to);
  const places = await lockPlaces(
    tx,
    tenantId,
    [leftId, enteredId].filter((id) => id !== null),
  );
  const left = leftId === null ? null : (places.get(leftId) ?? null);
  const entered = enteredId === null ? null : requireRoom(places.get(enteredId), enteredId, sample);
  if (left && move.leaves === 'held') await holdPlace(change, tenantId, sample.id, left);
  if (left && move.leaves === 'free') {
    await sql`UPDATE position SET state = 'free', sample_id = NULL
      WHERE tenant_id = ${tenantId} AND id = ${left.positionId}`.execute(tx);
  }
  if (entered) {
    await sql`UPDATE position SET state = 'occupied', sample_id = ${sample.id}
      WHERE tenant_id = ${tenantId} AND id = ${entered.positionId}`.execute(tx);
  }
  const exposure = exposureOf(sample, isInCold(entered?.zone ?? null, sample.zone), recordedAt);
  return changeSample(
    change,
    tenantId,
    sample,
    move.type,
    sql`${custodySets(move.to, recordedAt, move.witness, move)}, warm_since = ${exposure.warmSince},
      exposure_ms = ${exposure.exposureMs}, freeze_thaw_count = ${exposure.freezeThawCount},
      thaw_recorded = ${exposure.warmSince !== null && sample.life.thawRecorded}`,
    entered ?? left,
    move.data,
  );
}

function requireRoom(place: Place | undefined, positionId: string, sample: SampleRecord): Place {
  if (!place) throw new DomainError('NOT_FOUND', `There is no position ${positionId}.`);
  const where = `Position ${place.label} of ${place.containerName}`;
  if (place.state !== 'free') {
    throw new DomainError('POSITION_OCCUPIED', `${where} is ${place.state}.`, { facts: { positionId } });
  }
  if (place.zone === null || !zoneServes(place.zone, sample.zone)) {
    const is = place.zone === null ? 'at no known temperature' : `at ${describeZone(place.zone)}`;
    throw new DomainError(
      'ZONE_MISMATCH',
      `${where} is ${is} by now, and the sample needs ${describeZone(sample.zone)}: place it elsewhere.`,
    );
  }
  return place;
}
