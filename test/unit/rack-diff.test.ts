import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DomainError } from '../../domain/errors.ts';
import { cellLabel, cells, findCell, type Grid } from '../../domain/grid.ts';
import {
  changesBetween,
  diffRack,
  type Expectation,
  type ExpectedPosition,
  type KnownTube,
  type PositionDiff,
} from '../../domain/rack-diff.ts';
import { planRack, type RackPlan } from '../../domain/rack-plan.ts';
import { type ScannedContent, type ScannedPosition, turned } from '../../domain/rack-scan.ts';

const GRID: Grid = { rows: 8, columns: 12, rowLabels: 'upper', columnLabels: 'number' };

/** A box with these tubes, by position, and tubes that are recorded in no position of it. */
function box(
  inside: Readonly<Record<string, string>>,
  abroad: Readonly<Record<string, Partial<KnownTube>>> = {},
  grid: Grid = GRID,
  changes: Readonly<Record<string, Partial<ExpectedPosition>>> = {},
): Expectation {
  const home = (label: string) => ({
    positionId: `p-${label}`,
    locationId: 'box',
    location: 'Box 7',
    position: label,
    jobId: null,
  });
  const tube = (barcode: string, place: KnownTube['place']): KnownTube => ({
    sampleId: `s-${barcode}`,
    barcode,
    version: 1,
    custody: 'position',
    witness: 'asserted',
    jobId: null,
    place,
  });
  return {
    locationId: 'box',
    grid,
    positions: cells(grid).map((cell) => {
      const label = cellLabel(cell, grid);
      const barcode = inside[label];
      return {
        positionId: `p-${label}`,
        cell,
        state: barcode ? 'occupied' : 'free',
        isDoubtful: false,
        jobId: null,
        sampleId: barcode ? `s-${barcode}` : null,
        ...changes[label],
      };
    }),
    tubes: [
      ...Object.entries(inside).map(([label, barcode]) => tube(barcode, home(label))),
      ...Object.entries(abroad).map(([barcode, tubeChanges]) => ({ ...tube(barcode, null), ...tubeChanges })),
    ],
    others: [],
  };
}

const IN_BOX_12: KnownTube['place'] = {
  positionId: 'q-C1',
  locationId: 'box12',
  location: 'Box 12',
  position: 'C1',
  jobId: null,
};

/** A scan of the positions named; all others are empty, unless listed as not scanned. */
function scan(read: Readonly<Record<string, string>>, { partial = false, grid = GRID } = {}) {
  const content = (word: string): ScannedContent =>
    word === '?' ? { kind: 'unread' } : word === '' ? { kind: 'empty' } : { kind: 'tube', barcode: word };
  const named = Object.entries(read).map(([label, word]): ScannedPosition => {
    const cell = findCell(label, { ...grid, rows: 40, columns: 60 });
    if (!cell) throw new Error(label);
    return { cell, content: content(word) };
  });
  const rest = cells(grid)
    .filter((cell) => !(cellLabel(cell, grid) in read))
    .map((cell): ScannedPosition => ({ cell, content: { kind: 'empty' } }));
  return { size: null, listsEmpty: true, positions: partial ? named : [...named, ...rest] };
}

function told(positions: readonly PositionDiff[]): Record<string, string> {
  return Object.fromEntries(
    positions.flatMap(({ label, verdict, absent }) =>
      verdict === 'empty'
        ? []
        : [[label, absent && verdict !== 'missing' ? `${verdict}, not ${absent.barcode}` : verdict]],
    ),
  );
}

function refusalOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof DomainError) return `${error.code} ${error.detail}`;
    throw error;
  }
  return '';
}

