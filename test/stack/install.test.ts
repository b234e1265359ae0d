import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

/** Runs until its input ends. */
const PROGRAM = `
import { ensureDependencies } from './install.mjs';
ensureDependencies(() => undefined);
process.stdout.write('running');
process.stdin.on('end', () => process.exit(0)).resume();`;
/** An npm that only says that it was there, and leaves what npm ci leaves. */
const NPM = `
const { mkdirSync, writeFileSync } = require('node:fs');
mkdirSync('node_modules', { recursive: true });
writeFileSync('node_modules/.package-lock.json', '{}');
writeFileSync('npm-was-here', process.argv.slice(2).join(' '));`;

let folder: string;
const started: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tracseq-install-'));
  mkdirSync(join(folder, 'stack'));
  mkdirSync(join(folder, 'node_modules'));
  for (const name of ['install.mjs', 'process-start.mjs'])
    copyFileSync(`stack/${name}`, join(folder, 'stack', name));
  writeFileSync(join(folder, 'stack', 'program.mjs'), PROGRAM);
  writeFileSync(join(folder, 'npm.js'), NPM);
  writeFileSync(join(folder, 'package-lock.json'), '{}');
  writeFileSync(join(folder, 'node_modules', '.package-lock.json'), '{}');
  writtenAgo('package-lock.json', 60);
});
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

function writtenAgo(name: string, seconds: number): void {
  const at = Date.now() / 1000 - seconds;
  utimesSync(join(folder, name), at, at);
}
const env = () => ({
  ...process.env,
  npm_execpath: join(folder, 'npm.js'),
  npm_lifecycle_event: 'start',
});
async function running(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(folder, 'stack/program.mjs')], { cwd: folder, env: env() });
  started.push(child);
  await once(child.stdout, 'data');
  return child;
}
/** Starts it and ends its input: the exit code says whether it came to run. */
const start = () =>
  spawnSync(process.execPath, [join(folder, 'stack/program.mjs')], {
    cwd: folder,
    env: env(),
    input: '',
    encoding: 'utf8',
  });
const installedAnew = () => existsSync(join(folder, 'npm-was-here'));

it('does not replace dependencies that a laboratory runs from, and says which', async () => {
  const laboratory = await running();
  writtenAgo('package-lock.json', -60);
  const refused = start();
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain(`npm run start (process ${laboratory.pid}) runs from the dependencies`);
  expect(installedAnew()).toBe(false);
  laboratory.stdin?.end();
  await once(laboratory, 'exit');
  expect(start().status).toBe(0);
  expect(installedAnew()).toBe(true);
});

it('is not kept from installing by a laboratory that was killed, or by a stranger with its number', async () => {
  const laboratory = await running();
  laboratory.kill('SIGKILL');
  await once(laboratory, 'exit');
  writeFileSync(
    join(folder, 'node_modules/.cache/tracseq-users', String(process.pid)),
    'another time\nnpm\n',
  );
  writtenAgo('package-lock.json', -60);
  expect(start().status).toBe(0);
  expect(installedAnew()).toBe(true);
});

it('installs nothing where the lockfile is older than what is installed', () => {
  expect(start().status).toBe(0);
  expect(installedAnew()).toBe(false);
});
