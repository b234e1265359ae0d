import { sql, type Transaction } from 'kysely';
import type { Actor, Role } from '../domain/actor.ts';
import { DomainError, type Refusal } from '../domain/errors.ts';
import type { JobKind, JobState } from '../domain/job.ts';
import { jobIdAt } from '../domain/job-id.ts';
import { ACTION_OF_JOB, mayDo } from '../domain/permissions.ts';
import { judge, type Predecessor, type Verdict } from '../domain/schedule.ts';
import { type Change, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { insertJob, type JobRecord, jobRecord, type NewJob } from './jobs.ts';
import { type LastRun, lockSchedule, planOf, type ScheduleRow, updateSchedule } from './schedules.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** A run that is to be looked at: of which schedule, and which one, from 1 on. */
export interface DueRun {
  readonly scheduleId: string;
  readonly run: number;
}

/** At most so many at a look; the rest at the next. */
const PAGE = 200;

/** Runs that are due, or whose job before is over: longest due first. */
export async function dueRuns(db: Database, tenantId: string): Promise<DueRun[]> {
  const rows = await read(
    db,
    tenantId,
    sql<{ id: string; runs: number }>`
      SELECT s.id, s.runs FROM schedule s
      LEFT JOIN job j ON j.tenant_id = s.tenant_id AND j.id = s.after_job_id AND s.next_due IS NULL
      WHERE s.tenant_id = ${tenantId} AND s.state = 'active' AND coalesce(s.next_due, j.finished_at) <= now()
      ORDER BY coalesce(s.next_due, j.finished_at), s.id LIMIT ${PAGE}`.compile(db.kysely),
    'due_runs',
  );
  return rows.map(({ id, runs }) => ({ scheduleId: id, run: runs + 1 }));
}

/** How a look at a due run ended; `later`: there was nothing to do yet, or somebody paused or cancelled it meanwhile. */
export interface RunOutcome {
  readonly outcome: LastRun['outcome'] | 'later';
  /** the job of this run, whoever wrote it */
  readonly job: JobRecord | null;
}

/**
 * Looks at a run that is due, in one transaction: writes its job, or that it was missed, and when the next one is due. Of
 * two that look at once the second finds what the first did. The job's id follows from schedule and run.
 * @param nameWorkflow the id of the workflow that answers for a job
 * @throws DomainError NOT_FOUND
 */
export async function beginRun(
  db: Database,
  tenantId: string,
  { scheduleId, run }: DueRun,
  nameWorkflow: (kind: JobKind, jobId: string) => string,
): Promise<RunOutcome> {
  const planner = await plannerOf(db, tenantId, scheduleId);
  const last = await withChange(db, { actor: planner.actor, reason: 'schedule' }, async (change) => {
    const row = await lockSchedule(change.tx, tenantId, scheduleId);
    if (row.runs >= run) return row.last_run;
    if (row.state !== 'active') return null;
    const now = change.recordedAt.getTime();
    const progress = { nextDue: row.next_due?.getTime() ?? null, runs: row.runs };
    const verdict = judge(planOf(row), progress, now, await predecessorOf(change.tx, tenantId, row));
    if (verdict.kind === 'wait') {
      if (verdict.nextDue === progress.nextDue) return null;
      const set = sql`next_due = ${dateOf(verdict.nextDue)}`;
      await updateSchedule(change, 'automation.schedule.changed', tenantId, row, set);
      return null;
    }
    const came = await outcomeOf(change, row, verdict, run, planner, nameWorkflow);
    await advance(change, tenantId, row, came, verdict.kind === 'unmet' ? null : verdict.nextDue);
    return came;
  });
  if (last === null || last.run !== run) return { outcome: 'later', job: null };
  const job = last.outcome === 'started' ? await jobRecord(db, tenantId, last.jobId) : null;
  return { outcome: last.outcome, job };
}

/** Who planned it, in the role they have today, and whether they may still work here. */
interface Planner {
  readonly actor: Actor;
  readonly isDisabled: boolean;
}

async function plannerOf(db: Database, tenantId: string, scheduleId: string): Promise<Planner> {
  const [row] = await read(
    db,
    tenantId,
    sql<{ id: string; role: Role; disabled_at: Date | null }>`
      SELECT u.id, u.role, u.disabled_at FROM schedule s
      JOIN app_user u ON u.tenant_id = s.tenant_id AND u.id = s.created_by
      WHERE s.tenant_id = ${tenantId} AND s.id = ${scheduleId}`.compile(db.kysely),
  );
  if (!row) throw new DomainError('NOT_FOUND', `There is no schedule ${scheduleId}.`);
  const actor = { tenantId, userId: row.id, role: row.role, stationId: null };
  return { actor, isDisabled: row.disabled_at !== null };
}

async function predecessorOf(
  tx: Transaction<DB>,
  tenantId: string,
  row: ScheduleRow,
): Promise<Predecessor | null> {
  if (row.after_job_id === null) return null;
  const { rows } = await sql<{ state: JobState; finished_at: Date | null }>`
    SELECT state, finished_at FROM job WHERE tenant_id = ${tenantId} AND id = ${row.after_job_id}`.execute(
    tx,
  );
  const [job] = rows;
  return job ? { state: job.state, finishedAt: job.finished_at?.getTime() ?? null } : null;
}

async function outcomeOf(
  change: Change,
  row: ScheduleRow,
  verdict: Exclude<Verdict, { kind: 'wait' }>,
  run: number,
  planner: Planner,
  nameWorkflow: (kind: JobKind, jobId: string) => string,
): Promise<LastRun> {
  const dueAt = verdict.kind === 'unmet' ? change.recordedAt.getTime() : verdict.dueAt;
  const isFirst = row.next_due === null || row.next_due.getTime() === dueAt;
  const common = {
    run,
    at: change.recordedAt.toISOString(),
    dueAt: new Date(dueAt).toISOString(),
    ...(!isFirst && row.next_due && { missedSince: row.next_due.toISOString() }),
  };
  if (verdict.kind === 'unmet') return { ...common, outcome: 'unmet', ended: verdict.ended };
  if (verdict.kind === 'miss') return { ...common, outcome: 'missed' };
  const refusal = refusalOf(row, planner);
  if (refusal !== null) return { ...common, outcome: 'refused', refusal };
  const id = jobIdAt(dueAt, Buffer.from(row.id), run);
  const job: NewJob = {
    id,
    workflowId: nameWorkflow(row.kind, id),
    kind: row.kind,
    mode: row.mode,
    sampleId: row.sample_id,
    robotId: null,
    priority: row.priority,
    actor: planner.actor,
    input: { order: row.job_order, confirmation: null },
    scheduleId: row.id,
  };
  await insertJob(change.tx, job);
  return { ...common, outcome: 'started', jobId: id };
}

/** Why nobody does this any more in the name of the one who planned it. */
function refusalOf({ kind }: ScheduleRow, { actor, isDisabled }: Planner): Refusal | null {
  if (!isDisabled && mayDo(actor.role, ACTION_OF_JOB[kind])) return null;
  const why = isDisabled ? 'may not work here any more' : `is a ${actor.role.replaceAll('_', ' ')} now`;
  const detail = `User ${actor.userId}, who planned this ${kind}, ${why}: somebody who may has to plan it anew.`;
  return { code: 'FORBIDDEN', detail };
}

/** Writes what came of a run, and when the next one is due; without one the schedule is done. */
function advance(
  change: Change,
  tenantId: string,
  row: ScheduleRow,
  came: LastRun,
  nextDue: number | null,
): Promise<void> {
  const hasRun = came.outcome === 'started' || came.outcome === 'refused';
  const set = sql`last_run = ${JSON.stringify(came)}::jsonb, runs = runs + ${hasRun ? 1 : 0},
    next_due = ${dateOf(nextDue)}, state = ${nextDue === null ? 'done' : 'active'}`;
  const type = hasRun ? 'automation.schedule.ran' : 'automation.schedule.missed';
  return updateSchedule(change, type, tenantId, row, set, {
    run: came.run,
    outcome: came.outcome,
    due_at: came.dueAt,
    job_id: came.outcome === 'started' ? came.jobId : null,
  });
}

function dateOf(instant: number | null): Date | null {
  return instant === null ? null : new Date(instant);
}
