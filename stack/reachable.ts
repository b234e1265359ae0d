import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The user that runs PostgreSQL where this process is root; undefined: this process's own user does. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** Where things go that a folder closed to other users cannot hold. */
const OPEN_FOLDER = '/var/tmp';

/** Can this user enter the folder, or the nearest one above it that exists? */
function canEnter(folder: string, user: ServerUser): boolean {
  let existing = folder;
  while (!existsSync(existing)) existing = dirname(existing);
  return (
    spawnSync('/bin/sh', ['-c', 'cd "$1" && test -x .', 'sh', existing], { cwd: '/', ...user }).status === 0
  );
}

/** The open folder's own folder for a path: the same at each start, and nobody else's. */
function substitute(path: string): string {
  const folder = join(OPEN_FOLDER, `tracseq-${createHash('sha256').update(path).digest('hex').slice(0, 12)}`);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const found = lstatSync(folder);
  if (!found.isDirectory() || found.uid !== process.getuid?.()) {
    throw new Error(
      `${folder} belongs to somebody else: remove it, or keep the laboratory's state where user postgres can read it`,
    );
  }
  chmodSync(folder, 0o755);
  return folder;
}

/**
 * A folder for data that the user can reach: the preferred one, or one of its own below /var/tmp.
 * @param preferred absolute path; need not exist
 */
export function reachableFolder(preferred: string, user: ServerUser | undefined): string {
  if (user === undefined || canEnter(dirname(preferred), user)) return preferred;
  return join(substitute(preferred), 'data');
}

/**
 * The programs in `folder`, where the user can run them: there, or a copy below /var/tmp.
 * @param version told apart by, so that an update is copied anew
 */
export function reachableCopy(folder: string, version: string, user: ServerUser | undefined): string {
  if (user === undefined || canEnter(folder, user)) return folder;
  const copy = join(substitute(folder), version);
  if (!existsSync(copy)) {
    const half = `${copy}.${process.pid}`;
    cpSync(folder, half, { recursive: true, verbatimSymlinks: true });
    try {
      renameSync(half, copy);
    } catch (error) {
      rmSync(half, { recursive: true, force: true });
      if (!existsSync(copy)) throw error; // else another start was faster
    }
  }
  return copy;
}
