// Plain JavaScript without dependencies: it runs before they are there.
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startOf } from './process-start.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Ends the process with a sentence when this Node is too old for the project. */
export function requireNode() {
  const { engines } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  const wanted = engines.node.replace('>=', '').split('.').map(Number);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > wanted[0] || (major === wanted[0] && minor >= wanted[1])) return;
  console.error(
    `This needs Node ${engines.node}; this is ${process.versions.node}. Install a newer one from nodejs.org.`,
  );
  process.exit(1);
}

/** Whoever runs from the dependencies has a file here, named by its process number; it goes with them. */
const users = `${root}node_modules/.cache/tracseq-users`;

/** @returns what runs from the dependencies at this moment, in words; undefined when nothing does */
function userOfDependencies() {
  for (const name of existsSync(users) ? readdirSync(users) : []) {
    const pid = Number(name);
    const startedAt = startOf(pid);
    if (startedAt === undefined) continue;
    const [noted, what] = readFileSync(join(users, name), 'utf8').split('\n');
    if (noted === startedAt) return `${what} (process ${pid})`;
  }
}

function noteUse() {
  const { npm_lifecycle_event: script } = process.env;
  const what = script === undefined ? process.argv.slice(1).join(' ') : `npm run ${script}`;
  const file = join(users, String(process.pid));
  try {
    mkdirSync(users, { recursive: true });
    writeFileSync(file, `${startOf(process.pid)}\n${what}\n`);
    process.on('exit', () => rmSync(file, { force: true }));
  } catch {
    // Where this process may not write, it could not install anything either.
  }
}

/**
 * Installs what the lockfile names, unless that was done since it last changed. What others run from is not replaced
 * under them: then the process ends with a sentence.
 * @param {(line: string) => void} say
 */
export function ensureDependencies(say) {
  const installed = `${root}node_modules/.package-lock.json`;
  const lockfile = `${root}package-lock.json`;
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lockfile).mtimeMs) {
    noteUse();
    return;
  }
  // npm ci empties the folder it finds, also through a link: somebody else's then.
  if (lstatSync(`${root}node_modules`, { throwIfNoEntry: false })?.isSymbolicLink()) {
    console.error(
      'node_modules is a link to a folder that is older than package-lock.json. Remove the link, or run npm ci where it points to. Nothing was started.',
    );
    process.exit(1);
  }
  const user = userOfDependencies();
  if (user !== undefined) {
    console.error(
      `package-lock.json has changed, and ${user} runs from the dependencies that are installed: replacing them would break it. ` +
        'End it first, with Ctrl-C where it was started, then start this again. Nothing was started.',
    );
    process.exit(1);
  }
  const why = existsSync(installed) ? 'the lockfile has changed' : 'none are here yet';
  say(`installing with npm ci (${why}; a minute or two)`);
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  const run = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
    : spawnSync('npm', args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (run.status !== 0) {
    console.error(`npm ci did not work${run.error ? `: ${run.error.message}` : ''}. Nothing was started.`);
    process.exit(1);
  }
  noteUse();
}
