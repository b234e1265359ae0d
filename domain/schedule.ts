import type { InputProblem } from './errors.ts';
import { type FinalJobState, isFinal, type JobState } from './job.ts';
import { type DailyWindow, isTimeZone, minutesOf, openingFrom, TimeZone } from './time-zone.ts';

/** `active`: it will run; `paused`: a person said not now; `done`: nothing more to run; `cancelled`: a person called it off. */
export type ScheduleState = 'active' | 'paused' | 'done' | 'cancelled';

/** Monday first, as ISO 8601 counts. */
const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

/** Lengths in ms. A day is 24 hours here: one by the clocks of a place is a `calendar`. */
const UNITS = { minutes: 60_000, hours: 3_600_000, days: 86_400_000, weeks: 604_800_000 } as const;
export type IntervalUnit = keyof typeof UNITS;
const DAY = UNITS.days;

/** When a planned job runs. */
export type Trigger =
  | { readonly kind: 'at'; readonly at: string }
  /** after another job: one that did what it was asked for, or one that came to any end */
  | { readonly kind: 'after'; readonly jobId: string; readonly condition: 'completed' | 'ended' }
  /** at `from` and every so many units from there on */
  | {
      readonly kind: 'interval';
      readonly unit: IntervalUnit;
      readonly count: number;
      readonly from: string;
    }
  /** once each day, or on these days of the week, at a time by the clocks of a place */
  | {
      readonly kind: 'calendar';
      readonly time: string;
      readonly weekdays: readonly Weekday[] | null;
      readonly timeZone: string;
    };

/** Every so many units, from a time on (RFC 3339), or from one period after `now` (ms since the epoch) on. */
export function every(count: number, unit: IntervalUnit, from: string | null, now: number): Trigger {
  const first = from ?? new Date(now + count * UNITS[unit]).toISOString();
  return { kind: 'interval', unit, count, from: first };
}

/** What a person planned. */
export interface Plan {
  readonly trigger: Trigger;
  /** a run begins inside only; one that is due outside waits for the next opening */
  readonly window: DailyWindow | null;
  /** last instant at which a run may be due, ms since the epoch */
  readonly until: number | null;
  /** at most so many runs, from 1 on */
  readonly maxRuns: number | null;
  /** how late a run may begin, in ms */
  readonly graceMs: number;
}

/** How far a plan has come. Instants are ms since the epoch. */
export interface Progress {
  /** null: not known before the job it waits for is over */
  readonly nextDue: number | null;
  readonly runs: number;
}

/** The job that a plan waits for, as it stands. */
export interface Predecessor {
  readonly state: JobState;
  /** ms since the epoch */
  readonly finishedAt: number | null;
}

/** What is to be done about a plan now. A `nextDue` of null: nothing more will run. */
export type Verdict =
  | { readonly kind: 'wait'; readonly nextDue: number | null }
  | { readonly kind: 'run'; readonly dueAt: number; readonly nextDue: number | null }
  /** too late, or never in its window before its end */
  | { readonly kind: 'miss'; readonly dueAt: number; readonly nextDue: number | null }
  /** the job it waits for ended otherwise than asked */
  | { readonly kind: 'unmet'; readonly ended: FinalJobState };

/**
 * When a plan is due next after an instant, in its window; null when it will not be any more, or that is not known
 * because it waits for a job. One run answers for all occurrences that wait for the same opening.
 */
export function dueAfter(plan: Plan, runs: number, instant: number): number | null {
  if (plan.maxRuns !== null && runs >= plan.maxRuns) return null;
  const occurrence = occurrenceAfter(plan.trigger, instant);
  return occurrence === null ? null : withinEnd(plan, opening(plan, occurrence));
}

/**
 * What is to be done about a plan now: it runs when it is due and its window is open. Whatever was missed, because the
 * laboratory was off, is made up for by one run at most: when the last of the missed occurrences is not longer ago than the
 * grace period. Otherwise it is a miss.
 */
export function judge(plan: Plan, progress: Progress, now: number, predecessor: Predecessor | null): Verdict {
  let { nextDue } = progress;
  if (nextDue === null) {
    if (predecessor === null || predecessor.finishedAt === null || !isFinal(predecessor.state))
      return { kind: 'wait', nextDue };
    if (!isMet(plan.trigger, predecessor.state)) return { kind: 'unmet', ended: predecessor.state };
    nextDue = opening(plan, predecessor.finishedAt);
    if (withinEnd(plan, nextDue) === null) return { kind: 'miss', dueAt: nextDue, nextDue: null };
  }
  if (nextDue > now) return { kind: 'wait', nextDue };
  const dueAt = latestDue(plan, nextDue, now);
  const hasLapsed = dueAt <= now && now - dueAt > plan.graceMs;
  if (hasLapsed) return { kind: 'miss', dueAt, nextDue: dueAfter(plan, progress.runs, now) };
  const start = opening(plan, Math.max(dueAt, now));
  if (start === now) return { kind: 'run', dueAt, nextDue: dueAfter(plan, progress.runs + 1, now) };
  return withinEnd(plan, start) === null
    ? { kind: 'miss', dueAt, nextDue: null }
    : { kind: 'wait', nextDue: start };
}

