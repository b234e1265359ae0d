import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { type RawBuilder, sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { isFinal, type JobState, type Phase } from '../domain/job.ts';
import type { Change } from './change.ts';
import type { Database } from './connection.ts';
import { type JobRecord, type JobRow, jobFromRow } from './jobs.ts';
import type { DB, JsonObject } from './schema.ts';
import { read } from './tenancy.ts';

/** Names one step of one workflow; `workflowId/step` is its key. */
export interface StepKey {
  readonly tenantId: string;
  readonly jobId: string;
  readonly workflowId: string;
  /** unique in the workflow, with loop index and attempt, e.g. `pick/1` */
  readonly step: string;
}

/** What a step changes in its job's row; what is left out stays. */
export interface JobMark {
  readonly state?: JobState;
  readonly phase?: Phase;
  /** what the job waits for */
  readonly question?: Readonly<Record<string, unknown>> | null;
  readonly faultId?: string | null;
  readonly robotId?: string;
  /** higher goes first */
  readonly priority?: number;
  /** merged into what stands there */
  readonly result?: Readonly<Record<string, unknown>>;
  readonly started?: true;
  readonly cancelRequested?: true;
}

/** How a step ended: what the workflow gets, and what the job says about it. */
export interface StepEnd<T> {
  readonly result: T;
  readonly mark: JobMark;
  /** one word for people: done, refused, failed, undone, parked, decided … */
  readonly outcome: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface StepOptions {
  /** the workflow takes the job over from the one that answered for it */
  readonly takeOver?: boolean;
  /** the step may run when the job is over */
  readonly evenWhenOver?: boolean;
}

/** What a step finds before it runs. */
interface FoundStep {
  readonly job: JobRow | undefined;
  readonly stored: { readonly params_hash: Buffer; readonly result: unknown } | undefined;
}

/** Holds the job's row and looks whether the step was done before. */
export async function findStep(tx: Transaction<DB>, key: StepKey): Promise<FoundStep> {
  // Two statements, sent together: the second looks after the lock was got, so that of two runs of one step the later
  // sees what the earlier did.
  const [held, done] = await Promise.all([
    sql<JobRow>`SELECT * FROM job WHERE tenant_id = ${key.tenantId} AND id = ${key.jobId} FOR NO KEY UPDATE`.execute(
      tx,
    ),
    sql<{ params_hash: Buffer; result: unknown }>`
      SELECT params_hash, result FROM step_result
      WHERE tenant_id = ${key.tenantId} AND step_key = ${storedUnder(key)}`.execute(tx),
  ]);
  return { job: held.rows[0], stored: done.rows[0] };
}

function storedUnder({ workflowId, step }: StepKey): string {
  return `${workflowId}/${step}`;
}

/**
 * Runs a step once: stores the result with a hash of the parameters, notes the step and marks the job, all in the
 * caller's transaction. A repeat returns the stored result and writes nothing.
 * @param found by `findStep`, in the same transaction
 * @throws DomainError STEP_REPEATED_DIFFERENTLY when the step was done with other parameters,
 * JOB_FINISHED when the job is over, CONFLICT when another workflow answers for the job, NOT_FOUND
 */
export async function oncePerStep<T>(
  { tx, atEnd }: Pick<Change, 'tx' | 'atEnd'>,
  found: FoundStep,
  key: StepKey,
  params: unknown,
  body: (job: JobRecord) => Promise<StepEnd<T>>,
  options: StepOptions = {},
): Promise<T> {
  const hash = hashOf(params);
  const { stored, job: row } = found;
  if (stored) {
    // Stored by this very step, which is the only one of its name.
    if (stored.params_hash.equals(hash)) return stored.result as T;
    throw new DomainError(
      'STEP_REPEATED_DIFFERENTLY',
      `Step ${key.step} of job ${key.jobId} was done with other parameters; what it did stands.`,
    );
  }
  if (!row) throw new DomainError('NOT_FOUND', `There is no job ${key.jobId}.`);
  const job = jobFromRow(row);
  if (job.workflowId !== key.workflowId && !options.takeOver) {
    throw new DomainError('CONFLICT', `Job ${job.id} is answered for by ${job.workflowId} now.`);
  }
  if (isFinal(job.state) && !options.evenWhenOver) {
    throw new DomainError('JOB_FINISHED', `Job ${job.id} is ${job.state}.`, { facts: { state: job.state } });
  }
  const end = await body(job);
  const assignments = markAssignments(end.mark);
  if (options.takeOver && !isFinal(job.state)) assignments.push(sql`workflow_id = ${key.workflowId}`);
  const written = sql`
    WITH stored AS (
      INSERT INTO step_result (tenant_id, step_key, params_hash, result)
      VALUES (${key.tenantId}, ${storedUnder(key)}, ${hash}, ${JSON.stringify(end.result ?? null)}::jsonb)
    ), noted AS (
      INSERT INTO job_step (tenant_id, job_id, step, outcome, detail)
      VALUES (${key.tenantId}, ${key.jobId}, ${key.step}, ${end.outcome}, ${JSON.stringify(end.detail)}::jsonb)
    )
    UPDATE job SET ${sql.join(assignments)} WHERE tenant_id = ${key.tenantId} AND id = ${key.jobId}`;
  atEnd(written.compile(tx));
  return end.result;
}

function markAssignments(mark: JobMark): RawBuilder<unknown>[] {
  const set: RawBuilder<unknown>[] = [sql`updated_at = clock_timestamp()`];
  if (mark.state) set.push(sql`state = ${mark.state}`);
  if (mark.state && isFinal(mark.state)) set.push(sql`finished_at = clock_timestamp()`);
  if (mark.phase) set.push(sql`phase = ${mark.phase}`);
  if (mark.question !== undefined) set.push(sql`question = ${json(mark.question)}::jsonb`);
  if (mark.faultId !== undefined) set.push(sql`fault_id = ${mark.faultId}`);
  if (mark.robotId) set.push(sql`robot_id = ${mark.robotId}`);
  if (mark.priority !== undefined) set.push(sql`priority = ${mark.priority}`);
  if (mark.result) set.push(sql`result = coalesce(result, '{}') || ${json(mark.result)}::jsonb`);
  if (mark.started) set.push(sql`started_at = coalesce(started_at, clock_timestamp())`);
  if (mark.cancelRequested) {
    set.push(sql`cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())`);
  }
  return set;
}

function json(value: Readonly<Record<string, unknown>> | null): string | null {
  return value === null ? null : JSON.stringify(value);
}

/** SHA-256 over the RFC 8785 form, so that the order of keys does not matter. */
export function hashOf(params: unknown): Buffer {
  const text = canonicalize(JSON.parse(JSON.stringify(params)));
  return createHash('sha256')
    .update(text ?? 'null')
    .digest();
}

/** Positions where the job found another tube than its own, through whichever workflow, and left it standing. */
export async function strangersPlaces(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
): Promise<string[]> {
  const { rows } = await sql<{ position_id: string }>`
    SELECT DISTINCT detail ->> 'strangerIn' AS position_id FROM job_step
    WHERE tenant_id = ${tenantId} AND job_id = ${jobId} AND outcome = 'parked' AND detail ? 'strangerIn'
    ORDER BY position_id`.execute(tx);
  return rows.map((row) => row.position_id);
}

/**
 * The answer a person gave to the job's last question, without its comment; null when nobody has answered it, or another
 * question came after it.
 */
export async function lastAnswer(db: Database, tenantId: string, jobId: string): Promise<JsonObject | null> {
  const query = sql<{ given: JsonObject | null }>`
    SELECT CASE WHEN outcome = 'decided' THEN detail -> 'given' END AS given FROM job_step
    WHERE tenant_id = ${tenantId} AND job_id = ${jobId} AND outcome IN ('parked', 'decided')
    ORDER BY seq DESC LIMIT 1`.compile(db.kysely);
  const [row] = await read(db, tenantId, query);
  return row?.given ?? null;
}
