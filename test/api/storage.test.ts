import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiReply, type ApiRequest, openApi, type TestApi } from '../setup/api.ts';
import { addLocation, positionsOf, storeSample, takeOut } from '../setup/store.ts';

let api: TestApi;
let count = 0;

beforeAll(async () => {
  api = await openApi();
  await create({ type: 'site', name: 'Main', barcode: 'SITE' });
  await create({ type: 'freezer', name: 'F1', parentId: 'SITE', barcode: 'FREEZER' });
});
afterAll(() => api.close());

/** Sends as the technician and expects this status. */
async function must(status: number, request: ApiRequest): Promise<ApiReply> {
  const reply = await api.send(request);
  expect([reply.status, reply.body]).toEqual([status, expect.anything()]);
  return reply;
}
const create = async (json: Record<string, unknown>) =>
  (await must(201, { path: '/storage/locations', json })).body;
const newBox = (changes: Record<string, unknown> = {}) =>
  create({ type: 'box_5x5', parentId: 'FREEZER', name: `B${++count}`, ...changes });
const get = async (path: string) => (await must(200, { path })).body;

async function refusal(status: number, code: string, request: ApiRequest) {
  const reply = await must(status, request);
  expect(reply.headers.get('content-type')).toBe('application/problem+json');
  expect(reply.body).toMatchObject({ status, code, detail: expect.any(String) });
  return reply.body;
}

async function fill(box: { id: string }, changes: { project?: string; type?: string } = {}, n = 1) {
  const positions = await positionsOf(api.store, box.id);
  const ids: string[] = [];
  for (const positionId of positions.slice(0, n)) {
    ids.push(await storeSample(api.store, { barcode: `T-${uuidv7()}`, positionId, ...changes }));
  }
  return ids;
}

