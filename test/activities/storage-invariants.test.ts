import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findLocation, readMap } from '../../db/locations.ts';
import { reserveTarget } from '../../db/placement.ts';
import { findSample, listSamples, locateSample } from '../../db/samples.ts';
import { inTenant } from '../../db/tenancy.ts';
import {
  addJob,
  addLocation,
  openStore,
  positionsOf,
  storeOf,
  storeSample,
  type TestStore,
} from '../setup/store.ts';

/** Tries, as the application's own role, what no code of ours does: the database has to refuse it. */
let store: TestStore;
let client: pg.Client;
let positions: string[];
let sample: string;

beforeAll(async () => {
  store = await openStore();
  const site = await addLocation(store, { type: 'site', name: 'Main' });
  const freezer = await addLocation(store, { type: 'freezer', name: 'F1', parent: site });
  positions = await positionsOf(
    store,
    await addLocation(store, { type: 'box_5x5', name: 'B1', parent: freezer }),
  );
  sample = await storeSample(store, { barcode: 'T1', positionId: String(positions[0]) });
  await storeSample(store, { barcode: 'T2', positionId: String(positions[1]) });
  client = new pg.Client({ connectionString: store.lab.database.appUrl });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await store.lab.close();
});

/** Runs statements in one transaction of the tenant and says with which constraint or error it ended. */
async function attempt(...statements: (readonly [string, ...unknown[]])[]): Promise<string> {
  try {
    await client.query('BEGIN');
    await client.query(`SELECT set_config('app.tenant', $1, true)`, [store.tenantId]);
    for (const [text, ...values] of statements) await client.query(text, values);
    const { command } = await client.query('COMMIT');
    return command;
  } catch (error) {
    await client.query('ROLLBACK');
    if (!(error instanceof pg.DatabaseError)) throw error;
    return error.constraint ?? error.message;
  }
}

const AT = (index: number) => positions[index];

describe('invariant 1: one custody', () => {
  test.each<[string, string]>([
    ['a position and a holder', `holder_id = $2`],
    ['no position', `position_id = NULL`],
    ['in a carrier without a robot', `custody = 'carrier', position_id = NULL`],
    ['unknown without candidates', `custody = 'unknown', position_id = NULL`],
    ['with a person nobody named', `custody = 'person', position_id = NULL`],
    ['disposed and in a position', `custody = 'disposed'`],
    ['a witness nobody knows', `witness = 'hope'`],
    ['a custody nobody knows', `custody = 'lost'`],
  ])('%s is refused', async (_, change) => {
    const verdict = await attempt(
      change.includes('$2')
        ? [`UPDATE sample SET ${change} WHERE id = $1`, sample, store.actor.userId]
        : [`UPDATE sample SET ${change} WHERE id = $1`, sample],
    );
    expect(verdict).toMatch(/^sample_.*check/);
  });

  test('custody does not change without a ledger entry', async () => {
    expect(
      await attempt(
        [`UPDATE position SET state = 'free', sample_id = NULL WHERE id = $1`, AT(0)],
        [
          `UPDATE sample SET custody = 'person', position_id = NULL, holder_id = $2, version = version + 1 WHERE id = $1`,
          sample,
          store.actor.userId,
        ],
      ),
    ).toMatch(/without a ledger entry|has no ledger entry/);
  });

  test.each([
    ['sample_agrees_with_position', 'a position does not name the sample that names it'],
    ['position_agrees_with_sample', 'a sample does not name the position that names it'],
  ])('a sample and its position name each other: %s', async (constraint, _what) => {
    const isSamples = constraint === 'sample_agrees_with_position';
    expect(
      await attempt(
        isSamples
          ? [`UPDATE position SET state = 'free', sample_id = NULL WHERE id = $1`, AT(0)]
          : [
              `UPDATE sample SET custody = 'person', position_id = NULL, holder_id = $2 WHERE id = $1`,
              sample,
              store.actor.userId,
            ],
        // Before the commit, which would miss the ledger entry as well.
        [`SET CONSTRAINTS ${constraint} IMMEDIATE`],
      ),
    ).toBe(constraint);
  });

  test('a sample that names another position than the one that names it is refused', async () => {
    for (const constraint of ['sample_agrees_with_position', 'position_agrees_with_sample']) {
      expect(
        await attempt(
          [`UPDATE sample SET position_id = $2 WHERE id = $1`, sample, AT(5)],
          [`SET CONSTRAINTS ${constraint} IMMEDIATE`],
        ),
      ).toBe(constraint);
    }
  });
});

