import { sql } from 'kysely';
import type { CustodyKind } from '../domain/custody.ts';
import { cellLabel } from '../domain/grid.ts';
import type { PicklistPlace, Stop } from '../domain/picklist.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import { inTenant } from './tenancy.ts';

/** Of what the places are looked for, by id. */
export interface PlacesWanted {
  readonly samples: readonly string[];
  readonly positions: readonly string[];
  readonly locations: readonly string[];
}

/** Where things are, by id. */
export interface PlacesFound {
  /** `place` null: the tube is in no position */
  readonly samples: ReadonlyMap<
    string,
    { readonly custody: CustodyKind; readonly place: PicklistPlace | null }
  >;
  readonly positions: ReadonlyMap<string, PicklistPlace>;
  readonly locations: ReadonlyMap<string, PicklistPlace>;
}

interface PositionRow extends GridRow {
  id: string;
  container_id: string;
  ordinal: number;
  grid_row: number;
  grid_column: number;
}

/** The way to each tube, position or location, as a picklist plans it: three queries, however many they are. */
export async function picklistPlaces(
  db: Database,
  tenantId: string,
  wanted: PlacesWanted,
): Promise<PlacesFound> {
  return inTenant(db, tenantId, async (tx) => {
    const samples = await sql<{ id: string; custody: CustodyKind; position_id: string | null }>`
      SELECT id, custody, position_id FROM sample
      WHERE tenant_id = ${tenantId} AND id = ANY (${[...wanted.samples]}::uuid[])`.execute(tx);
    const positionIds = [...wanted.positions, ...samples.rows.flatMap((row) => row.position_id ?? [])];
    const { rows } = await sql<PositionRow>`
      SELECT p.id, p.container_id, p.ordinal, p.grid_row, p.grid_column,
             ${GRID_COLUMNS}
      FROM position p JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
      WHERE p.tenant_id = ${tenantId} AND p.id = ANY (${positionIds}::uuid[])`.execute(tx);
    const locationIds = [...new Set([...wanted.locations, ...rows.map((row) => row.container_id)])];
    const ways = await sql<{ id: string; unit_id: string | null; path: Stop[] }>`
      SELECT l.id, l.unit_id, (
        SELECT jsonb_agg(jsonb_build_object('id', a.id, 'name', t.name || ' ' || a.name) ORDER BY x.depth DESC)
        FROM location_ancestor x JOIN location a ON a.tenant_id = x.tenant_id AND a.id = x.ancestor_id
        JOIN location_type t ON t.tenant_id = a.tenant_id AND t.code = a.type
        WHERE x.tenant_id = l.tenant_id AND x.descendant_id = l.id) AS path
      FROM location l WHERE l.tenant_id = ${tenantId} AND l.id = ANY (${locationIds}::uuid[])`.execute(tx);
    const locations = new Map(
      ways.rows.map(({ id, unit_id, path }): [string, PicklistPlace] => [
        id,
        { unitId: unit_id, path, ordinal: null, label: null },
      ]),
    );
    const positions = new Map(
      rows.flatMap((row): [string, PicklistPlace][] => {
        const container = locations.get(row.container_id);
        return container ? [[row.id, { ...container, ordinal: row.ordinal, label: labelOf(row) }]] : [];
      }),
    );
    const found = samples.rows.map(({ id, custody, position_id }) => {
      const place = position_id === null ? null : (positions.get(position_id) ?? null);
      return [id, { custody, place }] as const;
    });
    return { samples: new Map(found), positions, locations };
  });
}

function labelOf(row: PositionRow): string {
  return cellLabel({ row: row.grid_row, column: row.grid_column }, gridOf(row));
}
