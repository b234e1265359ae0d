import { sql } from 'kysely';
import type { Change } from './change.ts';
import { lockLocation } from './location-row.ts';
import { recordBlocking } from './location-service.ts';
import { lockPlaces, type Place } from './places.ts';

/** What a position says that waits for a tube: the tube has left its label there. */
function heldFor(sampleId: string): string {
  return `held for sample ${sampleId}, which is checked out`;
}

/** Takes the tube out of a position that waits for it from now on. */
export async function holdPlace(
  change: Change,
  tenantId: string,
  sampleId: string,
  place: Place,
): Promise<void> {
  const reason = heldFor(sampleId);
  await sql`UPDATE position SET state = 'blocked', blocked_reason = ${reason}, sample_id = NULL
    WHERE tenant_id = ${tenantId} AND id = ${place.positionId}`.execute(change.tx);
  const container = await lockLocation(change.tx, tenantId, place.containerId, 'UPDATE');
  await recordBlocking(change, tenantId, container, place.label, { from: 'free', reason });
}

/**
 * Ends a sample's check-out and frees the position that waited for it.
 * @returns that position; null when there was none, or a person has given it to others since
 */
export async function releaseHeldPlace(
  change: Change,
  tenantId: string,
  sampleId: string,
): Promise<Place | null> {
  const { tx } = change;
  const { rows } = await sql<{ position_id: string | null }>`
    UPDATE check_out SET checked_in_at = ${change.recordedAt}
    WHERE tenant_id = ${tenantId} AND sample_id = ${sampleId} AND checked_in_at IS NULL
    RETURNING position_id`.execute(tx);
  const positionId = rows[0]?.position_id;
  if (!positionId) return null;
  const place = (await lockPlaces(tx, tenantId, [positionId])).get(positionId);
  if (!place) return null;
  const freed = await sql`UPDATE position SET state = 'free', blocked_reason = NULL
    WHERE tenant_id = ${tenantId} AND id = ${positionId} AND blocked_reason = ${heldFor(sampleId)}`.execute(
    tx,
  );
  if (freed.numAffectedRows !== 1n) return null;
  const container = await lockLocation(tx, tenantId, place.containerId, 'UPDATE');
  await recordBlocking(change, tenantId, container, place.label, { from: 'blocked', reason: null });
  return { ...place, state: 'free' };
}
