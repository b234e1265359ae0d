import { lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { type BackupFile, copyFile, settledContent, writeSynced } from './backup-files.ts';

/** A copy of a cluster's files, and of the log that makes them one state. */
export interface BaseBackup {
  readonly folders: readonly string[];
  readonly files: readonly BackupFile[];
  readonly wal: { readonly from: string; readonly to: string };
  readonly takenAt: string;
}

/** Folders whose content belongs to the running server alone; as in pg_basebackup. */
const WITHOUT_CONTENT = new Set([
  'pg_dynshmem',
  'pg_notify',
  'pg_replslot',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
  'pg_wal',
]);
const LEFT_OUT = new Set([
  'postmaster.pid',
  'postmaster.opts',
  'backup_label',
  'tablespace_map',
  'current_logfiles',
]);
const CONTROL = 'global/pg_control';
const WAL_FILE = /^[0-9A-F]{24}$/;

/**
 * Copies a cluster while it works, by the low-level backup API of PostgreSQL (its manual, 25.3.4), since the embedded
 * distribution has neither pg_basebackup nor pg_dump. A temporary replication slot keeps the log that the copy needs.
 * @param target folder of the copy; its parent exists
 * @param atEnd runs when the files are copied, before the copy's end is marked in the log
 * @throws Error when the cluster has tablespaces, or the log that is needed is gone
 */
export async function copyCluster(
  adminUrl: string,
  dataDir: string,
  target: string,
  atEnd: () => Promise<void>,
): Promise<BaseBackup> {
  // Backup and slot end with this connection, however this ends.
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    if (readdirSync(join(dataDir, 'pg_tblspc')).length > 0) {
      throw new Error(
        `${dataDir} has tablespaces, whose files lie elsewhere: back it up with pg_basebackup.`,
      );
    }
    await client.query('SELECT pg_create_physical_replication_slot($1, true, true)', [
      `tracseq_backup_${process.pid}`,
    ]);
    const started = await client.query<{ lsn: string; file: string }>(
      `SELECT lsn, pg_walfile_name(lsn) AS file FROM pg_backup_start('tracseq', true) AS lsn`,
    );
    const begin = only(started.rows);
    const copied = await copyFolder(dataDir, target);
    await atEnd();
    const stopped = await client.query<{ lsn: string; file: string; labelfile: string; at: Date }>(
      `SELECT lsn, pg_walfile_name(lsn) AS file, labelfile, clock_timestamp() AS at FROM pg_backup_stop(false)`,
    );
    const end = only(stopped.rows);
    const label = await writeSynced(join(target, 'backup_label'), end.labelfile);
    copied.files.push({ path: 'backup_label', ...label });
    copied.files.push(...(await copyLog(dataDir, target, begin.file, end.file)));
    return { ...copied, wal: { from: begin.lsn, to: end.lsn }, takenAt: end.at.toISOString() };
  } finally {
    await client.end();
  }
}

function only<T>(rows: readonly T[]): T {
  const [row] = rows;
  if (row === undefined) throw new Error('PostgreSQL did not answer about its backup');
  return row;
}

async function copyFolder(dataDir: string, target: string) {
  const folders: string[] = [];
  const files: BackupFile[] = [];
  mkdirSync(target, { mode: 0o700 });
  const visit = async (inside: string): Promise<void> => {
    for (const name of readdirSync(join(dataDir, inside))) {
      const path = inside === '' ? name : `${inside}/${name}`;
      if (LEFT_OUT.has(path) || path === CONTROL || /^pgsql_tmp|^pg_internal\.init/.test(name)) continue;
      const found = lstatSync(join(dataDir, path), { throwIfNoEntry: false });
      if (found?.isDirectory()) {
        folders.push(path);
        mkdirSync(join(target, path), { mode: 0o700 });
        if (WITHOUT_CONTENT.has(path)) continue;
        await visit(path);
      } else if (found?.isFile()) {
        // A table that was dropped meanwhile is dropped by the log as well.
        const copy = await copyFile(join(dataDir, path), join(target, path));
        if (copy) files.push({ path, ...copy });
      }
    }
  };
  await visit('');
  const control = await writeSynced(join(target, CONTROL), await settledContent(join(dataDir, CONTROL)));
  files.push({ path: CONTROL, ...control });
  return { folders, files };
}

/** The log from the copy's begin to its end: with it the files, copied one after the other, become one state. */
async function copyLog(dataDir: string, target: string, first: string, last: string): Promise<BackupFile[]> {
  const wanted = readdirSync(join(dataDir, 'pg_wal'))
    .filter((name) => (WAL_FILE.test(name) && name >= first && name <= last) || name.endsWith('.history'))
    .sort();
  for (const name of [first, last]) {
    if (!wanted.includes(name)) throw new Error(`the log file ${name}, which the copy needs, is gone`);
  }
  const files: BackupFile[] = [];
  for (const name of wanted) {
    const path = `pg_wal/${name}`;
    const copy = await copyFile(join(dataDir, path), join(target, path));
    if (!copy) throw new Error(`the log file ${name}, which the copy needs, is gone`);
    files.push({ path, ...copy });
  }
  return files;
}
