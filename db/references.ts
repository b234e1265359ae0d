import { sql } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { parseCell } from '../domain/grid.ts';
import { isId } from '../domain/reference.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, gridOrNull } from './grid-row.ts';
import { unknownReference } from './locations.ts';
import { read } from './tenancy.ts';

/**
 * The id of a sample or location named by id or barcode.
 * @throws DomainError NOT_FOUND for an id, BARCODE_UNKNOWN for a barcode that nothing of this kind has
 */
export async function resolveReference(
  db: Database,
  tenantId: string,
  kind: 'sample' | 'location',
  reference: string,
): Promise<string> {
  const query = isId(reference)
    ? db.kysely
        .selectFrom(kind)
        .select('id')
        .where('tenant_id', '=', tenantId)
        .where('id', '=', reference)
        .compile()
    : db.kysely
        .selectFrom('barcode')
        .select('owner_id as id')
        .where('tenant_id', '=', tenantId)
        .where('code', '=', reference)
        .where('kind', '=', kind)
        // A label that was replaced still finds its sample; a location's is gone with it.
        .where((or) => or.or([or('retired_at', 'is', null), or('kind', '=', 'sample')]))
        .compile();
  const [row] = await read<{ id: string }>(db, tenantId, query);
  if (row) return row.id;
  throw unknownReference(kind, reference);
}

/**
 * The position that people name by its container and label.
 * @throws DomainError POSITION_UNKNOWN naming the grid, NOT_FOUND, BARCODE_UNKNOWN
 */
export async function resolvePosition(
  db: Database,
  tenantId: string,
  reference: string,
  label: string,
): Promise<string> {
  const containerId = await resolveReference(db, tenantId, 'location', reference);
  const [container] = await read(
    db,
    tenantId,
    sql<GridRow & { name: string }>`SELECT l.name, ${GRID_COLUMNS} FROM location l
       WHERE l.tenant_id = ${tenantId} AND l.id = ${containerId}`.compile(db.kysely),
  );
  if (!container) throw new DomainError('NOT_FOUND', `There is no location ${reference}.`);
  const { name } = container;
  const grid = gridOrNull(container);
  if (!grid) {
    throw new DomainError('POSITION_UNKNOWN', `${name} has no positions: name a container with a grid.`);
  }
  if (grid.labelling === 'none') {
    throw new DomainError(
      'POSITION_UNKNOWN',
      `things lie loose in ${name}: ask for a place within it, without a position`,
    );
  }
  const cell = parseCell(label, grid, name);
  const [position] = await read(
    db,
    tenantId,
    db.kysely
      .selectFrom('position')
      .select('id')
      .where('tenant_id', '=', tenantId)
      .where('container_id', '=', containerId)
      .where('grid_row', '=', cell.row)
      .where('grid_column', '=', cell.column)
      .where('retired_at', 'is', null)
      .compile(),
  );
  if (!position) throw new DomainError('POSITION_UNKNOWN', `Position ${label} of ${name} is out of use.`);
  return position.id;
}
