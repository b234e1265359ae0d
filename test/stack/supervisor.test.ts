import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { startChild } from '../../stack/child.ts';
import { isAlive, until } from '../../stack/processes.ts';
import { type Part, Supervisor } from '../../stack/supervisor.ts';

const folder = mkdtempSync(join(tmpdir(), 'tracseq-supervisor-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const said: string[] = [];
const order: string[] = [];
let pids = new Map<string, number>();
let supervisor = newSupervisor();

function newSupervisor(): Supervisor {
  return new Supervisor({
    say: (line) => said.push(line),
    started: (name, pid) => {
      order.push(`${name} started`);
      pids.set(name, pid);
    },
    ended: (name) => order.push(`${name} ended`),
  });
}

afterEach(async () => {
  await supervisor.stop();
  for (const pid of pids.values()) expect(isAlive(pid)).toBe(false);
  said.length = 0;
  order.length = 0;
  pids = new Map();
  supervisor = newSupervisor();
});

/** A part that is a small Node process running `code`. */
function part(name: string, code: string): Part {
  const script = join(folder, `${name}.mjs`);
  writeFileSync(script, code);
  const logFile = join(folder, `${name}.log`);
  return {
    name,
    logFile,
    start: () => startChild({ script, env: process.env, logFile, readyWithinMs: 10_000 }),
  };
}

const STAYS = `setInterval(() => undefined, 1000); console.log('ready');`;

describe('the supervisor', () => {
  it('starts a part again that was killed', async () => {
    await supervisor.keep(part('worker', STAYS));
    const first = pids.get('worker') ?? 0;
    process.kill(first, 'SIGKILL');
    await until('a new worker', 10_000, () => pids.get('worker') !== first);
    expect(said.join()).toMatch(/worker had ended and was started again/);
  });

  it('says so when a part ends again and again, and still stops', async () => {
    await supervisor.keep(part('brittle', `console.log('ready'); setTimeout(() => process.exit(3), 10);`));
    await until('the sentence', 30_000, () =>
      said.some((line) => /brittle has ended 6 times within a minute/.test(line)),
    );
    expect(said.at(-1)).toContain('brittle.log');
    expect(said.filter((line) => line.includes('started again'))).toHaveLength(5);
  });

  it('stops last what was started first', async () => {
    await supervisor.keep(part('database', STAYS));
    await supervisor.keep(part('server', STAYS));
    order.length = 0;
    await supervisor.stop();
    expect(order).toEqual(['server ended', 'database ended']);
  });

  it('leaves nothing running of a part that was still starting when it was stopped', async () => {
    const slow = supervisor.keep(
      part('slow', `setTimeout(() => console.log('ready'), 500); setInterval(() => undefined, 1000);`),
    );
    await supervisor.stop();
    await slow;
    expect(order).toEqual(['slow started']);
    expect(isAlive(pids.get('slow') ?? 0)).toBe(false);
  });

  it('tells the last words of a part that never gets ready', async () => {
    await expect(
      supervisor.keep(part('broken', `console.error('the disk is full'); process.exit(1);`)),
    ).rejects.toThrow(/broken\.mjs ended before it was ready:\nthe disk is full/);
  });
});
