import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Change, type RecordedChange, withChange } from '../../db/change.ts';
import type { Database } from '../../db/connection.ts';
import { checkLedger } from '../../db/ledger.ts';
import { inTenant, read } from '../../db/tenancy.ts';
import type { Actor } from '../../domain/actor.ts';
import { decodeLeaf } from '../../domain/leaf.ts';
import { openLaboratory, type TestLaboratory } from '../setup/tenant.ts';

let laboratory: TestLaboratory;
let app: Database;
let actor: Actor;

beforeAll(async () => {
  laboratory = await openLaboratory({ max: 32 });
  app = laboratory.app;
  actor = laboratory.administrator;
});
afterAll(() => laboratory.close());

let stations = 0;
/** Enters a station and returns what belongs into record(). */
async function insertStation(change: Change): Promise<RecordedChange> {
  const name = `Station ${++stations}`;
  const { id } = await change.tx
    .insertInto('station')
    .values({ tenant_id: actor.tenantId, name, secret_hash: 'x' })
    .returning('id')
    .executeTakeFirstOrThrow();
  return {
    aggregate: 'station',
    aggregateId: id,
    version: 1,
    type: 'identity.station.enrolled',
    from: null,
    to: 'active',
    before: null,
    after: { name, robot_id: null },
    data: { station_id: id },
  };
}

async function counts() {
  const { rows } = await inTenant(app, actor.tenantId, (tx) =>
    sql<Record<string, number>>`SELECT
      (SELECT count(*) FROM station) AS stations, (SELECT count(*) FROM record_version) AS versions,
      (SELECT count(*) FROM event) AS events, (SELECT count(*) FROM ledger.entry) AS entries,
      (SELECT count(*) FROM erasable_value) AS erasable, (SELECT size FROM ledger.log) AS size`.execute(tx),
  );
  return rows[0];
}

