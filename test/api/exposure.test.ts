import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createStorageActivities } from '../../activities/storage.ts';
import { withChange } from '../../db/change.ts';
import { openDeviation } from '../../db/deviations.ts';
import { jobRecord } from '../../db/jobs.ts';
import { type ApiReply, type ApiRequest, openApi, type TestApi } from '../setup/api.ts';
import { addWarmCell, letTimePass, storeInCell, type WarmCell } from '../setup/exposure-lab.ts';
import { AT_WORK } from '../setup/process-lab.ts';

let api: TestApi;
let cell: WarmCell;
beforeAll(async () => {
  // A busy machine may take longer than a person would wait; here it is told all the same.
  api = await openApi({ worker: true, limits: { earlyAnswerMs: 60_000, answerMs: 60_000 } });
  cell = await addWarmCell(api.store);
});
afterAll(() => api.close());

async function must(status: number, request: ApiRequest): Promise<ApiReply> {
  const reply = await api.send(request);
  expect([reply.status, reply.body]).toEqual([status, expect.anything()]);
  return reply;
}

describe('exposure budgets', () => {
  const path = '/storage/exposure-budgets';
  const set = (zone: string, version: string | null, json: unknown): ApiRequest => ({
    method: 'PUT',
    path: `${path}/${zone}`,
    json,
    as: api.people.principal_investigator,
    ...(version !== null && { headers: { 'if-match': version } }),
  });

  test('are read as presets, set with the version that was read, and in force at once', async () => {
    const { budgets } = (await must(200, { path })).body;
    expect(budgets[1]).toEqual({ zone: '-80', budgetSeconds: 120, handSeconds: 30, version: 0 });
    expect(budgets[4]).toEqual({ zone: 'RT', handSeconds: 30, version: 0 });
    const json = { budgetSeconds: 300, handSeconds: 45, pickupSeconds: 60 };
    const reply = await must(200, set('-20', '"0"', json));
    expect(reply.body).toEqual({ zone: '-20', ...json, version: 1 });
    expect(reply.headers.get('etag')).toBe('"1"');
    expect((await must(200, { path })).body.budgets[2]).toEqual(reply.body);
    const without = await must(200, set('-20', '"1"', { budgetSeconds: null, handSeconds: 45 }));
    expect(without.body).toEqual({ zone: '-20', handSeconds: 45, version: 2 });
  });

  test.each<[string, string, string | null, unknown, number, RegExp]>([
    ['no If-Match', '4', null, { budgetSeconds: 60, handSeconds: 30 }, 428, /If-Match is missing/],
    ['an old version', '4', '"7"', { budgetSeconds: 60, handSeconds: 30 }, 412, /changed since version 7/],
    ['a class nobody knows', '-150', '"0"', { budgetSeconds: 60, handSeconds: 30 }, 404, /there are .*LN2/],
    ['a budget of nothing', '4', '"0"', { budgetSeconds: 0, handSeconds: 30 }, 422, /budgetSeconds/],
    ['more than a day', '4', '"0"', { budgetSeconds: 86_401, handSeconds: 30 }, 422, /budgetSeconds/],
    ['half a second', '4', '"0"', { budgetSeconds: 60, handSeconds: 0.5 }, 422, /handSeconds.*whole number/],
    ['no budget at all', '4', '"0"', { handSeconds: 30 }, 422, /budgetSeconds/],
    ['a field nobody knows', '4', '"0"', { budgetSeconds: 60, handSeconds: 30, colour: 1 }, 422, /colour/],
  ])('%s is refused and changes nothing', async (_, zone, version, json, status, detail) => {
    const before = (await must(200, { path })).body;
    const reply = await must(status, set(zone, version, json));
    expect(reply.body.detail).toMatch(detail);
    expect((await must(200, { path })).body).toEqual(before);
  });
});

describe('a retrieval by robot', () => {
  const retrieve = (sample: string) => ({ path: '/automation/retrieval', json: { sample, mode: 'robot' } });

  test('shows what it is expected to cost, and its clock while the tube is outside its cold', async () => {
    const { sampleId } = await storeInCell(api.store, cell, 0);
    const { job } = (await must(202, retrieve(sampleId))).body;
    const look = async () => (await must(200, { path: `/automation/jobs/${job.id}` })).body;
    const waiting = await look();
    expect(waiting.result.exposure).toEqual({
      budgetSeconds: 120,
      predictedSeconds: 120,
      parts: { pick: 12, read: 2, place: 12, waiting: 70, wayBack: 24 },
      pickupSeconds: 70,
    });
    expect(waiting).not.toHaveProperty('exposure');

    const record = await jobRecord(api.store.db, api.store.tenantId, job.id);
    const ref = {
      actor: api.store.actor,
      jobId: job.id,
      workflowId: String(record?.workflowId),
      step: 'test',
    };
    const seen = { kind: 'carrier', robotId: cell.robotId } as const;
    await createStorageActivities({ db: api.store.db }).moveCustody(ref, seen, AT_WORK);
    await letTimePass(api.store, sampleId, 100);
    const sample = (await must(200, { path: `/storage/samples/${sampleId}` })).body;
    expect(sample).toMatchObject({ warmSince: expect.any(String), exposureSeconds: 0, freezeThawCount: 0 });
    const { exposure } = await look();
    expect(exposure).toEqual({
      since: sample.warmSince,
      elapsedSeconds: expect.any(Number),
      budgetSeconds: 120,
      predictedSeconds: 120,
    });
    expect(exposure.elapsedSeconds).toBeGreaterThanOrEqual(100);
    expect(exposure.elapsedSeconds).toBeLessThan(200);
    const { jobs } = (await must(200, { path: `/automation/jobs?sample=${sampleId}` })).body;
    expect(jobs[0].exposure.since).toBe(exposure.since);
  });

  test('that would exceed the budget is refused with the numbers', async () => {
    const frozen = await addWarmCell(api.store, 'LN2');
    const { sampleId } = await storeInCell(api.store, frozen, 0, 'LN2');
    const { body } = await must(409, retrieve(sampleId));
    expect(body).toMatchObject({
      code: 'EXPOSURE_BUDGET',
      detail: expect.stringContaining('this move is expected to take 80 s'),
      facts: { zone: 'LN2', budgetSeconds: 60, predictedSeconds: 80, parts: { waiting: 30, wayBack: 24 } },
    });
    const { jobs } = (await must(200, { path: `/automation/jobs?sample=${sampleId}` })).body;
    expect(jobs).toMatchObject([{ state: 'REFUSED' }]);
  });
});

