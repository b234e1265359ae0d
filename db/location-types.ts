import { sql, type Transaction } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { DomainError } from '../domain/errors.ts';
import { DEFAULT_LOCATION_TYPES, type LocationType } from '../domain/location-type.ts';
import type { Zone } from '../domain/zone.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, shapeColumns, shapeOf } from './grid-row.ts';
import { assertContentFits } from './location-content.ts';
import { deriveBelow } from './location-inheritance.ts';
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
    await assertTypesKnown(change.tx, tenantId, type);
    const [created] = await insertTypes(change, tenantId, [type]);
    if (!created) throw new DomainError('NAME_TAKEN', `there is a location type ${type.code} already`);
    await alsoWrite(change.tx, created);
    return created;
  });
}

async function assertTypesKnown(
  tx: Transaction<DB>,
  tenantId: string,
  type: Pick<LocationType, 'code' | 'allowedParents'>,
): Promise<void> {
  const known = await tx
    .selectFrom('location_type')
    .select('code')
    .where('tenant_id', '=', tenantId)
    .execute();
  const codes = new Set([type.code, ...known.map((row) => row.code)]);
  const unknown = type.allowedParents.findIndex((code) => !codes.has(code));
  if (unknown < 0) return;
  const detail = `known types are ${[...codes].sort().join(', ')}`;
  throw new DomainError(
    'VALIDATION',
    `there is no location type ${type.allowedParents[unknown]}; ${detail}`,
    {
      errors: [{ pointer: `/allowedParents/${unknown}`, detail }],
    },
  );
}

/**
 * Changes a type. Where it may stand and its zone hold for the locations there are; its positions for those to come.
 * @param version as the person saw it (If-Match)
 * @throws DomainError NOT_FOUND, PRECONDITION_FAILED, VALIDATION for a parent type nobody knows; RULE_BROKEN_BY_CONTENT
 *   naming the first location that stands elsewhere, or the first tube that needs another temperature
 */
export function editLocationType(
  db: Database,
  context: ChangeContext,
  version: number,
  type: LocationType,
): Promise<LocationTypeRecord> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const before = await lockType(tx, tenantId, type.code);
    if (before.version !== version) {
      throw new DomainError(
        'PRECONDITION_FAILED',
        `type ${type.code} has changed since version ${version} was read: read it again, it is version ${before.version} now`,
        { facts: { version: before.version } },
      );
    }
    await assertTypesKnown(tx, tenantId, type);
    await tx
      .updateTable('location_type')
      .set({
        name: type.name,
        allowed_parents: [...type.allowedParents],
        zone: type.zone,
        ...NO_SHAPE,
        ...shapeColumns(type),
        version: version + 1,
      })
      .where('tenant_id', '=', tenantId)
      .where('code', '=', type.code)
      .execute();
    await assertStandWhereAllowed(tx, tenantId, type);
    if (type.zone !== before.zone) {
      const locations = await tx
        .selectFrom('location')
        .select('id')
        .where('tenant_id', '=', tenantId)
        .where('type', '=', type.code)
        .orderBy('id')
        .execute();
      for (const { id } of locations) await deriveBelow(tx, tenantId, id);
      for (const { id } of locations) await assertContentFits(tx, tenantId, id);
    }
    const after = await lockType(tx, tenantId, type.code);
    change.record({
      aggregate: 'location_type',
      aggregateId: after.id,
      version: after.version,
      type: 'storage.location_type.changed',
      from: null,
      to: null,
      before: recordOf(before),
      after: recordOf(after),
      data: { location_type: after.code },
    });
    return typeRecord(after);
  });
}

async function lockType(tx: Transaction<DB>, tenantId: string, code: string): Promise<TypeRow> {
  const { rows } = await sql<TypeRow>`
    SELECT ${TYPE} FROM location_type l WHERE l.tenant_id = ${tenantId} AND l.code = ${code} FOR NO KEY UPDATE`.execute(
    tx,
  );
  const row = rows[0];
  if (!row) throw new DomainError('NOT_FOUND', `there is no location type ${code}`);
  return row;
}