describe('a change', () => {
  it('writes row, record version, ledger entry and event in one transaction', async () => {
    const occurredAt = new Date('2026-01-02T03:04:05.678Z');
    const station = await withChange(
      app,
      { actor: { ...actor, stationId: '01900000-0000-7000-8000-0000000000aa' }, reason: 'setup', occurredAt },
      async (change) => {
        const entry = await insertStation(change);
        change.record(entry);
        return { ...entry, recordedAt: change.recordedAt };
      },
    );
    const [stored] = await read(
      app,
      actor.tenantId,
      app.kysely
        .selectFrom('ledger.entry as e')
        .innerJoin('record_version as r', 'r.event_id', 'e.event_id')
        .innerJoin('event as v', 'v.id', 'e.event_id')
        .select([
          'e.leaf',
          'r.content',
          'r.recorded_at',
          'v.type',
          'v.subject',
          'v.time',
          'v.data',
          'v.actor',
        ])
        .where('r.aggregate_id', '=', station.aggregateId)
        .compile(),
    );
    expect(decodeLeaf(stored?.leaf ?? Buffer.alloc(0))).toMatchObject({
      v: 1,
      log: actor.tenantId,
      aggregate: 'station',
      aggregate_id: station.aggregateId,
      version: 1,
      type: 'identity.station.enrolled',
      from: null,
      to: 'active',
      actor: actor.userId,
      role: 'lab_administrator',
      device: 'station:01900000-0000-7000-8000-0000000000aa',
      reason: 'setup',
      occurred_at: '2026-01-02T03:04:05.678Z',
      recorded_at: station.recordedAt.toISOString(),
    });
    expect(JSON.parse(stored?.content.toString('utf8') ?? '')).toEqual({
      before: null,
      after: { name: station.after?.name, robot_id: null },
      comment: null,
    });
    expect(stored).toMatchObject({
      recorded_at: station.recordedAt,
      type: 'identity.station.enrolled',
      subject: `station/${station.aggregateId}`,
      time: occurredAt,
      actor: actor.userId,
      data: { station_id: station.aggregateId, timestamp: '2026-01-02T03:04:05.678Z' },
    });
  });

  it('leaves nothing at all when its body fails after everything was written', async () => {
    const before = await counts();
    const failing = withChange(app, { actor, reason: 'setup', comment: 'gone' }, async (change) => {
      change.record(await insertStation(change));
      throw new Error('the last step fails');
    });
    await expect(failing).rejects.toThrow('the last step fails');
    expect(await counts()).toEqual(before);
  });

  it('leaves nothing when the commit itself is refused', async () => {
    const before = await counts();
    const failing = withChange(app, { actor, reason: 'setup', comment: 'gone' }, async (change) => {
      change.record(await insertStation(change));
      await insertStation(change); // unrecorded: the deferred trigger refuses the commit
    });
    await expect(failing).rejects.toThrow(/has no ledger entry: changes go through withChange/);
    expect(await counts()).toEqual(before);
  });

  it('that records nothing is bookkeeping, and cannot touch a ledgered row', async () => {
    expect(await withChange(app, { actor, reason: 'setup' }, async () => 7)).toBe(7);
    await expect(withChange(app, { actor, reason: 'setup' }, insertStation)).rejects.toThrow(
      /has no ledger entry/,
    );
  });

  it('cannot record one thing twice, nor after it is over', async () => {
    const twice = withChange(app, { actor, reason: 'setup' }, async (change) => {
      const entry = await insertStation(change);
      change.record(entry);
      change.record({ ...entry, version: 2 });
    });
    await expect(twice).rejects.toThrow(/recorded twice in one change/);
    let kept: Change | undefined;
    const entry = await withChange(app, { actor, reason: 'setup' }, async (change) => {
      kept = change;
      const recorded = await insertStation(change);
      change.record(recorded);
      return recorded;
    });
    expect(() => kept?.record(entry)).toThrow(/the change is over/);
  });

  it('refuses entries that would say something else than they mean', async () => {
    const attempt = (spoil: (entry: RecordedChange) => RecordedChange) =>
      withChange(app, { actor, reason: 'setup' }, async (change) =>
        change.record(spoil(await insertStation(change))),
      );
    const before = await counts();
    await expect(attempt((e) => ({ ...e, version: 0 }))).rejects.toThrow(/versions are 1, 2, 3/);
    await expect(attempt((e) => ({ ...e, version: 1.5 }))).rejects.toThrow(/versions are 1, 2, 3/);
    await expect(attempt((e) => ({ ...e, after: { massKg: 0.5 } }))).rejects.toThrow(
      /\/after\/massKg is 0.5/,
    );
    await expect(attempt((e) => ({ ...e, erasable: ['name'], data: { name: 'x' } }))).rejects.toThrow(
      /name is erasable and must not be in the event/,
    );
    await expect(attempt((e) => ({ ...e, erasable: ['n'], after: { n: 1 } }))).rejects.toThrow(
      /string or null/,
    );
    // A record of another row does not cover this one.
    await expect(attempt((e) => ({ ...e, aggregateId: actor.userId }))).rejects.toThrow(
      /has no ledger entry/,
    );
    await expect(attempt((e) => ({ ...e, aggregate: 'session' }))).rejects.toThrow(/has no ledger entry/);
    expect(await counts()).toEqual(before);
  });

  it('cannot enter the same version twice, even from two transactions', async () => {
    const entry = await withChange(app, { actor, reason: 'setup' }, async (change) => {
      const recorded = await insertStation(change);
      change.record(recorded);
      return recorded;
    });
    const again = withChange(app, { actor, reason: 'setup' }, async (change) => change.record(entry));
    await expect(again).rejects.toThrow(/duplicate key.*record_version_pkey/);
  });

  it('keeps erasable values as commitments, one for a value that did not change', async () => {
    const entry = await withChange(
      app,
      { actor, reason: 'edit', comment: 'moved to the window' },
      async (change) => {
        const recorded = await insertStation(change);
        change.record({
          ...recorded,
          before: { name: 'Old', contact: 'ada@example.org', note: null },
          after: { name: 'New', contact: 'ada@example.org', note: 'by the window' },
          erasable: ['name', 'contact', 'note'],
        });
        return recorded;
      },
    );
    const [version] = await read(
      app,
      actor.tenantId,
      app.kysely
        .selectFrom('record_version')
        .select('content')
        .where('aggregate_id', '=', entry.aggregateId)
        .compile(),
    );
    const text = version?.content.toString('utf8') ?? '';
    for (const secret of ['Old', 'New', 'ada@example.org', 'by the window', 'moved to'])
      expect(text).not.toContain(secret);
    const { before, after, comment } = JSON.parse(text);
    expect(before.note).toBeNull();
    expect(before.contact).toEqual(after.contact);
    expect(before.name).not.toEqual(after.name);
    const kept = await read(
      app,
      actor.tenantId,
      app.kysely
        .selectFrom('erasable_value')
        .select(['field', 'value'])
        .where(
          'commitment',
          'in',
          [before.name, after.name, after.contact, after.note, comment].map((each) =>
            Buffer.from(each.commitment, 'hex'),
          ),
        )
        .orderBy('value')
        .compile(),
    );
    expect(kept).toEqual([
      { field: 'name', value: 'New' },
      { field: 'name', value: 'Old' },
      { field: 'contact', value: 'ada@example.org' },
      { field: 'note', value: 'by the window' },
      { field: 'comment', value: 'moved to the window' },
    ]);
  });
});

