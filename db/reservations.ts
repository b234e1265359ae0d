import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { cellLabel, describeGrid, findCell } from '../domain/grid.ts';
import { judgeRules, type LocationRules } from '../domain/location-rules.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, gridOf, gridOrNull } from './grid-row.ts';
import { assertInService, type LocationRow, lockLocation, titleOf } from './location-row.ts';
import { type ReservationRecord, reservationRow } from './reservation-record.ts';
import type { DB } from './schema.ts';

/** Positions to be set aside for a project. */
export interface NewReservation {
  /** id or barcode of a container, or of a place with containers below it */
  readonly location: string;
  readonly project: string;
  readonly reason: string;
  readonly expiresAt: Date;
  readonly what: /** these positions of the container */
    | { readonly kind: 'named'; readonly positions: readonly string[] }
    /** so many free ones, in fill order; `consecutive`: one after the other in one container */
    | { readonly kind: 'count'; readonly count: number; readonly consecutive: boolean };
}

/** Containers among which a run of consecutive positions is looked for. */
const MOST_ROOMS = 500;

/** The longest a position is set aside, in days. */
const MOST_DAYS = 90;

/**
 * Sets free positions aside for a project until a time; all of them or none. Samples of the project are placed there first,
 * others are not.
 * @throws DomainError NO_POSITION_FREE saying how many there are, POSITION_OCCUPIED or POSITION_BLOCKED with the next free
 *   position, POSITION_UNKNOWN, RULE_NOT_MET when the place is not for the project, VALIDATION for an end in the past or more
 *   than 90 days away, LOCATION_RETIRED, NOT_FOUND, BARCODE_UNKNOWN
 */
export function createReservation(
  db: Database,
  context: ChangeContext,
  wanted: NewReservation,
  alsoWrite: (tx: Transaction<DB>, record: ReservationRecord) => Promise<void> = async () => {},
): Promise<ReservationRecord> {
  const { tenantId, userId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    assertEnd(wanted.expiresAt, change.recordedAt);
    const location = await lockLocation(tx, tenantId, wanted.location, 'SHARE');
    assertInService(location);
    if (location.is_handoff) {
      throw new DomainError('CONFLICT', `${titleOf(location)} is a hand-off: tubes only pass through it`);
    }
    await assertForProject(tx, tenantId, location, wanted.project);
    const positions =
      wanted.what.kind === 'named'
        ? await lockNamed(tx, tenantId, location, wanted.what.positions)
        : await lockFree(tx, tenantId, location, wanted);
    const { rows } = await sql<{ id: string }>`
      INSERT INTO reservation (tenant_id, project, owner_id, reason, expires_at)
      VALUES (${tenantId}, ${wanted.project}, ${userId}, ${wanted.reason}, ${wanted.expiresAt})
      RETURNING id`.execute(tx);
    const id = rows[0]?.id;
    if (id === undefined) throw new Error('the reservation was not written');
    await sql`UPDATE position SET state = 'reserved', reservation_id = ${id}, reserved_until = ${wanted.expiresAt},
        job_id = NULL, lease_expires_at = NULL
      WHERE tenant_id = ${tenantId} AND id = ANY (${positions}::uuid[])`.execute(tx);
    const record = await reservationRow(tx, tenantId, id);
    recordReservation(change, null, record, 'storage.reservation.created');
    await alsoWrite(tx, record);
    return record;
  });
}

/**
 * Gives back what was set aside; positions with tubes keep them.
 * @throws DomainError CONFLICT when it was released already, NOT_FOUND
 */