describe('POST /storage/locations', () => {
  test('enters a box with positions, path and rules in force, and says where it is', async () => {
    const reply = await must(201, {
      path: '/storage/locations',
      json: {
        type: 'rack_96',
        parentId: 'FREEZER',
        name: 'R-1',
        barcode: 'RACK-1',
        robotAddress: { cassette: 2, level: 1 },
        sampleTypes: ['plasma'],
      },
    });
    expect(reply.headers.get('etag')).toBe('"1"');
    expect(reply.headers.get('location')).toBe(`/storage/locations/${reply.body.id}`);
    expect(reply.body).toMatchObject({
      type: 'rack_96',
      typeName: 'Rack 96',
      path: [{ name: 'Main' }, { name: 'F1' }, { name: 'R-1' }],
      rules: { zone: '-80', range: { minC: -85, maxC: -60 }, sampleTypes: ['plasma'] },
      grid: { rows: 8, columns: 12, rowLabels: 'upper', columnLabels: 'number' },
      handoff: false,
      robotAddress: { cassette: 2, level: 1 },
      positions: { total: 96, free: 96 },
      version: 1,
    });
    expect(reply.body).not.toHaveProperty('temperature');
    expect((await get('/storage/locations/RACK-1')).id).toBe(reply.body.id);
  });

  test('a grid of another size or labels is taken; a hand-off is one', async () => {
    const box = await newBox({ grid: { rows: 3, columns: 2, rowLabels: 'number', columnLabels: 'number' } });
    expect(
      (await get(`/storage/locations/${box.id}/map`)).cells.map((cell: { label: string }) => cell.label),
    ).toEqual(['1-1', '1-2', '2-1', '2-2', '3-1', '3-2']);
    expect((await create({ type: 'handoff', name: 'Gate', parentId: 'SITE' })).handoff).toBe(true);
  });

  test('with a key a repeat gets the first reply, and nothing is entered twice', async () => {
    const request = {
      path: '/storage/locations',
      json: { type: 'box_5x5', parentId: 'FREEZER', name: 'once' },
      headers: { 'idempotency-key': uuidv7() },
    };
    const first = await must(201, request);
    const again = await must(201, request);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('location')).toBe(first.headers.get('location'));
    await refusal(422, 'IDEMPOTENCY_KEY_REUSED', { ...request, json: { ...request.json, name: 'twice' } });
  });

  test.each<[string, number, string, Record<string, unknown>, RegExp]>([
    ['a parent that is not allowed', 422, 'PARENT_NOT_ALLOWED', { type: 'site' }, /stands at the root/],
    ['an unknown type', 422, 'VALIDATION', { type: 'spaceship' }, /known types are .*box_9x9/],
    ['a type that is no code', 422, 'VALIDATION', { type: 'Space Ship' }, /code of small letters/],
    ['an unknown parent', 404, 'BARCODE_UNKNOWN', { parentId: 'NOPE' }, /no location has the barcode NOPE/],
    ['a barcode in use', 409, 'BARCODE_TAKEN', { barcode: 'FREEZER' }, /FREEZER belongs to location/],
    ['a barcode like an id', 422, 'VALIDATION', { barcode: uuidv7() }, /shaped like a UUID/],
    ['a zone nobody knows', 422, 'VALIDATION', { zone: 'cold' }, /should be one of .*LN2.*, but is/],
    ['the wrong temperature', 422, 'VALIDATION', { zone: '-20' }, /is at -80/],
    ['an empty name', 422, 'VALIDATION', { name: ' ' }, /at least 1 character/],
    [
      'a grid too large',
      422,
      'VALIDATION',
      { grid: { rows: 1000, columns: 1000 } },
      /at most 10000 positions/,
    ],
    ['a grid of half a row', 422, 'VALIDATION', { grid: { rows: 0.5, columns: 1 } }, /whole number/],
    ['a field nobody knows', 422, 'VALIDATION', { colour: 'red' }, /leave it out/],
  ])('%s is refused', async (_, status, code, changes, detail) => {
    const body = await refusal(status, code, {
      path: '/storage/locations',
      json: { type: 'box_5x5', parentId: 'FREEZER', name: `B${++count}`, ...changes },
    });
    expect(JSON.stringify(body)).toMatch(detail);
  });

  test('two of one name under a parent are refused', async () => {
    await newBox({ name: 'twin' });
    await refusal(409, 'NAME_TAKEN', {
      path: '/storage/locations',
      json: { type: 'box_5x5', parentId: 'FREEZER', name: 'twin' },
    });
  });
});

describe('GET /storage/locations', () => {
  test('pages by cursor, filtered and sorted', async () => {
    await create({ type: 'shelf', name: 'paged', parentId: 'FREEZER', barcode: 'PAGED' });
    for (const name of ['c', 'a', 'b']) await newBox({ name, parentId: 'PAGED' });
    const seen: string[] = [];
    let cursor = '';
    do {
      const page = await get(`/storage/locations?parent=PAGED&sort=name&limit=2${cursor}`);
      seen.push(...page.locations.map((each: { name: string }) => each.name));
      cursor = page.nextCursor ? `&cursor=${page.nextCursor}` : '';
    } while (cursor);
    expect(seen).toEqual(['a', 'b', 'c']);
    expect((await get('/storage/locations?parent=PAGED&type=rack_96')).locations).toEqual([]);
    expect((await get('/storage/locations?parent=PAGED&zone=-80&minFree=25')).locations).toHaveLength(3);
    expect((await get('/storage/locations?parent=PAGED&minFree=26')).locations).toEqual([]);
  });

  test('gives the tree, empty places too', async () => {
    await create({ type: 'shelf', name: 'empty shelf', parentId: 'FREEZER' });
    const { tree } = await get('/storage/locations?tree=true');
    expect(tree).toHaveLength(1);
    expect(tree[0].children[0].children.map((each: { name: string }) => each.name)).toContain('empty shelf');
    expect((await get('/storage/locations?tree=true&parent=FREEZER&depth=1')).tree[0].name).toBe('F1');
  });

  test.each([
    'limit=0',
    'limit=501',
    'limit=x',
    'cursor=%00',
    'cursor=e30',
    'zone=cold',
    'sort=size',
    'minFree=-1',
    'colour=red',
    'tree=yes',
  ])('%s is refused', async (query) => {
    await refusal(422, 'VALIDATION', { path: `/storage/locations?${query}` });
  });

  test('under a parent nobody knows the tree is refused, the list empty', async () => {
    await refusal(404, 'BARCODE_UNKNOWN', { path: '/storage/locations?tree=true&parent=NOPE' });
    expect((await get('/storage/locations?parent=NOPE')).locations).toEqual([]);
  });
});

