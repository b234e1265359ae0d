import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCapacity } from '../../db/capacity.ts';
import { relocateLocation } from '../../db/location-relocation.ts';
import { type Replication, replicateLocation } from '../../db/location-replica.ts';
import { type NewSize, resizeLocation } from '../../db/location-resize.ts';
import { blockPosition } from '../../db/location-service.ts';
import { createLocationType, editLocationType, listLocationTypes } from '../../db/location-types.ts';
import { findLocation, readMap, readTree } from '../../db/locations.ts';
import { reserveTarget } from '../../db/placement.ts';
import { findSample } from '../../db/samples.ts';
import { inTenant } from '../../db/tenancy.ts';
import { sampleTimeline } from '../../db/timeline.ts';
import type { LocationType } from '../../domain/location-type.ts';
import {
  addJob,
  addLocation,
  openStore,
  positionsOf,
  storeSample,
  type TestStore,
  takeOut,
  wrongCounters,
} from '../setup/store.ts';

let store: TestStore;
let site: string;
let count = 0;

beforeAll(async () => {
  store = await openStore(16);
  site = await addLocation(store, { type: 'site', name: 'Main' });
});
afterAll(() => store.lab.close());

type Entered = Partial<Parameters<typeof addLocation>[1]>;
const freezer = (changes: Entered = {}) =>
  addLocation(store, { type: 'freezer', name: `F${++count}`, parent: site, ...changes });
const box = (parent: string, changes: Entered = {}) =>
  addLocation(store, { type: 'box_5x5', name: `B${++count}`, parent, ...changes });
const find = (reference: string) => findLocation(store.db, store.tenantId, reference);
const labels = async (id: string) => {
  const { location, cells } = await readMap(store.db, store.tenantId, id);
  return { location, states: cells.map((cell) => cell.state) };
};

async function reserveIn(withinId: string, project: string | null = null) {
  const jobId = await addJob(store);
  return inTenant(store.db, store.tenantId, (tx) =>
    reserveTarget(
      tx,
      store.tenantId,
      jobId,
      { zone: '-80', type: 'plasma', project },
      { kind: 'chosen', withinId },
      60_000,
    ),
  );
}

describe('fill order', () => {
  test('a box fills in the direction its type says, and prints numbers', async () => {
    const id = await box(await freezer(), {
      grid: {
        rows: 2,
        columns: 2,
        rowLabels: 'upper',
        columnLabels: 'number',
        labelling: 'linear',
        direction: 'vertical',
        origin: 'bottom_left',
      },
    });
    const given = [];
    for (let n = 0; n < 3; n++) {
      const result = await reserveIn(id);
      given.push(result.outcome === 'reserved' ? result.position.label : result.refusal.code);
    }
    expect(given).toEqual(['1', '2', '3']);
    const { cells } = await readMap(store.db, store.tenantId, id);
    expect(cells.map(({ row, column }) => [row, column])).toEqual([
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ]);
  });
});

describe('bags and bins', () => {
  test('hold what fits in them, without positions; a full one refuses and says where there is room', async () => {
    const unit = await freezer();
    const bag = await addLocation(store, {
      type: 'bag',
      name: `bag ${++count}`,
      parent: unit,
      loose: { capacity: 2 },
    });
    expect(await find(bag)).toMatchObject({ grid: null, loose: { capacity: 2 }, positions: { total: 2 } });
    for (let n = 0; n < 2; n++) {
      expect(await reserveIn(bag)).toMatchObject({ outcome: 'reserved', position: { label: 'loose' } });
    }
    expect(await reserveIn(bag)).toMatchObject({
      outcome: 'refused',
      refusal: { code: 'NO_POSITION_FREE' },
    });
    expect(await wrongCounters(store)).toEqual([]);
  });

  test('without a limit never fill, also for 64 at once, and count what is in them', async () => {
    const bin = await addLocation(store, { type: 'bin', name: `bin ${++count}`, parent: await freezer() });
    expect(await find(bin)).toMatchObject({ loose: { capacity: null }, positions: { total: 0, free: 0 } });
    for (let round = 1; round <= 6; round++) {
      const results = await Promise.all(Array.from({ length: 64 }, () => reserveIn(bin)));
      expect(results.map((result) => result.outcome)).toEqual(results.map(() => 'reserved'));
    }
    expect(await find(bin)).toMatchObject({ positions: { total: 384, reserved: 384, free: 0 } });
    expect(await readCapacity(store.db, store.tenantId, bin)).toMatchObject({
      total: 384,
      reserved: 384,
      free: 0,
    });
    expect((await labels(bin)).states).toHaveLength(384);
    expect(await wrongCounters(store)).toEqual([]);
  }, 60_000);
});

