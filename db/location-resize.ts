import { type SqlBool, sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { cellLabel } from '../domain/grid.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, gridOf, gridOrNull } from './grid-row.ts';
import { SPARE_IN_BAGS } from './location-changes.ts';
import {
  assertInService,
  assertVersion,
  type LocationRow,
  lockLocation,
  recordLocation,
  titleOf,
} from './location-row.ts';
import type { DB } from './schema.ts';

/** What a container shall hold from now on: a grid of this size, or so many loose things (null = no limit). */
export type NewSize =
  | { readonly rows: number; readonly columns: number }
  | { readonly capacity: number | null };

/** Out of the way while positions are numbered anew. */
const ASIDE = 1_000_000;

/**
 * Makes a container larger or smaller. Positions keep their labels; those that a smaller grid no longer has stay for the
 * history of what stood there.
 * @param version as the person saw it (If-Match)
 * @throws DomainError CANNOT_SHRINK naming the first tube in the way; CONFLICT when it has no positions, or a robot's
 *   address; VALIDATION for the wrong kind of size; PRECONDITION_FAILED, LOCATION_RETIRED, NOT_FOUND, BARCODE_UNKNOWN
 */
export function resizeLocation(
  db: Database,
  context: ChangeContext,
  reference: string,
  version: number,
  size: NewSize,
): Promise<string> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const seen = await lockLocation(tx, tenantId, reference, 'NONE');
    // The positions first, then their container: the order in which a reservation holds them.
    await sql`SELECT FROM position WHERE tenant_id = ${tenantId} AND container_id = ${seen.id}
      ORDER BY id FOR NO KEY UPDATE`.execute(tx);
    const before = await lockLocation(tx, tenantId, seen.id, 'UPDATE');
    assertInService(before);
    assertVersion(before, version);
    assertMayChange(before, size);
    const { rows, columns, unlimited } =
      'capacity' in size
        ? { rows: 1, columns: size.capacity ?? 1, unlimited: size.capacity === null }
        : { ...size, unlimited: false };
    await sql`UPDATE location SET grid_rows = ${rows}, grid_columns = ${columns}, unlimited = ${unlimited},
      version = version + 1 WHERE tenant_id = ${tenantId} AND id = ${before.id}`.execute(tx);
    await sql`UPDATE location_count SET unlimited = ${unlimited}
      WHERE tenant_id = ${tenantId} AND location_id = ${before.id}`.execute(tx);
    if (!unlimited) {
      const outside =
        'capacity' in size
          ? sql<SqlBool>`p.id IN (SELECT o.id FROM position o
              WHERE o.tenant_id = ${tenantId} AND o.container_id = ${before.id} AND o.retired_at IS NULL
              ORDER BY o.state = 'free', o.ordinal OFFSET ${columns})`
          : sql<SqlBool>`(p.grid_row >= ${rows} OR p.grid_column >= ${columns})`;
      await assertFree(tx, tenantId, before, outside);
      await sql`UPDATE position p SET state = 'blocked', blocked_reason = 'outside the grid', retired_at = now(),
          ordinal = ordinal + ${ASIDE}
        WHERE p.tenant_id = ${tenantId} AND p.container_id = ${before.id} AND p.retired_at IS NULL AND ${outside}`.execute(
        tx,
      );
    }
    await arrange(tx, tenantId, before, rows, unlimited ? SPARE_IN_BAGS : columns, 'capacity' in size);
    const after = await lockLocation(tx, tenantId, before.id, 'UPDATE');
    recordLocation(change, 'storage.location.changed', before, after);
    return before.id;
  });
}

function assertMayChange(row: LocationRow, size: NewSize): void {
  const grid = gridOrNull(row);
  if (!grid) throw new DomainError('CONFLICT', `${titleOf(row)} has no positions, so it has no size`);
  const isLoose = grid.labelling === 'none';
  if (isLoose !== 'capacity' in size) {
    const right = isLoose ? 'say its capacity, or null for no limit' : 'say its rows and columns';
    throw new DomainError(
      'VALIDATION',
      `${titleOf(row)} ${isLoose ? 'has no grid: things lie loose in it' : 'has a grid'}; ${right}`,
      { errors: [{ pointer: isLoose ? '/capacity' : '/rows', detail: right }] },
    );
  }
  if (row.robot_cassette === null) return;
  throw new DomainError(
    'CONFLICT',
    `a robot finds ${titleOf(row)} at cassette ${row.robot_cassette}, level ${row.robot_level}, and counts its slots: take the address away first`,
  );
}

