import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCapacity } from '../../db/capacity.ts';
import { editLocation, type LocationEdit } from '../../db/location-changes.ts';
import { blockPosition, retireLocation } from '../../db/location-service.ts';
import { createLocationType, listLocationTypes } from '../../db/location-types.ts';
import { findLocation, listLocations, readMap, readTree } from '../../db/locations.ts';
import { readOverview } from '../../db/overview.ts';
import { inTenant } from '../../db/tenancy.ts';
import { DEFAULT_LOCATION_TYPES } from '../../domain/location-type.ts';
import {
  addJob,
  addLocation,
  openStore,
  positionsOf,
  storeSample,
  type TestStore,
  wrongCounters,
} from '../setup/store.ts';

let store: TestStore;
let site: string;
let freezer: string;
let count = 0;

beforeAll(async () => {
  store = await openStore(8);
  site = await addLocation(store, { type: 'site', name: 'Main', barcode: 'SITE-1' });
  freezer = await addLocation(store, { type: 'freezer', name: 'F1', parent: 'SITE-1' });
});
afterAll(() => store.lab.close());

const find = (reference: string) => findLocation(store.db, store.tenantId, reference);
const box = (changes: Partial<Parameters<typeof addLocation>[1]> = {}) =>
  addLocation(store, { type: 'box_5x5', name: `B${++count}`, parent: freezer, ...changes });

async function edit(id: string, changes: Partial<LocationEdit>, version?: number): Promise<string> {
  const location = await find(id);
  return editLocation(store.db, { ...store.context, reason: 'edit' }, id, version ?? location.version, {
    name: location.name,
    barcode: location.barcode,
    zone: location.zone,
    sampleTypes: location.sampleTypes,
    robotAddress: location.robotAddress,
    ...changes,
  });
}
const retire = (id: string, version: number) =>
  retireLocation(store.db, { ...store.context, reason: 'retirement' }, id, version);
const block = (id: string, position: string, reason: string | null) =>
  blockPosition(store.db, { ...store.context, reason: 'blocking' }, id, position, reason);

describe('types', () => {
  test('every laboratory starts with the usual ones and adds its own', async () => {
    const codes = (await listLocationTypes(store.db, store.tenantId)).map((type) => type.code);
    expect(codes).toEqual(DEFAULT_LOCATION_TYPES.map((type) => type.code).sort());
    const own = {
      code: 'box_7x7',
      name: 'Box 7×7',
      allowedParents: ['freezer', 'box_7x7'],
      zone: null,
      grid: { rows: 7, columns: 7, rowLabels: 'roman_lower', columnLabels: 'number' },
    } as const;
    expect(await createLocationType(store.db, store.context, own)).toMatchObject({ ...own, version: 1 });
    await expect(createLocationType(store.db, store.context, own)).rejects.toMatchObject({
      code: 'NAME_TAKEN',
    });
    await expect(
      createLocationType(store.db, store.context, { ...own, code: 'x', allowedParents: ['spaceship'] }),
    ).rejects.toMatchObject({ code: 'VALIDATION', errors: [{ pointer: '/allowedParents/0' }] });
    const id = await addLocation(store, { type: 'box_7x7', name: 'own', parent: freezer });
    expect((await readMap(store.db, store.tenantId, id)).cells).toHaveLength(49);
  });
});

