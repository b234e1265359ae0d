import { type RawBuilder, sql, type Transaction } from 'kysely';
import type { Actor, Role } from '../domain/actor.ts';
import type { Confirmation } from '../domain/confirmation.ts';
import type { JobKind, JobState, Phase } from '../domain/job.ts';
import type { Order } from '../domain/order.ts';
import type { Database } from './connection.ts';
import type { DB, JsonObject } from './schema.ts';
import { read, write } from './tenancy.ts';

/** What a job was asked to do; the column `job.input`. */
interface JobOrder {
  readonly order: Order;
  /** the scan that came with the request, when the tube already stands where it shall be */
  readonly confirmation: Confirmation | null;
}

/** A job before its workflow runs. How that is started: `jobStart` in workflows/messages/start.ts. */
export interface NewJob {
  readonly id: string;
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  readonly workflowId: string;
  /** the sample, or the id that a placement's first step registers it under */
  readonly sampleId: string;
  /** the robot that was asked for; null = the one that reaches the place */
  readonly robotId: string | null;
  /** higher goes first */
  readonly priority: number;
  readonly actor: Actor;
  readonly input: JobOrder;
  /** the schedule it is a run of */
  readonly scheduleId?: string | null;
}

/** One thing that happened in a job. */
export interface JobStepRecord {
  readonly step: string;
  readonly outcome: string;
  readonly detail: JsonObject;
  readonly at: Date;
}

/** A job as it stands. */
export interface JobRecord extends NewJob {
  readonly state: JobState;
  readonly phase: Phase;
  readonly result: JsonObject | null;
  readonly question: JsonObject | null;
  readonly faultId: string | null;
  readonly cancelRequestedAt: Date | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly updatedAt: Date;
  readonly finishedAt: Date | null;
  /** how long the job's tube is outside its cold by now; null when it is not, and where nobody asked */
  readonly exposed: { readonly since: Date; readonly elapsedMs: number } | null;
}

export interface JobFilter {
  readonly state?: JobState;
  readonly kind?: JobKind;
  readonly sampleId?: string;
  readonly robotId?: string;
  readonly scheduleId?: string;
  /** true: only jobs that are not over; false: only those that are */
  readonly live?: boolean;
  /** id of the last job of the page before: ids are UUIDv7 and rise with time */
  readonly after?: string;
  /** at most this many, 1–500 */
  readonly limit: number;
}

export interface JobRow {
  readonly tenant_id: string;
  readonly id: string;
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  readonly state: JobState;
  readonly phase: Phase;
  readonly workflow_id: string;
  readonly sample_id: string;
  readonly robot_id: string | null;
  readonly priority: number;
  readonly actor_id: string;
  readonly actor_role: Role;
  readonly station_id: string | null;
  readonly input: JobOrder;
  readonly schedule_id: string | null;
  readonly result: JsonObject | null;
  readonly question: JsonObject | null;
  readonly fault_id: string | null;
  readonly cancel_requested_at: Date | null;
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly updated_at: Date;
  readonly finished_at: Date | null;
  readonly warm_since?: Date | null;
  readonly warm_ms?: number | null;
}

/** Writes jobs that nothing has worked on yet, all or none. */
export async function insertJobs(db: Database, tenantId: string, jobs: readonly NewJob[]): Promise<void> {
  await write(
    db,
    tenantId,
    jobs.map((job) => insertion(job).compile(db.kysely)),
  );
}

/** As `insertJobs`, for one job in a transaction that does more. */
export async function insertJob(tx: Transaction<DB>, job: NewJob): Promise<void> {
  await insertion(job).execute(tx);
}

function insertion(job: NewJob): RawBuilder<unknown> {
  return sql`
    INSERT INTO job (tenant_id, id, kind, mode, workflow_id, sample_id, robot_id, priority,
                     actor_id, actor_role, station_id, input, schedule_id)
    VALUES (${job.actor.tenantId}, ${job.id}, ${job.kind}, ${job.mode}, ${job.workflowId}, ${job.sampleId},
            ${job.robotId}, ${job.priority}, ${job.actor.userId}, ${job.actor.role}, ${job.actor.stationId},
            ${JSON.stringify(job.input)}::jsonb, ${job.scheduleId ?? null})`;
}

/** A job, and the exposure of the tube it has. */
const JOB = sql`job.*, tube.warm_since,
  (extract(epoch FROM clock_timestamp() - tube.warm_since) * 1000)::float8 AS warm_ms`;
const FROM_JOB = sql`job LEFT JOIN sample tube
  ON tube.tenant_id = job.tenant_id AND tube.id = job.sample_id AND tube.job_id = job.id`;

/** A job as it stands; null when the tenant has none of that id. */
export async function jobRecord(db: Database, tenantId: string, id: string): Promise<JobRecord | null> {
  const query = sql<JobRow>`SELECT ${JOB} FROM ${FROM_JOB} WHERE job.tenant_id = ${tenantId} AND job.id = ${id}`;
  const [row] = await read(db, tenantId, query.compile(db.kysely), 'job_record');
  return row ? jobFromRow(row) : null;
}

