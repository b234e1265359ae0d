import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { assertAllowedParent } from '../domain/location-type.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { assertZoneFits, describeTaken, findType } from './location-changes.ts';
import { assertContentFits } from './location-content.ts';
import { deriveBelow } from './location-inheritance.ts';
import {
  assertInService,
  assertVersion,
  type LocationRow,
  lockBelow,
  lockLocation,
  recordLocation,
  titleOf,
} from './location-row.ts';
import type { DB } from './schema.ts';

/**
 * Enters that a location stands elsewhere now, with all that is in it. The rules of the new place are held against what is
 * inside.
 * @param reference id or barcode
 * @param version as the person saw it (If-Match)
 * @param to id or barcode of the new parent; null = the root
 * @throws DomainError LOCATION_CYCLE, PARENT_NOT_ALLOWED, RULE_BROKEN_BY_CONTENT naming the first item, NAME_TAKEN, CONFLICT
 *   when a job or robot is at work there, PRECONDITION_FAILED, LOCATION_RETIRED, VALIDATION, NOT_FOUND, BARCODE_UNKNOWN
 */
export async function relocateLocation(
  db: Database,
  context: ChangeContext,
  reference: string,
  version: number,
  to: string | null,
): Promise<string> {
  const { tenantId } = context.actor;
  let name = '';
  try {
    return await withChange(db, context, async (change) => {
      const { tx } = change;
      const before = await lockLocation(tx, tenantId, reference, 'UPDATE');
      name = before.name;
      assertInService(before);
      assertVersion(before, version);
      const parent = to === null ? null : await lockLocation(tx, tenantId, to, 'SHARE');
      if (parent) await assertNoCycle(tx, tenantId, before, parent);
      const type = await findType(tx, tenantId, before.type);
      assertAllowedParent(type, parent && { code: parent.type, name: parent.type_name });
      assertZoneFits(before.zone, before.type_zone, parent);
      // Nothing below comes or goes while the tree changes.
      await lockBelow(tx, tenantId, before.id, 'UPDATE');
      await assertIdle(tx, tenantId, before);
      await sql`UPDATE location SET parent_id = ${parent?.id ?? null}, version = version + 1
        WHERE tenant_id = ${tenantId} AND id = ${before.id}`.execute(tx);
      await sql`
        DELETE FROM location_ancestor a USING location_ancestor below
        WHERE a.tenant_id = ${tenantId} AND below.tenant_id = ${tenantId} AND below.ancestor_id = ${before.id}
          AND a.descendant_id = below.descendant_id AND NOT EXISTS (
            SELECT FROM location_ancestor inside WHERE inside.tenant_id = ${tenantId}
              AND inside.ancestor_id = ${before.id} AND inside.descendant_id = a.ancestor_id)`.execute(tx);
      await sql`
        INSERT INTO location_ancestor (tenant_id, ancestor_id, descendant_id, depth)
        SELECT above.tenant_id, above.ancestor_id, below.descendant_id, above.depth + 1 + below.depth
        FROM location_ancestor above CROSS JOIN location_ancestor below
        WHERE above.tenant_id = ${tenantId} AND above.descendant_id = ${parent?.id ?? null}
          AND below.tenant_id = ${tenantId} AND below.ancestor_id = ${before.id}`.execute(tx);
      await deriveBelow(tx, tenantId, before.id);
      await assertContentFits(tx, tenantId, before.id);
      const after = await lockLocation(tx, tenantId, before.id, 'UPDATE');
      recordLocation(change, 'storage.location.changed', before, after);
      return before.id;
    });
  } catch (error) {
    throw describeTaken(error, { name, robotAddress: null });
  }
}

/** Holds the way from the root to the new parent, so that none of it goes below the location at the same moment. */
async function assertNoCycle(
  tx: Transaction<DB>,
  tenantId: string,
  row: LocationRow,
  parent: LocationRow,
): Promise<void> {
  assertInService(parent);
  await sql`SELECT FROM location l JOIN location_ancestor a ON a.tenant_id = l.tenant_id AND a.ancestor_id = l.id
    WHERE a.tenant_id = ${tenantId} AND a.descendant_id = ${parent.id} AND l.id <> ${row.id}
    ORDER BY a.depth DESC FOR SHARE OF l`.execute(tx);
  const inside = await tx
    .selectFrom('location_ancestor')
    .select('depth')
    .where('tenant_id', '=', tenantId)
    .where('ancestor_id', '=', row.id)
    .where('descendant_id', '=', parent.id)
    .executeTakeFirst();
  if (!inside) return;
  const detail =
    inside.depth === 0
      ? 'a location does not stand in itself'
      : `${titleOf(parent)} stands in ${titleOf(row)} itself`;
  throw new DomainError(
    'LOCATION_CYCLE',
    `${titleOf(row)} cannot go into ${titleOf(parent)}: ${detail}; name a place outside it`,
    { errors: [{ pointer: '/parentId', detail }] },
  );
}

async function assertIdle(tx: Transaction<DB>, tenantId: string, row: LocationRow): Promise<void> {
  const { rows } = await sql<{ what: string }>`
    (SELECT 'job ' || p.job_id || ' is at work in it' AS what FROM location_ancestor a
     JOIN position p ON p.tenant_id = a.tenant_id AND p.container_id = a.descendant_id AND p.job_id IS NOT NULL
     WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${row.id} LIMIT 1)
    UNION ALL
    (SELECT 'robot ' || r.name || ' works in it' FROM location_ancestor a
     JOIN robot r ON r.tenant_id = a.tenant_id AND a.descendant_id IN (r.store_id, r.handoff_id) AND r.retired_at IS NULL
     WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${row.id} LIMIT 1)`.execute(tx);
  const found = rows[0];
  if (found) throw new DomainError('CONFLICT', `${titleOf(row)} cannot be relocated now: ${found.what}`);
}
