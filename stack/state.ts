import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { endProcess, freePort, identify, isRunning, type ProcessIdentity, portIsFree } from './processes.ts';

/**
 * Inner ports are looked for here: below the range from which systems give ports to outgoing connections, ten in a row
 * by the folder's name, so that several laboratories of a machine rarely want the same.
 */
const FIRST_INNER_PORT = 20_000;
const TENS = 1_200;

/** Stands in the folder while a restore exchanges its parts. */
const RESTORING = 'restoring.json';

/** Folders for the owner alone. */
const PRIVATE = ['logs', 'temporal', 'robot'] as const;

/** What is remembered from start to start. */
interface Remembered {
  /** a demo laboratory may be thrown away; one that works on a database from outside may not */
  readonly kind: 'demo' | 'external';
  readonly ports: Readonly<Record<string, number>>;
}

/** What is running now, written as it starts, for the next start to clear up after a crash. */
interface Running {
  readonly supervisor: ProcessIdentity;
  readonly apiPort: number;
  readonly processes: readonly (ProcessIdentity & { readonly name: string })[];
}

/** The folder that holds everything a local laboratory keeps. */
export class State {
  readonly folder: string;
  #remembered: Remembered;
  #running: Running | null = null;

  /** What a folder holds, without taking it; undefined when that is no laboratory. */
  static look(folder: string): (Remembered & { readonly isRunning: boolean }) | undefined {
    const found = read<Remembered>(join(folder, 'laboratory.json'));
    const running = read<Running>(join(folder, 'running.json'));
    return found && { ...found, isRunning: running !== undefined && isRunning(running.supervisor) };
  }

  private constructor(folder: string, remembered: Remembered) {
    this.folder = folder;
    this.#remembered = remembered;
  }

  /**
   * Opens the folder for this process alone, after ending what a killed start left running.
   * @param say hears of what was left running
   * @throws Error when a laboratory runs on it, or when a reset is asked of something that is no demo state
   */
  static async open(
    folder: string,
    kind: Remembered['kind'],
    options: { reset: boolean; say: (line: string) => void; isRestore?: boolean },
  ): Promise<State> {
    const file = join(folder, 'laboratory.json');
    const found = read<Remembered>(file);
    if (found === undefined && existsSync(folder) && readdirSync(folder).length > 0) {
      throw new Error(
        `${folder} is not empty and holds no laboratory's state. Name another folder in TRACSEQ_STATE.`,
      );
    }
    await endLeftovers(join(folder, 'running.json'), options.say);
    if (existsSync(join(folder, RESTORING)) && !options.reset && options.isRestore !== true) {
      throw new Error(
        `A restore of ${folder} was broken off half-way: run npm run restore again, with the same backup.`,
      );
    }
    if (options.reset && found !== undefined) {
      if (found.kind !== 'demo') {
        throw new Error(
          `${folder} is not a demo laboratory's state: --reset would throw away what cannot be made again.`,
        );
      }
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true, force: true });
    }
    if (found !== undefined && !options.reset && found.kind !== kind) {
      throw new Error(
        kind === 'external'
          ? `${folder} holds a demo laboratory. Name another folder in TRACSEQ_STATE to work on the database in STORAGE_DATABASE_URL.`
          : `${folder} belongs to a laboratory on a database from outside: set STORAGE_DATABASE_URL as before.`,
      );
    }
    mkdirSync(folder, { recursive: true });
    // PostgreSQL may run as another user, who has to pass through; nobody else has business here.
    chmodSync(folder, 0o711);
    for (const name of PRIVATE) mkdirSync(join(folder, name), { recursive: true, mode: 0o700 });
    const state = new State(folder, found === undefined || options.reset ? { kind, ports: {} } : found);
    write(file, state.#remembered);
    return state;
  }

  path(...names: string[]): string {
    return join(this.folder, ...names);
  }

  logFile(name: string): string {
    return this.path('logs', `${name}.log`);
  }

  /**
   * The port of an inner part: the one it had before, or a new free one.
   * @param fixed true where records point to it, so that it cannot change
   * @throws Error when a fixed port is taken by somebody else
   */
  async port(name: string, fixed = false): Promise<number> {
    const before = this.#remembered.ports[name];
    if (before !== undefined && (await portIsFree(before))) return before;
    if (before !== undefined && fixed) {
      throw new Error(
        `Port ${before}, at which the laboratory's records have the ${name}, is taken by another program. ` +
          'End that program, or begin anew with npm start -- --reset.',
      );
    }
    const taken = new Set(Object.values(this.#remembered.ports));
    let port: number | undefined;
    const digest = createHash('sha256').update(resolve(this.folder)).digest();
    const first = FIRST_INNER_PORT + (digest.readUInt32BE(0) % TENS) * 10;
    for (let candidate = first; candidate < first + 100; candidate += 1) {
      if (!taken.has(candidate) && (await portIsFree(candidate))) {
        port = candidate;
        break;
      }
    }
    port ??= await freePort();
    this.#remembered = { ...this.#remembered, ports: { ...this.#remembered.ports, [name]: port } };
    write(this.path('laboratory.json'), this.#remembered);
    return port;
  }

  /** Takes the folder for this process; `note` and `forget` keep the list of what it started. */
  claim(apiPort: number): void {
    const supervisor = identify(process.pid);
    if (supervisor === undefined) throw new Error('this process cannot find itself among the running ones');
    this.#running = { supervisor, apiPort, processes: [] };
    try {
      writeFileSync(this.path('running.json'), JSON.stringify(this.#running), { flag: 'wx', mode: 0o600 });
    } catch (error) {
      throw new Error(`another start was faster to take ${this.folder}`, { cause: error });
    }
  }

  note(name: string, pid: number): void {
    const identity = identify(pid);
    if (this.#running === null || identity === undefined) return;
    const others = this.#running.processes.filter((entry) => entry.name !== name);
    this.#running = { ...this.#running, processes: [...others, { name, ...identity }] };
    this.#writeRunning();
  }

  /** Until `exchanged`, this folder is neither the old laboratory nor the new one: nothing starts on it. */
  exchanging(what: object): void {
    write(this.path(RESTORING), what);
  }

  exchanged(): void {
    rmSync(this.path(RESTORING), { force: true });
  }

  /** Nothing runs any more. */
  release(): void {
    this.#running = null;
    rmSync(this.path('running.json'), { force: true });
  }

  #writeRunning(): void {
    write(this.path('running.json'), this.#running);
  }
}

async function endLeftovers(file: string, say: (line: string) => void): Promise<void> {
  const running = read<Running>(file);
  if (running === undefined) return;
  if (isRunning(running.supervisor)) {
    throw new Error(
      `The laboratory is running already (process ${running.supervisor.pid}), on http://127.0.0.1:${running.apiPort}. ` +
        'End that one with Ctrl-C first, or give this one a state of its own with TRACSEQ_STATE.',
    );
  }
  const left = running.processes.filter(isRunning);
  if (left.length > 0) {
    say(
      `an earlier start was killed: ending what it left running (${left.map((entry) => entry.name).join(', ')})`,
    );
  }
  for (const entry of left.toReversed())
    await endProcess(entry, entry.name === 'PostgreSQL' ? 'SIGINT' : 'SIGTERM');
  rmSync(file, { force: true });
}

function read<T>(file: string): T | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as T) : undefined;
}

/** Whole or not at all, whenever the process is killed. */
function write(file: string, value: unknown): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
