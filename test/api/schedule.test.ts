import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApp } from '../../api/app.ts';
import { openApi, type TestApi } from '../setup/api.ts';
import { addJob, addLocation, positionsOf, storeSample } from '../setup/store.ts';

const HOUR = 3_600_000;
const PATH = '/automation/schedule';

let api: TestApi;
let sample: string;
let other: string;
beforeAll(async () => {
  api = await openApi();
  const site = await addLocation(api.store, { type: 'site', name: 'Site' });
  const freezer = await addLocation(api.store, { type: 'freezer', name: 'F', parent: site, barcode: 'FRZ' });
  const box = await addLocation(api.store, { type: 'box_9x9', name: 'B', parent: freezer, barcode: 'BOX' });
  const [first = '', second = ''] = await positionsOf(api.store, box);
  sample = await storeSample(api.store, { barcode: 'TUBE-1', positionId: first });
  other = await storeSample(api.store, { barcode: 'TUBE-2', positionId: second });
});
afterAll(() => api.close());

const inAnHour = () => new Date(Date.now() + HOUR).toISOString();
const nightly = { every: { time: '03:00', timeZone: 'Europe/Berlin' } };
const retrieval = { kind: 'retrieval', sample: 'TUBE-1' };
const request = (over: object = {}) => ({
  job: retrieval,
  when: nightly,
  reason: 'The control sample.',
  ...over,
});
const plan = (over: object = {}) => api.send({ path: PATH, json: request(over) });
const edit = (id: string, version: number, json: object) =>
  api.send({ method: 'PATCH', path: `${PATH}/${id}`, json, headers: { 'if-match': `"${version}"` } });

describe('a job is planned', () => {
  test('with who, when and why, and is found again', async () => {
    const window = { from: '22:00', to: '06:00', timeZone: 'Europe/Berlin' };
    const reply = await plan({ window, maxRuns: 3, job: { ...retrieval, mode: 'robot', priority: 60 } });
    expect(reply.status).toBe(201);
    expect(reply.headers.get('location')).toBe(`${PATH}/${reply.body.id}`);
    expect(reply.headers.get('etag')).toBe('"1"');
    expect(reply.body).toMatchObject({
      state: 'active',
      job: { kind: 'retrieval', mode: 'robot', priority: 60, sampleId: sample },
      when: nightly,
      window,
      maxRuns: 3,
      graceMinutes: 60,
      planned: { by: api.people.lab_technician.actor.userId, reason: 'The control sample.' },
      runs: 0,
      version: 1,
    });
    const due = new Date(reply.body.nextDue).toLocaleTimeString('en-GB', { timeZone: 'Europe/Berlin' });
    expect(due).toBe('03:00:00');
    expect((await api.send({ path: `${PATH}/${reply.body.id}` })).body).toEqual(reply.body);
  });

  test('in each of its forms, which come back as they went in', async () => {
    const job = await addJob(api.store, sample);
    const from = inAnHour();
    for (const when of [
      { at: from },
      { after: job, condition: 'ended' },
      { every: { unit: 'minutes', count: 90, from } },
      { every: { time: '03:30', timeZone: 'UTC', weekdays: ['monday', 'friday'] } },
    ]) {
      const reply = await plan({ when });
      expect(reply.status, JSON.stringify(reply.body)).toBe(201);
      expect(reply.body.when).toEqual(when);
      if ('after' in when) expect(reply.body.nextDue).toBeUndefined();
      else expect(Date.parse(reply.body.nextDue)).toBeGreaterThan(Date.now());
    }
    const unset = await plan({ when: { every: { unit: 'hours', count: 2 } } });
    expect(Date.parse(unset.body.nextDue) - Date.now()).toBeGreaterThan(HOUR);
    expect(unset.body.nextDue).toBe(unset.body.when.every.from);
  });

  test('of every kind, its references resolved', async () => {
    const target = { location: 'BOX', position: 'B2' };
    const at = { at: inAnHour() };
    const move = await plan({ job: { kind: 'move', sample: 'TUBE-2', target } });
    expect(move.body.job).toMatchObject({
      kind: 'move',
      sampleId: other,
      target: { positionId: expect.any(String) },
    });
    const register = { barcode: 'TUBE-3', type: 'plasma', zone: '-80', project: 'HEART-2' };
    const placement = await plan({
      job: { kind: 'placement', register, target: { within: 'FRZ' } },
      when: at,
    });
    expect(placement.body.job).toMatchObject({ register, target: { withinId: expect.any(String) } });
    const known = await plan({ job: { kind: 'placement', sample: 'TUBE-2' } });
    expect(known.body.job).toEqual({
      kind: 'placement',
      mode: 'hand',
      priority: 20,
      priorityName: 'NORMAL',
      sampleId: other,
    });
  });

  test('once for the same key', async () => {
    const headers = { 'idempotency-key': 'planned-once' };
    const json = request();
    const first = await api.send({ path: PATH, json, headers });
    const again = await api.send({ path: PATH, json, headers });
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('location')).toBe(first.headers.get('location'));
    expect(again.headers.get('idempotency-replayed')).toBe('true');
  });
});

