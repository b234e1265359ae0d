import type { CustodyKind } from './custody.ts';
import { DomainError } from './errors.ts';

/** Where a sample is in its life. Where its tube is says its custody. */
export const SAMPLE_STATES = [
  'registered', // entered, never yet in a position
  'stored', // in a position, or on its way with a robot
  'checked_out', // with somebody who has said until when
  'in_use', // with somebody who has not
  'on_hold', // not to be used
  'missing', // nobody knows where it is
  'consumed', // used up; the tube is empty
  'shipped',
  'disposed',
  'archived', // over: its record is kept and changes no more
  'lost', // missing, and the search was given up
] as const;
export type SampleState = (typeof SAMPLE_STATES)[number];

/** What a person has decided about a sample; the rest of its state follows from its custody. */
export type Standing = 'active' | 'on_hold' | 'consumed' | 'archived' | 'lost';

/** What may be done with a sample. */
export const SAMPLE_ACTIONS = [
  'store', // into a position
  'move', // from position to position
  'retrieve', // out of its position
  'check_out',
  'check_in',
  'use', // a part of it: an aliquot, an amount, a thaw
  'use_up',
  'hold',
  'release',
  'ship',
  'lose',
  'find',
  'dispose',
  'archive',
  'reopen', // an archived record
  'relabel',
  'edit',
] as const;
export type SampleAction = (typeof SAMPLE_ACTIONS)[number];

/** `by custody`: back to what its custody makes it, or on hold where a reason to hold it still stands. */
type Next = SampleState | 'by custody';

/** The whole life: what may be done in each state, and the state it leads to. What is not here is refused. */
export const SAMPLE_LIFE: Readonly<Record<SampleState, Readonly<Partial<Record<SampleAction, Next>>>>> = {
  registered: {
    store: 'stored',
    // Taken back from a hand-off before it was stored.
    retrieve: 'registered',
    check_out: 'checked_out',
    use: 'registered',
    use_up: 'consumed',
    hold: 'on_hold',
    ship: 'shipped',
    lose: 'lost',
    dispose: 'disposed',
    archive: 'archived',
    relabel: 'registered',
    edit: 'registered',
  },
  stored: {
    move: 'stored',
    // A tube in a hand-off is stored further in by another placement.
    store: 'stored',
    retrieve: 'in_use',
    check_out: 'checked_out',
    hold: 'on_hold',
    dispose: 'disposed',
    relabel: 'stored',
    edit: 'stored',
  },
  checked_out: {
    store: 'stored',
    check_in: 'stored',
    use: 'checked_out',
    use_up: 'consumed',
    hold: 'on_hold',
    ship: 'shipped',
    lose: 'lost',
    dispose: 'disposed',
    relabel: 'checked_out',
    edit: 'checked_out',
  },
  in_use: {
    store: 'stored',
    check_out: 'checked_out',
    use: 'in_use',
    use_up: 'consumed',
    hold: 'on_hold',
    ship: 'shipped',
    lose: 'lost',
    dispose: 'disposed',
    archive: 'archived',
    relabel: 'in_use',
    edit: 'in_use',
  },
  // Held tubes are still evacuated, brought back and destroyed; nobody gets or uses one.
  on_hold: {
    store: 'on_hold',
    move: 'on_hold',
    check_in: 'on_hold',
    release: 'by custody',
    lose: 'lost',
    dispose: 'disposed',
    relabel: 'on_hold',
    edit: 'on_hold',
  },
  missing: { store: 'stored', find: 'by custody', hold: 'on_hold', lose: 'lost', edit: 'missing' },
  consumed: { dispose: 'disposed', archive: 'archived', edit: 'consumed' },
  shipped: { store: 'stored', archive: 'archived', edit: 'shipped' },
  disposed: { archive: 'archived' },
  archived: { reopen: 'by custody' },
  lost: { store: 'by custody', find: 'by custody', archive: 'archived', edit: 'lost' },
};

/** What of a sample's record its state follows from. */
export interface StateFacts {
  readonly standing: Standing;
  readonly custody: CustodyKind;
  readonly isCheckedOut: boolean;
  readonly hasBeenStored: boolean;
}

/** The state of a sample; the column `sample.state` says the same (db/migrations/0030_sample_life.sql). */
export function stateOf({ standing, custody, isCheckedOut, hasBeenStored }: StateFacts): SampleState {
  if (standing !== 'active') return standing;
  switch (custody) {
    case 'disposed':
      return 'disposed';
    case 'transit':
      return 'shipped';
    case 'unknown':
      return 'missing';
    case 'position':
      return 'stored';
    case 'person':
      if (isCheckedOut) return 'checked_out';
      return hasBeenStored ? 'in_use' : 'registered';
    case 'carrier':
    case 'handoff':
      return hasBeenStored ? 'stored' : 'registered';
  }
}

const IN_WORDS: Readonly<Record<SampleAction, string>> = {
  store: 'stored',
  move: 'moved',
  retrieve: 'retrieved',
  check_out: 'checked out',
  check_in: 'checked in',
  use: 'used',
  use_up: 'used up',
  hold: 'put on hold',
  release: 'released',
  ship: 'shipped',
  lose: 'given up as lost',
  find: 'found',
  dispose: 'disposed of',
  archive: 'archived',
  reopen: 'reopened',
  relabel: 'given another label',
  edit: 'edited',
};

/** What to do first, where there is something. */
const INSTEAD: Readonly<Partial<Record<SampleState, string>>> = {
  stored: 'take it out first',
  on_hold: 'have it released first',
  missing: 'find it first: scan it where it is',
  lost: 'find it first: scan it where it is',
  archived: 'reopen its record first',
  consumed: 'nothing is left of it',
  disposed: 'it is gone',
};

/** @throws DomainError SAMPLE_STATE when this is not done with a sample in this state */
export function requireAction(sampleId: string, state: SampleState, action: SampleAction): void {
  if (SAMPLE_LIFE[state][action] !== undefined) return;
  const instead = INSTEAD[state];
  throw new DomainError(
    'SAMPLE_STATE',
    `Sample ${sampleId} is ${state.replace('_', ' ')} and cannot be ${IN_WORDS[action]}${instead ? `: ${instead}` : ''}.`,
    { facts: { state, action } },
  );
}

/** Why a sample is held. */
export const HOLD_REASONS = ['quality', 'investigation', 'legal', 'consent_withdrawn', 'other'] as const;
export type HoldReason = (typeof HOLD_REASONS)[number];

/** Why a tube was destroyed; `other` takes a comment. */
export const DISPOSAL_REASONS = [
  'consent_withdrawn',
  'contaminated',
  'damaged',
  'thawed',
  'expired',
  'used_up',
  'quality_insufficient',
  'wrongly_labelled',
  'study_ended',
  'other',
] as const;
export type DisposalReason = (typeof DISPOSAL_REASONS)[number];
