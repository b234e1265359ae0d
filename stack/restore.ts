import { chownSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ledgerRootAt } from '../db/backup.ts';
import { type Database, openDatabase } from '../db/connection.ts';
import { checkLedger } from '../db/ledger.ts';
import { markRestored } from '../db/restore.ts';
import type { BackupManifest } from '../schemas/backup.ts';
import { loadEnvironment, type Settings } from '../schemas/environment.ts';
import { workflowIds } from '../workflows/ids.ts';
import { KEPT_FILES, stateFolder } from './backup.ts';
import { copyFile, readManifest, verifyFiles } from './backup-files.ts';
import { migrateWith, prepareCluster } from './database.ts';
import { clusterFolder, postgresUser, startCluster } from './postgres.ts';
import { freePort } from './processes.ts';
import { createScreen, type Screen } from './screen.ts';
import { State } from './state.ts';

const USAGE = `Restores the laboratory from a backup: npm run restore -- FOLDER [--yes]
Marks a database that was restored by other means: npm run restore -- --mark TIME

  FOLDER        a folder that npm run backup has written
  --yes         do not ask
  --mark TIME   the database in STORAGE_DATABASE_URL is as it was at this time (RFC 3339); nothing else of the
                laboratory may run
  --help        this text

Afterwards every robot is held, every open job asks where its tube is, and a tube that may have moved since the backup is
unknown until it is scanned. Temporal begins anew: one that is older or newer than the database knows another history.
What was there is set aside, not deleted.`;

const MIGRATIONS = fileURLToPath(new URL('../db/migrations/', import.meta.url));

/** Runs the command. @returns the exit status */
export async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const screen = createScreen(
    (text) => process.stdout.write(text),
    process.stdout.isTTY === true && !env.NO_COLOR,
  );
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { yes: { type: 'boolean' }, mark: { type: 'string' }, help: { type: 'boolean' } },
      allowPositionals: true,
    });
    const [backup, ...more] = positionals;
    if (values.help) {
      console.log(USAGE);
      return 0;
    }
    const settings = loadEnvironment(env, []);
    if (values.mark !== undefined) {
      await markOutside(settings, values.mark, screen);
      return 0;
    }
    if (backup === undefined || more.length > 0) throw new Error(`Name one backup.\n\n${USAGE}`);
    const folder = stateFolder(settings);
    const from = resolve(env.INIT_CWD ?? '.', backup);
    const isSure = values.yes === true ? async () => true : ask;
    await restore({ folder, from, apiPort: settings.storagePort, isSure, screen });
    return 0;
  } catch (error) {
    screen.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

async function ask(question: string): Promise<boolean> {
  if (process.stdin.isTTY !== true) throw new Error('Nobody is there to be asked: add --yes.');
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
  } finally {
    terminal.close();
  }
}

/** What a restore needs. */
export interface RestoreOptions {
  /** the laboratory's state */
  readonly folder: string;
  /** the backup */
  readonly from: string;
  /** for the message of another start meanwhile */
  readonly apiPort: number;
  /** asked before anything is changed */
  isSure(question: string): Promise<boolean>;
  readonly screen: Screen;
}

/**
 * Restores a laboratory. The database is made and checked aside; only when its ledger is the one that was backed up, and
 * it is marked as restored, does it take the present one's place.
 * @throws Error when the laboratory runs, the backup is damaged or newer than this program, or nobody is sure; then
 *   nothing has changed
 */
export async function restore({ folder, from, apiPort, isSure, screen }: RestoreOptions): Promise<void> {
  const since = Date.now();
  const manifest = readManifest(from);
  await checkReadable(manifest);
  const state = await State.open(folder, 'demo', {
    reset: false,
    say: (line) => screen.note(line),
    isRestore: true,
  });
  state.claim(apiPort);
  try {
    await verifyFiles(from, manifest);
    screen.step(
      'backup',
      `${from}, made at ${manifest.takenAt}: ${manifest.files.length} files as they were`,
      since,
    );
    const samples = manifest.tenants.reduce((sum, tenant) => sum + tenant.samples, 0);
    const question = `Replace the laboratory in ${folder} by this one of ${manifest.tenants.length} tenants and ${samples} samples? Whatever was recorded after ${manifest.takenAt} is lost.`;
    if (!(await isSure(question))) throw new Error('Nothing was changed.');
    const dataDir = clusterFolder(state.path('postgres'));
    const made = `${dataDir}.restored`;
    await makeCluster(state, from, manifest, made, screen);
    exchange(state, from, dataDir, made, screen);
    for (const name of KEPT_FILES) await copyFile(join(from, name), state.path(name));
    state.exchanged();
    screen.step(
      'restored',
      'every robot is held: at each, look, then clear its fault. npm start goes on',
      since,
    );
  } finally {
    state.release();
  }
}

/** @throws Error when a newer program made the backup */
async function checkReadable(manifest: BackupManifest): Promise<void> {
  if ((await readdir(MIGRATIONS)).includes(manifest.schema)) return;
  throw new Error(
    `The backup was made by TracSeq ${manifest.product}, whose last migration ${manifest.schema} this one does not have: restore it with that version or a newer one.`,
  );
}

