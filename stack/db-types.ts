import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { migrate } from '../db/migrate.ts';
import { ensureRolesAndDatabase, rolePassword } from '../db/roles.ts';
import { startCluster, TEST_SETTINGS } from './postgres.ts';
import { freePort } from './processes.ts';

/** Where the generated types live. */
export const SCHEMA_FILE = fileURLToPath(new URL('../db/schema.ts', import.meta.url));

/**
 * Writes the Kysely types of a migrated database to a file. `int8` is a number, as db/connection.ts reads it.
 * @param url connection URL of any role that may look at the catalogue
 * @throws Error with the generator's output when it fails
 */
export function generateTypes(url: string, file: string): void {
  const cli = join(dirname(createRequire(import.meta.url).resolve('kysely-codegen')), 'cli', 'bin.js');
  const run = spawnSync(
    process.execPath,
    [
      cli,
      ...['--url', url, '--dialect', 'postgres', '--default-schema', 'public'],
      ...['--type-mapping', '{"int8":"number","xid8":"string"}', '--out-file', file],
    ],
    { encoding: 'utf8' },
  );
  if (run.status !== 0) throw new Error(`kysely-codegen failed: ${run.stdout}${run.stderr}`);
}

/** Migrates a database of a throw-away cluster and regenerates db/schema.ts from it: `npm run db:types`. */
async function regenerate(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'tracseq-types-'));
  chmodSync(directory, 0o755); // PostgreSQL may run as another user
  const secret = 'throw-away';
  try {
    const cluster = await startCluster({
      dataDir: join(directory, 'data'),
      port: await freePort(),
      settings: TEST_SETTINGS,
      logFile: join(directory, 'postgres.log'),
    });
    try {
      await ensureRolesAndDatabase(cluster.adminUrl, 'types', secret);
      const url = `postgresql://tracseq_owner:${rolePassword('tracseq_owner', secret)}@127.0.0.1:${cluster.port}/types`;
      await migrate(url);
      generateTypes(url, SCHEMA_FILE);
    } finally {
      await cluster.stop();
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  console.log(`${SCHEMA_FILE}: ${readFileSync(SCHEMA_FILE, 'utf8').split('\n').length} lines`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await regenerate();
