import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApp } from '../../api/app.ts';
import { checkLedger } from '../../db/ledger.ts';
import { picklistEnd } from '../../domain/picklist.ts';
import { sweepPicklists } from '../../workers/picklist-sweep.ts';
import { workflowIds } from '../../workflows/ids.ts';
import type { ApiReply, TestApi } from '../setup/api.ts';
import { HandWork } from '../setup/hand-work.ts';
import { addLocation, positionsOf, storeSample, takeOut } from '../setup/store.ts';

const PATH = '/automation/picklists';

let work: HandWork;
let api: TestApi;
/** barcodes of boxes, by where they stand */
const boxes: Record<string, string> = {};
beforeAll(async () => {
  work = await HandWork.open();
  api = work.api;
  for (const freezer of ['F2', 'F10']) {
    const unit = await addLocation(api.store, { type: 'freezer', name: freezer, parent: work.siteId });
    for (const shelf of ['S1', 'S2']) {
      const parent = await addLocation(api.store, { type: 'shelf', name: shelf, parent: unit });
      const barcode = `${freezer}-${shelf}`;
      await addLocation(api.store, { type: 'box_5x5', name: 'B', parent, barcode });
      boxes[barcode] = await work.idOf(barcode);
    }
  }
});
afterAll(() => work.close());

let used = 0;
/** A tube in the next free position of a box. @returns its barcode, id and position */
async function tubeIn(box: string): Promise<{ barcode: string; id: string; label: string }> {
  const barcode = `${work.nextTube()}-P`;
  const places = await positionsOf(api.store, boxes[box] ?? '');
  const index = used++ % 25;
  const id = await storeSample(api.store, { barcode, positionId: places[index] ?? '' });
  return { barcode, id, label: `${'ABCDE'.charAt(Math.floor(index / 5))}${(index % 5) + 1}` };
}

type Tube = Awaited<ReturnType<typeof tubeIn>>;
const tubesIn = async (...where: string[]): Promise<Tube[]> => {
  const tubes = [];
  for (const box of where) tubes.push(await tubeIn(box));
  return tubes;
};
const barcodes = (tubes: readonly Tube[]) => tubes.map(({ barcode }) => barcode);
const references = (body: ApiReply['body']): string[] =>
  body.tubes.map(({ reference }: { reference: string }) => reference);
const states = (body: ApiReply['body']): string[] => body.tubes.map(({ state }: { state: string }) => state);

/** The list, once it is as wanted. */
async function settled(id: string, wanted: (body: ApiReply['body']) => boolean): Promise<ApiReply['body']> {
  const end = Date.now() + 30_000;
  for (;;) {
    const { body } = await api.send({ path: `${PATH}/${id}` });
    if (wanted(body)) return body;
    if (Date.now() > end) throw new Error(`picklist ${id} stayed ${body.state}: ${states(body)}`);
    await sleep(50);
  }
}
const isOver = (body: ApiReply['body']) => body.finishedAt !== undefined;

/** Takes a tube by hand, once its job waits for that. */
async function take(listId: string, { barcode, label }: Tube, box: string): Promise<void> {
  const { tubes } = await settled(listId, (body) =>
    body.tubes.some(
      (tube: { reference: string; job?: { state: string } }) =>
        tube.reference === barcode && tube.job?.state === 'AWAITING_PERSON',
    ),
  );
  const { job } = tubes.find(({ reference }: { reference: string }) => reference === barcode);
  const reply = await work.post(`${job.link}/confirm`, {
    sampleBarcode: barcode,
    containerBarcode: box,
    position: label,
  });
  expect(reply.status).toBe(200);
}

