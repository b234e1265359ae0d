import { sql, type Transaction } from 'kysely';
import { cellLabel } from '../domain/grid.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import type { DB } from './schema.ts';

interface ScannedRow extends GridRow {
  name: string | null;
  parent: string | null;
  grid_row: number | null;
  grid_column: number | null;
}

/** What a barcode belongs to, as people know it and without the barcode, e.g. `Box 7 in Freezer 1`. */
export async function scannedInWords(tx: Transaction<DB>, tenantId: string, code: string): Promise<string> {
  const { rows } = await sql<ScannedRow>`
    SELECT l.name, parent.name AS parent, p.grid_row, p.grid_column, ${GRID_COLUMNS}
    FROM barcode b
    LEFT JOIN sample s ON b.kind = 'sample' AND s.tenant_id = b.tenant_id AND s.id = b.owner_id
    LEFT JOIN position p ON p.tenant_id = s.tenant_id AND p.id = s.position_id
    LEFT JOIN location l ON l.tenant_id = b.tenant_id
      AND l.id = CASE WHEN b.kind = 'location' THEN b.owner_id ELSE p.container_id END
    LEFT JOIN location parent ON parent.tenant_id = l.tenant_id AND parent.id = l.parent_id
    WHERE b.tenant_id = ${tenantId} AND b.code = ${code}`.execute(tx);
  const row = rows[0];
  if (!row) return 'nothing known here';
  if (row.name === null) return 'a tube that is in no position';
  const location = row.parent === null ? row.name : `${row.name} in ${row.parent}`;
  if (row.grid_row === null || row.grid_column === null) return location;
  const cell = { row: row.grid_row, column: row.grid_column };
  const grid = gridOf(row);
  return `the tube recorded in ${cellLabel(cell, grid)} of ${location}`;
}

/** A location with what it stands in, e.g. `Box 7 in Freezer 1`. */
export async function locationInWords(tx: Transaction<DB>, tenantId: string, id: string): Promise<string> {
  const { rows } = await sql<{ words: string }>`
    SELECT l.name || coalesce(' in ' || parent.name, '') AS words FROM location l
    LEFT JOIN location parent ON parent.tenant_id = l.tenant_id AND parent.id = l.parent_id
    WHERE l.tenant_id = ${tenantId} AND l.id = ${id}`.execute(tx);
  return rows[0]?.words ?? 'a location that is gone';
}
