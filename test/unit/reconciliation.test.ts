import { describe, expect, it } from 'vitest';
import type { ControllerView } from '../../domain/controller.ts';
import {
  candidatesOf,
  type Evidence,
  evidenceOf,
  judge,
  latchOf,
  settles,
} from '../../domain/reconciliation.ts';

const FLAGS = [true, false, null] as const;
const LATCHES = ['this', 'earlier', 'later', 'none', 'unread'] as const;
const JOURNALS = ['DONE', 'FAILED', 'UNKNOWN'] as const;

/** Every evidence there can be: 2 operations × 27 sensor readings × 2 × 5 × 3. */
const ALL: Evidence[] = (['pick', 'place'] as const).flatMap((operation) =>
  FLAGS.flatMap((carrier) =>
    FLAGS.flatMap((source) =>
      FLAGS.flatMap((target) =>
        [true, false].flatMap((busy) =>
          LATCHES.flatMap((latch) =>
            JOURNALS.map((journal) => ({ operation, carrier, source, target, busy, latch, journal })),
          ),
        ),
      ),
    ),
  ),
);

const pick = (carrier: 0 | 1 | null, source: 0 | 1 | null): Evidence => of('pick', carrier, source, null);
const place = (carrier: 0 | 1 | null, source: 0 | 1 | null, target: 0 | 1 | null): Evidence =>
  of('place', carrier, source, target);
function of(operation: 'pick' | 'place', ...[carrier, source, target]: readonly (0 | 1 | null)[]): Evidence {
  const flag = (value: 0 | 1 | null | undefined) =>
    value === null || value === undefined ? null : value === 1;
  return {
    operation,
    carrier: flag(carrier),
    source: flag(source),
    target: flag(target),
    busy: false,
    latch: 'this',
    journal: 'UNKNOWN',
  };
}

describe('the decision table', () => {
  it.each([
    ['not picked', pick(0, 1), { kind: 'found', at: 'source' }],
    ['picked', pick(1, 0), { kind: 'found', at: 'carrier' }],
    ['dropped at the pick', pick(0, 0), { kind: 'dropped' }],
    ['a tube too many at the pick', pick(1, 1), { kind: 'foreign', candidates: ['source', 'carrier'] }],
    ['an unsensed source', pick(0, null), { kind: 'undecided', candidates: ['source'] }],
    ['still held', place(1, 0, 0), { kind: 'found', at: 'carrier' }],
    ['placed', place(0, 0, 1), { kind: 'found', at: 'target' }],
    ['placed, from an unsensed source', place(0, null, 1), { kind: 'found', at: 'target' }],
    ['dropped at the place', place(0, 0, 0), { kind: 'dropped' }],
    ['a stranger in the target', place(1, 0, 1), { kind: 'found', at: 'carrier' }],
    ['a stranger at the source', place(1, 1, 0), { kind: 'foreign', candidates: ['carrier', 'source'] }],
    ['a tube at both ends', place(0, 1, 1), { kind: 'foreign', candidates: ['target', 'source'] }],
    ['no carrier sensor', place(null, 0, 1), { kind: 'undecided', candidates: ['carrier', 'target'] }],
  ] as const)('%s', (_, evidence, finding) => {
    expect(judge(evidence)).toEqual(finding);
  });

  it('finds a tube only by two witnesses that agree, while the robot rests, and whatever the controller says', () => {
    expect(ALL).toHaveLength(2 * 27 * 2 * 5 * 3);
    for (const evidence of ALL) {
      const finding = judge(evidence);
      if (finding.kind !== 'found') continue;
      expect(evidence.busy).toBe(false);
      expect(evidence.latch).not.toBe('unread');
      expect(evidence.latch).not.toBe('later');
      const { carrier, source, target } = evidence;
      expect(evidence[finding.at]).toBe(true);
      if (finding.at === 'source') expect([evidence.operation, carrier]).toEqual(['pick', false]);
      if (finding.at === 'carrier') {
        expect(source).not.toBe(true);
        expect(evidence.operation === 'pick' ? source : target).not.toBeNull();
      }
      if (finding.at === 'target') expect([evidence.operation, carrier, source]).not.toContain(true);
      // The controller's word and the journal's change nothing.
      for (const journal of JOURNALS) expect(judge({ ...evidence, journal })).toEqual(finding);
    }
  });

  it('names every evidence: found, moving, dropped, foreign or undecided, with candidates where a person is asked', () => {
    for (const evidence of ALL) {
      const finding = judge(evidence);
      if (finding.kind === 'foreign' || finding.kind === 'undecided')
        expect(finding.candidates.length).toBeGreaterThan(0);
      if (evidence.carrier === null || evidence.latch === 'unread' || evidence.latch === 'later')
        expect(finding.kind).toBe('undecided');
      else if (evidence.busy) expect(finding.kind).toBe('moving');
    }
  });

  it('keeps as candidates what no sensor calls empty', () => {
    for (const evidence of ALL) {
      const candidates = candidatesOf(evidence);
      for (const each of ['carrier', evidence.operation === 'pick' ? 'source' : 'target'] as const) {
        if (evidence[each] !== false) expect(candidates).toContain(each);
      }
    }
  });
});

