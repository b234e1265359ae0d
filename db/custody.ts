import { type RawBuilder, sql, type Transaction } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { type Custody, type CustodyCandidate, custodyLabel, type Witness } from '../domain/custody.ts';
import { DomainError } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import { type Exposure, exposureAfter, isInCold } from '../domain/exposure.ts';
import type { NewSample } from '../domain/order.ts';
import type { Standing } from '../domain/sample-state.ts';
import type { Zone } from '../domain/zone.ts';
import type { Change } from './change.ts';
import { requireConsent } from './consent-lock.ts';
import { judgeExposure } from './exposure.ts';
import { releaseHeldPlace } from './held-place.ts';
import { type LifeRow, lifeColumns, lifeContent, lifeOf, type SampleLife } from './life-columns.ts';
import { lockPlaces, type Place } from './places.ts';
import type { DB } from './schema.ts';

/** A sample as its record says, held by the transaction that read it. */
export interface SampleRecord extends Exposure {
  readonly id: string;
  readonly barcode: string;
  readonly type: string;
  readonly project: string | null;
  readonly zone: Zone;
  readonly class: string | null;
  readonly hazard: string | null;
  readonly owner: string | null;
  readonly quarantine: boolean;
  readonly custody: Custody;
  readonly custodySince: Date;
  readonly witness: Witness;
  readonly aiOptimized: boolean;
  readonly jobId: string | null;
  readonly life: SampleLife;
  readonly version: number;
}

export interface SampleRow extends LifeRow {
  id: string;
  barcode: string;
  type: string;
  project: string | null;
  zone: Zone;
  class: string | null;
  hazard: string | null;
  owner: string | null;
  quarantine: boolean;
  custody: Custody['kind'];
  position_id: string | null;
  robot_id: string | null;
  holder_id: string | null;
  candidates: readonly CustodyCandidate[] | null;
  custody_since: Date;
  witness: Witness;
  ai_optimized: boolean;
  job_id: string | null;
  warm_since: Date | null;
  exposure_ms: number;
  freeze_thaw_count: number;
  version: number;
}

/** The columns that `sampleOf` reads, of the table `sample`. */
export const SAMPLE = sql`id, barcode, type, project, zone, class, hazard, owner, quarantine, custody, position_id, robot_id,
  holder_id, candidates, custody_since, witness, ai_optimized, job_id, warm_since, exposure_ms, freeze_thaw_count, version,
  ${lifeColumns()}`;

/** A sample, held until the transaction ends; null when the tenant has none of that id. */
export async function lockSample(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
): Promise<SampleRecord | null> {
  const { rows } = await sql<SampleRow>`
    SELECT ${SAMPLE} FROM sample WHERE tenant_id = ${tenantId} AND id = ${id} FOR NO KEY UPDATE`.execute(tx);
  return rows[0] ? sampleOf(rows[0]) : null;
}

/** Samples, held until the transaction ends; in the order of their ids, so that no two wait for each other. */
export async function lockSamples(
  tx: Transaction<DB>,
  tenantId: string,
  ids: readonly string[],
): Promise<SampleRecord[]> {
  const { rows } = await sql<SampleRow>`
    SELECT ${SAMPLE} FROM sample WHERE tenant_id = ${tenantId} AND id = ANY (${[...ids]}::uuid[])
    ORDER BY id FOR NO KEY UPDATE`.execute(tx);
  return rows.map(sampleOf);
}

export function sampleOf(row: SampleRow): SampleRecord {
  return {
    id: row.id,
    barcode: row.barcode,
    type: row.type,
    project: row.project,
    zone: row.zone,
    class: row.class,
    hazard: row.hazard,
    owner: row.owner,
    quarantine: row.quarantine,
    custody: custodyOfRow(row),
    custodySince: row.custody_since,
    witness: row.witness,
    aiOptimized: row.ai_optimized,
    jobId: row.job_id,
    warmSince: row.warm_since,
    exposureMs: row.exposure_ms,
    freezeThawCount: row.freeze_thaw_count,
    life: lifeOf(row),
    version: row.version,
  };
}

function custodyOfRow(row: SampleRow): Custody {
  switch (row.custody) {
    case 'position':
    case 'handoff':
      return { kind: row.custody, positionId: known(row.position_id, row.id) };
    case 'carrier':
      return { kind: 'carrier', robotId: known(row.robot_id, row.id) };
    case 'person':
      return { kind: 'person', userId: known(row.holder_id, row.id) };
    case 'unknown':
      return { kind: 'unknown', candidates: row.candidates ?? [] };
    case 'transit':
    case 'disposed':
      return { kind: row.custody };
  }
}

