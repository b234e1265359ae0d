import { sql } from 'kysely';
import { type Change, type ChangeContext, withLedChange } from '../db/change.ts';
import type { Database } from '../db/connection.ts';
import type { JobRecord } from '../db/jobs.ts';
import { findStep, type JobMark, oncePerStep, type StepEnd, type StepOptions } from '../db/steps.ts';
import type { Actor } from '../domain/actor.ts';
import { DomainError, type Refusal } from '../domain/errors.ts';
import type { ReasonCode } from '../domain/reasons.ts';
import type { Mark, StepRef } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';

/** What a step is: its parameters make a repeat recognisable, its reason stands in the ledger. */
export interface StepSpec extends StepOptions {
  /** the activity and everything it was called with besides the ref */
  readonly params: readonly unknown[];
  /** by default what kind of job it is */
  readonly reason?: ReasonCode;
  /** who did it, where that is not who asked for the job */
  readonly actor?: Actor;
  readonly comment?: string;
  /** what saw it: by default the actor's station */
  readonly device?: (job: JobRecord) => string | null;
}

export type StepBody<T> = (change: Change, job: JobRecord) => Promise<StepEnd<T>>;

/**
 * Runs one step of a job as one transaction (see `oncePerStep`) and fails the way workflows expect.
 * @throws ApplicationFailure with an error code as its type
 */
export function runStep<T>(db: Database, ref: StepRef, spec: StepSpec, body: StepBody<T>): Promise<T> {
  return failingAsWorkflowsExpect(() => stepInChange(db, ref, spec, body));
}

/**
 * A step that may refuse: a DomainError thrown by `body` takes back all it wrote, and `refused` says in the same
 * transaction what the job makes of it.
 */
export function runRefusableStep<T>(
  db: Database,
  ref: StepRef,
  spec: StepSpec,
  body: StepBody<T>,
  refused: (refusal: Refusal, job: JobRecord) => StepEnd<T>,
): Promise<T> {
  return failingAsWorkflowsExpect(() =>
    stepInChange(db, ref, spec, async (change, job) => {
      const recorded: (() => void)[] = [];
      const tentative: Change = {
        ...change,
        record: (entry) => void recorded.push(() => change.record(entry)),
        atEnd: (query) => void recorded.push(() => change.atEnd(query)),
      };
      // Goes out ahead of the body's first statement, and is waited for with it.
      const saved = sql`SAVEPOINT body`.execute(change.tx);
      const [, ended] = await Promise.allSettled([saved, body(tentative, job)]);
      if (ended.status === 'fulfilled') {
        await saved;
        for (const each of recorded) each();
        return ended.value;
      }
      const { reason } = ended;
      if (!(reason instanceof DomainError) || reason.code === 'INTERNAL') throw reason;
      await sql`ROLLBACK TO SAVEPOINT body`.execute(change.tx);
      return refused(reason.toRefusal(), job);
    }),
  );
}

async function stepInChange<T>(db: Database, ref: StepRef, spec: StepSpec, body: StepBody<T>): Promise<T> {
  const { tenantId } = ref.actor;
  const actor = spec.actor ?? ref.actor;
  if (actor.tenantId !== tenantId) throw new DomainError('FORBIDDEN', 'The job is another tenant’s.');
  const key = { tenantId, jobId: ref.jobId, workflowId: ref.workflowId, step: ref.step };
  // Reason and device may depend on the job, which is read inside: filled in before anything is recorded.
  const context: { -readonly [K in keyof ChangeContext]: ChangeContext[K] } = { actor, reason: 'edit' };
  if (spec.comment !== undefined) context.comment = spec.comment;
  return withLedChange(
    db,
    context,
    (tx) => findStep(tx, key),
    (change, found) =>
      oncePerStep(
        change,
        found,
        key,
        spec.params,
        (job) => {
          context.reason = spec.reason ?? job.kind;
          if (spec.device) context.device = spec.device(job);
          return body(change, job);
        },
        spec,
      ),
  );
}

/** The job's row from a step on, as the workflow wants it. */
export function markOf(next: Mark): JobMark {
  return { state: next.state, phase: next.phase, question: next.waitingFor };
}

/** The label under which a robot stands in the ledger as the witness of a custody. */
export function robotDevice(job: JobRecord): string | null {
  return job.robotId && `robot:${job.robotId}`;
}
