import { setTimeout as sleep } from 'node:timers/promises';
import { isFinal } from '../../domain/job.ts';
import { type Job, JobPage, JobWithSteps } from '../../schemas/automation.ts';
import type { Client } from './client.ts';

const LOOK_EVERY_MS = 200;
/** Jobs under way at a time are far fewer than this; the newest ones are looked at. */
const LOOKED_AT = 100;
/** A job that stands still for so long is in trouble. */
const STANDSTILL_MS = 180_000;

interface Waiter {
  readonly isReached: (job: Job) => boolean;
  readonly resolve: (job: Job) => void;
  readonly reject: (error: Error) => void;
  until: number;
  lastSeen: string;
}

/** Follows jobs over the API, all of them with one request at a time. */
export class JobWatch {
  readonly #client: Client;
  readonly #waiting = new Map<string, Waiter>();
  #isLooking = false;

  constructor(client: Client) {
    this.#client = client;
  }

  /**
   * The job, once it is over or as wished.
   * @throws Error when it waits for an operator's answer, or nothing has happened to it for minutes
   */
  until(jobId: string, isReached: (job: Job) => boolean = () => false): Promise<Job> {
    return new Promise((resolve, reject) => {
      const until = Date.now() + STANDSTILL_MS;
      this.#waiting.set(jobId, { isReached, resolve, reject, until, lastSeen: '' });
      if (!this.#isLooking) this.#look();
    });
  }

  withSteps(jobId: string): Promise<JobWithSteps> {
    return this.#client.get(`/automation/jobs/${jobId}`, JobWithSteps);
  }

  #look(): void {
    this.#isLooking = true;
    this.#lookOn()
      .catch((error: unknown) => {
        for (const { reject } of this.#waiting.values()) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
        this.#waiting.clear();
      })
      .finally(() => {
        this.#isLooking = false;
        if (this.#waiting.size > 0) this.#look();
      });
  }

  async #lookOn(): Promise<void> {
    while (this.#waiting.size > 0) {
      const { jobs } = await this.#client.get(`/automation/jobs?limit=${LOOKED_AT}`, JobPage);
      for (const job of jobs) {
        const waiter = this.#waiting.get(job.id);
        if (!waiter) continue;
        if (isFinal(job.state) || waiter.isReached(job)) {
          this.#waiting.delete(job.id);
          waiter.resolve(job);
        } else if (job.state === 'AWAITING_OPERATOR') {
          throw new Error(needsOperator(job)); // the robot is held: nothing else will happen
        } else if (job.updatedAt !== waiter.lastSeen) {
          waiter.lastSeen = job.updatedAt;
          waiter.until = Date.now() + STANDSTILL_MS;
        }
      }
      for (const [jobId, waiter] of this.#waiting) {
        if (Date.now() < waiter.until) continue;
        this.#waiting.delete(jobId);
        waiter.reject(new Error(`job ${jobId} has not moved for ${STANDSTILL_MS / 1000} s`));
      }
      await sleep(LOOK_EVERY_MS);
    }
  }
}

function needsOperator({ id, question }: Job): string {
  const detail = question ? ` ${question.detail}` : '';
  return `job ${id} waits for an operator.${detail} Answer at POST /automation/jobs/${id}/decision, or begin anew with npm start -- --reset.`;
}
