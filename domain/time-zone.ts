const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** A day of the calendar and the time on its clocks, as milliseconds of a UTC day that reads the same. */
type Wall = number;

/** Clocks of one place: what they show at an instant, and when they show something. Instants are ms since the epoch. */
export class TimeZone {
  readonly #format: Intl.DateTimeFormat;

  /** @throws RangeError when nobody knows the zone */
  constructor(name: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  /** What the clocks show, to the millisecond. */
  wallAt(instant: number): Wall {
    const shown: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(instant)) shown[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = shown;
    return Date.UTC(year, month - 1, day, hour, minute, second) + modulo(instant, 1000);
  }

  /** Milliseconds by which the clocks are ahead of UTC. */
  #offsetAt(instant: number): number {
    return this.wallAt(instant) - instant;
  }

  /**
   * When the clocks show this. A time that comes twice, when they are put back, counts at its first coming; one that they
   * jump over counts as much later as they jump (02:30 as 03:30), as iCalendar (RFC 5545, 3.3.5) and ECMAScript's
   * Temporal ("compatible") have it.
   */
  instantOf(wall: Wall): number {
    const before = wall - this.#offsetAt(wall - DAY);
    const after = wall - this.#offsetAt(wall + DAY);
    const shown = [before, after].filter((instant) => this.wallAt(instant) === wall);
    return shown.length > 0 ? Math.min(...shown) : before;
  }

  /** When the clocks are first put forward or back between two instants; null when both have the same offset. */
  firstShift(from: number, to: number): number | null {
    const offset = this.#offsetAt(from);
    if (this.#offsetAt(to) === offset) return null;
    let [same, other] = [from, to];
    while (other - same > 1) {
      const middle = Math.floor((same + other) / 2);
      if (this.#offsetAt(middle) === offset) same = middle;
      else other = middle;
    }
    return other;
  }
}

/** True for an IANA name such as `Europe/Berlin` or `UTC`; a bare offset such as `+02:00` is none. */
export function isTimeZone(name: string): boolean {
  try {
    return /^[A-Za-z]/.test(name) && new TimeZone(name) !== null;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** Minutes of the day of a time such as `03:30`. */
export function minutesOf(time: string): number {
  const [hours, minutes] = time.split(':').map(Number);
  return (hours ?? 0) * 60 + (minutes ?? 0);
}

/** Hours that come back each day, by the clocks of a place; from 22:00 to 06:00 they go over midnight. */
export interface DailyWindow {
  /** `HH:MM`, the first minute inside */
  readonly from: string;
  /** `HH:MM`, the first minute outside again */
  readonly to: string;
  /** IANA name */
  readonly timeZone: string;
}

/** True while the window is open. */
function isOpen(window: DailyWindow, zone: TimeZone, instant: number): boolean {
  const [from, to] = [minutesOf(window.from), minutesOf(window.to)];
  const now = modulo(zone.wallAt(instant), DAY) / MINUTE;
  return from < to ? from <= now && now < to : from <= now || now < to;
}

/** The first instant from the given one on at which the window is open. It never opens when `from` is `to`. */
export function openingFrom(window: DailyWindow, instant: number): number {
  const zone = new TimeZone(window.timeZone);
  let at = instant;
  while (!isOpen(window, zone, at)) {
    const opening = at + modulo(minutesOf(window.from) * MINUTE - zone.wallAt(at), DAY);
    // Until the clocks are shifted, they run on evenly.
    at = zone.firstShift(at, opening) ?? opening;
  }
  return at;
}

/** The remainder that has the divisor's sign. */
function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
