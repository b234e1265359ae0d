import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiReply, type ApiRequest, openApi, type TestApi } from '../setup/api.ts';
import { readPicture, readSvg, readZpl } from '../setup/barcode-reader.ts';
import { addLocation, positionsOf, storeSample } from '../setup/store.ts';

let api: TestApi;
let box: string;
let positions: readonly string[];

beforeAll(async () => {
  api = await openApi({ worker: true });
  const site = await addLocation(api.store, { type: 'site', name: 'Main' });
  const freezer = await addLocation(api.store, {
    type: 'freezer',
    name: 'F1',
    parent: site,
    barcode: 'FREEZER',
  });
  box = await addLocation(api.store, {
    type: 'rack_96',
    name: 'Box <7> & co',
    parent: freezer,
    barcode: 'BOX-7',
  });
  positions = await positionsOf(api.store, box);
  await put(0, 'TUBE-000123');
  await put(1, 'a_b^c~d>e');
});
afterAll(() => api.close());

const put = (index: number, barcode: string) =>
  storeSample(api.store, { barcode, positionId: positions[index] ?? '', project: 'HEART-2' });

async function must(status: number, request: ApiRequest): Promise<ApiReply['body']> {
  const reply = await api.send(request);
  expect([reply.status, reply.body]).toEqual([status, expect.anything()]);
  return reply.body;
}

const setScheme = (kind: string, version: number, json: Record<string, unknown>) =>
  api.send({
    method: 'PUT',
    path: `/storage/barcode-schemes/${kind}`,
    headers: { 'if-match': String(version) },
    as: api.people.lab_administrator,
    json,
  });

async function png(path: string): Promise<Uint8Array> {
  const response = await api.app.request(path, {
    headers: { authorization: `Bearer ${api.people.lab_technician.token}` },
  });
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'image/png']);
  return new Uint8Array(await response.arrayBuffer());
}

describe('a label', () => {
  test.each([
    ['code128', 'Code128', 'BC'],
    ['datamatrix', 'DataMatrix', 'BX'],
    ['qr', 'QRCode', 'BQ'],
  ])('as %s is read back, from SVG, PNG and ZPL', async (symbology, format, command) => {
    for (const barcode of ['TUBE-000123', 'a_b^c~d>e']) {
      const path = `/storage/samples/${encodeURIComponent(barcode)}/label?symbology=${symbology}`;
      expect(await readSvg(await must(200, { path: `${path}&format=svg` }))).toEqual([
        `${format} ${barcode}`,
      ]);
      expect(await readPicture(await png(`${path}&format=png`))).toEqual([`${format} ${barcode}`]);
      const zpl = await must(200, { path: `${path}&format=zpl` });
      expect(readZpl(zpl)).toEqual([`${command} ${barcode}`]);
      expect(zpl).toMatch(/^\^XA\^CI28[\s\S]*\^XZ\n$/);
    }
  });

  test('as GS1 needs the company prefix, and carries it with FNC1', async () => {
    const path = '/storage/samples/TUBE-000123/label?symbology=gs1_datamatrix';
    expect((await must(409, { path })).detail).toContain('gs1CompanyPrefix');
    const scheme = { pattern: '{prefix}{counter:6}', prefix: 'TUBE-', gs1CompanyPrefix: '4012345' };
    expect(await setScheme('sample', 0, scheme)).toMatchObject({ status: 200, body: { version: 1 } });
    const element = '(8004)4012345TUBE-000123';
    expect(await readSvg(await must(200, { path }))).toEqual([`DataMatrix ${element}`]);
    const bars = path.replace('gs1_datamatrix', 'gs1_128');
    expect(await readSvg(await must(200, { path: bars }))).toEqual([`Code128 ${element}`]);
    expect(await readPicture(await png(`${bars}&format=png`))).toEqual([`Code128 ${element}`]);
    for (const [each, command] of [
      [path, 'BX'],
      [bars, 'BC'],
    ]) {
      expect(readZpl(await must(200, { path: `${each}&format=zpl` }))).toEqual([
        `${command} GS1 80044012345TUBE-000123`,
      ]);
    }
    const odd = `/storage/samples/${encodeURIComponent('a_b^c~d>e')}/label?symbology=gs1_128`;
    expect((await must(422, { path: odd })).detail).toContain('cannot be a GS1 asset number');
  });

  test('of a location has its name, whatever is in it', async () => {
    const svg = await must(200, { path: `/storage/locations/${box}/label` });
    expect(svg).toContain('Box &lt;7&gt; &amp; co');
    expect(await readSvg(svg)).toEqual(['DataMatrix BOX-7']);
    expect(readZpl(await must(200, { path: `/storage/locations/${box}/label?format=zpl` }))).toEqual([
      'BX BOX-7',
    ]);
    const bare = await addLocation(api.store, {
      type: 'rack_96',
      name: 'Bare',
      parent: await idOf('FREEZER'),
    });
    expect((await must(409, { path: `/storage/locations/${bare}/label` })).detail).toContain(
      'has no barcode',
    );
    expect((await must(409, { path: `/storage/locations/${bare}/labels` })).detail).toContain('has no tubes');
  });

  test('of every tube of a box are printed in its order', async () => {
    for (let index = 2; index < 9; index++) await put(index, `TUBE-B${index}`);
    const expected = ['TUBE-000123', 'a_b^c~d>e', ...[2, 3, 4, 5, 6, 7, 8].map((index) => `TUBE-B${index}`)];
    const path = `/storage/locations/${box}/labels`;
    expect(readZpl(await must(200, { path }))).toEqual(expected.map((each) => `BX ${each}`));
    const sheet = await readSvg(await must(200, { path: `${path}?format=svg` }), 10);
    expect(sheet.sort()).toEqual(expected.map((each) => `DataMatrix ${each}`).sort());
  });

  test('with more characters than bars have room for says so', async () => {
    const long = 'X'.repeat(64);
    await put(20, long);
    const path = `/storage/samples/${long}/label`;
    expect((await must(422, { path: `${path}?symbology=code128` })).detail).toContain('use datamatrix or qr');
    expect(await readSvg(await must(200, { path }))).toEqual([`DataMatrix ${long}`]);
    await must(422, { path: `${path}?dpmm=7&format=zpl` });
    await must(422, { path: `${path}?symbology=aztec` });
    await must(404, { path: '/storage/samples/NOBODYS/label' });
  });
});

