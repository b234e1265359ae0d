import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, inject, it } from 'vitest';
import { freePort, isAlive, isRunning, type ProcessIdentity, until } from '../../stack/processes.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tracseq-laboratory-'));
chmodSync(folder, 0o755);
const state = join(folder, 'state');
const started: Start[] = [];

afterAll(async () => {
  for (const start of started) await start.end('SIGINT');
  rmSync(folder, { recursive: true, force: true });
});

interface Start {
  readonly process: ChildProcess;
  readonly output: () => string;
  ready(): Promise<void>;
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** npm start, without npm. */
function start(args: readonly string[], env: Record<string, string> = {}): Start {
  const child = spawn(process.execPath, ['stack/start.mjs', ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      TRACSEQ_STATE: state,
      TEMPORAL_CLI_PATH: inject('temporalBinary'),
      SIMULATED_ROBOT_SPEED: '0',
      ...env,
    },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
  }
  const over = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  const running: Start = {
    process: child,
    output: () => said,
    ready: () =>
      until('the laboratory being ready', 60_000, () => {
        if (child.exitCode !== null) throw new Error(`it ended:\n${said}`);
        return said.includes('Ctrl-C stops it');
      }),
    end(signal) {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return over;
    },
  };
  started.push(running);
  return running;
}

interface Running {
  readonly supervisor: ProcessIdentity;
  readonly processes: readonly (ProcessIdentity & { readonly name: string })[];
}
const running = (): Running => JSON.parse(readFileSync(join(state, 'running.json'), 'utf8'));
const pidOf = (name: string) => running().processes.find((entry) => entry.name === name)?.pid ?? 0;

describe('npm start', () => {
  it('brings the laboratory up, mends what dies, stops in order and goes on where it was', async () => {
    const port = await freePort();
    const api = `http://127.0.0.1:${port}`;
    const first = start(['--port', String(port)]);
    await first.ready();
    expect((await fetch(`${api}/health/ready`)).status).toBe(200);

    const { users, password, tenantId } = JSON.parse(readFileSync(join(state, 'demo.json'), 'utf8'));
    const signIn = () =>
      fetch(`${api}/auth/sign-in`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email: users[0].email, password }),
      });
    expect((await signIn()).status).toBe(200);

    for (const name of ['API', 'PostgreSQL', 'Temporal']) {
      const before = pidOf(name);
      process.kill(before, 'SIGKILL');
      await until(`${name} being back`, 30_000, () => pidOf(name) !== before && isAlive(pidOf(name)));
    }
    await until('readiness', 30_000, async () => {
      const reply = await fetch(`${api}/health/ready`).catch(() => undefined);
      return reply?.status === 200;
    });

    const processes = running().processes;
    expect(await first.end('SIGINT')).toBe(0);
    expect(processes.filter(isRunning)).toEqual([]);
    expect(existsSync(join(state, 'running.json'))).toBe(false);

    // The supervisor dies without a word: the next start finds nothing in its way.
    const second = start(['--port', String(port)]);
    await second.ready();
    expect((await signIn()).status).toBe(200);
    const left = running().processes;
    await second.end('SIGKILL');
    await until('the end of what it started', 30_000, () => !left.some(isRunning));

    const third = start(['--port', String(port)]);
    await third.ready();
    expect(JSON.parse(readFileSync(join(state, 'demo.json'), 'utf8')).tenantId).toBe(tenantId);
    await third.end('SIGTERM');
  }, 180_000);

  it('says which port is taken and how to choose another', async () => {
    const port = await freePort();
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', () => resolve()));
    try {
      const refused = start(['--port', String(port)], { TRACSEQ_STATE: join(folder, 'other') });
      expect(await refused.end('SIGCONT')).toBe(1);
      expect(refused.output()).toMatch(
        new RegExp(`Port ${port} is taken by another program\\. .*npm start -- --port \\d+`),
      );
    } finally {
      squatter.close();
    }
  });

  it('refuses an argument nobody knows, and settings that are wrong', async () => {
    const argument = start(['--rest']);
    expect(await argument.end('SIGCONT')).toBe(1);
    expect(argument.output()).toContain("npm start does not know '--rest'");
    const settings = start([], { STORAGE_PORT: 'http', BLOCKCHAIN_ENABLED: 'false' });
    expect(await settings.end('SIGCONT')).toBe(1);
    expect(settings.output()).toMatch(/STORAGE_PORT[\s\S]*BLOCKCHAIN_ENABLED/);
  });
});
