import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createInventoryActivities } from '../../activities/inventory.ts';
import { withChange } from '../../db/change.ts';
import { closeDeviation } from '../../db/deviations.ts';
import { listComparisons } from '../../db/inventory.ts';
import { InventoryLab } from '../setup/inventory-lab.ts';
import { takeOut } from '../setup/store.ts';
import { openWorklist, WorklistCell } from '../setup/worklist-cell.ts';

const at = (slot: number) => ({ cassette: 1, level: 1, slot });

describe('a store’s own inventory and the record', () => {
  let inventory: InventoryLab;
  let cell: WorklistCell;
  let wire: ReturnType<typeof openWorklist>;
  let ids: string[];

  beforeEach(async () => {
    [inventory, cell] = await Promise.all([InventoryLab.open(), WorklistCell.open(['--speed', '0'])]);
    wire = openWorklist(cell.port);
    await cell.addAll([1, 2, 3].map((slot) => ({ ...at(slot), barcode: `T-${slot}` })));
    ids = [];
    for (const slot of [1, 2, 3]) ids.push(await inventory.record(slot, `T-${slot}`));
  });
  afterEach(async () => {
    wire.close();
    await Promise.all([inventory.close(), cell.close()]);
  });

  const AGREED = { tubes: 3, recorded: 3, missing: 0, unexpected: 0, moved: 0 };

  it('agree when they do; what was staged is forgotten, and an alarm that they were not compared is over', async () => {
    const { db, tenantId } = inventory.lab.store;
    const failed = await inventory.begin();
    await createInventoryActivities({ db }).failComparison(tenantId, failed.id, 'The store did not answer.');
    const active = sql`SELECT FROM alarm WHERE kind = 'inventory_not_compared' AND cleared_at IS NULL`;
    expect(await inventory.lab.rows(active)).toHaveLength(1);
    const ended = await inventory.compare(wire);
    expect(ended).toMatchObject({ state: 'COMPLETED', counts: AGREED, opened: 0, detail: null });
    expect(await inventory.deviations()).toEqual([]);
    expect(await inventory.lab.rows(sql`SELECT FROM inventory_entry`)).toEqual([]);
    expect(await inventory.lab.rows(active)).toEqual([]);
  });

  it('differ by a tube that was taken out at the store’s screen: nobody knows where it is', async () => {
    await cell.screenRemove(at(2));
    const ended = await inventory.compare(wire);
    expect(ended).toMatchObject({ counts: { tubes: 2, missing: 1 }, opened: 1 });
    const positionId = await inventory.positionId(2);
    const [deviation] = await inventory.deviations();
    expect(deviation).toMatchObject({
      kind: 'inventory_missing',
      sample_id: ids[1],
      robot_id: inventory.lab.robotId,
      description: expect.stringMatching(/^R1 has no tube in A2 of .*B1, where this one is recorded/),
      facts: { address: '1/1/2', position_id: positionId },
    });
    expect(await inventory.lab.sample(String(ids[1]))).toMatchObject({
      custody: 'unknown',
      position_id: null,
      candidates: [{ kind: 'position', positionId }],
      witness: 'asserted',
    });
    expect(await inventory.position(2)).toMatchObject({ state: 'blocked', sample_id: null });
    const last = (await inventory.lab.entries(String(ids[1]))).at(-1);
    expect(last).toMatchObject({
      type: 'storage.sample.custody_unknown',
      from: `position:${positionId}`,
      to: 'unknown',
      reason: 'inventory',
    });
  });

  it('differ by a tube that was moved at the store’s screen: it stays recorded, and is only asserted', async () => {
    await inventory.plant(`UPDATE sample SET witness = 'sensor'`);
    await cell.screenMove(at(3), at(8));
    expect(await inventory.compare(wire)).toMatchObject({ counts: { missing: 0, moved: 1 }, opened: 1 });
    const [recordedId, foundId] = [await inventory.positionId(3), await inventory.positionId(8)];
    expect(await inventory.deviations()).toMatchObject([
      {
        kind: 'inventory_moved',
        sample_id: ids[2],
        description: expect.stringMatching(/recorded in A3 of .*B1 in A8 of .*B1/),
        facts: { address: '1/1/8', position_id: recordedId, found_position_id: foundId },
      },
    ]);
    expect(await inventory.lab.sample(String(ids[2]))).toMatchObject({
      custody: 'position',
      position_id: recordedId,
      witness: 'asserted',
    });
    expect(await inventory.position(8)).toMatchObject({ state: 'blocked' });
    expect((await inventory.lab.entries(String(ids[2]))).at(-1)).toMatchObject({
      type: 'storage.sample.doubted',
    });
  });

  it('differ by tubes that nobody put there: known, unknown and unread', async () => {
    await cell.addAll([
      { ...at(5), barcode: 'NOBODY KNOWS' },
      { ...at(6), barcode: 'UNREAD', readable: false },
      { cassette: 3, level: 7, slot: 1, barcode: 'FAR AWAY' },
    ]);
    const taken = await inventory.record(7, 'T-7');
    await takeOut(inventory.lab.store, taken);
    await cell.add(1, 1, 7, 'T-7');
    const ended = await inventory.compare(wire);
    expect(ended).toMatchObject({ counts: { tubes: 7, recorded: 3, unexpected: 4 }, opened: 4 });
    const found = await inventory.deviations();
    expect(found.every(({ kind }) => kind === 'inventory_unexpected')).toBe(true);
    expect(Object.fromEntries(found.map((each) => [each.facts.address, each]))).toMatchObject({
      '1/1/5': {
        sample_id: null,
        description: expect.stringMatching(/NOBODY KNOWS, which nobody registered/),
      },
      '1/1/6': { sample_id: null, description: expect.stringMatching(/label it could not read/) },
      '1/1/7': { sample_id: taken, description: expect.stringMatching(/recorded elsewhere/) },
      '3/7/1': { facts: { found_position_id: null }, description: expect.stringMatching(/no position here/) },
    });
    expect(JSON.stringify(found.map(({ facts }) => facts))).not.toMatch(/NOBODY|T-7|FAR/);
    for (const slot of [5, 6, 7]) expect(await inventory.position(slot)).toMatchObject({ state: 'blocked' });
    const written = await inventory.lab.rows<{ text: string }>(
      sql`SELECT convert_from(content, 'UTF8') AS text FROM record_version WHERE aggregate = 'deviation'`,
    );
    expect(written.some(({ text }) => /NOBODY KNOWS|T-7/.test(text))).toBe(false);
  });

  it('differ by two tubes when one stands in the place of another', async () => {
    await cell.screenRemove(at(1));
    await cell.add(1, 1, 1, 'STRANGER');
    expect(await inventory.compare(wire)).toMatchObject({ counts: { missing: 1, unexpected: 1 }, opened: 2 });
    expect((await inventory.deviations()).map(({ kind }) => kind).sort()).toEqual([
      'inventory_missing',
      'inventory_unexpected',
    ]);
  });

  it('are not said to differ twice while the first is open, and again once it was closed', async () => {
    await cell.screenMove(at(3), at(8));
    await cell.add(1, 1, 5, 'STRANGER');
    expect(await inventory.compare(wire)).toMatchObject({ opened: 2 });
    expect(await inventory.compare(wire)).toMatchObject({ counts: { moved: 1, unexpected: 1 }, opened: 0 });
    expect(await inventory.deviations()).toHaveLength(2);
    const [first] = await inventory.lab.rows<{ id: string }>(
      sql`SELECT id FROM deviation WHERE kind = 'inventory_moved'`,
    );
    const { db, context } = inventory.lab.store;
    await closeDeviation(db, { ...context, reason: 'deviation' }, String(first?.id), 'Seen.');
    expect(await inventory.compare(wire)).toMatchObject({ opened: 1 });
    expect(await inventory.deviations()).toHaveLength(3);
  });

  it('may differ about what a job moves, or what moved since the reading began', async () => {
    const job = await inventory.lab.retrieval(String(ids[0]));
    await job.reserved();
    await cell.screenRemove(at(1));
    const comparison = await inventory.begin();
    await inventory.read(comparison, wire);
    // The hand took it out while the reading was under way.
    await takeOut(inventory.lab.store, String(ids[1]));
    expect(await inventory.judge(comparison)).toMatchObject({
      state: 'COMPLETED',
      counts: { missing: 0, unexpected: 0, moved: 0 },
    });
    expect(await inventory.deviations()).toEqual([]);
    expect(await inventory.lab.sample(String(ids[0]))).toMatchObject({ custody: 'position' });
  });

  it('agree about a tube whose label the store could not read', async () => {
    await cell.screenRemove(at(2));
    await cell.addAll([{ ...at(2), barcode: 'T-2', readable: false }]);
    expect(await inventory.compare(wire)).toMatchObject({ counts: AGREED, opened: 0 });
  });

  it('prove nothing when the store has lost its books', async () => {
    for (let slot = 4; slot <= 12; slot++) await inventory.record(slot, `T-${slot}`);
    const empty = { inventory: async () => ({ entries: [], hasMore: false, total: 0, revision: 1 }) };
    const ended = await inventory.compare(empty);
    expect(ended).toMatchObject({ state: 'FAILED', counts: { missing: 12 }, opened: 0 });
    expect(ended.detail).toMatch(/^The store lists 0 tubes and lacks 12 of the 12 /);
    expect(await inventory.deviations()).toEqual([]);
    expect(await inventory.lab.sample(String(ids[0]))).toMatchObject({ custody: 'position' });
  });

  it('are compared by pages that belong together', async () => {
    await cell.addAll(
      Array.from({ length: 450 }, (_, n) => ({ cassette: 2, level: 1, slot: n + 1, barcode: `X-${n}` })),
    );
    let pages = 0;
    const changing: typeof wire.inventory = async (after, limit) => {
      pages += 1;
      // Somebody works at the screen after the first page of the first reading.
      if (pages === 2) await cell.screenRemove({ cassette: 2, level: 1, slot: 450 });
      return wire.inventory(after, limit);
    };
    const comparison = await inventory.begin();
    await inventory.read(comparison, { inventory: changing });
    expect(pages).toBe(2 + 3);
    const staged = await inventory.lab.rows<{ n: number }>(
      sql`SELECT count(*)::int AS n FROM inventory_entry`,
    );
    expect(staged).toEqual([{ n: 3 + 449 }]);
    const restless = {
      inventory: async () => ({
        entries: [{ ...at(1), barcode: null }],
        hasMore: true,
        total: 2,
        revision: pages++,
      }),
    };
    await expect(inventory.read(comparison, restless)).rejects.toMatchObject({ code: 'ROBOT_UNAVAILABLE' });
    const silent = { inventory: () => Promise.reject(new Error('it does not answer')) };
    await expect(inventory.read(comparison, silent)).rejects.toThrow(/could not be read: it does not answer/);
  });

  it('are compared once at a time, and a comparison that has ended is not judged again', async () => {
    const first = await inventory.begin();
    expect((await inventory.begin()).id).toBe(first.id);
    const { db, tenantId } = inventory.lab.store;
    const activities = createInventoryActivities({ db });
    expect(await activities.beginComparisons(tenantId)).toEqual([
      { comparisonId: first.id, robotId: inventory.lab.robotId },
    ]);
    await activities.failComparison(tenantId, first.id, 'The store did not answer.');
    expect(await inventory.judge(first)).toMatchObject({
      state: 'FAILED',
      detail: 'The store did not answer.',
      counts: null,
    });
    await activities.failComparison(tenantId, first.id, 'Told again.');
    const alarms = () =>
      inventory.lab.rows<{ message: string; cleared_at: Date | null }>(
        sql`SELECT message, cleared_at FROM alarm WHERE kind = 'inventory_not_compared' ORDER BY id`,
      );
    expect(await alarms()).toMatchObject([
      {
        message: expect.stringMatching(/was not compared .*: The store did not answer\.$/),
        cleared_at: null,
      },
    ]);
    const [second] = await activities.beginComparisons(tenantId);
    expect(second?.comparisonId).not.toBe(first.id);
    const all = await listComparisons(db, tenantId, inventory.lab.robotId, 10);
    expect(all).toMatchObject([
      { cause: 'schedule', state: 'RUNNING', actor: { userId: '00000000-0000-0000-0000-000000000000' } },
      { cause: 'asked', state: 'FAILED' },
    ]);
  });

  it('are compared for no store that keeps no books', async () => {
    await inventory.plant(`UPDATE robot SET driver = 'modbus'`);
    await expect(inventory.begin()).rejects.toMatchObject({ code: 'CONFLICT' });
    const { db, tenantId } = inventory.lab.store;
    expect(await createInventoryActivities({ db }).beginComparisons(tenantId)).toEqual([]);
    await inventory.plant(`UPDATE robot SET driver = 'worklist', retired_at = now()`);
    expect(await createInventoryActivities({ db }).beginComparisons(tenantId)).toEqual([]);
    await expect(inventory.begin()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('open no deviation that the database has open already', async () => {
    const { db, context, tenantId } = inventory.lab.store;
    await cell.screenMove(at(3), at(8));
    await inventory.compare(wire);
    const again = withChange(db, { ...context, reason: 'inventory' }, async ({ tx }) => {
      await sql`INSERT INTO deviation (tenant_id, kind, description, sample_id, robot_id, facts, opened_at)
        SELECT tenant_id, kind, description, sample_id, robot_id, facts, now() FROM deviation
        WHERE tenant_id = ${tenantId}`.execute(tx);
    });
    await expect(again).rejects.toThrow(/deviation_inventory_open/);
  });
});