describe('GET, PUT and DELETE /storage/locations/{id}', () => {
  test('an edit needs the version that was read, and answers with the new one', async () => {
    const box = await newBox();
    const path = `/storage/locations/${box.id}`;
    const json = { name: 'edited', sampleTypes: ['serum'] };
    const missing = await refusal(428, 'PRECONDITION_REQUIRED', { method: 'PUT', path, json });
    expect(missing.detail).toContain('If-Match is missing');
    await refusal(422, 'VALIDATION', { method: 'PUT', path, json, headers: { 'if-match': 'W/"x"' } });
    const read = await must(200, { path });
    const etag = String(read.headers.get('etag'));
    const edited = await must(200, { method: 'PUT', path, json, headers: { 'if-match': etag } });
    expect(edited.headers.get('etag')).toBe('"2"');
    expect(edited.body).toMatchObject({ name: 'edited', rules: { sampleTypes: ['serum'] }, version: 2 });
    const stale = await refusal(412, 'PRECONDITION_FAILED', {
      method: 'PUT',
      path,
      json,
      headers: { 'if-match': etag },
    });
    expect(stale.facts).toEqual({ version: 2 });
  });

  test('an edit that would break what is stored names the first item', async () => {
    const box = await newBox({ name: 'kept' });
    await fill(box);
    const { detail } = await refusal(409, 'RULE_BROKEN_BY_CONTENT', {
      method: 'PUT',
      path: `/storage/locations/${box.id}`,
      json: { name: 'kept', sampleTypes: ['serum'] },
      headers: { 'if-match': '"1"' },
    });
    expect(detail).toMatch(/^the sample with barcode T-.* in position A1 of Box 5×5 kept is plasma/);
  });

  test('retiring takes an empty location out of use and keeps it readable', async () => {
    const box = await newBox();
    const path = `/storage/locations/${box.id}`;
    await refusal(428, 'PRECONDITION_REQUIRED', { method: 'DELETE', path });
    const retired = await must(200, { method: 'DELETE', path, headers: { 'if-match': '"1"' } });
    expect(retired.body.retiredAt).toMatch(/^\d{4}-.*Z$/);
    expect((await get(path)).version).toBe(2);
    await refusal(409, 'LOCATION_RETIRED', { method: 'DELETE', path, headers: { 'if-match': '"2"' } });
    expect(
      (await get('/storage/locations?retired=true')).locations.map((each: { id: string }) => each.id),
    ).toContain(box.id);
    const full = await newBox();
    await fill(full);
    await refusal(409, 'LOCATION_NOT_EMPTY', {
      method: 'DELETE',
      path: `/storage/locations/${full.id}`,
      headers: { 'if-match': '"1"' },
    });
  });

  test('one that is not there is a 404, and so is that of a foreign laboratory', async () => {
    const box = await newBox({ barcode: 'FOREIGN-1' });
    for (const part of ['', '/capacity', '/map']) {
      await refusal(404, 'NOT_FOUND', { path: `/storage/locations/${uuidv7()}${part}` });
      await refusal(404, 'BARCODE_UNKNOWN', { path: `/storage/locations/NOPE${part}` });
      await refusal(404, 'NOT_FOUND', { path: `/storage/locations/${box.id}${part}`, as: api.stranger });
      await refusal(404, 'BARCODE_UNKNOWN', {
        path: `/storage/locations/FOREIGN-1${part}`,
        as: api.stranger,
      });
    }
    await refusal(404, 'NOT_FOUND', {
      method: 'PUT',
      path: `/storage/locations/${box.id}`,
      json: { name: 'stolen' },
      headers: { 'if-match': '"1"' },
      as: api.stranger,
    });
  });

  test('those who may not edit are told who may', async () => {
    await refusal(403, 'FORBIDDEN', {
      path: '/storage/locations',
      json: { type: 'site', name: 'x' },
      as: api.people.data_analyst,
    });
  });
});

