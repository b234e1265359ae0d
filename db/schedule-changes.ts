import { type RawBuilder, sql, type Transaction } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { DomainError, type InputProblem } from '../domain/errors.ts';
import { isFinal, type JobState } from '../domain/job.ts';
import { dueAfter, type Plan, problemsOf, type ScheduleState, type Trigger } from '../domain/schedule.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import {
  lockSchedule,
  type PlannedJob,
  planOf,
  recordSchedule,
  type ScheduleRow,
  updateSchedule,
} from './schedules.ts';
import type { DB } from './schema.ts';

/** What a person wants done, when, and why. */
export interface NewSchedule {
  readonly job: PlannedJob;
  readonly plan: Plan;
  readonly reason: string;
}

/** What a person changes of a schedule; what is left out stays. */
export interface ScheduleEdit {
  readonly trigger?: Trigger;
  readonly window?: Plan['window'];
  readonly until?: number | null;
  readonly maxRuns?: number | null;
  readonly graceMs?: number;
  readonly priority?: number;
  readonly paused?: boolean;
}

/** What belongs into the same transaction, e.g. the stored reply of the request; gets the schedule's id. */
export type AlsoWrite = (tx: Transaction<DB>, scheduleId: string) => Promise<void>;

/** Who, and why in words: the ledger keeps the words as a commitment. */
export interface Wish {
  readonly actor: ChangeContext['actor'];
  readonly reason: string;
}

const contextOf = ({ actor, reason }: Wish): ChangeContext => ({
  actor,
  reason: 'schedule',
  comment: reason,
});

/**
 * Plans a job.
 * @returns its id
 * @throws DomainError VALIDATION naming what cannot be, NOT_FOUND for the job it shall wait for, JOB_FINISHED when that is
 *   over already
 */
export function createSchedule(
  db: Database,
  actor: ChangeContext['actor'],
  { job, plan, reason }: NewSchedule,
  alsoWrite: AlsoWrite = async () => {},
): Promise<string> {
  const { tenantId, userId } = actor;
  return withChange(db, contextOf({ actor, reason }), async (change) => {
    const { tx, recordedAt } = change;
    await assertPossible(tx, tenantId, plan, 0, recordedAt);
    const id = uuidv7();
    const { rows } = await sql<ScheduleRow>`
      INSERT INTO schedule (tenant_id, id, kind, mode, priority, sample_id, job_order, trigger, after_job_id, daily_window, until,
                            max_runs, grace_minutes, reason, created_by, created_at, next_due)
      VALUES (${tenantId}, ${id}, ${job.kind}, ${job.mode}, ${job.priority}, ${job.sampleId},
              ${JSON.stringify(job.order)}::jsonb, ${JSON.stringify(plan.trigger)}::jsonb,
              ${jobIdOf(plan.trigger)}, ${json(plan.window)}::jsonb,
              ${dateOf(plan.until)}, ${plan.maxRuns}, ${plan.graceMs / 60_000}, ${reason}, ${userId}, ${recordedAt},
              ${dateOf(dueAfter(plan, 0, recordedAt.getTime()))}) RETURNING *`.execute(tx);
    for (const row of rows) recordSchedule(change, 'automation.schedule.created', null, row);
    await alsoWrite(tx, id);
    return id;
  });
}

/**
 * Changes when and how urgently a schedule runs, pauses it or lets it go on. What it does is not changed: that would be
 * another schedule.
 * @param version as the person saw it (If-Match)
 * @throws DomainError as `createSchedule`, and NOT_FOUND, PRECONDITION_FAILED, CONFLICT when it is done or cancelled
 */
export function changeSchedule(
  db: Database,
  wish: Wish,
  id: string,
  version: number,
  edit: ScheduleEdit,
): Promise<void> {
  const { tenantId } = wish.actor;
  return withChange(db, contextOf(wish), async (change) => {
    const { tx, recordedAt } = change;
    const before = await lockSchedule(tx, tenantId, id);
    assertOpen(before);
    assertVersion(before, version);
    const was = planOf(before);
    const { trigger = was.trigger, window = was.window, until = was.until, maxRuns = was.maxRuns } = edit;
    const plan: Plan = { trigger, window, until, maxRuns, graceMs: edit.graceMs ?? was.graceMs };
    const state: ScheduleState = (edit.paused ?? before.state === 'paused') ? 'paused' : 'active';
    const isSamePlan = JSON.stringify(plan) === JSON.stringify(was);
    let nextDue = before.next_due;
    if (state === 'paused') nextDue = null;
    else if (!isSamePlan || before.state === 'paused') {
      await assertPossible(tx, tenantId, plan, before.runs, recordedAt, before.after_job_id);
      nextDue = dateOf(dueAfter(plan, before.runs, recordedAt.getTime()));
    }
    const set = sql`trigger = ${JSON.stringify(trigger)}::jsonb, after_job_id = ${jobIdOf(trigger)}, daily_window = ${json(window)}::jsonb,
      until = ${dateOf(until)}, max_runs = ${maxRuns}, grace_minutes = ${plan.graceMs / 60_000},
      priority = ${edit.priority ?? before.priority}, state = ${state}, next_due = ${nextDue},
      ${changedBy(wish, recordedAt)}`;
    await updateSchedule(change, 'automation.schedule.changed', tenantId, before, set);
  });
}

