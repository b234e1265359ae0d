import { sql, type Transaction } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { DomainError } from '../domain/errors.ts';
import type { JobKind } from '../domain/job.ts';
import {
  type ItemCounts,
  isPicklistLive,
  type NextOfPicklist,
  type PicklistState,
  picklistEnd,
} from '../domain/picklist.ts';
import type { Change } from './change.ts';
import type { Database } from './connection.ts';
import { insertJob, type NewJob } from './jobs.ts';
import type { ItemRequest, PicklistCancel, PicklistRecord } from './picklists.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** How a new job's workflow is named; from workflows/ids.ts. */
export type WorkflowIdOf = (kind: JobKind, tenantId: string, jobId: string) => string;

/** A hand-off with room: the same positions as `reserveHandoff` takes. */
const HAS_ROOM = sql`EXISTS (SELECT FROM position p WHERE p.tenant_id = i.tenant_id AND p.container_id = i.handoff_id
  AND p.state IN ('free', 'reserved') AND (p.state = 'free' OR p.lease_expires_at < now()))`;

/**
 * Takes a list one step further, in one transaction that holds its row: records which jobs have ended, and takes the next
 * tube if the window has room. A tube that a full hand-off refused keeps its turn, and the tubes behind it wait with it,
 * so that the order holds. Repeating it is safe: a tube whose job is written and not yet started is named again.
 * @param patienceMs how long a tube waits for a full hand-off before it is refused, in ms
 */
export async function advance(
  change: Change,
  list: PicklistRecord,
  patienceMs: number,
  workflowIdOf: WorkflowIdOf,
): Promise<NextOfPicklist> {
  const { tx } = change;
  const { tenantId } = list.actor;
  const { state } = await holdPicklist(tx, tenantId, list.id);
  if (!isPicklistLive(state)) return { next: 'over', state };
  await recordEnds(tx, tenantId, list.id, patienceMs, state);
  const items = sql`picklist_item i WHERE i.tenant_id = ${tenantId} AND i.picklist_id = ${list.id}`;
  const { rows } = await sql<{ counts: ItemCounts; starting: string | null; untold: boolean }>`
    SELECT (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM (
              SELECT i.state, count(*) AS n FROM ${items} GROUP BY i.state) c) AS counts,
           (SELECT i.job_id FROM ${items} AND i.state = 'STARTING' ORDER BY i.seq LIMIT 1) AS starting,
           EXISTS (SELECT FROM ${items} AND i.state = 'RUNNING' AND i.stop_sent_at IS NULL) AS untold`.execute(
    tx,
  );
  const { counts = {}, starting = null, untold = false } = rows[0] ?? {};
  const end = picklistEnd(counts, state === 'CANCELLING');
  if (end !== null) {
    await setState(change, list, end, null);
    return { next: 'over', state: end };
  }
  if (starting !== null) return { next: 'start', jobId: starting };
  if (state === 'CANCELLING') return { next: untold ? 'stop' : 'wait' };
  if ((counts.RUNNING ?? 0) >= list.window) return { next: 'wait' };
  const jobId = await takeNext(tx, list, workflowIdOf);
  return jobId === null ? { next: 'wait' } : { next: 'start', jobId };
}

/** @throws DomainError NOT_FOUND */
async function holdPicklist(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
): Promise<{ state: PicklistState; version: number }> {
  const { rows } = await sql<{ state: PicklistState; version: number }>`
    SELECT state, version FROM picklist WHERE tenant_id = ${tenantId} AND id = ${id} FOR NO KEY UPDATE`.execute(
    tx,
  );
  if (!rows[0]) throw new DomainError('NOT_FOUND', `There is no picklist ${id}.`);
  return rows[0];
}

