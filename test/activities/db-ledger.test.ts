import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../db/connection.ts';
import { createUser, enrolStation } from '../../db/identity.ts';
import { checkLedger, type LedgerFault } from '../../db/ledger.ts';
import { inTenant } from '../../db/tenancy.ts';
import { openLaboratory, TEST_PASSWORD, type TestLaboratory } from '../setup/tenant.ts';

let laboratory: TestLaboratory;
let app: Database;
/** The attacker: a superuser, for whom neither triggers nor rights hold. */
let attacker: Database;
let tenantId: string;

beforeAll(async () => {
  laboratory = await openLaboratory();
  app = laboratory.app;
  tenantId = laboratory.tenantId;
  await laboratory.addTenant();
  const actor = laboratory.administrator;
  await enrolStation(app, { actor, comment: 'at the window' }, { name: 'Bench', robotId: null });
  await createUser(
    app,
    { actor },
    {
      email: 'Grace@example.org',
      displayName: 'Grace',
      role: 'lab_technician',
      password: TEST_PASSWORD,
    },
  );
  attacker = openDatabase(laboratory.database.adminUrl, { max: 1 });
});
afterAll(async () => {
  await attacker.close();
  await laboratory.close();
});

type Statements = readonly (readonly [sql: string, values: unknown[]])[];

/** Writes as replication does: past triggers and foreign keys. */
async function tamper(statements: Statements): Promise<void> {
  const client = await attacker.pool.connect();
  try {
    await client.query(`SET session_replication_role = 'replica'`);
    for (const [sql, values] of statements) await client.query(sql, values);
  } finally {
    await client.query('RESET session_replication_role');
    client.release();
  }
}

/** Does damage that a check sees, and takes it back. */
async function withDamage(damage: Statements, look: () => Promise<void>, restore: Statements): Promise<void> {
  await tamper(damage);
  await look();
  await tamper(restore);
}

async function faultAfter(damage: Statements, restore: Statements): Promise<LedgerFault | null> {
  let found: LedgerFault | null = null;
  await withDamage(
    damage,
    async () => {
      const report = await checkLedger(app, tenantId);
      expect(report.ok).toBe(report.firstFault === null);
      found = report.firstFault;
    },
    restore,
  );
  expect((await checkLedger(app, tenantId)).ok).toBe(true);
  return found;
}

async function one<Row extends Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<Row> {
  const { rows } = await attacker.pool.query<Row>(sql, values);
  const [row] = rows;
  if (row === undefined) throw new Error(`no row: ${sql}`);
  return row;
}

