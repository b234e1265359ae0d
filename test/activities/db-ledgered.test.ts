import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Change, withChange } from '../../db/change.ts';
import { inTenant, read } from '../../db/tenancy.ts';
import type { Aggregate } from '../../domain/events.ts';
import { openLaboratory, type TestLaboratory } from '../setup/tenant.ts';

/** For each ledgered table: whose record its rows belong to, what a copy needs of its own, and how a row may be changed. */
interface Case {
  readonly aggregate: Aggregate;
  /** column with the id of the record */
  readonly idColumn: string;
  /** columns of a copied row that must differ, as JSON */
  readonly copy: Readonly<Record<string, unknown>>;
  readonly change: string;
}

const NEW_ID = '01900000-0000-7000-8000-00000000c0de';
const SECOND_SAMPLE = '01900000-0000-7000-8000-000000000094';
const SECOND_USER = '01900000-0000-7000-8000-000000000095';
const WITHDRAWAL = '01900000-0000-7000-8000-000000000096';
const CASES: Readonly<Record<string, Case>> = {
  app_user: {
    aggregate: 'user',
    idColumn: 'id',
    copy: { id: NEW_ID, email: 'copy@example.org' },
    change: `role = 'guest'`,
  },
  station: {
    aggregate: 'station',
    idColumn: 'id',
    copy: { id: NEW_ID, name: 'Copy' },
    change: `name = 'Changed'`,
  },
  session: { aggregate: 'session', idColumn: 'id', copy: { id: NEW_ID }, change: 'opened_at = now()' },
  location_type: {
    aggregate: 'location_type',
    idColumn: 'id',
    copy: { id: NEW_ID, code: 'copy' },
    change: `name = 'Changed'`,
  },
  location: {
    aggregate: 'location',
    idColumn: 'id',
    copy: { id: NEW_ID, name: 'Copy' },
    change: `name = 'Changed'`,
  },
  location_ancestor: {
    aggregate: 'location',
    idColumn: 'descendant_id',
    copy: { depth: 7, ancestor_id: '01900000-0000-7000-8000-000000000002' },
    change: 'depth = 8',
  },
  barcode: {
    aggregate: 'sample',
    idColumn: 'owner_id',
    copy: { code: 'COPY' },
    change: 'retired_at = now()',
  },
  robot: { aggregate: 'robot', idColumn: 'id', copy: { id: NEW_ID, name: 'Copy' }, change: 'port = 503' },
  sample: {
    aggregate: 'sample',
    idColumn: 'id',
    copy: { id: NEW_ID, barcode: 'TUBE-2' },
    change: `project = 'Changed'`,
  },
  position: {
    aggregate: 'location',
    idColumn: 'container_id',
    copy: { id: NEW_ID, grid_row: 5, ordinal: 6 },
    change: `state = 'blocked', blocked_reason = 'dirty'`,
  },
  alarm: { aggregate: 'alarm', idColumn: 'id', copy: { id: NEW_ID }, change: `message = 'Changed'` },
  deviation: {
    aggregate: 'deviation',
    idColumn: 'id',
    copy: { id: NEW_ID },
    change: `description = 'Changed'`,
  },
  exposure_budget: {
    aggregate: 'exposure_budget',
    idColumn: 'id',
    copy: { id: NEW_ID, zone: 'LN2' },
    change: 'budget_seconds = 90',
  },
  schedule: { aggregate: 'schedule', idColumn: 'id', copy: { id: NEW_ID }, change: `priority = 90` },
  reservation: {
    aggregate: 'reservation',
    idColumn: 'id',
    copy: { id: NEW_ID },
    change: `reason = 'Changed'`,
  },
  check_out: {
    aggregate: 'sample',
    idColumn: 'sample_id',
    copy: { id: NEW_ID, checked_in_at: '2026-01-01T00:00:00Z' },
    change: `due_at = '2199-01-01'`,
  },
  disposal: {
    aggregate: 'sample',
    idColumn: 'sample_id',
    copy: { sample_id: SECOND_SAMPLE },
    change: `comment = 'Changed'`,
  },
  consent_withdrawal: {
    aggregate: 'consent_withdrawal',
    idColumn: 'id',
    copy: { id: NEW_ID, subject: 'copy' },
    change: `comment = 'Changed'`,
  },
  consent_withdrawal_sample: {
    aggregate: 'consent_withdrawal',
    idColumn: 'withdrawal_id',
    copy: { sample_id: SECOND_SAMPLE },
    change: `sample_id = '${SECOND_SAMPLE}'`,
  },
  import_profile: {
    aggregate: 'import_profile',
    idColumn: 'id',
    copy: { id: NEW_ID, name: 'copy' },
    change: `defaults = '{"zone": "RT"}'`,
  },
  picklist: { aggregate: 'picklist', idColumn: 'id', copy: { id: NEW_ID }, change: `name = 'Changed'` },
  scanner_profile: {
    aggregate: 'scanner_profile',
    idColumn: 'id',
    copy: { id: NEW_ID, code: 'copy' },
    change: `name = 'Changed'`,
  },
  barcode_scheme: {
    aggregate: 'barcode_scheme',
    idColumn: 'id',
    copy: { id: NEW_ID, kind: 'location' },
    change: `prefix = 'X'`,
  },
  rack_scanner: {
    aggregate: 'rack_scanner',
    idColumn: 'id',
    copy: { id: NEW_ID, name: 'Copy' },
    change: 'port = 8001',
  },
  rack_scan: {
    aggregate: 'rack_scan',
    idColumn: 'id',
    copy: { id: NEW_ID },
    change: `profile = 'three_columns'`,
  },
};