function known(id: string | null, sampleId: string): string {
  // The table's checks do not let this happen.
  if (id === null) throw new DomainError('INTERNAL', `The custody of sample ${sampleId} names no place.`);
  return id;
}

/**
 * Registers a sample that a person holds: its barcode, its row, its first ledger entry. The barcode is not checked first:
 * the unique key decides. How long it was outside its cold before is not known, so its clock does not run yet.
 * @throws DomainError BARCODE_TAKEN naming the owner
 */
export async function registerSample(
  change: Change,
  sample: NewSample & {
    readonly tenantId: string;
    readonly id: string;
    readonly holderId: string;
    readonly jobId: string | null;
    /** what it was taken from */
    readonly parent?: { readonly id: string; readonly generation: number };
  },
): Promise<SampleRecord> {
  const { tx } = change;
  const { tenantId, parent, life } = sample;
  if (life?.subject) await requireConsent(tx, tenantId, life.subject);
  const amount = life?.quantity?.amount ?? null;
  // One statement: where the barcode is taken, no sample is written either.
  const { rows } = await sql<SampleRow>`
    WITH taken AS (
      INSERT INTO barcode (tenant_id, code, kind, owner_id)
      VALUES (${tenantId}, ${sample.barcode}, 'sample', ${sample.id}) ON CONFLICT DO NOTHING
      RETURNING code)
    INSERT INTO sample (tenant_id, id, barcode, type, project, zone, class, hazard, owner, quarantine, custody, holder_id,
        custody_since, witness, job_id, parent_id, parent_generation, generation, subject, lot, expires_on, quantity,
        initial_quantity, quantity_unit)
    SELECT ${tenantId}::uuid, ${sample.id}::uuid, code, ${sample.type}, ${sample.project}, ${sample.zone},
           ${sample.class ?? null}, ${sample.hazard ?? null}, ${sample.owner ?? null}, ${sample.quarantine ?? false},
           'person', ${sample.holderId}::uuid, ${change.recordedAt}::timestamptz, 'person', ${sample.jobId}::uuid,
           ${parent?.id ?? null}::uuid, ${parent?.generation ?? null}::int, ${parent ? parent.generation + 1 : 0}::int,
           ${life?.subject ?? null}, ${life?.lot ?? null}, ${life?.expiresOn ?? null}::date, ${amount}::numeric,
           ${amount}::numeric, ${life?.quantity?.unit ?? null}
    FROM taken RETURNING ${SAMPLE}`.execute(tx);
  const row = rows[0];
  if (!row) throw await barcodeTaken(tx, tenantId, sample.barcode);
  return sampleOf(row);
}

/** Claims a barcode for a sample that has one already. @throws DomainError BARCODE_TAKEN naming the owner */
export async function claimBarcode(
  tx: Transaction<DB>,
  tenantId: string,
  code: string,
  sampleId: string,
): Promise<void> {
  const claimed = await sql`INSERT INTO barcode (tenant_id, code, kind, owner_id)
    VALUES (${tenantId}, ${code}, 'sample', ${sampleId}) ON CONFLICT DO NOTHING`.execute(tx);
  if (claimed.numAffectedRows !== 1n) throw await barcodeTaken(tx, tenantId, code);
}

async function barcodeTaken(tx: Transaction<DB>, tenantId: string, code: string): Promise<DomainError> {
  const { rows } = await sql<{ kind: string; owner_id: string; retired: boolean }>`
    SELECT kind, owner_id, retired_at IS NOT NULL AS retired FROM barcode
    WHERE tenant_id = ${tenantId} AND code = ${code}`.execute(tx);
  const owner = rows[0];
  return new DomainError(
    'BARCODE_TAKEN',
    owner
      ? `The barcode belongs to ${owner.kind} ${owner.owner_id}${owner.retired ? ', which is retired' : ''}: give the tube another one.`
      : 'The barcode is in use: give the tube another one.',
    owner ? { facts: { kind: owner.kind, ownerId: owner.owner_id } } : {},
  );
}

