import { defineSearchAttributeKey } from '@temporalio/common';
import {
  ApplicationFailure,
  allHandlersFinished,
  CancellationScope,
  condition,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { ClosingResult, ParkedProblem, SettleResult, StepRef } from '../activities/contract.ts';
import type { Actor } from '../domain/actor.ts';
import type { Refusal } from '../domain/errors.ts';
import { type OpenFault, refusalOfAnswer } from '../domain/fault.ts';
import type { FinalJobState, JobState, Phase } from '../domain/job.ts';
import { WAITS, type Waits } from '../domain/waits.ts';
import { type Steps, steps, undoSteps } from './activities.ts';
import { Deadline, within } from './deadline.ts';
import { codeOf, endedAs, isStepFailure, reasonOf, refusalOf } from './failures.ts';
import { Inbox } from './inbox.ts';
import {
  type Answer,
  cancelUpdate,
  type Decision,
  decideUpdate,
  type JobLimits,
  type JobOutcome,
  jobViewQuery,
  type Reservation,
  reservedUpdate,
} from './messages/job.ts';
import { robotReleasedSignal } from './messages/robot.ts';
import { Saga } from './saga.ts';

const JOB_STATE = defineSearchAttributeKey('JobState', 'KEYWORD');

/** First pause before a look whether a safety hold is over, in ms; the next ones double. */
const FIRST_HOLD_LOOK_MS = 2_000;

const JOB_OVER: Refusal = { code: 'JOB_FINISHED', detail: 'The job is over.' };

const NOT_WAITING: Refusal = { code: 'NOT_WAITING', detail: 'The job does not wait for this now.' };

export type AcceptedReservation = Extract<Reservation, { readonly outcome: 'accepted' }>;
export type Refused = Extract<Reservation, { readonly outcome: 'refused' }>;

/** What the look at a message gave: it is taken, or its sender is told why not. */
export type Checked<R> = { readonly taken: R } | Refused;

/** A scan that closed the job, or was refused. */
export const closed = (result: ClosingResult): Checked<JobOutcome> =>
  result.outcome === 'closed' ? { taken: { state: result.state, detail: result.detail } } : result;

/** A scan that settled a step, or was refused. */
export const settled = (result: SettleResult): Checked<true> =>
  result.outcome === 'done' ? { taken: true } : result;

/** Ends the process after everything that was done is undone. */
export class Abandoned extends Error {
  readonly state: FinalJobState;

  constructor(state: FinalJobState, detail: string) {
    super(detail);
    this.name = 'Abandoned';
    this.state = state;
  }
}

/** Whoever sends a message belongs to the tenant of the job; the API has checked it, this is the second look. */
export function refuseForeign(tenantId: string, sender: Actor): void {
  if (sender.tenantId !== tenantId) {
    throw ApplicationFailure.nonRetryable('The sender belongs to another tenant', 'FORBIDDEN');
  }
}

/**
 * What every process of the store has: a saga, the wish to cancel, the question to the operator, messages from people,
 * and an end. The workflow function above it reads as the process itself.
 */
export class Process {
  readonly saga = new Saga((problem) => this.#askAboutUndo(problem));
  readonly actor: Actor;
  readonly jobId: string;
  readonly #run: string | null;
  readonly #limits: JobLimits;
  #waits: Waits;
  readonly #inboxes: Pick<Inbox<unknown>, 'close'>[] = [];
  readonly #decisions: Inbox<Decision>;
  #fault: OpenFault | null = null;
  #faults = 0;
  #doubts = 0;
  /** counts how often a robot was told to be released from a safety hold */
  #releases = 0;
  #cancel: 'none' | 'asked' | 'asked in Temporal' = 'none';
  #state: JobState = 'QUEUED';
  #phase: Phase = 'REQUESTED';
  #early: Reservation | null = null;
  #isOver = false;
  /** counts what came that no wait for a person ends with, and how much of it the job was looked at for */
  #heard = 0;
  #looked = 0;
  /** the robot whose turn the process has: a fault freezes it */
  robotId: string | null = null;

  /** @param run names the run in its steps, where a workflow of this id may have run for the job before */
  constructor(
    input: { readonly jobId: string; readonly actor: Actor; readonly limits?: JobLimits },
    run: string | null = null,
  ) {
    this.#run = run;
    this.jobId = input.jobId;
    this.actor = input.actor;
    this.#limits = input.limits ?? {};
    this.#waits = { ...WAITS, ...this.#limits };
    setHandler(jobViewQuery, () => ({
      state: this.#state,
      phase: this.#phase,
      cancelRequested: this.isCancelRequested,
    }));
    setHandler(cancelUpdate, ({ actor, reason }) => this.#takeCancel(actor, reason), this.fromOwnTenant);
    this.#decisions = this.inbox({ early: false });
    setHandler(
      decideUpdate,
      async (decision) => {
        const refusal = refusalOfAnswer(this.#fault, decision);
        return refusal === null ? this.#decisions.ask(decision) : { outcome: 'refused', refusal };
      },
      this.fromOwnTenant,
    );
    setHandler(robotReleasedSignal, () => {
      this.#releases += 1;
      this.hear();
    });
    // A cancel from Temporal is the same wish; the body runs on and honours it at its next safe point.
    CancellationScope.current().cancelRequested.catch(() => {
      if (this.#cancel === 'none') this.#cancel = 'asked in Temporal';
      this.hear();
    });
  }

  /** Reference of a step; its name is unique in the workflow. */
  ref(step: string): StepRef {
    const { workflowId } = workflowInfo();
    return {
      actor: this.actor,
      jobId: this.jobId,
      workflowId,
      step: this.#run === null ? step : `${step}/${this.#run}`,
    };
  }

  /** How long the process waits for people, robots and answers. */
  get waits(): Waits {
    return this.#waits;
  }

  /** The laboratory's own waiting times, which the first step tells. */
  adoptWaits(waits: Partial<Waits> = {}): void {
    this.#waits = { ...WAITS, ...waits, ...this.#limits };
  }

  /** Steps of an undo: after some minutes of failing a person is asked. */
  undoing(summary: string): Steps {
    return undoSteps(summary, this.waits.undoMs);
  }

  /**
   * A box for messages of one kind; the workflow sets its `ask` as handler.
   * @param early keeps the messages that come before the process waits for them
   */
  inbox<T>({ early }: { readonly early: boolean }): Inbox<T> {
    const inbox = new Inbox<T>(early ? null : NOT_WAITING);
    this.#inboxes.push(inbox);
    return inbox;
  }

  /** Options of every handler of a person's message. */
  readonly fromOwnTenant = {
    validator: ({ actor }: { readonly actor: Actor }) => refuseForeign(this.actor.tenantId, actor),
  };

  /** Serves the early answer: callers wait until `answerEarly`. */
  promiseEarlyAnswer(): void {
    setHandler(reservedUpdate, async (): Promise<Reservation> => {
      await condition(() => this.#early !== null);
      return this.#early ?? { outcome: 'refused', refusal: JOB_OVER };
    });
  }

  answerEarly(reservation: Reservation): void {
    this.#early ??= reservation;
  }

  get isCancelRequested(): boolean {
    return this.#cancel !== 'none';
  }

  /** The body has come to its end: what is heard from here on changes nothing. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * A signal, or a cancel in Temporal, came. It may have come while the last steps ran: then the server refused to close
   * the workflow, and runs its last task again without the person's message, of which the steps stand.
   */
  hear(): void {
    this.#heard += 1;
  }

  /** A safe point. @throws Abandoned when somebody asked to cancel */
  stopIfCancelled(before: string): void {
    if (this.isCancelRequested) throw new Abandoned('CANCELLED', `Cancelled before ${before}.`);
  }

  /** Shows state and phase to people who look; `job` in Postgres is written by the steps. */
  show(state: JobState, phase: Phase): void {
    if (state !== this.#state) upsertSearchAttributes([{ key: JOB_STATE, value: state }]);
    this.#state = state;
    this.#phase = phase;
  }

  /** Says the phase alone, which costs no history event. */
  enter(phase: Phase): void {
    this.#phase = phase;
  }

  /**
   * Waits for a person's message that passes its check; the ones that do not are answered with the refusal, and the wait
   * goes on.
   * @param until ends the wait: a deadline, a wish to cancel
   * @returns what the check took, or null when the wait ended first
   * @throws JOB_FINISHED when the message was taken by a task that was lost, and its steps have closed the job
   */
  async takeFirst<T, R>(
    inbox: Inbox<T>,
    until: () => boolean,
    check: (message: T) => Promise<Checked<R>>,
  ): Promise<R | null> {
    inbox.open();
    try {
      for (;;) {
        await condition(() => inbox.hasMail || until() || this.#looked !== this.#heard);
        const mail = inbox.take();
        if (mail === undefined) {
          if (until()) return null;
          this.#looked = this.#heard;
          await steps('Is the job still open?').expectOpen(this.ref('open'));
          continue;
        }
        try {
          const result = await check(mail.message);
          if ('taken' in result) {
            mail.answer({ outcome: 'accepted' });
            return result.taken;
          }
          mail.answer({ outcome: 'refused', refusal: result.refusal });
        } catch (error) {
          mail.answer({ outcome: 'refused', refusal: refusalOf(error) });
          throw error;
        }
      }
    } finally {
      inbox.close(NOT_WAITING);
    }
  }

  /**
   * Waits for a person's scan until the lease of the reservation runs out.
   * @param leaseEnd RFC 3339; null: the reservation has no end
   * @param check looks at the n-th scan, from 1 on
   * @throws Abandoned when nobody scanned in time, or somebody asked to cancel
   */
  async awaitScan<T, R>(
    inbox: Inbox<T>,
    leaseEnd: string | null,
    what: string,
    check: (scan: T, n: number) => Promise<Checked<R>>,
  ): Promise<R> {
    const lease =
      leaseEnd === null ? null : new Deadline(Date.parse(leaseEnd) - Date.now(), `Wait for the ${what}`);
    let scans = 0;
    const taken = await this.takeFirst(
      inbox,
      () => this.isCancelRequested || lease?.hasPassed === true,
      (scan) => {
        scans += 1;
        return check(scan, scans);
      },
    ).finally(() => lease?.stop());
    if (taken !== null) return taken;
    throw this.isCancelRequested
      ? new Abandoned('CANCELLED', `Cancelled before the ${what}.`)
      : new Abandoned('FAILED', `The reservation ran out before the ${what}.`);
  }

  /** The undo of a reservation. */
  async releaseReservations(): Promise<string> {
    const { released } = await this.undoing('Release the reservations').releaseReservations(
      this.ref('release'),
    );
    return released === 0 ? 'There was no reservation to release.' : 'The reservations were released.';
  }

  /** Ends the process that got no reservation; the step that refused it has closed the job. */
  refuse(refused: Refused): JobOutcome {
    this.answerEarly(refused);
    return { state: 'REFUSED', detail: refused.refusal.detail };
  }

  /** Numbers the motions that left nobody knowing where the tube is. */
  nextDoubt(): number {
    this.#doubts += 1;
    return this.#doubts;
  }

  /**
   * Waits while a safety hold keeps the robot: no command, until what keeps people safe is in order and a person has
   * released the fault by its id. A wish to cancel waits as well, since the robot may hold the tube.
   * @param stop why the robot stands, a sentence part
   */
  async holdForSafety(robotId: string, stop: string, n: string): Promise<void> {
    await steps(`Safety hold: ${stop}`).holdForSafety(this.ref(`hold/${n}`), robotId, stop);
    this.show('SAFETY_HOLD', 'RECONCILING');
    // The gateway may report the stop a moment after the job met it: the first looks come soon.
    for (let looks = 1, waitMs = FIRST_HOLD_LOOK_MS; ; looks += 1) {
      const heard = this.#releases;
      await within(
        Math.min(waitMs, this.waits.holdLookMs),
        'Until the next look at the hold',
        () => this.#releases > heard,
      );
      if (!(await steps('Is the robot held still?').isHeld(this.ref(`held/${n}/${looks}`), robotId))) return;
      waitMs *= 2;
    }
  }

  /** Freezes the job, and the robot it has, and waits for the operator's answer. A wish to cancel waits as well. */
  async ask(problem: ParkedProblem): Promise<Decision> {
    this.#faults += 1;
    const fault = this.#faults;
    const { robotId } = problem;
    const before = { state: this.#state, phase: this.#phase };
    const { faultId, replaced } = await steps(`Ask the operator: ${problem.kind}`).park(
      this.ref(`park/${fault}`),
      problem,
    );
    this.#fault = { faultId, kind: problem.kind, hasRobot: robotId !== null };
    this.#decisions.open();
    if (robotId !== null) {
      await steps('Freeze the robot').reportFault(this.ref(`fault/${fault}`), robotId, faultId, false);
      if (replaced !== undefined) {
        const ref = this.ref(`fault-replaced/${fault}`);
        await steps('The robot is held by the new fault instead').reportFault(ref, robotId, replaced, true);
      }
    }
    this.show(
      'AWAITING_OPERATOR',
      problem.kind === 'compensation_stuck' ? 'COMPENSATION_STUCK' : 'OUTCOME_UNKNOWN',
    );
    const decision = await this.#answered(fault, faultId);
    this.#fault = null;
    if (robotId !== null && decision.robotFit) {
      await steps('Free the robot').reportFault(this.ref(`fault-cleared/${fault}`), robotId, faultId, true);
    }
    this.show(before.state, before.phase);
    return decision;
  }

  /** The first answer that the record takes. Whoever should have given it is reminded, louder from step to step. */
  async #answered(fault: number, faultId: string): Promise<Decision> {
    let given = 0;
    const asked = Date.now();
    for (let step = 1; ; step += 1) {
      const dueMs = this.waits.escalateMs[step - 1];
      const due = dueMs === undefined ? null : new Deadline(asked + dueMs - Date.now(), `Escalation ${step}`);
      const decision = await this.takeFirst(
        this.#decisions,
        () => due?.hasPassed === true,
        async (answer): Promise<Checked<Decision>> => {
          given += 1;
          const applied = await steps(`Apply the operator's answer: ${answer.answer}`).applyDecision(
            this.ref(`decide/${fault}/${given}`),
            answer,
          );
          return applied.outcome === 'refused' ? applied : { taken: answer };
        },
      ).finally(() => due?.stop());
      if (decision !== null) return decision;
      this.#decisions.open(); // also while the reminder is written
      await steps(`Nobody has answered: escalation ${step}`).escalate(
        this.ref(`escalate/${fault}/${step}`),
        faultId,
        step,
      );
    }
  }

  /**
   * Closes the job; a wish to cancel that Temporal told is recorded first. It may be closed already, by a step whose workflow task was lost together with the message that led
   * there: then it stays as it is.
   */
  async finish(state: FinalJobState, detail: string): Promise<JobOutcome> {
    if (this.#cancel === 'asked in Temporal') {
      const ref = this.ref('cancel/temporal');
      await steps('Record the cancel').recordCancel(ref, this.actor, 'asked for in Temporal');
    }
    try {
      await steps(`Close the job: ${state}`).finishJob(this.ref(`finish/${state}`), state, detail);
      return { state, detail };
    } catch (error) {
      const ended = codeOf(error) === 'STEP_REPEATED_DIFFERENTLY' ? state : endedAs(error);
      if (ended === undefined) throw error;
      return { state: ended, detail: `The job was closed as ${ended} before.` };
    }
  }

  /**
   * Runs the process to its end: undoes what was done when it is abandoned or a step fails for good, answers whoever
   * still waits, and returns when every message is answered. Null: there was no job to answer for.
   * @param failed what else to do when the body is abandoned or a step fails for good
   */
  run<R extends JobOutcome | null>(
    body: () => Promise<R>,
    failed = (error: unknown): Promise<JobOutcome> => this.#abandon(error),
  ): Promise<R | JobOutcome> {
    return CancellationScope.nonCancellable(async () => {
      const outcome = await body().catch(failed);
      this.#isOver = true;
      if (outcome !== null) this.show(outcome.state, 'SETTLED');
      for (const inbox of this.#inboxes) inbox.close(JOB_OVER);
      await condition(allHandlersFinished);
      return outcome;
    });
  }

  async #abandon(error: unknown): Promise<JobOutcome> {
    if (!(error instanceof Abandoned) && !isStepFailure(error)) throw error;
    const detail = reasonOf(error);
    if (codeOf(error) === 'STEP_REPEATED_DIFFERENTLY') {
      const problem = { kind: 'step_conflict', detail, robotId: this.robotId, candidates: null } as const;
      await this.ask(problem).catch((failed: unknown) => {
        if (endedAs(failed) === undefined) throw failed;
      });
    }
    const undone = await this.saga.unwind();
    const state = error instanceof Abandoned ? error.state : 'FAILED';
    const outcome = await this.finish(state, [detail, ...undone].join(' '));
    this.answerEarly({ outcome: 'refused', refusal: refusalOf(error) });
    return outcome;
  }

  async #askAboutUndo(problem: Pick<ParkedProblem, 'detail'> & Partial<ParkedProblem>): Promise<void> {
    await this.ask({ kind: 'compensation_stuck', robotId: this.robotId, candidates: null, ...problem });
  }

  async #takeCancel(by: Actor, reason: string | null): Promise<Answer> {
    if (this.#isOver) return { outcome: 'refused', refusal: JOB_OVER };
    const isFirst = this.#cancel !== 'asked';
    this.#cancel = 'asked';
    if (isFirst) await steps('Record the cancel').recordCancel(this.ref('cancel'), by, reason);
    return { outcome: 'accepted' };
  }
}
