import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { appliedMigrations, tenantFigures } from '../db/backup.ts';
import { openDatabase } from '../db/connection.ts';
import type { BackupManifest } from '../schemas/backup.ts';
import { loadEnvironment, type Settings } from '../schemas/environment.ts';
import {
  type BackupFile,
  copyFile,
  MANIFEST,
  readManifest,
  syncFolder,
  verifyFiles,
  writeSynced,
} from './backup-files.ts';
import { copyCluster } from './base-backup.ts';
import { applicationUrls, databaseFromOutside } from './database.ts';
import { clusterFolder, startCluster, urlOfCluster } from './postgres.ts';
import { freePort } from './processes.ts';
import { createScreen, type Screen } from './screen.ts';
import { State } from './state.ts';

const USAGE = `Backs the laboratory up, running or not: npm run backup [-- --to FOLDER]

  --to FOLDER   where backups are kept (otherwise .tracseq-backups beside the laboratory's state)
  --help        this text

A backup has the database with its ledger, the secrets that read it and the sign-in: keep it as closed as the laboratory
itself, and on another machine. It has neither Temporal's state nor the robots' world; npm run restore says why.`;

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What is needed beside the database to go on with it: names below the state's folder. */
export const KEPT_FILES = ['laboratory.json', 'demo.json', 'token-key.pem'] as const;

/** Runs the command. @returns the exit status */
export async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const screen = createScreen(
    (text) => process.stdout.write(text),
    process.stdout.isTTY === true && !env.NO_COLOR,
  );
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { to: { type: 'string' }, help: { type: 'boolean' } },
    });
    if (values.help) {
      console.log(USAGE);
      return 0;
    }
    const settings = loadEnvironment(env, []);
    const state = stateFolder(settings);
    const to = resolve(env.INIT_CWD ?? '.', values.to ?? `${state}-backups`);
    await backUp(state, settings.storagePort, to, screen);
    return 0;
  } catch (error) {
    screen.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

/**
 * The folder of the laboratory that the environment names.
 * @throws Error for one on a database from outside, which its own server's tools back up
 */
export function stateFolder(settings: Settings): string {
  if (databaseFromOutside(settings)) {
    throw new Error(
      'The laboratory works on the database in STORAGE_DATABASE_URL: back it up and restore it with pg_basebackup on that ' +
        'server, and mark it after a restore with npm run restore -- --mark TIME (docs/operating.md).',
    );
  }
  return resolve(settings.statePath ?? `${ROOT}.tracseq`);
}

/**
 * Takes a backup of the laboratory in a folder, whether it runs or not. The folder of the backup has its name only when
 * all is written and was read back.
 * @param apiPort for the message of another start meanwhile
 * @returns the backup's folder
 * @throws Error when there is no laboratory, or what was written is not what was read
 */
export async function backUp(folder: string, apiPort: number, to: string, screen: Screen): Promise<string> {
  const found = State.look(folder);
  if (found?.kind !== 'demo') {
    throw new Error(`There is no laboratory in ${folder}: name its folder in TRACSEQ_STATE.`);
  }
  const since = Date.now();
  const dataDir = clusterFolder(join(folder, 'postgres'));
  const postgresPort = found.ports.PostgreSQL;
  if (found.isRunning && postgresPort !== undefined) {
    return await write(folder, dataDir, urlOfCluster(dataDir, postgresPort), to, screen, since);
  }
  const say = (line: string) => screen.note(line);
  const state = await State.open(folder, 'demo', { reset: false, say });
  state.claim(apiPort);
  try {
    if (!existsSync(join(dataDir, 'PG_VERSION'))) {
      throw new Error(`The laboratory in ${folder} has no database yet: there is nothing to back up.`);
    }
    const cluster = await startCluster({
      dataDir,
      port: await freePort(),
      logFile: state.logFile('postgres'),
      say,
    });
    state.note('PostgreSQL', cluster.pid);
    try {
      return await write(folder, dataDir, cluster.adminUrl, to, screen, since);
    } finally {
      await cluster.stop();
    }
  } finally {
    state.release();
  }
}

async function write(
  folder: string,
  dataDir: string,
  adminUrl: string,
  to: string,
  screen: Screen,
  since: number,
): Promise<string> {
  const name = new Date().toISOString().replaceAll(/[:.]/g, '-');
  const place = join(to, name);
  const half = `${place}.partial`;
  mkdirSync(half, { recursive: true, mode: 0o700 });
  try {
    const manifest = await writeInto(half, folder, dataDir, adminUrl);
    await verifyFiles(half, manifest);
    renameSync(half, place);
    await syncFolder(to);
    const megabytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0) / 1e6;
    screen.step('backup', `${place}, ${megabytes.toFixed(0)} MB, read back and compared`, since);
    screen.note(`it has everything until ${manifest.takenAt}; Temporal's state is not part of it`);
    await listOthers(to, name, screen);
    return place;
  } catch (error) {
    rmSync(half, { recursive: true, force: true });
    throw error;
  }
}

async function writeInto(
  half: string,
  folder: string,
  dataDir: string,
  adminUrl: string,
): Promise<BackupManifest> {
  const urls = applicationUrls(adminUrl);
  const app = openDatabase(urls.app, { max: 2 });
  const owner = openDatabase(urls.owner, { max: 1 });
  try {
    let tenants: BackupManifest['tenants'] = [];
    const base = await copyCluster(adminUrl, dataDir, join(half, 'postgres'), async () => {
      tenants = await tenantFigures(app);
    });
    const inside = (path: string) => `postgres/${path}`;
    const files: BackupFile[] = base.files.map((file) => ({ ...file, path: inside(file.path) }));
    const secret = await copyFile(`${dataDir}.secret`, join(half, 'postgres.secret'));
    if (!secret) throw new Error(`${dataDir}.secret is gone: without it nobody signs in to the database`);
    files.push({ path: 'postgres.secret', ...secret });
    for (const name of KEPT_FILES) {
      const copy = await copyFile(join(folder, name), join(half, name));
      if (copy) files.push({ path: name, ...copy });
    }
    const manifest: BackupManifest = {
      format: 'tracseq-backup/1',
      product: productVersion(),
      schema: (await appliedMigrations(owner)).at(-1) ?? '',
      takenAt: base.takenAt,
      wal: { ...base.wal },
      tenants,
      folders: ['postgres', ...base.folders.map(inside)],
      files,
    };
    await writeSynced(join(half, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
    for (const path of ['', ...manifest.folders]) await syncFolder(join(half, path));
    return manifest;
  } finally {
    await Promise.all([app.close(), owner.close()]);
  }
}

function productVersion(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  return version;
}

/** Nothing is deleted here: how long backups are kept is the laboratory's to say. */
async function listOthers(to: string, name: string, screen: Screen): Promise<void> {
  const others = (await readdir(to)).filter(
    (entry) => entry !== name && existsSync(join(to, entry, MANIFEST)),
  );
  if (others.length === 0) return;
  screen.heading(`Older backups in ${to}`);
  screen.fields(
    others
      .sort()
      .filter((entry) => !entry.endsWith('.partial'))
      .map((entry) => [entry, `until ${readManifest(join(to, entry)).takenAt}`] as const),
  );
}