describe('another size', () => {
  const resize = async (id: string, size: NewSize) =>
    resizeLocation(store.db, { ...store.context, reason: 'edit' }, id, (await find(id)).version, size);

  test('shrinking a full box is refused, naming the first tube in the way', async () => {
    const id = await box(await freezer());
    const positions = await positionsOf(store, id);
    for (const [n, positionId] of positions.entries()) {
      if (n !== 20) await storeSample(store, { barcode: `FULL-${n}`, positionId });
    }
    await expect(resize(id, { rows: 4, columns: 5 })).rejects.toMatchObject({
      code: 'CANNOT_SHRINK',
      detail: expect.stringContaining('the tube with barcode FULL-21 is in position E2'),
      facts: { position: 'E2', barcode: 'FULL-21' },
    });
    expect(await find(id)).toMatchObject({ grid: { rows: 5 }, positions: { total: 25 }, version: 1 });
    await resize(id, { rows: 6, columns: 7 });
    expect(await find(id)).toMatchObject({
      grid: { rows: 6, columns: 7 },
      positions: { total: 42, free: 18 },
    });
    expect((await findSample(store.db, store.tenantId, 'FULL-24')).place?.label).toBe('E5');
    expect(await wrongCounters(store)).toEqual([]);
  });

  test('a smaller box keeps the history of what stood in the part that is gone', async () => {
    const id = await box(await freezer());
    const last = String((await positionsOf(store, id)).at(-1));
    const sampleId = await storeSample(store, { barcode: `OUT-${++count}`, positionId: last });
    await takeOut(store, sampleId);
    await resize(id, { rows: 2, columns: 3 });
    expect(await find(id)).toMatchObject({ positions: { total: 6, free: 6, blocked: 0 } });
    expect((await labels(id)).states).toHaveLength(6);
    const [entry] = await sampleTimeline(store.db, store.tenantId, sampleId, 0, 10);
    expect(entry?.place?.label).toBe('E5');
    await resize(id, { rows: 5, columns: 5 });
    expect((await positionsOf(store, id)).at(-1)).toBe(last);
    expect(await find(id)).toMatchObject({ positions: { total: 25, free: 25 } });
    expect(await wrongCounters(store)).toEqual([]);
  });

  test('a reserved or blocked position is in the way too', async () => {
    const id = await box(await freezer());
    await blockPosition(store.db, { ...store.context, reason: 'blocking' }, id, 'E5', 'bent');
    await expect(resize(id, { rows: 4, columns: 4 })).rejects.toMatchObject({
      detail: expect.stringContaining('position E5 is blocked (bent)'),
    });
    await reserveIn(id);
    await expect(resize(id, { rows: 1, columns: 1 })).rejects.toMatchObject({ code: 'CANNOT_SHRINK' });
  });

  test('a bag gets a limit, and loses it again', async () => {
    const bag = await addLocation(store, { type: 'bag', name: `bag ${++count}`, parent: await freezer() });
    for (let n = 0; n < 3; n++) await reserveIn(bag);
    await expect(resize(bag, { capacity: 2 })).rejects.toMatchObject({ code: 'CANNOT_SHRINK' });
    await expect(resize(bag, { rows: 1, columns: 2 })).rejects.toMatchObject({ code: 'VALIDATION' });
    await resize(bag, { capacity: 3 });
    expect((await reserveIn(bag)).outcome).toBe('refused');
    await resize(bag, { capacity: null });
    expect((await reserveIn(bag)).outcome).toBe('reserved');
    await resize(bag, { capacity: 10 });
    expect(await find(bag)).toMatchObject({ loose: { capacity: 10 }, positions: { total: 10, free: 6 } });
    expect(await wrongCounters(store)).toEqual([]);
  });
});

