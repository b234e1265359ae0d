import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, inject, test } from 'vitest';
import { freePort } from '../../stack/processes.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tracseq-demo-'));
const scan = join(folder, 'scan.csv');
const tubes = 10;
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function demo(...args: string[]) {
  const ended = spawnSync(process.execPath, ['stack/demo.mjs', ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    env: {
      ...process.env,
      TRACSEQ_STATE: join(folder, 'state'),
      STORAGE_PORT: String(await freePort()),
      TEMPORAL_CLI_PATH: inject('temporalBinary'),
    },
  });
  return { status: ended.status, stdout: ended.stdout, stderr: ended.stderr };
}

test('the demo starts the laboratory, passes, and passes again on the same state', async () => {
  const lines = Array.from(
    { length: tubes },
    (_, index) => `A${index + 1},DT${String(index).padStart(6, '0')}`,
  );
  writeFileSync(scan, `${lines.join('\n')}\n`);

  const first = await demo(scan, '--json');
  expect(first.stderr).toBe('');
  expect(first.status).toBe(0);
  expect(JSON.parse(first.stdout)).toMatchObject({
    ok: true,
    stored: { registered: tubes, placedAgain: 0, moved: 0, failed: 0 },
    compensations: [{ isBack: true }, { isBack: true }],
    workerKilled: { state: 'COMPLETED', picks: 1 },
    astray: [],
    ledger: { ok: true },
  });

  const second = await demo(scan, '--json');
  expect(second.status).toBe(0);
  expect(JSON.parse(second.stdout)).toMatchObject({
    ok: true,
    stored: { registered: 0, placedAgain: 3, moved: tubes - 3, failed: 0 },
  });
});

test('a tube that somebody took behind the system’s back turns the demo red', async () => {
  const file = join(folder, 'state', 'robot', 'world.json');
  const world: { positions: Record<string, { barcode: string }> } = JSON.parse(readFileSync(file, 'utf8'));
  const taken = Object.entries(world.positions).find(([, { barcode }]) => barcode.startsWith('DT'));
  if (taken === undefined) throw new Error('the cell is empty');
  delete world.positions[taken[0]];
  writeFileSync(file, JSON.stringify(world));

  const third = await demo(scan, '--json');
  expect(third.status).toBe(1);
  expect(third.stderr).toContain('waits for an operator');
});