/** What is wrong with a plan that begins now, by where it stands in the request. */
export function problemsOf(plan: Plan, runs: number, now: number): InputProblem[] {
  const { trigger, window, until, maxRuns } = plan;
  const problems: InputProblem[] = [];
  const unknown = (name: string) =>
    `${JSON.stringify(name.slice(0, 60))} is no time zone known here; give an IANA name such as Europe/Berlin`;
  if (trigger.kind === 'calendar' && !isTimeZone(trigger.timeZone))
    problems.push({ pointer: '/when/every/timeZone', detail: unknown(trigger.timeZone) });
  if (window !== null && !isTimeZone(window.timeZone))
    problems.push({ pointer: '/window/timeZone', detail: unknown(window.timeZone) });
  if (window !== null && minutesOf(window.from) === minutesOf(window.to)) {
    const detail = `never opens, from ${window.from} to ${window.to}; for the whole day leave the window out`;
    problems.push({ pointer: '/window', detail });
  }
  if (trigger.kind === 'at' && Date.parse(trigger.at) <= now) {
    const detail = `has passed, it is ${textOf(now)} now; give a time to come, or start the job itself`;
    problems.push({ pointer: '/when/at', detail });
  }
  if (maxRuns !== null && (trigger.kind === 'at' || trigger.kind === 'after'))
    problems.push({ pointer: '/maxRuns', detail: 'belongs to what is repeated; what runs once needs none' });
  if (maxRuns !== null && runs >= maxRuns) {
    const detail = `should be more than the ${runs} runs there were; to end the schedule, cancel it`;
    problems.push({ pointer: '/maxRuns', detail });
  }
  if (until !== null && until <= now) {
    problems.push({ pointer: '/until', detail: `has passed, it is ${textOf(now)} now` });
  }
  if (problems.length > 0 || trigger.kind === 'after') return problems;
  if (dueAfter(plan, runs, now) !== null) return [];
  const first = dueAfter({ ...plan, until: null }, runs, now);
  const when = first === null ? '' : `, which would be ${textOf(first)}`;
  return [{ pointer: '/until', detail: `is before the first run${when}` }];
}

function textOf(instant: number): string {
  return new Date(instant).toISOString();
}

function isMet(trigger: Trigger, state: FinalJobState): boolean {
  if (trigger.kind !== 'after' || trigger.condition === 'ended') return true;
  return state === 'COMPLETED' || state === 'COMPLETED_WITH_DEVIATION';
}

function opening({ window }: Plan, instant: number): number {
  return window === null ? instant : openingFrom(window, instant);
}

function withinEnd({ until }: Plan, due: number): number | null {
  return until !== null && due > until ? null : due;
}

/** The latest time at which the plan was due; to come when that one waits for its window. */
function latestDue(plan: Plan, nextDue: number, now: number): number {
  const { until } = plan;
  const end = until === null ? now : Math.min(now, until);
  const occurrence = lastOccurrence(plan.trigger, end);
  return occurrence === null ? nextDue : Math.max(nextDue, opening(plan, occurrence));
}

/** The first occurrence after an instant. */
function occurrenceAfter(trigger: Trigger, instant: number): number | null {
  switch (trigger.kind) {
    case 'at': {
      const at = Date.parse(trigger.at);
      return at > instant ? at : null;
    }
    case 'after':
      return null;
    case 'interval': {
      const { from, period } = intervalOf(trigger);
      return instant < from ? from : from + (Math.floor((instant - from) / period) + 1) * period;
    }
    case 'calendar':
      // A day that the place leaves out altogether falls on the next: so yesterday's may still be to come.
      return daysAround(trigger, instant, -1, 8).find((each) => each > instant) ?? null;
  }
}

/** The last occurrence up to an instant of what is repeated; null for what is not, or had none. */
function lastOccurrence(trigger: Trigger, instant: number): number | null {
  switch (trigger.kind) {
    case 'at':
    case 'after':
      return null;
    case 'interval': {
      const { from, period } = intervalOf(trigger);
      return instant < from ? null : from + Math.floor((instant - from) / period) * period;
    }
    case 'calendar':
      return daysAround(trigger, instant, -8, 0).findLast((each) => each <= instant) ?? null;
  }
}

function intervalOf({ unit, count, from }: Extract<Trigger, { kind: 'interval' }>) {
  return { from: Date.parse(from), period: UNITS[unit] * count };
}

/** The occurrences on the days from `first` to `last`, counted from the day of an instant. */
function daysAround(
  { time, weekdays, timeZone }: Extract<Trigger, { kind: 'calendar' }>,
  instant: number,
  first: number,
  last: number,
): number[] {
  const zone = new TimeZone(timeZone);
  const today = Math.floor(zone.wallAt(instant) / DAY) * DAY;
  const days = Array.from({ length: last - first + 1 }, (_, i) => today + (first + i) * DAY);
  return days
    .filter((day) => weekdays === null || weekdays.some((each) => each === weekdayOf(day)))
    .map((day) => zone.instantOf(day + minutesOf(time) * UNITS.minutes));
}

function weekdayOf(day: number): Weekday | undefined {
  return WEEKDAYS.at(new Date(day).getUTCDay() - 1);
}
