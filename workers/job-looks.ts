import type { JobRecord } from '../db/jobs.ts';

type LookedAt = Pick<JobRecord, 'id' | 'updatedAt'>;

interface LastLook {
  /** the row's last write as it was then, in ms since the epoch */
  readonly writtenAt: number;
  /** until when it is not looked at again, in ms of the clock */
  readonly until: number;
}

/** A job that could not be looked at is tried again after this, in ms, where that is sooner than its next look. */
const UNSEEN_MS = 10_000;

/**
 * When each job's workflow was last looked for. Thousands of jobs wait for people for hours: asking Temporal about every
 * one of them in every round would be its main load. It is memory of this process alone; after a restart all are looked at.
 */
export class JobLooks {
  readonly #everyMs: number;
  readonly #now: () => number;
  readonly #last = new Map<string, LastLook>();

  /** @param everyMs a job on which nothing is written is looked at once in so many ms */
  constructor(everyMs: number, now: () => number = () => performance.now()) {
    this.#everyMs = everyMs;
    this.#now = now;
  }

  /** How many jobs are remembered. */
  get size(): number {
    return this.#last.size;
  }

  /** True for a job that is new, was written since, or was last looked at long enough ago. */
  isDue({ id, updatedAt }: LookedAt): boolean {
    const last = this.#last.get(id);
    return last === undefined || last.writtenAt !== updatedAt.getTime() || last.until <= this.#now();
  }

  note({ id, updatedAt }: LookedAt, outcome: 'seen' | 'unseen'): void {
    const wait = outcome === 'seen' ? this.#everyMs : Math.min(this.#everyMs, UNSEEN_MS);
    this.#last.set(id, { writtenAt: updatedAt.getTime(), until: this.#now() + wait });
  }

  /** Forgets the looks whose time is over: such a job is due whether it is remembered or not. */
  forgetPast(): void {
    const now = this.#now();
    for (const [id, { until }] of this.#last) if (until <= now) this.#last.delete(id);
  }
}