describe('the plan', () => {
  test('opens each door once, and says what that saves; a dry run begins nothing', async () => {
    const given = ['F10-S1', 'F2-S1', 'F10-S2', 'F2-S2', 'F10-S1', 'F2-S1'];
    const tubes = await tubesIn(...given);
    const before = await work.counts();
    const { status, body } = await work.post(PATH, {
      kind: 'retrieval',
      samples: barcodes(tubes),
      dryRun: true,
    });
    expect(status).toBe(200);
    const planned = [1, 5, 3, 0, 4, 2];
    expect(references(body)).toEqual(planned.map((n) => tubes[n]?.barcode));
    expect(body.tubes.map((tube: { given: number }) => tube.given - 1)).toEqual(planned);
    expect(
      body.doors.map((run: { unit: { name: string }; shelf: { name: string }; from: number; to: number }) => [
        `${run.unit.name} ${run.shelf.name}`,
        run.from,
        run.to,
      ]),
    ).toEqual([
      ['Freezer −80 F2 Shelf S1', 1, 2],
      ['Freezer −80 F2 Shelf S2', 3, 3],
      ['Freezer −80 F10 Shelf S1', 4, 5],
      ['Freezer −80 F10 Shelf S2', 6, 6],
    ]);
    expect(body.openings).toEqual({ planned: { units: 2, shelves: 4 }, asGiven: { units: 6, shelves: 6 } });
    expect(body.tubes[0].place.label).toBe(tubes[1]?.label);
    expect(await work.counts()).toEqual(before);
    expect((await api.send({ path: PATH })).body.picklists).toEqual([]);
  });

  test('goes by the target of a placement; where the system chooses, at the end', async () => {
    const item = (target?: object) => ({
      register: { barcode: work.nextTube(), type: 'plasma', zone: '-80' },
      ...(target && { target }),
    });
    const items = [
      item(),
      item({ within: 'F10-S1' }),
      item({ location: 'F2-S1', position: 'E5' }),
      item({ within: 'NOWHERE' }),
      { sample: 'NO-SUCH-TUBE' },
    ];
    const { status, body } = await work.post(PATH, { kind: 'placement', items, dryRun: true });
    expect(status).toBe(200);
    expect(body.tubes.map(({ given, state }: { given: number; state: string }) => [given, state])).toEqual([
      [3, 'PLANNED'],
      [2, 'PLANNED'],
      [1, 'PLANNED'],
      [4, 'REFUSED'],
      [5, 'REFUSED'],
    ]);
    expect(body.tubes.slice(3).map((tube: { refusal: { code: string } }) => tube.refusal.code)).toEqual([
      'BARCODE_UNKNOWN',
      'BARCODE_UNKNOWN',
    ]);
  });

  test('of a thousand tubes is made, and no more are taken', async () => {
    const samples = Array.from({ length: 1_001 }, (_, n) => `NONE-${n}`);
    const order = { kind: 'retrieval', dryRun: true };
    const { status, body } = await work.post(PATH, { ...order, samples: samples.slice(1) });
    expect(status).toBe(200);
    expect(body.tubes).toHaveLength(1_000);
    const refused = await work.post(PATH, { ...order, samples });
    expect(refused.status).toBe(422);
    expect(refused.body.errors).toMatchObject([{ pointer: '/samples' }]);
  });
});

