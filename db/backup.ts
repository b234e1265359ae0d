import { CompactRange, rootOf } from '../domain/merkle.ts';
import type { Database } from './connection.ts';

/** What a tenant has, to be found again after a restore. */
export interface TenantFigures {
  readonly id: string;
  readonly ledger: { readonly size: number; readonly root: string };
  readonly samples: number;
  readonly openJobs: number;
  readonly robots: number;
}

/** Rows fetched at a time. */
const BATCH = 10_000;

/** Every tenant's figures, each read in one snapshot. */
export async function tenantFigures(db: Database): Promise<TenantFigures[]> {
  const tenants = await db.kysely.selectFrom('tenant').select('id').orderBy('id').execute();
  const figures: TenantFigures[] = [];
  for (const { id } of tenants) {
    const client = await db.cursors.connect();
    try {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      await client.query(`SELECT set_config('app.tenant', $1, true)`, [id]);
      const { rows } = await client.query<{
        size: number;
        frontier: Buffer[];
        samples: number;
        jobs: number;
        robots: number;
      }>(
        `SELECT size, frontier, (SELECT count(*) FROM sample WHERE tenant_id = $1) AS samples,
                (SELECT count(*) FROM job WHERE tenant_id = $1 AND finished_at IS NULL) AS jobs,
                (SELECT count(*) FROM robot WHERE tenant_id = $1 AND retired_at IS NULL) AS robots
         FROM ledger.log WHERE tenant_id = $1`,
        [id],
      );
      await client.query('COMMIT');
      const row = rows[0];
      if (!row) throw new Error(`tenant ${id} has no ledger`);
      const { size, samples, jobs, robots } = row;
      figures.push({
        id,
        ledger: { size, root: rootOf(row.frontier).toString('hex') },
        samples,
        openJobs: jobs,
        robots,
      });
      client.release();
    } catch (error) {
      client.release(true);
      throw error;
    }
  }
  return figures;
}

/**
 * Root of a tenant's ledger as it was with its first `size` entries, in hex, from their stored leaf hashes; undefined
 * when it has fewer.
 */
export async function ledgerRootAt(
  db: Database,
  tenantId: string,
  size: number,
): Promise<string | undefined> {
  const tree = new CompactRange();
  const client = await db.cursors.connect();
  try {
    await client.query('BEGIN READ ONLY');
    await client.query(`SELECT set_config('app.tenant', $1, true)`, [tenantId]);
    while (tree.size < size) {
      const { rows } = await client.query<{ leaf_hash: Buffer }>(
        'SELECT leaf_hash FROM ledger.entry WHERE tenant_id = $1 AND seq >= $2 AND seq < $3 ORDER BY seq LIMIT $4',
        [tenantId, tree.size, size, BATCH],
      );
      if (rows.length === 0) break;
      for (const row of rows) tree.append(row.leaf_hash);
    }
    await client.query('COMMIT');
    client.release();
  } catch (error) {
    client.release(true);
    throw error;
  }
  return tree.size === size ? tree.root().toString('hex') : undefined;
}

/** Names of the migrations applied, in their order. @param db as the owner's role */
export async function appliedMigrations(db: Database): Promise<string[]> {
  const { rows } = await db.pool.query<{ name: string }>('SELECT name FROM migration ORDER BY name');
  return rows.map((row) => row.name);
}
