import {
  Client,
  ServiceError,
  type WorkflowClientInterceptor,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createStorageActivities } from '../../activities/storage.ts';
import { createApp } from '../../api/app.ts';
import { jobById } from '../../db/jobs.ts';
import { Problem } from '../../schemas/problem.ts';
import { openApi, type TestApi } from '../setup/api.ts';
import { addLocation } from '../setup/store.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openApi({ worker: true });
  const site = await addLocation(api.store, { type: 'site', name: 'Site' });
  const freezer = await addLocation(api.store, { type: 'freezer', name: 'Freezer', parent: site });
  await addLocation(api.store, { type: 'box_9x9', name: 'Box', parent: freezer, barcode: 'BOX' });
});
afterAll(() => api.close());

/** A placement by hand that waits for its scan. */
async function waiting(barcode: string, position: string): Promise<string> {
  const json = { barcode, type: 'plasma', zone: '-80', target: { location: 'BOX', position } };
  const { status, body } = await api.send({ path: '/storage/samples', json });
  expect(status).toBe(202);
  return body.job.id;
}

test('a key that came with one scan is refused with another, also when the first was refused', async () => {
  const path = `/automation/jobs/${await waiting('TUBE-1', 'A1')}/confirm`;
  const headers = { 'idempotency-key': crypto.randomUUID() };
  const right = { sampleBarcode: 'TUBE-1', containerBarcode: 'BOX', position: 'A1' };
  const wrong = { ...right, sampleBarcode: 'NOT-THIS' };
  for (const json of [wrong, wrong]) {
    expect((await api.send({ path, json, headers })).body.code).toBe('BARCODE_MISMATCH');
  }
  const reused = await api.send({ path, json: right, headers });
  expect([reused.status, reused.body.code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED']);
  const stored = await api.send({ path, json: right, headers: { 'idempotency-key': crypto.randomUUID() } });
  expect(stored.body.state).toBe('COMPLETED');
});

test('of two scans that come with one key at once, one is taken and the other refused', async () => {
  const path = `/automation/jobs/${await waiting('TUBE-3', 'A3')}/confirm`;
  const headers = { 'idempotency-key': crypto.randomUUID() };
  const scan = { sampleBarcode: 'TUBE-3', containerBarcode: 'BOX', position: 'A3' };
  const replies = await Promise.all(
    [scan, { ...scan, sampleBarcode: 'NOT-THIS' }].map((json) => api.send({ path, json, headers })),
  );
  const codes = replies.map(({ status, body }) => (status === 200 ? 'stored' : body.code));
  expect(codes).toContain('IDEMPOTENCY_KEY_REUSED');
  expect(codes.filter((code) => code !== 'IDEMPOTENCY_KEY_REUSED')).toHaveLength(1);
});

type StartUpdate = NonNullable<WorkflowClientInterceptor['startUpdate']>;

/** Sends a message through an API whose calls to the workflow service go wrong as the test wants. */
async function through(startUpdate: StartUpdate, path: string, json: unknown, key?: string) {
  const temporal = new Client({
    connection: api.dependencies.temporal.connection,
    namespace: api.namespace,
    interceptors: { workflow: [{ startUpdate }] },
  });
  const { token } = api.people.lab_technician;
  const reply = await createApp({ ...api.dependencies, temporal }).request(path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      ...(key !== undefined && { 'idempotency-key': key }),
    },
    body: JSON.stringify(json),
  });
  const body: unknown = await reply.json();
  return { status: reply.status, body };
}

const gaveUp = new ServiceError('Workflow Update failed', { cause: new Error('9 FAILED_PRECONDITION') });

test('a scan whose answer was lost is answered under its key, also when the job is over', async () => {
  const path = `/automation/jobs/${await waiting('TUBE-4', 'A4')}/confirm`;
  const json = { sampleBarcode: 'TUBE-4', containerBarcode: 'BOX', position: 'A4' };
  const key = crypto.randomUUID();
  const losing: StartUpdate = async (input, next) => {
    await next(input);
    throw gaveUp;
  };
  expect(await through(losing, path, json, key)).toMatchObject({ body: { code: 'JOB_FINISHED' } });
  const again = await api.send({ path, json, headers: { 'idempotency-key': key } });
  expect([again.status, again.body.state]).toEqual([200, 'COMPLETED']);
  const stranger = await api.send({ path, json, headers: { 'idempotency-key': crypto.randomUUID() } });
  expect([stranger.status, stranger.body.code]).toEqual([409, 'JOB_FINISHED']);
});

describe('a message that the workflow service gives up', () => {
  /** A job that ends in this state, by what somebody else asked, while the message is on its way. */
  const ending =
    (jobId: string, state: 'CANCELLED' | 'FAILED', failure: Error): StartUpdate =>
    async () => {
      const { actor } = api.people.lab_technician;
      const job = await jobById(api.dependencies.db, actor.tenantId, jobId);
      if (!job) throw new Error('the job was not written');
      const ref = { actor: job.actor, jobId, workflowId: job.workflowId, step: 'finish' };
      await createStorageActivities({ db: api.dependencies.db }).finishJob(ref, state, 'Ended.');
      throw failure;
    };
  const gone = new WorkflowNotFoundError('workflow execution already completed', 'w', undefined);

  test('is asked to come back while the job lives', async () => {
    const path = `/automation/jobs/${await waiting('TUBE-2', 'A2')}/cancel`;
    expect(await through(() => Promise.reject(gaveUp), path, {})).toMatchObject({
      status: 503,
      body: { code: 'WORKFLOWS_UNAVAILABLE' },
    });
  });

  test.each([gaveUp, gone])(
    'is no failure when it asked for the end the job has come to: %s',
    async (how) => {
      const jobId = await waiting(`TUBE-${how.name}`, how === gone ? 'B1' : 'B2');
      const path = `/automation/jobs/${jobId}/cancel`;
      expect(await through(ending(jobId, 'CANCELLED', how), path, {})).toMatchObject({
        status: 202,
        body: { id: jobId, state: 'CANCELLED' },
      });
    },
  );

  test('is told of another end than the one it asked for', async () => {
    const jobId = await waiting('TUBE-5', 'A5');
    const path = `/automation/jobs/${jobId}/cancel`;
    const told = await through(ending(jobId, 'FAILED', gaveUp), path, {});
    expect(told).toMatchObject({ status: 409, body: { code: 'JOB_FINISHED' } });
    expect(Problem.parse(told.body).detail).toContain('FAILED');
    // A job that was over before somebody wanted to cancel it cannot be cancelled.
    expect((await api.send({ path, json: {} })).status).toBe(409);
  });
});