describe('the check of a ledger', () => {
  it('finds nothing wrong where nothing is, and counts what it looked at', async () => {
    const report = await checkLedger(app, tenantId);
    const counted = await one<{ entries: number; versions: number; erasable: number }>(
      `SELECT (SELECT count(*) FROM ledger.entry WHERE tenant_id = $1) AS entries,
              (SELECT count(*) FROM record_version WHERE tenant_id = $1) AS versions,
              (SELECT count(*) FROM erasable_value WHERE tenant_id = $1) AS erasable`,
      [tenantId],
    );
    expect(report).toMatchObject({
      ok: true,
      origin: `tracseq.local/t/${tenantId}`,
      size: counted.entries,
      entries: counted.entries,
      recordVersions: counted.versions,
      erasableValues: counted.erasable,
      firstFault: null,
      faults: 0,
    });
    expect(counted.entries).toBeGreaterThan(10);
  });

  it('names the entry for every single byte of a leaf that is changed', async () => {
    const { seq, leaf } = await one<{ seq: number; leaf: Buffer }>(
      'SELECT seq, leaf FROM ledger.entry WHERE tenant_id = $1 ORDER BY length(leaf), seq LIMIT 1',
      [tenantId],
    );
    const write = 'UPDATE ledger.entry SET leaf = $3 WHERE tenant_id = $1 AND seq = $2';
    for (let at = 0; at < leaf.length; at++) {
      const changed = Buffer.from(leaf);
      changed[at] = (leaf[at] ?? 0) ^ (1 << (at % 8));
      await withDamage([[write, [tenantId, seq, changed]]], async () => {
        const { ok, firstFault } = await checkLedger(app, tenantId);
        expect({ at, ok, kind: firstFault?.kind, seq: firstFault?.seq }).toEqual({
          at,
          ok: false,
          kind: 'leaf_hash',
          seq,
        });
      }, []);
    }
    await tamper([[write, [tenantId, seq, leaf]]]);
    expect((await checkLedger(app, tenantId)).ok).toBe(true);
  });

  it('finds a leaf that was changed together with its hash, by the record version and by the root', async () => {
    const entry = await one<{ seq: number; leaf: Buffer; leaf_hash: Buffer }>(
      'SELECT seq, leaf, leaf_hash FROM ledger.entry WHERE tenant_id = $1 AND seq = 3',
      [tenantId],
    );
    const leaf = Buffer.from(entry.leaf.toString('utf8').replace('"reason":"setup"', '"reason":"alarm"'));
    expect(leaf.equals(entry.leaf)).toBe(false);
    const fault = await faultAfter(
      [
        [
          `UPDATE ledger.entry SET leaf = $2, leaf_hash = sha256('\\x00'::bytea || $2) WHERE tenant_id = $1 AND seq = 3`,
          [tenantId, leaf],
        ],
      ],
      [
        [
          'UPDATE ledger.entry SET leaf = $2, leaf_hash = $3 WHERE tenant_id = $1 AND seq = 3',
          [tenantId, entry.leaf, entry.leaf_hash],
        ],
      ],
    );
    expect(fault).toMatchObject({ kind: 'head' });
  });

  it('finds a record version whose content was changed', async () => {
    const { event_id, content } = await one<{ event_id: string; content: Buffer }>(
      `SELECT event_id, content FROM record_version WHERE tenant_id = $1 AND aggregate = 'user' LIMIT 1`,
      [tenantId],
    );
    const write = 'UPDATE record_version SET content = $3 WHERE tenant_id = $1 AND event_id = $2';
    const changed = Buffer.from(content.toString('utf8').replace('lab_', 'LAB_'));
    const fault = await faultAfter(
      [[write, [tenantId, event_id, changed]]],
      [[write, [tenantId, event_id, content]]],
    );
    expect(fault).toMatchObject({ kind: 'content_hash', eventId: event_id });
  });

  it('finds a record version that says it is another record, version or time', async () => {
    const where = `WHERE tenant_id = $1 AND aggregate = 'station'`;
    for (const [set, back, field] of [
      ['aggregate_id = tenant_id', `aggregate_id = (SELECT id FROM station LIMIT 1)`, 'aggregate_id'],
      ['version = 2', 'version = 1', 'version'],
      [
        `recorded_at = recorded_at + interval '1 hour'`,
        `recorded_at = recorded_at - interval '1 hour'`,
        'recorded_at',
      ],
    ]) {
      const fault = await faultAfter(
        [[`UPDATE record_version SET ${set} ${where}`, [tenantId]]],
        [[`UPDATE record_version SET ${back} ${where}`, [tenantId]]],
      );
      expect(fault).toMatchObject({ kind: 'record_version_differs' });
      expect(fault?.detail).toContain(`another ${field}`);
    }
  });

  it('finds an event of another type, subject, time or person', async () => {
    const { id, ...event } = await one<{
      id: string;
      type: string;
      subject: string;
      time: Date;
      actor: string;
    }>('SELECT id, type, subject, time, actor FROM event WHERE tenant_id = $1 ORDER BY id LIMIT 1', [
      tenantId,
    ]);
    for (const [column, value] of [
      ['type', 'identity.user.created'],
      ['subject', 'sample/1'],
      ['time', new Date(0)],
      ['actor', tenantId],
    ] as const) {
      const write = `UPDATE event SET ${column} = $3 WHERE tenant_id = $1 AND id = $2`;
      const fault = await faultAfter(
        [[write, [tenantId, id, value]]],
        [[write, [tenantId, id, event[column]]]],
      );
      expect(fault, column).toMatchObject({ kind: 'event_differs', eventId: id });
    }
  });

  it('finds what is missing: an entry in the middle, the newest entry, a record version, an event', async () => {
    const remove = async (table: string, condition: string) => {
      const { row } = await one<{ row: string }>(
        `SELECT to_json(t)::text AS row FROM ${table} t WHERE tenant_id = $1 AND ${condition}`,
        [tenantId],
      );
      return faultAfter(
        [[`DELETE FROM ${table} t WHERE tenant_id = $1 AND ${condition}`, [tenantId]]],
        [[`INSERT INTO ${table} SELECT * FROM json_populate_record(NULL::${table}, $1::json)`, [row]]],
      );
    };
    expect(await remove('ledger.entry', 'seq = 4')).toMatchObject({ kind: 'gap', seq: 5 });
    expect(await remove('ledger.entry', 'seq = 0')).toMatchObject({ kind: 'gap', seq: 1 });
    const { size } = await one<{ size: number }>('SELECT size FROM ledger.log WHERE tenant_id = $1', [
      tenantId,
    ]);
    expect(await remove('ledger.entry', `seq = ${size - 1}`)).toMatchObject({ kind: 'head' });
    expect(await remove('record_version', `aggregate = 'station'`)).toMatchObject({
      kind: 'record_version_missing',
    });
    expect(await remove('event', `subject LIKE 'station/%'`)).toMatchObject({ kind: 'event_missing' });
  });

  it('finds entries that were exchanged, and a head that says something else', async () => {
    const swap: Statements = [
      ['UPDATE ledger.entry SET seq = -1 WHERE tenant_id = $1 AND seq = 5', [tenantId]],
      ['UPDATE ledger.entry SET seq = 5 WHERE tenant_id = $1 AND seq = 6', [tenantId]],
      ['UPDATE ledger.entry SET seq = 6 WHERE tenant_id = $1 AND seq = -1', [tenantId]],
    ];
    expect(await faultAfter(swap, swap)).toMatchObject({ kind: 'head' });
    expect(
      await faultAfter(
        [['UPDATE ledger.log SET size = size + 1 WHERE tenant_id = $1', [tenantId]]],
        [['UPDATE ledger.log SET size = size - 1 WHERE tenant_id = $1', [tenantId]]],
      ),
    ).toMatchObject({ kind: 'head' });
  });

  it('finds a record version that nobody attests, and a version left out', async () => {
    const added = await faultAfter(
      [
        [
          `INSERT INTO record_version (tenant_id, aggregate, aggregate_id, version, event_id, content)
           SELECT tenant_id, aggregate, aggregate_id, 3, uuidv7(), content FROM record_version
           WHERE tenant_id = $1 AND aggregate = 'tenant'`,
          [tenantId],
        ],
      ],
      [
        [
          `DELETE FROM record_version WHERE tenant_id = $1 AND aggregate = 'tenant' AND version = 3`,
          [tenantId],
        ],
      ],
    );
    expect(added).toMatchObject({ kind: 'entry_missing' });
  });

  it('finds an erasable value that was exchanged', async () => {
    const fault = await faultAfter(
      [[`UPDATE erasable_value SET value = 'Eve' WHERE tenant_id = $1 AND value = 'Grace'`, [tenantId]]],
      [[`UPDATE erasable_value SET value = 'Grace' WHERE tenant_id = $1 AND value = 'Eve'`, [tenantId]]],
    );
    expect(fault).toMatchObject({ kind: 'erasable_value', seq: null });
  });

  it('still verifies after a value was erased, and nothing of the value is left', async () => {
    const before = await checkLedger(app, tenantId);
    const erased = await inTenant(app, tenantId, (tx) =>
      tx.deleteFrom('erasable_value').where('value', '=', 'grace@example.org').executeTakeFirst(),
    );
    expect(erased.numDeletedRows).toBe(1n);
    const after = await checkLedger(app, tenantId);
    expect(after).toEqual({ ...before, erasableValues: before.erasableValues - 1 });
    const left = await one<{ n: number }>(
      `SELECT (SELECT count(*) FROM record_version WHERE convert_from(content, 'UTF8') ILIKE '%grace@%')
            + (SELECT count(*) FROM ledger.entry WHERE convert_from(leaf, 'UTF8') ILIKE '%grace@%')
            + (SELECT count(*) FROM erasable_value WHERE value ILIKE '%grace@%')
            + (SELECT count(*) FROM event WHERE data::text ILIKE '%grace@%') AS n`,
    );
    expect(left.n).toBe(0);
  });

  it('looks at one tenant: damage elsewhere is not this tenant’s', async () => {
    const { leaf, tenant_id } = await one<{ leaf: Buffer; tenant_id: string }>(
      'SELECT tenant_id, leaf FROM ledger.entry WHERE tenant_id <> $1 AND seq = 0',
      [tenantId],
    );
    await withDamage([
      [`UPDATE ledger.entry SET leaf = 'x' WHERE tenant_id = $1 AND seq = 0`, [tenant_id]],
    ], async () => {
      expect((await checkLedger(app, tenantId)).ok).toBe(true);
      expect((await checkLedger(app, tenant_id)).ok).toBe(false);
    }, [['UPDATE ledger.entry SET leaf = $2 WHERE tenant_id = $1 AND seq = 0', [tenant_id, leaf]]]);
  });

  it('fails for a tenant that does not exist', async () => {
    await expect(checkLedger(app, '01900000-0000-7000-8000-00000000dead')).rejects.toThrow(/has no ledger/);
  });
});
