import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../db/connection.ts';
import { openDatabase } from '../../db/connection.ts';
import { inTenant, read, sqlStateOf } from '../../db/tenancy.ts';
import type { Actor } from '../../domain/actor.ts';
import { openLaboratory, type TestLaboratory } from '../setup/tenant.ts';

let laboratory: TestLaboratory;
let app: Database;
let one: Actor;
let other: Actor;

beforeAll(async () => {
  laboratory = await openLaboratory({ max: 4 });
  app = laboratory.app;
  one = laboratory.administrator;
  other = await laboratory.addTenant();
});
afterAll(() => laboratory.close());

const users = () => app.kysely.selectFrom('app_user').select(['tenant_id', 'id']).compile();

describe('one tenant', () => {
  it('sees its own rows and nobody else’s, by any way of asking', async () => {
    expect(await read(app, one.tenantId, users())).toEqual([{ tenant_id: one.tenantId, id: one.userId }]);
    const asked = app.kysely.selectFrom('app_user').selectAll().where('id', '=', other.userId);
    expect(await read(app, one.tenantId, asked.compile())).toEqual([]);
    expect(
      await inTenant(app, one.tenantId, (tx) =>
        tx.selectFrom('ledger.entry').select('tenant_id').distinct().execute(),
      ),
    ).toEqual([{ tenant_id: one.tenantId }]);
  });

  it('can neither change nor enter another’s rows', async () => {
    const changed = await inTenant(app, one.tenantId, (tx) =>
      tx
        .updateTable('app_user')
        .set({ display_name: 'mine' })
        .where('id', '=', other.userId)
        .executeTakeFirst(),
    );
    expect(changed.numUpdatedRows).toBe(0n);
    const entered = inTenant(app, one.tenantId, (tx) =>
      tx
        .insertInto('step_result')
        .values({ tenant_id: other.tenantId, step_key: 'k', params_hash: Buffer.alloc(1), result: '{}' })
        .execute(),
    );
    await expect(entered).rejects.toThrow(/row-level security/);
  });

  it('cannot give its rows away', async () => {
    await inTenant(app, one.tenantId, (tx) =>
      tx
        .insertInto('step_result')
        .values({ tenant_id: one.tenantId, step_key: 'given', params_hash: Buffer.alloc(1), result: '{}' })
        .execute(),
    );
    const owner = laboratory.owner;
    const given = inTenant(owner, one.tenantId, (tx) =>
      tx
        .updateTable('step_result')
        .set({ tenant_id: other.tenantId })
        .where('step_key', '=', 'given')
        .execute(),
    );
    await expect(given).rejects.toThrow(/row-level security/);
  });
});

describe('without a tenant', () => {
  const tables = [
    'alarm',
    'app_user',
    'barcode',
    'barcode_scheme',
    'bulk_operation',
    'bulk_problem',
    'bulk_row',
    'check_out',
    'consent_withdrawal',
    'consent_withdrawal_sample',
    'disposal',
    'erasable_value',
    'event',
    'exposure_budget',
    'idempotency_key',
    'import_profile',
    'inventory_comparison',
    'inventory_entry',
    'job',
    'job_step',
    'ledger.entry',
    'ledger.log',
    'deviation',
    'location',
    'location_ancestor',
    'location_count',
    'location_type',
    'motion',
    'picklist',
    'picklist_item',
    'position',
    'rack_scan',
    'rack_scanner',
    'record_version',
    'refresh_token',
    'reservation',
    'robot',
    'robot_fault',
    'robot_state',
    'robot_turn',
    'sample',
    'scanner_profile',
    'schedule',
    'session',
    'station',
    'step_result',
  ] as const;
  for (const table of tables) {
    it(`${table} answers with an error, not with rows`, async () => {
      await expect(app.kysely.selectFrom(table).selectAll().execute()).rejects.toThrow(
        /unrecognized configuration parameter "app.tenant"|invalid input syntax for type uuid/,
      );
    });
  }

  it('a tenant that is not a UUID is an error', async () => {
    for (const tenant of ['', 'x', `${one.tenantId}'`]) {
      await expect(read(app, tenant, users())).rejects.toThrow(/invalid input syntax for type uuid/);
    }
  });
});