async function recordEnds(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
  patienceMs: number,
  state: PicklistState,
): Promise<void> {
  const patience = sql`${patienceMs} * interval '1 millisecond'`;
  await sql`
    UPDATE picklist_item i SET
      state = CASE WHEN w.handoff IS NULL THEN j.state ELSE 'PLANNED' END,
      finished_at = CASE WHEN w.handoff IS NULL THEN j.finished_at END,
      handoff_id = w.handoff,
      waits_since = coalesce(i.waits_since, CASE WHEN w.handoff IS NOT NULL THEN clock_timestamp() END),
      result = jsonb_strip_nulls(jsonb_build_object('detail', j.result -> 'detail', 'refusal', j.result -> 'refusal'))
    FROM job j CROSS JOIN LATERAL (
      SELECT CASE WHEN j.state = 'REFUSED' THEN (j.result #>> '{refusal,facts,fullHandoff}')::uuid END AS handoff) w
    WHERE i.tenant_id = ${tenantId} AND i.picklist_id = ${id} AND i.state IN ('STARTING', 'RUNNING')
      AND j.tenant_id = i.tenant_id AND j.id = i.job_id AND j.finished_at IS NOT NULL`.execute(tx);
  await sql`
    UPDATE picklist_item SET state = 'REFUSED', handoff_id = NULL, finished_at = clock_timestamp()
    WHERE tenant_id = ${tenantId} AND picklist_id = ${id} AND state = 'PLANNED' AND handoff_id IS NOT NULL
      AND waits_since < clock_timestamp() - ${patience}`.execute(tx);
  if (state !== 'CANCELLING') return;
  await sql`
    UPDATE picklist_item SET state = 'CANCELLED', handoff_id = NULL, finished_at = clock_timestamp(),
      result = ${JSON.stringify({ detail: 'Cancelled before its turn.' })}::jsonb
    WHERE tenant_id = ${tenantId} AND picklist_id = ${id} AND state = 'PLANNED'`.execute(tx);
}

/** Writes the job of the next tube. @returns its id; null when there is none, or it waits for a full hand-off */
async function takeNext(
  tx: Transaction<DB>,
  list: PicklistRecord,
  workflowIdOf: WorkflowIdOf,
): Promise<string | null> {
  const { tenantId } = list.actor;
  const { rows } = await sql<{ seq: number; request: ItemRequest; waits: boolean }>`
    SELECT i.seq, i.request, i.handoff_id IS NOT NULL AND NOT ${HAS_ROOM} AS waits FROM picklist_item i
    WHERE i.tenant_id = ${tenantId} AND i.picklist_id = ${list.id} AND i.state = 'PLANNED'
    ORDER BY i.seq LIMIT 1`.execute(tx);
  const next = rows[0];
  if (!next || next.waits) return null;
  const { sampleId, order, confirmation } = next.request;
  const { kind, mode, priority, actor } = list;
  const id = uuidv7();
  const job: NewJob = {
    id,
    kind,
    mode,
    workflowId: workflowIdOf(kind, tenantId, id),
    sampleId,
    robotId: null,
    priority,
    actor,
    input: { order, confirmation },
  };
  await insertJob(tx, job);
  await sql`UPDATE picklist_item SET state = 'STARTING', job_id = ${id}, handoff_id = NULL, result = NULL
    WHERE tenant_id = ${tenantId} AND picklist_id = ${list.id} AND seq = ${next.seq}`.execute(tx);
  return id;
}

async function setState(
  change: Change,
  list: PicklistRecord,
  to: PicklistState,
  cancel: PicklistCancel | null,
): Promise<void> {
  const { tenantId } = list.actor;
  const { rows } = await sql<{ version: number; from: PicklistState }>`
    UPDATE picklist SET state = ${to}, version = picklist.version + 1,
      cancel = coalesce(${cancel && JSON.stringify(cancel)}::jsonb, picklist.cancel),
      finished_at = CASE WHEN ${!isPicklistLive(to)} THEN clock_timestamp() END
    FROM picklist before
    WHERE picklist.tenant_id = ${tenantId} AND picklist.id = ${list.id}
      AND before.tenant_id = picklist.tenant_id AND before.id = picklist.id
    RETURNING picklist.version, before.state AS from`.execute(change.tx);
  const row = rows[0];
  if (!row) throw new DomainError('INTERNAL', `Picklist ${list.id} was not written.`);
  change.record({
    aggregate: 'picklist',
    aggregateId: list.id,
    version: row.version,
    type: isPicklistLive(to) ? 'automation.picklist.cancel_requested' : 'automation.picklist.finished',
    from: row.from,
    to,
    before: { state: row.from },
    after: { state: to },
    data: { picklist_id: list.id, kind: list.kind, mode: list.mode, state: to },
  });
}