describe('capacity, map and blocking', () => {
  test('count and show what is in a box', async () => {
    const box = await newBox();
    const [sampleId] = await fill(box, { project: 'HEART' });
    const blocked = await must(200, {
      path: `/storage/locations/${box.id}/block`,
      json: { position: 'b02', reason: 'bent' },
    });
    expect(blocked.headers.get('etag')).toBe('"2"');
    expect(blocked.body.positions).toMatchObject({ occupied: 1, blocked: 1, free: 23 });
    expect(await get(`/storage/locations/${box.id}/capacity`)).toMatchObject({
      locationId: box.id,
      total: 25,
      occupied: 1,
      reserved: 0,
      blocked: 1,
      free: 23,
      perZone: [{ zone: '-80', total: 25 }],
      perLevel: [{ type: 'box_5x5', depth: 0, locations: 1, withRoom: 1 }],
    });
    const { cells } = await get(`/storage/locations/${box.id}/map`);
    expect(cells[0]).toMatchObject({
      label: 'A1',
      row: 1,
      column: 1,
      state: 'occupied',
      sample: { id: sampleId, project: 'HEART' },
    });
    expect(cells[6]).toMatchObject({ label: 'B2', state: 'blocked', blockedReason: 'bent' });
    expect(cells[1]).toEqual({
      positionId: expect.any(String),
      label: 'A2',
      row: 1,
      column: 2,
      drawn: { row: 1, column: 2 },
      state: 'free',
    });
    await refusal(409, 'POSITION_OCCUPIED', {
      path: `/storage/locations/${box.id}/block`,
      json: { position: 'A1', reason: 'x' },
    });
    const unknown = await refusal(422, 'POSITION_UNKNOWN', {
      path: `/storage/locations/${box.id}/block`,
      json: { position: 'C13', reason: 'x' },
    });
    expect(unknown.detail).toMatch(
      /^position C13 does not exist in Box 5×5 B\d+, which has rows A–E and columns 1–5$/,
    );
    await must(200, { path: `/storage/locations/${box.id}/unblock`, json: { position: 'B2' } });
    await refusal(409, 'CONFLICT', {
      path: `/storage/locations/${box.id}/unblock`,
      json: { position: 'B2' },
    });
  });

  test('a guest sees the grid, not the samples', async () => {
    const box = await newBox();
    await fill(box);
    const map = await must(200, { path: `/storage/locations/${box.id}/map`, as: api.people.guest });
    expect(map.body.cells[0]).toMatchObject({ state: 'occupied' });
    expect(map.body.cells[0]).not.toHaveProperty('sample');
  });
});

describe('types of location', () => {
  test('are listed and added to', async () => {
    const { types } = await get('/storage/location-types');
    expect(types.find((type: { code: string }) => type.code === 'box_9x9')).toMatchObject({
      grid: { rows: 9, columns: 9 },
      allowedParents: expect.arrayContaining(['freezer', 'shelf']),
    });
    const json = {
      code: 'box_7x7',
      name: 'Box 7×7',
      allowedParents: ['freezer'],
      grid: { rows: 7, columns: 7 },
    };
    await must(201, { path: '/storage/location-types', json });
    await refusal(409, 'NAME_TAKEN', { path: '/storage/location-types', json });
    await refusal(422, 'VALIDATION', {
      path: '/storage/location-types',
      json: { ...json, code: 'other', allowedParents: ['spaceship'] },
    });
    expect((await newBox({ type: 'box_7x7' })).positions.total).toBe(49);
  });
});

