import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { CustodyCandidate, Witness } from '../domain/custody.ts';
import type { EventType } from '../domain/events.ts';
import { isInCold } from '../domain/exposure.ts';
import type { Zone } from '../domain/zone.ts';
import type { Change } from './change.ts';
import {
  exposureOf,
  lockSamples,
  positionIn,
  recordRegistered,
  recordSample,
  SAMPLE,
  type SampleRecord,
  type SampleRow,
  sampleOf,
} from './custody.ts';

/** A row of an import, checked before. */
export interface NewRow {
  readonly line: number;
  readonly barcode: string;
  readonly positionId: string | null;
  /** by field, as text */
  readonly cells: Readonly<Partial<Record<string, string>>>;
}

/**
 * Registers samples from a file, where they are asserted to be: in a position that must be free, or with the importer.
 * @returns the lines of those that were registered; the others' barcode or position was taken since they were checked
 */
export async function registerRows(
  change: Change,
  tenantId: string,
  holderId: string,
  rows: readonly NewRow[],
): Promise<ReadonlyMap<number, SampleRecord>> {
  const { tx, recordedAt } = change;
  const named = rows.flatMap((row) => (row.positionId === null ? [] : [row.positionId]));
  const free = await sql<{ id: string }>`
    SELECT id FROM position WHERE tenant_id = ${tenantId} AND id = ANY (${named}::uuid[]) AND state = 'free'
    ORDER BY id FOR NO KEY UPDATE`.execute(tx);
  const isFree = new Set(free.rows.map((row) => row.id));
  const possible = rows
    .filter((row) => row.positionId === null || isFree.has(row.positionId))
    .map((row) => ({ ...row, id: uuidv7() }));
  const claimed = await sql<{ code: string }>`
    INSERT INTO barcode (tenant_id, code, kind, owner_id)
    SELECT ${tenantId}, a.code, 'sample', a.id
    FROM unnest(${possible.map((row) => row.barcode)}::text[], ${possible.map((row) => row.id)}::uuid[]) AS a (code, id)
    ON CONFLICT DO NOTHING RETURNING code`.execute(tx);
  const isClaimed = new Set(claimed.rows.map((row) => row.code));
  const certain = possible.filter((row) => isClaimed.has(row.barcode));
  const of = (field: string) => certain.map((row) => row.cells[field] ?? null);
  const registered = await sql<SampleRow>`
    INSERT INTO sample (tenant_id, id, barcode, type, zone, project, class, hazard, owner, quarantine, subject, lot, expires_on, quantity,
        initial_quantity, quantity_unit, custody, position_id, holder_id, custody_since, witness, entered_storage_at)
    SELECT ${tenantId}, a.id, a.barcode, a.type, a.zone, a.project, a.class, a.hazard, a.owner,
        coalesce(a.quarantine = 'yes', false), a.subject, a.lot, a.expires_on, a.amount, a.amount, a.unit, CASE WHEN a.position_id IS NULL THEN 'person' ELSE 'position' END, a.position_id,
        CASE WHEN a.position_id IS NULL THEN ${holderId}::uuid END, ${recordedAt}, 'asserted',
        CASE WHEN a.position_id IS NOT NULL THEN ${recordedAt}::timestamptz END
    FROM unnest(${certain.map((row) => row.id)}::uuid[], ${certain.map((row) => row.barcode)}::text[],
        ${certain.map((row) => row.positionId)}::uuid[], ${of('type')}::text[], ${of('zone')}::text[],
        ${of('project')}::text[], ${of('class')}::text[], ${of('hazard')}::text[], ${of('owner')}::text[],
        ${of('quarantine')}::text[], ${of('subject')}::text[], ${of('lot')}::text[], ${of('expiresOn')}::date[],
        ${of('amount')}::numeric[], ${of('unit')}::text[])
      AS a (id, barcode, position_id, type, zone, project, class, hazard, owner, quarantine, subject, lot, expires_on, amount,
        unit)
    RETURNING ${SAMPLE}`.execute(tx);
  const lineOf = new Map(possible.map((row) => [row.id, row.line]));
  const placed = registered.rows.filter((row) => row.position_id !== null);
  await sql`UPDATE position p SET state = 'occupied', sample_id = a.sample_id
    FROM unnest(${placed.map((row) => row.position_id)}::uuid[], ${placed.map((row) => row.id)}::uuid[])
      AS a (id, sample_id)
    WHERE p.tenant_id = ${tenantId} AND p.id = a.id`.execute(tx);
  const done = new Map<number, SampleRecord>();
  for (const row of registered.rows) {
    const sample = sampleOf(row);
    recordRegistered(change, sample);
    done.set(lineOf.get(sample.id) ?? 0, sample);
  }
  return done;
}

/** Where a sample shall be recorded from now on. */
export interface Reposition {
  readonly line: number;
  readonly sampleId: string;
  readonly positionId: string;
}

/**
 * Records samples elsewhere, all at once, also where they change places with each other. A sample that a job has, or whose
 * position is not free by then, stays where it is.
 * @returns by line, the sample as it was and as it is
 */