describe('connections go from tenant to tenant', () => {
  it('without anything of the tenant before, after success, refusal and a broken statement', async () => {
    const db = openDatabase(laboratory.database.appUrl, { max: 1 });
    try {
      for (let round = 0; round < 20; round++) {
        const actor = round % 2 === 0 ? one : other;
        expect(await read(db, actor.tenantId, users())).toEqual([
          { tenant_id: actor.tenantId, id: actor.userId },
        ]);
        const failing = inTenant(db, actor.tenantId, async (tx) => {
          await sql`SELECT 1 / 0`.execute(tx);
        });
        await expect(failing).rejects.toThrow(/division by zero/);
        await expect(db.kysely.selectFrom('app_user').selectAll().execute()).rejects.toThrow(/uuid/);
        await expect(read(db, actor.tenantId, sql`SELECT 1 / 0`.compile(db.kysely))).rejects.toThrow(
          /division/,
        );
      }
      expect(db.pool.totalCount).toBe(1);
    } finally {
      await db.close();
    }
  });

  it('with a query that stays prepared: its plan is of no tenant', async () => {
    const db = openDatabase(laboratory.database.appUrl, { max: 1 });
    try {
      // After five executions the server may keep one plan for all.
      for (let round = 0; round < 20; round++) {
        const actor = round % 2 === 0 ? one : other;
        expect(await read(db, actor.tenantId, users(), 'all_users')).toEqual([
          { tenant_id: actor.tenantId, id: actor.userId },
        ]);
      }
      const another = db.kysely.selectFrom('station').selectAll().compile();
      await expect(read(db, one.tenantId, another, 'all_users')).rejects.toThrow(/must be unique/);
      expect(await read(db, one.tenantId, another)).toEqual([]);
    } finally {
      await db.close();
    }
  });

  it('with many readers of two tenants at once on few connections', async () => {
    const answers = await Promise.all(
      Array.from({ length: 400 }, async (_, i) => {
        const actor = i % 2 === 0 ? one : other;
        const rows = await read(app, actor.tenantId, users());
        return rows.length === 1 && rows[0]?.id === actor.userId;
      }),
    );
    expect(answers.every(Boolean)).toBe(true);
    expect(app.pool.totalCount).toBeLessThanOrEqual(4);
  });
});

