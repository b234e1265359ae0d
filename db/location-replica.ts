import { sql, type Transaction } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { DomainError } from '../domain/errors.ts';
import { assertAllowedParent } from '../domain/location-type.ts';
import { tellsCopiesApart, writePattern } from '../domain/replica.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import {
  type AlsoWrite,
  assertZoneFits,
  describeTaken,
  findType,
  SPARE_IN_BAGS,
  takeBarcodes,
} from './location-changes.ts';
import { deriveBelow } from './location-inheritance.ts';
import {
  assertInService,
  type LocationRow,
  lockBelow,
  lockLocation,
  recordLocation,
  titleOf,
} from './location-row.ts';
import type { DB } from './schema.ts';

/** Copies to be made of a location with all that stands in it. */
export interface Replication {
  /** id or barcode of the parent of the copies; null = as the original */
  readonly parent: string | null;
  /** how many, 1–100 */
  readonly copies: number;
  /** number of the first copy */
  readonly firstNumber: number;
  /** name of each copy, with `{n}` where there are several; what stands in it keeps its name */
  readonly name: string;
  /** barcode of each location of a copy that has one in the original; null = copies have none */
  readonly barcode: string | null;
}

/** What one call may make: each location is an entry in the ledger. */
const MOST_LOCATIONS = 2_000;
const MOST_POSITIONS = 200_000;

interface Copy {
  readonly id: string;
  readonly original: LocationRow;
  readonly parentId: string | null;
  readonly name: string;
  readonly barcode: string | null;
}

/**
 * Makes copies of a location with its whole layout, all of them or none: what stands in it, grids, rules, hand-offs. Tubes,
 * blocked positions and robots' addresses are not copied: a robot finds each container at an address of its own.
 * @param reference id or barcode of the original
 * @returns ids of the copies
 * @throws DomainError VALIDATION, PARENT_NOT_ALLOWED, LOCATION_RETIRED, NOT_FOUND, BARCODE_UNKNOWN, BARCODE_TAKEN, NAME_TAKEN
 */
export async function replicateLocation(
  db: Database,
  context: ChangeContext,
  reference: string,
  wanted: Replication,
  alsoWrite: (tx: Transaction<DB>, ids: readonly string[]) => ReturnType<AlsoWrite> = async () => {},
): Promise<string[]> {
  const { tenantId } = context.actor;
  assertPatterns(wanted);
  try {
    return await withChange(db, context, async (change) => {
      const { tx } = change;
      const original = await lockLocation(tx, tenantId, reference, 'SHARE');
      assertInService(original);
      const parentId = wanted.parent ?? original.parent_id;
      const parent = parentId === null ? null : await lockLocation(tx, tenantId, parentId, 'SHARE');
      if (parent) assertInService(parent);
      const type = await findType(tx, tenantId, original.type);
      assertAllowedParent(type, parent && { code: parent.type, name: parent.type_name });
      assertZoneFits(original.zone, original.type_zone, parent);
      const layout = await lockBelow(tx, tenantId, original.id, 'SHARE');
      assertSize(layout, original, wanted.copies);
      const tops: string[] = [];
      for (let n = wanted.firstNumber; n < wanted.firstNumber + wanted.copies; n++) {
        tops.push(await makeCopy(change, tenantId, layout, parent?.id ?? null, n, wanted));
      }
      await alsoWrite(tx, tops);
      return tops;
    });
  } catch (error) {
    throw describeTaken(error, { name: wanted.name, robotAddress: null });
  }
}

function assertSize(layout: readonly LocationRow[], original: LocationRow, copies: number): void {
  const positions = layout.reduce((sum, row) => sum + (row.grid_rows ?? 0) * (row.grid_columns ?? 0), 0);
  if (layout.length * copies <= MOST_LOCATIONS && positions * copies <= MOST_POSITIONS) return;
  const each = Math.floor(Math.min(MOST_LOCATIONS / layout.length, MOST_POSITIONS / Math.max(1, positions)));
  const detail =
    each === 0
      ? `${titleOf(original)} holds ${layout.length} locations: replicate what stands in it instead`
      : `at most ${each} at a time of ${titleOf(original)}, which holds ${layout.length} locations`;
  throw new DomainError('VALIDATION', `${copies} copies are too many for one call: ${detail}`, {
    errors: [{ pointer: '/copies', detail }],
  });
}

