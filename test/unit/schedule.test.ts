import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jobIdAt, timeOfId } from '../../domain/job-id.ts';
import { dueAfter, judge, type Plan, problemsOf, type Trigger } from '../../domain/schedule.ts';
import { type DailyWindow, isTimeZone, openingFrom, TimeZone } from '../../domain/time-zone.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const at = (text: string) => Date.parse(text);
const text = (instant: number | null) => instant && new Date(instant).toISOString();

/** What the clocks show, asked for in another way than the code does. */
const clock = (instant: number, timeZone: string) =>
  new Date(instant).toLocaleString('sv-SE', { timeZone, hour12: false });
const timeOf = (instant: number, timeZone: string) => clock(instant, timeZone).slice(11, 16);
const dateOf = (instant: number, timeZone: string) => clock(instant, timeZone).slice(0, 10);
const isInside = ({ from, to, timeZone }: DailyWindow, instant: number) => {
  const now = timeOf(instant, timeZone);
  return from < to ? from <= now && now < to : from <= now || now < to;
};

const zones = fc.constantFrom(
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe', // by half an hour
  'Asia/Kathmandu', // 5 h 45 min
  'America/St_Johns',
  'Africa/Casablanca', // back for a month a year
  'Pacific/Apia',
  'UTC',
);
const instants = fc.integer({ min: at('2024-01-01T00:00:00Z'), max: at('2028-01-01T00:00:00Z') });
/** Around the shifts of 2026 too, which instants at random would rarely meet. */
const moments = fc.oneof(
  instants,
  fc
    .tuple(
      fc.constantFrom('2026-03-29T01:00Z', '2026-10-25T01:00Z', '2026-04-04T15:00Z', '2026-11-01T06:00Z'),
      fc.integer({ min: -6 * HOUR, max: 6 * HOUR }),
    )
    .map(([shift, by]) => at(shift) + by),
);
const times = fc
  .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
  .map((parts) => parts.map((part) => String(part).padStart(2, '0')).join(':'));
const windows = fc.record({ from: times, to: times, timeZone: zones }).filter(({ from, to }) => from !== to);
const intervals = fc.record({
  kind: fc.constant('interval' as const),
  unit: fc.constantFrom('minutes' as const, 'hours' as const, 'days' as const, 'weeks' as const),
  count: fc.integer({ min: 1, max: 100 }),
  from: instants.map((instant) => new Date(instant).toISOString()),
});
const calendars = fc.record({
  kind: fc.constant('calendar' as const),
  time: times,
  weekdays: fc.option(fc.subarray(['monday', 'tuesday', 'saturday', 'sunday'] as const, { minLength: 1 })),
  timeZone: zones,
});
const repeated: fc.Arbitrary<Trigger> = fc.oneof(intervals, calendars);

const planOf = (trigger: Trigger, rest: Partial<Plan> = {}): Plan => ({
  trigger,
  window: null,
  until: null,
  maxRuns: null,
  graceMs: HOUR,
  ...rest,
});
const daily = (time: string, timeZone = 'Europe/Berlin'): Trigger => ({
  kind: 'calendar',
  time,
  weekdays: null,
  timeZone,
});
const hourly: Trigger = { kind: 'interval', unit: 'hours', count: 1, from: '2026-03-02T08:00:00.000Z' };

describe('clocks of a place', () => {
  test('show what the platform says they show', () => {
    fc.assert(
      fc.property(moments, zones, (instant, zone) => {
        const wall = new Date(new TimeZone(zone).wallAt(instant)).toISOString();
        expect(wall.slice(0, 19).replace('T', ' ')).toBe(clock(instant, zone));
      }),
    );
  });

  test('a time that is shown is found at its first coming; one that is jumped over, as much later', () => {
    fc.assert(
      fc.property(moments, zones, (instant, name) => {
        const zone = new TimeZone(name);
        const wall = zone.wallAt(instant);
        const found = zone.instantOf(wall);
        expect(zone.wallAt(found)).toBe(wall);
        expect(found).toBeLessThanOrEqual(instant);
      }),
    );
    const berlin = new TimeZone('Europe/Berlin');
    const jumped = berlin.instantOf(Date.UTC(2026, 2, 29, 2, 30));
    expect([text(jumped), timeOf(jumped, 'Europe/Berlin')]).toEqual(['2026-03-29T01:30:00.000Z', '03:30']);
    const twice = berlin.instantOf(Date.UTC(2026, 9, 25, 2, 30));
    expect(text(twice)).toBe('2026-10-25T00:30:00.000Z');
    const gone = new TimeZone('Pacific/Apia').instantOf(Date.UTC(2011, 11, 30, 10));
    expect(dateOf(gone, 'Pacific/Apia')).toBe('2011-12-31');
  });

  test('are of zones with names', () => {
    expect(['Europe/Berlin', 'UTC', 'US/Eastern'].map(isTimeZone)).toEqual([true, true, true]);
    expect(['Europe/Atlantis', '+02:00', '', 'Berlin'].map(isTimeZone)).toEqual([false, false, false, false]);
  });
});