/**
 * Calls a schedule off. A job that it has started goes on: that is cancelled as a job.
 * @throws DomainError NOT_FOUND, CONFLICT when it is done or cancelled already
 */
export function cancelSchedule(
  db: Database,
  wish: Wish,
  id: string,
  alsoWrite: AlsoWrite = async () => {},
): Promise<void> {
  const { tenantId } = wish.actor;
  return withChange(db, contextOf(wish), async (change) => {
    const { tx, recordedAt } = change;
    const before = await lockSchedule(tx, tenantId, id);
    assertOpen(before);
    const set = sql`state = 'cancelled', next_due = NULL, ${changedBy(wish, recordedAt)}`;
    await updateSchedule(change, 'automation.schedule.cancelled', tenantId, before, set);
    await alsoWrite(tx, id);
  });
}

/**
 * Pauses all that is planned, in a change that does more: nobody knows which runs there were since the backup.
 * @returns how many
 */
export async function pauseSchedules(change: Change, wish: Wish): Promise<number> {
  const { tx, recordedAt } = change;
  const { tenantId } = wish.actor;
  const { rows } = await sql<ScheduleRow>`SELECT * FROM schedule
    WHERE tenant_id = ${tenantId} AND state = 'active' ORDER BY id FOR NO KEY UPDATE`.execute(tx);
  for (const row of rows) {
    const set = sql`state = 'paused', next_due = NULL, ${changedBy(wish, recordedAt)}`;
    await updateSchedule(change, 'automation.schedule.changed', tenantId, row, set);
  }
  return rows.length;
}

function changedBy({ actor, reason }: Wish, at: Date): RawBuilder<unknown> {
  return sql`changed_by = ${actor.userId}, changed_at = ${at}, change_reason = ${reason}`;
}

function jobIdOf(trigger: Trigger): string | null {
  return trigger.kind === 'after' ? trigger.jobId : null;
}

function json(value: object | null): string | null {
  return value && JSON.stringify(value);
}

function dateOf(instant: number | null): Date | null {
  return instant === null ? null : new Date(instant);
}

function assertOpen({ id, state }: ScheduleRow): void {
  if (state === 'active' || state === 'paused') return;
  throw new DomainError('CONFLICT', `Schedule ${id} is ${state}: plan a new one.`, { facts: { state } });
}

function assertVersion({ id, version: is }: ScheduleRow, version: number): void {
  if (is === version) return;
  throw new DomainError(
    'PRECONDITION_FAILED',
    `Schedule ${id} has changed since version ${version} was read: read it again, it is version ${is} now.`,
    { facts: { version: is } },
  );
}

/** @param knownJobId the job it waits for already, which may have come to its end meanwhile */
async function assertPossible(
  tx: Transaction<DB>,
  tenantId: string,
  plan: Plan,
  runs: number,
  now: Date,
  knownJobId: string | null = null,
): Promise<void> {
  const problems = problemsOf(plan, runs, now.getTime());
  const [first] = problems;
  if (first) {
    const detail = `The body’s ${first.pointer} ${first.detail}.`;
    throw new DomainError('VALIDATION', detail, { errors: problems });
  }
  const { trigger } = plan;
  if (trigger.kind !== 'after' || trigger.jobId === knownJobId) return;
  const { rows } = await sql<{ state: JobState }>`
    SELECT state FROM job WHERE tenant_id = ${tenantId} AND id = ${trigger.jobId}`.execute(tx);
  const errors = (detail: string): { readonly errors: readonly InputProblem[] } => ({
    errors: [{ pointer: '/when/after', detail }],
  });
  const [job] = rows;
  if (!job) {
    throw new DomainError('NOT_FOUND', `There is no job ${trigger.jobId}.`, errors('names no job'));
  }
  if (isFinal(job.state)) {
    const detail = `Job ${trigger.jobId} is ${job.state} already: start what shall follow it now.`;
    throw new DomainError('JOB_FINISHED', detail, errors(`is ${job.state} already`));
  }
}