describe('samples', () => {
  test('are read by id and barcode, with custody, path and position', async () => {
    const box = await newBox({ name: 'read', barcode: 'BOX-READ' });
    const [positionId] = await positionsOf(api.store, box.id);
    const id = await storeSample(api.store, {
      barcode: 'TUBE-READ',
      positionId: String(positionId),
      project: 'P',
    });
    const place = {
      custody: { kind: 'position', positionId },
      witness: 'asserted',
      certainty: 'asserted',
      since: expect.stringMatching(/Z$/),
      path: [
        { id: expect.any(String), type: 'site', name: 'Main' },
        { id: expect.any(String), type: 'freezer', name: 'F1' },
        { id: box.id, type: 'box_5x5', name: 'read' },
      ],
      position: {
        positionId,
        containerId: box.id,
        containerBarcode: 'BOX-READ',
        label: 'A1',
        row: 1,
        column: 1,
        zone: '-80',
      },
    };
    const sample = await get(`/storage/samples/${id}`);
    expect(sample).toEqual({
      id,
      barcode: 'TUBE-READ',
      type: 'plasma',
      project: 'P',
      zone: '-80',
      ...place,
      exposureSeconds: 0,
      freezeThawCount: 0,
      state: 'stored',
      enteredStorageAt: expect.stringMatching(/Z$/),
      generation: 0,
      useCount: 0,
      aiOptimized: false,
      createdAt: expect.any(String),
      version: 1,
    });
    expect(await get('/storage/samples/TUBE-READ')).toEqual(sample);
    expect(await get(`/storage/samples/${id}/location`)).toEqual({ sampleId: id, ...place });
    expect(await get('/storage/samples/TUBE-READ/location')).toEqual({ sampleId: id, ...place });
    await takeOut(api.store, id);
    expect(await get(`/storage/samples/${id}/location`)).toEqual({
      sampleId: id,
      custody: { kind: 'person', userId: api.lab.administrator.userId },
      since: expect.any(String),
      witness: 'person',
      certainty: 'seen',
    });
  });

  test('have a timeline of everything that happened to them', async () => {
    const [id] = await fill(await newBox({ name: 'told' }));
    await takeOut(api.store, String(id));
    const first = await get(`/storage/samples/${id}/timeline?limit=1`);
    expect(first.entries).toMatchObject([
      {
        type: 'storage.sample.registered',
        version: 1,
        entry: expect.any(Number),
        place: { label: 'A1', path: [{}, {}, { name: 'told' }] },
        reason: 'registered',
        actor: { userId: api.lab.administrator.userId, role: 'lab_administrator', name: 'Ada Admin' },
      },
    ]);
    const second = await get(`/storage/samples/${id}/timeline?limit=1&cursor=${first.nextCursor}`);
    expect(second.entries).toMatchObject([{ type: 'storage.sample.taken', version: 2, reason: 'retrieval' }]);
    expect(second).not.toHaveProperty('nextCursor');
  });

  test('are listed by page, by place, project and type', async () => {
    await create({ type: 'shelf', name: 'list', parentId: 'FREEZER', barcode: 'LIST' });
    const boxes = [await newBox({ parentId: 'LIST' }), await newBox({ parentId: 'LIST' })];
    const project = `P-${uuidv7()}`;
    const stored = [
      ...(await fill(boxes[0], { project }, 3)),
      ...(await fill(boxes[1], { project, type: 'serum' }, 2)),
    ];
    const walk = async (query: string) => {
      const seen: string[] = [];
      let cursor = '';
      do {
        const page = await get(`/storage/samples?${query}&limit=2${cursor}`);
        seen.push(...page.samples.map((each: { id: string }) => each.id));
        cursor = page.nextCursor ? `&cursor=${page.nextCursor}` : '';
      } while (cursor);
      return seen;
    };
    expect(await walk('location=LIST')).toEqual(stored);
    expect(await walk(`project=${project}&sort=created`)).toEqual(stored);
    expect(await walk(`project=${project}`)).toEqual([...stored].reverse());
    expect(await walk(`location=LIST&type=serum`)).toEqual(stored.slice(3));
    expect(await walk(`project=${project}&zone=4`)).toEqual([]);
    await takeOut(api.store, String(stored[0]));
    expect(await walk(`project=${project}&custody=person`)).toEqual([stored[0]]);
    expect(await walk(`project=${project}&custody=position&witness=asserted`)).toHaveLength(4);
  });

  test.each(['', '/location', '/timeline'])('one that is not there is a 404: %s', async (part) => {
    const [id] = await fill(await newBox());
    await refusal(404, 'NOT_FOUND', { path: `/storage/samples/${uuidv7()}${part}` });
    await refusal(404, 'BARCODE_UNKNOWN', { path: `/storage/samples/NOPE${part}` });
    await refusal(404, 'NOT_FOUND', { path: `/storage/samples/${id}${part}`, as: api.stranger });
    await refusal(403, 'FORBIDDEN', { path: `/storage/samples/${id}${part}`, as: api.people.guest });
  });

  test.each(['limit=501', 'cursor=x', 'custody=lost', 'sort=name', 'location=%C3%A4', 'x=y'])(
    'the list refuses %s',
    async (query) => {
      await refusal(422, 'VALIDATION', { path: `/storage/samples?${query}` });
    },
  );
});