describe('a window', () => {
  test('opens at the first instant at which it is open', () => {
    fc.assert(
      fc.property(windows, moments, (window, instant) => {
        const opening = openingFrom(window, instant);
        expect(opening).toBeGreaterThanOrEqual(instant);
        expect(isInside(window, opening)).toBe(true);
        if (opening > instant) {
          expect(isInside(window, opening - 1)).toBe(false);
          // A day without an opening is one whose clocks jumped over a short window.
          expect(opening - instant).toBeLessThanOrEqual(2 * DAY);
        }
        for (let minute = instant; minute < opening; minute += 7 * MINUTE)
          expect(isInside(window, minute)).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test('that the clocks jump into opens with the jump; one they jump over, on the next day', () => {
    const before = at('2026-03-29T00:00:00Z'); // 01:00 in Berlin
    const berlin = (from: string, to: string) => ({ from, to, timeZone: 'Europe/Berlin' });
    expect(text(openingFrom(berlin('02:30', '05:00'), before))).toBe('2026-03-29T01:00:00.000Z');
    expect(text(openingFrom(berlin('02:15', '02:45'), before))).toBe('2026-03-30T00:15:00.000Z');
  });

  test('that has an hour twice opens twice', () => {
    const window = { from: '02:30', to: '04:00', timeZone: 'Europe/Berlin' };
    const first = at('2026-10-25T00:30:00Z');
    expect(openingFrom(window, first - HOUR)).toBe(first);
    const putBack = at('2026-10-25T01:00:00Z'); // 02:00 for the second time
    expect(text(openingFrom(window, putBack))).toBe('2026-10-25T01:30:00.000Z');
  });
});

describe('what is repeated', () => {
  test('comes later each time, without end', () => {
    fc.assert(
      fc.property(repeated, moments, (trigger, instant) => {
        const plan = planOf(trigger);
        let last = instant;
        for (let n = 0; n < 10; n++) {
          const next = dueAfter(plan, n, last);
          expect(next).toBeGreaterThan(last);
          last = next ?? last;
        }
      }),
    );
  });

  test('at a time of day comes once on each of its days, at that time where the clocks show it', () => {
    fc.assert(
      fc.property(calendars, moments, (trigger, instant) => {
        const { time, timeZone, weekdays } = trigger;
        const days: string[] = [];
        let last = instant;
        for (let n = 0; n < 14; n++) {
          last = dueAfter(planOf(trigger), n, last) ?? 0;
          days.push(dateOf(last, timeZone));
          const day = new Date(`${days.at(-1)}T12:00Z`).toLocaleDateString('en', {
            weekday: 'long',
            timeZone: 'UTC',
          });
          if (weekdays) expect(weekdays).toContain(day.toLowerCase());
          // On the day of a jump it may be later by the jump.
          const jumps = timeOf(last, timeZone) !== time;
          if (jumps) expect(new TimeZone(timeZone).firstShift(last - 3 * HOUR, last + HOUR)).not.toBe(null);
        }
        expect(new Set(days).size).toBe(days.length);
        if (weekdays === null) {
          const span = (Date.parse(days.at(-1) ?? '') - Date.parse(days[0] ?? '')) / DAY;
          expect(span).toBe(days.length - 1);
        }
      }),
    );
  });

  test('in units of time counts from its beginning, whatever is missed', () => {
    fc.assert(
      fc.property(intervals, moments, (trigger, instant) => {
        const { unit, count, from } = trigger;
        const period = { minutes: MINUTE, hours: HOUR, days: DAY, weeks: 7 * DAY }[unit] * count;
        const due = dueAfter(planOf(trigger), 0, instant) ?? 0;
        expect((due - at(from)) % period).toBe(0);
        expect(due).toBeGreaterThanOrEqual(at(from));
        if (due > at(from)) expect(due - period).toBeLessThanOrEqual(instant);
      }),
    );
  });

  test('ends with its time or its number of runs', () => {
    const until = at('2026-03-02T10:00:00Z');
    const plan = planOf(hourly, { until, maxRuns: 3 });
    expect(dueAfter(plan, 2, at('2026-03-02T09:59:00Z'))).toBe(until);
    expect(dueAfter(plan, 0, until)).toBe(null);
    expect(dueAfter(plan, 3, at('2026-03-02T08:30:00Z'))).toBe(null);
  });
});

describe('a plan is judged', () => {
  const windowed = fc.option(windows);

  test('so that a run begins when due, in its window, never later than the grace period', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(
        repeated,
        windowed,
        moments,
        fc.integer({ min: 0, max: 3 * DAY }),
        (trigger, window, begun, late) => {
          const plan = planOf(trigger, { window });
          const nextDue = dueAfter(plan, 0, begun) ?? 0;
          const now = nextDue - HOUR + late;
          const verdict = judge(plan, { nextDue, runs: 0 }, now, null);
          seen.add(verdict.kind);
          if (now < nextDue) expect(verdict).toEqual({ kind: 'wait', nextDue });
          if (verdict.kind === 'unmet') throw new Error('it waits for no job');
          expect(verdict.nextDue).toBeGreaterThan(now);
          if (verdict.kind === 'run') {
            expect(window === null || isInside(window, now)).toBe(true);
            expect(now - verdict.dueAt).toBeLessThanOrEqual(plan.graceMs);
          }
          if (verdict.kind === 'miss') expect(now - verdict.dueAt).toBeGreaterThan(plan.graceMs);
          if (verdict.kind !== 'wait') expect(verdict.dueAt).toBeGreaterThanOrEqual(nextDue);
          if (verdict.kind === 'wait' && now >= nextDue)
            expect(window && isInside(window, now), 'it waits only for its window').not.toBe(true);
        },
      ),
      { numRuns: 400 },
    );
    expect([...seen].sort()).toEqual(['miss', 'run', 'wait']);
  });

  test('and makes up for what was missed by one run at most', () => {
    const nextDue = at('2026-03-02T09:00:00Z');
    const afterTheNight = judge(planOf(hourly), { nextDue, runs: 4 }, at('2026-03-03T06:20:00Z'), null);
    expect(afterTheNight).toEqual({
      kind: 'run',
      dueAt: at('2026-03-03T06:00:00Z'),
      nextDue: at('2026-03-03T07:00:00Z'),
    });
    const three = at('2026-03-03T02:00:00Z'); // 03:00 in Berlin
    expect(judge(planOf(daily('03:00')), { nextDue: three, runs: 0 }, three + HOUR, null).kind).toBe('run');
    expect(judge(planOf(daily('03:00')), { nextDue: three, runs: 0 }, three + HOUR + 1, null)).toEqual({
      kind: 'miss',
      dueAt: three,
      nextDue: three + DAY,
    });
    const once: Trigger = { kind: 'at', at: '2026-03-03T02:00:00.000Z' };
    expect(judge(planOf(once), { nextDue: three, runs: 0 }, three + 2 * HOUR, null)).toEqual({
      kind: 'miss',
      dueAt: three,
      nextDue: null,
    });
    expect(judge(planOf(once), { nextDue: three, runs: 0 }, three, null)).toEqual({
      kind: 'run',
      dueAt: three,
      nextDue: null,
    });
  });

  test('outside of its window it waits for the next opening, unless that is after its end', () => {
    const window = { from: '02:00', to: '04:00', timeZone: 'UTC' };
    const due = at('2026-03-03T03:50:00Z');
    const now = at('2026-03-03T04:00:00Z');
    const plan = planOf(daily('03:50', 'UTC'), { window });
    expect(judge(plan, { nextDue: due, runs: 0 }, now, null)).toEqual({
      kind: 'wait',
      nextDue: at('2026-03-04T02:00:00Z'),
    });
    const ending = { ...plan, until: at('2026-03-03T12:00:00Z') };
    expect(judge(ending, { nextDue: due, runs: 0 }, now, null)).toEqual({
      kind: 'miss',
      dueAt: due,
      nextDue: null,
    });
    const often = planOf(hourly, { window });
    expect(text(dueAfter(often, 0, at('2026-03-03T09:30:00Z')))).toBe('2026-03-04T02:00:00.000Z');
  });

  test('after another job it runs when that ended as asked, and only then', () => {
    const after = (condition: 'completed' | 'ended') => planOf({ kind: 'after', jobId: 'j', condition });
    const waiting = { nextDue: null, runs: 0 };
    const finishedAt = at('2026-03-03T09:00:00Z');
    const now = finishedAt + 5_000;
    expect(judge(after('ended'), waiting, now, { state: 'RUNNING', finishedAt: null })).toEqual({
      kind: 'wait',
      nextDue: null,
    });
    for (const state of ['COMPLETED', 'COMPLETED_WITH_DEVIATION'] as const) {
      expect(judge(after('completed'), waiting, now, { state, finishedAt })).toEqual({
        kind: 'run',
        dueAt: finishedAt,
        nextDue: null,
      });
    }
    for (const state of ['FAILED', 'REFUSED', 'CANCELLED'] as const) {
      expect(judge(after('ended'), waiting, now, { state, finishedAt }).kind).toBe('run');
      expect(judge(after('completed'), waiting, now, { state, finishedAt })).toEqual({
        kind: 'unmet',
        ended: state,
      });
    }
    const window = { from: '22:00', to: '06:00', timeZone: 'UTC' };
    const atNight = { ...after('ended'), window };
    const done = { state: 'COMPLETED', finishedAt } as const;
    const tonight = at('2026-03-03T22:00:00Z');
    expect(judge(atNight, waiting, now, done)).toEqual({ kind: 'wait', nextDue: tonight });
    expect(judge({ ...atNight, until: now }, waiting, now, done)).toEqual({
      kind: 'miss',
      dueAt: tonight,
      nextDue: null,
    });
    expect(judge(after('ended'), waiting, finishedAt + HOUR + 1, done).kind).toBe('miss');
  });
});

describe('a plan that cannot be is told what is wrong with it', () => {
  const now = at('2026-03-03T09:00:00Z');
  const wrong = (plan: Plan, runs = 0) => problemsOf(plan, runs, now).map(({ pointer }) => pointer);

  test('by where it stands in the request', () => {
    const once = (when: string): Trigger => ({ kind: 'at', at: when });
    const past = once('2026-03-03T09:00:00.000Z');
    const window = { from: '22:00', to: '22:00', timeZone: 'Europe/Atlantis' };
    expect(wrong(planOf(past))).toEqual(['/when/at']);
    expect(wrong(planOf(past, { window, maxRuns: 2 }))).toEqual([
      '/window/timeZone',
      '/window',
      '/when/at',
      '/maxRuns',
    ]);
    expect(wrong(planOf(daily('03:00', '+02:00')))).toEqual(['/when/every/timeZone']);
    expect(wrong(planOf(daily('03:00'), { until: now }))).toEqual(['/until']);
    expect(wrong(planOf(daily('03:00'), { until: now + HOUR }))).toEqual(['/until']);
    expect(wrong(planOf(hourly, { maxRuns: 3 }), 3)).toEqual(['/maxRuns']);
    expect(wrong(planOf(daily('03:00'), { until: now + DAY, maxRuns: 3 }))).toEqual([]);
    expect(wrong(planOf({ kind: 'after', jobId: 'j', condition: 'ended' }))).toEqual([]);
    const [early] = problemsOf(planOf(daily('03:00'), { until: now + HOUR }), 0, now);
    expect(early?.detail).toBe('is before the first run, which would be 2026-03-04T02:00:00.000Z');
  });
});

test('ids of planned jobs are UUIDv7 with their time, the same for the same run and no other', () => {
  const seed = Buffer.from('a schedule');
  const moment = at('2026-03-03T09:00:00.123Z');
  const ids = [1, 2, 3].map((run) => jobIdAt(moment, seed, run));
  expect(new Set(ids).size).toBe(3);
  expect(jobIdAt(moment, seed, 2)).toBe(ids[1]);
  for (const id of ids) {
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(timeOfId(id)).toBe(moment);
  }
});
