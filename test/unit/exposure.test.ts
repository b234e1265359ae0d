import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DEFAULT_BUDGETS,
  type Exposure,
  exceededSeconds,
  exposureAfter,
  isInCold,
  predictByHand,
  predictRetrieval,
  predictTransfer,
  refusalOfExposure,
  typicalSeconds,
} from '../../domain/exposure.ts';
import { zoneServes } from '../../domain/placement.ts';
import { ZONE_NAMES, type Zone } from '../../domain/zone.ts';

const ID = '01900000-0000-7000-8000-000000000001';
const T0 = Date.parse('2026-03-02T08:00:00Z');
const at = (seconds: number) => new Date(T0 + seconds * 1000);
const FRESH: Exposure = { warmSince: null, exposureMs: 0, freezeThawCount: 0 };
const zones = fc.constantFrom<Zone>(...ZONE_NAMES);

describe('a place keeps a sample in its cold', () => {
  test.each<[Zone, string]>([
    ['LN2', 'LN2'],
    ['-80', 'LN2 -80'],
    ['-20', 'LN2 -80 -20'],
    ['4', '4'],
    ['RT', 'LN2 -80 -20 4 RT 37'],
    ['37', '37'],
  ])('of %s: %s', (need, keeping) => {
    expect(new Set(ZONE_NAMES.filter((zone) => isInCold(zone, need)))).toEqual(new Set(keeping.split(' ')));
    expect(isInCold(null, need)).toBe(need === 'RT');
  });

  test('wherever it may be stored', () => {
    for (const need of ZONE_NAMES) {
      for (const zone of ZONE_NAMES) if (zoneServes(zone, need)) expect(isInCold(zone, need)).toBe(true);
    }
  });
});

describe('the clock', () => {
  test('runs from leaving the cold to the return, through every custody between', () => {
    const picked = exposureAfter(FRESH, '-80', false, at(0));
    expect(picked).toEqual({ ...FRESH, warmSince: at(0) });
    const handedOff = exposureAfter(picked, '-80', false, at(20));
    expect(handedOff).toEqual(picked);
    expect(exposureAfter(handedOff, '-80', true, at(100))).toEqual({ ...FRESH, exposureMs: 100_000 });
  });

  test.each<[Zone, number, number]>([
    ['-80', 120, 0],
    ['-80', 120.001, 1],
    ['LN2', 121, 1],
    ['-20', 121, 1],
    ['4', 86_400, 0],
    ['37', 86_400, 0],
  ])('a tube of %s outside for %d s has thawed %d times more', (need, seconds, thaws) => {
    const back = exposureAfter({ ...FRESH, warmSince: at(0) }, need, true, at(seconds));
    expect(back).toEqual({ warmSince: null, exposureMs: seconds * 1000, freezeThawCount: thaws });
  });

  test('a transaction that began before the one that moved the tube last costs nothing', () => {
    const back = exposureAfter({ ...FRESH, warmSince: at(1) }, '-80', true, at(0));
    expect(back).toEqual(FRESH);
  });

  test('the exposure of any history is the sum of its intervals outside', () => {
    const steps = fc.array(fc.record({ inCold: fc.boolean(), waitMs: fc.nat(600_000) }), { maxLength: 30 });
    fc.assert(
      fc.property(zones, steps, (need, history) => {
        let now = T0;
        let exposure: Exposure = FRESH;
        let isOut = false;
        let expected = 0;
        for (const { inCold, waitMs } of history) {
          now += waitMs;
          if (isOut) expected += waitMs;
          exposure = exposureAfter(exposure, need, inCold, new Date(now));
          isOut = !inCold;
        }
        const running = exposure.warmSince === null ? 0 : now - exposure.warmSince.getTime();
        expect(exposure.exposureMs + running).toBe(expected);
        expect(exposure.warmSince !== null).toBe(isOut);
        expect(exposure.freezeThawCount * 120_000).toBeLessThanOrEqual(exposure.exposureMs);
      }),
    );
  });
});

describe('how long a robot takes', () => {
  test('is nominal until five motions of a kind are known, then their median, rounded up', () => {
    expect(typicalSeconds({})).toEqual({ pick: 12, scan: 2, place: 12 });
    expect(
      typicalSeconds({ pick: [1, 1, 1, 1], scan: [0.2, 9, 0.3, 0.1, 8], place: [5.1, 5, 4, 7, 90] }),
    ).toEqual({ pick: 12, scan: 1, place: 6 });
  });

  test('lies among what was measured, whatever its order', () => {
    const measured = fc.array(fc.double({ min: 0, max: 300, noNaN: true }), { minLength: 5, maxLength: 50 });
    fc.assert(
      fc.property(measured, (seconds) => {
        const { pick } = typicalSeconds({ pick: seconds });
        expect(pick).toBe(typicalSeconds({ pick: seconds.toReversed() }).pick);
        expect(pick).toBeGreaterThanOrEqual(Math.max(1, Math.min(...seconds)));
        expect(pick).toBeLessThanOrEqual(Math.max(1, Math.ceil(Math.max(...seconds))));
      }),
    );
  });
});

const TAKES = { pick: 6, scan: 1, place: 6 };

