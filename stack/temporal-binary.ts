import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serverVersion } from './temporal.ts';

/** The release that is fetched or built; it holds the server version the tests run against. */
const CLI_VERSION = 'v1.5.1';
/** Server versions this project was tested with. */
const TESTED = ['1.29.1'];
const DOWNLOAD_SECONDS = 15;

export interface TemporalBinary {
  readonly path: string;
  /** of the server inside, e.g. `1.29.1` */
  readonly version: string;
}

/**
 * Finds a Temporal CLI: the given one, one of a tested version on the PATH, the cached one; else fetches or builds it.
 * @param given path from TEMPORAL_CLI_PATH, which must then be good
 * @param say hears one line for each step that takes time
 * @throws Error saying what was tried when there is none
 */
export async function findTemporal(
  given: string | null,
  say: (line: string) => void,
): Promise<TemporalBinary> {
  if (given !== null) {
    const version = serverVersion(given);
    if (version === undefined) throw new Error(`TEMPORAL_CLI_PATH is ${given}, which is not a Temporal CLI`);
    return { path: given, version };
  }
  return onPath(say) ?? (await cached(say)) ?? (await downloaded(say)) ?? (await built(say));
}

function onPath(say: (line: string) => void): TemporalBinary | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter).filter(Boolean)) {
    const path = join(folder, 'temporal');
    if (!existsSync(path)) continue;
    const version = serverVersion(path);
    if (version !== undefined && TESTED.includes(version)) return { path, version };
    say(`Temporal: ${path} holds server ${version ?? 'unknown'}, tested is ${TESTED.join(', ')}: not used`);
    return undefined;
  }
  return undefined;
}

/** This user's cache of programs that were fetched or built. */
export function cacheRoot(): string {
  const home =
    process.platform === 'darwin' ? join(homedir(), 'Library', 'Caches') : join(homedir(), '.cache');
  return join(process.env.XDG_CACHE_HOME || home, 'tracseq');
}

const cacheFolder = () => join(cacheRoot(), `temporal-cli-${CLI_VERSION}-${process.arch}`);

const binaryIn = (folder: string) => join(folder, 'temporal');
const noteIn = (folder: string) => join(folder, 'temporal.json');

async function cached(say: (line: string) => void): Promise<TemporalBinary | undefined> {
  const folder = cacheFolder();
  if (!existsSync(noteIn(folder)) || !existsSync(binaryIn(folder))) return undefined;
  const note = JSON.parse(readFileSync(noteIn(folder), 'utf8')) as { version: string; sha256: string };
  if ((await sha256(binaryIn(folder))) === note.sha256)
    return { path: binaryIn(folder), version: note.version };
  say(`Temporal: ${binaryIn(folder)} is not what was put there: it is fetched anew`);
  rmSync(folder, { recursive: true });
  return undefined;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/** Puts a fetched or built program into the cache, note last, so that half a program is never taken for a whole. */
async function keep(source: string): Promise<TemporalBinary> {
  const version = serverVersion(source);
  if (version === undefined) throw new Error(`${source} does not run on this machine`);
  const folder = cacheFolder();
  mkdirSync(folder, { recursive: true });
  const digest = await sha256(source);
  renameSync(source, binaryIn(folder));
  writeFileSync(noteIn(folder), JSON.stringify({ version, sha256: digest, cli: CLI_VERSION }));
  return { path: binaryIn(folder), version };
}

function workFolder(): string {
  mkdirSync(cacheFolder(), { recursive: true });
  return mkdtempSync(join(cacheFolder(), 'work-'));
}

/** The SDK's own download, in a process of its own: it cannot be interrupted otherwise. */
async function downloaded(say: (line: string) => void): Promise<TemporalBinary | undefined> {
  say(`Temporal: downloading the CLI ${CLI_VERSION} (at most ${DOWNLOAD_SECONDS} s)`);
  const folder = workFolder();
  try {
    const script = fileURLToPath(new URL('./download-temporal.mjs', import.meta.url));
    const outcome = await run(process.execPath, [script, folder, CLI_VERSION], {}, DOWNLOAD_SECONDS * 1000);
    const file = readdirSync(folder).find((name) => statSync(join(folder, name)).isFile());
    if (outcome.status === 0 && file !== undefined) return await keep(join(folder, file));
    say(`Temporal: the download did not work (${outcome.why}): building it instead`);
    return undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function built(say: (line: string) => void): Promise<TemporalBinary> {
  const module = `github.com/temporalio/cli/cmd/temporal@${CLI_VERSION}`;
  say(`Temporal: building it with 'go install ${module}' (once, about 3 minutes on 2 cores)`);
  const folder = workFolder();
  const started = Date.now();
  const progress = setInterval(
    () => say(`Temporal: still building, ${Math.round((Date.now() - started) / 1000)} s`),
    30_000,
  );
  try {
    const outcome = await run('go', ['install', module], { GOBIN: folder, CGO_ENABLED: '0' }, 30 * 60_000);
    if (outcome.status !== 0) {
      throw new Error(
        `There is no Temporal CLI: none on the PATH, the download did not work, and building it failed (${outcome.why}). ` +
          `Install Go 1.24 or newer, or set TEMPORAL_CLI_PATH to a Temporal CLI with server ${TESTED.join(' or ')}.`,
      );
    }
    say(`Temporal: built in ${Math.round((Date.now() - started) / 1000)} s`);
    return await keep(join(folder, 'temporal'));
  } finally {
    clearInterval(progress);
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Runs a program to its end, or ends it with all it started when the time is over.
 * @param ms how long it may take
 * @returns its exit status, null when it did not start or was ended, and what it complained of
 */
export function run(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
  ms: number,
): Promise<{ status: number | null; why: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
      detached: true,
    });
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-2000);
    });
    const endAll = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    };
    process.once('exit', endAll);
    const clock = setTimeout(() => {
      errors = `no answer within ${ms / 1000} s`;
      endAll();
    }, ms);
    const finish = (status: number | null, why: string) => {
      clearTimeout(clock);
      process.off('exit', endAll);
      resolve({ status, why });
    };
    child.once('error', (error) => finish(null, error.message));
    child.once('close', (status) => finish(status, reason(errors)));
  });
}

/** The line of a program's complaints that says most. */
function reason(errors: string): string {
  const lines = errors.trim().split('\n');
  return (lines.find((line) => /error|no answer/i.test(line)) ?? lines.at(-1) ?? '').trim().slice(0, 140);
}
