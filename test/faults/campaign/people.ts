import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import { isFinal } from '../../../domain/job.ts';
import { type Job, JobPage, JobWithSteps, RobotList } from '../../../schemas/automation.ts';
import { type Client, Refusal } from '../../../stack/demo/client.ts';

/** For an answer while everything is being killed, and for a job: generous, since the machine may be busy with others. */
const PATIENCE_MS = 15 * 60_000;
const AGAIN_MS = 100;
const LOOK_EVERY_MS = 150;

/** A key whose first answer is not stored yet, and a server that is just starting: neither is an answer. */
const NOT_NOW: ReadonlySet<string> = new Set(['IDEMPOTENCY_KEY_BUSY', 'WORKFLOWS_UNAVAILABLE']);

/**
 * Repeats a call until the laboratory answers, as a person at a screen would.
 * @returns the reply, or the refusal
 */
export async function insist<T>(what: string, call: () => Promise<T>): Promise<T | Refusal> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (error instanceof Refusal && error.status < 500 && !NOT_NOW.has(error.code)) return error;
      if (Date.now() > end)
        throw new Error(`${what}: no answer in ${PATIENCE_MS / 60_000} min`, { cause: error });
      await sleep(AGAIN_MS);
    }
  }
}

/** As `insist`, for what nobody may refuse. */
export async function must<T>(what: string, call: () => Promise<T>): Promise<T> {
  const answer = await insist(what, call);
  if (answer instanceof Refusal) throw new Error(`${what} was refused`, { cause: answer });
  return answer;
}

export const readJob = (client: Client, id: string): Promise<z.infer<typeof JobWithSteps>> =>
  must('a look at a job', () => client.get(`/automation/jobs/${id}`, JobWithSteps));

/** Follows all live jobs with one request at a time. */
export class JobBoard {
  readonly #client: Client;
  #live: readonly Job[] = [];
  /** counts the looks: who waits for a job wants one that began after it */
  #looks = 0;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Looks until told to end. */
  async run(ending: AbortSignal): Promise<void> {
    while (!ending.aborted) {
      const { jobs } = await must('the live jobs', () =>
        this.#client.get('/automation/jobs?live=true&limit=500', JobPage),
      );
      this.#live = jobs;
      this.#looks += 1;
      await sleep(LOOK_EVERY_MS);
    }
  }

  get live(): readonly Job[] {
    return this.#live;
  }

  /** The job when it is over or as wished. @throws Error when that does not come */
  async until(id: string, isReached: (job: Job) => boolean): Promise<Job> {
    const end = Date.now() + PATIENCE_MS;
    for (let seen = this.#looks + 1; ; ) {
      if (this.#looks > seen) {
        seen = this.#looks;
        const job = this.#live.find((each) => each.id === id) ?? (await readJob(this.#client, id));
        if (isFinal(job.state) || isReached(job)) return job;
        if (Date.now() > end) {
          const { robots } = await this.#client.get('/automation/robots', RobotList);
          const story = JSON.stringify({ job: await readJob(this.#client, id), robots }, null, 1);
          throw new Error(`job ${id} is ${job.state} ${job.phase}, and stays so: ${story}`);
        }
      }
      await sleep(LOOK_EVERY_MS);
    }
  }
}
