import { type RawBuilder, type SqlBool, sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import type { Grid } from '../domain/grid.ts';
import type { LocationRules } from '../domain/location-rules.ts';
import type { Loose } from '../domain/location-type.ts';
import { isId } from '../domain/reference.ts';
import type { Zone } from '../domain/zone.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, shapeOf } from './grid-row.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** One step of the way from the root to a location. */
export interface PathStep {
  readonly id: string;
  readonly type: string;
  readonly name: string;
}

/** Positions of a container, or of everything below a location. */
export interface PositionCount {
  readonly total: number;
  readonly occupied: number;
  readonly reserved: number;
  readonly blocked: number;
  readonly free: number;
}

/** A place in the tree, with what is inherited already worked out. */
export interface LocationRecord {
  readonly id: string;
  readonly type: string;
  readonly typeName: string;
  readonly name: string;
  readonly barcode: string | null;
  readonly parentId: string | null;
  /** from the root to the location itself */
  readonly path: readonly PathStep[];
  /** set on the location itself; null = as its type or its parent says */
  readonly zone: Zone | null;
  readonly sampleTypes: readonly string[] | null;
  /** in force: own, of the type, or inherited */
  readonly rules: LocationRules & {
    readonly zone: Zone | null;
    readonly sampleTypes: readonly string[] | null;
  };
  /** of {@link rules}, those set on the location itself, beyond zone and types */
  readonly ownRules: LocationRules;
  readonly grid: Grid | null;
  /** things lie in it without named positions; null: they do not */
  readonly loose: Loose | null;
  readonly isHandoff: boolean;
  readonly robotAddress: { readonly cassette: number; readonly level: number } | null;
  /** its own positions; null where it has none */
  readonly positions: PositionCount | null;
  readonly createdAt: Date;
  readonly retiredAt: Date | null;
  readonly version: number;
}

interface LocationRow extends GridRow {
  id: string;
  type: string;
  type_name: string;
  name: string;
  barcode: string | null;
  parent_id: string | null;
  path: PathStep[];
  zone: Zone | null;
  sample_types: string[] | null;
  effective_zone: Zone | null;
  effective_sample_types: string[] | null;
  rules: LocationRules;
  effective_rules: LocationRules;
  unlimited: boolean;
  is_handoff: boolean;
  robot_cassette: number | null;
  robot_level: number | null;
  created_at: Date;
  retired_at: Date | null;
  version: number;
  total: number | null;
  occupied: number | null;
  reserved: number | null;
  blocked: number | null;
  free: number | null;
}

const LOCATION = sql`
  l.id, l.type, t.name AS type_name, l.name, l.barcode, l.parent_id, l.path, l.zone, l.sample_types, l.effective_zone,
  l.effective_sample_types, l.rules, l.effective_rules, ${GRID_COLUMNS}, l.unlimited, l.is_handoff, l.robot_cassette,
  l.robot_level, l.created_at, l.retired_at, l.version, 
  CASE WHEN l.unlimited THEN c.occupied + c.reserved + c.blocked ELSE c.total END AS total, c.occupied, c.reserved, c.blocked,
  CASE WHEN l.unlimited THEN 0 ELSE c.free END AS free`;

const FROM_LOCATION = sql`
  FROM location l
  JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
  LEFT JOIN location_count c ON c.tenant_id = l.tenant_id AND c.location_id = l.id`;

function locationOf(row: LocationRow): LocationRecord {
  return {
    id: row.id,
    type: row.type,
    typeName: row.type_name,
    name: row.name,
    barcode: row.barcode,
    parentId: row.parent_id,
    path: row.path,
    zone: row.zone,
    sampleTypes: row.sample_types,
    rules: { ...row.effective_rules, zone: row.effective_zone, sampleTypes: row.effective_sample_types },
    ownRules: row.rules,
    ...shapeOf(row),
    isHandoff: row.is_handoff,
    robotAddress:
      row.robot_cassette === null || row.robot_level === null
        ? null
        : { cassette: row.robot_cassette, level: row.robot_level },
    positions:
      row.total === null
        ? null
        : {
            total: row.total,
            occupied: row.occupied ?? 0,
            reserved: row.reserved ?? 0,
            blocked: row.blocked ?? 0,
            free: row.free ?? 0,
          },
    createdAt: row.created_at,
    retiredAt: row.retired_at,
    version: row.version,
  };
}

/** The row a reference names: an id, or a barcode. */
export function named(reference: string, table: string): RawBuilder<SqlBool> {
  return isId(reference)
    ? sql<SqlBool>`${sql.ref(`${table}.id`)} = ${reference}`
    : sql<SqlBool>`${sql.ref(`${table}.barcode`)} = ${reference}`;
}

/** The error for a reference that names nothing. */
export function unknownReference(kind: 'location' | 'sample', reference: string): DomainError {
  return isId(reference)
    ? new DomainError('NOT_FOUND', `there is no ${kind} ${reference}`)
    : new DomainError(
        'BARCODE_UNKNOWN',
        `no ${kind} has the barcode ${reference}: scan it again, or register it`,
      );
}

/**
 * A location with its path and the rules in force.
 * @param reference id or barcode
 * @throws DomainError NOT_FOUND, BARCODE_UNKNOWN
 */
export async function findLocation(
  db: Database,
  tenantId: string,
  reference: string,
): Promise<LocationRecord> {
  const rows = await read(
    db,
    tenantId,
    sql<LocationRow>`SELECT ${LOCATION} ${FROM_LOCATION}
      WHERE l.tenant_id = ${tenantId} AND ${named(reference, 'l')}`.compile(db.kysely),
    isId(reference) ? 'location_by_id' : 'location_by_barcode',
  );
  const row = rows[0];
  if (!row) throw unknownReference('location', reference);
  return locationOf(row);
}

/** As {@link findLocation}, inside a transaction. */
export async function locationById(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
): Promise<LocationRecord> {
  const { rows } = await sql<LocationRow>`SELECT ${LOCATION} ${FROM_LOCATION}
    WHERE l.tenant_id = ${tenantId} AND l.id = ${id}`.execute(tx);
  const row = rows[0];
  if (!row) throw unknownReference('location', id);
  return locationOf(row);
}

export const LOCATION_SORTS = ['created', '-created', 'name'] as const;
export type LocationSort = (typeof LOCATION_SORTS)[number];

export interface LocationFilter {
  readonly type?: string;
  /** zone in force */
  readonly zone?: Zone;
  /** id or barcode of the parent */
  readonly parent?: string;
  /** with at least so many free positions of its own */
  readonly minFree?: number;
  readonly retired?: boolean;
}

/** Where a page begins: after this location. */
export interface LocationCursor {
  readonly id: string;
  readonly name: string;
}

/**
 * A page of locations; one row more than asked for tells whether there is another page.
 * @param limit rows of a page
 */
export async function listLocations(
  db: Database,
  tenantId: string,
  filter: LocationFilter,
  sort: LocationSort,
  after: LocationCursor | null,
  limit: number,
): Promise<LocationRecord[]> {
  const conditions = [
    sql<SqlBool>`l.tenant_id = ${tenantId}`,
    filter.retired ? sql<SqlBool>`l.retired_at IS NOT NULL` : sql<SqlBool>`l.retired_at IS NULL`,
  ];
  if (filter.type !== undefined) conditions.push(sql<SqlBool>`l.type = ${filter.type}`);
  if (filter.zone !== undefined) conditions.push(sql<SqlBool>`l.effective_zone = ${filter.zone}`);
  if (filter.parent !== undefined) {
    conditions.push(sql<SqlBool>`l.parent_id = (SELECT u.id FROM location u
      WHERE u.tenant_id = ${tenantId} AND ${named(filter.parent, 'u')})`);
  }
  if (filter.minFree !== undefined) {
    conditions.push(sql<SqlBool>`c.has_room AND c.free >= ${filter.minFree}`);
  }
  if (after !== null) {
    conditions.push(
      sort === 'name'
        ? sql<SqlBool>`(l.name, l.id) > (${after.name}, ${after.id}::uuid)`
        : sort === 'created'
          ? sql<SqlBool>`l.id > ${after.id}::uuid`
          : sql<SqlBool>`l.id < ${after.id}::uuid`,
    );
  }
  const order = sort === 'name' ? sql`l.name, l.id` : sort === 'created' ? sql`l.id` : sql`l.id DESC`;
  const rows = await read(
    db,
    tenantId,
    sql<LocationRow>`SELECT ${LOCATION} ${FROM_LOCATION} WHERE ${sql.join(conditions, sql` AND `)}
      ORDER BY ${order} LIMIT ${limit}`.compile(db.kysely),
  );
  return rows.map(locationOf);
}

/** A location with those below it. */
export interface LocationNode extends LocationRecord {
  readonly children: readonly LocationNode[];
}

/**
 * The tree below a location, or all of it; empty places too.
 * @param root id or barcode; null = from the roots
 * @param depth levels below the root that are told
 * @param most nodes that one answer may hold
 * @throws DomainError NOT_FOUND, BARCODE_UNKNOWN; VALIDATION when the answer would hold more than `most`
 */
export async function readTree(
  db: Database,
  tenantId: string,
  root: string | null,
  depth: number,
  most: number,
): Promise<LocationNode[]> {
  const top = root === null ? null : (await findLocation(db, tenantId, root)).id;
  const rows = await read(
    db,
    tenantId,
    sql<LocationRow>`
      WITH RECURSIVE below AS (
        SELECT id, 0 AS depth FROM location WHERE tenant_id = ${tenantId} AND retired_at IS NULL
          AND ${top === null ? sql`parent_id IS NULL` : sql`id = ${top}`}
        UNION ALL
        SELECT d.id, b.depth + 1 FROM below b JOIN location d ON d.tenant_id = ${tenantId} AND d.parent_id = b.id
        WHERE d.retired_at IS NULL AND b.depth < ${depth}
      ), page AS (SELECT id, depth FROM below LIMIT ${most + 1})
      SELECT ${LOCATION} ${FROM_LOCATION} JOIN page ON page.id = l.id
      WHERE l.tenant_id = ${tenantId} ORDER BY page.depth DESC, l.name, l.id`.compile(db.kysely),
  );
  if (rows.length > most) {
    throw new DomainError(
      'VALIDATION',
      `the tree has more than ${most} locations within ${depth} levels: name a parent, or ask for fewer levels`,
      { errors: [{ pointer: 'depth', detail: `should be less than ${depth} for this parent` }] },
    );
  }
  const children = new Map<string | null, LocationNode[]>();
  const nodes: LocationNode[] = [];
  for (const row of rows) {
    const node: LocationNode = { ...locationOf(row), children: children.get(row.id) ?? [] };
    const siblings = children.get(row.parent_id);
    if (siblings) siblings.push(node);
    else children.set(row.parent_id, [node]);
    if (top === null ? row.parent_id === null : row.id === top) nodes.push(node);
  }
  return nodes;
}

/** One position of a container with what is in it. */
export interface MapCell {
  readonly positionId: string;
  readonly row: number;
  readonly column: number;
  readonly state: 'free' | 'reserved' | 'occupied' | 'blocked';
  readonly blockedReason: string | null;
  /** set aside by it, with a tube or without */
  readonly reservationId: string | null;
  readonly jobId: string | null;
  readonly leaseExpiresAt: Date | null;
  readonly sample: {
    readonly id: string;
    readonly barcode: string;
    readonly type: string;
    readonly project: string | null;
  } | null;
}

/** A container's grid with what is in it, row by row. */
export interface LocationMap {
  readonly location: LocationRecord;
  readonly cells: readonly MapCell[];
}

/**
 * The grid of a container with what is in it; a location without positions has no cells, and one in which things lie
 * loose those that are in use.
 * @throws DomainError NOT_FOUND, BARCODE_UNKNOWN
 */
export async function readMap(db: Database, tenantId: string, reference: string): Promise<LocationMap> {
  const location = await findLocation(db, tenantId, reference);
  const cells = await read(
    db,
    tenantId,
    sql<MapCell>`
      SELECT p.id AS "positionId", p.grid_row AS row, p.grid_column AS column, p.state,
             p.blocked_reason AS "blockedReason", p.reservation_id AS "reservationId", p.job_id AS "jobId", p.lease_expires_at AS "leaseExpiresAt",
             CASE WHEN s.id IS NULL THEN NULL ELSE jsonb_build_object(
               'id', s.id, 'barcode', s.barcode, 'type', s.type, 'project', s.project) END AS sample
      FROM position p
      LEFT JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = p.sample_id
      WHERE p.tenant_id = ${tenantId} AND p.container_id = ${location.id} AND p.retired_at IS NULL
        AND ${location.loose ? sql<SqlBool>`p.state <> 'free'` : sql<SqlBool>`true`}
      ORDER BY p.ordinal`.compile(db.kysely),
  );
  return { location, cells };
}