/** Takes the sample for a job. @throws DomainError SAMPLE_BUSY naming the job that has it, NOT_FOUND */
export async function takeSample(
  tx: Transaction<DB>,
  tenantId: string,
  sampleId: string,
  jobId: string,
): Promise<SampleRecord> {
  const { rows } = await sql<SampleRow>`
    UPDATE sample SET job_id = ${jobId} WHERE tenant_id = ${tenantId} AND id = ${sampleId} AND job_id IS NULL
    RETURNING ${SAMPLE}`.execute(tx);
  if (rows[0]) return sampleOf(rows[0]);
  const sample = await lockSample(tx, tenantId, sampleId);
  if (!sample) throw new DomainError('NOT_FOUND', `There is no sample ${sampleId}.`);
  throw new DomainError(
    'SAMPLE_BUSY',
    `Job ${sample.jobId} has sample ${sampleId}: wait until it is over, or cancel it.`,
    { facts: { jobId: sample.jobId } },
  );
}

/** Lets go of a sample, where the job has it. @returns whether it had */
export async function dropSample(
  tx: Transaction<DB>,
  tenantId: string,
  sampleId: string,
  jobId: string,
): Promise<boolean> {
  const { numAffectedRows } = await sql`UPDATE sample SET job_id = NULL
    WHERE tenant_id = ${tenantId} AND id = ${sampleId} AND job_id = ${jobId}`.execute(tx);
  return numAffectedRows === 1n;
}

/** Announces a sample that was registered in this change, wherever it went in the same change. */
export function recordRegistered(change: Change, sample: SampleRecord): void {
  change.record({
    aggregate: 'sample',
    aggregateId: sample.id,
    version: sample.version,
    type: 'storage.sample.registered',
    from: null,
    to: custodyLabel(sample.custody),
    before: null,
    after: contentOf(sample),
    erasable: ['barcode', 'subject'],
    data: eventData(sample, null),
  });
}

/** A confirmed change of custody. */
export interface CustodyMove {
  readonly tenantId: string;
  /** as this transaction read it, under its lock */
  readonly sample: SampleRecord;
  /** the job that holds the positions it comes from and goes to */
  readonly jobId: string;
  readonly to: Custody;
  readonly witness: Witness;
  readonly type: Extract<EventType, `storage.sample.${string}`>;
  /** whether the system chose the place; left out = as before */
  readonly aiOptimized?: boolean;
}

/**
 * The only way custody moves. The position left behind stays reserved by the job, without expiry; the position entered
 * must be the job's. Moving to where the sample is already changes nothing and writes no entry. The exposure clock runs
 * with it; a tube that comes back into its cold later than its budget allows leaves a deviation.
 * @throws DomainError LEASE_LOST when the position entered is not the job's any more, POSITION_OCCUPIED when another tube
 * is in it, SAMPLE_BUSY when the sample is not the job's, NOT_FOUND
 */
export async function moveSampleCustody(change: Change, move: CustodyMove): Promise<SampleRecord> {
  const { tx } = change;
  const { tenantId, sample, jobId } = move;
  if (sample.jobId !== jobId) {
    throw new DomainError('SAMPLE_BUSY', `Sample ${sample.id} is not job ${jobId}'s.`, {
      facts: { jobId: sample.jobId },
    });
  }
  if (move.to.kind !== 'unknown' && custodyLabel(move.to) === custodyLabel(sample.custody)) return sample;
  const leftId = positionIn(sample.custody);
  const enteredId = positionIn(move.to);
  const wanted = [leftId, enteredId].filter((id) => id !== null);
  const places = wanted.length > 0 ? await lockPlaces(tx, tenantId, wanted) : new Map<string, Place>();
  const left = leftId === null ? null : (places.get(leftId) ?? null);
  const entered = enteredId === null ? null : checkEntered(places.get(enteredId), enteredId, move);
  // What the position is decides the kind of custody: tubes stand in a hand-off, and are stored elsewhere.
  const to: Custody = entered
    ? { kind: entered.isHandoff ? 'handoff' : 'position', positionId: entered.positionId }
    : move.to;
  const exposure = exposureOf(sample, isInCold(entered?.zone ?? null, sample.zone), change.recordedAt);
  if (to.kind !== 'person' && sample.life.isCheckedOut) await releaseHeldPlace(change, tenantId, sample.id);
  // Sent in one go; the two foreign keys between sample and position are checked at commit.
  const [, , moved] = await Promise.all([
    left &&
      sql`UPDATE position SET state = 'reserved', sample_id = NULL, job_id = ${jobId}, lease_expires_at = NULL
        WHERE tenant_id = ${tenantId} AND id = ${left.positionId}`.execute(tx),
    entered &&
      sql`UPDATE position SET state = 'occupied', sample_id = ${sample.id}, job_id = ${jobId}, lease_expires_at = NULL
        WHERE tenant_id = ${tenantId} AND id = ${entered.positionId}`.execute(tx),
    sql<SampleRow>`UPDATE sample SET ${custodySets(to, change.recordedAt, move.witness)},
        ai_optimized = ${move.aiOptimized ?? sample.aiOptimized}, warm_since = ${exposure.warmSince},
        exposure_ms = ${exposure.exposureMs}, freeze_thaw_count = ${exposure.freezeThawCount},
        thaw_recorded = ${exposure.warmSince !== null && sample.life.thawRecorded}, version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${sample.id} RETURNING ${SAMPLE}`.execute(tx),
  ]);
  const row = moved.rows[0];
  if (!row) throw new DomainError('NOT_FOUND', `There is no sample ${sample.id}.`);
  const after = sampleOf(row);
  recordSample(change, move.type, sample, after, entered ?? left);
  if (sample.warmSince !== null && after.warmSince === null) {
    const { id, zone, warmSince } = sample;
    await judgeExposure(change, { tenantId, sampleId: id, zone, jobId, warmSince });
  }
  return after;
}