/** Records that a list is to be cancelled; asked again it stays as it is. @throws DomainError JOB_FINISHED, NOT_FOUND */
export async function requestCancel(
  change: Change,
  list: PicklistRecord,
  cancel: PicklistCancel,
): Promise<void> {
  const { state } = await holdPicklist(change.tx, list.actor.tenantId, list.id);
  if (!isPicklistLive(state)) {
    throw new DomainError('JOB_FINISHED', `Picklist ${list.id} is over: it ended as ${state}.`, {
      facts: { state },
    });
  }
  if (state === 'RUNNING') await setState(change, list, 'CANCELLING', cancel);
}

/** The workflow of a tube's job answers, or has ended: nobody has to start it any more. */
export async function markStarted(tx: Transaction<DB>, tenantId: string, jobId: string): Promise<void> {
  await sql`UPDATE picklist_item SET state = 'RUNNING'
    WHERE tenant_id = ${tenantId} AND job_id = ${jobId} AND state = 'STARTING'`.execute(tx);
}

/** A job under way in a list. */
export interface JobOfList {
  readonly jobId: string;
  readonly workflowId: string;
}

/** The jobs under way that have not been told that the list is cancelled. */
export async function untoldJobs(db: Database, tenantId: string, id: string): Promise<JobOfList[]> {
  return read(
    db,
    tenantId,
    sql<JobOfList>`
      SELECT j.id AS "jobId", j.workflow_id AS "workflowId"
      FROM picklist_item i JOIN job j ON j.tenant_id = i.tenant_id AND j.id = i.job_id
      WHERE i.tenant_id = ${tenantId} AND i.picklist_id = ${id} AND i.state = 'RUNNING' AND i.stop_sent_at IS NULL
      ORDER BY i.seq`.compile(db.kysely),
  );
}

/** A tube's job was told, or had nobody left to tell. */
export async function markTold(tx: Transaction<DB>, tenantId: string, jobId: string): Promise<void> {
  await sql`UPDATE picklist_item SET stop_sent_at = coalesce(stop_sent_at, clock_timestamp())
    WHERE tenant_id = ${tenantId} AND job_id = ${jobId}`.execute(tx);
}

/** Whether `advance` would find something to do for a list that waits. */
export async function isDue(
  db: Database,
  tenantId: string,
  id: string,
  patienceMs: number,
): Promise<boolean> {
  const open = sql`picklist_item i WHERE i.tenant_id = ${tenantId} AND i.picklist_id = ${id} AND i.finished_at IS NULL`;
  const [row] = await read(
    db,
    tenantId,
    sql<{ due: boolean }>`
      SELECT EXISTS (SELECT FROM ${open} AND i.state <> 'PLANNED' AND EXISTS (
               SELECT FROM job j WHERE j.tenant_id = i.tenant_id AND j.id = i.job_id AND j.finished_at IS NOT NULL))
          OR EXISTS (SELECT FROM ${open} AND i.state = 'PLANNED' AND i.handoff_id IS NOT NULL AND (
               ${HAS_ROOM} OR i.waits_since < clock_timestamp() - ${patienceMs} * interval '1 millisecond'))
          OR EXISTS (SELECT FROM picklist l, ${open} AND l.tenant_id = i.tenant_id AND l.id = i.picklist_id
               AND l.state = 'CANCELLING' AND (i.state = 'PLANNED' OR i.stop_sent_at IS NULL)) AS due`.compile(
      db.kysely,
    ),
  );
  return row?.due === true;
}
