import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ApplicationFailure } from '@temporalio/common';
import type { TemporalConnection } from '../../schemas/environment.ts';

/** What the process is told at its start. */
export interface WorkerOrder {
  readonly server: TemporalConnection;
  readonly taskQueue: string;
  readonly bundlePath: string;
  readonly activities: readonly string[];
}

/** The answer to one call of an activity. */
export type Reply =
  | { readonly call: number; readonly result: unknown }
  | {
      readonly call: number;
      readonly failure: { message: string; type: string; nonRetryable: boolean; details: unknown[] };
    };

interface Called {
  readonly call: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

type Activities = Readonly<Record<string, (...args: never[]) => Promise<unknown>>>;

/** A workflow worker that can be killed. The activities stay here, with the laboratory. */
export class WorkerProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(order: Omit<WorkerOrder, 'activities'>, activities: object): Promise<WorkerProcess> {
    const known = new Map(Object.entries(activities as Activities));
    const child = fork(
      fileURLToPath(new URL('worker-child.ts', import.meta.url)),
      [JSON.stringify({ ...order, activities: [...known.keys()] } satisfies WorkerOrder)],
      { execArgv: ['--import', 'tsx'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'], serialization: 'json' },
    );
    const isReady = new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the worker ended with ${code} before it was ready`)));
      child.on('message', (message: Called | { readonly ready: true }) => {
        if ('ready' in message) resolve();
        else void answer(message);
      });
    });
    await isReady;
    return new WorkerProcess(child);

    async function answer({ call, name, args }: Called): Promise<void> {
      const reply = await Promise.resolve(known.get(name)?.(...(args as never[])))
        .then((result): Reply => ({ call, result: result ?? null }))
        .catch((error: unknown): Reply => ({ call, failure: plain(error) }));
      if (child.connected) child.send(reply);
    }
  }

  /** SIGKILL: nothing of what it was doing is finished. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}

function plain(error: unknown) {
  const failure = error instanceof ApplicationFailure ? error : ApplicationFailure.fromError(error);
  return {
    message: failure.message,
    type: failure.type ?? 'INTERNAL',
    nonRetryable: failure.nonRetryable ?? false,
    details: failure.details ?? [],
  };
}
