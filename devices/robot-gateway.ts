import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ControllerView,
  interlockRefusal,
  judgeSent,
  readingOf,
  safetyStop,
} from '../domain/controller.ts';
import type { LiveMotion, MotionJournal } from './motion-journal.ts';
import { ForeignOperation, type RobotWire, type WireCommand } from './robot-wire.ts';

export interface GatewayLog {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
}

export interface GatewayTiming {
  /** a motion without result after this is UNKNOWN; a command that cannot be sent for this long has FAILED */
  readonly motionDeadlineMs: number;
  /** between two looks at an idle robot, and between two reports during a motion */
  readonly lookEveryMs: number;
  /** longest pause between two looks at a moving robot */
  readonly pollAtMostMs: number;
  /** the trigger goes out within this time after the interlock, or not at all */
  readonly interlockHoldsMs: number;
  /** after an error of the database or the wire */
  readonly retryMs: number;
}

export const GATEWAY_TIMING: GatewayTiming = {
  motionDeadlineMs: 120_000,
  lookEveryMs: 1_000,
  pollAtMostMs: 50,
  interlockHoldsMs: 1_000,
  retryMs: 200,
};

export interface GatewayParts {
  readonly wire: RobotWire;
  readonly journal: MotionJournal;
  readonly log: GatewayLog;
  readonly timing?: Partial<GatewayTiming>;
}

class EpochLost extends Error {}

/**
 * The gateway of one robot: takes commands from the journal one at a time, triggers each at most once, and writes what
 * the controller says of them (devices reference 13.1 and 13.5; invariant 5).
 *
 * SENT is committed before the trigger. From then on the trigger never goes out again: whatever happens, this gateway or
 * a later one only looks.
 */
export class RobotGateway {
  readonly #wire: RobotWire;
  readonly #journal: MotionJournal;
  readonly #log: GatewayLog;
  readonly #timing: GatewayTiming;
  #epoch = 0;
  #stopping = false;
  #abandoned = false;
  #wake: (() => void) | null = null;
  #rung = false;
  #reportedAt = 0;
  /** a command is under way */
  #isServing = false;
  /** a number this process marked, or may have marked, SENT and did not trigger */
  #untriggered = 0;
  /** when this process first tried to send a command, by its number */
  #firstTry = { number: 0, at: 0 };

  constructor({ wire, journal, log, timing }: GatewayParts) {
    this.#wire = wire;
    this.#journal = journal;
    this.#log = log;
    this.#timing = { ...GATEWAY_TIMING, ...timing };
  }

  /** Says that the journal may hold something new. */
  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  /** Takes no further command; a motion under way is watched to its end. */
  stop(): void {
    this.#stopping = true;
    this.#wake?.();
  }

  /** Stops watching as well; what has no result is found by the next gateway. */
  abandon(): void {
    this.#abandoned = true;
    this.stop();
  }

  /** A fresh look at the controller; read-only. */
  observe(): Promise<ControllerView> {
    return this.#wire.observe();
  }

