import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { cellLabel, parseCell } from '../domain/grid.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { gridOrNull } from './grid-row.ts';
import type { AlsoWrite } from './location-changes.ts';
import {
  assertInService,
  assertVersion,
  type LocationRow,
  lockLocation,
  recordLocation,
  titleOf,
} from './location-row.ts';
import { lockPlaces } from './places.ts';
import type { DB } from './schema.ts';

/**
 * Takes an empty location out of use; its history stays, its barcode is never given again.
 * @param reference id or barcode
 * @param version as the person saw it (If-Match)
 * @throws DomainError PRECONDITION_FAILED, LOCATION_NOT_EMPTY naming what is still there, LOCATION_RETIRED, CONFLICT when
 *   a robot works there, NOT_FOUND, BARCODE_UNKNOWN
 */
export function retireLocation(
  db: Database,
  context: ChangeContext,
  reference: string,
  version: number,
): Promise<string> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const before = await lockLocation(tx, tenantId, reference, 'UPDATE');
    assertInService(before);
    assertVersion(before, version);
    await assertEmpty(tx, tenantId, before);
    await sql`UPDATE location SET retired_at = ${change.recordedAt}, version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${before.id}`.execute(tx);
    if (before.barcode !== null) {
      await sql`UPDATE barcode SET retired_at = ${change.recordedAt}
        WHERE tenant_id = ${tenantId} AND code = ${before.barcode}`.execute(tx);
    }
    const after = await lockLocation(tx, tenantId, before.id, 'UPDATE');
    recordLocation(change, 'storage.location.retired', before, after);
    return before.id;
  });
}

async function assertEmpty(tx: Transaction<DB>, tenantId: string, row: LocationRow): Promise<void> {
  const { rows } = await sql<{ what: string }>`
    (SELECT t.name || ' ' || l.name || ' stands in it' AS what
     FROM location l JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
     WHERE l.tenant_id = ${tenantId} AND l.parent_id = ${row.id} AND l.retired_at IS NULL ORDER BY l.id LIMIT 1)
    UNION ALL
    (SELECT CASE WHEN s.id IS NULL AND p.job_id IS NULL THEN 'a position of it is set aside by reservation ' || p.reservation_id
                 WHEN s.id IS NULL THEN 'job ' || p.job_id || ' has reserved a position of it'
                 ELSE 'the sample with barcode ' || s.barcode || ' is in it' END
     FROM position p LEFT JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = p.sample_id
     WHERE p.tenant_id = ${tenantId} AND p.container_id = ${row.id} AND p.state IN ('occupied', 'reserved')
     ORDER BY p.state, p.ordinal LIMIT 1)`.execute(tx);
  const found = rows[0];
  if (found) {
    throw new DomainError(
      'LOCATION_NOT_EMPTY',
      `${titleOf(row)} is not empty: ${found.what}; a location is retired when nothing is left in it`,
    );
  }
  const robot = await tx
    .selectFrom('robot')
    .select('name')
    .where('tenant_id', '=', tenantId)
    .where('retired_at', 'is', null)
    .where((or) => or.or([or('store_id', '=', row.id), or('handoff_id', '=', row.id)]))
    .executeTakeFirst();
  if (robot)
    throw new DomainError('CONFLICT', `robot ${robot.name} works at ${titleOf(row)}: retire the robot first`);
}

/**
 * Takes a position out of use, or back into it.
 * @param position label such as `C5`
 * @param reason why it may not be used; null = it may again
 * @throws DomainError POSITION_UNKNOWN, POSITION_OCCUPIED, POSITION_BLOCKED, CONFLICT, LOCATION_RETIRED, NOT_FOUND, BARCODE_UNKNOWN
 */
