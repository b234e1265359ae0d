import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { startOf } from './process-start.mjs';

/** A process told apart from a later one that got the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** when it started, as the operating system puts it; only good for comparing */
  readonly startedAt: string;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The command line a process was started with; empty when there is no such process. */
export function commandOf(pid: number): string {
  try {
    return process.platform === 'linux'
      ? readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      : execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
  } catch {
    return ''; // gone
  }
}

export function identify(pid: number): ProcessIdentity | undefined {
  const startedAt = startOf(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** Is this very process still running? */
export function isRunning(identity: ProcessIdentity): boolean {
  return startOf(identity.pid) === identity.startedAt;
}

/**
 * Waits for a condition, looking every 30 ms.
 * @throws Error saying that `what` did not happen when the deadline passes
 */
export async function until(
  what: string,
  ms: number,
  check: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = Date.now() + ms;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`${what} did not happen within ${ms / 1000} s`);
    await sleep(30);
  }
}

/** Ends a process: asks first, and insists after `graceMs`. Does nothing when it is gone. */
export async function endProcess(
  identity: ProcessIdentity,
  signal: NodeJS.Signals = 'SIGTERM',
  graceMs = 10_000,
): Promise<void> {
  if (!isRunning(identity)) return;
  process.kill(identity.pid, signal);
  try {
    await until('an orderly end', graceMs, () => !isRunning(identity));
  } catch {
    process.kill(identity.pid, 'SIGKILL');
    await until(`the end of process ${identity.pid}`, 10_000, () => !isRunning(identity));
  }
}

/** Can this machine's address take the port now? */
export function portIsFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** A free port of the loopback: the preferred one when it is free. */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && (await portIsFree(preferred))) return preferred;
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const bound = server.address();
      server.close(() =>
        bound !== null && typeof bound === 'object'
          ? resolve(bound.port)
          : reject(new Error('no port is free')),
      );
    });
  });
}