  /**
   * Points the sensors at places and looks; moves nothing.
   * @throws Error while a command is under way: its own sensors are looked at then
   */
  async inspect(places: readonly Omit<WireCommand, 'number'>[]): Promise<ControllerView> {
    if (this.#isServing)
      throw new Error('a command is under way: the robot cannot be asked about other places now');
    for (const place of places) await this.#wire.disarm(place);
    return this.#wire.observe();
  }

  /** Serves until stopped, or until another gateway has taken the epoch. */
  async run(): Promise<'stopped' | 'epoch_lost'> {
    try {
      while (!this.#stopping && this.#epoch === 0) {
        await this.#guarded(async () => {
          this.#epoch = await this.#journal.takeEpoch();
          this.#log.info({ epoch: this.#epoch }, 'owns the controller');
        });
      }
      while (!this.#stopping) {
        await this.#guarded(async () => {
          const motion = await this.#journal.live();
          if (!motion || motion.isHeldBack) await this.#lookIdle();
          else await this.#serve(motion);
        });
      }
      return 'stopped';
    } catch (error) {
      if (error instanceof EpochLost) return 'epoch_lost';
      throw error;
    } finally {
      this.#wire.close();
    }
  }

  async #serve(motion: LiveMotion): Promise<void> {
    this.#isServing = true;
    try {
      if (motion.state === 'SENT') await this.#recover(motion);
      else await this.#execute(motion);
    } finally {
      this.#isServing = false;
    }
  }

  /** Runs one step; an error of the database or the wire is told, and the step comes again. */
  async #guarded(step: () => Promise<void>): Promise<void> {
    this.#rung = false;
    try {
      await step();
    } catch (error) {
      if (error instanceof EpochLost) throw error;
      this.#log.warn({ err: error }, 'will try again');
      await this.#pause(this.#timing.retryMs);
    }
  }

  // ── idle ──────────────────────────────────────────────────────────────────────────────────────────────

  async #lookIdle(): Promise<void> {
    const dueIn = this.#reportedAt + this.#timing.lookEveryMs - performance.now();
    if (dueIn > 0) {
      await this.#pause(dueIn);
      return;
    }
    const view = await this.#wire.observe().catch(() => null); // no answer is what is reported then
    if (view && view.latchedNumber > 0) await this.#journal.raiseNumber(this.#epoch, view.latchedNumber);
    await this.#report(view);
  }

  async #report(view: ControllerView | null): Promise<void> {
    this.#reportedAt = performance.now();
    if (!(await this.#journal.report(this.#epoch, view))) throw new EpochLost();
  }

  async #reportWhenDue(view: ControllerView | null): Promise<void> {
    if (performance.now() < this.#reportedAt + this.#timing.lookEveryMs) return;
    // What is shown of a moving robot may lag; watching it must not stop for that.
    await this.#report(view).catch(this.#notNow);
  }

  /** A report that failed is made again at the next look. */
  readonly #notNow = (error: unknown): void => {
    if (error instanceof EpochLost) throw error;
    this.#log.warn({ err: error }, 'cannot report what the robot shows');
  };

  // ── one command ───────────────────────────────────────────────────────────────────────────────────────

  async #execute(motion: LiveMotion): Promise<void> {
    const { number, operation } = motion;
    let view: ControllerView;
    try {
      await this.#wire.arm(motion);
      view = await this.#wire.observe();
    } catch (error) {
      if (error instanceof ForeignOperation)
        await this.#settle(motion, 'FAILED', null, `the command was not sent: ${error.message}`);
      else await this.#notReached(motion, error);
      return;
    }
    if (view.latchedNumber >= number) await this.#journal.raiseNumber(this.#epoch, view.latchedNumber);
    // An earlier trigger that is still on its way can strike what was armed just now; then it moves already, or has moved.
    const isTaken = view.latchedNumber === number;
    const refusal = isTaken ? null : interlockRefusal(operation, number, view);
    if (refusal !== null) {
      await this.#settle(motion, 'FAILED', view, `the command was not sent: ${refusal}`);
      return;
    }
    this.#untriggered = number;
    const right = await this.#journal.markSent(number, this.#epoch, view.latchedNumber);
    switch (right) {
      case 'epoch_lost':
        throw new EpochLost();
      case 'turn_lost':
        await this.#settle(motion, 'FAILED', view, 'the command was not sent: the turn of its job is over');
        return;
      case 'paused':
        // Told when it may begin: the journal is read again then, and the interlock is looked at again.
        this.#untriggered = 0;
        return;
      case 'not_accepted':
        throw new Error(
          `command ${number} was sent or settled while it was being sent: the journal is read again`,
        );
      case 'sent':
        break;
    }
    // However long the journal took: the trigger goes out on what is seen now.
    const lookedAt = performance.now();
    if (!isTaken) view = await this.#wire.observe(); // no answer: the next round finds that nothing was triggered
    if (view.latchedNumber === number) return this.#settleAsTaken(motion, view);
    const late = performance.now() - lookedAt > this.#timing.interlockHoldsMs;
    const stopped = late
      ? 'the controller took too long to show its interlock'
      : interlockRefusal(operation, number, view);
    if (stopped !== null) {
      await this.#settle(motion, 'FAILED', view, `the command was not sent: ${stopped}`);
      return;
    }
    this.#untriggered = 0;
    const sentAt = performance.now();
    const answer = await this.#wire.trigger();
    if (answer === 'taken') await this.#watch(motion, view, sentAt);
    else
      await this.#recover(
        { ...motion, latchedBefore: view.latchedNumber, sentAgoMs: 0 },
        answer === 'refused',
      );
  }

  /** An earlier trigger, given up, has struck what was armed: it has moved or moves, and nobody watched. */
  async #settleAsTaken(motion: LiveMotion, view: ControllerView): Promise<void> {
    this.#untriggered = 0;
    const why = 'the controller has taken this number although nothing was triggered';
    await this.#settle(motion, 'UNKNOWN', view, why);
  }

  /** The controller could not be told: nothing was sent, so it is tried again for some time. */
  async #notReached(motion: LiveMotion, error: unknown): Promise<void> {
    if (this.#firstTry.number !== motion.number)
      this.#firstTry = { number: motion.number, at: performance.now() };
    await this.#reportWhenDue(null);
    if (performance.now() - this.#firstTry.at < this.#timing.motionDeadlineMs) throw error;
    const why = error instanceof Error ? error.message : String(error);
    await this.#settle(motion, 'FAILED', null, `the command was not sent: ${why}`);
  }

  /** Looks at a motion that was triggered until it ends. */
  async #watch(motion: LiveMotion, before: ControllerView | null, startedAt: number): Promise<void> {
    const latchedBefore = before?.latchedNumber ?? motion.latchedBefore;
    let last = before;
    let notTaken = 0;
    while (!this.#abandoned) {
      const elapsed = performance.now() - startedAt;
      try {
        last = await this.#wire.observe();
      } catch (error) {
        this.#log.warn({ number: motion.number, err: error }, 'lost sight of a motion');
        await this.#recover({ ...motion, latchedBefore, sentAgoMs: elapsed });
        return;
      }
      const verdict = judgeSent(motion.number, latchedBefore, last);
      switch (verdict.kind) {
        case 'done':
          return this.#settle(motion, 'DONE', last, 'the controller reports it done');
        case 'failed':
          return this.#settle(motion, 'FAILED', last, `the controller reports error ${last.errorCode}`);
        case 'unknown':
          return this.#settle(motion, 'UNKNOWN', last, verdict.why);
        case 'not_taken':
          notTaken += 1;
          if (notTaken === 2)
            return this.#settle(
              motion,
              'FAILED',
              last,
              'the controller acknowledged the command, but did not take it',
            );
          break;
        case 'moving':
          await this.#reportWhenDue(last);
      }
      if (elapsed > this.#timing.motionDeadlineMs) {
        return this.#settle(
          motion,
          'UNKNOWN',
          last,
          `the controller was still busy after ${Math.round(elapsed / 1000)} s`,
        );
      }
      await sleep(Math.min(1 + elapsed / 20, this.#timing.pollAtMostMs));
    }
  }

  // ── after a lost connection or a restart ──────────────────────────────────────────────────────────────

  /**
   * Finds out what became of a command that was sent and has no result: ends the connection, waits its timeout out so
   * that nothing of it is on the way any more, then only looks.
   * @param refused the controller has said itself that it did not take it
   */
  async #recover(motion: LiveMotion, refused = false): Promise<void> {
    if (this.#untriggered === motion.number) {
      const view = await this.#wire.observe().catch(() => null); // sensors are welcome, not needed
      if (view?.latchedNumber === motion.number) return this.#settleAsTaken(motion, view);
      const why = 'the command was not sent: the journal or the controller did not answer in time';
      return this.#settle(motion, 'FAILED', view, why);
    }
    if (!refused) {
      this.#wire.close();
      await sleep(this.#wire.timeoutMs);
    }
    const startedAt = performance.now() - (motion.sentAgoMs ?? 0);
    const deadline =
      performance.now() +
      Math.max(this.#timing.motionDeadlineMs - (motion.sentAgoMs ?? 0), 2 * this.#wire.timeoutMs);
    let last: ControllerView | null = null;
    let looks = 0;
    while (!this.#abandoned) {
      try {
        last = await this.#wire.observe();
        const verdict = judgeSent(motion.number, motion.latchedBefore, last);
        if (verdict.kind === 'moving' || verdict.kind === 'done' || verdict.kind === 'failed') {
          this.#log.info({ number: motion.number, verdict: verdict.kind }, 'attached to a motion');
          return await this.#watch(motion, null, startedAt);
        }
        if (refused) return await this.#settle(motion, 'FAILED', last, 'the controller refused the command');
        looks += 1;
        if (looks === 2) {
          if (verdict.kind === 'unknown') return await this.#settle(motion, 'UNKNOWN', last, verdict.why);
          return await this.#settle(
            motion,
            'FAILED',
            last,
            'the controller did not take the command: in two looks it was idle and showed the number before it',
          );
        }
        if (!last.busy) await this.#wire.disarm(motion);
      } catch (error) {
        if (error instanceof EpochLost) throw error;
        looks = 0;
        await this.#reportWhenDue(null);
        if (performance.now() > deadline) {
          const why = error instanceof Error ? error.message : String(error);
          return this.#settle(
            motion,
            refused ? 'FAILED' : 'UNKNOWN',
            last,
            `${refused ? 'the controller refused the command' : 'the command was sent'}, then the controller did not answer: ${why}`,
          );
        }
        this.#log.warn({ number: motion.number, err: error }, 'looks for a motion');
      }
      await sleep(this.#timing.retryMs);
    }
  }

  /** Writes a result; as long as the database does not answer, again. */
  async #settle(
    motion: LiveMotion,
    state: 'DONE' | 'FAILED' | 'UNKNOWN',
    view: ControllerView | null,
    detail: string,
  ): Promise<void> {
    const reading = readingOf(motion, view, detail);
    // Whoever hears of the result finds the fault that holds the robot already there.
    if (view && safetyStop(view) !== null) await this.#report(view).catch(this.#notNow);
    while (!this.#abandoned) {
      try {
        const answer = await this.#journal.settle(motion.number, this.#epoch, state, reading);
        if (answer === 'epoch_lost') throw new EpochLost();
        if (state !== 'DONE') this.#log.warn({ number: motion.number, state, ...reading }, 'motion ended');
        return;
      } catch (error) {
        if (error instanceof EpochLost) throw error;
        this.#log.warn({ number: motion.number, state, err: error }, 'cannot write a result yet');
        await sleep(this.#timing.retryMs);
      }
    }
  }

  /** Waits, but not past a ring or a stop. */
  async #pause(ms: number): Promise<void> {
    if (this.#rung || this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }
}