/** The backed-up cluster beside the present one: recovered, migrated, checked, marked, and stopped. */
async function makeCluster(
  state: State,
  from: string,
  manifest: BackupManifest,
  made: string,
  screen: Screen,
): Promise<void> {
  const user = postgresUser();
  const own = (path: string) => user && chownSync(path, user.uid, user.gid);
  for (const path of [made, `${made}.secret`]) rmSync(path, { recursive: true, force: true });
  for (const path of manifest.folders) {
    const folder = made + path.slice('postgres'.length);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    own(folder);
  }
  for (const { path, sha256 } of manifest.files.filter((file) => file.path.startsWith('postgres'))) {
    const to = made + path.slice('postgres'.length);
    const copy = await copyFile(join(from, path), to);
    if (copy?.sha256 !== sha256) throw new Error(`${join(from, path)} was changed while it was read.`);
    own(to);
  }
  const since = Date.now();
  const cluster = await startCluster({
    dataDir: made,
    port: await freePort(),
    logFile: state.logFile('postgres'),
  });
  state.note('PostgreSQL', cluster.pid);
  try {
    const urls = await prepareCluster(cluster);
    const db = openDatabase(urls.app, { max: 4 });
    try {
      for (const tenant of manifest.tenants) await checkTenant(db, tenant);
      screen.step('ledger', 'every entry, record version and event is as it was backed up', since);
      screen.step('migrations', await migrateWith(urls));
      await mark(db, new Date(manifest.takenAt), screen);
    } finally {
      await db.close();
    }
  } finally {
    await cluster.stop();
  }
}

async function checkTenant(db: Database, { id, ledger }: BackupManifest['tenants'][number]): Promise<void> {
  const report = await checkLedger(db, id);
  if (!report.ok) throw new Error(`The ledger of tenant ${id} does not hold: ${report.firstFault?.detail}.`);
  if ((await ledgerRootAt(db, id, ledger.size)) !== ledger.root) {
    throw new Error(
      `The ledger of tenant ${id} does not begin with the ${ledger.size} entries of the manifest: the backup was changed.`,
    );
  }
}

async function mark(db: Database, takenAt: Date, screen: Screen): Promise<void> {
  const tenants = await db.kysely.selectFrom('tenant').select('id').orderBy('id').execute();
  for (const { id } of tenants) {
    const { robots, motions, jobs, schedules, unknown, unverified } = await markRestored(
      db,
      id,
      takenAt,
      workflowIds.restored,
    );
    screen.step(
      'marked',
      `tenant ${id}: ${robots} robots held, ${motions} commands unknown, ${jobs} jobs to ask about, ${schedules} schedules paused, ${unknown} tubes unknown, ${unverified} not seen since`,
    );
  }
}

/** Puts the restored parts in the place of the present ones, which are set aside. */
function exchange(state: State, from: string, dataDir: string, made: string, screen: Screen): void {
  const stamp = new Date().toISOString().replaceAll(/[:.]/g, '-');
  const aside = state.path(`before-${stamp}`);
  state.exchanging({ from, aside });
  mkdirSync(aside, { mode: 0o700 });
  for (const [present, next] of [
    [dataDir, made],
    [`${dataDir}.secret`, `${made}.secret`],
  ] as const) {
    // Beside it: it may lie in another file system than the rest of the state.
    if (existsSync(present)) renameSync(present, `${present}.before-${stamp}`);
    renameSync(next, present);
  }
  // The robots' world is the world: it is not restored. The bundle is made at each start.
  for (const name of [...KEPT_FILES, 'temporal']) {
    if (existsSync(state.path(name))) renameSync(state.path(name), join(aside, name));
  }
  mkdirSync(state.path('temporal'), { mode: 0o700 });
  if (existsSync(`${dataDir}.before-${stamp}`)) {
    screen.note(
      `what was there is kept in ${dataDir}.before-${stamp} and ${aside}: remove both when all is well`,
    );
  }
}

/** Marks a database that its own server's tools have restored. */
async function markOutside(settings: Settings, time: string, screen: Screen): Promise<void> {
  const takenAt = new Date(time);
  if (!/^\d{4}-\d{2}-\d{2}T/.test(time) || Number.isNaN(takenAt.getTime())) {
    throw new Error(
      `--mark needs the time to which the database was restored, such as 2026-03-02T08:15:00Z, not '${time}'.`,
    );
  }
  if (settings.databaseUrl === null) {
    throw new Error(
      '--mark is for the database in STORAGE_DATABASE_URL, which is not set; otherwise name a backup.',
    );
  }
  const db = openDatabase(settings.databaseUrl, { max: 2 });
  try {
    const { rows } = await db.pool.query<{ others: number }>(
      `SELECT count(*) AS others FROM pg_stat_activity
       WHERE datname = current_database() AND usename LIKE 'tracseq%' AND pid <> pg_backend_pid()`,
    );
    if (Number(rows[0]?.others) > 0)
      throw new Error('Something of the laboratory is connected to the database: stop it first.');
    await mark(db, takenAt, screen);
  } finally {
    await db.close();
  }
}