describe('replicas', () => {
  const replicate = (id: string, changes: Partial<Replication>) =>
    replicateLocation(store.db, store.context, id, {
      parent: null,
      copies: 1,
      firstNumber: 1,
      name: 'copy {n}',
      barcode: null,
      ...changes,
    });

  async function furnished() {
    const unit = await freezer({ barcode: `FZ-${++count}`, sampleTypes: ['plasma'] });
    const shelf = await addLocation(store, { type: 'shelf', name: 'S1', parent: unit });
    const rack = await addLocation(store, {
      type: 'rack',
      name: 'R1',
      parent: shelf,
      barcode: `RK-${++count}`,
    });
    const filled = await box(rack, { name: 'B1', barcode: `BX-${++count}` });
    await addLocation(store, { type: 'bag', name: 'G1', parent: shelf });
    const [first] = await positionsOf(store, filled);
    await storeSample(store, { barcode: `IN-${++count}`, positionId: String(first) });
    return { unit, rack };
  }

  test('a freezer comes with its whole layout, empty, under new names and barcodes', async () => {
    const { unit } = await furnished();
    const ids = await replicate(unit, {
      copies: 2,
      firstNumber: 7,
      name: '{name}-{n:3}',
      barcode: '{barcode}/{n}',
    });
    expect(ids).toHaveLength(2);
    const original = await find(unit);
    for (const [index, id] of ids.entries()) {
      const [copy] = await readTree(store.db, store.tenantId, id, 10, 100);
      expect(copy).toMatchObject({
        name: `${original.name}-00${7 + index}`,
        barcode: `${original.barcode}/${7 + index}`,
        path: [{ name: 'Main' }, { id }],
        rules: { zone: '-80', sampleTypes: ['plasma'] },
        children: [
          {
            name: 'S1',
            barcode: null,
            children: [
              { name: 'G1', loose: { capacity: null } },
              {
                name: 'R1',
                children: [
                  {
                    name: 'B1',
                    grid: { rows: 5 },
                    positions: { total: 25, free: 25 },
                    rules: { zone: '-80' },
                  },
                ],
              },
            ],
          },
        ],
      });
      expect(await readCapacity(store.db, store.tenantId, id)).toMatchObject({ total: 25, free: 25 });
    }
    expect(await wrongCounters(store)).toEqual([]);
  });

  test('a barcode that somebody has, or that two would share, undoes all copies', async () => {
    const { rack } = await furnished();
    const original = await find(rack);
    await addLocation(store, {
      type: 'shelf',
      name: `T${++count}`,
      parent: await freezer(),
      barcode: `${original.barcode}-2`,
    });
    await expect(replicate(rack, { copies: 3, barcode: '{barcode}-{n}' })).rejects.toMatchObject({
      code: 'BARCODE_TAKEN',
      detail: expect.stringContaining(`${original.barcode}-2`),
    });
    await expect(replicate(rack, { barcode: 'X{n}' })).rejects.toMatchObject({
      code: 'VALIDATION',
      detail: expect.stringContaining('the same barcode X1'),
    });
    await expect(replicate(rack, { copies: 2, name: 'same' })).rejects.toMatchObject({
      code: 'VALIDATION',
      errors: [{ pointer: '/name' }],
    });
    await expect(replicate(rack, { name: '{name}' })).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    await expect(replicate(rack, { parent: site })).rejects.toMatchObject({ code: 'PARENT_NOT_ALLOWED' });
    const shelf = original.parentId;
    expect((await readTree(store.db, store.tenantId, shelf, 1, 10))[0]?.children).toHaveLength(2);
  });
});