const [
  SITE,
  BOX,
  POSITION,
  SAMPLE,
  ROBOT,
  ALARM,
  STATION,
  SESSION,
  DEVIATION,
  BUDGET,
  PICKLIST,
  SCHEDULE,
  RESERVATION,
  PROFILE,
  SCANNER,
  SCAN,
  SCHEME,
] = Array.from({ length: 17 }, (_, i) => `01900000-0000-7000-8000-${String(i + 1).padStart(12, '0')}`);

let laboratory: TestLaboratory;

/** Runs statements in one change, with a record of each named aggregate. */
function change(
  records: readonly (readonly [Aggregate, string, number])[],
  ...statements: string[]
): Promise<void> {
  const { owner, administrator: actor } = laboratory;
  return withChange(owner, { actor, reason: 'correction' }, async ({ tx, record }: Change) => {
    for (const statement of statements) await sql.raw(statement).execute(tx);
    for (const [aggregate, aggregateId, version] of records) {
      record({
        aggregate,
        aggregateId,
        version,
        type: 'storage.location.changed',
        from: null,
        to: null,
        before: null,
        after: null,
        data: {},
      });
    }
  });
}

beforeAll(async () => {
  laboratory = await openLaboratory();
  const { tenantId: t, administrator } = laboratory;
  await change(
    [
      ['location', SITE ?? '', 1],
      ['location', BOX ?? '', 1],
      ['sample', SAMPLE ?? '', 1],
      ['robot', ROBOT ?? '', 1],
      ['alarm', ALARM ?? '', 1],
      ['station', STATION ?? '', 1],
      ['session', SESSION ?? '', 1],
      ['deviation', DEVIATION ?? '', 1],
      ['exposure_budget', BUDGET ?? '', 1],
      ['picklist', PICKLIST ?? '', 1],
      ['schedule', SCHEDULE ?? '', 1],
      ['reservation', RESERVATION ?? '', 1],
      ['scanner_profile', PROFILE ?? '', 1],
      ['rack_scanner', SCANNER ?? '', 1],
      ['rack_scan', SCAN ?? '', 1],
      ['barcode_scheme', SCHEME ?? '', 1],
      ['sample', SECOND_SAMPLE, 1],
      ['user', SECOND_USER, 1],
      ['consent_withdrawal', WITHDRAWAL, 1],
      ['import_profile', WITHDRAWAL, 1],
    ],
    `INSERT INTO location (tenant_id, id, type, parent_id, name) VALUES
       ('${t}', '${SITE}', (SELECT code FROM location_type LIMIT 1), NULL, 'Site'),
       ('${t}', '${BOX}', (SELECT code FROM location_type LIMIT 1), '${SITE}', 'Box')`,
    `INSERT INTO location_ancestor VALUES ('${t}', '${SITE}', '${SITE}', 0), ('${t}', '${BOX}', '${BOX}', 0)`,
    `INSERT INTO position (tenant_id, id, container_id, grid_row, grid_column, ordinal)
     VALUES ('${t}', '${POSITION}', '${BOX}', 0, 0, 1)`,
    `INSERT INTO reservation (tenant_id, id, project, owner_id, reason, expires_at)
     VALUES ('${t}', '${RESERVATION}', 'HEART', '${administrator.userId}', 'study', now() + interval '1 day')`,
    `INSERT INTO barcode VALUES ('${t}', 'TUBE-1', 'sample', '${SAMPLE}'), ('${t}', 'TUBE-2', 'sample', '${SAMPLE}'),
       ('${t}', 'TUBE-3', 'sample', '${SECOND_SAMPLE}')`,
    `INSERT INTO sample (tenant_id, id, barcode, type, zone, custody, holder_id, custody_since, witness)
     VALUES ('${t}', '${SAMPLE}', 'TUBE-1', 'blood', '-80', 'person', '${administrator.userId}', now(), 'barcode'),
       ('${t}', '${SECOND_SAMPLE}', 'TUBE-3', 'blood', '-80', 'person', '${administrator.userId}', now(), 'barcode')`,
    `INSERT INTO app_user SELECT (jsonb_populate_record(u, '{"id": "${SECOND_USER}", "email": "second@example.org"}')).* FROM app_user u LIMIT 1`,
    `INSERT INTO check_out (tenant_id, sample_id, assignee_id, due_at, checked_out_by, checked_out_at)
     VALUES ('${t}', '${SAMPLE}', '${administrator.userId}', now(), '${administrator.userId}', now())`,
    `INSERT INTO disposal VALUES ('${t}', '${SAMPLE}', 'damaged', 'c', '${administrator.userId}', '${SECOND_USER}', now())`,
    `INSERT INTO consent_withdrawal (tenant_id, id, subject, withdrawn_at, withdrawn_by)
     VALUES ('${t}', '${WITHDRAWAL}', 's', now(), '${administrator.userId}')`,
    `INSERT INTO import_profile VALUES ('${t}', '${WITHDRAWAL}', 'p', 'samples', '{}', '{}')`,
    `INSERT INTO consent_withdrawal_sample VALUES ('${t}', '${WITHDRAWAL}', '${SAMPLE}')`,
    `INSERT INTO robot (tenant_id, id, name, store_id, handoff_id, host, port)
     VALUES ('${t}', '${ROBOT}', 'Robot', '${SITE}', '${BOX}', '127.0.0.1', 502)`,
    `INSERT INTO alarm (tenant_id, id, kind, severity, message, raised_at) VALUES ('${t}', '${ALARM}', 'k', 'high', 'm', now())`,
    `INSERT INTO deviation (tenant_id, id, kind, description, opened_at) VALUES ('${t}', '${DEVIATION}', 'dropped', 'd', now())`,
    `INSERT INTO exposure_budget (tenant_id, id, zone, hand_seconds) VALUES ('${t}', '${BUDGET}', '-80', 30)`,
    `INSERT INTO picklist (tenant_id, id, kind, mode, priority, window_size, actor_id, actor_role)
     VALUES ('${t}', '${PICKLIST}', 'retrieval', 'hand', 20, 4, '${administrator.userId}', 'guest')`,
    `INSERT INTO schedule (tenant_id, id, kind, mode, priority, sample_id, job_order, trigger, grace_minutes, reason, created_by,
                           created_at, next_due)
     VALUES ('${t}', '${SCHEDULE}', 'retrieval', 'hand', 20, '${SAMPLE}', '{}', '{}', 60, 'r', '${administrator.userId}', now(), now())`,
    `INSERT INTO scanner_profile (tenant_id, id, code, name, profile) VALUES ('${t}', '${PROFILE}', 'ours', 'Ours', '{}')`,
    `INSERT INTO barcode_scheme (tenant_id, id, kind, pattern, prefix, check_method, is_enforced)
     VALUES ('${t}', '${SCHEME}', 'sample', '{counter:8}', '', 'none', false)`,
    `INSERT INTO rack_scanner (tenant_id, id, name, driver, host, port, profile)
     VALUES ('${t}', '${SCANNER}', 'Scanner', 'visionmate', '127.0.0.1', 8000, 'visionmate')`,
    `INSERT INTO rack_scan (tenant_id, id, location_id, profile, state, detail, scanned_by, scanned_at)
     VALUES ('${t}', '${SCAN}', '${BOX}', 'two_columns', 'failed', 'd', '${administrator.userId}', now())`,
    `INSERT INTO station (tenant_id, id, name, secret_hash) VALUES ('${t}', '${STATION}', 'Station', 'x')`,
    `INSERT INTO session (tenant_id, id, user_id) VALUES ('${t}', '${SESSION}', '${administrator.userId}')`,
  );
});
afterAll(() => laboratory.close());

