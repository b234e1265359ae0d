import { type Announcements, listen } from '../db/announcements.ts';
import { MOTION_SETTLED_CHANNEL } from '../db/motion.ts';

/**
 * Tells at once when a motion has settled: one listening connection for all who wait, none held by a wait. An
 * announcement may be missed while the connection is made again, so whoever waits also looks from time to time.
 */
export class MotionWatch {
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #announcements: Announcements;

  /** @param url connection URL of the application role */
  constructor(url: string) {
    this.#announcements = listen(
      url,
      [MOTION_SETTLED_CHANNEL],
      (_channel, commandId) => this.#wake(commandId),
      () => {
        for (const commandId of [...this.#waiting.keys()]) this.#wake(commandId);
      },
    );
  }

  /**
   * Starts to wait for a command: call it before reading the journal, so that nothing falls in between.
   * @param withinMs when to look even though nothing was announced
   */
  next(commandId: string, withinMs: number): { readonly settled: Promise<void>; stop(): void } {
    let wake: () => void = () => undefined;
    const settled = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const waiters = this.#waiting.get(commandId) ?? new Set();
    waiters.add(wake);
    this.#waiting.set(commandId, waiters);
    const timer = setTimeout(wake, withinMs);
    return {
      settled,
      stop: () => {
        clearTimeout(timer);
        waiters.delete(wake);
        if (waiters.size === 0 && this.#waiting.get(commandId) === waiters) this.#waiting.delete(commandId);
      },
    };
  }

  close(): Promise<void> {
    return this.#announcements.close();
  }

  #wake(commandId: string): void {
    for (const wake of this.#waiting.get(commandId) ?? []) wake();
  }
}
