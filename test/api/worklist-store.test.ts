import { Client, Connection, ScheduleOverlapPolicy } from '@temporalio/client';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { ensureInventorySchedules } from '../../workers/inventory-schedule.ts';
import { workflowIds } from '../../workflows/ids.ts';
import { openApi, type TestApi } from '../setup/api.ts';
import { eventually, type Spawned, start } from '../setup/robot-cell.ts';
import { addLocation, positionsOf, storeSample } from '../setup/store.ts';
import { temporalServer } from '../setup/temporal.ts';
import { WorklistCell } from '../setup/worklist-cell.ts';

const inside = (slot: number) => ({ cassette: 1, level: 1, slot });
const HANDOFF = '9/1/1';

let api: TestApi;
let cell: WorklistCell;
let gateway: Spawned;
let robotId: string;
let slots: string[];

beforeAll(async () => {
  [api, cell] = await Promise.all([
    // A busy machine may take longer than a person would wait; here it is told all the same.
    openApi({ worker: true, limits: { earlyAnswerMs: 60_000, answerMs: 60_000 } }),
    WorklistCell.open(['--speed', '0', '--seed', '11']),
  ]);
  const { store } = api;
  const site = await addLocation(store, { type: 'site', name: 'Site' });
  const freezer = await addLocation(store, {
    type: 'freezer',
    name: 'Store',
    parent: site,
    barcode: 'STORE',
  });
  await addLocation(store, {
    type: 'handoff',
    name: 'Hand-off',
    parent: freezer,
    barcode: 'HANDOFF',
    robotAddress: { cassette: 9, level: 1 },
  });
  const box = await addLocation(store, {
    type: 'box_9x9',
    name: 'Box',
    parent: freezer,
    barcode: 'BOX',
    robotAddress: { cassette: 1, level: 1 },
  });
  slots = await positionsOf(store, box);
  for (const slot of [1, 2, 3]) {
    await storeSample(store, { barcode: `TUBE-${slot}`, positionId: String(slots[slot - 1]) });
    await cell.add(1, 1, slot, `TUBE-${slot}`);
  }
  const enrolled = await api.send({
    path: '/automation/robots',
    as: api.people.lab_administrator,
    json: {
      name: 'Vendor store',
      store: 'STORE',
      handoff: 'HANDOFF',
      host: '127.0.0.1',
      port: cell.port,
      driver: 'worklist',
    },
  });
  expect(enrolled).toMatchObject({ status: 201, body: { driver: 'worklist' } });
  robotId = enrolled.body.id;
  gateway = await start('workers/gateway.ts', ['--look-every-ms', '100'], {
    STORAGE_DATABASE_URL: api.lab.database.appUrl,
    TEMPORAL_ADDRESS: temporalServer().address,
    ...inject('temporalTls'),
    TEMPORAL_NAMESPACE: api.namespace,
  });
});
afterAll(async () => {
  await gateway?.kill();
  await api.close();
  await cell.close();
});

const jobOf = async (id: string) => (await api.send({ path: `/automation/jobs/${id}` })).body;
const custodyOf = async (barcode: string) =>
  (await api.send({ path: `/storage/samples/${barcode}/location` })).body.custody;

/** The job once it has come to this state. */
const reaches = (id: string, state: string) =>
  eventually(
    `job ${id} being ${state}`,
    async () => {
      const job = await jobOf(id);
      return job.state === state && job;
    },
    30_000,
  );

const retrieve = async (barcode: string): Promise<string> => {
  const started = await api.send({
    path: `/storage/samples/${barcode}/retrieve`,
    json: { mode: 'robot' },
  });
  expect(started).toMatchObject({ status: 202 });
  return started.body.job.id;
};

/** A comparison that was asked for now, once it has ended. */
async function compared() {
  const path = `/automation/robots/${robotId}/inventory`;
  const asked = await api.send({ path, method: 'POST' });
  expect(asked).toMatchObject({ status: 202, body: { state: 'RUNNING', cause: 'asked' } });
  return eventually(
    'the comparison having ended',
    async () => {
      const { body } = await api.send({ path });
      const found = body.comparisons.find(({ id }: { id: string }) => id === asked.body.id);
      return found.state !== 'RUNNING' && found;
    },
    30_000,
  );
}

test('a tube is fetched by the store in one transfer, read on the way, and handed over', async () => {
  const id = await retrieve('TUBE-1');
  await reaches(id, 'AWAITING_PERSON');
  expect((await custodyOf('TUBE-1')).kind).toBe('handoff');
  expect((await cell.world()).positions).toMatchObject({ [HANDOFF]: { barcode: 'TUBE-1' } });
  const job = await jobOf(id);
  const orders = job.steps.filter(({ outcome }: { outcome: string }) => outcome === 'ordered');
  expect(orders).toMatchObject([{ detail: { operation: 'transfer', positionId: slots[0] } }]);
  const handed = await api.send({
    path: `/automation/jobs/${id}/hand-over`,
    json: { sampleBarcode: 'TUBE-1' },
  });
  expect(handed.status).toBe(200);
  await reaches(id, 'COMPLETED');
  await cell.takeTube({ cassette: 9, level: 1, slot: 1 });
});