describe('the diff of a scan', () => {
  test('says of each position what is there', () => {
    const expected = {
      ...box(
        { A1: 'T1', A2: 'T2', A3: 'T3', A4: 'T4', A5: 'T5', A6: 'T6' },
        { T9: { place: IN_BOX_12 }, T10: { custody: 'unknown' }, T11: { custody: 'person' } },
      ),
      others: [{ barcode: 'BOX-3', of: 'location' as const }],
    };
    const diff = diffRack(
      scan({
        A1: 'T1',
        A2: '',
        A3: 'T2',
        A4: '?',
        A5: 'X',
        A6: '',
        C1: 'T9',
        C2: 'T10',
        C3: 'T11',
        C4: 'BOX-3',
        D1: 'DUP',
        D2: 'DUP',
      }),
      expected,
    );
    expect(told(diff.positions)).toEqual({
      A1: 'match',
      A3: 'moved, not T3',
      A4: 'unread',
      A5: 'unknown, not T5',
      A6: 'missing',
      C1: 'elsewhere',
      C2: 'found',
      C3: 'elsewhere',
      C4: 'unknown',
      D1: 'duplicate',
      D2: 'duplicate',
    });
    expect(diff.counts).toMatchObject({ match: 1, moved: 1, missing: 1, duplicate: 2 });
    expect(diff.absent).toBe(3);
    const at = (label: string) => diff.positions.find((each) => each.label === label);
    expect(at('C1')?.tube?.place).toMatchObject({ location: 'Box 12', position: 'C1' });
    expect(at('C4')?.barcodeOf).toBe('location');
    expect(at('D1')?.alsoAt).toEqual(['D2']);
  });

  test('of half a rack says nothing of the other half', () => {
    const expected = box({ A1: 'T1', H12: 'T2' });
    const diff = diffRack(scan({ A1: 'T1' }, { partial: true }), expected);
    expect(diff.counts).toMatchObject({ match: 1, not_scanned: 95, missing: 0 });
    const bare = diffRack({ ...scan({ A1: 'T1' }, { partial: true }), listsEmpty: false }, expected);
    expect(bare.counts).toMatchObject({ match: 1, missing: 1 });
  });

  test('of any part of what is recorded is all match, and neither turned nor of a wrong size', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 95 }), { minLength: 1 }), (where) => {
        const all = cells(GRID).map((cell) => cellLabel(cell, GRID));
        const inside = Object.fromEntries(where.map((index) => [all[index] ?? 'A1', `T${index}`]));
        const diff = diffRack(scan(inside), box(inside));
        expect(diff.counts).toMatchObject({ match: where.length, empty: 96 - where.length });
        expect(diff).toMatchObject({ isRotated: false, wrongSize: null, otherBox: null, absent: 0 });
      }),
      { numRuns: 50 },
    );
  });

  test('finds a rack that was turned, wherever its two or more tubes are', () => {
    const all = cells(GRID).map((cell) => cellLabel(cell, GRID));
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 95 }), { minLength: 2 }), (where) => {
        const inside = Object.fromEntries(where.map((index) => [all[index] ?? 'A1', `T${index}`]));
        const straight = scan(inside);
        const diff = diffRack({ ...straight, positions: turned(straight.positions, GRID) }, box(inside));
        expect(diff.isRotated).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('does not take a shuffled box for a turned one', () => {
    const diff = diffRack(scan({ A2: 'T1', A3: 'T2', A1: 'T3' }), box({ A1: 'T1', A2: 'T2', A3: 'T3' }));
    expect(diff).toMatchObject({ isRotated: false, counts: { moved: 3 } });
  });

  test.each([
    ['positions outside the box', { A1: 'T1', P24: 'T2' }, null, { rows: 16, columns: 24 }],
    ['the scanner’s word', { A1: 'T1' }, { rows: 6, columns: 8 }, { rows: 6, columns: 8 }],
  ])('tells a wrong size by %s', (_, read, size, wrongSize) => {
    const diff = diffRack({ ...scan(read, { partial: true }), size }, box({ A1: 'T1' }));
    expect(diff.wrongSize).toEqual(wrongSize);
  });

  test('tells a smaller rack that was scanned whole, and not a half-read one', () => {
    const small: Grid = { ...GRID, rows: 6, columns: 8 };
    expect(diffRack(scan({}, { grid: small }), box({})).wrongSize).toEqual({ rows: 6, columns: 8 });
    const half = cells({ ...GRID, rows: 4 }).map((cell) => ({ cell, content: { kind: 'empty' as const } }));
    expect(diffRack({ size: null, listsEmpty: true, positions: half }, box({})).wrongSize).toBeNull();
  });

  test('names the other box when most of the tubes are of that one', () => {
    const abroad = Object.fromEntries(['T1', 'T2', 'T3'].map((each) => [each, { place: IN_BOX_12 }]));
    const diff = diffRack(scan({ A1: 'T1', A2: 'T2', A3: 'T3', A4: 'H' }), box({ A4: 'H' }, abroad));
    expect(diff.otherBox).toEqual({ locationId: 'box12', location: 'Box 12', tubes: 3 });
  });
});

