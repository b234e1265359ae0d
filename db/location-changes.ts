import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import type { Grid } from '../domain/grid.ts';
import type { LocationRules } from '../domain/location-rules.ts';
import { assertAllowedParent, HANDOFF_TYPE, type Loose } from '../domain/location-type.ts';
import { describeZone, zoneServes } from '../domain/placement.ts';
import type { Zone } from '../domain/zone.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, shapeColumns, shapeOf } from './grid-row.ts';
import { assertContentFits } from './location-content.ts';
import { deriveBelow } from './location-inheritance.ts';
import {
  assertInService,
  assertVersion,
  type LocationRow,
  lockLocation,
  recordLocation,
  titleOf,
} from './location-row.ts';
import type { DB } from './schema.ts';
import { sqlStateOf } from './tenancy.ts';

/** A location as somebody enters it. */
export interface NewLocation {
  readonly type: string;
  /** id or barcode; null = at the root */
  readonly parent: string | null;
  readonly name: string;
  readonly barcode: string | null;
  readonly zone: Zone | null;
  readonly sampleTypes: readonly string[] | null;
  /** left out = none of its own */
  readonly rules?: LocationRules;
  /** null = as its type says */
  readonly grid: Grid | null;
  /** things lie in it without positions; null or left out = as its type says */
  readonly loose?: Loose | null;
  /** null = as its type says */
  readonly isHandoff: boolean | null;
  readonly robotAddress: { readonly cassette: number; readonly level: number } | null;
}

/** Positions a bag without a limit begins with; the database sees to it that some stay free. */
export const SPARE_IN_BAGS = 256;

/** What belongs into the same transaction, e.g. the stored reply of the request; gets the location's id. */
export type AlsoWrite = (tx: Transaction<DB>, locationId: string) => Promise<void>;

/** What a person may change of a location. */
export interface LocationEdit {
  readonly name: string;
  /** another barcode retires the one it had */
  readonly barcode: string | null;
  readonly zone: Zone | null;
  readonly sampleTypes: readonly string[] | null;
  /** left out = none of its own */
  readonly rules?: LocationRules;
  readonly robotAddress: { readonly cassette: number; readonly level: number } | null;
}

/** What stands in a unit has the unit's temperature. @throws DomainError VALIDATION */
export function assertZoneFits(
  zone: Zone | null,
  typeZone: Zone | null,
  parent: Pick<LocationRow, 'type_name' | 'name' | 'effective_zone'> | null,
): void {
  // A unit makes its own temperature; what stands in one has that of the unit.
  if (zone === null || typeZone !== null || !parent?.effective_zone) return;
  if (zoneServes(parent.effective_zone, zone)) return;
  const detail = `${titleOf(parent)} is at ${describeZone(parent.effective_zone)}: leave the zone out, or set it there`;
  throw new DomainError(
    'VALIDATION',
    `a location in ${titleOf(parent)} cannot be at ${describeZone(zone)}: ${detail}`,
    {
      errors: [{ pointer: '/zone', detail }],
    },
  );
}

/**
 * Enters a location under its parent, with its barcode, its place in the tree, the rules in force and its positions.
 * @param alsoWrite what is written in the same transaction
 * @returns its id
 * @throws DomainError VALIDATION, PARENT_NOT_ALLOWED, LOCATION_RETIRED, NOT_FOUND, BARCODE_UNKNOWN, BARCODE_TAKEN, NAME_TAKEN
 */
export async function createLocation(
  db: Database,
  context: ChangeContext,
  location: NewLocation,
  alsoWrite: AlsoWrite = async () => {},
): Promise<string> {
  const { tenantId } = context.actor;
  try {
    return await withChange(db, context, async (change) => {
      const { tx } = change;
      const type = await findType(tx, tenantId, location.type);
      const parent =
        location.parent === null ? null : await lockLocation(tx, tenantId, location.parent, 'SHARE');
      if (parent) assertInService(parent);
      assertAllowedParent(type, parent && { code: parent.type, name: parent.type_name });
      assertZoneFits(location.zone, type.zone, parent);
      const shape = location.grid || location.loose ? location : type;
      const isHandoff = location.isHandoff ?? type.code === HANDOFF_TYPE;
      const { rows: made } = await sql<{ id: string }>`SELECT uuidv7() AS id`.execute(tx);
      const id = made[0]?.id;
      if (id === undefined) throw new Error('the database made no id');
      if (location.barcode !== null)
        await takeBarcodes(tx, tenantId, [{ code: location.barcode, ownerId: id }]);
      await tx
        .insertInto('location')
        .values({
          tenant_id: tenantId,
          id,
          type: location.type,
          parent_id: parent?.id ?? null,
          name: location.name,
          barcode: location.barcode,
          zone: location.zone,
          sample_types: location.sampleTypes && [...location.sampleTypes],
          rules: JSON.stringify(location.rules ?? {}),
          ...shapeColumns(shape),
          is_handoff: isHandoff,
          robot_cassette: location.robotAddress?.cassette ?? null,
          robot_level: location.robotAddress?.level ?? null,
        })
        .execute();
      await sql`
      INSERT INTO location_ancestor (tenant_id, ancestor_id, descendant_id, depth)
      SELECT tenant_id, ancestor_id, ${id}::uuid, depth + 1 FROM location_ancestor
      WHERE tenant_id = ${tenantId} AND descendant_id = ${parent?.id ?? null}
      UNION ALL SELECT ${tenantId}::uuid, ${id}::uuid, ${id}::uuid, 0`.execute(tx);
      await deriveBelow(tx, tenantId, id);
      const after = await lockLocation(tx, tenantId, id, 'UPDATE');
      await insertPositions(tx, tenantId, after);
      recordLocation(change, 'storage.location.created', null, after);
      await alsoWrite(tx, id);
      return id;
    });
  } catch (error) {
    throw describeTaken(error, location);
  }
}

