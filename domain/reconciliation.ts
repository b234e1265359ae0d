import { type ControllerView, safetyStop } from './controller.ts';

/** A place a tube can be in while a robot moves it. */
export type TransferPlace = 'source' | 'carrier' | 'target';

/** What is known of a motion whose outcome nobody knows: the sensors now, the controller's memory, the journal. */
export interface Evidence {
  readonly operation: 'pick' | 'place' | 'transfer';
  /** what the sensors of the tube's own places say; null: unsensed, or the controller did not answer */
  readonly carrier: boolean | null;
  readonly source: boolean | null;
  /** of a pick: null, since the controller looks at another tube's target */
  readonly target: boolean | null;
  readonly busy: boolean;
  /**
   * the number the controller shows: this command's, one from before it, a later one, or none at all; `unread` when it did
   * not answer
   */
  readonly latch: 'this' | 'earlier' | 'later' | 'none' | 'unread';
  /** what the journal says of the command */
  readonly journal: 'DONE' | 'FAILED' | 'UNKNOWN';
}

/** What the evidence says. */
export type Finding =
  | { readonly kind: 'found'; readonly at: TransferPlace }
  /** the motion goes on: look again */
  | { readonly kind: 'moving' }
  /** the robot must not move until a person has been there */
  | { readonly kind: 'dropped' }
  /** a tube more than there should be, or a stuck sensor */
  | { readonly kind: 'foreign'; readonly candidates: readonly TransferPlace[] }
  | { readonly kind: 'undecided'; readonly candidates: readonly TransferPlace[] };

const ALL: readonly TransferPlace[] = ['source', 'carrier', 'target'];

/** The places between which an operation moves a tube. */
const TOUCHED: Readonly<Record<Evidence['operation'], readonly TransferPlace[]>> = {
  pick: ['source', 'carrier'],
  place: ['carrier', 'target'],
  transfer: ALL,
};

/**
 * The decision table after a fault or a restart (reference/devices 13.3). It reads sensors, never the controller's word:
 * a `FAILED` with the tube at its target is a placing. What no two witnesses agree on is left to a person.
 */
export function judge(evidence: Evidence): Finding {
  const { operation, carrier, source, target, latch } = evidence;
  const possible = candidatesOf(evidence);
  if (latch === 'unread' || carrier === null) return { kind: 'undecided', candidates: possible };
  // A controller that takes commands nobody here gave is worked by somebody else: its sensors prove nothing of this one.
  if (latch === 'later') return { kind: 'undecided', candidates: possible };
  if (evidence.busy) return { kind: 'moving' };
  if (operation === 'transfer') return judgeTransfer(evidence, possible);
  if (operation === 'pick') {
    if (source === null) return { kind: 'undecided', candidates: possible };
    if (carrier) return source ? { kind: 'foreign', candidates: possible } : { kind: 'found', at: 'carrier' };
    return source ? { kind: 'found', at: 'source' } : { kind: 'dropped' };
  }
  if (target === null) return { kind: 'undecided', candidates: possible };
  // The tube was picked up before: one that stands at the source now was put there by somebody.
  if (source === true) return { kind: 'foreign', candidates: possible };
  if (carrier) {
    // With the target full as well: the tube is where it was, and a stranger in its place.
    return { kind: 'found', at: 'carrier' };
  }
  return target ? { kind: 'found', at: 'target' } : { kind: 'dropped' };
}

/** A store that does the moves itself: the tube may have been left at either end, or on the way. */
function judgeTransfer({ carrier, source, target }: Evidence, candidates: readonly TransferPlace[]): Finding {
  if (source === null || target === null) return { kind: 'undecided', candidates };
  const full = ALL.filter((place) => ({ source, carrier, target })[place] === true);
  const [at, ...more] = full;
  if (at === undefined) return { kind: 'dropped' };
  return more.length > 0 ? { kind: 'foreign', candidates } : { kind: 'found', at };
}

/** Where the tube may be: the places the motion touches, without those that a sensor calls empty. */
export function candidatesOf({ operation, carrier, source, target }: Evidence): readonly TransferPlace[] {
  const seen = { carrier, source, target };
  const touched = TOUCHED[operation];
  const left = touched.filter((place) => seen[place] !== false);
  const also = ALL.filter((place) => seen[place] === true && !left.some((each) => each === place));
  return left.length + also.length > 0 ? [...left, ...also] : touched;
}

/** How the number that a controller shows relates to a command's. */
export function latchOf(view: Pick<ControllerView, 'latchedNumber'>, number: number): Evidence['latch'] {
  if (view.latchedNumber === 0) return 'none';
  if (view.latchedNumber === number) return 'this';
  return view.latchedNumber < number ? 'earlier' : 'later';
}

/**
 * Whether two looks in a row settle the matter: both found the tube at the same place, and the robot rests. One look may
 * be taken while an old command is still on its way.
 */
export function settles(before: Finding | null, now: Finding): boolean {
  if (before === null || before.kind !== now.kind) return false;
  if (now.kind === 'found' && before.kind === 'found') return now.at === before.at;
  return now.kind === 'dropped' || now.kind === 'foreign';
}

/** One look at the controller, as evidence of one command. */
export function evidenceOf(
  command: {
    readonly operation: Evidence['operation'];
    readonly number: number;
    readonly journal: Evidence['journal'];
  },
  view: ControllerView | null,
): Evidence {
  const { operation, journal } = command;
  if (view === null) {
    return { operation, journal, carrier: null, source: null, target: null, busy: false, latch: 'unread' };
  }
  return {
    operation,
    journal,
    carrier: view.carrier,
    source: view.source,
    target: operation === 'pick' ? null : view.target,
    busy: view.busy,
    latch: latchOf(view, command.number),
  };
}

/** Why nobody may decide now: the robot is held by what keeps people safe. Null when it is not. */
export const stopIn = (view: ControllerView | null): string | null => view && safetyStop(view);