/** The exposure after a change of custody; a thaw that a person has counted is not counted again. */
export function exposureOf(sample: SampleRecord, inCold: boolean, at: Date): Exposure {
  const after = exposureAfter(sample, sample.zone, inCold, at);
  return sample.life.thawRecorded ? { ...after, freezeThawCount: sample.freezeThawCount } : after;
}

/**
 * Assignments that give a sample another custody. Unless told otherwise its standing goes with it: it is not lost where it
 * is, and checked out only with a person.
 */
export function custodySets(
  to: Custody,
  since: Date,
  witness: Witness,
  { standing, isCheckedOut }: { readonly standing?: Standing; readonly isCheckedOut?: boolean } = {},
): RawBuilder<unknown> {
  return sql`custody = ${to.kind}, position_id = ${positionIn(to)}, robot_id = ${to.kind === 'carrier' ? to.robotId : null},
    holder_id = ${to.kind === 'person' ? to.userId : null},
    candidates = ${to.kind === 'unknown' ? JSON.stringify(to.candidates) : null}::jsonb,
    custody_since = ${since}, witness = ${witness},
    standing = CASE WHEN ${standing ?? null}::text IS NOT NULL THEN ${standing ?? null}
      WHEN standing <> 'lost' OR ${to.kind === 'unknown'} THEN standing
      WHEN hold_reason IS NULL THEN 'active' ELSE 'on_hold' END,
    is_checked_out = coalesce(${isCheckedOut ?? null}::boolean, is_checked_out AND ${to.kind === 'person'}),
    entered_storage_at = coalesce(entered_storage_at, CASE WHEN custody = 'position' THEN custody_since END,
      CASE WHEN ${to.kind === 'position'} THEN ${since}::timestamptz END)`;
}

/**
 * Takes back what the record claims of a stored tube that no job has, since something says otherwise. `unknown`: it may be
 * anywhere; its position is the one candidate, and left free for the caller to block. `asserted`: it stays recorded where
 * it is, and nothing vouches for that.
 */
export async function withdrawCustody(
  change: Change,
  tenantId: string,
  sample: SampleRecord,
  to: 'unknown' | 'asserted',
): Promise<void> {
  const { tx } = change;
  const positionId = positionIn(sample.custody);
  if (positionId === null || sample.jobId !== null || (to === 'asserted' && sample.witness === 'asserted')) {
    return;
  }
  const place = (await lockPlaces(tx, tenantId, [positionId])).get(positionId) ?? null;
  if (to === 'unknown') {
    await sql`UPDATE position SET state = 'free', sample_id = NULL
      WHERE tenant_id = ${tenantId} AND id = ${positionId}`.execute(tx);
  }
  const candidates: readonly CustodyCandidate[] = [{ kind: 'position', positionId }];
  await (to === 'unknown'
    ? changeSample(
        change,
        tenantId,
        sample,
        'storage.sample.custody_unknown',
        sql`${custodySets({ kind: 'unknown', candidates }, change.recordedAt, 'asserted')},
          warm_since = coalesce(warm_since, ${change.recordedAt})`,
        place,
      )
    : changeSample(change, tenantId, sample, 'storage.sample.doubted', sql`witness = 'asserted'`, place));
}

