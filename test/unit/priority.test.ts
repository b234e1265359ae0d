import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  AGEING_MS_PER_POINT,
  byUrgency,
  effectivePriority,
  PRIORITIES,
  priorityName,
  priorityOf,
  type Urgency,
} from '../../domain/priority.ts';

const MINUTE = 60_000;
const asked = (priority: number, requestedAt: number): Urgency => ({ priority, requestedAt });
/** Requests as a queue meets them: any priority, at any time of two hours. */
const urgency = fc.record({ priority: fc.integer({ min: 0, max: 100 }), requestedAt: fc.nat(120 * MINUTE) });

test('names and numbers say the same', () => {
  for (const [name, number] of Object.entries(PRIORITIES)) expect(priorityName(number)).toBe(name);
  expect([0, 19, 20, 49, 50, 79, 80, 99, 100].map(priorityName)).toEqual([
    'LOW',
    'LOW',
    'NORMAL',
    'NORMAL',
    'HIGH',
    'HIGH',
    'URGENT',
    'URGENT',
    'SYSTEM',
  ]);
  expect([priorityOf('NORMAL'), priorityOf(37)]).toEqual([20, 37]);
});

describe('the order of requests', () => {
  test('LOW goes before NORMAL that comes more than five minutes later, and behind one that comes sooner', () => {
    const low = asked(PRIORITIES.LOW, 0);
    expect(byUrgency(low, asked(PRIORITIES.NORMAL, 5 * MINUTE - 1))).toBeGreaterThan(0);
    expect(byUrgency(low, asked(PRIORITIES.NORMAL, 5 * MINUTE + 1))).toBeLessThan(0);
  });

  test('SYSTEM goes before whatever waits however long, the older first', () => {
    fc.assert(
      fc.property(urgency, fc.nat(120 * MINUTE), (other, requestedAt) => {
        fc.pre(other.priority < PRIORITIES.SYSTEM);
        expect(byUrgency(asked(PRIORITIES.SYSTEM, requestedAt + 1_000 * MINUTE), other)).toBeLessThan(0);
      }),
    );
    expect(byUrgency(asked(100, 1), asked(100, 2))).toBeLessThan(0);
  });

  test('is that of the effective priorities, at whatever moment one looks', () => {
    fc.assert(
      fc.property(urgency, urgency, fc.nat(1_000 * MINUTE), (a, b, later) => {
        const now = Math.max(a.requestedAt, b.requestedAt) + later;
        const [ofA, ofB] = [effectivePriority(a, now), effectivePriority(b, now)];
        fc.pre(Number.isFinite(ofA) && Number.isFinite(ofB) && Math.abs(ofA - ofB) > 1e-6);
        expect(byUrgency(a, b) < 0).toBe(ofA > ofB);
      }),
    );
  });

  test('is one order: whichever way it is made', () => {
    fc.assert(
      fc.property(fc.array(urgency, { maxLength: 12 }), (requests) => {
        const sorted = requests.toSorted(byUrgency);
        expect([...requests].reverse().sort(byUrgency)).toEqual(sorted);
      }),
    );
  });
});

test('nobody is starved: under any load, whoever waits is reached after those who came within 25 minutes', () => {
  const bound = PRIORITIES.SYSTEM * AGEING_MS_PER_POINT;
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 99 }),
      fc.array(
        fc.record({ priority: fc.integer({ min: 0, max: 99 }), every: fc.integer({ min: 1, max: 5 }) }),
        {
          minLength: 1,
          maxLength: 3,
        },
      ),
      (priority, streams) => {
        // A robot that takes a turn a minute, and streams of work that keep it more than busy.
        const mine = asked(priority, 0);
        let queue: Urgency[] = [mine];
        let waitedMs = 0;
        for (let minute = 0; queue.includes(mine); minute += 1) {
          waitedMs = minute * MINUTE;
          for (const { priority: theirs, every } of streams)
            for (let n = 0; n < every; n += 1) queue.push(asked(theirs, waitedMs + n));
          const [first, ...rest] = queue.toSorted(byUrgency);
          if (first !== undefined && first !== mine) expect(first.requestedAt).toBeLessThan(bound);
          queue = rest;
          if (minute > 1_000) throw new Error('still waiting after a thousand turns');
        }
      },
    ),
    { numRuns: 50 },
  );
});
