import { type RawBuilder, sql, type Transaction } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { DomainError, type Refusal } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import type { FinalJobState, JobKind, JobState } from '../domain/job.ts';
import type { Order } from '../domain/order.ts';
import type { Plan, ScheduleState, Trigger } from '../domain/schedule.ts';
import type { DailyWindow } from '../domain/time-zone.ts';
import type { Change } from './change.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** The job that is done at each run. */
export interface PlannedJob {
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  /** higher goes first */
  readonly priority: number;
  /** the sample, or the id that the first run registers it under */
  readonly sampleId: string;
  readonly order: Order;
}

/** What came of a run, or of one that was missed. Times are RFC 3339. */
export type LastRun = {
  /** counts the runs, from 1 on; a miss has the number the next run gets */
  readonly run: number;
  readonly at: string;
  readonly dueAt: string;
  /** the first of several that were due and missed before `dueAt` */
  readonly missedSince?: string;
} & (
  | { readonly outcome: 'started'; readonly jobId: string }
  | { readonly outcome: 'refused'; readonly refusal: Refusal }
  | { readonly outcome: 'missed' }
  /** the job it waited for ended so */
  | { readonly outcome: 'unmet'; readonly ended: FinalJobState }
);

/** A schedule as it stands. */
export interface ScheduleRecord {
  readonly id: string;
  readonly job: PlannedJob;
  readonly plan: Plan;
  readonly state: ScheduleState;
  readonly reason: string;
  readonly createdBy: string;
  readonly createdAt: Date;
  /** the last change by a person */
  readonly changed: { readonly by: string; readonly at: Date; readonly reason: string } | null;
  readonly nextDue: Date | null;
  readonly runs: number;
  readonly lastRun: LastRun | null;
  /** the job of the last run as it stands */
  readonly lastJob: { readonly state: JobState; readonly refusal: Refusal | null } | null;
  readonly version: number;
}

export interface ScheduleFilter {
  readonly state?: ScheduleState;
  readonly kind?: JobKind;
  readonly sampleId?: string;
  /** id of the last one of the page before */
  readonly after?: string;
  /** at most this many, 1–501 */
  readonly limit: number;
}

/** A row of the table. */
export interface ScheduleRow {
  readonly id: string;
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  readonly priority: number;
  readonly sample_id: string;
  readonly job_order: Order;
  readonly trigger: Trigger;
  readonly after_job_id: string | null;
  readonly daily_window: DailyWindow | null;
  readonly until: Date | null;
  readonly max_runs: number | null;
  readonly grace_minutes: number;
  readonly state: ScheduleState;
  readonly reason: string;
  readonly created_by: string;
  readonly created_at: Date;
  readonly changed_by: string | null;
  readonly changed_at: Date | null;
  readonly change_reason: string | null;
  readonly next_due: Date | null;
  readonly runs: number;
  readonly last_run: LastRun | null;
  readonly version: number;
}

type ViewRow = ScheduleRow & { readonly job_state: JobState | null; readonly job_refusal: Refusal | null };

const VIEW = sql`s.*, j.state AS job_state, j.result -> 'refusal' AS job_refusal
  FROM schedule s LEFT JOIN job j ON j.tenant_id = s.tenant_id AND j.id = (s.last_run ->> 'jobId')::uuid`;

/** A schedule with what came of its last run. @throws DomainError NOT_FOUND */
export async function findSchedule(db: Database, tenantId: string, id: string): Promise<ScheduleRecord> {
  const rows = await read(db, tenantId, viewOf(tenantId, id).compile(db.kysely));
  return recordOf(oneOf(rows, id));
}

/** As {@link findSchedule}, inside a transaction. */
export async function scheduleById(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
): Promise<ScheduleRecord> {
  const { rows } = await viewOf(tenantId, id).execute(tx);
  return recordOf(oneOf(rows, id));
}

function viewOf(tenantId: string, id: string): RawBuilder<ViewRow> {
  return sql<ViewRow>`SELECT ${VIEW} WHERE s.tenant_id = ${tenantId} AND s.id = ${id}`;
}

/** A page of schedules, newest first. */
export async function listSchedules(
  db: Database,
  tenantId: string,
  filter: ScheduleFilter,
): Promise<ScheduleRecord[]> {
  const conditions = [sql`s.tenant_id = ${tenantId}`];
  if (filter.state) conditions.push(sql`s.state = ${filter.state}`);
  if (filter.kind) conditions.push(sql`s.kind = ${filter.kind}`);
  if (filter.sampleId) conditions.push(sql`s.sample_id = ${filter.sampleId}`);
  if (filter.after) conditions.push(sql`s.id < ${filter.after}`);
  const rows = await read(
    db,
    tenantId,
    sql<ViewRow>`SELECT ${VIEW} WHERE ${sql.join(conditions, sql` AND `)}
      ORDER BY s.id DESC LIMIT ${filter.limit}`.compile(db.kysely),
  );
  return rows.map(recordOf);
}

