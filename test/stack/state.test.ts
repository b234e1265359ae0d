import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identify, isRunning, until } from '../../stack/processes.ts';
import { State } from '../../stack/state.ts';

let folder = '';
const said: string[] = [];
const children: ChildProcess[] = [];
const open = (kind: 'demo' | 'external' = 'demo', reset = false) =>
  State.open(folder, kind, { reset, say: (line) => said.push(line) });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tracseq-state-'));
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
  said.length = 0;
});

/** A process that does nothing, with its identity. */
async function idle() {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)'], { stdio: 'ignore' });
  children.push(child);
  await until('the process being there', 5_000, () => identify(child.pid ?? 0) !== undefined);
  const identity = identify(child.pid ?? 0);
  if (identity === undefined) throw new Error('the process has ended');
  return identity;
}

function holding(port: number): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

describe('the state of a laboratory', () => {
  it('is for one start at a time', async () => {
    (await open()).claim(8082);
    await expect(open()).rejects.toThrow(/is running already.*http:\/\/127\.0\.0\.1:8082/);
  });

  it('ends what a killed start left running, and nothing else', async () => {
    const left = await idle();
    const stranger = await idle();
    const state = await open();
    state.claim(8082);
    state.note('worker', left.pid);
    state.note('gone', 999_999_999);
    // The supervisor was killed; a process number of its list now belongs to somebody else.
    const file = state.path('running.json');
    const running = JSON.parse(readFileSync(file, 'utf8'));
    running.supervisor.startedAt = 'long ago';
    running.processes.push({ name: 'old worker', pid: stranger.pid, startedAt: 'long ago' });
    writeFileSync(file, JSON.stringify(running));

    await open();
    expect(isRunning(left)).toBe(false);
    expect(isRunning(stranger)).toBe(true);
    expect(existsSync(file)).toBe(false);
    expect(said.join()).toContain('ending what it left running (worker)');
  });

  it('remembers the ports of inner parts', async () => {
    const first = await open();
    const port = await first.port('Temporal');
    expect(await first.port('PostgreSQL')).not.toBe(port);
    expect(await (await open()).port('Temporal')).toBe(port);
  });

  it('chooses another inner port when the old one is taken, but not where records point to it', async () => {
    const state = await open();
    const [moving, fixed] = [await state.port('Temporal'), await state.port('simulated robot', true)];
    const servers = [await holding(moving), await holding(fixed)];
    try {
      expect(await state.port('Temporal')).not.toBe(moving);
      await expect(state.port('simulated robot', true)).rejects.toThrow(`Port ${fixed}`);
    } finally {
      for (const server of servers) server.close();
    }
  });

  it('is thrown away by a reset', async () => {
    const state = await open();
    writeFileSync(state.path('demo.json'), '{}');
    const anew = await open('demo', true);
    expect(existsSync(anew.path('demo.json'))).toBe(false);
  });

  it('is not thrown away where a laboratory works on a database from outside', async () => {
    await open('external');
    await expect(open('external', true)).rejects.toThrow(
      /--reset would throw away what cannot be made again/,
    );
  });

  it('is not mixed between a demo and a database from outside', async () => {
    await open('demo');
    await expect(open('external')).rejects.toThrow(/TRACSEQ_STATE/);
  });

  it('is not put into a folder with other things', async () => {
    writeFileSync(join(folder, 'thesis.tex'), '');
    await expect(open('demo', true)).rejects.toThrow(/holds no laboratory's state/);
    expect(existsSync(join(folder, 'thesis.tex'))).toBe(true);
  });
});
