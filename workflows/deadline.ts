import { CancellationScope, condition, isCancellation, sleep } from '@temporalio/workflow';

/** A durable timer that somebody may stop; it only raises a flag. */
export class Deadline {
  readonly #scope = new CancellationScope();
  #hasPassed = false;

  /**
   * @param ms from now on; what lies in the past passes at once
   * @param summary what a person reads in the Temporal Web UI
   */
  constructor(ms: number, summary: string) {
    this.#scope
      .run(() => sleep(Math.max(1, Math.ceil(ms)), { summary }))
      .then(
        () => {
          this.#hasPassed = true;
        },
        (error: unknown) => {
          if (!isCancellation(error)) throw error;
        },
      );
  }

  get hasPassed(): boolean {
    return this.#hasPassed;
  }

  stop(): void {
    this.#scope.cancel();
  }
}

/**
 * Waits until something is true, at most so long.
 * @param ms from now on
 * @param summary what a person reads in the Temporal Web UI
 * @returns whether it is true
 */
export async function within(ms: number, summary: string, isTrue: () => boolean): Promise<boolean> {
  const deadline = new Deadline(ms, summary);
  await condition(() => isTrue() || deadline.hasPassed);
  deadline.stop();
  return isTrue();
}