describe('a commit is refused when a ledgered row changed without its entry', () => {
  it('for every table that has the trigger: none is missing here', async () => {
    const { rows } = await laboratory.owner.pool.query<{ name: string }>(
      `SELECT DISTINCT c.relname AS name FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
       WHERE g.tgname LIKE 'ledgered%' ORDER BY 1`,
    );
    expect(rows.map((row) => row.name)).toEqual([...Object.keys(CASES), 'tenant'].sort());
  });

  for (const [table, { aggregate, idColumn, copy, change: set }] of Object.entries(CASES)) {
    const first = `(SELECT ctid FROM ${table} ORDER BY ${idColumn} LIMIT 1)`;
    const columns = `(SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
      WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '')`;
    const insert = `DO $do$ BEGIN EXECUTE format('INSERT INTO ${table} (%1$s) SELECT %1$s FROM (
      SELECT (jsonb_populate_record(r, %2$L)).* FROM ${table} r WHERE r.ctid = ${first}) copied',
      ${columns}, '${JSON.stringify(copy)}'); END $do$`;
    const isCopy = Object.entries(copy)
      .map(([column, value]) => `${column} = '${value}'`)
      .join(' AND ');

    it(`${table}: entered, changed, deleted`, async () => {
      const refused = /without a ledger entry|has no ledger entry/;
      await expect(change([], insert)).rejects.toThrow(refused);
      await expect(change([], `UPDATE ${table} SET ${set} WHERE ctid = ${first}`)).rejects.toThrow(refused);
      // An entry of another record of the same kind does not help.
      await expect(change([[aggregate, '01900000-0000-7000-8000-00000000ffff', 1]], insert)).rejects.toThrow(
        refused,
      );

      const [row] = await read(
        laboratory.owner,
        laboratory.tenantId,
        sql<{
          id: string;
        }>`SELECT ${sql.raw(idColumn)} AS id FROM ${sql.raw(table)} ORDER BY 1 LIMIT 1`.compile(
          laboratory.owner.kysely,
        ),
      );
      const id = copy[idColumn] ?? row?.id;
      const version = 10 * (Object.keys(CASES).indexOf(table) + 1);
      await change([[aggregate, String(id), version]], insert);
      await expect(change([], `DELETE FROM ${table} WHERE ${isCopy}`)).rejects.toThrow(refused);
      await change([[aggregate, String(id), version + 1]], `DELETE FROM ${table} WHERE ${isCopy}`);
    });
  }

  it('tenant: changed without its entry', async () => {
    await expect(change([], `UPDATE tenant SET name = 'Another'`)).rejects.toThrow(/has no ledger entry/);
  });

  it('position: a tube that goes in or out is an entry of the tube', async () => {
    await expect(
      change(
        [],
        `UPDATE position SET state = 'occupied', sample_id = '${SAMPLE}' WHERE id = '${POSITION}'`,
        `UPDATE sample SET custody = 'position', holder_id = NULL, position_id = '${POSITION}' WHERE id = '${SAMPLE}'`,
      ),
    ).rejects.toThrow(/has no ledger entry|without a ledger entry for sample/);
  });
});