async function assertStandWhereAllowed(
  tx: Transaction<DB>,
  tenantId: string,
  type: LocationType,
): Promise<void> {
  const { rows } = await sql<{ name: string; where: string | null }>`
    SELECT l.name, u.type AS where FROM location l
    LEFT JOIN location u ON u.tenant_id = l.tenant_id AND u.id = l.parent_id
    WHERE l.tenant_id = ${tenantId} AND l.type = ${type.code} AND l.retired_at IS NULL
      AND NOT CASE WHEN u.id IS NULL THEN cardinality(${[...type.allowedParents]}::text[]) = 0
                   ELSE u.type = ANY (${[...type.allowedParents]}::text[]) END
    ORDER BY l.id LIMIT 1`.execute(tx);
  const first = rows[0];
  if (!first) return;
  const where = first.where === null ? 'at the root' : `in a ${first.where}`;
  throw new DomainError(
    'RULE_BROKEN_BY_CONTENT',
    `${type.name} ${first.name} stands ${where}: allow that, or move it first`,
    { facts: { location: first.name } },
  );
}

const NO_SHAPE = { grid_rows: null, grid_columns: null, labelling: 'two_dimensional', unlimited: false };

async function insertTypes(
  change: Change,
  tenantId: string,
  types: readonly LocationType[],
): Promise<LocationTypeRecord[]> {
  const entered = await change.tx
    .insertInto('location_type')
    .values(
      types.map((type) => ({
        tenant_id: tenantId,
        code: type.code,
        name: type.name,
        allowed_parents: [...type.allowedParents],
        zone: type.zone,
        ...shapeColumns(type),
      })),
    )
    .onConflict((conflict) => conflict.columns(['tenant_id', 'code']).doNothing())
    .returning('code')
    .execute();
  const { rows } = await sql<TypeRow>`
    SELECT ${TYPE} FROM location_type l
    WHERE l.tenant_id = ${tenantId} AND l.code = ANY (${entered.map((row) => row.code)}::text[]) ORDER BY l.code`.execute(
    change.tx,
  );
  return rows.map((row) => {
    change.record({
      aggregate: 'location_type',
      aggregateId: row.id,
      version: row.version,
      type: 'storage.location_type.created',
      from: null,
      to: null,
      before: null,
      after: recordOf(row),
      data: { location_type: row.code },
    });
    return typeRecord(row);
  });
}

interface TypeRow extends GridRow {
  readonly id: string;
  readonly code: string;
  readonly name: string;
  readonly allowed_parents: string[];
  readonly zone: Zone | null;
  readonly unlimited: boolean;
  readonly version: number;
}

const TYPE = sql`l.id, l.code, l.name, l.allowed_parents, l.zone, ${GRID_COLUMNS}, l.unlimited, l.version`;

function typeRecord(row: TypeRow): LocationTypeRecord {
  return {
    id: row.id,
    code: row.code,
    name: row.name,
    allowedParents: row.allowed_parents,
    zone: row.zone,
    ...shapeOf(row),
    version: row.version,
  };
}

function recordOf(row: TypeRow): Record<string, JsonValue> {
  return {
    code: row.code,
    name: row.name,
    allowed_parents: row.allowed_parents,
    zone: row.zone,
    grid_rows: row.grid_rows,
    grid_columns: row.grid_columns,
    row_labels: row.row_labels,
    column_labels: row.column_labels,
    labelling: row.labelling,
    direction: row.direction,
    origin: row.origin,
    unlimited: row.unlimited,
  };
}

/** The laboratory's types, by code. */
export async function listLocationTypes(db: Database, tenantId: string): Promise<LocationTypeRecord[]> {
  const rows = await read(
    db,
    tenantId,
    sql<TypeRow>`
      SELECT ${TYPE} FROM location_type l WHERE l.tenant_id = ${tenantId} ORDER BY l.code`.compile(db.kysely),
  );
  return rows.map(typeRecord);
}