describe('a transaction', () => {
  const entry = (key: string) => ({
    tenant_id: one.tenantId,
    step_key: key,
    params_hash: Buffer.alloc(1),
    result: '{}',
  });
  const stored = async (key: string) =>
    (
      await read(
        app,
        one.tenantId,
        app.kysely.selectFrom('step_result').select('step_key').where('step_key', '=', key).compile(),
      )
    ).length === 1;

  it('that swallowed an error fails instead of claiming success: its COMMIT says ROLLBACK', async () => {
    const swallowed = inTenant(app, one.tenantId, async (tx) => {
      await tx.insertInto('step_result').values(entry('swallowed')).execute();
      await sql`SELECT 1 / 0`.execute(tx).catch(() => undefined);
      return 'done';
    });
    await expect(swallowed).rejects.toThrow(/ended with ROLLBACK, nothing was written/);
    expect(await stored('swallowed')).toBe(false);
  });

  it('leaves nothing when its body throws', async () => {
    const thrown = inTenant(app, one.tenantId, async (tx) => {
      await tx.insertInto('step_result').values(entry('thrown')).execute();
      throw new Error('changed my mind');
    });
    await expect(thrown).rejects.toThrow('changed my mind');
    expect(await stored('thrown')).toBe(false);
  });

  it('is tried again after a deadlock, and both end well', async () => {
    let tries = 0;
    let waiting = 0;
    let release = () => {};
    const bothHaveOne = new Promise<void>((resolve) => {
      release = resolve;
    });
    const take = (keys: readonly string[]) =>
      inTenant(app, one.tenantId, async (tx) => {
        tries += 1;
        await sql`SELECT pg_advisory_xact_lock(hashtext(${keys[0]}))`.execute(tx);
        waiting += 1;
        if (waiting === 2) release();
        await bothHaveOne;
        await sql`SELECT pg_advisory_xact_lock(hashtext(${keys[1]}))`.execute(tx);
        return keys.join();
      });
    expect(await Promise.all([take(['a', 'b']), take(['b', 'a'])])).toEqual(['a,b', 'b,a']);
    expect(tries).toBe(3);
  });

  it('gives up after five serialisation failures', async () => {
    let tries = 0;
    const failing = inTenant(app, one.tenantId, async (tx) => {
      tries += 1;
      await sql`DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$`.execute(tx);
    });
    await expect(failing).rejects.toSatisfy((error) => sqlStateOf(error) === '40001');
    expect(tries).toBe(5);
  });

  it('sends statements that do not wait for each other in one flush', async () => {
    const rows = await inTenant(app, one.tenantId, (tx) =>
      Promise.all(
        [1, 2, 3].map(async (n) => (await sql<{ n: number }>`SELECT ${n}::int8 AS n`.execute(tx)).rows[0]?.n),
      ),
    );
    expect(rows).toEqual([1, 2, 3]);
  });

  it('outlives a connection that the server cuts: the next one works', async () => {
    const db = openDatabase(laboratory.database.appUrl, { max: 1 });
    const admin = new pg.Client({ connectionString: laboratory.database.adminUrl });
    await admin.connect();
    try {
      const cut = inTenant(db, one.tenantId, async (tx) => {
        const { rows } = await sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(tx);
        await admin.query('SELECT pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
        await sql`SELECT 1`.execute(tx);
      });
      await expect(cut).rejects.toThrow();
      expect(await read(db, one.tenantId, users())).toHaveLength(1);
    } finally {
      await admin.end();
      await db.close();
    }
  });
});

describe('values', () => {
  it('read int8 as a number, and refuse one that would be rounded', async () => {
    const exact = sql<{ n: number }>`SELECT 9007199254740991::int8 AS n`.compile(app.kysely);
    expect(await read(app, one.tenantId, exact)).toEqual([{ n: 9007199254740991 }]);
    const tooLarge = sql<{ n: number }>`SELECT 9007199254740993::int8 AS n`.compile(app.kysely);
    await expect(read(app, one.tenantId, tooLarge)).rejects.toThrow(/does not fit/);
    // The connection is usable afterwards.
    expect(await read(app, one.tenantId, exact)).toHaveLength(1);
  });

  it('offer no streams on pipelined connections', async () => {
    await expect(
      inTenant(app, one.tenantId, async (tx) => {
        for await (const row of tx.selectFrom('app_user').selectAll().stream()) return row;
      }),
    ).rejects.toThrow(/Database.cursors/);
  });
});

describe('statements that are sent often', () => {
  const AFTER_IT_IS_PREPARED = 8;

  it('survive a failed transaction in which they were first prepared', async () => {
    const db = openDatabase(laboratory.database.appUrl, { max: 1 });
    try {
      const often = (marker: string) =>
        sql<{ n: number }>`SELECT 1 AS n, ${sql.raw(`'${marker}'`)} AS marker`;
      for (let i = 0; i < AFTER_IT_IS_PREPARED; i++) {
        const failed = inTenant(db, one.tenantId, (tx) =>
          Promise.all([sql`SELECT 1 / 0`.execute(tx), often('failed').execute(tx)]),
        );
        await expect(failed).rejects.toThrow(/division by zero/);
      }
      const { rows } = await inTenant(db, one.tenantId, (tx) => often('failed').execute(tx));
      expect(rows[0]?.n).toBe(1);
    } finally {
      await db.close();
    }
  });

  it('are prepared anew when a migration has changed their table', async () => {
    const db = openDatabase(laboratory.database.appUrl, { max: 1 });
    const owner = new pg.Client({ connectionString: laboratory.database.ownerUrl });
    await owner.connect();
    try {
      await owner.query('CREATE TABLE migrated (a int); GRANT SELECT ON migrated TO tracseq_app');
      await owner.query('INSERT INTO migrated VALUES (1)');
      const ask = () => inTenant(db, one.tenantId, (tx) => sql`SELECT * FROM migrated`.execute(tx));
      for (let i = 0; i < AFTER_IT_IS_PREPARED; i++) await ask();
      await owner.query('ALTER TABLE migrated ADD COLUMN b int');
      expect((await ask()).rows).toEqual([{ a: 1, b: null }]);
    } finally {
      await owner.query('DROP TABLE IF EXISTS migrated');
      await owner.end();
      await db.close();
    }
  });
});