/** True when a schedule of the tenant has something to run yet. */
export async function hasActiveSchedules(db: Database, tenantId: string): Promise<boolean> {
  const query = sql`SELECT FROM schedule WHERE tenant_id = ${tenantId} AND state = 'active' LIMIT 1`;
  const rows = await read(db, tenantId, query.compile(db.kysely), 'has_active_schedules');
  return rows.length > 0;
}

/** The row, held against every other change. @throws DomainError NOT_FOUND */
export async function lockSchedule(tx: Transaction<DB>, tenantId: string, id: string): Promise<ScheduleRow> {
  const { rows } = await sql<ScheduleRow>`SELECT * FROM schedule
    WHERE tenant_id = ${tenantId} AND id = ${id} FOR NO KEY UPDATE`.execute(tx);
  return oneOf(rows, id);
}

function oneOf<R>(rows: readonly R[], id: string): R {
  const [row] = rows;
  if (!row) throw new DomainError('NOT_FOUND', `There is no schedule ${id}.`);
  return row;
}

/** The plan in a row. */
export function planOf(row: ScheduleRow): Plan {
  return {
    trigger: row.trigger,
    window: row.daily_window,
    until: row.until?.getTime() ?? null,
    maxRuns: row.max_runs,
    graceMs: row.grace_minutes * 60_000,
  };
}

function recordOf(row: ViewRow): ScheduleRecord {
  const { changed_by: by, changed_at: at, change_reason: reason } = row;
  return {
    id: row.id,
    job: {
      kind: row.kind,
      mode: row.mode,
      priority: row.priority,
      sampleId: row.sample_id,
      order: row.job_order,
    },
    plan: planOf(row),
    state: row.state,
    reason: row.reason,
    createdBy: row.created_by,
    createdAt: row.created_at,
    changed: by !== null && at !== null && reason !== null ? { by, at, reason } : null,
    nextDue: row.next_due,
    runs: row.runs,
    lastRun: row.last_run,
    lastJob: row.job_state && { state: row.job_state, refusal: row.job_refusal },
    version: row.version,
  };
}

type ScheduleEvent = Extract<EventType, `automation.schedule.${string}`>;

/** Changes columns of a schedule that is held by the change, and announces its new version. */
export async function updateSchedule(
  change: Change,
  type: ScheduleEvent,
  tenantId: string,
  before: ScheduleRow,
  set: RawBuilder<unknown>,
  data: Readonly<Record<string, JsonValue>> = {},
): Promise<void> {
  const { rows } = await sql<ScheduleRow>`UPDATE schedule SET ${set}, version = version + 1
    WHERE tenant_id = ${tenantId} AND id = ${before.id} RETURNING *`.execute(change.tx);
  recordSchedule(change, type, before, oneOf(rows, before.id), data);
}

/** Announces the new version of a schedule. */
export function recordSchedule(
  change: Change,
  type: ScheduleEvent,
  before: ScheduleRow | null,
  after: ScheduleRow,
  data: Readonly<Record<string, JsonValue>> = {},
): void {
  change.record({
    aggregate: 'schedule',
    aggregateId: after.id,
    version: after.version,
    type,
    from: before?.state ?? null,
    to: after.state,
    before: before && fieldsOf(before),
    after: fieldsOf(after),
    erasable: ['job_order', 'reason'],
    data: {
      schedule_id: after.id,
      kind: after.kind,
      sample_id: after.sample_id,
      state: after.state,
      next_due: textOf(after.next_due),
      ...data,
    },
  });
}

function fieldsOf(row: ScheduleRow): Record<string, JsonValue> {
  return {
    kind: row.kind,
    mode: row.mode,
    priority: row.priority,
    sample_id: row.sample_id,
    job_order: JSON.stringify(row.job_order), // may name a new sample's barcode
    trigger: { ...row.trigger },
    daily_window: row.daily_window && { ...row.daily_window },
    until: textOf(row.until),
    max_runs: row.max_runs,
    grace_minutes: row.grace_minutes,
    state: row.state,
    reason: row.reason,
    next_due: textOf(row.next_due),
    runs: row.runs,
  };
}

function textOf(time: Date | null): string | null {
  return time?.toISOString() ?? null;
}
