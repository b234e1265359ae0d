import type { LiveMotion, MotionJournal } from '../../devices/motion-journal.ts';
import type { WireCommand } from '../../devices/robot-wire.ts';
import type { ControllerView, MotionReading, SendRight } from '../../domain/controller.ts';

export interface JournalLine extends WireCommand {
  state: 'ACCEPTED' | 'SENT' | 'DONE' | 'FAILED' | 'UNKNOWN';
  latchedBefore: number | null;
  reading: MotionReading | null;
}

/** The journal of one robot in memory, for tests of the loop; db/motion.ts is the real one. */
export class MemoryJournal implements MotionJournal {
  readonly lines: JournalLine[] = [];
  readonly reports: (ControllerView | null)[] = [];
  epoch = 0;
  hasTurn = true;
  isPaused = false;
  lastNumber = 0;
  /** decides before and after each call whether it fails there: `after` = it was done, and the answer was lost */
  failure: (call: string, when: 'before' | 'after') => boolean = () => false;
  /** called while SENT is being committed */
  onMarkSent: () => Promise<void> | void = () => undefined;

  accept(operation: WireCommand['operation'], slot: number): JournalLine {
    this.lastNumber += 1;
    const line: JournalLine = {
      number: this.lastNumber,
      operation,
      cassette: 1,
      level: 1,
      slot,
      state: 'ACCEPTED',
      latchedBefore: null,
      reading: null,
    };
    this.lines.push(line);
    return line;
  }

  takeEpoch(): Promise<number> {
    return this.#call('takeEpoch', () => {
      this.epoch += 1;
      return this.epoch;
    });
  }

  live(): Promise<LiveMotion | null> {
    return this.#call('live', () => {
      for (const { state, ...line } of this.lines) {
        if (state === 'ACCEPTED' || state === 'SENT')
          return {
            ...line,
            state,
            sentAgoMs: state === 'SENT' ? 0 : null,
            isHeldBack: state === 'ACCEPTED' && this.isPaused,
          };
      }
      return null;
    });
  }

  markSent(number: number, epoch: number, latchedBefore: number): Promise<SendRight> {
    return this.#call('markSent', async () => {
      await this.onMarkSent();
      const line = this.#line(number);
      if (epoch !== this.epoch) return 'epoch_lost';
      if (!this.hasTurn) return 'turn_lost';
      if (this.isPaused) return 'paused';
      if (line.state !== 'ACCEPTED') return 'not_accepted';
      Object.assign(line, { state: 'SENT', latchedBefore });
      return 'sent';
    });
  }

  settle(
    number: number,
    epoch: number,
    state: 'DONE' | 'FAILED' | 'UNKNOWN',
    reading: MotionReading,
  ): Promise<'settled' | 'epoch_lost'> {
    return this.#call('settle', () => {
      if (epoch !== this.epoch) return 'epoch_lost';
      const line = this.#line(number);
      if (!line.reading) Object.assign(line, { state, reading });
      return 'settled';
    });
  }

  report(epoch: number, view: ControllerView | null): Promise<boolean> {
    return this.#call('report', () => {
      this.reports.push(view);
      return epoch === this.epoch;
    });
  }

  raiseNumber(_epoch: number, latchedNumber: number): Promise<void> {
    return this.#call('raiseNumber', () => {
      this.lastNumber = Math.max(this.lastNumber, latchedNumber);
    });
  }

  #line(number: number): JournalLine {
    const line = this.lines.find((candidate) => candidate.number === number);
    if (!line) throw new Error(`there is no motion ${number}`);
    return line;
  }

  async #call<T>(name: string, act: () => T | Promise<T>): Promise<T> {
    await Promise.resolve();
    if (this.failure(name, 'before')) throw new Error(`${name}: the database does not answer`);
    const result = await act();
    if (this.failure(name, 'after')) throw new Error(`${name}: the answer of the database was lost`);
    return result;
  }
}