describe('deviations', () => {
  const path = '/automation/deviations';
  const open = (kind: 'dropped' | 'exposure_exceeded', sampleId: string | null = null) =>
    withChange(api.store.db, { actor: api.store.actor, reason: 'deviation' }, (change) =>
      openDeviation(change, {
        tenantId: api.store.tenantId,
        kind,
        description: 'The tube fell.',
        sampleId,
        jobId: null,
        robotId: null,
        facts: { height_cm: 90, seen: null },
      }),
    );
  const close = (id: string, json: unknown = { comment: 'Discarded.' }): ApiRequest => ({
    path: `${path}/${id}/close`,
    json,
    as: api.people.lab_administrator,
  });
  const list = async (query: string) => (await must(200, { path: `${path}?${query}` })).body;
  const ids = (body: { deviations: { id: string }[] }) => body.deviations.map(({ id }) => id);

  test('are listed the open ones first, newest first, filtered and in pages', async () => {
    const { sampleId } = await storeInCell(api.store, cell, 7);
    const all: string[] = [];
    for (const kind of ['dropped', 'exposure_exceeded', 'dropped', 'dropped'] as const) {
      all.push(await open(kind, sampleId));
    }
    const [first = '', second = '', third = '', fourth = ''] = all;
    await must(200, close(first));
    await must(200, close(fourth));
    const order = [third, second, fourth, first];
    const mine = `sample=${sampleId}`;
    expect(ids(await list(mine))).toEqual(order);
    expect(ids(await list(`${mine}&state=open`))).toEqual([third, second]);
    expect(ids(await list(`${mine}&state=closed`))).toEqual([fourth, first]);
    expect(ids(await list(`${mine}&kind=exposure_exceeded`))).toEqual([second]);
    for (const limit of [1, 2, 3]) {
      const seen: string[] = [];
      for (let cursor: string | undefined = ''; cursor !== undefined; ) {
        const page = await list(`${mine}&limit=${limit}${cursor && `&cursor=${cursor}`}`);
        expect(page.deviations.length).toBeLessThanOrEqual(limit);
        seen.push(...ids(page));
        cursor = page.nextCursor;
      }
      expect(seen).toEqual(order);
    }
    const strangers = await must(200, { path, as: api.stranger });
    expect(strangers.body).toEqual({ deviations: [] });
  });

  test('are closed once, with a word and by whom; a repeat with the same key gets the same reply', async () => {
    const id = await open('dropped');
    const request = { ...close(id), headers: { 'idempotency-key': 'close-1' } };
    const { body } = await must(200, request);
    expect(body).toEqual({
      id,
      kind: 'dropped',
      description: 'The tube fell.',
      facts: { height_cm: 90 },
      openedAt: expect.any(String),
      closed: {
        at: expect.any(String),
        by: api.people.lab_administrator.actor.userId,
        comment: 'Discarded.',
      },
      version: 2,
    });
    expect((await must(200, request)).body).toEqual(body);
    const again = await must(409, close(id, { comment: 'Again.' }));
    expect(again.body).toMatchObject({ code: 'CONFLICT', facts: { closedAt: body.closed.at } });
    expect((await list('state=closed')).deviations).toContainEqual(body);
  });

  test('are closed by those who answer for quality, with a word, in their own laboratory', async () => {
    const id = await open('dropped');
    await must(403, { ...close(id), as: api.people.lab_technician });
    await must(404, { ...close(id), as: api.stranger });
    expect((await must(422, close(id, { comment: ' ' }))).body.detail).toMatch(/comment/);
    expect((await must(422, { path: `${path}?cursor=x` })).body.detail).toMatch(/cursor/);
    expect((await must(422, { path: `${path}?state=lost` })).body.detail).toMatch(/state.*open/);
    expect(ids(await list('state=open'))).toContain(id);
  });
});
