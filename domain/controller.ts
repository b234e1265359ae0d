/** What a robot that is told each move can be told to do: a store at motion level. */
export type MotionOperation = 'pick' | 'place' | 'scan';

/**
 * What a robot can be told to do. A store at job level knows `transfer` alone, one tube's way from place to place as its
 * own robot goes it; a store at motion level knows everything but that.
 */
export type RobotOperation = MotionOperation | 'transfer';

/** Who plans the moves inside a store: we, or the vendor's own software. */
export type RobotLevel = 'motion' | 'job';

/** What the gateway speaks with a robot: a register map over Modbus TCP, ASCII commands or worklists over TCP. */
export type RobotDriver = 'modbus' | 'ascii' | 'worklist';

/** At which level a robot takes orders, by its driver. */
export function levelOf(driver: RobotDriver): RobotLevel {
  return driver === 'worklist' ? 'job' : 'motion';
}

/** What a robot's controller says of itself at one moment. */
export interface ControllerView {
  readonly mode: 'auto' | 'manual' | 'estop';
  /** number of the last command it took; `done` and `errorCode` belong to it */
  readonly latchedNumber: number;
  readonly busy: boolean;
  readonly done: boolean;
  /** 0 none, 1 refused, 2 source empty, 3 target occupied, 4 carrier empty or occupied, 5 motion fault, 6 barcode unreadable */
  readonly errorCode: number;
  /** a tube is in the carrier */
  readonly carrier: boolean;
  /** a tube stands at the place last addressed by a pick, or from which a transfer goes */
  readonly source: boolean;
  /** a tube stands at the place last addressed by a place, or to which a transfer goes */
  readonly target: boolean;
  /** what the last scan, or the last transfer on its way, read; empty when nothing */
  readonly barcode: string;
  /** a door through which a person can reach the tubes or the robot is open; null: the controller does not tell */
  readonly doorOpen: boolean | null;
  /** the store is in alarm by its own judgement, e.g. too warm; null: the controller does not tell */
  readonly unitAlarm: boolean | null;
  /** a person holds the robot by its hardware lock-out; null: the controller does not tell */
  readonly lockedOut: boolean | null;
}

/**
 * Why a controller stands in a safety hold: what keeps people safe, or the samples, is not as motion needs it. Observed,
 * never commanded.
 * @returns a sentence part; null when all is clear
 */
export function safetyStop(
  view: Pick<ControllerView, 'mode' | 'doorOpen' | 'unitAlarm' | 'lockedOut'>,
): string | null {
  if (view.mode !== 'auto') return `the controller is in mode ${view.mode}, not auto`;
  if (view.lockedOut === true) return 'the robot is locked out';
  if (view.doorOpen === true) return 'a door is open';
  return view.unitAlarm === true ? 'the store is in alarm' : null;
}

/**
 * The interlock, looked at immediately before the trigger: preflight is stale by then (reference/devices 13.1, 9).
 * @returns why the motion must not start, as a sentence; null when it may
 */
export function interlockRefusal(
  operation: RobotOperation,
  number: number,
  view: ControllerView,
): string | null {
  const stop = safetyStop(view);
  if (stop !== null) return stop;
  if (view.busy) return `the controller is busy with command ${view.latchedNumber}`;
  if (view.latchedNumber >= number) {
    return `the controller has already taken command ${view.latchedNumber}, so number ${number} is too low`;
  }
  switch (operation) {
    case 'pick':
      if (view.carrier) return 'the carrier holds a tube already';
      return view.source ? null : 'no tube stands at the source';
    case 'place':
      if (!view.carrier) return 'the carrier holds no tube';
      return view.target ? 'a tube stands at the target already' : null;
    case 'scan':
      return view.carrier ? null : 'the carrier holds no tube to scan';
    case 'transfer':
      if (view.carrier) return 'the carrier holds a tube already';
      if (!view.source) return 'no tube stands at the source';
      return view.target ? 'a tube stands at the target already' : null;
  }
}

