import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkLedger } from '../../db/ledger.ts';
import { inTenant } from '../../db/tenancy.ts';
import { type StateFacts, stateOf } from '../../domain/sample-state.ts';
import { type ApiReply, type ApiRequest, openApi, type TestApi } from '../setup/api.ts';
import { addLocation, positionsOf, storeSample, takeOut, wrongCounters } from '../setup/store.ts';

let api: TestApi;
let positions: string[];
let count = 0;

beforeAll(async () => {
  api = await openApi();
  const { store } = api;
  const site = await addLocation(store, { type: 'site', name: 'Main' });
  const freezer = await addLocation(store, { type: 'freezer', name: 'F1', parent: site });
  const box = await addLocation(store, { type: 'box_9x9', name: 'B-7', parent: freezer, barcode: 'BOX-7' });
  positions = await positionsOf(store, box);
});
afterAll(async () => {
  expect(await wrongCounters(api.store)).toEqual([]);
  expect(await checkLedger(api.store.db, api.store.tenantId)).toMatchObject({ ok: true, firstFault: null });
  await api.close();
});

async function must(status: number, request: ApiRequest): Promise<ApiReply> {
  const reply = await api.send(request);
  expect([reply.status, reply.body]).toEqual([status, expect.anything()]);
  return reply;
}
const path = (id: string, act = '') => `/storage/samples/${id}${act && `/${act}`}`;
const act = async (status: number, id: string, name: string, json: unknown = {}) =>
  (await must(status, { path: path(id, name), json })).body;
const look = async (id: string) => (await must(200, { path: path(id) })).body;
const edit = (id: string, version: number | null, json: unknown): ApiRequest => ({
  method: 'PUT',
  path: path(id),
  json,
  ...(version !== null && { headers: { 'if-match': `"${version}"` } }),
});
const LATER = '2199-01-01T00:00:00Z';

/** A tube in the box. */
async function stored(): Promise<{ id: string; barcode: string; positionId: string }> {
  const positionId = positions[count++] ?? '';
  const barcode = `TUBE-${count}`;
  return { id: await storeSample(api.store, { barcode, positionId }), barcode, positionId };
}
/** A tube in a hand, with so much in it. */
async function inHand(amount = '500'): Promise<{ id: string; barcode: string }> {
  const { id, barcode } = await stored();
  await takeOut(api.store, id);
  await must(200, edit(id, 2, { subject: `DONOR-${id}`, quantity: { amount, unit: 'ul' } }));
  return { id, barcode };
}
const second = () => api.people.principal_investigator.actor.userId;
const destroy = (id: string, reason = 'consent_withdrawn') =>
  act(200, id, 'dispose', { reason, secondPersonId: second() });

describe('editing', () => {
  test('takes the version that was read, and what is left out is taken away', async () => {
    const { id } = await stored();
    const json = {
      project: 'P',
      subject: 'D-1',
      lot: 'L',
      expiresOn: '2031-12-31',
      quantity: { amount: '1.50', unit: 'ml' },
    };
    const reply = await must(200, edit(id, 1, json));
    expect(reply.headers.get('etag')).toBe('"2"');
    expect(reply.body).toMatchObject({
      project: 'P',
      subject: 'D-1',
      lot: 'L',
      expiresOn: '2031-12-31',
      quantity: { amount: '1.5', initial: '1.5', unit: 'ml' },
    });
    await must(412, edit(id, 1, json));
    await must(428, edit(id, null, json));
    const bare = (await must(200, edit(id, 2, {}))).body;
    for (const field of ['project', 'subject', 'lot', 'expiresOn', 'quantity'])
      expect(bare).not.toHaveProperty(field);
    expect((await must(422, edit(id, 3, { quantity: { amount: '-1', unit: 'ul' } }))).body.detail).toMatch(
      /12\.5/,
    );
    expect((await must(422, edit(id, 3, { expiresOn: '2031-02-30' }))).body.detail).toMatch(/expiresOn/);
  });
});