export function releaseReservation(
  db: Database,
  context: ChangeContext,
  id: string,
  alsoWrite: (tx: Transaction<DB>, record: ReservationRecord) => Promise<void> = async () => {},
): Promise<ReservationRecord> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    await sql`SELECT FROM reservation WHERE tenant_id = ${tenantId} AND id = ${id} FOR UPDATE`.execute(tx);
    const before = await reservationRow(tx, tenantId, id);
    if (before.releasedAt !== null) {
      throw new DomainError(
        'CONFLICT',
        `the reservation for ${before.project} was released on ${before.releasedAt.toISOString().slice(0, 10)} already`,
      );
    }
    await sql`UPDATE position SET reservation_id = NULL, reserved_until = NULL,
        state = CASE WHEN state = 'reserved' AND job_id IS NULL THEN 'free' ELSE state END
      WHERE tenant_id = ${tenantId} AND reservation_id = ${id}`.execute(tx);
    await sql`UPDATE reservation SET released_at = ${change.recordedAt}, version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx);
    const after = await reservationRow(tx, tenantId, id);
    recordReservation(change, before, after, 'storage.reservation.released');
    await alsoWrite(tx, after);
    return after;
  });
}

/** Frees what is set aside past its end. @returns how many positions */
export async function freeExpiredReservations(tx: Transaction<DB>, tenantId: string): Promise<number> {
  const { numAffectedRows } = await sql`
    UPDATE position SET state = 'free' WHERE tenant_id = ${tenantId} AND id IN (
      SELECT p.id FROM reservation r
      JOIN position p ON p.tenant_id = r.tenant_id AND p.reservation_id = r.id
      WHERE r.tenant_id = ${tenantId} AND r.released_at IS NULL AND r.expires_at < now()
        AND p.state = 'reserved' AND p.job_id IS NULL AND p.reserved_until < now()
      FOR UPDATE OF p SKIP LOCKED)`.execute(tx);
  return Number(numAffectedRows ?? 0n);
}

function assertEnd(expiresAt: Date, now: Date): void {
  const days = (expiresAt.getTime() - now.getTime()) / 86_400_000;
  if (days > 0 && days <= MOST_DAYS) return;
  const detail = `should be in the future and at most ${MOST_DAYS} days away`;
  throw new DomainError('VALIDATION', `the end of a reservation ${detail}`, {
    errors: [{ pointer: '/expiresAt', detail }],
  });
}

async function assertForProject(
  tx: Transaction<DB>,
  tenantId: string,
  location: LocationRow,
  project: string,
): Promise<void> {
  const { rows } = await sql<{ rules: LocationRules }>`
    SELECT effective_rules AS rules FROM location WHERE tenant_id = ${tenantId} AND id = ${location.id}`.execute(
    tx,
  );
  const broken = judgeRules(
    { type: '', project },
    { projects: rows[0]?.rules.projects ?? [project] },
    null,
  ).find((verdict) => !verdict.passed);
  if (!broken) return;
  throw new DomainError(
    'RULE_NOT_MET',
    `${titleOf(location)} is not for this reservation: ${broken.detail}`,
    {
      facts: { rule: broken.rule },
    },
  );
}

async function lockNamed(
  tx: Transaction<DB>,
  tenantId: string,
  location: LocationRow,
  labels: readonly string[],
): Promise<string[]> {
  const grid = gridOrNull(location);
  if (!grid || grid.labelling === 'none') {
    throw new DomainError('POSITION_UNKNOWN', `${titleOf(location)} has no named positions: say how many`);
  }
  const cells = labels.map((label, index) => {
    const cell = findCell(label, grid);
    if (cell) return cell;
    const detail = `does not exist in ${titleOf(location)}, which has ${describeGrid(grid)}`;
    throw new DomainError('POSITION_UNKNOWN', `position ${label} ${detail}`, {
      errors: [{ pointer: `/positions/${index}`, detail }],
    });
  });
  const { rows } = await sql<{ id: string; grid_row: number; grid_column: number; state: string }>`
    SELECT p.id, p.grid_row, p.grid_column, p.state
    FROM unnest(${cells.map((cell) => cell.row)}::int[], ${cells.map((cell) => cell.column)}::int[]) w (grid_row, grid_column)
    JOIN position p USING (grid_row, grid_column)
    WHERE p.tenant_id = ${tenantId} AND p.container_id = ${location.id}
    ORDER BY p.ordinal FOR UPDATE OF p`.execute(tx);
  const taken = rows.find((row) => row.state !== 'free');
  if (!taken) return rows.map((row) => row.id);
  const next = await firstFree(tx, tenantId, location.id);
  throw new DomainError(
    taken.state === 'blocked' ? 'POSITION_BLOCKED' : 'POSITION_OCCUPIED',
    `position ${cellLabel({ row: taken.grid_row, column: taken.grid_column }, grid)} of ${titleOf(location)} is ${taken.state}; ${
      next === null ? 'it has no free position' : `its next free position is ${next}`
    }`,
    { facts: { nextFree: next } },
  );
}

async function firstFree(tx: Transaction<DB>, tenantId: string, containerId: string): Promise<string | null> {
  const { rows } = await sql<GridRow & { grid_row: number; grid_column: number }>`
    SELECT p.grid_row, p.grid_column, ${GRID_COLUMNS} FROM position p
    JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    WHERE p.tenant_id = ${tenantId} AND p.container_id = ${containerId} AND p.state = 'free' ORDER BY p.ordinal LIMIT 1`.execute(
    tx,
  );
  const row = rows[0];
  return row ? cellLabel({ row: row.grid_row, column: row.grid_column }, gridOf(row)) : null;
}

/** Free positions in and below a place, container by container; passes by what others are taking. */
async function lockFree(
  tx: Transaction<DB>,
  tenantId: string,
  location: LocationRow,
  { what, project }: NewReservation,
): Promise<string[]> {
  if (what.kind !== 'count') throw new Error('positions were named');
  // Each container with room has at least one free position, so that no more of them are looked at than are wanted.
  const { rows: rooms } = await sql<{ id: string }>`
    SELECT a.descendant_id AS id FROM location_ancestor a
    JOIN location_count c ON c.tenant_id = a.tenant_id AND c.location_id = a.descendant_id AND c.has_room
      AND c.free >= ${what.consecutive ? what.count : 1}
    JOIN location l ON l.tenant_id = a.tenant_id AND l.id = a.descendant_id AND NOT l.is_handoff AND l.retired_at IS NULL
      AND l.type <> 'quarantine'
      AND (NOT l.effective_rules ? 'projects' OR (l.effective_rules -> 'projects') ? ${project})
    WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${location.id}
    ORDER BY a.descendant_id LIMIT ${what.consecutive ? MOST_ROOMS : what.count}`.execute(tx);
  const free = sql`
    SELECT p.id, p.container_id, p.ordinal FROM position p WHERE p.tenant_id = ${tenantId}
      AND p.container_id = ANY (${rooms.map((room) => room.id)}::uuid[]) AND p.state = 'free'`;
  const { rows: chosen } = await (what.consecutive
    ? sql<{ id: string }>`
      SELECT r.id FROM (
        SELECT f.*, count(*) OVER (PARTITION BY container_id, run) AS length,
               row_number() OVER (PARTITION BY container_id, run ORDER BY ordinal) AS place,
               min(ordinal) OVER (PARTITION BY container_id, run) AS first
        FROM (SELECT free.*, ordinal - row_number() OVER (PARTITION BY container_id ORDER BY ordinal) AS run
              FROM (${free}) free) f) r
      WHERE r.length >= ${what.count} AND r.place <= ${what.count} ORDER BY r.container_id, r.first, r.ordinal
      LIMIT ${what.count}`
    : sql<{ id: string }>`
      SELECT f.id FROM (${free}) f ORDER BY f.container_id, f.ordinal LIMIT ${what.count}`
  ).execute(tx);
  const { rows } = await sql<{ id: string }>`
    SELECT p.id FROM position p
    WHERE p.tenant_id = ${tenantId} AND p.id = ANY (${chosen.map((each) => each.id)}::uuid[]) AND p.state = 'free'
    ORDER BY p.id FOR UPDATE SKIP LOCKED`.execute(tx);
  if (rows.length === what.count) return rows.map((row) => row.id);
  const how = what.consecutive ? `${what.count} consecutive positions` : `${what.count} positions`;
  throw new DomainError(
    'NO_POSITION_FREE',
    `there are no ${how} free in ${titleOf(location)}: ask for fewer, or elsewhere`,
    { facts: { free: rows.length } },
  );
}

function recordReservation(
  change: Change,
  before: ReservationRecord | null,
  after: ReservationRecord,
  type: 'storage.reservation.created' | 'storage.reservation.released',
): void {
  change.record({
    aggregate: 'reservation',
    aggregateId: after.id,
    version: after.version,
    type,
    from: before && 'active',
    to: after.releasedAt === null ? 'active' : 'released',
    before: before && contentOf(before),
    after: contentOf(after),
    erasable: ['reason'],
    data: { reservation_id: after.id, project: after.project, positions: after.positions.length },
  });
}

function contentOf(record: ReservationRecord) {
  return {
    project: record.project,
    owner_id: record.ownerId,
    reason: record.reason,
    expires_at: record.expiresAt.toISOString(),
    released_at: record.releasedAt?.toISOString() ?? null,
    positions: record.positions.map((position) => position.positionId),
  };
}