describe('a plan that cannot be is refused with what is wrong, and where', () => {
  const nobody = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d01';
  const window = (from: string, to: string, timeZone = 'UTC') => ({ window: { from, to, timeZone } });
  test.each<[string, object, number, string, string[]]>([
    ['a time that has passed', { when: { at: '2020-01-01T00:00:00.000Z' } }, 422, 'VALIDATION', ['/when/at']],
    ['a window that never opens', window('22:00', '22:00'), 422, 'VALIDATION', ['/window']],
    ['an unknown zone', window('22:00', '06:00', 'Europe/Atlantis'), 422, 'VALIDATION', ['/window/timeZone']],
    [
      'an offset instead of a zone',
      { when: { every: { time: '03:00', timeZone: '+02:00' } } },
      422,
      'VALIDATION',
      ['/when/every/timeZone'],
    ],
    [
      'no time of day',
      { when: { every: { time: '25:00', timeZone: 'UTC' } } },
      422,
      'VALIDATION',
      ['/when/every/time'],
    ],
    [
      'two times',
      { when: { at: '2099-01-01T00:00:00.000Z', ...nightly } },
      422,
      'VALIDATION',
      ['/when/every'],
    ],
    ['an end before its beginning', { until: '2020-01-01T00:00:00.000Z' }, 422, 'VALIDATION', ['/until']],
    [
      'a number of runs for one',
      { when: { at: '2099-01-01T00:00:00.000Z' }, maxRuns: 2 },
      422,
      'VALIDATION',
      ['/maxRuns'],
    ],
    ['no reason', { reason: '  ' }, 422, 'VALIDATION', ['/reason']],
    ['a tube twice', { job: { kind: 'placement' } }, 422, 'VALIDATION', ['/job']],
    [
      'a tube to be registered again and again',
      { job: { kind: 'placement', register: { barcode: 'T-9', type: 'plasma', zone: '-80' } } },
      422,
      'VALIDATION',
      ['/job/register'],
    ],
    ['an unknown job', { when: { after: nobody } }, 404, 'NOT_FOUND', ['/when/after']],
  ])('%s', async (_, over, status, code, pointers) => {
    const reply = await plan(over);
    expect([reply.status, reply.body.code]).toEqual([status, code]);
    expect(reply.body.errors.map(({ pointer }: { pointer: string }) => pointer)).toEqual(pointers);
    expect(reply.body.detail).toMatch(/\w+ \w+/);
  });

  test('an unknown tube or position', async () => {
    expect((await plan({ job: { ...retrieval, sample: 'NONE' } })).body.code).toBe('BARCODE_UNKNOWN');
    const target = { location: 'BOX', position: 'Z9' };
    expect((await plan({ job: { kind: 'move', sample: 'TUBE-2', target } })).body.code).toBe(
      'POSITION_UNKNOWN',
    );
  });
});