describe('bookkeeping needs no entry', () => {
  it('a reservation: the job of a sample and the lease of a position', async () => {
    const { app, tenantId, administrator } = laboratory;
    await inTenant(app, tenantId, async (tx) => {
      await sql
        .raw(`INSERT INTO job (tenant_id, id, kind, mode, workflow_id, sample_id, actor_id, actor_role, input)
        VALUES ('${tenantId}', '${NEW_ID}', 'placement', 'hand', 'w', '${SAMPLE}', '${administrator.userId}', 'guest', '{}')`)
        .execute(tx);
      await sql.raw(`UPDATE sample SET job_id = '${NEW_ID}' WHERE id = '${SAMPLE}'`).execute(tx);
      await sql
        .raw(
          `UPDATE position SET state = 'reserved', job_id = '${NEW_ID}', lease_expires_at = now() WHERE id = '${POSITION}'`,
        )
        .execute(tx);
    });
    // But nothing else of the sample changes along with it.
    const along = inTenant(app, tenantId, (tx) =>
      sql.raw(`UPDATE sample SET job_id = NULL, project = 'along' WHERE id = '${SAMPLE}'`).execute(tx),
    );
    await expect(along).rejects.toThrow(/has no ledger entry/);
    for (const clock of ['warm_since = now()', 'exposure_ms = 1', 'freeze_thaw_count = 1']) {
      const turned = inTenant(app, tenantId, (tx) =>
        sql.raw(`UPDATE sample SET job_id = NULL, ${clock} WHERE id = '${SAMPLE}'`).execute(tx),
      );
      await expect(turned).rejects.toThrow(/has no ledger entry/);
    }
  });
});
