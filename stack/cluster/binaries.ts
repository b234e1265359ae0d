import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Settings } from '../../schemas/environment.ts';
import { cacheRoot } from '../temporal-binary.ts';

/** The version of the Temporal server that the production shape runs. */
const SERVER_VERSION = '1.29.1';

/** Programs of the real server, as opposed to the CLI's development server. */
export interface ServerBinaries {
  readonly server: string;
  readonly sqlTool: string;
}

const PROGRAMS = [
  {
    key: 'server',
    module: 'go.temporal.io/server/cmd/server',
    file: 'temporal-server',
    variable: 'TEMPORAL_SERVER_PATH',
    setting: 'temporalServerPath',
  },
  {
    key: 'sqlTool',
    module: 'go.temporal.io/server/cmd/tools/sql',
    file: 'temporal-sql-tool',
    variable: 'TEMPORAL_SQL_TOOL_PATH',
    setting: 'temporalSqlToolPath',
  },
] as const;

/** Programs that the environment names. */
export type NamedBinaries = Pick<Settings, 'temporalServerPath' | 'temporalSqlToolPath'>;

/**
 * Finds the server and its SQL tool: named by the environment, kept from an earlier build, or built with `go install`
 * (about two minutes on two cores, once).
 * @param say told what is being done when it takes long
 * @throws Error when a named program is missing or of another version, or Go is missing or fails
 */
export async function serverBinaries(
  settings: NamedBinaries,
  say: (line: string) => void,
): Promise<ServerBinaries> {
  const folder = join(cacheRoot(), `temporal-server-${SERVER_VERSION}-${process.arch}`);
  const paths = { server: '', sqlTool: '' };
  for (const { key, module, file, variable, setting } of PROGRAMS) {
    const named = settings[setting];
    if (named !== null) {
      const version = programVersion(named);
      if (version !== SERVER_VERSION) {
        throw new Error(
          version === undefined
            ? `${variable} is ${named}, which is not a Temporal ${file}`
            : `${variable} is ${named}, version ${version}; the tested version is ${SERVER_VERSION}`,
        );
      }
      paths[key] = named;
      continue;
    }
    const kept = join(folder, file);
    if (!existsSync(kept) || programVersion(kept) !== SERVER_VERSION) {
      say(`building ${file} ${SERVER_VERSION} with Go; this takes some minutes, once`);
      await goInstall(module, folder, kept, variable);
    }
    paths[key] = kept;
  }
  return paths;
}

/** What `--version` says, e.g. `1.29.1`; undefined when it says nothing of the kind. */
function programVersion(path: string): string | undefined {
  try {
    const text = execFileSync(path, ['--version'], {
      encoding: 'utf8',
      timeout: 20_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return /version (\d+\.\d+\.\d+)/.exec(text)?.[1];
  } catch {
    return undefined; // not a program, or not one that knows --version
  }
}

/** Builds into a folder of its own and renames, so that a build broken off leaves nothing that looks whole. */
async function goInstall(module: string, folder: string, target: string, variable: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(folder, 'build-'));
  try {
    await new Promise<void>((resolve, reject) => {
      const go = spawn('go', ['install', `${module}@v${SERVER_VERSION}`], {
        cwd: scratch, // outside any module, so that `@version` decides alone
        env: { ...process.env, GOBIN: scratch },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let words = '';
      go.stderr.on('data', (chunk: Buffer) => {
        words = (words + chunk.toString()).slice(-4000);
      });
      go.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'ENOENT'
            ? new Error(
                `Go is not installed. Install Go 1.25 or newer, or name a built program in ${variable}`,
              )
            : error,
        ),
      );
      go.once('exit', (code) =>
        code === 0
          ? resolve()
          : reject(new Error(`go install ${module}@v${SERVER_VERSION} failed:\n${words}`)),
      );
    });
    renameSync(join(scratch, module.slice(module.lastIndexOf('/') + 1)), target);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