describe('entering', () => {
  test('a box has its positions, its path, and the rules in force', async () => {
    const shelf = await addLocation(store, {
      type: 'shelf',
      name: `S${++count}`,
      parent: freezer,
      sampleTypes: ['plasma', 'serum'],
    });
    const id = await addLocation(store, {
      type: 'box_9x9',
      name: 'B-7',
      parent: shelf,
      barcode: 'BOX-7',
      sampleTypes: ['serum', 'dna'],
    });
    expect(await find('BOX-7')).toMatchObject({
      id,
      typeName: 'Box 9×9',
      path: [{ name: 'Main' }, { name: 'F1' }, { type: 'shelf' }, { id, type: 'box_9x9', name: 'B-7' }],
      zone: null,
      rules: { zone: '-80', sampleTypes: ['serum'] },
      grid: { rows: 9, columns: 9 },
      positions: { total: 81, free: 81, occupied: 0, reserved: 0, blocked: 0 },
      version: 1,
    });
    const map = await readMap(store.db, store.tenantId, id);
    expect(map.cells).toHaveLength(81);
    expect(map.cells[9]).toMatchObject({ row: 1, column: 0, state: 'free', sample: null });
  });

  test.each<[string, Partial<Parameters<typeof addLocation>[1]>, string, RegExp]>([
    [
      'a parent that is not allowed',
      { type: 'freezer' },
      'PARENT_NOT_ALLOWED',
      /may not stand in a Freezer −80/,
    ],
    ['no parent', { parent: null }, 'PARENT_NOT_ALLOWED', /may not stand without a parent/],
    [
      'an unknown type',
      { type: 'spaceship' },
      'VALIDATION',
      /no location type spaceship; known types are .*box_9x9/,
    ],
    ['an unknown parent', { parent: uuidv7() }, 'NOT_FOUND', /there is no location/],
    ['an unknown parent barcode', { parent: 'NOPE' }, 'BARCODE_UNKNOWN', /no location has the barcode NOPE/],
    ['a barcode in use', { barcode: 'SITE-1' }, 'BARCODE_TAKEN', /SITE-1 belongs to location/],
    ['another temperature than its unit', { zone: '-20' }, 'VALIDATION', /Freezer −80 F1 is at -80/],
  ])('is refused with %s', async (_, changes, code, detail) => {
    const before = await listLocations(store.db, store.tenantId, {}, 'created', null, 500);
    await expect(box(changes)).rejects.toMatchObject({ code, detail: expect.stringMatching(detail) });
    expect(await listLocations(store.db, store.tenantId, {}, 'created', null, 500)).toEqual(before);
  });

  test('a name is given once under a parent, a robot address once in a unit', async () => {
    await box({ name: 'twin', robotAddress: { cassette: 9, level: 9 } });
    await expect(box({ name: 'twin' })).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    await expect(box({ robotAddress: { cassette: 9, level: 9 } })).rejects.toMatchObject({
      code: 'CONFLICT',
      detail: expect.stringContaining('cassette 9, level 9 is the address of another container'),
    });
    const other = await addLocation(store, { type: 'freezer', name: `F${++count}`, parent: site });
    await box({ name: 'twin', parent: other, robotAddress: { cassette: 9, level: 9 } });
  });

  test('64 boxes entered at once under one shelf all stand', async () => {
    const shelf = await addLocation(store, { type: 'shelf', name: `S${++count}`, parent: freezer });
    await Promise.all(Array.from({ length: 64 }, (_, i) => box({ name: `P${i}`, parent: shelf })));
    expect((await readCapacity(store.db, store.tenantId, shelf)).total).toBe(64 * 25);
    expect(await wrongCounters(store)).toEqual([]);
  });
});

describe('editing', () => {
  test('a new name is in the path of everything below; only what was edited has a new version', async () => {
    const shelf = await addLocation(store, { type: 'shelf', name: `S${++count}`, parent: freezer });
    const below = await box({ parent: shelf });
    await edit(shelf, { name: 'Top shelf' });
    expect((await find(shelf)).version).toBe(2);
    expect(await find(below)).toMatchObject({
      version: 1,
      path: [{}, {}, { name: 'Top shelf' }, { id: below }],
    });
  });

  test('of an older version is refused', async () => {
    const id = await box();
    await edit(id, { name: 'first' });
    await expect(edit(id, { name: 'second' }, 1)).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      facts: { version: 2 },
    });
    expect((await find(id)).name).toBe('first');
  });

  test('a rule that what is stored would break is refused, naming the first item', async () => {
    const unit = await addLocation(store, { type: 'freezer', name: `F${++count}`, parent: site });
    const place = await box({ parent: unit, name: 'full of plasma' });
    const [, a2, a3] = await positionsOf(store, place);
    await storeSample(store, { barcode: `LATER-${uuidv7()}`, positionId: String(a3) });
    const barcode = `FIRST-${uuidv7()}`;
    await storeSample(store, { barcode, positionId: String(a2) });
    await expect(edit(unit, { zone: '-20' })).rejects.toMatchObject({
      code: 'RULE_BROKEN_BY_CONTENT',
      detail: `the sample with barcode ${barcode} in position A2 of Box 5×5 full of plasma needs -80 (−85…−60 °C), and Box 5×5 full of plasma would be at -20 (−35…−18 °C): move it first`,
    });
    await expect(edit(unit, { sampleTypes: ['serum'] })).rejects.toMatchObject({
      code: 'RULE_BROKEN_BY_CONTENT',
      detail: expect.stringContaining('is plasma, and Box 5×5 full of plasma would take serum'),
    });
    expect(await find(place)).toMatchObject({ rules: { zone: '-80', sampleTypes: null } });
    await edit(unit, { sampleTypes: ['serum', 'plasma'] });
    expect((await find(place)).rules.sampleTypes).toEqual(['serum', 'plasma']);
  });

  test('a box that says its temperature itself stops its unit from changing', async () => {
    const unit = await addLocation(store, { type: 'freezer', name: `F${++count}`, parent: site });
    await box({ parent: unit, zone: '-80', name: 'says -80' });
    await expect(edit(unit, { zone: '-20' })).rejects.toMatchObject({
      code: 'RULE_BROKEN_BY_CONTENT',
      detail: expect.stringContaining('Box 5×5 says -80 is set to -80'),
    });
  });

  test('another barcode retires the old one for good', async () => {
    const old = `OLD-${uuidv7().slice(0, 8)}`;
    const id = await box({ barcode: old });
    const fresh = `NEW-${uuidv7().slice(0, 8)}`;
    await edit(id, { barcode: fresh });
    expect((await find(fresh)).id).toBe(id);
    await expect(find(old)).rejects.toMatchObject({ code: 'BARCODE_UNKNOWN' });
    await expect(box({ barcode: old })).rejects.toMatchObject({
      code: 'BARCODE_TAKEN',
      detail: expect.stringContaining('which is retired'),
    });
  });

  test('a robot address does not change while a job is at work there', async () => {
    const id = await box({ robotAddress: { cassette: 50, level: 1 } });
    const [first] = await positionsOf(store, id);
    const jobId = await addJob(store);
    await inTenant(store.db, store.tenantId, (tx) =>
      sql`UPDATE position SET state = 'reserved', job_id = ${jobId} WHERE id = ${first}`.execute(tx),
    );
    await expect(edit(id, { robotAddress: null })).rejects.toMatchObject({
      code: 'CONFLICT',
      facts: { jobId },
    });
    await expect(retire(id, 1)).rejects.toMatchObject({
      code: 'LOCATION_NOT_EMPTY',
      detail: expect.stringContaining(`job ${jobId} has reserved a position`),
    });
  });
});