test('the overview counts positions by zone, samples by custody, alarms and jobs', async () => {
  const before = await get('/storage/overview');
  await fill(await newBox());
  const after = await get('/storage/overview');
  expect(after.positions.total).toBe(before.positions.total + 25);
  expect(after.samples.position).toBe(before.samples.position + 1);
  expect(after.perZone.find((zone: { zone: string }) => zone.zone === '-80').occupied).toBe(
    after.positions.occupied,
  );
  expect(after.alarms).toEqual({ active: 0, unacknowledged: 0 });
  const stranger = await must(200, { path: '/storage/overview', as: api.stranger });
  expect(stranger.body).toMatchObject({ positions: { total: 0 }, samples: { position: 0 } });
});

test('64 requests for the location of a sample at once all answer', async () => {
  const box = await addLocation(api.store, { type: 'box_9x9', name: 'busy', parent: 'FREEZER' });
  const ids = await fill({ id: box }, {}, 8);
  const replies = await Promise.all(
    Array.from({ length: 64 }, (_, index) =>
      api.send({ path: `/storage/samples/${ids[index % 8]}/location` }),
    ),
  );
  expect(replies.every((reply) => reply.status === 200)).toBe(true);
});

describe('POST /storage/samples/{id}/verify', () => {
  test('a scan makes an asserted place a witnessed one, once a key; another barcode is refused', async () => {
    const box = await newBox({ barcode: 'BOX-SEEN' });
    const [positionId] = await positionsOf(api.store, box.id);
    await storeSample(api.store, { barcode: 'TUBE-SEEN', positionId: String(positionId) });
    const request = {
      method: 'POST',
      path: '/storage/samples/TUBE-SEEN/verify',
      json: { containerBarcode: 'BOX-SEEN', position: 'A1', sampleBarcode: 'TUBE-SEEN' },
      headers: { 'idempotency-key': 'seen-1' },
    } as const;
    const first = await must(200, request);
    expect(first.body).toMatchObject({ custody: { kind: 'position' }, witness: 'barcode' });
    expect((await must(200, request)).body).toEqual(first.body);
    expect((await get('/storage/samples/TUBE-SEEN/timeline')).entries).toHaveLength(2);
    await refusal(409, 'BARCODE_MISMATCH', {
      ...request,
      json: { ...request.json, sampleBarcode: 'TUBE-OTHER' },
      headers: {},
    });
  });
});

