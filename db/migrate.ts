import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

const MIGRATIONS = fileURLToPath(new URL('./migrations/', import.meta.url));
/** Key of the advisory lock that lets one process migrate at a time. */
const LOCK = 7_203_155;

/**
 * Applies the migrations that are missing, each in a transaction of its own, in the order of their names.
 * Forward only; a second process waits for the first.
 * @param ownerUrl connection URL of the owner role
 * @returns names of the migrations applied now
 * @throws Error when a migration that was applied has changed since
 */
export async function migrate(ownerUrl: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [LOCK]);
    await client.query(
      `CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, sha256 bytea NOT NULL,
         applied_at timestamptz NOT NULL DEFAULT now())`,
    );
    const applied: string[] = [];
    for (const name of (await readdir(MIGRATIONS)).filter((file) => file.endsWith('.sql')).sort()) {
      const sql = await readFile(`${MIGRATIONS}${name}`, 'utf8');
      const known = await client.query<{ same: boolean }>(
        `SELECT sha256 = sha256(convert_to($2, 'UTF8')) AS same FROM migration WHERE name = $1`,
        [name, sql],
      );
      if (known.rows[0]?.same === false) {
        throw new Error(`migration ${name} was applied and has changed since: write a new one instead`);
      }
      if (known.rows[0]) continue;
      await client.query('BEGIN');
      try {
        // Constraints added to tables under row-level security evaluate their policies: no tenant's.
        await client.query(`SELECT set_config('app.tenant', '00000000-0000-0000-0000-000000000000', true)`);
        await client.query(sql);
        await client.query(
          `INSERT INTO migration (name, sha256) VALUES ($1, sha256(convert_to($2, 'UTF8')))`,
          [name, sql],
        );
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK');
        throw new Error(`migration ${name} failed`, { cause: error });
      }
      applied.push(name);
    }
    return applied;
  } finally {
    await client.end();
  }
}