async function idOf(barcode: string): Promise<string> {
  return (await must(200, { path: `/storage/locations/${barcode}` })).id;
}

describe('barcode schemes', () => {
  const register = (json: Record<string, unknown> = {}) =>
    api.send({
      path: '/storage/samples',
      json: { type: 'plasma', zone: '-80', target: { within: 'BOX-7' }, ...json },
    });
  const barcodeOf = async (reply: ApiReply) =>
    (await must(200, { path: `/storage/samples/${reply.body.job.sampleId}` })).barcode;

  test('give the next barcode that nothing has, each once', async () => {
    const version = (await must(200, { path: '/storage/barcode-schemes' })).schemes[0]?.version ?? 0;
    const scheme = { pattern: 'G{counter:4}{check}', check: 'mod10' };
    expect(await setScheme('sample', version, scheme)).toMatchObject({ status: 200 });
    // Somebody has the first one already.
    await put(30, 'G00018');
    const replies = await Promise.all(Array.from({ length: 5 }, () => register()));
    expect(replies.map((reply) => reply.status)).toEqual([202, 202, 202, 202, 202]);
    const given = await Promise.all(replies.map(barcodeOf));
    expect(given.sort()).toEqual(['G00026', 'G00034', 'G00042', 'G00059', 'G00067']);
  });

  test('refuse what is not made so, when the laboratory says so', async () => {
    const [{ version }] = (await must(200, { path: '/storage/barcode-schemes' })).schemes;
    await setScheme('sample', version, { pattern: 'G{counter:4}{check}', check: 'mod10', enforced: true });
    expect(await register({ barcode: 'G12340' })).toMatchObject({
      status: 422,
      body: {
        detail:
          'The barcode G12340 has the check character 0, and 4 would be right: it was mistyped or misread.',
      },
    });
    expect((await register({ barcode: 'OTHER' })).body.detail).toContain(
      'is not made as G{counter:4}{check}',
    );
    expect((await register({ barcode: 'G12344' })).status).toBe(202);
    const taken = await register({ barcode: 'G12344' });
    expect(taken).toMatchObject({ status: 409, body: { code: 'BARCODE_TAKEN' } });
  });

  test('of locations work alike', async () => {
    const json = { type: 'rack_96', parentId: 'FREEZER', name: 'Next' };
    expect(await must(201, { path: '/storage/locations', json })).not.toHaveProperty('barcode');
    await setScheme('location', 0, { pattern: 'LOC{counter:3}', enforced: true });
    const made = await must(201, { path: '/storage/locations', json: { ...json, name: 'Made' } });
    expect(made.barcode).toBe('LOC001');
    await must(422, { path: '/storage/locations', json: { ...json, name: 'Odd', barcode: 'ODD' } });
  });

  test('are set with the version one saw, and only as they can be', async () => {
    expect(await setScheme('sample', 0, { pattern: 'X{counter:2}' })).toMatchObject({ status: 412 });
    expect((await setScheme('sample', 0, { pattern: 'X' })).body.detail).toContain('one {counter:N}');
    expect(await setScheme('robot', 0, { pattern: 'X{counter:2}' })).toMatchObject({ status: 404 });
  });
});

test('without a scheme a tube needs a barcode', async () => {
  const reply = await api.send({
    path: '/storage/samples',
    json: { type: 'plasma', zone: '-80' },
    as: api.stranger,
  });
  expect([reply.status, reply.body.detail]).toEqual([
    422,
    expect.stringContaining('Give the tube a barcode'),
  ]);
});
