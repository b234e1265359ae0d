import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { isRunning, type ProcessIdentity, until } from '../processes.ts';
import type { Credentials } from './client.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** On a machine that has nothing yet, the start builds Temporal first. */
const START_MS = 20 * 60_000;
/** Also when the supervisor waits a minute out. */
const RESTART_MS = 300_000;
const ADMINISTRATOR = 'lab_administrator';
export const WORKFLOW_WORKER = 'workflow worker';

const Identity = z.object({ pid: z.number(), startedAt: z.string() });
const Running = z.object({
  supervisor: Identity,
  apiPort: z.number(),
  processes: z.array(Identity.extend({ name: z.string() })),
});
const Remembered = z.object({ ports: z.record(z.string(), z.number()) });
const Kept = z.object({
  password: z.string(),
  users: z.array(z.object({ email: z.string(), role: z.string() })),
  station: z.object({ id: z.string(), secret: z.string() }),
});

/** The local laboratory, found running or started here. */
export class RunningLaboratory {
  readonly apiAddress: string;
  readonly cellAddress: string;
  /** where the robot's controller listens */
  readonly controller: { readonly host: string; readonly port: number };
  readonly credentials: Credentials;
  /** false: it ran before, and runs on */
  readonly wasStarted: boolean;
  readonly #folder: string;
  readonly #child: ChildProcess | null;

  private constructor(folder: string, child: ChildProcess | null) {
    const { apiPort } = read(join(folder, 'running.json'), Running);
    const { ports } = read(join(folder, 'laboratory.json'), Remembered);
    const kept = read(join(folder, 'demo.json'), Kept);
    const port = (name: string) => {
      const found = ports[name];
      if (found === undefined) throw new Error(`the laboratory in ${folder} has no ${name}`);
      return found;
    };
    const administrator = kept.users.find(({ role }) => role === ADMINISTRATOR);
    if (!administrator) throw new Error(`${folder} holds no ${ADMINISTRATOR}`);
    const { email } = administrator;
    this.apiAddress = `http://127.0.0.1:${apiPort}`;
    this.cellAddress = `http://127.0.0.1:${port('simulated robot, control')}`;
    this.controller = { host: '127.0.0.1', port: port('simulated robot') };
    this.credentials = { email, password: kept.password, station: kept.station };
    this.wasStarted = child !== null;
    this.#folder = folder;
    this.#child = child;
  }

  /**
   * The laboratory of the state folder: the one that runs there, or one started now.
   * @param say told what is being done when it takes long
   * @throws Error when it cannot be started, or is not a demo laboratory
   */
  static async find(env: NodeJS.ProcessEnv, say: (line: string) => void): Promise<RunningLaboratory> {
    const folder = resolve(env.TRACSEQ_STATE || join(ROOT, '.tracseq'));
    const supervisor = existsSync(join(folder, 'running.json'))
      ? read(join(folder, 'running.json'), Running).supervisor
      : undefined;
    if (supervisor && isRunning(supervisor)) {
      await until('the laboratory becoming ready', 120_000, () => isReady(folder));
      return new RunningLaboratory(folder, null);
    }
    say('starting the laboratory (npm start); it is stopped again at the end');
    return new RunningLaboratory(folder, await start(folder, env));
  }

  /** A part as it was last started; it may have died meanwhile. */
  part(name: string): ProcessIdentity {
    const part = this.#find(name);
    if (!part) throw new Error(`the laboratory runs no ${name}`);
    return part;
  }

  #find(name: string): ProcessIdentity | undefined {
    const { processes } = read(join(this.#folder, 'running.json'), Running);
    return processes.find((each) => each.name === name);
  }

  /** Kills a part as a power cut would, and waits until the laboratory has started it again. */
  async kill(name: string): Promise<{ readonly before: number; restarted(): Promise<number> }> {
    // A laboratory that starts again answers before all of its parts run.
    await until(`the ${name} being started`, RESTART_MS, () => this.#find(name) !== undefined);
    const before = this.part(name);
    // The number of a part that has just died by itself may be another process's by now.
    if (isRunning(before)) process.kill(before.pid, 'SIGKILL');
    return {
      before: before.pid,
      restarted: async () => {
        await until(`the ${name} being started again`, RESTART_MS, () => {
          const now = this.part(name);
          return now.startedAt !== before.startedAt && isRunning(now);
        });
        return this.part(name).pid;
      },
    };
  }

  /**
   * Kills everything that was started here at one moment, the supervisor first: nobody tidies up.
   * @param justBefore done when it is known whom to kill, e.g. the state folder's power cut off
   */
  async crash(justBefore: () => void = () => undefined): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) throw new Error('this laboratory was not started here');
    const { processes } = read(join(this.#folder, 'running.json'), Running);
    const parts = processes.filter(isRunning);
    const ended = new Promise((over) => child.once('exit', over));
    justBefore();
    for (const pid of [child.pid, ...parts.map((each) => each.pid)]) {
      try {
        process.kill(-pid, 'SIGKILL'); // each leads a group of its own: PostgreSQL's processes go with it
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error; // gone already
      }
    }
    await ended;
    await until('the end of every part', 30_000, () => !parts.some(isRunning));
  }

  /** Stops what was started here; a laboratory that ran before runs on. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((over) => child.once('exit', over));
    child.kill('SIGINT');
    await ended;
  }
}

function read<S extends z.ZodType>(file: string, schema: S): z.infer<S> {
  if (!existsSync(file)) {
    throw new Error(`${file} is not there: the demo runs on a demo laboratory, which npm start makes`);
  }
  return schema.parse(JSON.parse(readFileSync(file, 'utf8')));
}

async function start(folder: string, env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  const logFile = join(tmpdir(), `tracseq-demo-${process.pid}.log`);
  const log = openSync(logFile, 'w');
  const child = spawn(process.execPath, ['stack/start.mjs'], {
    cwd: ROOT,
    env,
    stdio: ['ignore', log, log],
    detached: true, // Ctrl-C is for the demo to handle: it stops the laboratory itself
  });
  const onExit = () => child.kill('SIGINT');
  process.once('exit', onExit);
  child.once('exit', (code) => {
    process.off('exit', onExit);
    if (code === 0) rmSync(logFile, { force: true });
  });
  try {
    await until('the laboratory becoming ready', START_MS, () => {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`the laboratory did not start:\n${readFileSync(logFile, 'utf8').trim()}`);
      }
      return isReady(folder);
    });
  } catch (error) {
    child.kill('SIGINT');
    throw error;
  }
  return child;
}

async function isReady(folder: string): Promise<boolean> {
  const running = join(folder, 'running.json');
  if (!existsSync(running) || !existsSync(join(folder, 'demo.json'))) return false;
  const { apiPort } = read(running, Running);
  const reply = await fetch(`http://127.0.0.1:${apiPort}/health/ready`, {
    signal: AbortSignal.timeout(5000),
  }).catch(() => undefined);
  return reply?.ok === true;
}