/** A job with what happened in it, oldest first; null when the tenant has none of that id. */
export async function jobById(
  db: Database,
  tenantId: string,
  id: string,
): Promise<(JobRecord & { readonly steps: readonly JobStepRecord[] }) | null> {
  const query = sql<JobRow & { steps: { step: string; outcome: string; detail: JsonObject; at: string }[] }>`
    SELECT ${JOB}, (SELECT coalesce(jsonb_agg(jsonb_build_object('step', s.step, 'outcome', s.outcome,
                                    'detail', s.detail, 'at', s.at) ORDER BY s.seq), '[]')
                   FROM job_step s WHERE s.tenant_id = job.tenant_id AND s.job_id = job.id) AS steps
    FROM ${FROM_JOB} WHERE job.tenant_id = ${tenantId} AND job.id = ${id}`.compile(db.kysely);
  const [row] = await read(db, tenantId, query);
  if (!row) return null;
  return { ...jobFromRow(row), steps: row.steps.map((step) => ({ ...step, at: new Date(step.at) })) };
}

/** A page of jobs, newest first. */
export async function listJobs(db: Database, tenantId: string, filter: JobFilter): Promise<JobRecord[]> {
  const conditions = [sql`job.tenant_id = ${tenantId}`];
  if (filter.state) conditions.push(sql`state = ${filter.state}`);
  if (filter.kind) conditions.push(sql`kind = ${filter.kind}`);
  if (filter.sampleId) conditions.push(sql`job.sample_id = ${filter.sampleId}`);
  if (filter.scheduleId) conditions.push(sql`schedule_id = ${filter.scheduleId}`);
  if (filter.robotId) conditions.push(sql`job.robot_id = ${filter.robotId}`);
  if (filter.live === true) conditions.push(sql`finished_at IS NULL`);
  if (filter.live === false) conditions.push(sql`finished_at IS NOT NULL`);
  if (filter.after) conditions.push(sql`job.id < ${filter.after}`);
  const rows = await read(
    db,
    tenantId,
    sql<JobRow>`SELECT ${JOB} FROM ${FROM_JOB} WHERE ${sql.join(conditions, sql` AND `)}
      ORDER BY job.id DESC LIMIT ${filter.limit}`.compile(db.kysely),
  );
  return rows.map(jobFromRow);
}

/** A row of the table as the application knows it. */
export function jobFromRow(row: JobRow): JobRecord {
  return {
    id: row.id,
    kind: row.kind,
    mode: row.mode,
    state: row.state,
    phase: row.phase,
    workflowId: row.workflow_id,
    sampleId: row.sample_id,
    robotId: row.robot_id,
    priority: row.priority,
    actor: {
      tenantId: row.tenant_id,
      userId: row.actor_id,
      role: row.actor_role,
      stationId: row.station_id,
    },
    input: row.input,
    scheduleId: row.schedule_id,
    result: row.result,
    question: row.question,
    faultId: row.fault_id,
    cancelRequestedAt: row.cancel_requested_at,
    createdAt: row.created_at,
    startedAt: row.started_at,
    updatedAt: row.updated_at,
    finishedAt: row.finished_at,
    exposed: row.warm_since ? { since: row.warm_since, elapsedMs: Math.max(0, row.warm_ms ?? 0) } : null,
  };
}

/**
 * Jobs that nothing has started although they were written a while ago.
 * @param olderThanMs age in milliseconds
 * @param afterId where the last page ended
 */
export async function unstartedJobs(
  db: Database,
  tenantId: string,
  olderThanMs: number,
  afterId: string | null,
): Promise<JobRecord[]> {
  const rows = await read(
    db,
    tenantId,
    sql<JobRow>`SELECT * FROM job WHERE tenant_id = ${tenantId} AND finished_at IS NULL AND started_at IS NULL
      AND created_at < now() - ${olderThanMs} * interval '1 millisecond'
      AND (${afterId}::uuid IS NULL OR id > ${afterId}::uuid) ORDER BY id LIMIT 200`.compile(db.kysely),
  );
  return rows.map(jobFromRow);
}

/**
 * Jobs under way on which nothing was written lately: candidates for having lost their workflow.
 * @param quietMs milliseconds without a write
 * @param afterId where the last page ended
 */
export async function quietJobs(
  db: Database,
  tenantId: string,
  quietMs: number,
  afterId: string | null,
): Promise<JobRecord[]> {
  const rows = await read(
    db,
    tenantId,
    sql<JobRow>`SELECT * FROM job WHERE tenant_id = ${tenantId} AND finished_at IS NULL AND started_at IS NOT NULL
      AND updated_at < now() - ${quietMs} * interval '1 millisecond'
      AND (${afterId}::uuid IS NULL OR id > ${afterId}::uuid) ORDER BY id LIMIT 200`.compile(db.kysely),
  );
  return rows.map(jobFromRow);
}

/** True while nothing has closed the job and this workflow answers for it. */
export async function isJobLive(
  db: Database,
  tenantId: string,
  id: string,
  workflowId: string,
): Promise<boolean> {
  const rows = await read(
    db,
    tenantId,
    sql<{ id: string }>`SELECT id FROM job WHERE tenant_id = ${tenantId} AND id = ${id}
      AND workflow_id = ${workflowId} AND finished_at IS NULL`.compile(db.kysely),
  );
  return rows.length > 0;
}