describe('planned jobs are listed', () => {
  test('newest first, by pages, by state, kind and sample', async () => {
    const everything = await api.send({ path: `${PATH}?limit=500` });
    const ids = everything.body.schedules.map(({ id }: { id: string }) => id);
    expect(ids.length).toBeGreaterThan(5);
    expect(ids).toEqual(ids.toSorted().toReversed());
    const paged: string[] = [];
    let cursor: string | undefined;
    do {
      const { body } = await api.send({ path: `${PATH}?limit=3${cursor ? `&cursor=${cursor}` : ''}` });
      expect(body.schedules.length).toBeLessThanOrEqual(3);
      paged.push(...body.schedules.map(({ id }: { id: string }) => id));
      cursor = body.nextCursor;
    } while (cursor);
    expect(paged).toEqual(ids);
    const moves = await api.send({ path: `${PATH}?kind=move&sample=TUBE-2&state=active` });
    expect(moves.body.schedules).toHaveLength(1);
    expect((await api.send({ path: `${PATH}?state=done` })).body).toEqual({ schedules: [] });
    expect((await api.send({ path: PATH, as: api.stranger })).body).toEqual({ schedules: [] });
  });
});

describe('a schedule is changed', () => {
  test('in time, window, priority and pause, with a reason, by who has seen it', async () => {
    const { body } = await plan();
    const path = `${PATH}/${body.id}`;
    const reason = 'The night shift asked for it.';
    const unseen = await api.send({ method: 'PATCH', path, json: { priority: 60, reason } });
    expect([unseen.status, unseen.body.code]).toEqual([428, 'PRECONDITION_REQUIRED']);
    expect((await edit(body.id, 7, { priority: 60, reason })).body.code).toBe('PRECONDITION_FAILED');
    const silent = await edit(body.id, 1, { priority: 60 });
    expect(silent.body.errors[0].pointer).toBe('/reason');

    const at = inAnHour();
    const moved = await edit(body.id, 1, {
      when: { at },
      window: { from: '00:00', to: '23:59', timeZone: 'UTC' },
      priority: 'URGENT',
      graceMinutes: 5,
      reason,
    });
    expect(moved.status, JSON.stringify(moved.body)).toBe(200);
    expect(moved.body).toMatchObject({
      when: { at },
      job: { priority: 80, priorityName: 'URGENT' },
      graceMinutes: 5,
      version: 2,
      changed: { by: api.people.lab_technician.actor.userId, reason },
      planned: { reason: 'The control sample.' },
    });
    const paused = await edit(body.id, 2, { paused: true, window: null, reason });
    expect(paused.body).toMatchObject({ state: 'paused', version: 3 });
    expect(paused.body.nextDue).toBeUndefined();
    expect(paused.body.window).toBeUndefined();
    const goesOn = await edit(body.id, 3, { paused: false, reason });
    expect(goesOn.body).toMatchObject({ state: 'active', nextDue: at });
    const past = await edit(body.id, 4, { when: { at: '2020-01-01T00:00:00.000Z' }, reason });
    expect([past.status, past.body.errors[0].pointer]).toEqual([422, '/when/at']);
  });

  test('is cancelled once, with a reason, and not changed any more', async () => {
    const { body } = await plan();
    const cancel = (json: object, headers = {}) =>
      api.send({ path: `${PATH}/${body.id}/cancel`, json, headers });
    expect((await cancel({})).body.errors[0].pointer).toBe('/reason');
    const headers = { 'idempotency-key': 'cancelled-once' };
    const cancelled = await cancel({ reason: 'The study is closed.' }, headers);
    expect(cancelled.body).toMatchObject({ state: 'cancelled', changed: { reason: 'The study is closed.' } });
    expect(cancelled.body.nextDue).toBeUndefined();
    expect((await cancel({ reason: 'The study is closed.' }, headers)).body).toEqual(cancelled.body);
    expect((await cancel({ reason: 'Again.' })).body.code).toBe('CONFLICT');
    expect((await edit(body.id, 2, { paused: true, reason: 'No.' })).body.code).toBe('CONFLICT');
  });
});

test('with automation switched off there is no planning', async () => {
  const app = createApp({ ...api.dependencies, features: { automation: false } });
  const headers = { authorization: `Bearer ${api.people.lab_technician.token}` };
  for (const path of [PATH, `${PATH}/${sample}`]) {
    const reply = await app.request(path, { headers });
    expect(reply.status).toBe(404);
    expect(await reply.json()).toMatchObject({ code: 'FEATURE_OFF' });
  }
});
