import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  doorOpenings,
  doorRuns,
  type ItemCounts,
  type PicklistPlace,
  picklistEnd,
  planPicklist,
} from '../../domain/picklist.ts';

interface Tube {
  readonly n: number;
  readonly place: PicklistPlace | null;
}

const stop = (id: string, name = id) => ({ id, name });

/** A place by the names on the way to it: `F1/S2/R1/B3` in room `R`, or `F1/B3` for a box directly in the freezer. */
function placeAt(way: string, ordinal: number | null = 1): PicklistPlace {
  const names = way.split('/');
  const path = [
    stop('room', 'Room 1'),
    ...names.map((name, depth) => stop(names.slice(0, depth + 1).join('/'), name)),
  ];
  return { unitId: names[0] ?? null, path, ordinal, label: null };
}

const tubesAt = (...ways: (string | null)[]): Tube[] =>
  ways.map((way, n) => ({ n, place: way === null ? null : placeAt(way) }));

const wayArb = fc
  .tuple(
    fc.integer({ min: 1, max: 12 }),
    fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
  )
  .map(([freezer, below]) => [`F${freezer}`, ...below.map((n, depth) => `L${depth}-${n}`)].join('/'));
const tubesArb: fc.Arbitrary<Tube[]> = fc
  .array(fc.option(fc.tuple(wayArb, fc.option(fc.integer({ min: 1, max: 9 })))), { maxLength: 60 })
  .map((places) => places.map((each, n) => ({ n, place: each === null ? null : placeAt(each[0], each[1]) })));

/** How many runs of tubes there are that have this location on their way. */
function runsBelow(tubes: readonly Tube[], id: string): number {
  const isBelow = tubes.map(({ place }) => place?.path.some((each) => each.id === id) === true);
  return isBelow.filter((below, n) => below && isBelow[n - 1] !== true).length;
}

describe('the planned order', () => {
  it('passes each location, at any depth, in exactly one run', () => {
    fc.assert(
      fc.property(tubesArb, (tubes) => {
        const planned = planPicklist(tubes);
        const ids = new Set(tubes.flatMap(({ place }) => place?.path.map(({ id }) => id) ?? []));
        for (const id of ids) expect(runsBelow(planned, id), id).toBe(1);
      }),
    );
  });

  it('has every tube once, and does not depend on the order given but among equals', () => {
    fc.assert(
      fc.property(tubesArb, fc.infiniteStream(fc.nat()), (tubes, luck) => {
        const planned = planPicklist(tubes);
        expect(planned.toSorted((a, b) => a.n - b.n)).toEqual(tubes);
        const where = (list: readonly Tube[]) =>
          list.map(({ place }) => place && [place.path.at(-1)?.id, place.ordinal]);
        const shuffled = tubes
          .map((tube) => ({ tube, key: luck.next().value }))
          .toSorted((a, b) => a.key - b.key)
          .map(({ tube }) => tube);
        expect(where(planPicklist(shuffled))).toEqual(where(planned));
        for (const [n, tube] of planned.entries()) {
          const next = planned[n + 1];
          if (next && JSON.stringify(tube.place) === JSON.stringify(next.place))
            expect(tube.n).toBeLessThan(next.n);
        }
      }),
    );
  });

  it('never opens more doors than the order given', () => {
    fc.assert(
      fc.property(tubesArb, (tubes) => {
        const [planned, given] = [doorOpenings(planPicklist(tubes)), doorOpenings(tubes)];
        expect(planned.units).toBeLessThanOrEqual(given.units);
        expect(planned.shelves).toBeLessThanOrEqual(given.shelves);
        const units = tubes.flatMap(({ place }) => place?.unitId ?? []);
        expect(planned.units).toBe(new Set(units).size);
      }),
    );
  });

  it('goes by number where names have one, then by position; what has no place comes last', () => {
    const tubes = [
      { n: 0, place: null },
      { n: 1, place: placeAt('F10/S1/B1', 3) },
      { n: 2, place: placeAt('F2/S1/B1', 12) },
      { n: 3, place: placeAt('F2/S1/B1', 2) },
      { n: 4, place: placeAt('F2/S1/B1', null) },
      { n: 5, place: placeAt('F2', null) },
    ];
    expect(planPicklist(tubes).map(({ n }) => n)).toEqual([5, 3, 2, 4, 1, 0]);
  });

  it('keeps two units of one name apart', () => {
    const twin = (id: string): PicklistPlace => ({
      unitId: id,
      path: [stop(id, 'Freezer'), stop(`${id}/b`, 'Box')],
      ordinal: 1,
      label: 'A1',
    });
    const tubes = [{ place: twin('b') }, { place: twin('a') }, { place: twin('b') }];
    expect(planPicklist(tubes).map(({ place }) => place.unitId)).toEqual(['a', 'b', 'b']);
  });
});

describe('doors', () => {
  it('are the unit and what lies in it above the container', () => {
    const tubes = tubesAt('F1/S1/R1/B1', 'F1/S1/R2/B1', 'F1/S2/R1/B1', 'F1/B9', null, 'F2/S1/B1');
    expect(doorRuns(tubes).map(({ unit, shelf, from, to }) => [unit?.id, shelf?.id, from, to])).toEqual([
      ['F1', 'F1/S1', 1, 2],
      ['F1', 'F1/S2', 3, 3],
      ['F1', undefined, 4, 4],
      [undefined, undefined, 5, 5],
      ['F2', 'F2/S1', 6, 6],
    ]);
    expect(doorOpenings(tubes)).toEqual({ units: 2, shelves: 3 });
  });

  it('are opened again by whoever comes back', () => {
    const tubes = tubesAt('F1/S1/B1', 'F2/S1/B1', 'F1/S1/B1', 'F1/S2/B1', 'F1/S1/B1');
    expect(doorOpenings(tubes)).toEqual({ units: 3, shelves: 5 });
    expect(doorOpenings(planPicklist(tubes))).toEqual({ units: 2, shelves: 3 });
  });
});

describe('the end of a list', () => {
  const cases: [ItemCounts, boolean, ReturnType<typeof picklistEnd>][] = [
    [{ COMPLETED: 3 }, false, 'COMPLETED'],
    [{ COMPLETED: 3 }, true, 'COMPLETED'],
    [{ COMPLETED: 2, COMPLETED_WITH_DEVIATION: 1 }, false, 'COMPLETED_WITH_DEVIATION'],
    [{ COMPLETED: 2, FAILED: 1 }, false, 'COMPLETED_WITH_DEVIATION'],
    [{ COMPLETED: 2, REFUSED: 1 }, true, 'COMPLETED_WITH_DEVIATION'],
    [{ COMPLETED: 2, CANCELLED: 1 }, false, 'COMPLETED_WITH_DEVIATION'],
    [{ COMPLETED: 2, CANCELLED: 1 }, true, 'CANCELLED'],
    [{ CANCELLED: 3 }, true, 'CANCELLED'],
    [{ CANCELLED: 3 }, false, 'FAILED'],
    [{ REFUSED: 2, FAILED: 1 }, false, 'FAILED'],
    [{ COMPLETED: 2, PLANNED: 1 }, false, null],
    [{ COMPLETED: 2, STARTING: 1 }, true, null],
    [{ RUNNING: 1 }, true, null],
  ];
  it.each(cases)('of %j, cancelled %s, is %s', (counts, isCancelled, end) => {
    expect(picklistEnd(counts, isCancelled)).toBe(end);
  });
});