/** What one look at the controller says of a command that was sent and has no result yet. */
export type SentVerdict =
  | { readonly kind: 'moving' }
  | { readonly kind: 'done' }
  | { readonly kind: 'failed' }
  /** the controller never took it; two looks in a row must say so */
  | { readonly kind: 'not_taken' }
  | { readonly kind: 'unknown'; readonly why: string };

/**
 * Judges a command whose trigger may or may not have gone out (after a lost connection or a restart).
 *
 * "Not taken" needs proof that the controller keeps the number of its last command: it must still show the very
 * number it showed before the trigger, and that number must not be 0. A controller that latches nothing, or that lost
 * its memory, shows 0 or something else: then nobody knows.
 * @param number of the command
 * @param latchedBefore what the controller showed immediately before the command was sent; null when not kept
 */
export function judgeSent(number: number, latchedBefore: number | null, view: ControllerView): SentVerdict {
  if (view.latchedNumber === number) {
    if (view.busy) return { kind: 'moving' };
    if (view.errorCode !== 0) return { kind: 'failed' };
    if (view.done) return { kind: 'done' };
    return { kind: 'unknown', why: `the controller took command ${number} and forgot how it ended` };
  }
  if (view.busy) {
    return {
      kind: 'unknown',
      why: `the controller is busy with command ${view.latchedNumber}, not with ${number}`,
    };
  }
  if (latchedBefore !== null && latchedBefore > 0 && view.latchedNumber === latchedBefore)
    return { kind: 'not_taken' };
  return {
    kind: 'unknown',
    why: `the controller shows command ${view.latchedNumber}, which does not tell whether it took ${number}`,
  };
}

/** What the controller said when a motion settled; null = it was not asked, did not answer, or has no such sensor. */
export interface MotionReading {
  readonly errorCode: number | null;
  readonly carrier: boolean | null;
  /** for a pick or a transfer */
  readonly source: boolean | null;
  /** for a place or a transfer */
  readonly target: boolean | null;
  /** for a scan or a transfer: what was read */
  readonly barcode: string | null;
  /** why the controller stood in a safety hold then; null when it did not, or was not asked */
  readonly stop: string | null;
  /** a sentence for people */
  readonly detail: string;
}

/**
 * The right to trigger a motion: given once, to the gateway that holds the epoch, while the job has its turn.
 *
 * - `sent`: committed; the one trigger may go out
 * - `epoch_lost`: another gateway owns the controller; nothing changed
 * - `turn_lost`: the job's turn is over; nothing changed
 * - `paused`: a person lets the robot begin no motion now; nothing changed
 * - `not_accepted`: it was sent or settled before; nothing changed
 */
export type SendRight = 'sent' | 'epoch_lost' | 'turn_lost' | 'paused' | 'not_accepted';

/**
 * The part of a view that says something of one command, with a sentence for people. A barcode belongs to the command
 * the controller took last: to one that never went out it says nothing.
 */
export function readingOf(
  { number, operation }: { readonly number: number; readonly operation: RobotOperation },
  view: ControllerView | null,
  detail: string,
): MotionReading {
  if (!view) {
    return { errorCode: null, carrier: null, source: null, target: null, barcode: null, stop: null, detail };
  }
  return {
    errorCode: view.errorCode,
    carrier: view.carrier,
    source: operation === 'pick' || operation === 'transfer' ? view.source : null,
    target: operation === 'place' || operation === 'transfer' ? view.target : null,
    barcode: view.latchedNumber === number && hasRead(operation, view) ? view.barcode : null,
    stop: safetyStop(view),
    detail,
  };
}

/** A store reads the label on the tube's way, also when it does not come to the end of it. */
function hasRead(operation: RobotOperation, { done, barcode }: ControllerView): boolean {
  return barcode !== '' && ((operation === 'scan' && done) || operation === 'transfer');
}
