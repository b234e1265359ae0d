import { setTimeout as sleep } from 'node:timers/promises';

/** A part of the laboratory while it runs. */
export interface RunningPart {
  readonly pid: number;
  /** resolves when it has ended, for whatever reason */
  readonly ended: Promise<void>;
  /** ends it in good order; nothing happens when it has ended */
  stop(): Promise<void>;
}

/** A part of the laboratory: how it is started, and started again. */
export interface Part<Running extends RunningPart = RunningPart> {
  readonly name: string;
  readonly logFile: string;
  /** resolves when it is ready for work */
  start(): Promise<Running>;
}

/** What the supervisor tells of. */
export interface SupervisorEvents {
  say(line: string): void;
  started(name: string, pid: number): void;
  ended(name: string, pid: number): void;
}

const MINUTE = 60_000;
/** Restarts within a minute after which something is wrong that starting again does not mend. */
const RESTARTS_A_MINUTE = 5;
/** Milliseconds for what keeps a start from working to pass, e.g. the last processes of a killed PostgreSQL. */
const PAUSE_AFTER_FAILURE = 1000;

/**
 * Keeps parts running: one that dies is started again, five times a minute; then it says so, waits the minute out and
 * goes on. Stops all in the reverse of the order in which they were first started.
 */
export class Supervisor {
  readonly #events: SupervisorEvents;
  readonly #kept: { name: string; running: RunningPart | null }[] = [];
  readonly #loops: Promise<void>[] = [];
  readonly #starting = new Set<Promise<unknown>>();
  readonly #stopping = new AbortController();

  constructor(events: SupervisorEvents) {
    this.#events = events;
  }

  /**
   * Starts a part and keeps it running.
   * @throws Error when the first start fails: then the part is not kept
   */
  async keep<Running extends RunningPart>(part: Part<Running>): Promise<Running> {
    if (this.#stopping.signal.aborted) throw new Error('the laboratory is stopping');
    // Its place in the order is that of the call, not of the moment it was ready.
    const place: { name: string; running: RunningPart | null } = { name: part.name, running: null };
    this.#kept.push(place);
    const running = await this.#start(part, place);
    this.#loops.push(this.#watch(part, place));
    return running;
  }

  /** Stops everything, last first. What is just starting is waited for: nothing is left behind. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#starting);
    for (const place of this.#kept.toReversed()) {
      await place.running
        ?.stop()
        .catch((error: unknown) => this.#events.say(`${place.name}: ${sentence(error)}`));
    }
    await Promise.all(this.#loops);
  }

  #start<Running extends RunningPart>(
    part: Part<Running>,
    place: { running: RunningPart | null },
  ): Promise<Running> {
    const starting = part.start().then((running) => {
      place.running = running;
      this.#events.started(part.name, running.pid);
      return running;
    });
    this.#starting.add(starting);
    return starting.finally(() => this.#starting.delete(starting));
  }

  async #watch(part: Part, place: { name: string; running: RunningPart | null }): Promise<void> {
    const { signal } = this.#stopping;
    let deaths: number[] = [];
    while (!signal.aborted) {
      if (place.running !== null) {
        const { pid, ended } = place.running;
        await ended;
        place.running = null;
        this.#events.ended(part.name, pid);
        if (signal.aborted) return;
      }
      const now = Date.now();
      deaths = [...deaths.filter((at) => at > now - MINUTE), now];
      if (deaths.length > RESTARTS_A_MINUTE) {
        const wait = (deaths[0] ?? now) + MINUTE - now;
        this.#events.say(
          `${part.name} has ended ${deaths.length} times within a minute. Something is wrong that starting it again ` +
            `does not mend; its log is ${part.logFile}. Trying again in ${Math.ceil(wait / 1000)} s.`,
        );
        await sleep(wait, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) return;
        deaths = [];
      }
      const started = Date.now();
      try {
        const running = await this.#start(part, place);
        this.#events.say(
          `${part.name} had ended and was started again (pid ${running.pid}, ${Date.now() - started} ms)`,
        );
      } catch (error) {
        this.#events.say(`${part.name} could not be started again: ${sentence(error)}`);
        await sleep(PAUSE_AFTER_FAILURE, undefined, { signal }).catch(() => undefined);
      }
    }
  }
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
