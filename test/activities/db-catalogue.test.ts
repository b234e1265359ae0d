import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assertApplicationRole, type Database, openDatabase } from '../../db/connection.ts';
import { createTestDatabase, type TestDatabase } from '../setup/database.ts';

/** Tables whose rows are not ledgered: bookkeeping, and the ledger itself (design: invariant 3). */
const BOOKKEEPING = [
  'bulk_operation', // what it does is told by the entries of each sample
  'bulk_problem',
  'bulk_row', // staged until it is done; then what an undo needs
  'erasable_value',
  'event',
  'idempotency_key',
  'inventory_comparison', // what it finds is told by the entries of deviations, samples and positions
  'inventory_entry', // staged until it is compared, then deleted
  'job',
  'job_step',
  'ledger.entry',
  'ledger.log',
  'location_count',
  'motion',
  'picklist_item', // how far a list is; its order and end are entries of the list, what moves are entries of the tubes
  'record_version',
  'refresh_token',
  'robot_fault', // its raising is told by an alarm's entry, its end by the robot's
  'robot_state',
  'robot_turn',
  'step_result',
];

/** Everything that sees rows of more than one tenant: each has a reason. */
const CROSSING_POLICIES = [
  'app_user.signin_crosses to tracseq_signin for SELECT', // sign-in knows an address, not a tenant
  'event.relay_crosses to tracseq_relay for ALL', // one relay for all tenants
  'ledger.entry.relay_crosses to tracseq_relay for SELECT', // the order of events
  'ledger.entry.signer_crosses to tracseq_signer for SELECT', // one signer for all logs
  'ledger.log.signer_crosses to tracseq_signer for SELECT',
  'session.signin_crosses to tracseq_signin for SELECT', // token checks hear of every closed session
  'tenant.tenant_lookup to public for SELECT', // loops go tenant by tenant
];

/** Functions that run with their owner's rights. */
const DEFINER_FUNCTIONS = [
  'ledger.append by ledger_owner',
  'ledger.open_log by ledger_owner',
  'signin.find_user by tracseq_signin',
  'signin.sessions_closed_since by tracseq_signin',
];

/** Unique keys without the tenant in front. */
const GLOBAL_KEYS = [
  'app_user_email', // unique everywhere: sign-in has no tenant yet
  'log_origin_key', // a log's name is known outside
];

let database: TestDatabase;
let admin: Database;

beforeAll(async () => {
  database = await createTestDatabase();
  admin = openDatabase(database.adminUrl, { max: 1 });
});
afterAll(async () => {
  await admin.close();
  await database.drop();
});

async function names(sql: string): Promise<string[]> {
  const { rows } = await admin.pool.query<{ name: string }>(sql);
  return rows.map((row) => row.name);
}

const TENANT_TABLES = `
  SELECT c.oid, c.relrowsecurity, c.relforcerowsecurity, c.oid::regclass::text AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'ledger', 'signin')
    AND (c.oid = 'tenant'::regclass OR EXISTS (SELECT 1 FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped))`;