/** The positions of a new container, each free. */
async function insertPositions(tx: Transaction<DB>, tenantId: string, row: LocationRow): Promise<void> {
  if (row.grid_rows === null || row.grid_columns === null) return;
  const { rows, columns } = row.unlimited
    ? { rows: 1, columns: SPARE_IN_BAGS }
    : { rows: row.grid_rows, columns: row.grid_columns };
  const cell =
    row.direction === 'vertical'
      ? sql`n % ${rows}::int, n / ${rows}::int`
      : sql`n / ${columns}::int, n % ${columns}::int`;
  await sql`
    INSERT INTO position (tenant_id, container_id, grid_row, grid_column, ordinal)
    SELECT ${tenantId}::uuid, ${row.id}::uuid, ${cell}, n + 1
    FROM generate_series(0, ${rows * columns - 1}::int) n`.execute(tx);
}

interface FoundType {
  readonly code: string;
  readonly name: string;
  readonly allowedParents: string[];
  readonly zone: Zone | null;
  readonly grid: Grid | null;
  readonly loose: Loose | null;
}

/** A type, held against edits. @throws DomainError VALIDATION naming the types there are */
export async function findType(tx: Transaction<DB>, tenantId: string, code: string): Promise<FoundType> {
  const { rows } = await sql<
    GridRow & {
      code: string;
      name: string;
      allowed_parents: string[];
      zone: Zone | null;
      unlimited: boolean;
    }
  >`
    SELECT l.code, l.name, l.allowed_parents, l.zone, ${GRID_COLUMNS}, l.unlimited
    FROM location_type l WHERE l.tenant_id = ${tenantId} AND l.code = ${code} FOR SHARE`.execute(tx);
  const row = rows[0];
  if (!row) {
    const known = await tx
      .selectFrom('location_type')
      .select('code')
      .where('tenant_id', '=', tenantId)
      .orderBy('code')
      .execute();
    const detail = `known types are ${known.map((each) => each.code).join(', ')}`;
    throw new DomainError('VALIDATION', `there is no location type ${code}; ${detail}`, {
      errors: [{ pointer: '/type', detail }],
    });
  }
  return {
    code: row.code,
    name: row.name,
    allowedParents: row.allowed_parents,
    zone: row.zone,
    ...shapeOf(row),
  };
}

/**
 * Gives barcodes that nobody has had to locations.
 * @throws DomainError BARCODE_TAKEN naming the first that belongs to something else, retired or not
 */
export async function takeBarcodes(
  tx: Transaction<DB>,
  tenantId: string,
  wanted: readonly { readonly code: string; readonly ownerId: string }[],
): Promise<void> {
  const codes = wanted.map(({ code }) => code);
  const taken = await sql`
    INSERT INTO barcode (tenant_id, code, kind, owner_id)
    SELECT ${tenantId}, code, 'location', owner_id
    FROM unnest(${codes}::text[], ${wanted.map(({ ownerId }) => ownerId)}::uuid[]) AS w (code, owner_id)
    ORDER BY code ON CONFLICT DO NOTHING`.execute(tx);
  if (taken.numAffectedRows === BigInt(wanted.length)) return;
  const { rows } = await sql<{ code: string; kind: string; owner_id: string; retired_at: Date | null }>`
    SELECT b.code, b.kind, b.owner_id, b.retired_at
    FROM unnest(${codes}::text[], ${wanted.map(({ ownerId }) => ownerId)}::uuid[]) WITH ORDINALITY AS w (code, owner_id, n)
    JOIN barcode b ON b.tenant_id = ${tenantId} AND b.code = w.code AND b.owner_id <> w.owner_id
    ORDER BY w.n LIMIT 1`.execute(tx);
  const owner = rows[0];
  const whose = owner
    ? `${owner.kind} ${owner.owner_id}${owner.retired_at ? ', which is retired' : ''}`
    : 'another';
  throw new DomainError(
    'BARCODE_TAKEN',
    `the barcode ${owner?.code ?? codes[0]} belongs to ${whose}: use a label of its own`,
    {
      errors: [{ pointer: '/barcode', detail: `belongs to ${whose}` }],
      ...(owner && { facts: { kind: owner.kind, ownerId: owner.owner_id } }),
    },
  );
}

