import { sql } from 'kysely';
import type { Direction, Grid, Labelling, LabelScheme, Origin } from '../domain/grid.ts';
import { type Loose, looseGrid } from '../domain/location-type.ts';

/** The columns that say how a container's positions are arranged and named; null sizes: it has none. */
export interface GridRow {
  grid_rows: number | null;
  grid_columns: number | null;
  row_labels: LabelScheme;
  column_labels: LabelScheme;
  labelling: Labelling;
  direction: Direction;
  origin: Origin;
}

/** The columns of {@link GridRow}, of a location that a query calls `l`. */
export const GRID_COLUMNS = sql`l.grid_rows, l.grid_columns, l.row_labels, l.column_labels, l.labelling, l.direction,
  l.origin`;

/** The grid of a container; null for a place without positions. */
export function gridOrNull(row: GridRow): Grid | null {
  return row.grid_rows === null ? null : gridOf(row);
}

/** The grid of a row that names a position: its container has one. */
export function gridOf(row: GridRow): Grid {
  if (row.grid_rows === null || row.grid_columns === null) {
    throw new Error('a position was read of a location that has none');
  }
  return {
    rows: row.grid_rows,
    columns: row.grid_columns,
    rowLabels: row.row_labels,
    columnLabels: row.column_labels,
    labelling: row.labelling,
    direction: row.direction,
    origin: row.origin,
  };
}

/** What a container holds by itself, as people see it: named positions, loose things, or neither. */
export function shapeOf(row: GridRow & { unlimited: boolean }): { grid: Grid | null; loose: Loose | null } {
  if (row.labelling !== 'none') return { grid: gridOrNull(row), loose: null };
  return { grid: null, loose: { capacity: row.unlimited ? null : row.grid_columns } };
}

/** The columns of `location` and `location_type` for what a container holds by itself. */
export function shapeColumns({ grid, loose }: { readonly grid: Grid | null; readonly loose?: Loose | null }) {
  if (loose) return { ...gridColumns(looseGrid(loose)), unlimited: loose.capacity === null };
  return grid ? { ...gridColumns(grid), unlimited: false } : {};
}

function gridColumns(grid: Grid) {
  return {
    grid_rows: grid.rows,
    grid_columns: grid.columns,
    row_labels: grid.rowLabels,
    column_labels: grid.columnLabels,
    labelling: grid.labelling ?? 'two_dimensional',
    direction: grid.direction ?? 'horizontal',
    origin: grid.origin ?? 'top_left',
  };
}