describe('a picklist', () => {
  test('is worked off tube by tube, and reports each; what cannot be done stops nothing', async () => {
    const [near, far, gone] = await tubesIn('F2-S1', 'F10-S2', 'F2-S2');
    if (!near || !far || !gone) throw new Error('three tubes');
    await takeOut(api.store, gone.id);
    const ordered = await work.post(PATH, {
      kind: 'retrieval',
      name: 'Shipment 12',
      samples: [far.barcode, 'NO-SUCH-TUBE', near.id, gone.barcode],
      window: 1,
    });
    expect(ordered.status).toBe(202);
    const { id } = ordered.body;
    expect(ordered.headers.get('location')).toBe(`${PATH}/${id}`);
    expect(ordered.body).toMatchObject({
      name: 'Shipment 12',
      state: 'RUNNING',
      window: 1,
      counts: { PLANNED: 2, REFUSED: 2 },
      links: { self: `${PATH}/${id}` },
    });
    expect(references(ordered.body)).toEqual([near.id, far.barcode, 'NO-SUCH-TUBE', gone.barcode]);
    const first = await settled(id, (body) => body.counts.RUNNING === 1);
    expect(states(first)).toEqual(['RUNNING', 'PLANNED', 'REFUSED', 'REFUSED']);
    const { link } = first.tubes[0].job;
    const scan = { sampleBarcode: near.barcode, containerBarcode: 'F2-S1', position: near.label };
    expect((await work.post(`${link}/confirm`, scan)).status).toBe(200);
    await take(id, far, 'F10-S2');
    const over = await settled(id, isOver);
    expect(over.state).toBe('COMPLETED_WITH_DEVIATION');
    expect(states(over)).toEqual(['COMPLETED', 'COMPLETED', 'REFUSED', 'REFUSED']);
    expect(over.tubes.map((tube: { refusal?: { code: string } }) => tube.refusal?.code)).toEqual([
      undefined,
      undefined,
      'BARCODE_UNKNOWN',
      'SAMPLE_NOT_STORED',
    ]);
    expect(over.tubes[0].detail).toBeTruthy();
    expect(picklistEnd(over.counts, false)).toBe(over.state);
    expect(await checkLedger(api.lab.app, api.lab.tenantId)).toMatchObject({ ok: true });
    const late = await work.post(`${PATH}/${id}/cancel`, {});
    expect(late.status).toBe(409);
    expect(late.body.code).toBe('JOB_FINISHED');
  });

  test('cancelled begins no more tubes; those under way end', async () => {
    const tubes = await tubesIn('F2-S1', 'F2-S1', 'F2-S1');
    const { body } = await work.post(PATH, { kind: 'retrieval', samples: barcodes(tubes), window: 2 });
    await settled(body.id, (now) => now.counts.RUNNING === 2);
    const cancelled = await work.post(`${PATH}/${body.id}/cancel`, { reason: 'The wrong project' });
    expect(cancelled.status).toBe(202);
    expect(cancelled.body.cancelledBy).toEqual({
      userId: api.people.lab_technician.actor.userId,
      reason: 'The wrong project',
    });
    const over = await settled(body.id, isOver);
    expect(over.state).toBe('CANCELLED');
    expect(over.counts).toEqual({ CANCELLED: 3 });
    expect(over.tubes.map((tube: { job?: object }) => tube.job !== undefined)).toEqual([true, true, false]);
  });

  test('whose workflow was terminated is taken up by the sweep, and starts no tube twice', async () => {
    const tubes = await tubesIn('F2-S2', 'F2-S2', 'F2-S2');
    const { body } = await work.post(PATH, { kind: 'retrieval', samples: barcodes(tubes), window: 2 });
    await settled(body.id, (now) => now.counts.RUNNING === 2);
    const { temporal, db, log } = api.dependencies;
    const deps = { db, client: temporal, log };
    const tenantId = api.lab.tenantId;
    expect(await sweepPicklists(deps, tenantId)).toBe(0);
    await temporal.workflow.getHandle(workflowIds.picklist(tenantId, body.id)).terminate('somebody did it');
    expect(await sweepPicklists(deps, tenantId)).toBe(1);
    const before = await work.counts();
    for (const tube of tubes) await take(body.id, tube, 'F2-S2');
    expect((await settled(body.id, isOver)).state).toBe('COMPLETED');
    expect((await work.counts()).jobs).toBe((before.jobs ?? 0) + 1);
    expect(await sweepPicklists(deps, tenantId)).toBe(0);
  });

  test('sent again with its key is the same one, with the same reply', async () => {
    const tubes = await tubesIn('F10-S1');
    const order = { kind: 'retrieval', samples: barcodes(tubes) };
    const key = { 'idempotency-key': 'picklist-1' };
    const first = await work.post(PATH, order, key);
    const second = await work.post(PATH, order, key);
    expect([first.status, second.status]).toEqual([202, 202]);
    expect(second.body).toEqual(first.body);
    expect(second.headers.get('location')).toBe(first.headers.get('location'));
    await work.post(`${PATH}/${first.body.id}/cancel`, {}, { 'idempotency-key': 'picklist-1-cancel' });
    expect((await settled(first.body.id, isOver)).state).toBe('CANCELLED');
  });

  test('is listed, newest first, by what it is and how it stands', async () => {
    const ids = async (query: string) =>
      (await api.send({ path: `${PATH}?${query}` })).body.picklists.map((list: { id: string }) => list.id);
    const all = await ids('');
    expect(all.length).toBeGreaterThan(2);
    expect(all).toEqual([...all].sort().reverse());
    const paged: string[] = [];
    let cursor = '';
    do {
      const { body } = await api.send({ path: `${PATH}?limit=1${cursor && `&cursor=${cursor}`}` });
      paged.push(...body.picklists.map((list: { id: string }) => list.id));
      cursor = body.nextCursor ?? '';
    } while (cursor !== '');
    expect(paged).toEqual(all);
    expect(await ids('live=true')).toEqual([]);
    expect(await ids('live=false&kind=retrieval')).toEqual(all);
    expect(await ids('kind=move')).toEqual([]);
    const ended = await ids('state=CANCELLED');
    expect(ended.length).toBeGreaterThan(0);
    expect(ended.length).toBeLessThan(all.length);
  });
});