describe('retiring', () => {
  test('takes an empty location out of use; its history, its barcode and its row stay', async () => {
    const barcode = `RET-${uuidv7().slice(0, 8)}`;
    const id = await box({ barcode });
    await expect(retire(id, 7)).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' });
    await retire(id, 1);
    expect(await find(id)).toMatchObject({ version: 2, retiredAt: expect.any(Date) });
    await expect(retire(id, 2)).rejects.toMatchObject({ code: 'LOCATION_RETIRED' });
    await expect(edit(id, { name: 'again' })).rejects.toMatchObject({ code: 'LOCATION_RETIRED' });
    await expect(block(id, 'A1', 'x')).rejects.toMatchObject({ code: 'LOCATION_RETIRED' });
    await expect(box({ barcode })).rejects.toMatchObject({ code: 'BARCODE_TAKEN' });
    const listed = await listLocations(store.db, store.tenantId, { retired: true }, '-created', null, 10);
    expect(listed.map((each) => each.id)).toContain(id);
  });

  test('is refused while something is in it, and says what', async () => {
    const shelf = await addLocation(store, { type: 'shelf', name: `S${++count}`, parent: freezer });
    const id = await box({ parent: shelf, name: 'inside' });
    await expect(retire(shelf, 1)).rejects.toMatchObject({
      code: 'LOCATION_NOT_EMPTY',
      detail: expect.stringContaining('Box 5×5 inside stands in it'),
    });
    const [first] = await positionsOf(store, id);
    const barcode = `T-${uuidv7()}`;
    await storeSample(store, { barcode, positionId: String(first) });
    await expect(retire(id, 1)).rejects.toMatchObject({
      code: 'LOCATION_NOT_EMPTY',
      detail: expect.stringContaining(`the sample with barcode ${barcode} is in it`),
    });
  });
});

describe('blocking', () => {
  test('takes a free position out of use and back', async () => {
    const id = await box();
    await block(id, 'b2', 'bent');
    expect((await find(id)).positions).toMatchObject({ blocked: 1, free: 24 });
    const cell = (await readMap(store.db, store.tenantId, id)).cells[6];
    expect(cell).toMatchObject({ state: 'blocked', blockedReason: 'bent' });
    await expect(block(id, 'B2', 'again')).rejects.toMatchObject({ code: 'POSITION_BLOCKED' });
    await block(id, 'B02', null);
    await expect(block(id, 'B2', null)).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(block(id, 'F1', 'x')).rejects.toMatchObject({
      code: 'POSITION_UNKNOWN',
      detail: expect.stringContaining('which has rows A–E and columns 1–5'),
    });
    await expect(block(freezer, 'A1', 'x')).rejects.toMatchObject({ code: 'POSITION_UNKNOWN' });
    const [first] = await positionsOf(store, id);
    await storeSample(store, { barcode: `T-${uuidv7()}`, positionId: String(first) });
    await expect(block(id, 'A1', 'x')).rejects.toMatchObject({ code: 'POSITION_OCCUPIED' });
    expect((await find(id)).version).toBe(3);
    expect(await wrongCounters(store)).toEqual([]);
  });
});

