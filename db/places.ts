import { type RawBuilder, sql, type Transaction } from 'kysely';
import { cellLabel, type Grid } from '../domain/grid.ts';
import type { Zone } from '../domain/zone.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import type { DB } from './schema.ts';

/** A position with what is in it, who holds it, and how people name it. */
export interface Place {
  readonly positionId: string;
  readonly containerId: string;
  /** canonical label, e.g. `C5` */
  readonly label: string;
  readonly row: number;
  readonly column: number;
  readonly state: 'free' | 'reserved' | 'occupied' | 'blocked';
  readonly sampleId: string | null;
  readonly jobId: string | null;
  readonly containerName: string;
  readonly containerBarcode: string | null;
  readonly grid: Grid;
  readonly isHandoff: boolean;
  /** in force there; null = none is known */
  readonly zone: Zone | null;
}

interface PlaceRow extends GridRow {
  id: string;
  container_id: string;
  grid_row: number;
  grid_column: number;
  state: Place['state'];
  sample_id: string | null;
  job_id: string | null;
  name: string;
  barcode: string | null;
  is_handoff: boolean;
  effective_zone: Zone | null;
}

/** Holds positions until the transaction ends, in the order of their ids so that no two wait for each other. */
export async function lockPlaces(
  tx: Transaction<DB>,
  tenantId: string,
  positionIds: readonly string[],
): Promise<Map<string, Place>> {
  return selectPlaces(tx, tenantId, positionIds, sql`FOR NO KEY UPDATE OF p`);
}

/** A position as it is at this moment, for a sentence: nobody waits for it. Null when the tenant has none of that id. */
export async function seePlace(
  tx: Transaction<DB>,
  tenantId: string,
  positionId: string,
): Promise<Place | null> {
  return (await selectPlaces(tx, tenantId, [positionId], sql``)).get(positionId) ?? null;
}

async function selectPlaces(
  tx: Transaction<DB>,
  tenantId: string,
  positionIds: readonly string[],
  lock: RawBuilder<unknown>,
): Promise<Map<string, Place>> {
  const { rows } = await sql<PlaceRow>`
    SELECT p.id, p.container_id, p.grid_row, p.grid_column, p.state, p.sample_id, p.job_id,
           l.name, l.barcode, ${GRID_COLUMNS}, l.is_handoff,
           l.effective_zone
    FROM position p JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    WHERE p.tenant_id = ${tenantId} AND p.id = ANY (${[...positionIds]}::uuid[])
    ORDER BY p.id ${lock}`.execute(tx);
  return new Map(rows.map((row) => [row.id, placeOf(row)]));
}

function placeOf(row: PlaceRow): Place {
  const grid: Grid = gridOf(row);
  return {
    positionId: row.id,
    containerId: row.container_id,
    label: cellLabel({ row: row.grid_row, column: row.grid_column }, grid),
    row: row.grid_row,
    column: row.grid_column,
    state: row.state,
    sampleId: row.sample_id,
    jobId: row.job_id,
    containerName: row.name,
    containerBarcode: row.barcode,
    grid,
    isHandoff: row.is_handoff,
    zone: row.effective_zone,
  };
}

/** The positions the job holds have no expiry from now on: the clock gives none of them away. */
export async function holdWithoutExpiry(tx: Transaction<DB>, tenantId: string, jobId: string): Promise<void> {
  await sql`UPDATE position SET lease_expires_at = NULL
    WHERE tenant_id = ${tenantId} AND job_id = ${jobId} AND lease_expires_at IS NOT NULL`.execute(tx);
}

/**
 * Positions of a job that must stay taken although it ends: where the tube may be while nobody knows, and what a motion
 * addresses whose end has not been reported, or was reported as unknown since custody was last confirmed (invariant 6).
 */
export async function placesInDoubt(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  sampleId: string,
): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT (c ->> 'positionId')::uuid AS id FROM sample s, jsonb_array_elements(s.candidates) c
    WHERE s.tenant_id = ${tenantId} AND s.id = ${sampleId} AND s.custody = 'unknown' AND c ->> 'positionId' IS NOT NULL
    UNION
    SELECT place.id FROM motion m CROSS JOIN LATERAL (VALUES (m.position_id), (m.to_position_id)) AS place (id)
    LEFT JOIN sample s ON s.tenant_id = m.tenant_id AND s.id = ${sampleId}
    WHERE m.tenant_id = ${tenantId} AND m.job_id = ${jobId} AND place.id IS NOT NULL AND m.operation <> 'scan'
      AND (m.settled_at IS NULL OR (m.state = 'UNKNOWN' AND (s.id IS NULL OR m.settled_at > s.custody_since)))`.execute(
    tx,
  );
  return rows.map((row) => row.id);
}

/**
 * Frees positions whose lease has run out and whose job is over. What such a job holds without expiry is in doubt, and
 * stays.
 * @returns how many were freed
 */
export async function freeLapsedLeases(tx: Transaction<DB>, tenantId: string): Promise<number> {
  const { numAffectedRows } = await sql`
    UPDATE position SET state = 'free', job_id = NULL, lease_expires_at = NULL
    WHERE tenant_id = ${tenantId} AND id IN (
      SELECT p.id FROM position p JOIN job j ON j.tenant_id = p.tenant_id AND j.id = p.job_id
      WHERE p.tenant_id = ${tenantId} AND p.job_id IS NOT NULL AND p.state = 'reserved'
        AND p.lease_expires_at < now() AND j.finished_at IS NOT NULL
      FOR UPDATE OF p SKIP LOCKED)`.execute(tx);
  return Number(numAffectedRows ?? 0n);
}