describe('the catalogue', () => {
  it('has a tenant in every table, but for the list of migrations', async () => {
    const without = await names(
      `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'ledger', 'signin')
         AND c.oid NOT IN (SELECT oid FROM (${TENANT_TABLES}) t) ORDER BY 1`,
    );
    expect(without).toEqual(['migration']);
  });

  it('has row-level security enabled and forced on every table with a tenant', async () => {
    expect(
      await names(`SELECT name FROM (${TENANT_TABLES}) t WHERE NOT (relrowsecurity AND relforcerowsecurity)`),
    ).toEqual([]);
  });

  it('binds reading and writing of every table with a tenant to the own tenant', async () => {
    expect(
      await names(`SELECT name FROM (${TENANT_TABLES}) t WHERE NOT EXISTS (
        SELECT 1 FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'own_tenant' AND p.polcmd = '*'
          AND p.polroles = '{0}' AND p.polpermissive
          AND pg_get_expr(p.polqual, p.polrelid) LIKE '%app.tenant%'
          AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%app.tenant%')`),
    ).toEqual([]);
  });

  it('has no other policy than those that are listed here with a reason', async () => {
    const crossing = await names(
      `SELECT format('%s.%s to %s for %s', p.polrelid::regclass, p.polname,
         CASE WHEN p.polroles = '{0}' THEN 'public'
              ELSE (SELECT string_agg(r.rolname, ', ' ORDER BY r.rolname) FROM pg_roles r WHERE r.oid = ANY (p.polroles)) END,
         CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END
       ) AS name FROM pg_policy p WHERE p.polname <> 'own_tenant' ORDER BY 1`,
    );
    expect(crossing).toEqual(CROSSING_POLICIES);
  });

  it('runs only the listed functions with their owner’s rights, each with a pinned search path and closed to PUBLIC', async () => {
    const definer = `FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE p.prosecdef AND n.nspname IN ('public', 'ledger', 'signin')`;
    expect(
      await names(
        `SELECT format('%s.%s by %s', n.nspname, p.proname, pg_get_userbyid(p.proowner)) AS name ${definer} ORDER BY 1`,
      ),
    ).toEqual(DEFINER_FUNCTIONS);
    expect(
      await names(
        `SELECT p.proname AS name ${definer} AND NOT coalesce(p.proconfig::text LIKE '%search_path=%', false)
         UNION ALL SELECT p.proname ${definer} AND EXISTS (
           SELECT 1 FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0)`,
      ),
    ).toEqual([]);
  });

  it('begins every key and index on a tenant’s rows with the tenant', async () => {
    const others = await names(
      `SELECT i.indexrelid::regclass::text AS name FROM pg_index i
       JOIN (${TENANT_TABLES}) t ON t.oid = i.indrelid
       LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
       WHERE i.indisunique AND t.name <> 'tenant' AND a.attname IS DISTINCT FROM 'tenant_id' ORDER BY 1`,
    );
    expect(others.map((name) => name.replace(/^ledger\./, '')).sort()).toEqual(GLOBAL_KEYS);
  });

  it('has the tenant in every foreign key between a tenant’s rows', async () => {
    expect(
      await names(
        `SELECT c.conname AS name FROM pg_constraint c WHERE c.contype = 'f' AND c.confrelid <> 'tenant'::regclass
           AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
                           AND a.attname = 'tenant_id')`,
      ),
    ).toEqual([]);
  });

  it('refuses a change without a ledger entry in every table that is not bookkeeping', async () => {
    const guards = (operation: number) => `SELECT 1 FROM pg_trigger g WHERE g.tgrelid = t.oid
      AND g.tgname LIKE 'ledgered%' AND g.tgdeferrable AND g.tginitdeferred AND g.tgenabled = 'O' AND g.tgtype & ${operation} > 0`;
    const [INSERT, DELETE, UPDATE] = [4, 8, 16];
    const unguarded = await names(
      `SELECT name FROM (${TENANT_TABLES}) t
       WHERE NOT (EXISTS (${guards(INSERT)}) AND EXISTS (${guards(DELETE)}) AND EXISTS (${guards(UPDATE)})) ORDER BY 1`,
    );
    expect(unguarded).toEqual(BOOKKEEPING);
  });

  it('has views, if any, that run with the reader’s rights', async () => {
    expect(
      await names(
        `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('v', 'm') AND n.nspname IN ('public', 'ledger', 'signin')
           AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)`,
      ),
    ).toEqual([]);
  });
});

describe('roles', () => {
  it('are neither superuser nor above row-level security, none of them', async () => {
    const { rows } = await admin.pool.query(
      `SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles
       WHERE rolname LIKE 'tracseq%' OR rolname = 'ledger_owner' ORDER BY 1`,
    );
    expect(rows.map((row) => row.rolname)).toEqual([
      'ledger_owner',
      'tracseq_app',
      'tracseq_owner',
      'tracseq_relay',
      'tracseq_signer',
      'tracseq_signin',
    ]);
    for (const { rolname, ...rights } of rows) {
      expect(rights, rolname).toEqual({
        rolsuper: false,
        rolbypassrls: false,
        rolcreaterole: false,
        rolcreatedb: false,
        rolreplication: false,
      });
    }
  });

  it('of application, relay and signer cannot become another role', async () => {
    expect(
      await names(
        `SELECT format('%s is in %s', m.rolname, r.rolname) AS name FROM pg_auth_members a
         JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid
         WHERE m.rolname IN ('tracseq_app', 'tracseq_relay', 'tracseq_signer')`,
      ),
    ).toEqual([]);
  });

  it('may not rewrite the ledger, record versions or events', async () => {
    const { rows } = await admin.pool.query<{ name: string }>(
      `SELECT format('%s %s %s', r.rolname, x, t) AS name
       FROM unnest(ARRAY['tracseq_app', 'tracseq_relay', 'tracseq_signer']) AS r (rolname),
            unnest(ARRAY['ledger.log', 'ledger.entry', 'record_version', 'event']) AS t,
            unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS x
       WHERE has_table_privilege(r.rolname, t, x)`,
    );
    expect(rows).toEqual([]);
    const { rows: inserts } = await admin.pool.query<{ name: string }>(
      `SELECT t AS name FROM unnest(ARRAY['ledger.log', 'ledger.entry']) AS t
       WHERE has_table_privilege('tracseq_app', t, 'INSERT')`,
    );
    expect(inserts).toEqual([]);
  });

  it('are checked before a process serves anybody', async () => {
    const app = openDatabase(database.appUrl, { max: 1 });
    const owner = openDatabase(database.ownerUrl, { max: 1 });
    try {
      await expect(assertApplicationRole(app)).resolves.toBeUndefined();
      await expect(assertApplicationRole(owner)).rejects.toThrow(/tracseq_owner owns tables/);
      await expect(assertApplicationRole(admin)).rejects.toThrow(/is a superuser, has BYPASSRLS/);
    } finally {
      await Promise.all([app.close(), owner.close()]);
    }
  });
});