describe('a list that is wrong is refused as a whole', () => {
  const refused = async (json: unknown) => {
    const before = await work.counts();
    const reply = await work.post(PATH, json);
    expect(reply.headers.get('content-type')).toBe('application/problem+json');
    expect(await work.counts()).toEqual(before);
    return reply;
  };

  test.each([
    [{ kind: 'retrieval', samples: [] }, '/samples', /at least 1 element/],
    [{ kind: 'retrieval' }, '/samples', /is missing/],
    [{ kind: 'disposal', samples: ['T'] }, '/kind', /retrieval, placement, move/],
    [{ kind: 'retrieval', samples: ['T'], window: 21 }, '/window', /at most 20/],
    [{ kind: 'retrieval', samples: ['T'], window: 0 }, '/window', /at least 1/],
    [{ kind: 'retrieval', samples: ['T', 'U', 'T'] }, '/samples/2', /another tube than \/samples\/0/],
    [
      { kind: 'move', items: [{ sample: 'T' }, { sample: 'T' }] },
      '/items/1/sample',
      /than \/items\/0\/sample/,
    ],
    [{ kind: 'retrieval', samples: ['T', ' '] }, '/samples/1', /an id, or a barcode/],
    [{ kind: 'retrieval', samples: ['T'], items: [] }, '/items', /leave it out/],
  ])('%j', async (json, pointer, detail) => {
    const { status, body } = await refused(json);
    expect(status).toBe(422);
    expect(body.code).toBe('VALIDATION');
    expect(body.errors).toMatchObject([{ pointer, detail: expect.stringMatching(detail) }]);
  });

  test('one tube by its id and by its barcode', async () => {
    const [tube] = await tubesIn('F10-S1');
    const { status, body } = await refused({ kind: 'retrieval', samples: [tube?.id, 'X', tube?.barcode] });
    expect(status).toBe(422);
    expect(body.errors).toEqual([
      { pointer: '/samples/2', detail: 'should name another tube than /samples/0' },
    ]);
  });

  test('with automation switched off', async () => {
    const app = createApp({ ...api.dependencies, features: { automation: false } });
    for (const path of [PATH, `${PATH}/x`, `${PATH}/x/cancel`]) {
      const reply = await app.request(path, {
        headers: { authorization: `Bearer ${api.people.lab_technician.token}` },
      });
      expect([path, reply.status]).toEqual([path, 404]);
      expect(await reply.json()).toMatchObject({ code: 'FEATURE_OFF' });
    }
  });
});
