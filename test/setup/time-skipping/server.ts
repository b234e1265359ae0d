import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheRoot, run } from '../../../stack/temporal-binary.ts';

const VERSION = '1.38.0';
const MAVEN_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';
const DOWNLOAD_SECONDS = 15;
const MINUTE = 60_000;

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const cacheFolder = () => join(cacheRoot(), `time-skipping-server-${VERSION}-${process.arch}`);
const downloadedIn = (folder: string) => join(folder, 'downloaded');
const jarsIn = (folder: string) => join(folder, 'jars');

/** The program of the time-skipping server, or why this machine cannot have it. */
export type TimeSkippingServer = { readonly path: string } | { readonly missing: string };

/**
 * Finds the time-skipping server that the SDK downloads; where its site is not reached, the same server as jars from Maven
 * Central, run by Java 17 or newer. What is fetched stays in this user's cache; Java and Maven are installed by root on Debian only.
 * @param say hears one line for each step that takes time
 */
export async function findTimeSkippingServer(say: (line: string) => void): Promise<TimeSkippingServer> {
  const folder = cacheFolder();
  mkdirSync(folder, { recursive: true });
  const [downloaded] = existsSync(downloadedIn(folder)) ? readdirSync(downloadedIn(folder)) : [];
  if (downloaded !== undefined) return { path: join(downloadedIn(folder), downloaded) };
  if (!existsSync(jarsIn(folder))) {
    const path = await download(folder, say);
    if (path !== undefined) return { path };
  }
  const missing =
    (await installed('java', 'openjdk-17-jre-headless', ['-version'], say)) ?? (await fetchJars(folder, say));
  return missing === undefined ? { path: startScript(folder) } : { missing };
}

/** The SDK's own download. It names what it fetches by the SDK's version; kept only when the server it starts has answered. */
async function download(folder: string, say: (line: string) => void): Promise<string | undefined> {
  say(`Time-skipping server: downloading it (at most ${DOWNLOAD_SECONDS} s)`);
  const into = mkdtempSync(join(folder, 'work-'));
  try {
    const script = here('../../../stack/download-temporal.mjs');
    const args = [script, into, 'default', 'time-skipping'];
    const { status, why } = await run(process.execPath, args, {}, DOWNLOAD_SECONDS * 1000);
    const [name] = readdirSync(into);
    if (status === 0 && name !== undefined) {
      renameSync(into, downloadedIn(folder));
      return join(downloadedIn(folder), name);
    }
    say(`Time-skipping server: the download did not work (${why}): fetching its jars instead`);
    return undefined;
  } finally {
    rmSync(into, { recursive: true, force: true });
  }
}

/** Fetches the jars by Maven, unless they are there. @returns why they are not there; undefined when they are */
async function fetchJars(folder: string, say: (line: string) => void): Promise<string | undefined> {
  if (existsSync(jarsIn(folder))) {
    if (wrongJars(jarsIn(folder)) === undefined) return undefined;
    say(`Time-skipping server: ${jarsIn(folder)} is not what was put there: it is fetched anew`);
    rmSync(jarsIn(folder), { recursive: true });
  }
  const noMaven = await installed('mvn', 'maven', ['--version'], say);
  if (noMaven !== undefined) return noMaven;
  say('Time-skipping server: fetching its jars by Maven (once, 38 MB)');
  const into = mkdtempSync(join(folder, 'work-'));
  try {
    const goal = [`${MAVEN_PLUGIN}:copy-dependencies`, '-DincludeScope=runtime', `-DoutputDirectory=${into}`];
    const args = ['--batch-mode', '--quiet', '--file', here('pom.xml'), ...goal];
    const { status, why } = await run('mvn', args, {}, 5 * MINUTE);
    if (status !== 0) return `Maven did not fetch its jars: ${why}`;
    const wrong = wrongJars(into);
    if (wrong !== undefined) throw new Error(`Maven fetched other jars than jars.sha256 names: ${wrong}`);
    if (!existsSync(jarsIn(folder))) renameSync(into, jarsIn(folder)); // or another run was faster
    return undefined;
  } finally {
    rmSync(into, { recursive: true, force: true });
  }
}

/** What differs between a folder and the pinned jars, in a word; undefined when nothing does. */
function wrongJars(folder: string): string | undefined {
  const sha256 = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex');
  const pinned = new Set(readFileSync(here('jars.sha256'), 'utf8').trim().split('\n'));
  const there = readdirSync(folder).map((name) => `${sha256(name)}  ${name}`);
  return there.find((line) => !pinned.has(line)) ?? [...pinned].find((line) => !there.includes(line));
}

/** The flags have it start faster. Only its own arguments: any further one would have time skip before anybody asks for it. */
function startScript(folder: string): string {
  const path = join(folder, 'temporal-test-server');
  const script = `#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "${jarsIn(folder)}/*" io.temporal.testserver.TestServer "$@"\n`;
  if (existsSync(path) && readFileSync(path, 'utf8') === script) return path;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}

/** Has a program, installed first where this is allowed. @returns why it is not there; undefined when it is */
async function installed(
  program: string,
  debianPackage: string,
  probe: readonly string[],
  say: (line: string) => void,
): Promise<string | undefined> {
  const runs = async () => (await run(program, probe, {}, MINUTE)).status === 0;
  if (await runs()) return undefined;
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version'))
    return `there is no ${program}; install ${debianPackage}, or run as root on Debian to have it installed`;
  say(`Time-skipping server: installing ${debianPackage} by apt-get`);
  const quietly = { DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['install', '--yes', '--no-install-recommends', debianPackage];
  for (const args of [['update'], install]) {
    const { status, why } = await run('apt-get', args, quietly, 10 * MINUTE);
    if (status !== 0) return `apt-get ${args[0]} of ${debianPackage} did not work: ${why}`;
  }
  return (await runs()) ? undefined : `${debianPackage} is installed, and ${program} still does not run`;
}
