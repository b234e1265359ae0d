import { sql, type Transaction } from 'kysely';
import { QUARANTINE_TYPE } from '../domain/location-type.ts';
import { zonesServing } from '../domain/placement.ts';
import type { Zone } from '../domain/zone.ts';
import { lockPlaces, type Place } from './places.ts';
import type { DB } from './schema.ts';

/**
 * Reserves a position for a tube that cannot go back to its place: in a quarantine container that the robot reaches and
 * whose temperature serves the sample. Null when there is none.
 */
export async function quarantineFor(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  robotId: string,
  zone: Zone,
): Promise<Place | null> {
  const { rows } = await sql<{ id: string }>`
    UPDATE position SET state = 'reserved', job_id = ${jobId}, lease_expires_at = NULL
    WHERE tenant_id = ${tenantId} AND id = (
      SELECT p.id FROM position p
      JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
      JOIN robot r ON r.tenant_id = l.tenant_id AND r.id = ${robotId}
      JOIN location_ancestor a ON a.tenant_id = l.tenant_id AND a.ancestor_id = r.store_id AND a.descendant_id = l.id
      WHERE p.tenant_id = ${tenantId} AND l.type = ${QUARANTINE_TYPE} AND l.retired_at IS NULL AND l.robot_cassette IS NOT NULL
        AND l.effective_zone = ANY (${zonesServing(zone)}) AND p.state = 'free'
      ORDER BY l.id, p.ordinal LIMIT 1 FOR UPDATE OF p SKIP LOCKED)
    RETURNING id`.execute(tx);
  const id = rows[0]?.id;
  return id === undefined ? null : ((await lockPlaces(tx, tenantId, [id])).get(id) ?? null);
}