/** Announces what became of a sample, in the change that wrote its row. */
export function recordSample(
  change: Change,
  type: Extract<EventType, `storage.sample.${string}`>,
  before: SampleRecord,
  after: SampleRecord,
  place: Place | null,
  data: Readonly<Record<string, JsonValue>> = {},
): void {
  change.record({
    aggregate: 'sample',
    aggregateId: after.id,
    version: after.version,
    type,
    from: custodyLabel(before.custody),
    to: custodyLabel(after.custody),
    before: contentOf(before),
    after: contentOf(after),
    erasable: ['barcode', 'subject'],
    data: { ...eventData(after, place), ...data },
  });
}

function checkEntered(place: Place | undefined, positionId: string, move: CustodyMove): Place {
  if (!place) throw new DomainError('NOT_FOUND', `There is no position ${positionId}.`);
  if (place.sampleId !== null && place.sampleId !== move.sample.id) {
    throw new DomainError(
      'POSITION_OCCUPIED',
      `Another tube is recorded in position ${place.label} of ${place.containerName}.`,
      {
        facts: { positionId, sampleId: place.sampleId },
      },
    );
  }
  if (place.jobId !== move.jobId) {
    throw new DomainError(
      'LEASE_LOST',
      `Position ${place.label} of ${place.containerName} is no longer reserved by this job: start again.`,
      { facts: { positionId } },
    );
  }
  return place;
}

/** The position a custody names; null when it is none. */
export function positionIn(custody: Custody): string | null {
  return custody.kind === 'position' || custody.kind === 'handoff' ? custody.positionId : null;
}

/** What the ledger keeps of a sample's record; the barcode as a commitment. */
function contentOf(sample: SampleRecord): Record<string, JsonValue> {
  return {
    barcode: sample.barcode,
    type: sample.type,
    project: sample.project,
    zone: sample.zone,
    class: sample.class,
    hazard: sample.hazard,
    owner: sample.owner,
    quarantine: sample.quarantine,
    custody: custodyLabel(sample.custody),
    candidates: sample.custody.kind === 'unknown' ? sample.custody.candidates.map(candidateLabel) : null,
    custody_since: sample.custodySince.toISOString(),
    witness: sample.witness,
    ai_optimized: sample.aiOptimized,
    warm_since: sample.warmSince?.toISOString() ?? null,
    exposure_ms: sample.exposureMs,
    freeze_thaw_count: sample.freezeThawCount,
    ...lifeContent(sample.life),
  };
}

function candidateLabel(candidate: CustodyCandidate): string {
  return candidate.kind === 'floor' ? 'floor' : custodyLabel(candidate);
}

function eventData(sample: SampleRecord, place: Place | null): Record<string, JsonValue> {
  return {
    sample_id: sample.id,
    location_id: place?.containerId ?? null,
    position_id: place?.positionId ?? null,
    position: place?.label ?? null,
    custody: custodyLabel(sample.custody),
    ai_optimized: sample.aiOptimized,
    state: sample.life.state,
    job_id: sample.jobId,
  };
}

/**
 * Changes columns of a sample and tells its record; the way for everything but its custody in a job.
 * @param sets assignments of columns, such as `use_count = use_count + 1`
 * @param data what the event says besides
 */
export async function changeSample(
  change: Change,
  tenantId: string,
  before: SampleRecord,
  type: Extract<EventType, `storage.sample.${string}`>,
  sets: RawBuilder<unknown>,
  place: Place | null = null,
  data: Readonly<Record<string, JsonValue>> = {},
): Promise<SampleRecord> {
  const { rows } = await sql<SampleRow>`UPDATE sample SET ${sets}, version = version + 1
    WHERE tenant_id = ${tenantId} AND id = ${before.id} RETURNING ${SAMPLE}`.execute(change.tx);
  const row = rows[0];
  if (!row) throw new DomainError('NOT_FOUND', `There is no sample ${before.id}.`);
  const after = sampleOf(row);
  recordSample(change, type, before, after, place, data);
  return after;
}