async function makeCopy(
  change: Change,
  tenantId: string,
  layout: readonly LocationRow[],
  parentId: string | null,
  n: number,
  wanted: Replication,
): Promise<string> {
  const { tx } = change;
  const ids = new Map(layout.map((row) => [row.id, uuidv7()]));
  const copies: Copy[] = layout.map((row, index) => ({
    id: ids.get(row.id) ?? '',
    original: row,
    parentId: index === 0 ? parentId : (ids.get(row.parent_id ?? '') ?? null),
    name: index === 0 ? writePattern(wanted.name, { n, ...row }) : row.name,
    barcode:
      row.barcode === null || wanted.barcode === null ? null : writePattern(wanted.barcode, { n, ...row }),
  }));
  const [top] = copies;
  if (!top) throw new Error('a layout holds at least its top');
  assertBarcodes(copies, wanted);
  await takeBarcodes(
    tx,
    tenantId,
    copies.flatMap(({ id, barcode }) => (barcode === null ? [] : [{ code: barcode, ownerId: id }])),
  );
  await insertCopies(tx, tenantId, copies);
  await sql`
    INSERT INTO location_ancestor (tenant_id, ancestor_id, descendant_id, depth)
    SELECT a.tenant_id, up.copy, down.copy, a.depth FROM location_ancestor a
    JOIN unnest(${[...ids.keys()]}::uuid[], ${[...ids.values()]}::uuid[]) up (original, copy) ON up.original = a.ancestor_id
    JOIN unnest(${[...ids.keys()]}::uuid[], ${[...ids.values()]}::uuid[]) down (original, copy) ON down.original = a.descendant_id
    WHERE a.tenant_id = ${tenantId}
    UNION ALL
    SELECT above.tenant_id, above.ancestor_id, down.copy, above.depth + 1 + a.depth
    FROM location_ancestor above CROSS JOIN location_ancestor a
    JOIN unnest(${[...ids.keys()]}::uuid[], ${[...ids.values()]}::uuid[]) down (original, copy) ON down.original = a.descendant_id
    WHERE above.tenant_id = ${tenantId} AND above.descendant_id = ${parentId} AND a.tenant_id = ${tenantId}
      AND a.ancestor_id = ${top.original.id}`.execute(tx);
  await sql`
    INSERT INTO position (tenant_id, container_id, grid_row, grid_column, ordinal)
    SELECT p.tenant_id, c.copy, p.grid_row, p.grid_column, p.ordinal
    FROM unnest(${[...ids.keys()]}::uuid[], ${[...ids.values()]}::uuid[]) c (original, copy)
    JOIN position p ON p.tenant_id = ${tenantId} AND p.container_id = c.original AND p.retired_at IS NULL
    JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    WHERE NOT l.unlimited OR p.ordinal <= ${SPARE_IN_BAGS}`.execute(tx);
  await deriveBelow(tx, tenantId, top.id);
  for (const row of await lockBelow(tx, tenantId, top.id, 'UPDATE')) {
    recordLocation(change, 'storage.location.created', null, row);
  }
  return top.id;
}

function assertBarcodes(copies: readonly Copy[], wanted: Replication): void {
  const seen = new Map<string, Copy>();
  for (const copy of copies) {
    if (copy.barcode === null) continue;
    const other = seen.get(copy.barcode);
    const detail = other
      ? `gives ${titleOf(other.original)} and ${titleOf(copy.original)} the same barcode ${copy.barcode}: use {barcode} or {name} in it`
      : copy.barcode.length > 64
        ? `gives ${titleOf(copy.original)} a barcode of ${copy.barcode.length} characters: 64 is the most`
        : null;
    if (detail !== null) {
      throw new DomainError('VALIDATION', `the pattern ${wanted.barcode} ${detail}`, {
        errors: [{ pointer: '/barcode', detail }],
      });
    }
    seen.set(copy.barcode, copy);
  }
}

function assertPatterns({ copies, name, barcode }: Replication): void {
  if (copies === 1) return;
  const unclear = [
    { pointer: '/name', pattern: name },
    { pointer: '/barcode', pattern: barcode },
  ].find(({ pattern }) => pattern !== null && !tellsCopiesApart(pattern));
  if (!unclear) return;
  throw new DomainError(
    'VALIDATION',
    `the pattern ${unclear.pattern} is the same for each of ${copies} copies: use {n} in it`,
    { errors: [{ pointer: unclear.pointer, detail: 'should hold {n}, the number of the copy' }] },
  );
}

/** Parents come before what stands in them, as in the layout. */
async function insertCopies(tx: Transaction<DB>, tenantId: string, copies: readonly Copy[]): Promise<void> {
  const values = copies.map(({ id, parentId, name, barcode }) => ({ id, parentId, name, barcode }));
  await sql`
    INSERT INTO location (tenant_id, id, type, parent_id, name, barcode, zone, sample_types, rules, grid_rows, grid_columns,
      row_labels, column_labels, labelling, direction, origin, unlimited, is_handoff)
    SELECT l.tenant_id, c.id, l.type, c."parentId", c.name, c.barcode, l.zone, l.sample_types, l.rules, l.grid_rows, l.grid_columns,
      l.row_labels, l.column_labels, l.labelling, l.direction, l.origin, l.unlimited, l.is_handoff
    FROM jsonb_to_recordset(${JSON.stringify(
      values.map((value, index) => ({ ...value, original: copies[index]?.original.id })),
    )}::jsonb) AS c (id uuid, "parentId" uuid, name text, barcode text, original uuid)
    JOIN location l ON l.tenant_id = ${tenantId} AND l.id = c.original`.execute(tx);
}