describe('invariant 2: one sample a position, one position a sample', () => {
  test('a sample in two positions is refused', async () => {
    expect(
      await attempt([`UPDATE position SET state = 'occupied', sample_id = $2 WHERE id = $1`, AT(3), sample]),
    ).toBe('position_sample');
  });

  test('two samples that name one position are refused', async () => {
    expect(await attempt([`UPDATE sample SET position_id = $2 WHERE id = $1`, sample, AT(1)])).toBe(
      'sample_position',
    );
  });

  test.each<[string, string]>([
    ['occupied without a sample', `state = 'occupied'`],
    ['reserved without a job', `state = 'reserved'`],
    ['blocked without a reason', `state = 'blocked'`],
    ['free with a lease', `lease_expires_at = now()`],
  ])('a position that is %s is refused', async (_, change) => {
    expect(await attempt([`UPDATE position SET ${change} WHERE id = $1`, AT(4)])).toMatch(
      /^position_.*check/,
    );
  });

  test('a second position in one cell is refused', async () => {
    expect(
      await attempt([
        `INSERT INTO position (tenant_id, container_id, grid_row, grid_column, ordinal)
         SELECT tenant_id, container_id, grid_row, grid_column, 99 FROM position WHERE id = $1`,
        AT(0),
      ]),
    ).toMatch(/^position_tenant_id_container_id_grid_row/);
  });

  test('a second sample with a barcode in use is refused', async () => {
    expect(
      await attempt([
        `INSERT INTO barcode (tenant_id, code, kind, owner_id) VALUES ($1, 'T1', 'location', uuidv7())`,
        store.tenantId,
      ]),
    ).toBe('barcode_pkey');
  });

  test('positions are not deleted, barcodes are not shaped like ids', async () => {
    expect(await attempt([`DELETE FROM position WHERE id = $1`, AT(4)])).toMatch(/permission denied/);
    expect(
      await attempt([
        `INSERT INTO barcode (tenant_id, code, kind, owner_id) VALUES ($1, $2, 'sample', uuidv7())`,
        store.tenantId,
        uuidv7(),
      ]),
    ).toBe('barcode_code_check');
  });
});

describe('invariant 4: one tenant does not see another’s store', () => {
  test('nothing of it is found, listed, reserved or changed', async () => {
    const stranger = await store.lab.addTenant();
    const other = { ...storeOf(store.lab), tenantId: stranger.tenantId, actor: stranger };
    const { db } = store;
    const box = await findSample(db, store.tenantId, 'T1');
    const containerId = String(box.place?.containerId);
    await expect(findSample(db, stranger.tenantId, sample)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(locateSample(db, stranger.tenantId, 'T1')).rejects.toMatchObject({
      code: 'BARCODE_UNKNOWN',
    });
    await expect(findLocation(db, stranger.tenantId, containerId)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(readMap(db, stranger.tenantId, containerId)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await listSamples(db, stranger.tenantId, {}, 'created', null, 10)).toEqual([]);
    const jobId = await addJob(other);
    for (const target of [
      { kind: 'named', positionId: String(AT(4)) },
      { kind: 'chosen', withinId: containerId },
      { kind: 'chosen', withinId: null },
    ] as const) {
      const result = await inTenant(db, stranger.tenantId, (tx) =>
        reserveTarget(
          tx,
          stranger.tenantId,
          jobId,
          { zone: '-80', type: 'plasma', project: null },
          target,
          1000,
        ),
      );
      expect(result.outcome).toBe('refused');
    }
  });
});

test('where a sample is: path, position, since when and how sure', async () => {
  expect(await locateSample(store.db, store.tenantId, 'T1')).toMatchObject({
    id: sample,
    custody: { kind: 'position', positionId: AT(0) },
    witness: 'asserted',
    since: expect.any(Date),
    place: {
      label: 'A1',
      row: 0,
      column: 0,
      zone: '-80',
      path: [{ name: 'Main' }, { name: 'F1' }, { name: 'B1' }],
    },
  });
});
