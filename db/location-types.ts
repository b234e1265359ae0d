import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import type { LabelScheme } from '../domain/grid.ts';
import { DEFAULT_LOCATION_TYPES, type LocationType } from '../domain/location-type.ts';
import type { Zone } from '../domain/zone.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** A type as a laboratory has it. */
export interface LocationTypeRecord extends LocationType {
  readonly id: string;
  readonly version: number;
}

/** Enters the types every laboratory starts with; part of creating a tenant. */
export async function addDefaultLocationTypes(change: Change, tenantId: string): Promise<void> {
  await insertTypes(change, tenantId, DEFAULT_LOCATION_TYPES);
}

/**
 * Enters a type of the laboratory's own.
 * @throws DomainError NAME_TAKEN when there is a type with this code, VALIDATION when it names a parent type nobody knows
 */
export function createLocationType(
  db: Database,
  context: ChangeContext,
  type: LocationType,
  alsoWrite: (tx: Transaction<DB>, created: LocationTypeRecord) => Promise<void> = async () => {},
): Promise<LocationTypeRecord> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const known = await change.tx
      .selectFrom('location_type')
      .select('code')
      .where('tenant_id', '=', tenantId)
      .execute();
    const codes = new Set([type.code, ...known.map((row) => row.code)]);
    const unknown = type.allowedParents.findIndex((code) => !codes.has(code));
    if (unknown >= 0) {
      throw new DomainError('VALIDATION', `there is no location type ${type.allowedParents[unknown]}`, {
        errors: [
          {
            pointer: `/allowedParents/${unknown}`,
            detail: `known types are ${[...codes].sort().join(', ')}`,
          },
        ],
      });
    }
    const [created] = await insertTypes(change, tenantId, [type]);
    if (!created) throw new DomainError('NAME_TAKEN', `there is a location type ${type.code} already`);
    await alsoWrite(change.tx, created);
    return created;
  });
}

async function insertTypes(
  change: Change,
  tenantId: string,
  types: readonly LocationType[],
): Promise<LocationTypeRecord[]> {
  const rows = await change.tx
    .insertInto('location_type')
    .values(
      types.map((type) => ({
        tenant_id: tenantId,
        code: type.code,
        name: type.name,
        allowed_parents: [...type.allowedParents],
        zone: type.zone,
        ...(type.grid && {
          grid_rows: type.grid.rows,
          grid_columns: type.grid.columns,
          row_labels: type.grid.rowLabels,
          column_labels: type.grid.columnLabels,
        }),
      })),
    )
    .onConflict((conflict) => conflict.columns(['tenant_id', 'code']).doNothing())
    .returningAll()
    .execute();
  return rows.map((row) => {
    change.record({
      aggregate: 'location_type',
      aggregateId: row.id,
      version: row.version,
      type: 'storage.location_type.created',
      from: null,
      to: null,
      before: null,
      after: {
        code: row.code,
        name: row.name,
        allowed_parents: row.allowed_parents,
        zone: row.zone,
        grid_rows: row.grid_rows,
        grid_columns: row.grid_columns,
        row_labels: row.row_labels,
        column_labels: row.column_labels,
      },
      data: { location_type: row.code },
    });
    return typeRecord({
      ...row,
      zone: row.zone as Zone | null,
      row_labels: row.row_labels as LabelScheme,
      column_labels: row.column_labels as LabelScheme,
    });
  });
}

interface TypeRow {
  readonly id: string;
  readonly code: string;
  readonly name: string;
  readonly allowed_parents: string[];
  readonly zone: Zone | null;
  readonly grid_rows: number | null;
  readonly grid_columns: number | null;
  readonly row_labels: LabelScheme;
  readonly column_labels: LabelScheme;
  readonly version: number;
}

function typeRecord(row: TypeRow): LocationTypeRecord {
  return {
    id: row.id,
    code: row.code,
    name: row.name,
    allowedParents: row.allowed_parents,
    zone: row.zone,
    grid:
      row.grid_rows === null || row.grid_columns === null
        ? null
        : {
            rows: row.grid_rows,
            columns: row.grid_columns,
            rowLabels: row.row_labels,
            columnLabels: row.column_labels,
          },
    version: row.version,
  };
}

/** The laboratory's types, by code. */
export async function listLocationTypes(db: Database, tenantId: string): Promise<LocationTypeRecord[]> {
  const rows = await read(
    db,
    tenantId,
    sql<TypeRow>`
      SELECT id, code, name, allowed_parents, zone, grid_rows, grid_columns, row_labels, column_labels, version
      FROM location_type WHERE tenant_id = ${tenantId} ORDER BY code`.compile(db.kysely),
  );
  return rows.map(typeRecord);
}
