import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApp } from '../../api/app.ts';
import { freePort, until } from '../../stack/processes.ts';
import { type ApiReply, openApi, type TestApi } from '../setup/api.ts';
import { addLocation } from '../setup/store.ts';

let api: TestApi;
beforeAll(async () => {
  // A busy machine may take longer than a person would wait; here it is told all the same.
  api = await openApi({ worker: true, limits: { earlyAnswerMs: 60_000, answerMs: 60_000 } });
  const site = await addLocation(api.store, { type: 'site', name: 'Site' });
  const freezer = await addLocation(api.store, { type: 'freezer', name: 'Freezer', parent: site });
  await addLocation(api.store, { type: 'box_9x9', name: 'Box', parent: freezer, barcode: 'BOX' });
});
afterAll(() => api.close());

let tubes = 0;
/** A placement by hand that waits for its scan. */
async function waitingJob(): Promise<string> {
  const json = { barcode: `TUBE-${++tubes}`, type: 'plasma', zone: '-80', target: { within: 'BOX' } };
  const { status, body } = await api.send({ path: '/storage/samples', json });
  expect(status).toBe(202);
  return body.job.id;
}
const read = async (id: string): Promise<ApiReply['body']> =>
  (await api.send({ path: `/automation/jobs/${id}` })).body;
const signal = (id: string, json: unknown, headers: Record<string, string> = {}) =>
  api.send({ path: `/automation/jobs/${id}/signal`, json, headers });
const expedite = (priority: number, eventId: string = crypto.randomUUID()) => ({
  type: 'expedite',
  eventId,
  priority,
});
const priorityIs = (id: string, wanted: number) =>
  until(`priority ${wanted}`, 20_000, async () => (await read(id)).priority === wanted);

test('an urgent sample’s job gets the priority, and a step says who told it', async () => {
  const id = await waitingJob();
  const event = expedite(90);
  const told = await signal(id, event);
  expect([told.status, told.body.id]).toEqual([202, id]);
  await priorityIs(id, 90);
  const { steps, state } = await read(id);
  expect(state).toBe('AWAITING_PERSON');
  expect(steps).toContainEqual(
    expect.objectContaining({
      step: `expedite/${event.eventId}`,
      outcome: 'done',
      detail: { by: api.people.lab_technician.actor.userId, eventId: event.eventId, from: 20, to: 90 },
    }),
  );
});

test('an event that comes again counts once, with or without an Idempotency-Key', async () => {
  const id = await waitingJob();
  const event = expedite(80);
  const key = { 'idempotency-key': `expedite-${event.eventId}` };
  expect((await signal(id, event, key)).status).toBe(202);
  await priorityIs(id, 80);
  await signal(id, expedite(40));
  await priorityIs(id, 40);
  expect((await signal(id, event)).status).toBe(202);
  expect((await signal(id, event, key)).status).toBe(202);
  await signal(id, expedite(41)); // heard after the repeats: so were they
  await priorityIs(id, 41);
  await signal(id, { ...expedite(0), priority: 'LOW' });
  await priorityIs(id, 0);
  expect((await read(id)).priorityName).toBe('LOW');
  const steps = (await read(id)).steps.map(({ step }: { step: string }) => step);
  expect(steps.filter((step: string) => step.startsWith('expedite/'))).toHaveLength(4);
});

test('a job that is over, unknown or another laboratory’s is not told', async () => {
  const id = await waitingJob();
  await api.send({ path: `/automation/jobs/${id}/cancel`, json: {} });
  await until('the end', 20_000, async () => (await read(id)).finishedAt !== undefined);
  const over = await signal(id, expedite(90));
  expect([over.status, over.body.code, over.body.facts]).toEqual([
    409,
    'JOB_FINISHED',
    { state: 'CANCELLED' },
  ]);
  expect((await read(id)).priority).toBe(20);
  expect((await signal(crypto.randomUUID(), expedite(90))).status).toBe(404);
  const path = `/automation/jobs/${await waitingJob()}/signal`;
  expect((await api.send({ path, json: expedite(90), as: api.stranger })).status).toBe(404);
  expect((await api.send({ path, json: expedite(90), as: api.people.guest })).status).toBe(403);
});

test('what is no signal is refused, with the types there are', async () => {
  const id = await waitingJob();
  for (const json of [{ type: 'hurry', eventId: crypto.randomUUID(), priority: 1 }, { priority: 1 }]) {
    const { status, body } = await signal(id, json);
    expect([status, body.code]).toEqual([422, 'VALIDATION']);
    expect(body.errors).toEqual([{ pointer: '/type', detail: expect.stringContaining('expedite') }]);
  }
  for (const [wrong, pointer] of [
    [{ priority: 101 }, '/priority'],
    [{ priority: 1.5 }, '/priority'],
    [{ eventId: 'an event' }, '/eventId'],
    [{ note: 'please' }, '/note'],
  ] as const) {
    const { status, body } = await signal(id, { ...expedite(50), ...wrong });
    expect([status, body.errors[0].pointer]).toEqual([422, pointer]);
  }
  const { body } = await signal(id, { ...expedite(0), priority: 'ASAP' });
  expect(body.errors[0].detail).toBe(
    'should be one of SYSTEM, URGENT, HIGH, NORMAL, LOW, or be a number, but is "ASAP"',
  );
  expect((await read(id)).priority).toBe(20);
});

test('without Temporal the sender is asked to come back', async () => {
  const id = await waitingJob();
  const connection = Connection.lazy({ address: `127.0.0.1:${await freePort()}` });
  const temporal = new Client({ connection, namespace: api.namespace });
  const app = createApp({ ...api.dependencies, temporal, limits: { answerMs: 500 } });
  const reply = await app.request(`/automation/jobs/${id}/signal`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${api.people.lab_technician.token}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(expedite(90)),
  });
  expect(reply.status).toBe(503);
  expect(reply.headers.get('retry-after')).toBeTruthy();
  expect(await reply.json()).toMatchObject({ code: 'WORKFLOWS_UNAVAILABLE' });
  await connection.close();
});
