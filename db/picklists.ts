import { sql } from 'kysely';
import type { Actor, Role } from '../domain/actor.ts';
import type { Confirmation } from '../domain/confirmation.ts';
import type { Refusal } from '../domain/errors.ts';
import type { JobKind, JobState, Phase } from '../domain/job.ts';
import type { Order } from '../domain/order.ts';
import type { ItemCounts, PicklistItemState, PicklistPlace, PicklistState } from '../domain/picklist.ts';
import { type Change, withChange } from './change.ts';
import type { Database } from './connection.ts';
import type { JsonObject } from './schema.ts';
import { read } from './tenancy.ts';

/** What one tube's job will be asked; the column `picklist_item.request`. */
export interface ItemRequest {
  readonly sampleId: string;
  readonly order: Order;
  readonly confirmation: Confirmation | null;
}

/** A tube of a list, in the planned order. */
export interface NewPicklistItem {
  /** its place in the request, from 1 on */
  readonly given: number;
  /** what the request called it */
  readonly reference: string;
  /** what its job will be asked, or why it gets none */
  readonly request: ItemRequest | Refusal;
  readonly place: PicklistPlace | null;
}

export interface NewPicklist {
  readonly id: string;
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  readonly name: string | null;
  /** of each job; higher goes first */
  readonly priority: number;
  /** jobs under way at a time, 1–20 */
  readonly window: number;
  readonly items: readonly NewPicklistItem[];
}

/** Who asked to cancel a list, and why; the column `picklist.cancel`. */
export interface PicklistCancel {
  readonly actor: Actor;
  readonly reason: string | null;
}

/** A list without its tubes. */
export interface PicklistRecord extends Omit<NewPicklist, 'items'> {
  readonly state: PicklistState;
  readonly actor: Actor;
  readonly cancel: PicklistCancel | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
  readonly counts: ItemCounts;
}

/** How one tube of a list stands. */
export interface PicklistItemRecord {
  readonly seq: number;
  readonly given: number;
  readonly reference: string;
  readonly sampleId: string | null;
  readonly place: PicklistPlace | null;
  readonly state: PicklistItemState;
  /** the full hand-off that it waits for */
  readonly handoffId: string | null;
  /** how it ended */
  readonly result: JsonObject | null;
  readonly finishedAt: Date | null;
  readonly job: {
    readonly id: string;
    readonly state: JobState;
    readonly phase: Phase;
    readonly result: JsonObject | null;
  } | null;
}

interface PicklistRow {
  tenant_id: string;
  id: string;
  kind: JobKind;
  mode: 'hand' | 'robot';
  name: string | null;
  priority: number;
  window_size: number;
  state: PicklistState;
  actor_id: string;
  actor_role: Role;
  station_id: string | null;
  cancel: PicklistCancel | null;
  version: number;
  created_at: Date;
  finished_at: Date | null;
  counts: ItemCounts;
}

/** Whether a tube gets no job, and why. */
export const isRefusal = (request: ItemRequest | Refusal): request is Refusal => 'code' in request;

/**
 * Writes a list with all its tubes and the ledger's entry of the order; nothing of it begins here.
 * @param also what else belongs to the same transaction, which records it at that time
 */
export async function createPicklist(
  db: Database,
  actor: Actor,
  list: NewPicklist,
  also: (tx: Change['tx'], createdAt: Date) => Promise<void>,
): Promise<void> {
  const { tenantId } = actor;
  const { id, kind, mode, name, priority, window } = list;
  const items = list.items.map(({ given, reference, request, place }, index) => ({
    seq: index + 1,
    given,
    reference,
    place,
    ...(isRefusal(request)
      ? { state: 'REFUSED', result: { refusal: request }, sample_id: null, request: null }
      : { state: 'PLANNED', result: null, sample_id: request.sampleId, request }),
  }));
  await withChange(db, { actor, reason: kind }, async (change) => {
    await sql`
      INSERT INTO picklist (tenant_id, id, kind, mode, name, priority, window_size, actor_id, actor_role, station_id,
                            created_at)
      VALUES (${tenantId}, ${id}, ${kind}, ${mode}, ${name}, ${priority}, ${window}, ${actor.userId}, ${actor.role},
              ${actor.stationId}, ${change.recordedAt})`.execute(change.tx);
    await sql`
      INSERT INTO picklist_item (tenant_id, picklist_id, seq, given, reference, sample_id, request, place, state,
                                 result, finished_at)
      SELECT ${tenantId}, ${id}, i.seq, i.given, i.reference, i.sample_id, i.request, i.place, i.state, i.result,
             CASE WHEN i.state = 'REFUSED' THEN clock_timestamp() END
      FROM jsonb_to_recordset(${JSON.stringify(items)}::jsonb) AS i (seq int, given int, reference text,
        sample_id uuid, request jsonb, place jsonb, state text, result jsonb)`.execute(change.tx);
    await also(change.tx, change.recordedAt);
    const tubes = items.length;
    change.record({
      aggregate: 'picklist',
      aggregateId: id,
      version: 1,
      type: 'automation.picklist.ordered',
      from: null,
      to: 'RUNNING',
      before: null,
      after: { kind, mode, name, priority, window, tubes, state: 'RUNNING' },
      erasable: ['name'],
      data: { picklist_id: id, kind, mode, tubes },
    });
  });
}

