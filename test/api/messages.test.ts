import { Client, Connection, ServiceError } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
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

test('the right scan is not answered as the wrong one that came under its key', async () => {
  const path = `/automation/jobs/${await waiting('TUBE-1', 'A1')}/confirm`;
  const headers = { 'idempotency-key': crypto.randomUUID() };
  const right = { sampleBarcode: 'TUBE-1', containerBarcode: 'BOX', position: 'A1' };
  const wrong = { ...right, sampleBarcode: 'NOT-THIS' };
  for (const json of [wrong, wrong]) {
    expect((await api.send({ path, json, headers })).body.code).toBe('BARCODE_MISMATCH');
  }
  expect((await api.send({ path, json: right, headers })).status).toBe(200);
});

test('a message that the workflow service gives up is asked to come back, or told that the job has ended', async () => {
  const jobId = await waiting('TUBE-2', 'A2');
  const gaveUp = new ServiceError('Workflow Update failed', { cause: new Error('9 FAILED_PRECONDITION') });
  const cancel = async (startUpdate: () => Promise<never>) => {
    const connection = Connection.lazy({ address: '127.0.0.1:1' });
    const temporal = new Client({ connection, interceptors: { workflow: [{ startUpdate }] } });
    const { token } = api.people.lab_technician;
    const reply = await createApp({ ...api.dependencies, temporal }).request(
      `/automation/jobs/${jobId}/cancel`,
      {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: '{}',
      },
    );
    return { status: reply.status, body: Problem.parse(await reply.json()) };
  };
  expect(await cancel(() => Promise.reject(gaveUp))).toMatchObject({
    status: 503,
    body: { code: 'WORKFLOWS_UNAVAILABLE' },
  });
  // The workflow task that closed the job failed after the job was written, and the message went with it.
  const { actor } = api.people.lab_technician;
  const job = await jobById(api.dependencies.db, actor.tenantId, jobId);
  if (!job) throw new Error('the job was not written');
  const ref = { actor: job.actor, jobId, workflowId: job.workflowId, step: 'finish' };
  const ended = await cancel(async () => {
    await createStorageActivities({ db: api.dependencies.db }).finishJob(ref, 'CANCELLED', 'Cancelled.');
    throw gaveUp;
  });
  expect(ended).toMatchObject({ status: 409, body: { code: 'JOB_FINISHED' } });
  expect(ended.body.detail).toContain('CANCELLED');
});
