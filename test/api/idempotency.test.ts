import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ApiReply, TestApi } from '../setup/api.ts';
import { HandWork } from '../setup/hand-work.ts';
import { addLocation } from '../setup/store.ts';

let work: HandWork;
let api: TestApi;
beforeAll(async () => {
  work = await HandWork.open();
  api = work.api;
});
afterAll(() => work.close());

describe('Idempotency-Key', () => {
  test('the same request gets the same reply, ten at once start one process', async () => {
    const box = await work.addBox(4, 4);
    const tube = work.plasma({ target: { within: box } });
    const key = { 'idempotency-key': `"${crypto.randomUUID()}"` };
    const replies = await Promise.all(
      Array.from({ length: 10 }, () => work.post('/storage/samples', tube, key)),
    );
    expect(replies.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 202));
    expect(new Set(replies.map(({ body }) => body.job.id)).size).toBe(1);
    expect(new Set(replies.map(({ body }) => body.position.positionId)).size).toBe(1);
    const again = await work.post('/storage/samples', tube, {
      'idempotency-key': key['idempotency-key'].replaceAll('"', ''),
    });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(again.headers.get('location')).toBe(`/automation/jobs/${again.body.job.id}`);
    expect(replies.map(({ body }) => body)).toContainEqual(again.body);
  });

  test('another body under the key is refused, another person has keys of their own', async () => {
    const box = await work.addBox(4, 4);
    const key = { 'idempotency-key': crypto.randomUUID() };
    const first = await work.post('/storage/samples', work.plasma({ target: { within: box } }), key);
    expect(first.status).toBe(202);
    const other = await work.post('/storage/samples', work.plasma({ target: { within: box } }), key);
    expect(other.status).toBe(422);
    expect(other.body.code).toBe('IDEMPOTENCY_KEY_REUSED');
    const colleague = await api.send({
      path: '/storage/samples',
      as: api.people.research_scientist,
      json: work.plasma({ target: { within: box } }),
      headers: key,
    });
    expect(colleague.status).toBe(202);
  });

  test('a refusal is kept, a mistake in the request is not', async () => {
    const box = await work.addBox(1, 1);
    await work.post('/storage/samples', work.plasma({ target: { within: box } }));
    const key = { 'idempotency-key': crypto.randomUUID() };
    const tube = work.plasma({ target: { within: box } });
    const first = await work.post('/storage/samples', tube, key);
    expect(first.status).toBe(409);
    const again = await work.post('/storage/samples', tube, key);
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('content-type')).toBe('application/problem+json');
    const fresh = { 'idempotency-key': crypto.randomUUID() };
    const wrong = work.plasma({ target: { within: 'NO-SUCH-BOX' } });
    expect((await work.post('/storage/samples', wrong, fresh)).status).toBe(404);
    await addLocation(api.store, {
      type: 'box_9x9',
      name: 'Late box',
      parent: work.freezerId,
      barcode: 'NO-SUCH-BOX',
      grid: { rows: 1, columns: 1, rowLabels: 'upper', columnLabels: 'number' },
    });
    expect((await work.post('/storage/samples', wrong, fresh)).status).toBe(202);
  });

  test('lists too: the repeat starts nothing', async () => {
    const box = await work.addBox(4, 4);
    const items = [1, 2, 3].map(() => ({
      register: { barcode: work.nextTube(), type: 'plasma', zone: '-80' },
      target: { within: box },
    }));
    const key = { 'idempotency-key': crypto.randomUUID() };
    const [first, second] = await Promise.all([
      work.post('/automation/placement', { items }, key),
      work.post('/automation/placement', { items }, key),
    ]);
    const ids = (reply: ApiReply) => reply.body.results.map((one: { job: { id: string } }) => one.job.id);
    expect(ids(second)).toEqual(ids(first));
    expect(new Set(ids(first)).size).toBe(3);
    const before = await work.counts();
    expect(ids(await work.post('/automation/placement', { items }, key))).toEqual(ids(first));
    expect(await work.counts()).toEqual(before);
  });

  test('a scan sent twice under one key is one scan', async () => {
    const box = await work.addBox();
    const tube = work.plasma({ target: { location: box, position: 'A1' } });
    const { job: begun } = (await work.post('/storage/samples', tube)).body;
    const scan = { sampleBarcode: tube.barcode, containerBarcode: box, position: 'A1' };
    const key = { 'idempotency-key': crypto.randomUUID() };
    const replies = await Promise.all([
      work.post(`/automation/jobs/${begun.id}/confirm`, scan, key),
      work.post(`/automation/jobs/${begun.id}/confirm`, scan, key),
    ]);
    expect(replies.map(({ status }) => status)).toEqual([200, 200]);
    expect((await work.post(`/automation/jobs/${begun.id}/confirm`, scan, key)).status).toBe(200);
  });
});
