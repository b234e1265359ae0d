import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** A spawned process of the application or of a simulator. */
export interface Spawned {
  readonly child: ChildProcess;
  /** the line that said that it is ready */
  readonly ready: string;
  /** what it has printed so far */
  output(): string;
  /** kill -9, and wait until it is gone */
  kill(): Promise<void>;
  /** ask it to end, and wait for its exit code */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Starts a script of the project in a process of its own and waits for the line that says it is ready. */
export async function start(
  script: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Spawned> {
  const child = spawn(process.execPath, ['--import', TSX, join(ROOT, script), ...args], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  });
  let output = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const ready = await new Promise<string>((resolve, reject) => {
    if (!child.stdout) throw new Error('spawned without stdout');
    createInterface(child.stdout).on('line', (line) => {
      output += `${line}\n`;
      if (line.startsWith('ready') || line.startsWith('{"ready":true')) resolve(line);
    });
    void exited.then((code) =>
      reject(new Error(`${script} ended with ${code} before it was ready:\n${output}`)),
    );
  });
  return {
    child,
    ready,
    output: () => output,
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
    end(signal = 'SIGTERM') {
      child.kill(signal);
      return exited;
    },
  };
}

/** One line of the simulator's own motion log. */
export interface LoggedMotion {
  readonly number: number;
  readonly operation: string;
  readonly cassette: number;
  readonly level: number;
  readonly slot: number;
  readonly result: 'done' | 'error' | 'interrupted';
  readonly errorCode: number;
  readonly moved: { readonly barcode: string; readonly from: string; readonly to: string } | null;
}

export interface CellWorld {
  readonly positions: Readonly<Record<string, { readonly barcode: string }>>;
  readonly carrier: { readonly barcode: string } | null;
  readonly floor: readonly { readonly barcode: string }[];
  readonly mode: string;
  readonly latched: number;
  readonly motion: { readonly number: number } | null;
  readonly triggers: { readonly taken: number; readonly refused: number };
}

/** What a simulated store speaks, and the program that speaks it. */
const SIMULATORS = {
  modbus: 'devices/simulators/store-robot.ts',
  ascii: 'devices/simulators/ascii-store.ts',
} as const;
export const CELL_DRIVERS = ['modbus', 'ascii'] as const;
export type CellDriver = (typeof CELL_DRIVERS)[number];

/** A simulated store robot in a process of its own. */
export class RobotCell {
  readonly port: number;
  readonly driver: CellDriver;
  readonly #folder: string;
  readonly #control: string;
  readonly #args: readonly string[];
  #process: Spawned;

  private constructor(driver: CellDriver, folder: string, args: readonly string[], process: Spawned) {
    const [, port, control] = /(?:modbus|ascii)=\S+:(\d+) control=\S+:(\d+)/.exec(process.ready) ?? [];
    this.port = Number(port);
    this.driver = driver;
    this.#control = `http://127.0.0.1:${control}`;
    this.#folder = folder;
    this.#args = [...args, '--port', String(port), '--control-port', String(control)];
    this.#process = process;
  }

  /** @param args of the simulator, e.g. `['--speed', '0']` */
  static async open(args: readonly string[], driver: CellDriver = 'modbus'): Promise<RobotCell> {
    const folder = mkdtempSync(join(tmpdir(), 'tracseq-cell-'));
    const all = ['--data', folder, ...args];
    return new RobotCell(driver, folder, all, await start(SIMULATORS[driver], all));
  }

  /** kill -9 and start again on the same world and ports. */
  async restart(): Promise<void> {
    await this.#process.kill();
    this.#process = await start(SIMULATORS[this.driver], this.#args);
  }

  async close(): Promise<void> {
    await this.#process.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  world(): Promise<CellWorld> {
    return this.#call('GET', '/world');
  }

  log(): Promise<LoggedMotion[]> {
    return this.#call('GET', '/log');
  }

  putTube(cassette: number, level: number, slot: number, barcode: string): Promise<unknown> {
    return this.#call('POST', '/tubes', { tubes: [{ cassette, level, slot, barcode }] });
  }

  /** Somebody takes a tube out. */
  takeTube(cassette: number, level: number, slot: number): Promise<unknown> {
    return this.#call('DELETE', `/tubes/${cassette}/${level}/${slot}`);
  }

  fault(fault: Record<string, unknown>): Promise<unknown> {
    return this.#call('POST', '/faults', fault);
  }

  /** What has not struck yet. */
  faults(): Promise<unknown[]> {
    return this.#call('GET', '/faults');
  }

  clearFaults(): Promise<unknown> {
    return this.#call('DELETE', '/faults');
  }

  setMode(mode: string): Promise<unknown> {
    return this.#call('POST', '/mode', { mode });
  }

  setDoor(on: boolean): Promise<unknown> {
    return this.#call('POST', '/door', { on });
  }

  /** The store's own alarm. */
  setAlarm(on: boolean): Promise<unknown> {
    return this.#call('POST', '/alarm', { on });
  }

  setLockOut(on: boolean): Promise<unknown> {
    return this.#call('POST', '/lock-out', { on });
  }

  powerCycle(offMs: number): Promise<unknown> {
    return this.#call('POST', '/power-cycle', { offMs });
  }

  cut(forMs: number): Promise<unknown> {
    return this.#call('POST', '/cut', { forMs });
  }

  emptyCarrier(): Promise<unknown> {
    return this.#call('DELETE', '/carrier');
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(this.#control + path, {
      method,
      headers: { connection: 'close' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const answer: unknown = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
    // The simulator is a program of this project; its tests hold it to these shapes.
    return answer as T;
  }
}

/** Waits for a condition, looking every few ms; its value when it is neither false, null nor undefined. */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | false | null | undefined> | T | false | null | undefined,
  withinMs = 15_000,
): Promise<T> {
  const end = Date.now() + withinMs;
  for (;;) {
    const value = await check();
    if (value !== false && value !== null && value !== undefined) return value;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${withinMs} ms`);
    await sleep(10);
  }
}

/** Resolves when the process has ended. */
export async function gone(process: Spawned): Promise<void> {
  if (process.child.exitCode === null && process.child.signalCode === null) await once(process.child, 'exit');
}
