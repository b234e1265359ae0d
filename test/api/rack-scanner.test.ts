import { once } from 'node:events';
import { connect } from 'node:net';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../stack/processes.ts';
import { type ApiReply, type ApiRequest, openApi, type TestApi } from '../setup/api.ts';
import { type Spawned, start } from '../setup/robot-cell.ts';
import { addLocation, positionsOf, storeSample } from '../setup/store.ts';

let api: TestApi;
let simulator: Spawned;
let port: number;
let control: string;
let scannerId: string;
let freezer: string;
let count = 0;

beforeAll(async () => {
  api = await openApi({ worker: true });
  simulator = await start('devices/simulators/visionmate.ts', []);
  const [, wire, side] = /visionmate=\S+:(\d+) control=\S+:(\d+)/.exec(simulator.ready) ?? [];
  port = Number(wire);
  control = `http://127.0.0.1:${side}`;
  const site = await addLocation(api.store, { type: 'site', name: 'Main' });
  freezer = await addLocation(api.store, { type: 'freezer', name: 'F1', parent: site });
  scannerId = (await enrol({ name: 'Bench 2', host: '127.0.0.1', port })).id;
});
afterAll(async () => {
  await simulator.kill();
  await api.close();
});

async function must(status: number, request: ApiRequest): Promise<ApiReply['body']> {
  const reply = await api.send(request);
  expect([reply.status, reply.body]).toEqual([status, expect.anything()]);
  return reply.body;
}

const enrol = (json: Record<string, unknown>) =>
  must(201, { path: '/storage/rack-scanners', json, as: api.people.lab_administrator });

