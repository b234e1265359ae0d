import { describe, expect, test } from 'vitest';
import { DomainError } from '../../domain/errors.ts';
import {
  requireAction,
  SAMPLE_ACTIONS,
  SAMPLE_LIFE,
  SAMPLE_STATES,
  type SampleAction,
  type SampleState,
  stateOf,
} from '../../domain/sample-state.ts';

/** Read once by a person: rows are states, columns actions in their order; `-` is refused, `=` stays, `c` by custody. */
const COLUMNS =
  'store move retrieve check_out check_in use use_up hold release ship lose find dispose archive reopen relabel edit';
const TABLE: Readonly<Record<SampleState, string>> = {
  registered: 'stored - = checked_out - = consumed on_hold - shipped lost - disposed archived - = =',
  stored: '= = in_use checked_out - - - on_hold - - - - disposed - - = =',
  checked_out: 'stored - - - stored = consumed on_hold - shipped lost - disposed - - = =',
  in_use: 'stored - - checked_out - = consumed on_hold - shipped lost - disposed archived - = =',
  on_hold: '= = - - = - - - c - lost - disposed - - = =',
  missing: 'stored - - - - - - on_hold - - lost c - - - - =',
  consumed: '- - - - - - - - - - - - disposed archived - - =',
  shipped: 'stored - - - - - - - - - - - - archived - - =',
  disposed: '- - - - - - - - - - - - - archived - - -',
  archived: '- - - - - - - - - - - - - - c - -',
  lost: 'c - - - - - - - - - - c - archived - - =',
};
const PAIRS = SAMPLE_STATES.flatMap((state) => {
  const cells = TABLE[state].split(' ');
  return COLUMNS.split(' ').map((action, index) => [state, action as SampleAction, cells[index]] as const);
});

describe('the life of a sample', () => {
  test('knows these actions and no others', () => {
    expect(COLUMNS.split(' ')).toEqual([...SAMPLE_ACTIONS]);
    expect(PAIRS).toHaveLength(SAMPLE_STATES.length * SAMPLE_ACTIONS.length);
  });

  test.each(PAIRS)('%s, %s: %s', (state, action, expected) => {
    const next = SAMPLE_LIFE[state][action];
    if (expected === '-') {
      expect(next).toBeUndefined();
      expect(() => requireAction('x', state, action)).toThrow(DomainError);
    } else {
      expect(next).toBe(expected === '=' ? state : expected === 'c' ? 'by custody' : expected);
      expect(() => requireAction('x', state, action)).not.toThrow();
    }
  });

  test('a refusal says what the sample is, and what would help', () => {
    expect(() => requireAction('0190', 'on_hold', 'check_out')).toThrow(
      'Sample 0190 is on hold and cannot be checked out: have it released first.',
    );
  });

  test('the state follows from custody unless a person has decided it', () => {
    const facts = { standing: 'active', isCheckedOut: false, hasBeenStored: true } as const;
    expect(stateOf({ ...facts, custody: 'position' })).toBe('stored');
    expect(stateOf({ ...facts, custody: 'carrier' })).toBe('stored');
    expect(stateOf({ ...facts, custody: 'handoff', hasBeenStored: false })).toBe('registered');
    expect(stateOf({ ...facts, custody: 'person', hasBeenStored: false })).toBe('registered');
    expect(stateOf({ ...facts, custody: 'person' })).toBe('in_use');
    expect(stateOf({ ...facts, custody: 'person', isCheckedOut: true })).toBe('checked_out');
    expect(stateOf({ ...facts, custody: 'unknown' })).toBe('missing');
    expect(stateOf({ ...facts, custody: 'transit' })).toBe('shipped');
    expect(stateOf({ ...facts, custody: 'disposed' })).toBe('disposed');
    expect(stateOf({ ...facts, custody: 'position', standing: 'on_hold' })).toBe('on_hold');
  });
});
