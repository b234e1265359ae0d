import { sql } from 'kysely';
import { cellLabel } from '../domain/grid.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import type { PathStep } from './locations.ts';
import type { JsonObject } from './schema.ts';
import { read } from './tenancy.ts';

/** One thing that happened to a record, as the ledger has it. */
export interface TimelineEntry {
  readonly eventId: string;
  readonly type: string;
  /** version of the record after it */
  readonly version: number;
  /** sequence number in the ledger */
  readonly entry: number;
  readonly from: string | null;
  readonly to: string | null;
  /** the position in `to`, where it names one */
  readonly place: { readonly label: string; readonly path: readonly PathStep[] } | null;
  readonly reason: string;
  readonly actor: { readonly userId: string; readonly name: string | null; readonly role: string };
  readonly device: string | null;
  readonly occurredAt: Date;
  readonly recordedAt: Date;
  readonly data: JsonObject;
}

interface TimelineRow extends GridRow {
  event_id: string;
  type: string;
  version: number;
  seq: number;
  leaf: {
    from: string | null;
    to: string | null;
    reason: string;
    actor: string;
    role: string;
    device: string | null;
  };
  actor_name: string | null;
  time: Date;
  recorded_at: Date;
  data: JsonObject;
  path: PathStep[] | null;
  grid_row: number;
  grid_column: number;
}

/**
 * A page of everything that ever happened to a sample, in the order of its versions.
 * @param sampleId its id
 * @param after version of the last entry of the page before; 0 = from the beginning
 */
export async function sampleTimeline(
  db: Database,
  tenantId: string,
  sampleId: string,
  after: number,
  limit: number,
): Promise<TimelineEntry[]> {
  const rows = await read(
    db,
    tenantId,
    sql<TimelineRow>`
      SELECT v.event_id, v.version, e.type, e.time, v.recorded_at, e.data, n.seq, n.leaf, u.display_name AS actor_name,
             l.path, p.grid_row, p.grid_column, ${GRID_COLUMNS}
      FROM record_version v
      JOIN event e ON e.tenant_id = v.tenant_id AND e.id = v.event_id
      CROSS JOIN LATERAL (
        SELECT seq, convert_from(leaf, 'UTF8')::jsonb AS leaf FROM ledger.entry
        WHERE tenant_id = v.tenant_id AND event_id = v.event_id) n
      LEFT JOIN app_user u ON u.tenant_id = v.tenant_id AND u.id::text = n.leaf ->> 'actor'
      LEFT JOIN position p ON p.tenant_id = v.tenant_id
        AND p.id = substring(n.leaf ->> 'to' FROM '^(?:position|handoff):([0-9a-f-]{36})$')::uuid
      LEFT JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
      WHERE v.tenant_id = ${tenantId} AND v.aggregate = 'sample' AND v.aggregate_id = ${sampleId} AND v.version > ${after}
      ORDER BY v.version LIMIT ${limit}`.compile(db.kysely),
  );
  return rows.map((row) => ({
    eventId: row.event_id,
    type: row.type,
    version: row.version,
    entry: row.seq,
    from: row.leaf.from,
    to: row.leaf.to,
    place: row.path && {
      label: cellLabel({ row: row.grid_row, column: row.grid_column }, gridOf(row)),
      path: row.path,
    },
    reason: row.leaf.reason,
    actor: { userId: row.leaf.actor, name: row.actor_name, role: row.leaf.role },
    device: row.leaf.device,
    occurredAt: row.time,
    recordedAt: row.recorded_at,
    data: row.data,
  }));
}