describe('what a move is expected to cost', () => {
  test('a retrieval by preset: the tube waits as long as the budget leaves, so that it is back in time', () => {
    const { prediction, pickupSeconds } = predictRetrieval('-80', DEFAULT_BUDGETS['-80'], TAKES, null);
    expect(prediction).toEqual({
      budgetSeconds: 120,
      predictedSeconds: 120,
      parts: { pick: 6, read: 1, place: 6, waiting: 95, wayBack: 12 },
    });
    expect(pickupSeconds).toBe(95);
    expect(refusalOfExposure(ID, '-80', prediction)).toBeNull();
  });

  test('a hand-off in its cold costs only the way there, and the tube may wait ten minutes', () => {
    for (const zone of ['-80', 'LN2'] as const) {
      const { prediction, pickupSeconds } = predictRetrieval('-80', DEFAULT_BUDGETS['-80'], TAKES, zone);
      expect(prediction).toMatchObject({ predictedSeconds: 13, parts: { pick: 6, read: 1, place: 6 } });
      expect(pickupSeconds).toBe(600);
    }
  });

  test('at room temperature nothing, and where there is no budget the tube may wait ten minutes', () => {
    const roomTemperature = predictRetrieval('RT', DEFAULT_BUDGETS.RT, TAKES, null);
    expect(roomTemperature).toMatchObject({
      prediction: { predictedSeconds: 0, parts: {} },
      pickupSeconds: 600,
    });
    expect(predictTransfer('RT', DEFAULT_BUDGETS.RT, TAKES).predictedSeconds).toBe(0);
    expect(predictByHand('RT', DEFAULT_BUDGETS.RT).predictedSeconds).toBe(0);
    expect(predictRetrieval('37', DEFAULT_BUDGETS['37'], TAKES, null).pickupSeconds).toBe(600);
    expect(predictRetrieval('4', DEFAULT_BUDGETS['4'], TAKES, null).pickupSeconds).toBe(600);
  });

  test('a laboratory’s own pick-up time counts, and the refusal tells all numbers and what would be right', () => {
    const budget = { budgetSeconds: 120, handSeconds: 30, pickupSeconds: 118 };
    const { prediction, pickupSeconds } = predictRetrieval('-80', budget, TAKES, null);
    expect(pickupSeconds).toBe(118);
    expect(refusalOfExposure(ID, '-80', prediction)).toEqual({
      code: 'EXPOSURE_BUDGET',
      detail:
        `Sample ${ID} may be outside -80 (−85…−60 °C) for 120 s a move; this move is expected to take 143 s ` +
        '(pick 6, read 1, place 6, waiting at the hand-off 118, way back if nobody comes 12): use a colder hand-off, ' +
        'a shorter pick-up time or a faster robot, or have a larger budget set at /storage/exposure-budgets.',
      facts: {
        zone: '-80',
        budgetSeconds: 120,
        predictedSeconds: 143,
        parts: { pick: 6, read: 1, place: 6, waiting: 118, wayBack: 12 },
      },
    });
  });

  test('a budget that leaves nobody half a minute is a refusal, not a wait of a second', () => {
    const { prediction, pickupSeconds } = predictRetrieval('LN2', DEFAULT_BUDGETS.LN2, TAKES, '-80');
    expect(pickupSeconds).toBe(35);
    expect(refusalOfExposure(ID, 'LN2', prediction)).toBeNull();
    const slow = predictRetrieval('LN2', DEFAULT_BUDGETS.LN2, typicalSeconds({}), '-80');
    expect(slow.pickupSeconds).toBe(30);
    expect(refusalOfExposure(ID, 'LN2', slow.prediction)?.facts).toMatchObject({ predictedSeconds: 80 });
  });

  test('a transfer and a move by hand are held against the budget', () => {
    const budget = { budgetSeconds: 12, handSeconds: 13, pickupSeconds: null };
    expect(refusalOfExposure(ID, '4', predictTransfer('4', budget, TAKES))?.detail).toContain(
      'to take 13 s (pick 6, read 1, place 6): use a faster robot, move it by hand, or have',
    );
    expect(refusalOfExposure(ID, '4', predictByHand('4', budget))?.detail).toContain(
      'to take 13 s (by hand 13): move it by robot, or have',
    );
    const enough = { ...budget, budgetSeconds: 13 };
    expect(refusalOfExposure(ID, '4', predictTransfer('4', enough, TAKES))).toBeNull();
    expect(refusalOfExposure(ID, '4', predictByHand('4', enough))).toBeNull();
  });

  test('the parts add up, and a retrieval that is not refused is back within its budget', () => {
    const seconds = fc.integer({ min: 1, max: 86_400 });
    const nullable = fc.option(seconds);
    const budget = fc.record({ budgetSeconds: nullable, handSeconds: seconds, pickupSeconds: nullable });
    const takes = fc.record({ pick: seconds, scan: seconds, place: seconds });
    fc.assert(
      fc.property(zones, fc.option(zones), budget, takes, (need, handoff, allowed, motion) => {
        const { prediction, pickupSeconds } = predictRetrieval(need, allowed, motion, handoff);
        const sum = Object.values(prediction.parts).reduce((total, part) => total + part, 0);
        expect(prediction.predictedSeconds).toBe(sum);
        const isRefused = refusalOfExposure(ID, need, prediction) !== null;
        expect(isRefused).toBe(allowed.budgetSeconds !== null && sum > allowed.budgetSeconds);
        if (isRefused || isInCold(handoff, need) || allowed.budgetSeconds === null) return;
        const worst = 2 * (motion.pick + motion.place) + motion.scan + pickupSeconds;
        expect(worst).toBeLessThanOrEqual(allowed.budgetSeconds);
      }),
    );
  });
});

test('a budget is exceeded by the first millisecond beyond it', () => {
  expect(exceededSeconds(120, at(0), at(120))).toBeNull();
  expect(exceededSeconds(120, at(0), at(120.001))).toEqual({ exposedSeconds: 121, budgetSeconds: 120 });
  expect(exceededSeconds(null, at(0), at(86_400))).toBeNull();
});