/** The keys of the location table, as a person would say that they are broken. */
export function describeTaken(error: unknown, location: Pick<NewLocation, 'name' | 'robotAddress'>): unknown {
  if (sqlStateOf(error) !== '23505' || !(error instanceof Error) || !('constraint' in error)) return error;
  switch (error.constraint) {
    case 'location_name':
      return new DomainError(
        'NAME_TAKEN',
        `there is a location named ${location.name} under the same parent already: choose another name`,
        { errors: [{ pointer: '/name', detail: 'is taken under this parent' }], cause: error },
      );
    case 'location_robot_address': {
      const { cassette, level } = location.robotAddress ?? {};
      const detail = `cassette ${cassette}, level ${level} is the address of another container of this unit`;
      return new DomainError('CONFLICT', `${detail}: give this one its own`, {
        errors: [{ pointer: '/robotAddress', detail }],
        cause: error,
      });
    }
    default:
      return error;
  }
}

/**
 * Changes what a person may change, and what all below inherits of it. New rules are held against what is stored.
 * @param reference id or barcode
 * @param version as the person saw it (If-Match)
 * @throws DomainError PRECONDITION_FAILED, RULE_BROKEN_BY_CONTENT naming the first item that would break the new rule,
 *   VALIDATION, LOCATION_RETIRED, NOT_FOUND, BARCODE_UNKNOWN, BARCODE_TAKEN, NAME_TAKEN, CONFLICT
 */
export async function editLocation(
  db: Database,
  context: ChangeContext,
  reference: string,
  version: number,
  edit: LocationEdit,
): Promise<string> {
  const { tenantId } = context.actor;
  try {
    return await withChange(db, context, async (change) => {
      const { tx } = change;
      const before = await lockLocation(tx, tenantId, reference, 'UPDATE');
      assertInService(before);
      assertVersion(before, version);
      const parent =
        before.parent_id === null ? null : await lockLocation(tx, tenantId, before.parent_id, 'SHARE');
      if (edit.zone !== before.zone) assertZoneFits(edit.zone, before.type_zone, parent);
      await assertAddressIdle(tx, tenantId, before, edit);
      if (edit.barcode !== before.barcode) await replaceBarcode(tx, tenantId, before, edit.barcode);
      await tx
        .updateTable('location')
        .set({
          name: edit.name,
          barcode: edit.barcode,
          zone: edit.zone,
          sample_types: edit.sampleTypes && [...edit.sampleTypes],
          rules: JSON.stringify(edit.rules ?? {}),
          robot_cassette: edit.robotAddress?.cassette ?? null,
          robot_level: edit.robotAddress?.level ?? null,
          version: before.version + 1,
        })
        .where('tenant_id', '=', tenantId)
        .where('id', '=', before.id)
        .execute();
      await deriveBelow(tx, tenantId, before.id);
      const after = await lockLocation(tx, tenantId, before.id, 'UPDATE');
      const sameRules =
        before.zone === after.zone &&
        JSON.stringify([before.sample_types, before.rules]) ===
          JSON.stringify([after.sample_types, after.rules]);
      if (!sameRules) await assertContentFits(tx, tenantId, before.id);
      recordLocation(change, 'storage.location.changed', before, after);
      return before.id;
    });
  } catch (error) {
    throw describeTaken(error, edit);
  }
}

/** A robot may be on its way to the address: it is not changed under it. */
async function assertAddressIdle(
  tx: Transaction<DB>,
  tenantId: string,
  row: LocationRow,
  edit: LocationEdit,
): Promise<void> {
  const same =
    (edit.robotAddress?.cassette ?? null) === row.robot_cassette &&
    (edit.robotAddress?.level ?? null) === row.robot_level;
  if (same) return;
  const held = await tx
    .selectFrom('position')
    .select('job_id')
    .where('tenant_id', '=', tenantId)
    .where('container_id', '=', row.id)
    .where('job_id', 'is not', null)
    .limit(1)
    .executeTakeFirst();
  if (!held) return;
  throw new DomainError(
    'CONFLICT',
    `job ${held.job_id} is at work in ${titleOf(row)}: change the robot's address when it is over`,
    { facts: { jobId: held.job_id } },
  );
}

async function replaceBarcode(
  tx: Transaction<DB>,
  tenantId: string,
  row: LocationRow,
  code: string | null,
): Promise<void> {
  if (row.barcode !== null) {
    await sql`UPDATE barcode SET retired_at = now() WHERE tenant_id = ${tenantId} AND code = ${row.barcode}`.execute(
      tx,
    );
  }
  if (code !== null) await takeBarcodes(tx, tenantId, [{ code, ownerId: row.id }]);
}