export function blockPosition(
  db: Database,
  context: ChangeContext,
  reference: string,
  position: string,
  reason: string | null,
  alsoWrite: AlsoWrite = async () => {},
): Promise<string> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const seen = await lockLocation(tx, tenantId, reference, 'NONE');
    assertInService(seen);
    const grid = gridOrNull(seen);
    if (!grid) throw new DomainError('POSITION_UNKNOWN', `${titleOf(seen)} has no positions`);
    const cell = parseCell(position, grid, titleOf(seen));
    const label = cellLabel(cell, grid);
    // The position first, then its container: the order in which a reservation holds them.
    const changed = await (reason === null
      ? sql`UPDATE position SET state = 'free', blocked_reason = NULL
          WHERE tenant_id = ${tenantId} AND container_id = ${seen.id} AND grid_row = ${cell.row}
            AND grid_column = ${cell.column} AND state = 'blocked'`
      : sql`UPDATE position SET state = 'blocked', blocked_reason = ${reason}, job_id = NULL, lease_expires_at = NULL
          WHERE tenant_id = ${tenantId} AND container_id = ${seen.id} AND grid_row = ${cell.row}
            AND grid_column = ${cell.column} AND (state = 'free' OR (state = 'reserved' AND lease_expires_at < now()))`
    ).execute(tx);
    if (changed.numAffectedRows !== 1n)
      throw await cannotBlock(tx, tenantId, seen, label, cell, reason === null);
    const before = await lockLocation(tx, tenantId, seen.id, 'UPDATE');
    assertInService(before);
    await recordBlocking(change, tenantId, before, label, {
      from: reason === null ? 'blocked' : 'free',
      reason,
    });
    await alsoWrite(tx, seen.id);
    return seen.id;
  });
}

/**
 * Takes a position that a job holds, and in which no tube is recorded, out of use, in the change that found out why. A
 * position that holds a recorded tube, or is not the job's, stays as it is.
 */
export async function blockHeldPosition(
  change: Change,
  held: { readonly tenantId: string; readonly jobId: string; readonly positionId: string },
  reason: string,
): Promise<void> {
  const { tenantId, jobId, positionId } = held;
  const place = (await lockPlaces(change.tx, tenantId, [positionId])).get(positionId);
  if (place?.state !== 'reserved' || place.jobId !== jobId) return;
  await sql`UPDATE position SET state = 'blocked', blocked_reason = ${reason}, job_id = NULL, lease_expires_at = NULL
    WHERE tenant_id = ${tenantId} AND id = ${positionId}`.execute(change.tx);
  const container = await lockLocation(change.tx, tenantId, place.containerId, 'UPDATE');
  await recordBlocking(change, tenantId, container, place.label, { from: 'reserved', reason });
}

/**
 * Takes a free position out of use, in the change that found out why. One that is in use, or out of it already, stays as
 * it is.
 */
export async function blockFreePosition(
  change: Change,
  tenantId: string,
  positionId: string,
  reason: string,
): Promise<void> {
  const place = (await lockPlaces(change.tx, tenantId, [positionId])).get(positionId);
  if (place?.state !== 'free') return;
  await sql`UPDATE position SET state = 'blocked', blocked_reason = ${reason}
    WHERE tenant_id = ${tenantId} AND id = ${positionId}`.execute(change.tx);
  const container = await lockLocation(change.tx, tenantId, place.containerId, 'UPDATE');
  await recordBlocking(change, tenantId, container, place.label, { from: 'free', reason });
}

/** The entry of a position that went out of use, or with reason null back into it; its container's row is held. */
export async function recordBlocking(
  change: Change,
  tenantId: string,
  container: LocationRow,
  position: string,
  { from, reason }: { readonly from: 'free' | 'reserved' | 'blocked'; readonly reason: string | null },
): Promise<void> {
  await sql`UPDATE location SET version = version + 1 WHERE tenant_id = ${tenantId} AND id = ${container.id}`.execute(
    change.tx,
  );
  change.record({
    aggregate: 'location',
    aggregateId: container.id,
    version: container.version + 1,
    type: reason === null ? 'storage.location.position_unblocked' : 'storage.location.position_blocked',
    from,
    to: reason === null ? 'free' : 'blocked',
    before: { position, blocked_reason: null },
    after: { position, blocked_reason: reason },
    erasable: ['blocked_reason'],
    data: { location_id: container.id, position, timestamp: change.recordedAt.toISOString() },
  });
}

async function cannotBlock(
  tx: Transaction<DB>,
  tenantId: string,
  row: LocationRow,
  label: string,
  cell: { readonly row: number; readonly column: number },
  unblocking: boolean,
): Promise<DomainError> {
  const found = await tx
    .selectFrom('position')
    .select(['state', 'job_id', 'blocked_reason'])
    .where('tenant_id', '=', tenantId)
    .where('container_id', '=', row.id)
    .where('grid_row', '=', cell.row)
    .where('grid_column', '=', cell.column)
    .executeTakeFirstOrThrow();
  const where = `position ${label} of ${titleOf(row)}`;
  if (unblocking) return new DomainError('CONFLICT', `${where} is not blocked, it is ${found.state}`);
  return found.state === 'blocked'
    ? new DomainError('POSITION_BLOCKED', `${where} is blocked already (${found.blocked_reason})`)
    : new DomainError('POSITION_OCCUPIED', `${where} is ${found.state}: only a free position can be blocked`);
}