async function assertFree(
  tx: Transaction<DB>,
  tenantId: string,
  container: LocationRow,
  outside: ReturnType<typeof sql<SqlBool>>,
): Promise<void> {
  const { rows } = await sql<
    GridRow & {
      state: string;
      grid_row: number;
      grid_column: number;
      barcode: string | null;
      job_id: string | null;
      reservation_id: string | null;
      blocked_reason: string | null;
    }
  >`
    SELECT p.state, p.grid_row, p.grid_column, s.barcode, p.job_id, p.reservation_id, p.blocked_reason, ${GRID_COLUMNS}
    FROM position p JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    LEFT JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = p.sample_id
    WHERE p.tenant_id = ${tenantId} AND p.container_id = ${container.id} AND p.retired_at IS NULL AND p.state <> 'free'
      AND ${outside}
    ORDER BY p.state <> 'occupied', p.ordinal LIMIT 1`.execute(tx);
  const first = rows[0];
  if (!first) return;
  const size = gridOrNull(container);
  const label = cellLabel(
    { row: first.grid_row, column: first.grid_column },
    { ...gridOf(first), ...(size && { rows: size.rows, columns: size.columns }) },
  );
  const what =
    first.barcode !== null
      ? `the tube with barcode ${first.barcode} is in position ${label}: move it first`
      : first.job_id !== null
        ? `job ${first.job_id} has reserved position ${label}: wait until it is over`
        : first.reservation_id !== null
          ? `position ${label} is set aside by reservation ${first.reservation_id}: release it first`
          : `position ${label} is blocked (${first.blocked_reason}): unblock it first`;
  throw new DomainError('CANNOT_SHRINK', `${titleOf(container)} cannot become smaller: ${what}`, {
    facts: { position: label, ...(first.barcode !== null && { barcode: first.barcode }) },
  });
}

/** Takes back and adds the positions the new size has, and numbers them anew. */
async function arrange(
  tx: Transaction<DB>,
  tenantId: string,
  container: LocationRow,
  rows: number,
  columns: number,
  isLoose: boolean,
): Promise<void> {
  const ordinal =
    container.direction === 'vertical'
      ? sql`grid_column * ${rows}::int + grid_row + 1`
      : sql`grid_row * ${columns}::int + grid_column + 1`;
  if (isLoose) {
    // Nobody knows their numbers: it is enough that there are as many as may lie in it.
    await sql`
      INSERT INTO position (tenant_id, container_id, grid_row, grid_column, ordinal)
      SELECT ${tenantId}::uuid, ${container.id}::uuid, 0, most.n + k, most.n + k + 1
      FROM (SELECT max(grid_column) + 1 AS n, count(*) FILTER (WHERE retired_at IS NULL) AS live FROM position
            WHERE tenant_id = ${tenantId} AND container_id = ${container.id}) most,
        generate_series(0, 1000) k WHERE k < ${columns}::int - most.live`.execute(tx);
    return;
  }
  await sql`UPDATE position SET ordinal = ordinal + ${ASIDE}
    WHERE tenant_id = ${tenantId} AND container_id = ${container.id} AND retired_at IS NULL`.execute(tx);
  await sql`UPDATE position SET ordinal = ${ordinal},
      state = CASE WHEN retired_at IS NULL THEN state ELSE 'free' END,
      blocked_reason = CASE WHEN retired_at IS NULL THEN blocked_reason END, retired_at = NULL
    WHERE tenant_id = ${tenantId} AND container_id = ${container.id}
      AND grid_row < ${rows} AND grid_column < ${columns}`.execute(tx);
  await sql`
    INSERT INTO position (tenant_id, container_id, grid_row, grid_column, ordinal)
    SELECT ${tenantId}::uuid, ${container.id}::uuid, grid_row, grid_column, ${ordinal}
    FROM generate_series(0, ${rows - 1}::int) grid_row, generate_series(0, ${columns - 1}::int) grid_column
    WHERE NOT EXISTS (SELECT FROM position p WHERE p.tenant_id = ${tenantId} AND p.container_id = ${container.id}
      AND p.grid_row = grid_row.grid_row AND p.grid_column = grid_column.grid_column)`.execute(tx);
}