describe('the shape of the tree', () => {
  test('a bag is entered, limited and freed of its limit', async () => {
    const bag = await create({ type: 'bag', parentId: 'FREEZER', name: `G${++count}` });
    expect(bag).toMatchObject({ loose: {}, positions: { total: 0 } });
    expect(bag).not.toHaveProperty('grid');
    const sized = await must(200, {
      method: 'PUT',
      path: `/storage/locations/${bag.id}/size`,
      json: { capacity: 5 },
      headers: { 'if-match': '"1"' },
    });
    expect(sized.body).toMatchObject({ loose: { capacity: 5 }, positions: { total: 5 }, version: 2 });
    await refusal(422, 'VALIDATION', {
      method: 'PUT',
      path: `/storage/locations/${bag.id}/size`,
      json: { rows: 2, columns: 2 },
      headers: { 'if-match': '"2"' },
    });
    await refusal(422, 'VALIDATION', {
      path: '/storage/locations',
      json: { type: 'bag', parentId: 'FREEZER', name: 'both', loose: {}, grid: { rows: 1, columns: 1 } },
    });
  });

  test('a full box does not shrink, a rack is copied, a location does not go into itself', async () => {
    const box = await newBox();
    const [sample] = await fill(box, {}, 25);
    const { barcode } = await get(`/storage/samples/${sample}`);
    const refused = await refusal(409, 'CANNOT_SHRINK', {
      method: 'PUT',
      path: `/storage/locations/${box.id}/size`,
      json: { rows: 0 + 1, columns: 0 + 1 },
      headers: { 'if-match': '"1"' },
    });
    expect(refused.detail).toContain('is in position A2');
    expect(refused.detail).not.toContain(barcode);
    const rack = await create({
      type: 'rack',
      parentId: 'FREEZER',
      name: `R${++count}`,
      barcode: `R-${count}`,
    });
    await create({ type: 'box_5x5', parentId: rack.id, name: 'B', barcode: `RB-${count}` });
    const { body } = await must(201, {
      path: `/storage/locations/${rack.id}/replicate`,
      json: { copies: 2, name: '{name}-{n:2}', barcode: '{barcode}-{n}' },
    });
    expect(body.locations.map((each: { barcode: string }) => each.barcode)).toEqual([
      `R-${count}-1`,
      `R-${count}-2`,
    ]);
    expect((await get(`/storage/locations/RB-${count}-2/map`)).cells).toHaveLength(25);
    await refusal(409, 'LOCATION_CYCLE', {
      method: 'PUT',
      path: `/storage/locations/${rack.id}/parent`,
      json: { parentId: `RB-${count}` },
      headers: { 'if-match': '"1"' },
    });
  });

  test('a type is changed with the version that was read', async () => {
    const { types } = await get('/storage/location-types');
    const type = types.find((each: { code: string }) => each.code === 'box_10x10');
    const edit = {
      name: type.name,
      allowedParents: type.allowedParents,
      grid: { rows: 10, columns: 10, labelling: 'linear' },
    };
    const path = '/storage/location-types/box_10x10';
    await refusal(428, 'PRECONDITION_REQUIRED', { method: 'PUT', path, json: edit });
    const reply = await must(200, { method: 'PUT', path, json: edit, headers: { 'if-match': '"1"' } });
    expect(reply.headers.get('etag')).toBe('"2"');
    const box = await newBox({ type: 'box_10x10' });
    expect((await get(`/storage/locations/${box.id}/map`)).cells[99].label).toBe('100');
  });
});