describe('looking twice', () => {
  const found = { kind: 'found', at: 'carrier' } as const;

  it('settles by two looks in a row that agree', () => {
    expect(settles(null, found)).toBe(false);
    expect(settles(found, found)).toBe(true);
    expect(settles({ kind: 'found', at: 'source' }, found)).toBe(false);
    expect(settles({ kind: 'dropped' }, { kind: 'dropped' })).toBe(true);
    expect(settles({ kind: 'dropped' }, found)).toBe(false);
  });

  it('is never settled by a robot that moves or that nobody understands', () => {
    expect(settles({ kind: 'moving' }, { kind: 'moving' })).toBe(false);
    const undecided = { kind: 'undecided', candidates: ['carrier'] } as const;
    expect(settles(undecided, undecided)).toBe(false);
  });
});

describe('evidence', () => {
  const view: ControllerView = {
    mode: 'auto',
    latchedNumber: 7,
    busy: false,
    done: true,
    errorCode: 0,
    carrier: true,
    source: false,
    target: true,
    barcode: '',
    doorOpen: false,
    unitAlarm: false,
    lockedOut: null,
  };

  it('knows a command by its number', () => {
    expect([0, 5, 7, 9].map((latchedNumber) => latchOf({ latchedNumber }, 7))).toEqual([
      'none',
      'earlier',
      'this',
      'later',
    ]);
  });

  it('takes no other tube’s target for a pick’s, and no silence for a sensor', () => {
    const command = { operation: 'pick', number: 7, journal: 'UNKNOWN' } as const;
    expect(evidenceOf(command, view)).toMatchObject({
      carrier: true,
      source: false,
      target: null,
      latch: 'this',
    });
    expect(evidenceOf(command, null)).toMatchObject({
      carrier: null,
      source: null,
      target: null,
      latch: 'unread',
    });
  });
});

describe('a transfer by a store that does the moves itself', () => {
  const SEEN = [true, false, null] as const;
  const rows = SEEN.flatMap((carrier) =>
    SEEN.flatMap((source) => SEEN.map((target) => ({ carrier, source, target }))),
  );
  const evidence = { operation: 'transfer', busy: false, latch: 'this', journal: 'UNKNOWN' } as const;

  it.each(rows)('carrier $carrier, source $source, target $target', (seen) => {
    const full = (['source', 'carrier', 'target'] as const).filter((place) => seen[place] === true);
    const isUnseen = Object.values(seen).includes(null);
    const expected = isUnseen
      ? { kind: 'undecided' }
      : full.length === 0
        ? { kind: 'dropped' }
        : full.length === 1
          ? { kind: 'found', at: full[0] }
          : { kind: 'foreign', candidates: full };
    expect(judge({ ...evidence, ...seen })).toMatchObject(expected);
  });

  it('is looked at again while the store is at it, and believed only of its own number', () => {
    const placed = { ...evidence, carrier: false, source: false, target: true };
    expect(judge({ ...placed, busy: true })).toEqual({ kind: 'moving' });
    expect(judge({ ...placed, latch: 'later' })).toMatchObject({ kind: 'undecided' });
    expect(judge({ ...placed, latch: 'none' })).toEqual({ kind: 'found', at: 'target' });
  });

  it('keeps every place that no sensor calls empty', () => {
    expect(candidatesOf({ ...evidence, carrier: null, source: false, target: null })).toEqual([
      'carrier',
      'target',
    ]);
    expect(candidatesOf({ ...evidence, carrier: null, source: null, target: null })).toHaveLength(3);
  });
});
