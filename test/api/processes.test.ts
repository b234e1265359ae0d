import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkLedger } from '../../db/ledger.ts';
import type { TestApi } from '../setup/api.ts';
import { HandWork, isOver } from '../setup/hand-work.ts';
import { addLocation, positionsOf, storeSample } from '../setup/store.ts';

let work: HandWork;
let api: TestApi;
beforeAll(async () => {
  work = await HandWork.open();
  api = work.api;
});
afterAll(() => work.close());

describe('storing a tube by hand', () => {
  test('reserves a position and says why; the scan completes it; the ledger agrees', async () => {
    const box = await work.addBox();
    const tube = work.plasma({ target: { within: box }, project: 'HEART' });
    const started = await work.post('/storage/samples', tube);
    expect(started.status).toBe(202);
    const { job: begun, position, why, leaseExpiresAt } = started.body;
    expect(started.headers.get('location')).toBe(`/automation/jobs/${begun.id}`);
    expect(position.label).toBe('A1');
    expect(why.rules.every((rule: { passed: boolean }) => rule.passed)).toBe(true);
    expect(Date.parse(leaseExpiresAt)).toBeGreaterThan(Date.now());
    expect(begun.links.temporal).toContain(encodeURIComponent(`:placement:${begun.id}`));

    const waiting = await work.settled(begun.id, (body) => body.state === 'AWAITING_PERSON');
    expect(waiting.waitingFor).toBeDefined();
    const confirmed = await work.post(`/automation/jobs/${begun.id}/confirm`, {
      sampleBarcode: tube.barcode,
      containerBarcode: box,
      position: 'a1',
    });
    expect(confirmed.status).toBe(200);
    const over = await work.settled(begun.id, isOver);
    expect(over.state).toBe('COMPLETED');
    expect(over.steps.length).toBeGreaterThan(1);
    const ledger = await checkLedger(api.lab.app, api.lab.tenantId);
    expect(ledger.ok).toBe(true);
  });

  test('with the scan in the request it is done in one', async () => {
    const box = await work.addBox();
    const tube = work.plasma();
    const started = await work.post('/storage/samples', {
      ...tube,
      target: { location: box, position: 'B2' },
      confirmation: { sampleBarcode: tube.barcode, containerBarcode: box, position: 'B2' },
    });
    expect(started.status).toBe(202);
    expect((await work.settled(started.body.job.id, isOver)).state).toBe('COMPLETED');
  });

  test('a scan of another tube, container or position is refused, and the right one is still taken', async () => {
    const box = await work.addBox();
    const other = await work.addBox();
    const tube = work.plasma({ target: { location: box, position: 'A2' } });
    const { job: begun } = (await work.post('/storage/samples', tube)).body;
    const confirm = (scan: Record<string, unknown>) =>
      work.post(`/automation/jobs/${begun.id}/confirm`, {
        sampleBarcode: tube.barcode,
        containerBarcode: box,
        position: 'A2',
        ...scan,
      });
    for (const wrong of [
      { sampleBarcode: 'TUBE-OTHER' },
      { containerBarcode: other },
      { position: 'B1' },
      { position: 'Z99' },
      { sampleBarcode: null },
    ]) {
      const refused = await confirm(wrong);
      expect(refused.status, JSON.stringify(wrong)).toBeGreaterThanOrEqual(400);
      expect(refused.status, JSON.stringify(wrong)).toBeLessThan(500);
      expect(refused.headers.get('content-type')).toBe('application/problem+json');
    }
    expect((await confirm({})).status).toBe(200);
    expect((await work.settled(begun.id, isOver)).state).toBe('COMPLETED');
    const late = await confirm({});
    expect(late.body.code).toBe('JOB_FINISHED');
  });

  test('cancelled before the scan it gives the position back', async () => {
    const box = await work.addBox(1, 1);
    const first = await work.post('/storage/samples', work.plasma({ target: { within: box } }));
    const cancelled = await work.post(`/automation/jobs/${first.body.job.id}/cancel`, {
      reason: 'wrong tube',
    });
    expect(cancelled.status).toBe(202);
    expect((await work.settled(first.body.job.id, isOver)).state).toBe('CANCELLED');
    const second = await work.post('/storage/samples', work.plasma({ target: { within: box } }));
    expect(second.body.position.positionId).toBe(first.body.position.positionId);
  });
});