test('another tube than the one expected goes back into the cold, and the operator is asked', async () => {
  await cell.fault({ kind: 'barcode_other', barcode: 'SOMEBODY ELSE' });
  const id = await retrieve('TUBE-2');
  const job = await reaches(id, 'AWAITING_OPERATOR');
  expect(job.question).toMatchObject({ kind: 'barcode_mismatch' });
  expect(job.question.detail).toMatch(/The store brought it back to A2/);
  expect((await cell.world()).positions).toHaveProperty(['1/1/2']);
  expect((await custodyOf('TUBE-2')).kind).toBe('position');
  const decided = await api.send({
    path: `/automation/jobs/${id}/decision`,
    json: { faultId: job.question.faultId, answer: 'at_source', sampleBarcode: 'TUBE-2', robotFit: false },
  });
  expect(decided.status).toBe(200);
  await reaches(id, 'FAILED');
  const { heldFaultId } = (await api.send({ path: '/automation/robots' })).body.robots[0];
  expect(heldFaultId).toBe(job.question.faultId);
});

test('what somebody did at the store’s screen is found, one deviation a tube, once', async () => {
  await cell.screenMove(inside(3), inside(7));
  await cell.add(1, 1, 9, 'NEVER SEEN');
  const first = await compared();
  expect(first).toMatchObject({
    state: 'COMPLETED',
    counts: { tubes: 3, recorded: 2, missing: 0, moved: 1, unexpected: 1 },
    opened: 2,
  });
  expect(await compared()).toMatchObject({ state: 'COMPLETED', opened: 0 });
  const { body } = await api.send({ path: '/automation/deviations?kind=inventory_moved' });
  expect(body.deviations).toMatchObject([
    {
      kind: 'inventory_moved',
      facts: { address: '1/1/7', position_id: slots[2], found_position_id: slots[6] },
    },
  ]);
  expect(await custodyOf('TUBE-3')).toMatchObject({ kind: 'position' });
});

test('a comparison is asked for once by one key, by who keeps the store, and of stores that keep books', async () => {
  const path = `/automation/robots/${robotId}/inventory`;
  const headers = { 'idempotency-key': 'compare-1' };
  const first = await api.send({ path, method: 'POST', headers });
  expect(first.headers.get('location')).toBe(path);
  const again = await api.send({ path, method: 'POST', headers });
  expect([again.status, again.body.id]).toEqual([202, first.body.id]);
  const guest = await api.send({ path, method: 'POST', as: api.people.research_scientist });
  expect(guest).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
  const unknown = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4dff';
  for (const method of ['GET', 'POST'] as const) {
    const reply = await api.send({ path: `/automation/robots/${unknown}/inventory`, method });
    expect(reply).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
  }
  const other = await api.send({
    path: '/automation/robots',
    as: api.people.lab_administrator,
    json: { name: 'Arm', store: 'STORE', handoff: 'HANDOFF', host: '127.0.0.1', port: 9, driver: 'modbus' },
  });
  const refused = await api.send({ path: `/automation/robots/${other.body.id}/inventory`, method: 'POST' });
  expect(refused).toMatchObject({ status: 409, body: { code: 'CONFLICT' } });
  expect(refused.body.detail).toMatch(/^Arm is told each move and keeps no inventory/);
  expect((await api.send({ path: `/automation/robots/${other.body.id}/inventory` })).body).toEqual({
    comparisons: [],
  });
});

test('the comparison is scheduled once a tenant, compares, and takes a new interval', async () => {
  const { temporal: client, db } = api.dependencies;
  const { tenantId } = api.lab;
  const warned: unknown[] = [];
  const log = { info: () => undefined, warn: (facts: object) => void warned.push(facts) };
  const deps = { db, client, log };
  const stranger = api.stranger.actor.tenantId;
  const done = new Set<string>();
  await ensureInventorySchedules({ ...deps, everyMs: 3_600_000 }, [tenantId, stranger], done);
  expect([...done]).toEqual([tenantId]);
  const schedule = client.schedule.getHandle(workflowIds.inventories(tenantId));
  expect(await schedule.describe()).toMatchObject({
    spec: { intervals: [{ every: 3_600_000 }] },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: 60_000 },
  });
  await ensureInventorySchedules({ ...deps, everyMs: 7_200_000 }, [tenantId], new Set());
  expect((await schedule.describe()).spec.intervals).toMatchObject([{ every: 7_200_000 }]);
  const comparisons = async (): Promise<{ cause: string; state: string }[]> =>
    (await api.send({ path: `/automation/robots/${robotId}/inventory` })).body.comparisons;
  // One that was asked for and runs still would be given instead of another.
  await eventually(
    'no comparison being under way',
    async () => (await comparisons()).every(({ state }) => state !== 'RUNNING'),
    30_000,
  );
  await schedule.trigger();
  await eventually(
    'a scheduled comparison having ended',
    async () =>
      (await comparisons()).some(({ cause, state }) => cause === 'schedule' && state === 'COMPLETED'),
    30_000,
  );
  await schedule.delete();
  const away = new Client({ connection: Connection.lazy({ address: '127.0.0.1:9' }) });
  await ensureInventorySchedules({ ...deps, client: away, everyMs: 3_600_000 }, [tenantId], new Set());
  expect(warned).toMatchObject([{ tenant: tenantId }]);
});
