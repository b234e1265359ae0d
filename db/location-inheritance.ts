import { sql, type Transaction } from 'kysely';
import { QUARANTINE_TYPE } from '../domain/location-type.ts';
import type { DB } from './schema.ts';

// Where tubes go that cannot go back to their place, nobody asks whether they are in quarantine.
const OWN = sql`CASE WHEN l.type = ${QUARANTINE_TYPE} THEN l.rules || '{"quarantine": "any"}' ELSE l.rules END`;

/**
 * Works out anew what a location and all below it inherit: path, unit, zone, types of sample and rules in force. The derived
 * columns are no record of their own, so only the location a person edited gets a version.
 */
export async function deriveBelow(tx: Transaction<DB>, tenantId: string, id: string): Promise<void> {
  await sql`
    WITH RECURSIVE derived AS (
      SELECT l.id, coalesce(p.path, '[]') || jsonb_build_array(jsonb_build_object('id', l.id, 'type', l.type, 'name', l.name)) AS path,
             coalesce(l.zone, t.zone, p.effective_zone) AS zone,
             CASE WHEN coalesce(l.zone, t.zone) IS NULL OR (t.zone IS NULL AND p.unit_id IS NOT NULL) THEN p.unit_id ELSE l.id END AS unit_id,
             CASE WHEN l.sample_types IS NULL THEN p.effective_sample_types
                  WHEN p.effective_sample_types IS NULL THEN l.sample_types
                  ELSE ARRAY(SELECT unnest(l.sample_types) INTERSECT SELECT unnest(p.effective_sample_types) ORDER BY 1) END AS sample_types,
             inherit_rules(${OWN}, coalesce(p.effective_rules, '{}')) AS rules
      FROM location l JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
      LEFT JOIN location p ON p.tenant_id = l.tenant_id AND p.id = l.parent_id
      WHERE l.tenant_id = ${tenantId} AND l.id = ${id}
      UNION ALL
      SELECT l.id, d.path || jsonb_build_array(jsonb_build_object('id', l.id, 'type', l.type, 'name', l.name)),
             coalesce(l.zone, t.zone, d.zone),
             CASE WHEN coalesce(l.zone, t.zone) IS NULL OR (t.zone IS NULL AND d.unit_id IS NOT NULL) THEN d.unit_id ELSE l.id END,
             CASE WHEN l.sample_types IS NULL THEN d.sample_types
                  WHEN d.sample_types IS NULL THEN l.sample_types
                  ELSE ARRAY(SELECT unnest(l.sample_types) INTERSECT SELECT unnest(d.sample_types) ORDER BY 1) END,
             inherit_rules(${OWN}, d.rules)
      FROM derived d JOIN location l ON l.tenant_id = ${tenantId} AND l.parent_id = d.id
      JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type)
    UPDATE location l SET path = d.path, effective_zone = d.zone, unit_id = d.unit_id, effective_sample_types = d.sample_types,
      effective_rules = d.rules
    FROM derived d WHERE l.tenant_id = ${tenantId} AND l.id = d.id`.execute(tx);
}