describe('rules of a place', () => {
  test('are told, inherited, and asked without placing', async () => {
    const shelf = await create({
      type: 'shelf',
      parentId: 'FREEZER',
      name: `S${++count}`,
      rules: { projects: ['HEART'], exclusive: ['owner'] },
    });
    expect(shelf.ownRules).toEqual({ projects: ['HEART'], exclusive: ['owner'] });
    const box = await newBox({ parentId: shelf.id, rules: { hazards: ['BSL-1'] } });
    expect(box).toMatchObject({
      ownRules: { hazards: ['BSL-1'] },
      rules: { zone: '-80', projects: ['HEART'], exclusive: ['owner'], hazards: ['BSL-1'] },
    });
    const ask = async (json: Record<string, unknown>) =>
      (await must(200, { path: `/storage/locations/${box.id}/can-hold`, json })).body;
    expect(await ask({ type: 'plasma', zone: '-80', project: 'HEART', hazard: 'BSL-1' })).toMatchObject({
      canHold: true,
      position: { label: 'A1', containerId: box.id },
    });
    const other = await newBox();
    const [sample] = await fill(other, { project: 'LUNG' });
    const answer = await ask({ sample });
    expect(answer.canHold).toBe(false);
    expect(answer.rules).toContainEqual({
      rule: 'project',
      passed: false,
      detail: 'it is for project HEART, not for LUNG',
    });
    const [held] = await fill(box, { project: 'HEART' });
    const edit = { name: box.name, rules: { projects: ['LUNG'] } };
    const broken = await refusal(409, 'RULE_BROKEN_BY_CONTENT', {
      method: 'PUT',
      path: `/storage/locations/${box.id}`,
      json: edit,
      headers: { 'if-match': '"1"' },
    });
    expect(broken.detail).toContain((await get(`/storage/samples/${held}`)).position.label);
    await refusal(422, 'VALIDATION', {
      path: '/storage/locations',
      json: { type: 'box_5x5', parentId: 'FREEZER', name: 'bad', rules: { exclusive: ['colour'] } },
    });
    await must(403, {
      path: `/storage/locations/${box.id}/can-hold`,
      json: { sample },
      as: api.people.guest,
    });
  });
});

describe('reservations', () => {
  test('a block is set aside, seen in the map, listed and given back', async () => {
    const box = await newBox();
    const expiresAt = new Date(Date.now() + 86_400_000).toISOString();
    const json = {
      location: box.id,
      project: 'BLOCK',
      reason: 'visit 3',
      expiresAt,
      count: 5,
      consecutive: true,
    };
    const headers = { 'idempotency-key': `block-${box.id}` };
    const { body } = await must(201, { path: '/storage/reservations', json, headers });
    expect(body).toMatchObject({ project: 'BLOCK', state: 'active', expiresAt });
    expect(body.positions.map((each: { label: string }) => each.label)).toEqual([
      'A1',
      'A2',
      'A3',
      'A4',
      'A5',
    ]);
    expect((await must(201, { path: '/storage/reservations', json, headers })).body.id).toBe(body.id);
    expect((await get(`/storage/locations/${box.id}/map`)).cells[4]).toMatchObject({
      state: 'reserved',
      reservationId: body.id,
    });
    expect((await get('/storage/reservations?project=BLOCK')).reservations).toMatchObject([{ id: body.id }]);
    const taken = await refusal(409, 'POSITION_OCCUPIED', {
      path: '/storage/reservations',
      json: { location: box.id, project: 'OTHER', reason: 'x', expiresAt, positions: ['a5', 'B1'] },
    });
    expect(taken.facts).toEqual({ nextFree: 'B1' });
    const released = await must(200, { method: 'POST', path: `/storage/reservations/${body.id}/release` });
    expect(released.body).toMatchObject({ state: 'released', positions: [], version: 2 });
    expect((await get('/storage/reservations?project=BLOCK')).reservations).toEqual([]);
    expect(await get(`/storage/reservations/${body.id}`)).toMatchObject({ state: 'released' });
  });
});