const COUNTS = sql<ItemCounts>`(SELECT coalesce(jsonb_object_agg(c.state, c.n), '{}') FROM (
  SELECT i.state, count(*) AS n FROM picklist_item i
  WHERE i.tenant_id = picklist.tenant_id AND i.picklist_id = picklist.id GROUP BY i.state) c)`;

/** A list without its tubes; null when the tenant has none of that id. */
export async function picklistRecord(
  db: Database,
  tenantId: string,
  id: string,
): Promise<PicklistRecord | null> {
  const [row] = await read(
    db,
    tenantId,
    sql<PicklistRow>`SELECT *, ${COUNTS} AS counts FROM picklist
      WHERE tenant_id = ${tenantId} AND id = ${id}`.compile(db.kysely),
  );
  return row ? recordOf(row) : null;
}

export interface PicklistFilter {
  readonly kind?: JobKind;
  readonly state?: PicklistState;
  /** true: only lists that are not over; false: only those that are */
  readonly live?: boolean;
  /** id of the last list of the page before: ids are UUIDv7 and rise with time */
  readonly after?: string;
  /** at most this many, 1–500 */
  readonly limit: number;
}

/** A page of lists, newest first. */
export async function listPicklists(
  db: Database,
  tenantId: string,
  filter: PicklistFilter,
): Promise<PicklistRecord[]> {
  const conditions = [sql`tenant_id = ${tenantId}`];
  if (filter.kind) conditions.push(sql`kind = ${filter.kind}`);
  if (filter.state) conditions.push(sql`state = ${filter.state}`);
  if (filter.live === true) conditions.push(sql`finished_at IS NULL`);
  if (filter.live === false) conditions.push(sql`finished_at IS NOT NULL`);
  if (filter.after) conditions.push(sql`id < ${filter.after}`);
  const rows = await read(
    db,
    tenantId,
    sql<PicklistRow>`SELECT *, ${COUNTS} AS counts FROM picklist WHERE ${sql.join(conditions, sql` AND `)}
      ORDER BY id DESC LIMIT ${filter.limit}`.compile(db.kysely),
  );
  return rows.map(recordOf);
}

/** The tubes of a list in the planned order, each with its job as that stands. */
export async function picklistItems(
  db: Database,
  tenantId: string,
  picklistId: string,
): Promise<PicklistItemRecord[]> {
  const rows = await read(
    db,
    tenantId,
    sql<{
      seq: number;
      given: number;
      reference: string;
      sample_id: string | null;
      place: PicklistPlace | null;
      state: PicklistItemState;
      handoff_id: string | null;
      result: JsonObject | null;
      finished_at: Date | null;
      job: PicklistItemRecord['job'];
    }>`
      SELECT i.seq, i.given, i.reference, i.sample_id, i.place, i.state, i.handoff_id, i.result, i.finished_at,
             CASE WHEN j.id IS NOT NULL THEN
               jsonb_build_object('id', j.id, 'state', j.state, 'phase', j.phase, 'result', j.result) END AS job
      FROM picklist_item i LEFT JOIN job j ON j.tenant_id = i.tenant_id AND j.id = i.job_id
      WHERE i.tenant_id = ${tenantId} AND i.picklist_id = ${picklistId} ORDER BY i.seq`.compile(db.kysely),
  );
  return rows.map(({ sample_id, handoff_id, finished_at, ...row }) => ({
    ...row,
    sampleId: sample_id,
    handoffId: handoff_id,
    finishedAt: finished_at,
  }));
}

/** Ids of the lists that are not over, oldest first. */
export async function livePicklists(db: Database, tenantId: string): Promise<string[]> {
  const rows = await read(
    db,
    tenantId,
    sql<{ id: string }>`SELECT id FROM picklist WHERE tenant_id = ${tenantId} AND finished_at IS NULL
      ORDER BY id`.compile(db.kysely),
  );
  return rows.map(({ id }) => id);
}

function recordOf(row: PicklistRow): PicklistRecord {
  return {
    id: row.id,
    kind: row.kind,
    mode: row.mode,
    name: row.name,
    priority: row.priority,
    window: row.window_size,
    state: row.state,
    actor: {
      tenantId: row.tenant_id,
      userId: row.actor_id,
      role: row.actor_role,
      stationId: row.station_id,
    },
    cancel: row.cancel,
    version: row.version,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
    counts: row.counts,
  };
}
