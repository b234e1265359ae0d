import { type SqlBool, sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { cellLabel } from '../domain/grid.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import type { DB } from './schema.ts';
import type { PositionRef } from './taking.ts';
import { inTenant } from './tenancy.ts';

/** Positions set aside for a project. */
export interface ReservationRecord {
  readonly id: string;
  readonly project: string;
  /** the person who answers for it */
  readonly ownerId: string;
  readonly reason: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly releasedAt: Date | null;
  readonly isExpired: boolean;
  /** those still set aside, with a tube or without */
  readonly positions: readonly (PositionRef & { readonly state: 'reserved' | 'occupied' })[];
  readonly version: number;
}

interface Row {
  id: string;
  project: string;
  owner_id: string;
  reason: string;
  created_at: Date;
  expires_at: Date;
  released_at: Date | null;
  is_expired: boolean;
  version: number;
}

interface PlaceRow extends GridRow {
  id: string;
  reservation_id: string;
  container_id: string;
  grid_row: number;
  grid_column: number;
  state: 'reserved' | 'occupied';
  name: string;
  barcode: string | null;
}

async function select(tx: Transaction<DB>, tenantId: string, which: ReturnType<typeof sql<SqlBool>>) {
  const { rows } = await sql<Row>`
    SELECT r.id, r.project, r.owner_id, r.reason, r.created_at, r.expires_at, r.released_at,
           r.expires_at < now() AS is_expired, r.version
    FROM reservation r WHERE r.tenant_id = ${tenantId} AND ${which}`.execute(tx);
  const places = await sql<PlaceRow>`
    SELECT p.id, p.reservation_id, p.container_id, p.grid_row, p.grid_column, p.state, t.name || ' ' || l.name AS name,
           l.barcode, ${GRID_COLUMNS}
    FROM position p JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
    WHERE p.tenant_id = ${tenantId} AND p.reservation_id = ANY (${rows.map((row) => row.id)}::uuid[])
    ORDER BY p.container_id, p.ordinal`.execute(tx);
  return rows.map(
    (row): ReservationRecord => ({
      id: row.id,
      project: row.project,
      ownerId: row.owner_id,
      reason: row.reason,
      createdAt: row.created_at,
      expiresAt: row.expires_at,
      releasedAt: row.released_at,
      isExpired: row.is_expired,
      positions: places.rows
        .filter((place) => place.reservation_id === row.id)
        .map((place) => ({
          positionId: place.id,
          containerId: place.container_id,
          containerName: place.name,
          containerBarcode: place.barcode,
          label: cellLabel({ row: place.grid_row, column: place.grid_column }, gridOf(place)),
          state: place.state,
        })),
      version: row.version,
    }),
  );
}

/** One reservation with its positions. @throws DomainError NOT_FOUND */
export async function reservationRow(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
): Promise<ReservationRecord> {
  const [record] = await select(tx, tenantId, sql<SqlBool>`r.id = ${id}`);
  if (!record) throw new DomainError('NOT_FOUND', `there is no reservation ${id}`);
  return record;
}

/** As {@link reservationRow}, outside a transaction. */
export function findReservation(db: Database, tenantId: string, id: string): Promise<ReservationRecord> {
  return inTenant(db, tenantId, (tx) => reservationRow(tx, tenantId, id));
}

/**
 * The reservations in force, by their making.
 * @param project null = of all projects
 * @param after id of the last one of the page before
 */
export function listReservations(
  db: Database,
  tenantId: string,
  project: string | null,
  after: string | null,
  limit: number,
): Promise<ReservationRecord[]> {
  return inTenant(db, tenantId, (tx) =>
    select(
      tx,
      tenantId,
      sql<SqlBool>`r.released_at IS NULL AND r.expires_at > now()
        AND (${project}::text IS NULL OR r.project = ${project}) AND (${after}::uuid IS NULL OR r.id > ${after}::uuid)
        ORDER BY r.id LIMIT ${limit}`,
    ),
  );
}
