import type { ControllerView, MotionReading, SendRight } from '../domain/controller.ts';
import type { WireCommand } from './robot-wire.ts';

/** A command in the journal that has no result yet. */
export interface LiveMotion extends WireCommand {
  readonly state: 'ACCEPTED' | 'SENT';
  /** number the controller showed before it was sent */
  readonly latchedBefore: number | null;
  /** ms since it was sent */
  readonly sentAgoMs: number | null;
  /** it was not sent, and a person lets the robot begin no motion now */
  readonly isHeldBack: boolean;
}

/** The journal of one robot's motions. Each call is one transaction; each may throw when the database does not answer. */
export interface MotionJournal {
  /** makes this gateway the controller's owner; every earlier owner is refused from now on */
  takeEpoch(): Promise<number>;
  /** the one command without result */
  live(): Promise<LiveMotion | null>;
  markSent(number: number, epoch: number, latchedBefore: number): Promise<SendRight>;
  settle(
    number: number,
    epoch: number,
    state: 'DONE' | 'FAILED' | 'UNKNOWN',
    reading: MotionReading,
  ): Promise<'settled' | 'epoch_lost'>;
  /** projects what was last heard; false when the epoch is lost */
  report(epoch: number, view: ControllerView | null): Promise<boolean>;
  /** lets the next number lie above the one the controller shows */
  raiseNumber(epoch: number, latchedNumber: number): Promise<void>;
}