describe('the plan of a scan', () => {
  const planOf = (read: Record<string, string>, expected: Expectation, partial = false): RackPlan =>
    planRack(diffRack(scan(read, { partial }), expected), expected);

  test('takes a spilled box in any new order, at once', () => {
    const all = cells(GRID).map((cell) => cellLabel(cell, GRID));
    const inside = Object.fromEntries(all.map((label, index) => [label, `T${index}`]));
    const expected = box(inside);
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: 96, maxLength: 96 }), (order) => {
        const plan = planOf(Object.fromEntries(order.map((label, index) => [label, `T${index}`])), expected);
        const after = new Map(all.map((label) => [`s-${inside[label]}`, label]));
        for (const { sampleId, label } of plan.placed) after.set(sampleId, label);
        expect(order.map((_, index) => after.get(`s-T${index}`))).toEqual(order);
        expect(plan).toMatchObject({ lost: [], blocked: [], unexplained: [] });
      }),
      { numRuns: 10 },
    );
  });

  test('of any scan puts no two tubes into one position, and forgets none', () => {
    const small: Grid = { ...GRID, rows: 2, columns: 3 };
    const all = cells(small).map((cell) => cellLabel(cell, small));
    const word = fc.constantFrom('', '?', 'T0', 'T1', 'T2', 'T3', 'T9', 'X', '-');
    fc.assert(
      fc.property(fc.array(word, { minLength: 6, maxLength: 6 }), (words) => {
        const inside = { A1: 'T0', A2: 'T1', A3: 'T2', B1: 'T3' };
        const expected = box(inside, { T9: { place: IN_BOX_12 } }, small);
        const read = Object.fromEntries(
          words.flatMap((each, index) => (each === '-' ? [] : [[all[index] ?? '', each]])),
        );
        const plan = planRack(diffRack(scan(read, { partial: true, grid: small }), expected), expected);
        const where = new Map<string, string>(
          Object.entries(inside).map(([label, barcode]) => [`s-${barcode}`, label]),
        );
        for (const { sampleId } of plan.lost) where.delete(sampleId);
        for (const { sampleId, label } of plan.placed) where.set(sampleId, label);
        expect(new Set(where.values()).size).toBe(where.size);
        // A tube that was read once is where it was read; one that is lost was not read once.
        for (const barcode of ['T0', 'T1', 'T2', 'T3', 'T9']) {
          const readAt = all.filter((label) => read[label] === barcode);
          if (readAt.length === 1) expect(where.get(`s-${barcode}`)).toBe(readAt[0]);
        }
        // Where something without a name stands, nothing else is recorded, or the position is blocked.
        const taken = new Set(where.values());
        for (const label of all.filter((each) => read[each] === 'X')) {
          expect(taken.has(label)).toBe(false);
          expect(plan.blocked.map((each) => each.label)).toContain(label);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('of what is missing names where it may be', () => {
    const plan = planOf({ A1: '', A2: '?', A3: 'T2' }, box({ A1: 'T1', A2: 'T2' }));
    expect(plan.lost).toEqual([{ sampleId: 's-T1', label: 'A1', candidates: ['p-A2'] }]);
    expect(plan.blocked).toEqual([{ positionId: 'p-A2', label: 'A2' }]);
  });

  test('of a tube read twice, and not where it is recorded, says that nobody knows', () => {
    const plan = planOf({ A1: '', B1: 'T1', C1: 'T1' }, box({ A1: 'T1' }));
    expect(plan.lost).toEqual([{ sampleId: 's-T1', label: 'A1', candidates: ['p-B1', 'p-C1'] }]);
    expect(plan.unexplained).toEqual(['B1', 'C1']);
    expect(planOf({ A1: 'T1', B1: 'T1' }, box({ A1: 'T1' })).lost).toEqual([]);
  });

  test('gives a position back that an earlier scan blocked, once it is explained', () => {
    const blocked = { A1: { state: 'blocked' as const, isDoubtful: true } };
    const expected = box({}, { T1: { custody: 'unknown' } }, GRID, blocked);
    expect(planOf({ A1: 'T1' }, expected)).toMatchObject({
      unblocked: [{ label: 'A1' }],
      placed: [{ label: 'A1' }],
    });
    expect(planOf({ A1: '' }, expected)).toMatchObject({ unblocked: [{ label: 'A1' }] });
    expect(planOf({ A1: '?' }, expected)).toMatchObject({ unblocked: [], blocked: [] });
  });

  test.each<[string, () => RackPlan, RegExp]>([
    [
      'a job that has the tube',
      () => planOf({ A1: 'T9' }, box({}, { T9: { place: IN_BOX_12, jobId: 'j1' } })),
      /^SAMPLE_BUSY A1: sample s-T9 belongs to job j1/,
    ],
    [
      'a job that has what is missing',
      () => {
        const expected = box({ A1: 'T1' });
        return planOf(
          { A1: '' },
          { ...expected, tubes: expected.tubes.map((tube) => ({ ...tube, jobId: 'j2' })) },
        );
      },
      /^SAMPLE_BUSY A1: sample s-T1 belongs to job j2/,
    ],
    [
      'a job that holds the position',
      () =>
        planOf(
          { A1: 'T9' },
          box({}, { T9: { custody: 'person' } }, GRID, { A1: { state: 'reserved', jobId: 'j3' } }),
        ),
      /^POSITION_OCCUPIED A1: the position is held by job j3/,
    ],
    [
      'a blocked position',
      () => planOf({ A1: 'T9' }, box({}, { T9: { custody: 'person' } }, GRID, { A1: { state: 'blocked' } })),
      /^POSITION_BLOCKED A1: a tube stands in a blocked position/,
    ],
    [
      'a tube that was disposed of',
      () => planOf({ A1: 'T9' }, box({}, { T9: { custody: 'disposed' } })),
      /^CONFLICT A1: the tube was disposed of/,
    ],
    [
      'a tube outside the box',
      () => planOf({ P1: 'T1' }, box({})),
      /^CONFLICT P1: a tube was scanned in a position/,
    ],
  ])('is refused for %s', (_, plan, refusal) => {
    expect(refusalOf(plan)).toMatch(refusal);
  });
});

test('changes between two looks at the record are told one by one', () => {
  const before = box({ A1: 'T1', A2: 'T2' }, { T9: { place: IN_BOX_12 } });
  expect(changesBetween(before, before)).toEqual([]);
  const after = box({ A1: 'T2', A3: 'T1' }, { T9: { place: IN_BOX_12, version: 2 } }, GRID, {
    A4: { jobId: 'j1', state: 'free' },
  });
  expect(changesBetween(before, after)).toEqual([
    'another tube is recorded in position A1',
    'position A2 was occupied and is free now',
    'position A3 was free and is occupied now',
    'position A4 is held by job j1',
    'the record of sample s-T9 has changed',
  ]);
  const busy = { ...before, tubes: before.tubes.map((tube) => ({ ...tube, jobId: 'j2' })) };
  expect(changesBetween(before, busy)[0]).toBe('sample s-T1 belongs to job j2');
  expect(changesBetween(before, { ...before, positions: before.positions.slice(1) })).toEqual([
    'the box has other positions',
  ]);
});