describe('looking', () => {
  test('pages follow each other without a gap or a repeat, in each order', async () => {
    const shelf = await addLocation(store, {
      type: 'shelf',
      name: `S${++count}`,
      parent: freezer,
      barcode: `SH-${count}`,
    });
    const parent = `SH-${count}`;
    const ids: string[] = [];
    for (const name of ['d', 'b', 'e', 'a', 'c']) ids.push(await box({ parent: shelf, name }));
    const walk = async (sort: 'created' | '-created' | 'name') => {
      const seen: string[] = [];
      for (let after = null as { id: string; name: string } | null; ; ) {
        const page = await listLocations(store.db, store.tenantId, { parent }, sort, after, 2);
        if (page.length === 0) return seen;
        seen.push(...page.map((each) => each.name));
        const last = page.at(-1);
        after = last ? { id: last.id, name: last.name } : null;
      }
    };
    expect(await walk('created')).toEqual(['d', 'b', 'e', 'a', 'c']);
    expect(await walk('-created')).toEqual(['c', 'a', 'e', 'b', 'd']);
    expect(await walk('name')).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(await listLocations(store.db, store.tenantId, { parent, minFree: 26 }, 'name', null, 9)).toEqual(
      [],
    );
    expect(
      await listLocations(
        store.db,
        store.tenantId,
        { parent, minFree: 25, type: 'box_5x5', zone: '-80' },
        'name',
        null,
        9,
      ),
    ).toHaveLength(5);
  });

  test('the tree shows empty places too, to the depth asked for', async () => {
    const [top] = await readTree(store.db, store.tenantId, 'SITE-1', 20, 500);
    expect(top).toMatchObject({ id: site, name: 'Main' });
    expect(top?.children.map((child) => child.name)).toContain('F1');
    const [flat] = await readTree(store.db, store.tenantId, 'SITE-1', 1, 500);
    expect(flat?.children.every((child) => child.children.length === 0)).toBe(true);
    expect((await readTree(store.db, store.tenantId, null, 1, 500)).map((node) => node.id)).toEqual([site]);
    await expect(readTree(store.db, store.tenantId, null, 20, 3)).rejects.toMatchObject({
      code: 'VALIDATION',
    });
  });

  test('capacity counts each level in its own unit and leaves hand-offs out', async () => {
    const room = await addLocation(store, { type: 'room', name: `R${++count}`, parent: site });
    const cold = await addLocation(store, { type: 'freezer', name: 'cold', parent: room });
    const fridge = await addLocation(store, { type: 'fridge', name: 'cool', parent: room });
    await addLocation(store, { type: 'handoff', name: 'gate', parent: room });
    const full = await box({
      parent: cold,
      grid: { rows: 1, columns: 1, rowLabels: 'upper', columnLabels: 'number' },
    });
    await box({ parent: cold });
    await box({ parent: fridge });
    const [only] = await positionsOf(store, full);
    await storeSample(store, { barcode: `T-${uuidv7()}`, positionId: String(only) });
    expect(await readCapacity(store.db, store.tenantId, room)).toMatchObject({
      total: 51,
      occupied: 1,
      free: 50,
      perZone: [
        { zone: '-80', total: 26, occupied: 1 },
        { zone: '4', total: 25, occupied: 0 },
      ],
      perLevel: [
        { type: 'room', depth: 0, locations: 1, withRoom: 1, total: 51 },
        { type: 'freezer', depth: 1, locations: 1, withRoom: 1, total: 26 },
        { type: 'fridge', depth: 1, locations: 1, withRoom: 1, total: 25 },
        { type: 'handoff', depth: 1, locations: 1, total: 12 },
        { type: 'box_5x5', depth: 2, locations: 3, withRoom: 2, total: 51 },
      ],
    });
    const overview = await readOverview(store.db, store.tenantId);
    expect(overview.positions.total).toBe(overview.perZone.reduce((sum, zone) => sum + zone.total, 0));
    expect(overview.samples.position).toBe(overview.positions.occupied);
    expect(overview.jobs.QUEUED).toBeGreaterThan(0);
  });
});