async function tell(method: string, path: string, body?: unknown) {
  const response = await fetch(`${control}${path}`, {
    method,
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const state: { product: string; status: number; connections: number; commands: string[] } = JSON.parse(
    await response.text(),
  );
  return state;
}

/** A box with a tube in A1. */
async function box(type = 'rack_96') {
  const name = `R${++count}`;
  const id = await addLocation(api.store, { type, name, parent: freezer, barcode: `RACK-${name}` });
  const [first = ''] = await positionsOf(api.store, id);
  await storeSample(api.store, { barcode: `${name}-T1`, positionId: first });
  return { id, name, barcode: `RACK-${name}`, tube: `${name}-T1` };
}

/** connections the simulator had before the last scan was asked for */
let before = 0;

async function ask(location: string, id = scannerId) {
  before = (await tell('GET', '/state')).connections;
  return must(202, { path: `/storage/rack-scanners/${id}/scan`, json: { location } });
}

/** The scan once the scanner is done with it. */
async function ended(id: string): Promise<ApiReply['body']> {
  let scan: ApiReply['body'];
  await until('the end of the scan', 20_000, async () => {
    scan = await must(200, { path: `/storage/rack-scans/${id}` });
    return scan.state !== 'reading';
  });
  return scan;
}

/** Waits until the scanner was made ready for the rack that was asked for. */
function ready(size: string): Promise<void> {
  return until('readiness of the scanner', 10_000, async () => {
    const { commands, connections, product } = await tell('GET', '/state');
    return connections > before && commands.at(-1) === 'L' && product === size;
  });
}

async function putOn(tubes: Record<string, string>, size = 'M0812') {
  await ready(size);
  await tell('PUT', '/rack', { tubes });
}

describe('a VisionMate on the network', () => {
  test('reads the rack that is put on it, by columns, and the scan can be applied', async () => {
    const rack = await box();
    const asked = await ask(rack.barcode);
    expect(asked).toMatchObject({ state: 'reading', scannerId, location: `${rack.name} in F1` });
    const again = { path: `/storage/rack-scanners/${scannerId}/scan`, json: { location: rack.id } };
    expect((await must(202, again)).id).toBe(asked.id);
    await putOn({ B1: rack.tube, A2: 'No Read' });
    const scan = await ended(asked.id);
    expect(scan).toMatchObject({ state: 'open', version: 2 });
    expect(scan.diff.counts).toMatchObject({ moved: 1, unread: 1, not_scanned: 0 });
    const applied = await must(200, { path: `/storage/rack-scans/${scan.id}/apply`, json: {} });
    expect(applied.applied).toMatchObject({ placed: 1, blocked: 1 });
  });

  test('is set to the size of the box, for it cannot sense it', async () => {
    const small = await box('box_9x9');
    const asked = await ask(small.barcode);
    await putOn({ A1: small.tube }, 'M0909');
    expect(await ended(asked.id)).toMatchObject({
      state: 'open',
      diff: { counts: { match: 1, empty: 80 }, rotated: false },
    });
  });

  test('does not take the scan before for the new one', async () => {
    const rack = await box();
    await tell('PUT', '/rack', { tubes: { A1: 'OLD' } });
    const asked = await ask(rack.barcode);
    await putOn({ A1: rack.tube });
    expect((await ended(asked.id)).diff.counts).toMatchObject({ match: 1, unknown: 0 });
  });

  test('waits for one rack at a time', async () => {
    const [one, other] = [await box(), await box()];
    const asked = await ask(one.barcode);
    const refused = await must(409, {
      path: `/storage/rack-scanners/${scannerId}/scan`,
      json: { location: other.barcode },
    });
    expect(refused.detail).toContain(`is waiting for ${one.name} in F1`);
    await putOn({ A1: one.tube });
    await ended(asked.id);
    const next = await ask(other.barcode);
    await putOn({ A1: other.tube });
    expect((await ended(next.id)).state).toBe('open');
  });

  test.each<[string, () => Promise<unknown>, RegExp]>([
    [
      'reports an error',
      () => tell('POST', '/fault', { kind: 'error', text: 'lid open' }),
      /reports an error: lid open/,
    ],
    [
      'says nothing',
      () => tell('POST', '/fault', { kind: 'silent' }),
      /gave no answer to PM0812 within 1000 ms/,
    ],
    ['ends the connection', () => tell('POST', '/fault', { kind: 'cut' }), /ended the connection/],
    ['answers nonsense', () => tell('POST', '/fault', { kind: 'garbled' }), /answered PM0812 with/],
    ['gets no rack', async () => {}, /nobody scanned a rack within 3 s/],
  ])('that %s ends the scan with a sentence, and the next one works', async (_, trouble, detail) => {
    const rack = await box();
    await trouble();
    const scan = await ended((await ask(rack.barcode)).id);
    expect(scan).toMatchObject({ state: 'failed', detail: expect.stringMatching(detail) });
    expect(scan).not.toHaveProperty('diff');
    const again = await ask(rack.barcode);
    await putOn({ A1: rack.tube });
    expect((await ended(again.id)).state).toBe('open');
  });

  test('taken over by somebody else’s connection ends the scan', async () => {
    const rack = await box();
    const asked = await ask(rack.barcode);
    await until(
      'the scanner waits',
      10_000,
      async () => (await tell('GET', '/state')).commands.at(-1) === 'L',
    );
    const other = connect({ host: '127.0.0.1', port });
    await once(other, 'connect');
    const scan = await ended(asked.id);
    other.destroy();
    expect(scan.detail).toMatch(/somebody else may have connected/);
  });

  test('that is not there is told so; one out of use is not found', async () => {
    const rack = await box();
    const gone = await enrol({ name: 'Gone', host: '127.0.0.1', port: 1 });
    expect((await ended((await ask(rack.barcode, gone.id)).id)).detail).toContain(
      '127.0.0.1:1 does not answer',
    );
    const path = `/storage/rack-scanners/${gone.id}`;
    const as = api.people.lab_administrator;
    expect((await api.send({ method: 'DELETE', path, as })).status).toBe(204);
    await must(404, { method: 'DELETE', path, as });
    await must(404, { path: `${path}/scan`, json: { location: rack.barcode } });
    const { scanners } = await must(200, { path: '/storage/rack-scanners' });
    expect(scanners.map((each: { name: string }) => each.name)).toEqual(['Bench 2']);
  });

  test('is entered once, by an administrator, with a profile there is', async () => {
    const as = api.people.lab_administrator;
    const json = { name: 'Bench 2', host: '127.0.0.1' };
    await must(409, { path: '/storage/rack-scanners', json, as });
    await must(422, { path: '/storage/rack-scanners', json: { ...json, name: 'X', profile: 'none' }, as });
    await must(422, { path: '/storage/rack-scanners', json: { ...json, name: 'X', host: 'a b' }, as });
    await must(403, { path: '/storage/rack-scanners', json });
    const keyed = { path: '/storage/rack-scanners', json: { ...json, name: 'Y' }, as };
    const headers = { 'idempotency-key': uuidv7() };
    expect(await must(201, { ...keyed, headers })).toEqual(await must(201, { ...keyed, headers }));
  });
});