describe('many changes at once', () => {
  it('append without gaps, in the order of their commits, and every entry verifies', async () => {
    const before = await counts();
    const CHANGES = 200;
    const outcomes = await Promise.allSettled(
      Array.from({ length: CHANGES }, (_, i) =>
        withChange(app, { actor, reason: 'setup' }, async (change) => {
          for (let n = 0; n <= i % 3; n++) change.record(await insertStation(change));
          if (i % 10 === 9) throw new Error('planned');
        }),
      ),
    );
    const entered = outcomes.reduce(
      (sum, { status }, i) => sum + (status === 'fulfilled' ? 1 + (i % 3) : 0),
      0,
    );
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(CHANGES / 10);
    const after = await counts();
    for (const what of ['stations', 'versions', 'events', 'entries', 'size']) {
      expect((after?.[what] ?? 0) - (before?.[what] ?? 0), what).toBe(entered);
    }
    const { rows } = await inTenant(app, actor.tenantId, (tx) =>
      sql<{ gaps: number; disorder: number }>`SELECT
        (SELECT max(seq) + 1 - count(*) FROM ledger.entry) AS gaps,
        -- Entries are written while the head is locked: their times follow their numbers.
        (SELECT count(*) FROM (SELECT created_at, lag(created_at) OVER (ORDER BY seq) AS before FROM ledger.entry) e
         WHERE created_at < before) AS disorder`.execute(tx),
    );
    expect(rows[0]).toEqual({ gaps: 0, disorder: 0 });
    const report = await checkLedger(app, actor.tenantId);
    expect(report.firstFault).toBeNull();
    expect(report.ok).toBe(true);
  });
});

describe('the ledger', () => {
  it('is appended to only by its function: the application can neither enter, change nor delete an entry', async () => {
    const statements = [
      `INSERT INTO ledger.entry (tenant_id, seq, event_id, leaf, leaf_hash)
       SELECT tenant_id, 1000000, uuidv7(), leaf, leaf_hash FROM ledger.entry LIMIT 1`,
      'UPDATE ledger.entry SET leaf = leaf',
      'DELETE FROM ledger.entry',
      'TRUNCATE ledger.entry',
      'UPDATE ledger.log SET size = size + 1',
      `SELECT ledger.open_log('another')`,
      'UPDATE record_version SET version = version',
      'DELETE FROM record_version',
      'UPDATE event SET type = type',
      'DELETE FROM event',
    ];
    for (const statement of statements) {
      await expect(
        inTenant(app, actor.tenantId, (tx) => sql.raw(statement).execute(tx)),
        statement,
      ).rejects.toThrow(/permission denied/);
    }
  });

  it('is not rewritten even by the role that owns the tables', async () => {
    for (const [statement, message] of [
      ['UPDATE record_version SET version = version', /append-only: UPDATE is refused/],
      ['DELETE FROM record_version', /append-only: DELETE is refused/],
      ['TRUNCATE record_version', /append-only: TRUNCATE is refused/],
      ['UPDATE ledger.entry SET leaf = leaf', /permission denied/],
      ['DELETE FROM ledger.entry', /permission denied/],
    ] as const) {
      await expect(
        inTenant(laboratory.owner, actor.tenantId, (tx) => sql.raw(statement).execute(tx)),
        statement,
      ).rejects.toThrow(message);
    }
  });

  it('refuses leaves of another log, of another version, and that are not JSON', async () => {
    const append = (leaf: string) =>
      inTenant(app, actor.tenantId, (tx) =>
        sql`SELECT ledger.append(ARRAY[${Buffer.from(leaf)}]::bytea[])`.execute(tx),
      );
    const event_id = '01900000-0000-7000-8000-000000000001';
    await expect(append(JSON.stringify({ v: 2, log: actor.tenantId, event_id }))).rejects.toThrow(
      /not a version 1 leaf/,
    );
    await expect(append(JSON.stringify({ v: 1, log: event_id, event_id }))).rejects.toThrow(
      /not a version 1 leaf/,
    );
    await expect(append(JSON.stringify({ v: 1, log: actor.tenantId }))).rejects.toThrow(
      /null value in column "event_id"/,
    );
    await expect(append('x')).rejects.toThrow(/invalid input syntax for type json/);
    await expect(append('')).rejects.toThrow(/invalid input syntax for type json/);
  });

  it('takes an event once', async () => {
    const [entry] = await read(
      app,
      actor.tenantId,
      app.kysely.selectFrom('ledger.entry').select('leaf').limit(1).compile(),
    );
    const again = inTenant(app, actor.tenantId, (tx) =>
      sql`SELECT ledger.append(ARRAY[${entry?.leaf}]::bytea[])`.execute(tx),
    );
    await expect(again).rejects.toThrow(/duplicate key.*entry_tenant_id_event_id_key/);
  });

  it('needs a log: a tenant that does not exist cannot append', async () => {
    const nobody = '01900000-0000-7000-8000-00000000dead';
    const append = inTenant(app, nobody, (tx) => sql`SELECT ledger.append(ARRAY[]::bytea[])`.execute(tx));
    await expect(append).rejects.toThrow(/has no ledger/);
  });
});
