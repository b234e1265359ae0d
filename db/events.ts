import type pg from 'pg';
import type { JsonValue } from '../domain/canonical.ts';
import type { StoredEvent } from '../domain/events.ts';

/**
 * The outbox as the relay sees it: across tenants, by its own role, on one connection. One relay works at a time; the lock
 * goes with the connection.
 */

/** Key of the advisory lock that makes one relay the one at work. */
const RELAY_LOCK = 7_203_156;

/** Takes the relay's lock until the connection ends; false when another relay has it. */
export async function becomeRelay(client: pg.ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ mine: boolean }>('SELECT pg_try_advisory_lock($1) AS mine', [
    RELAY_LOCK,
  ]);
  return rows[0]?.mine === true;
}

/** Tenants that have events to number or to publish. Jumps from tenant to tenant, however many events wait. */
export async function tenantsWithEvents(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ tenant_id: string }>({
    name: 'tenants_with_events',
    text: `WITH RECURSIVE waiting (tenant_id) AS (
             (SELECT tenant_id FROM event WHERE published_at IS NULL ORDER BY tenant_id LIMIT 1)
             UNION ALL
             SELECT (SELECT tenant_id FROM event WHERE published_at IS NULL AND tenant_id > w.tenant_id
                     ORDER BY tenant_id LIMIT 1)
             FROM waiting w WHERE w.tenant_id IS NOT NULL)
           SELECT tenant_id FROM waiting WHERE tenant_id IS NOT NULL`,
  });
  return rows.map((row) => row.tenant_id);
}

/**
 * Numbers a tenant's new events in the order of their ledger entries, which is the order of commits: an entry that can be
 * seen has none before it that cannot. Hence no gap, and none that is filled later.
 * @returns how many were numbered
 */
export async function numberEvents(client: pg.ClientBase, tenantId: string, limit: number): Promise<number> {
  const { rowCount } = await client.query({
    name: 'number_events',
    text: `WITH last AS (
             SELECT v.position, e.seq FROM event v
             JOIN ledger.entry e ON e.tenant_id = v.tenant_id AND e.event_id = v.id
             WHERE v.tenant_id = $1 AND v.position IS NOT NULL ORDER BY v.position DESC LIMIT 1),
           next AS (
             SELECT v.id, row_number() OVER (ORDER BY e.seq) AS n
             FROM ledger.entry e JOIN event v ON v.tenant_id = e.tenant_id AND v.id = e.event_id
             WHERE e.tenant_id = $1 AND e.seq > coalesce((SELECT seq FROM last), -1)
             ORDER BY e.seq LIMIT $2)
           UPDATE event SET position = coalesce((SELECT position FROM last), 0) + next.n
           FROM next WHERE event.tenant_id = $1 AND event.id = next.id`,
    values: [tenantId, limit],
  });
  return rowCount ?? 0;
}

/** A tenant's numbered events that nobody has acknowledged yet, in order. */
export async function unpublishedEvents(
  client: pg.ClientBase,
  tenantId: string,
  limit: number,
): Promise<StoredEvent[]> {
  const { rows } = await client.query<{
    id: string;
    position: string;
    type: string;
    subject: string;
    time: Date;
    data: JsonValue;
  }>({
    name: 'unpublished_events',
    text: `SELECT id, position, type, subject, time, data FROM event
           WHERE tenant_id = $1 AND published_at IS NULL AND position IS NOT NULL ORDER BY position LIMIT $2`,
    values: [tenantId, limit],
  });
  return rows.map((row) => ({ tenantId, ...row, position: Number(row.position) }));
}

/** Notes that the broker has acknowledged a tenant's events up to a position. */
export async function markPublished(
  client: pg.ClientBase,
  tenantId: string,
  upToPosition: number,
): Promise<void> {
  await client.query({
    name: 'mark_published',
    text: `UPDATE event SET published_at = clock_timestamp()
           WHERE tenant_id = $1 AND published_at IS NULL AND position <= $2`,
    values: [tenantId, upToPosition],
  });
}