describe('aliquots', () => {
  test('are of their parent, with what was put into them; the parent has so much less', async () => {
    const { id } = await inHand('500');
    const aliquots = [
      { barcode: `${id}-1`, quantity: { amount: '0.1', unit: 'ml' } },
      { barcode: `${id}-2`, quantity: { amount: '50.5', unit: 'ul' } },
      { barcode: `${id}-3` },
    ];
    const { samples } = await act(201, id, 'aliquots', { aliquots });
    expect(samples.map((one: { barcode: string }) => one.barcode)).toEqual(
      aliquots.map(({ barcode }) => barcode),
    );
    expect(samples[0]).toMatchObject({
      parentId: id,
      generation: 1,
      type: 'plasma',
      zone: '-80',
      subject: `DONOR-${id}`,
      state: 'registered',
      quantity: { amount: '0.1', initial: '0.1', unit: 'ml' },
    });
    expect(await look(id)).toMatchObject({
      quantity: { amount: '349.5', initial: '500', unit: 'ul' },
      useCount: 1,
    });
    const { samples: family } = (await must(200, { path: `/storage/samples?parent=${id}` })).body;
    expect(family).toHaveLength(3);
    const grandchild = await act(201, samples[0].id, 'aliquots', { aliquots: [{ barcode: `${id}-1-1` }] });
    expect(grandchild.samples[0]).toMatchObject({ parentId: samples[0].id, generation: 2 });
  });

  test('of more than there is are refused whole', async () => {
    const { id } = await inHand('100');
    const aliquots = [
      { barcode: `${id}-1`, quantity: { amount: '60', unit: 'ul' } },
      { barcode: `${id}-2`, quantity: { amount: '40.000000001', unit: 'ul' } },
    ];
    const body = await act(409, id, 'aliquots', { aliquots });
    expect(body).toMatchObject({ code: 'QUANTITY_EXCEEDED', facts: { left: '40', unit: 'ul' } });
    expect(await look(id)).toMatchObject({ quantity: { amount: '100' }, useCount: 0 });
    await must(404, { path: path(`${id}-1`) });
    await act(422, id, 'aliquots', {
      aliquots: [{ barcode: `${id}-1`, quantity: { amount: '1', unit: 'mg' } }],
    });
    await act(409, id, 'aliquots', { aliquots: [{ barcode: 'TUBE-1' }] });
    const { id: inBox } = await stored();
    expect(await act(409, inBox, 'aliquots', { aliquots: [{ barcode: 'X' }] })).toMatchObject({
      code: 'SAMPLE_STATE',
      detail: expect.stringContaining('take it out first'),
    });
  });

  test('cannot make a cycle, whatever is written', async () => {
    const { id } = await inHand();
    const { samples } = await act(201, id, 'aliquots', { aliquots: [{ barcode: `${id}-1` }] });
    const { tenantId, db } = api.store;
    const close = (generation: number) =>
      inTenant(db, tenantId, (tx) =>
        sql`UPDATE sample SET parent_id = ${samples[0].id}, parent_generation = ${generation - 1}, generation = ${generation}
          WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx),
      );
    // Every number for the parent breaks the link to its child, or from it.
    for (const generation of [1, 2, 3])
      await expect(close(generation)).rejects.toThrow(/foreign key|violates/);
  });
});

describe('using up', () => {
  test('takes exact amounts, never more than there is, and ends at nothing', async () => {
    const { id } = await inHand('0.3');
    const use = (status: number, amount: string, unit = 'ul') =>
      act(status, id, 'consume', { quantity: { amount, unit } });
    expect(await use(200, '0.1')).toMatchObject({
      quantity: { amount: '0.2' },
      useCount: 1,
      state: 'in_use',
    });
    expect(await use(409, '0.000201', 'ml')).toMatchObject({ code: 'QUANTITY_EXCEEDED' });
    expect(await use(200, '0.0002', 'ml')).toMatchObject({ quantity: { amount: '0' }, state: 'consumed' });
    expect(await use(409, '0.1')).toMatchObject({ code: 'SAMPLE_STATE' });
  });

  test('of two who take the last at once one gets it', async () => {
    const { id } = await inHand('10');
    const json = { quantity: { amount: '6', unit: 'ul' } };
    const replies = await Promise.all([1, 2].map(() => api.send({ path: path(id, 'consume'), json })));
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 409]);
    expect((await look(id)).quantity.amount).toBe('4');
  });

  test('without a measure takes all or nothing', async () => {
    const { id } = await stored();
    await takeOut(api.store, id);
    expect(await act(409, id, 'consume', { quantity: { amount: '1', unit: 'ul' } })).toMatchObject({
      code: 'CONFLICT',
    });
    expect(await act(200, id, 'consume', { all: true })).toMatchObject({ state: 'consumed' });
  });

  test('counts a thaw that was seen once', async () => {
    const { id } = await inHand();
    expect(await act(200, id, 'thaw')).toMatchObject({ freezeThawCount: 1, warmSince: expect.any(String) });
    expect(await act(409, id, 'thaw')).toMatchObject({ code: 'CONFLICT' });
  });
});

describe('another label', () => {
  test('replaces the old one, which stays reserved and still finds the tube, and says so', async () => {
    const { id, barcode } = await stored();
    const after = await act(200, barcode, 'barcode', {
      barcode: `${barcode}-NEW`,
      comment: 'Label came off.',
    });
    expect(after).toMatchObject({ id, barcode: `${barcode}-NEW` });
    expect(after).not.toHaveProperty('replacedBarcode');
    expect(await look(barcode)).toMatchObject({ id, barcode: `${barcode}-NEW`, replacedBarcode: barcode });
    const where = (await must(200, { path: path(barcode, 'location') })).body;
    expect(where).toMatchObject({ sampleId: id, replacedBarcode: barcode });
    expect(await look(`${barcode}-NEW`)).not.toHaveProperty('replacedBarcode');
    const other = await stored();
    expect(await act(409, other.id, 'barcode', { barcode })).toMatchObject({
      code: 'BARCODE_TAKEN',
      detail: expect.stringContaining('retired'),
    });
    const { entries } = (await must(200, { path: path(id, 'timeline') })).body;
    expect(entries.map((entry: { type: string }) => entry.type)).toContain('storage.sample.relabelled');
  });
});

describe('checking out', () => {
  test('keeps the position with the tube’s label, lists who has it, and brings it back there', async () => {
    const { id, barcode, positionId } = await stored();
    const assigneeId = api.people.research_scientist.actor.userId;
    const out = await act(200, id, 'check-out', {
      assigneeId,
      dueAt: LATER,
      comment: 'Reader.',
      sampleBarcode: barcode,
    });
    expect(out).toMatchObject({
      state: 'checked_out',
      custody: { kind: 'person', userId: assigneeId },
      witness: 'barcode',
      warmSince: expect.any(String),
    });
    const { cells } = (await must(200, { path: '/storage/locations/BOX-7/map' })).body;
    const cell = cells.find((one: { positionId: string }) => one.positionId === positionId);
    expect(cell).toMatchObject({ state: 'blocked', blockedReason: expect.stringContaining(id) });
    const { checkOuts } = (await must(200, { path: `/storage/check-outs?assignee=${assigneeId}` })).body;
    expect(checkOuts).toMatchObject([
      { sampleId: id, barcode, isOverdue: false, positionId, comment: 'Reader.' },
    ]);
    expect((await must(200, { path: '/storage/check-outs?overdue=true' })).body.checkOuts).toEqual([]);
    expect(await act(409, id, 'check-out', { dueAt: LATER })).toMatchObject({ code: 'SAMPLE_STATE' });
    expect(await act(409, id, 'check-in', { sampleBarcode: 'OTHER' })).toMatchObject({
      code: 'BARCODE_MISMATCH',
    });
    expect(await act(200, id, 'check-in', { sampleBarcode: barcode })).toMatchObject({
      state: 'stored',
      custody: { kind: 'position', positionId },
      witness: 'barcode',
    });
    expect((await must(200, { path: '/storage/check-outs' })).body.checkOuts).toEqual([]);
  });

  test('is overdue when its time is over', async () => {
    const { id } = await stored();
    await act(200, id, 'check-out', { dueAt: new Date(Date.now() + 300).toISOString() });
    await expect
      .poll(async () => (await must(200, { path: '/storage/check-outs?overdue=true' })).body.checkOuts)
      .toMatchObject([{ sampleId: id, isOverdue: true }]);
    await act(200, id, 'check-in');
  });

  test('asks for a time to come and somebody who is here', async () => {
    const { id } = await stored();
    expect((await act(422, id, 'check-out', { dueAt: '2020-01-01T00:00:00Z' })).detail).toMatch(/is over/);
    expect(
      (await act(422, id, 'check-out', { dueAt: LATER, assigneeId: api.stranger.actor.userId })).detail,
    ).toMatch(/nobody/);
    expect((await look(id)).state).toBe('stored');
  });

  test('ends where the tube is used up, and the position is free again', async () => {
    const { id, positionId } = await stored();
    await act(200, id, 'check-out', { dueAt: LATER });
    expect(await act(200, id, 'consume', { all: true })).toMatchObject({ state: 'consumed' });
    const { cells } = (await must(200, { path: '/storage/locations/BOX-7/map' })).body;
    expect(cells.find((one: { positionId: string }) => one.positionId === positionId)).toMatchObject({
      state: 'free',
    });
    expect(await act(409, id, 'check-in')).toMatchObject({ code: 'SAMPLE_STATE' });
  });

  test('knows that a person has given the position to others', async () => {
    const { id, positionId } = await stored();
    await act(200, id, 'check-out', { dueAt: LATER });
    const { cells } = (await must(200, { path: '/storage/locations/BOX-7/map' })).body;
    const { label } = cells.find((one: { positionId: string }) => one.positionId === positionId);
    await must(200, { path: '/storage/locations/BOX-7/unblock', json: { position: label } });
    expect((await act(409, id, 'check-in')).detail).toMatch(/No position waits/);
  });
});

describe('holding, losing, disposing, archiving', () => {
  test('a held sample is neither taken out nor used, until it is released', async () => {
    const { id } = await stored();
    expect(await act(200, id, 'hold', { reason: 'quality' })).toMatchObject({
      state: 'on_hold',
      holdReason: 'quality',
    });
    expect(await act(409, id, 'check-out', { dueAt: LATER })).toMatchObject({ code: 'SAMPLE_STATE' });
    await act(422, id, 'hold', { reason: 'consent_withdrawn' });
    const released = await act(200, id, 'release', { comment: 'Good.' });
    expect(released.state).toBe('stored');
    expect(released).not.toHaveProperty('holdReason');
    await must(403, {
      path: path(id, 'hold'),
      json: { reason: 'quality' },
      as: api.people.research_scientist,
    });
  });

  test('a tube is destroyed before a second person who is here, with a reason', async () => {
    const { id, positionId } = await stored();
    const dispose = (json: unknown) => act(422, id, 'dispose', json);
    expect(await dispose({ reason: 'contaminated' })).toMatchObject({ code: 'SECOND_PERSON_REQUIRED' });
    const me = api.people.lab_technician.actor.userId;
    expect((await dispose({ reason: 'contaminated', secondPersonId: me })).detail).toMatch(/somebody else/);
    const guest = api.people.guest.actor.userId;
    expect((await dispose({ reason: 'contaminated', secondPersonId: guest })).detail).toMatch(/must be a/);
    expect((await dispose({ reason: 'other', secondPersonId: second() })).detail).toMatch(/needs a comment/);
    expect((await look(id)).state).toBe('stored');
    expect(await destroy(id, 'contaminated')).toMatchObject({ state: 'disposed', witness: 'two_persons' });
    expect(await act(409, id, 'dispose', { reason: 'contaminated', secondPersonId: second() })).toMatchObject(
      { code: 'SAMPLE_STATE' },
    );
    const { cells } = (await must(200, { path: '/storage/locations/BOX-7/map' })).body;
    expect(cells.find((one: { positionId: string }) => one.positionId === positionId)).toMatchObject({
      state: 'free',
    });
    expect(await act(200, id, 'archive')).toMatchObject({ state: 'archived' });
    expect(await act(409, id, 'barcode', { barcode: 'Y' })).toMatchObject({ code: 'SAMPLE_STATE' });
    expect(await act(200, id, 'reopen')).toMatchObject({ state: 'disposed' });
    expect((await must(200, { path: '/storage/samples?state=disposed' })).body.samples).toMatchObject([
      { id },
    ]);
  });

  test('a tube given up as lost is found by a scan, and still held if it was', async () => {
    const { id, barcode } = await inHand();
    await act(200, id, 'hold', { reason: 'legal' });
    expect(await act(200, id, 'lost')).toMatchObject({
      state: 'lost',
      custody: { kind: 'unknown' },
      holdReason: 'legal',
    });
    const found = { containerBarcode: 'BOX-7', position: 'I9', sampleBarcode: barcode };
    expect(await act(200, id, 'verify', found)).toMatchObject({
      state: 'on_hold',
      custody: { kind: 'position' },
    });
  });

  test('a tube that is recorded in a box is not given up before somebody looked', async () => {
    const { id } = await stored();
    expect((await act(409, id, 'lost')).code).toBe('SAMPLE_STATE');
  });
});

describe('a withdrawn consent', () => {
  const as = () => api.people.principal_investigator;
  const withdraw = (status: number, json: unknown) =>
    must(status, { path: '/storage/consents/withdraw', json, as: as() });
  const certify = (status: number, id: string) =>
    must(status, { path: `/storage/consents/withdrawals/${id}/certificate`, json: {}, as: as() });

  test('holds every aliquot at once, says where they are, and is certified when all are gone', async () => {
    const { id: parent } = await inHand('500');
    const subject = `DONOR-${parent}`;
    const aliquots = ['1', '2', '3'].map((n) => ({ barcode: `${parent}-${n}` }));
    const { samples } = await act(201, parent, 'aliquots', { aliquots });
    const [first, used, lost] = samples.map((one: { id: string }) => one.id);
    const { samples: deeper } = await act(201, first, 'aliquots', {
      aliquots: [{ barcode: `${parent}-1-1` }],
    });
    const grandchild = deeper[0].id;
    await act(200, used, 'consume', { all: true });
    await act(200, lost, 'lost');
    await act(200, first, 'hold', { reason: 'quality' });

    const { body } = await withdraw(201, { subject, comment: 'By letter.' });
    expect(body).toMatchObject({ subject, left: 4 });
    const state = Object.fromEntries(
      body.samples.map((one: { id: string; state: string; holdReason?: string }) => [
        one.id,
        [one.state, one.holdReason],
      ]),
    );
    const held = ['on_hold', 'consent_withdrawn'];
    expect(state).toEqual({
      [parent]: held,
      [first]: held,
      [grandchild]: held,
      [lost]: ['lost', 'consent_withdrawn'],
      [used]: ['consumed', undefined],
    });
    expect((await withdraw(409, { subject })).body).toMatchObject({
      code: 'CONFLICT',
      facts: { withdrawalId: body.id },
    });
    expect((await withdraw(404, { subject: 'NOBODY' })).body.code).toBe('NOT_FOUND');

    // Nothing of it is used, released, given to somebody else, or entered any more.
    expect(await act(409, parent, 'aliquots', { aliquots: [{ barcode: 'Z' }] })).toMatchObject({
      code: 'SAMPLE_STATE',
    });
    expect(await act(409, parent, 'release')).toMatchObject({ code: 'CONSENT_WITHDRAWN' });
    const { version } = await look(parent);
    expect((await must(409, edit(parent, version, { subject: 'OTHER' }))).body.code).toBe(
      'CONSENT_WITHDRAWN',
    );
    const other = await stored();
    expect((await must(409, edit(other.id, 1, { subject }))).body.code).toBe('CONSENT_WITHDRAWN');
    expect(await act(409, parent, 'dispose', { reason: 'damaged', secondPersonId: second() })).toMatchObject({
      code: 'CONSENT_WITHDRAWN',
    });

    for (const id of [parent, first, grandchild]) await destroy(id);
    const refused = (await certify(409, body.id)).body;
    expect(refused).toMatchObject({ code: 'CONFLICT', facts: { left: [lost] } });
    // The lost one turns up, is held, and is destroyed too.
    await act(200, lost, 'verify', {
      containerBarcode: 'BOX-7',
      position: 'I8',
      sampleBarcode: `${parent}-3`,
    });
    expect((await look(lost)).state).toBe('on_hold');
    await must(404, { path: `/storage/consents/withdrawals/${body.id}/certificate`, as: as() });
    await destroy(lost);

    const certified = (await certify(200, body.id)).body;
    expect(certified).toMatchObject({
      left: 0,
      certificate: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    const raw = await api.app.request(`/storage/consents/withdrawals/${body.id}/certificate`, {
      headers: { authorization: `Bearer ${as().token}` },
    });
    const bytes = await raw.text();
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(certified.certificate.sha256);
    const certificate = JSON.parse(bytes);
    expect(certificate.samples).toHaveLength(5);
    for (const sample of certificate.samples) {
      const { rows } = await inTenant(api.store.db, api.store.tenantId, (tx) =>
        sql`SELECT 1 FROM ledger.entry WHERE tenant_id = ${api.store.tenantId} AND seq = ${sample.entry}
          AND event_id = ${sample.event_id} AND encode(leaf_hash, 'hex') = ${sample.leaf_sha256}`.execute(tx),
      );
      expect(rows).toHaveLength(1);
    }
    expect(bytes).not.toContain(subject);
    expect((await certify(200, body.id)).body.certificate).toEqual(certified.certificate);
    const { withdrawals } = (await must(200, { path: '/storage/consents/withdrawals', as: as() })).body;
    expect(withdrawals).toMatchObject([{ id: body.id, isCertified: true }]);
  });

  test('of one sample takes what was taken from it, not what it was taken from', async () => {
    const { id: parent } = await inHand();
    const { samples } = await act(201, parent, 'aliquots', { aliquots: [{ barcode: `${parent}-1` }] });
    const { body } = await withdraw(201, { sample: `${parent}-1` });
    expect(body.samples.map((one: { id: string }) => one.id)).toEqual([samples[0].id]);
    expect((await look(parent)).state).toBe('in_use');
  });

  test('and an aliquot taken at the same moment: none is forgotten', async () => {
    const { id } = await inHand();
    const [taken, withdrawn] = await Promise.all([
      api.send({ path: path(id, 'aliquots'), json: { aliquots: [{ barcode: `${id}-1` }] } }),
      withdraw(201, { sample: id }),
    ]);
    expect([201, 409]).toContain(taken.status);
    expect(withdrawn.body.samples).toHaveLength(taken.status === 201 ? 2 : 1);
  });
});

test('the database derives the same state as the table of the domain', async () => {
  const { rows } = await inTenant(api.store.db, api.store.tenantId, (tx) =>
    sql<StateFacts & { state: string }>`SELECT state, standing, custody, is_checked_out AS "isCheckedOut",
      entered_storage_at IS NOT NULL AS "hasBeenStored" FROM sample`.execute(tx),
  );
  expect(new Set(rows.map((row) => row.state)).size).toBeGreaterThan(5);
  for (const row of rows) expect(stateOf(row)).toBe(row.state);
});
