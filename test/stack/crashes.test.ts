import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterAll, describe, expect, it } from 'vitest';
import { startCluster, TEST_SETTINGS } from '../../stack/postgres.ts';
import { freePort, identify, isRunning, until } from '../../stack/processes.ts';
import { Supervisor } from '../../stack/supervisor.ts';

const folder = mkdtempSync(join(tmpdir(), 'tracseq-crashes-'));
chmodSync(folder, 0o755);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined); // the server is killed on purpose
  try {
    await client.connect();
    return (await client.query(text)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

describe('crashes', () => {
  it('of PostgreSQL are mended by starting it again with its data', async () => {
    const said: string[] = [];
    let pid = 0;
    const supervisor = new Supervisor({
      say: (line) => said.push(line),
      started: (_name, now) => {
        pid = now;
      },
      ended: () => undefined,
    });
    const port = await freePort();
    const logFile = join(folder, 'postgres.log');
    const { adminUrl } = await supervisor.keep({
      name: 'PostgreSQL',
      logFile,
      // Commits are kept: that is what is looked for.
      start: () => startCluster({ dataDir: join(folder, 'kept'), port, logFile }),
    });
    try {
      await query(adminUrl, 'CREATE TABLE tube AS SELECT 1 AS id');
      const first = pid;
      process.kill(first, 'SIGKILL');
      await until('PostgreSQL being back', 20_000, () => pid !== first);
      expect(await query(adminUrl, 'SELECT id FROM tube')).toEqual([{ id: 1 }]);
      expect(said.join()).toContain('PostgreSQL had ended and was started again');
    } finally {
      await supervisor.stop();
    }
  });

  it('of the starting process leave no PostgreSQL in the way of the next', async () => {
    const options = {
      dataDir: join(folder, 'orphaned'),
      port: await freePort(),
      settings: TEST_SETTINGS,
      logFile: join(folder, 'orphaned.log'),
    };
    const orphan = await startCluster(options);
    const next = await startCluster(options);
    expect(next.pid).not.toBe(orphan.pid);
    await orphan.ended;
    await next.stop();
  });

  it('of the starting process end what its watchdog watches', async () => {
    const module = new URL('../../stack/watchdog.ts', import.meta.url).href;
    const starter = spawn(
      process.execPath,
      [
        ...['--import', 'tsx', '--input-type=module', '-e'],
        `import { spawn } from 'node:child_process';
         const { startWatchdog } = await import('${module}');
         const child = spawn('sleep', ['600'], { stdio: 'ignore', detached: true });
         const forgotten = spawn('sleep', ['600'], { stdio: 'ignore', detached: true });
         const watchdog = startWatchdog();
         watchdog.watch(child.pid, 'SIGTERM');
         watchdog.watch(forgotten.pid, 'SIGTERM');
         watchdog.forget(forgotten.pid);
         console.log(child.pid, forgotten.pid);`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let line = '';
    for await (line of createInterface({ input: starter.stdout })) break;
    const [watched, forgotten] = line.split(' ').map((pid) => identify(Number(pid)));
    if (watched === undefined || forgotten === undefined) throw new Error(`the starter said "${line}"`);
    try {
      starter.kill('SIGKILL');
      await until('the end of what was watched', 10_000, () => !isRunning(watched));
      expect(isRunning(forgotten)).toBe(true);
    } finally {
      process.kill(forgotten.pid, 'SIGKILL');
    }
  });
});

describe.runIf(process.getuid?.() === 0)('a folder that user postgres cannot enter', () => {
  it('gets its database elsewhere, and says so', async () => {
    const closed = join(folder, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    const said: string[] = [];
    const cluster = await startCluster({
      dataDir: join(closed, 'state', 'postgres'),
      port: await freePort(),
      settings: TEST_SETTINGS,
      logFile: join(folder, 'closed.log'),
      say: (line) => said.push(line),
    });
    try {
      expect(cluster.dataDir).toMatch(/^\/var\/tmp\/tracseq-[0-9a-f]{12}\/data$/);
      expect(said.join()).toContain(cluster.dataDir);
    } finally {
      await cluster.stop();
      rmSync(join(cluster.dataDir, '..'), { recursive: true, force: true });
    }
  });
});
