import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { RunningPart } from './supervisor.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

export interface ChildOptions {
  /** entry: an absolute path, or one from the project's root */
  readonly script: string;
  readonly args?: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** milliseconds until it must be ready */
  readonly readyWithinMs?: number;
  /** milliseconds to end in good order */
  readonly graceMs?: number;
}

/**
 * Starts a Node process of the laboratory. It is ready when it prints a line that begins with the word `ready`, or a JSON
 * object with `ready: true` or the message `ready`. All it prints goes to its log.
 * @throws Error with its last lines when it ends first or is not ready in time
 */
export async function startChild(options: ChildOptions): Promise<RunningPart> {
  const { readyWithinMs = 60_000, graceMs = 15_000 } = options;
  const script = resolve(ROOT, options.script);
  const child = spawn(process.execPath, ['--import', TSX, script, ...(options.args ?? [])], {
    // The channel tells a child that listens for its end when this process is gone.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: options.env,
    // A group of its own: Ctrl-C is for us to handle, in order.
    detached: true,
  });
  const log = createWriteStream(options.logFile, { flags: 'a' });
  let lastWords = '';
  const keep = (chunk: Buffer | string) => {
    log.write(chunk);
    lastWords = (lastWords + chunk.toString()).slice(-2000);
  };
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null)
    throw new Error(`${options.script} was started without its outputs`);
  stderr.on('data', keep);
  const ended = new Promise<void>((over) => {
    child.once('close', () => over());
    child.once('error', () => over());
  });
  const endGroup = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  };
  process.once('exit', endGroup);
  void ended.then(() => {
    process.off('exit', endGroup);
    log.end();
  });
  await new Promise<void>((ready, reject) => {
    const clock = setTimeout(() => {
      reject(new Error(`${options.script} was not ready within ${readyWithinMs / 1000} s:\n${lastWords}`));
      endGroup();
    }, readyWithinMs);
    createInterface({ input: stdout }).on('line', (line) => {
      keep(`${line}\n`);
      if (saysReady(line)) {
        clearTimeout(clock);
        ready();
      }
    });
    void ended.then(() => {
      clearTimeout(clock);
      reject(new Error(`${options.script} ended before it was ready:\n${lastWords}`));
    });
  });
  return {
    pid: child.pid ?? -1,
    ended,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const insist = setTimeout(endGroup, graceMs);
      await ended;
      clearTimeout(insist);
    },
  };
}

function saysReady(line: string): boolean {
  if (/^ready\b/.test(line)) return true;
  if (!line.startsWith('{')) return false;
  try {
    const said = JSON.parse(line) as { ready?: unknown; msg?: unknown };
    return said.ready === true || said.msg === 'ready';
  } catch {
    return false; // a line that only begins like JSON
  }
}