describe('refusals name what would be right', () => {
  const refused = async (json: Record<string, unknown>) => {
    const reply = await work.post('/storage/samples', json);
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
    return reply;
  };

  test('an occupied position', async () => {
    const box = await work.addBox();
    const [first] = await positionsOf(api.store, await work.idOf(box));
    await storeSample(api.store, { barcode: work.nextTube(), positionId: first ?? '' });
    const reply = await refused(work.plasma({ target: { location: box, position: 'A1' } }));
    expect(reply.status).toBe(409);
    expect(reply.body.code).toBe('POSITION_OCCUPIED');
    const job = await work.settled(reply.body.facts.jobId, isOver);
    expect(job.state).toBe('REFUSED');
  });

  test('a full box, with the next free position elsewhere', async () => {
    const box = await work.addBox(1, 1);
    await work.addBox();
    expect((await work.post('/storage/samples', work.plasma({ target: { within: box } }))).status).toBe(202);
    const reply = await refused(work.plasma({ target: { within: box } }));
    expect(reply.status).toBe(409);
    expect(reply.body.code).toBe('NO_POSITION_FREE');
    expect(reply.body.facts.nextFree).toBeTruthy();
  });

  test('the wrong temperature', async () => {
    const fridge = await addLocation(api.store, {
      type: 'fridge',
      name: 'Fridge',
      barcode: 'FRIDGE',
      zone: '4',
      parent: work.siteId,
    });
    const grid = { rows: 1, columns: 2, rowLabels: 'upper', columnLabels: 'number' } as const;
    await addLocation(api.store, {
      type: 'box_9x9',
      name: 'Cool box',
      parent: fridge,
      barcode: 'COOL',
      grid,
    });
    const before = await work.counts();
    const reply = await refused(work.plasma({ target: { location: 'COOL', position: 'A1' } }));
    expect(reply.status).toBe(409);
    expect(reply.body.code).toBe('ZONE_MISMATCH');
    const after = await work.counts();
    expect(after.samples).toBe(before.samples);
    expect(after.versions).toBe(before.versions);
  });

  test('a barcode that is taken', async () => {
    const box = await work.addBox();
    const tube = work.plasma({ target: { within: box } });
    expect((await work.post('/storage/samples', tube)).status).toBe(202);
    const reply = await refused(tube);
    expect(reply.status).toBe(409);
    expect(reply.body.code).toBe('BARCODE_TAKEN');
  });

  test('unknown barcodes, ids and positions; nothing is written', async () => {
    const box = await work.addBox();
    const before = await work.counts();
    const nowhere = crypto.randomUUID();
    const cases: [string, unknown, number, string][] = [
      ['/storage/samples', work.plasma({ target: { within: 'NO-SUCH' } }), 404, 'BARCODE_UNKNOWN'],
      ['/storage/samples', work.plasma({ target: { within: nowhere } }), 404, 'NOT_FOUND'],
      [
        '/storage/samples',
        work.plasma({ target: { location: box, position: 'C13' } }),
        422,
        'POSITION_UNKNOWN',
      ],
      [
        '/storage/samples',
        work.plasma({ target: { location: 'FREEZER', position: 'A1' } }),
        422,
        'POSITION_UNKNOWN',
      ],
      ['/storage/samples/NO-SUCH/move', {}, 404, 'BARCODE_UNKNOWN'],
      [`/storage/samples/${nowhere}/retrieve`, {}, 404, 'NOT_FOUND'],
      ['/storage/moves', { sample: 'NO-SUCH' }, 404, 'BARCODE_UNKNOWN'],
      ['/automation/retrieval', { sample: 'NO-SUCH' }, 404, 'BARCODE_UNKNOWN'],
      [
        `/automation/jobs/${nowhere}/confirm`,
        { sampleBarcode: 'T', containerBarcode: 'B', position: 'A1' },
        404,
        'NOT_FOUND',
      ],
      [`/automation/jobs/${nowhere}/cancel`, {}, 404, 'NOT_FOUND'],
    ];
    for (const [path, json, status, code] of cases) {
      const reply = await work.post(path, json);
      expect([path, reply.status, reply.body.code]).toEqual([path, status, code]);
    }
    expect(await work.counts()).toEqual(before);
  });

  test('a tube that another job has', async () => {
    const box = await work.addBox();
    const [position] = await positionsOf(api.store, await work.idOf(box));
    const barcode = work.nextTube();
    await storeSample(api.store, { barcode, positionId: position ?? '' });
    const first = await work.post(`/storage/samples/${barcode}/move`, {});
    expect(first.status).toBe(202);
    const second = await work.post(`/storage/samples/${barcode}/retrieve`, {});
    expect(second.status).toBe(409);
    expect(second.body.code).toBe('SAMPLE_BUSY');
    expect(second.body.detail).toContain(first.body.job.id);
  });
});