describe('another place', () => {
  const relocate = async (id: string, to: string | null) =>
    relocateLocation(store.db, { ...store.context, reason: 'edit' }, id, (await find(id)).version, to);

  beforeAll(async () => {
    await createLocationType(store.db, store.context, {
      code: 'nest',
      name: 'Nest',
      allowedParents: ['freezer', 'freezer_20', 'nest'],
      zone: null,
      grid: null,
    });
  });
  const nest = (parent: string) => addLocation(store, { type: 'nest', name: `N${++count}`, parent });

  test('takes everything below along', async () => {
    const from = await freezer();
    const to = await freezer();
    const outer = await nest(from);
    const inner = await nest(outer);
    await relocate(outer, to);
    expect((await find(inner)).path.map((step) => step.id)).toEqual([site, to, outer, inner]);
    expect((await readTree(store.db, store.tenantId, from, 5, 10))[0]?.children).toEqual([]);
    expect((await find(inner)).version).toBe(1);
  });

  test('is not inside itself, also when two go into each other at once', async () => {
    const unit = await freezer();
    const outer = await nest(unit);
    const inner = await nest(outer);
    await expect(relocate(outer, inner)).rejects.toMatchObject({
      code: 'LOCATION_CYCLE',
      detail: expect.stringMatching(/Nest N\d+ stands in Nest N\d+ itself/),
    });
    await expect(relocate(outer, outer)).rejects.toMatchObject({ code: 'LOCATION_CYCLE' });
    for (let round = 0; round < 5; round++) {
      const [a, b] = [await nest(unit), await nest(unit)];
      const [belowA, belowB] = [await nest(a), await nest(b)];
      const results = await Promise.allSettled([relocate(a, belowB), relocate(b, belowA)]);
      expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
      const lost = results.find((result) => result.status === 'rejected');
      expect(lost?.reason).toMatchObject({ code: 'LOCATION_CYCLE' });
    }
  });

  test('has the temperature and the room to itself that what is inside needs', async () => {
    const unit = await freezer();
    const warm = await addLocation(store, { type: 'freezer_20', name: `W${++count}`, parent: site });
    const place = await box(unit);
    const [first] = await positionsOf(store, place);
    await storeSample(store, { barcode: `COLD-${++count}`, positionId: String(first) });
    await expect(relocate(place, warm)).rejects.toMatchObject({
      code: 'RULE_BROKEN_BY_CONTENT',
      detail: expect.stringContaining(`COLD-${count}`),
    });
    const job = await reserveIn(place);
    expect(job.outcome).toBe('reserved');
    await expect(relocate(place, await freezer())).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(relocate(place, null)).rejects.toMatchObject({ code: 'PARENT_NOT_ALLOWED' });
  });
});

describe('types', () => {
  const own: LocationType = {
    code: 'cane',
    name: 'Cane',
    allowedParents: ['freezer', 'shelf'],
    zone: null,
    grid: {
      rows: 5,
      columns: 1,
      rowLabels: 'number',
      columnLabels: 'number',
      labelling: 'linear',
      direction: 'vertical',
      origin: 'bottom_left',
    },
  };

  test('a changed type holds for what stands there, and for new locations', async () => {
    await createLocationType(store.db, store.context, own);
    const unit = await freezer();
    await addLocation(store, { type: 'cane', name: `C${++count}`, parent: unit });
    const change = (version: number, changes: Partial<LocationType>) =>
      editLocationType(store.db, { ...store.context, reason: 'edit' }, version, { ...own, ...changes });
    await expect(change(1, { allowedParents: ['shelf'] })).rejects.toMatchObject({
      code: 'RULE_BROKEN_BY_CONTENT',
      detail: expect.stringContaining(`Cane C${count} stands in a freezer`),
    });
    await expect(change(1, { allowedParents: ['moon'] })).rejects.toMatchObject({ code: 'VALIDATION' });
    expect(await change(1, { name: 'Long cane', grid: null, loose: { capacity: 6 } })).toMatchObject({
      name: 'Long cane',
      grid: null,
      loose: { capacity: 6 },
      version: 2,
    });
    await expect(change(1, {})).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
    const id = await addLocation(store, { type: 'cane', name: `C${++count}`, parent: unit });
    expect(await find(id)).toMatchObject({ typeName: 'Long cane', loose: { capacity: 6 } });
  });

  test('another zone of a type reaches what is stored below, or names it', async () => {
    const unit = await freezer();
    const place = await box(unit);
    const [first] = await positionsOf(store, place);
    const barcode = `ZONE-${uuidv7()}`;
    await storeSample(store, { barcode, positionId: String(first) });
    const type = (await listLocationTypes(store.db, store.tenantId)).find((each) => each.code === 'freezer');
    if (!type) throw new Error('every laboratory has freezers');
    await expect(
      editLocationType(store.db, { ...store.context, reason: 'edit' }, type.version, {
        ...type,
        zone: '-20',
      }),
    ).rejects.toMatchObject({ code: 'RULE_BROKEN_BY_CONTENT', detail: expect.stringContaining('needs -80') });
    expect((await find(place)).rules.zone).toBe('-80');
  });
});
