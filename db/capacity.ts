import { sql } from 'kysely';
import type { Zone } from '../domain/zone.ts';
import type { Database } from './connection.ts';
import { findLocation, type LocationRecord, type PositionCount } from './locations.ts';
import { read } from './tenancy.ts';

/** Positions below a location, by zone and by level of the tree. */
export interface Capacity extends PositionCount {
  readonly location: LocationRecord;
  readonly perZone: readonly (PositionCount & { readonly zone: Zone | null })[];
  /** one line for each type of location below it (and itself), counted in its own unit */
  readonly perLevel: readonly LevelCapacity[];
}

/** The locations of one type below a location, and the positions in or below them. */
export interface LevelCapacity extends PositionCount {
  readonly type: string;
  readonly typeName: string;
  /** levels below the location, 0 = itself; the least, where a type stands at several */
  readonly depth: number;
  readonly locations: number;
  /** of those, the ones with a free position in or below them */
  readonly withRoom: number;
}

const NOTHING: PositionCount = { total: 0, occupied: 0, reserved: 0, blocked: 0, free: 0 };

/** Positions of a container's counter `c`: bags without a limit add what is in them, and no room. */
export const TOTAL = sql`CASE WHEN c.unlimited THEN c.occupied + c.reserved + c.blocked ELSE c.total END`;
export const FREE = sql`CASE WHEN c.unlimited THEN 0 ELSE c.free END`;
const SUMS = sql`sum(${TOTAL})::int AS total, sum(c.occupied)::int AS occupied, sum(c.reserved)::int AS reserved,
  sum(c.blocked)::int AS blocked, sum(${FREE})::int AS free`;

/**
 * Counts the positions in and below a location; hand-offs are no storage and are left out, unless it is one.
 * @param reference id or barcode
 * @throws DomainError NOT_FOUND, BARCODE_UNKNOWN
 */
export async function readCapacity(db: Database, tenantId: string, reference: string): Promise<Capacity> {
  const location = await findLocation(db, tenantId, reference);
  const [perZone, perLevel] = await Promise.all([
    read(
      db,
      tenantId,
      sql<PositionCount & { zone: Zone | null }>`
        SELECT l.effective_zone AS zone, ${SUMS}
        FROM location_ancestor a
        JOIN location_count c ON c.tenant_id = a.tenant_id AND c.location_id = a.descendant_id
        JOIN location l ON l.tenant_id = a.tenant_id AND l.id = a.descendant_id
        WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${location.id} AND l.retired_at IS NULL
          AND (NOT l.is_handoff OR a.depth = 0)
        GROUP BY l.effective_zone ORDER BY l.effective_zone`.compile(db.kysely),
    ),
    read(
      db,
      tenantId,
      sql<LevelCapacity>`
        WITH place AS (
          SELECT l.id, l.type, a.depth,
                 coalesce(sum(${TOTAL}), 0) AS total, coalesce(sum(c.occupied), 0) AS occupied,
                 coalesce(sum(c.reserved), 0) AS reserved, coalesce(sum(c.blocked), 0) AS blocked,
                 coalesce(sum(${FREE}), 0) AS free
          FROM location_ancestor a
          JOIN location l ON l.tenant_id = a.tenant_id AND l.id = a.descendant_id
          LEFT JOIN (location_ancestor b
            JOIN location_count c ON c.tenant_id = b.tenant_id AND c.location_id = b.descendant_id
            JOIN location h ON h.tenant_id = b.tenant_id AND h.id = b.descendant_id AND h.retired_at IS NULL)
            ON b.tenant_id = a.tenant_id AND b.ancestor_id = l.id AND (NOT h.is_handoff OR b.depth = 0)
          WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${location.id} AND l.retired_at IS NULL
          GROUP BY l.id, l.type, a.depth)
        SELECT p.type, t.name AS "typeName", min(p.depth)::int AS depth, count(*)::int AS locations,
               count(*) FILTER (WHERE p.free > 0)::int AS "withRoom", sum(p.total)::int AS total,
               sum(p.occupied)::int AS occupied, sum(p.reserved)::int AS reserved, sum(p.blocked)::int AS blocked,
               sum(p.free)::int AS free
        FROM place p JOIN location_type t ON t.tenant_id = ${tenantId} AND t.code = p.type
        GROUP BY p.type, t.name ORDER BY depth, p.type`.compile(db.kysely),
    ),
  ]);
  const sum = perZone.reduce<PositionCount>(
    (all, one) => ({
      total: all.total + one.total,
      occupied: all.occupied + one.occupied,
      reserved: all.reserved + one.reserved,
      blocked: all.blocked + one.blocked,
      free: all.free + one.free,
    }),
    NOTHING,
  );
  return { ...sum, location, perZone, perLevel };
}