describe('a stored tube', () => {
  test('is moved, then taken out, by id or barcode', async () => {
    const [from, to] = [await work.addBox(), await work.addBox()];
    const [position] = await positionsOf(api.store, await work.idOf(from));
    const barcode = work.nextTube();
    await storeSample(api.store, { barcode, positionId: position ?? '' });
    const move = await work.post('/storage/moves', {
      sample: barcode,
      target: { location: to, position: 'B1' },
    });
    expect(move.body.position.label).toBe('B1');
    await work.post(`/automation/jobs/${move.body.job.id}/confirm`, {
      sampleBarcode: barcode,
      containerBarcode: to,
      position: 'B1',
    });
    expect((await work.settled(move.body.job.id, isOver)).state).toBe('COMPLETED');
    const taking = await work.post(`/storage/samples/${move.body.job.sampleId}/retrieve`, {});
    expect(taking.body.position.label).toBe('B1');
    await work.post(`/automation/jobs/${taking.body.job.id}/confirm`, {
      sampleBarcode: barcode,
      containerBarcode: to,
      position: 'B1',
    });
    expect((await work.settled(taking.body.job.id, isOver)).state).toBe('COMPLETED');
    const jobs = await api.send({ path: `/automation/jobs?sample=${move.body.job.sampleId}&live=false` });
    expect(jobs.body.jobs.map((one: { kind: string }) => one.kind)).toEqual(['retrieval', 'move']);
  });

  test('lists are answered in their order, each for itself', async () => {
    const box = await work.addBox();
    const taken = work.plasma({ target: { within: box } });
    await work.post('/storage/samples', taken);
    const reply = await work.post('/automation/placement', {
      items: [
        {
          register: { barcode: work.nextTube(), type: 'plasma', zone: '-80' },
          target: { location: box, position: 'B1' },
        },
        { sample: 'NO-SUCH' },
        { register: { barcode: taken.barcode, type: 'plasma', zone: '-80' } },
        {
          register: { barcode: work.nextTube(), type: 'plasma', zone: '-80' },
          target: { location: box, position: 'B2' },
        },
      ],
    });
    expect(reply.status).toBe(202);
    expect(
      reply.body.results.map(
        (one: { outcome: string; code?: string; position?: { label: string } }) =>
          one.code ?? one.position?.label,
      ),
    ).toEqual(['B1', 'BARCODE_UNKNOWN', 'BARCODE_TAKEN', 'B2']);
    const retrieval = await work.post('/automation/retrieval', { samples: ['NO-SUCH'] });
    expect(retrieval.body.results[0].code).toBe('BARCODE_UNKNOWN');
  });
});

test('jobs come in pages, newest first', async () => {
  const all: string[] = [];
  let cursor = '';
  do {
    const { body } = await api.send({ path: `/automation/jobs?limit=7${cursor && `&cursor=${cursor}`}` });
    all.push(...body.jobs.map((one: { id: string }) => one.id));
    cursor = body.nextCursor ?? '';
  } while (cursor !== '');
  expect(all.length).toBe((await work.counts()).jobs);
  expect(all).toEqual([...all].sort().reverse());
});
