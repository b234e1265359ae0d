import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { migrate } from '../../db/migrate.ts';
import { ensureRolesAndDatabase, rolePassword } from '../../db/roles.ts';
import { generateTypes, SCHEMA_FILE } from '../../stack/db-types.ts';
import { createTestDatabase, type TestDatabase } from '../setup/database.ts';

const MIGRATIONS = readdirSync(new URL('../../db/migrations/', import.meta.url)).sort();

let migrated: TestDatabase;
beforeAll(async () => {
  migrated = await createTestDatabase();
});
afterAll(() => migrated.drop());

async function admin<Row extends pg.QueryResultRow>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** An empty database, dropped afterwards. */
async function withEmptyDatabase(name: string, use: (ownerUrl: string, adminUrl: string) => Promise<void>) {
  const server = inject('postgresAdminUrl');
  await ensureRolesAndDatabase(server, name, inject('clusterSecret'));
  const url = new URL(server);
  url.pathname = `/${name}`;
  const owner = new URL(url);
  owner.username = 'tracseq_owner';
  owner.password = rolePassword('tracseq_owner', inject('clusterSecret'));
  try {
    await use(owner.href, url.href);
  } finally {
    await admin(server, `DROP DATABASE ${name} WITH (FORCE)`);
  }
}

describe('migrations', () => {
  it('are applied once each, in the order of their names, by one of several processes that start at once', async () => {
    await withEmptyDatabase('migrate_at_once', async (ownerUrl, adminUrl) => {
      const applied = await Promise.all([migrate(ownerUrl), migrate(ownerUrl), migrate(ownerUrl)]);
      expect(applied.flat()).toEqual(MIGRATIONS);
      expect(await migrate(ownerUrl)).toEqual([]);
      const rows = await admin<{ name: string }>(
        adminUrl,
        'SELECT name FROM migration ORDER BY applied_at, name',
      );
      expect(rows.map((row) => row.name)).toEqual(MIGRATIONS);
    });
  });

  it('leave nothing half done when one fails, and go on from there', async () => {
    await withEmptyDatabase('migrate_half', async (ownerUrl, adminUrl) => {
      // Stands in the way of the second migration.
      await admin(adminUrl, 'CREATE TABLE refresh_token (x int)');
      await expect(migrate(ownerUrl)).rejects.toThrow('migration 0002_identity.sql failed');
      const rows = await admin<{ name: string; user: string | null }>(
        adminUrl,
        `SELECT name, to_regclass('app_user')::text AS user FROM migration`,
      );
      expect(rows).toEqual([{ name: '0001_tenancy_and_ledger.sql', user: null }]);
      await admin(adminUrl, 'DROP TABLE refresh_token');
      expect(await migrate(ownerUrl)).toEqual(MIGRATIONS.slice(1));
    });
  });

  it('refuse one that was applied and has changed since', async () => {
    await admin(migrated.adminUrl, `UPDATE migration SET sha256 = sha256('another') WHERE name LIKE '0003%'`);
    await expect(migrate(migrated.ownerUrl)).rejects.toThrow(
      'migration 0003_storage.sql was applied and has changed since: write a new one instead',
    );
  });
});

describe('generated types', () => {
  it('are those of the migrated schema: run `npm run db:types` after a migration', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tracseq-types-'));
    try {
      const file = join(folder, 'schema.ts');
      generateTypes(migrated.adminUrl, file);
      expect(readFileSync(file, 'utf8')).toBe(readFileSync(SCHEMA_FILE, 'utf8'));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