export async function repositionRows(
  change: Change,
  tenantId: string,
  rows: readonly Reposition[],
  witness: Witness,
  type: Extract<EventType, `storage.sample.${string}`>,
): Promise<ReadonlyMap<number, { readonly before: SampleRecord; readonly after: SampleRecord }>> {
  const { tx, recordedAt } = change;
  const samples = new Map(
    (
      await lockSamples(
        tx,
        tenantId,
        rows.map((row) => row.sampleId),
      )
    ).map((sample) => [sample.id, sample]),
  );
  const idle = rows.filter((row) => {
    const sample = samples.get(row.sampleId);
    return sample && sample.jobId === null && !sample.life.isCheckedOut;
  });
  const targets = await sql<{ id: string; state: string; sample_id: string | null; zone: Zone | null }>`
    SELECT p.id, p.state, p.sample_id, l.effective_zone AS zone
    FROM position p JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    WHERE p.tenant_id = ${tenantId} AND p.id = ANY (${idle.map((row) => row.positionId)}::uuid[])
    ORDER BY p.id FOR NO KEY UPDATE OF p`.execute(tx);
  const target = new Map(targets.rows.map((row) => [row.id, row]));
  const done = settled(idle, (row, moving) => {
    const place = target.get(row.positionId);
    if (!place) return false;
    return place.state === 'free' || (place.sample_id !== null && moving.has(place.sample_id));
  });
  const ids = done.map((row) => row.sampleId);
  await sql`UPDATE position SET state = 'free', sample_id = NULL
    WHERE tenant_id = ${tenantId} AND sample_id = ANY (${ids}::uuid[])`.execute(tx);
  // Out of all positions first: of two that change places one would be where the other still is.
  const nowhere: readonly CustodyCandidate[] = [];
  await sql`UPDATE sample SET custody = 'unknown', position_id = NULL, robot_id = NULL, holder_id = NULL,
      candidates = ${JSON.stringify(nowhere)}::jsonb
    WHERE tenant_id = ${tenantId} AND id = ANY (${ids}::uuid[])`.execute(tx);
  await sql`UPDATE position p SET state = 'occupied', sample_id = a.sample_id
    FROM unnest(${done.map((row) => row.positionId)}::uuid[], ${ids}::uuid[]) AS a (id, sample_id)
    WHERE p.tenant_id = ${tenantId} AND p.id = a.id`.execute(tx);
  const exposures = done.map((row) => {
    const sample = samples.get(row.sampleId);
    if (!sample) throw new Error(`sample ${row.sampleId} was locked and is not there`);
    return exposureOf(sample, isInCold(target.get(row.positionId)?.zone ?? null, sample.zone), recordedAt);
  });
  const { rows: written } = await sql<SampleRow>`
    UPDATE sample SET custody = 'position', position_id = a.position_id, candidates = NULL, custody_since = ${recordedAt},
      witness = ${witness}, warm_since = a.warm_since, exposure_ms = a.exposure_ms, freeze_thaw_count = a.thaws,
      thaw_recorded = thaw_recorded AND a.warm_since IS NOT NULL,
      standing = CASE WHEN standing <> 'lost' THEN standing WHEN hold_reason IS NULL THEN 'active' ELSE 'on_hold' END,
      entered_storage_at = coalesce(entered_storage_at, ${recordedAt}::timestamptz), version = version + 1
    FROM unnest(${ids}::uuid[], ${done.map((row) => row.positionId)}::uuid[],
        ${exposures.map((one) => one.warmSince)}::timestamptz[], ${exposures.map((one) => one.exposureMs)}::bigint[],
        ${exposures.map((one) => one.freezeThawCount)}::int[]) AS a (sample_id, position_id, warm_since, exposure_ms, thaws)
    WHERE tenant_id = ${tenantId} AND id = a.sample_id
    RETURNING ${qualified()}`.execute(tx);
  const lineOf = new Map(done.map((row) => [row.sampleId, row.line]));
  const result = new Map<number, { before: SampleRecord; after: SampleRecord }>();
  for (const row of written) {
    const before = samples.get(row.id);
    const line = lineOf.get(row.id);
    if (!before || line === undefined) continue;
    const after = sampleOf(row);
    recordSample(change, type, before, after, null, { position_id: positionIn(after.custody) });
    result.set(line, { before, after });
  }
  return result;
}

const qualified = () => sql`sample.*, sample.expires_on::text AS expires_on`;

/** The rows that can be done, given that others can: what stays blocks what wants to go there, and so on. */
function settled<R extends { readonly sampleId: string }>(
  rows: readonly R[],
  isPossible: (row: R, moving: ReadonlySet<string>) => boolean,
): readonly R[] {
  for (let possible = rows; ; ) {
    const moving = new Set(possible.map((row) => row.sampleId));
    const still = possible.filter((row) => isPossible(row, moving));
    if (still.length === possible.length) return still;
    possible = still;
  }
}
