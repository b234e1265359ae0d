import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { createJobWorkflows } from '../../activities/job-workflows.ts';
import { enrolStation } from '../../db/identity.ts';
import { jobRecord } from '../../db/jobs.ts';
import { inTenant } from '../../db/tenancy.ts';
import { freePort } from '../../stack/processes.ts';
import { jobStart, jobStartOptions } from '../../workflows/messages/start.ts';
import { type ApiReply, openApi, type Person, type TestApi } from '../setup/api.ts';
import { eventually, RobotCell, type Spawned, start } from '../setup/robot-cell.ts';
import { addLocation } from '../setup/store.ts';

/** A whole robot's job, from the API to the simulator, while something around it fails or comes twice. */
let api: TestApi;
let cell: RobotCell;
let gateway: Spawned;
let operator: Person;
let tubes = 0;

const WITHIN_MS = 45_000;

beforeAll(async () => {
  api = await openApi({ worker: true, limits: { earlyAnswerMs: 60_000, answerMs: 60_000 } });
  const site = await addLocation(api.store, { type: 'site', name: 'Site' });
  const freezer = await addLocation(api.store, {
    type: 'freezer',
    name: 'Store',
    parent: site,
    barcode: 'STORE',
  });
  const inside = { parent: freezer, robotAddress: { cassette: 1, level: 1 } };
  await addLocation(api.store, { ...inside, type: 'box_9x9', name: 'Box', barcode: 'BOX' });
  await addLocation(api.store, {
    ...inside,
    type: 'handoff',
    name: 'Hand-off',
    barcode: 'HANDOFF',
    grid: { rows: 1, columns: 8, rowLabels: 'upper', columnLabels: 'number' },
    robotAddress: { cassette: 9, level: 1 },
  });
  cell = await RobotCell.open(['--speed', '0.1']);
  const robot = await api.send({
    path: '/automation/robots',
    as: api.people.lab_administrator,
    json: { name: 'Robot', store: 'STORE', handoff: 'HANDOFF', host: '127.0.0.1', port: cell.port },
  });
  const { administrator } = api.lab;
  const station = await enrolStation(
    api.lab.app,
    { actor: administrator },
    { name: 'At the robot', robotId: robot.body.id },
  );
  const actor = { ...api.people.lab_technician.actor, stationId: station.id };
  operator = { actor, ...(await api.tokenFor(actor)) };
  gateway = await start('workers/gateway.ts', ['--look-every-ms', '100', '--wire-timeout-ms', '2000'], {
    STORAGE_DATABASE_URL: api.lab.database.appUrl,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TEMPORAL_NAMESPACE: api.namespace,
    LOG_LEVEL: 'warn',
    ...inject('temporalTls'),
  });
});
afterAll(async () => {
  await gateway?.kill();
  await cell?.close();
  await api?.close();
});

/** A tube of its own in the hand-off for each test. */
let tube: { readonly barcode: string; readonly slot: number };
beforeEach(async () => {
  tubes += 1;
  tube = { barcode: `TUBE-${tubes}`, slot: tubes };
  await cell.putTube(9, 1, tube.slot, tube.barcode);
});

const order = () => {
  const position = `A${tube.slot}`;
  return api.send({
    path: '/storage/samples',
    json: {
      barcode: tube.barcode,
      type: 'plasma',
      zone: '-80',
      mode: 'robot',
      target: { within: 'BOX' },
      handoff: { location: 'HANDOFF', position },
      confirmation: { sampleBarcode: tube.barcode, containerBarcode: 'HANDOFF', position },
    },
  });
};

async function place(): Promise<string> {
  const { status, body } = await order();
  expect([status, body.detail]).toEqual([202, undefined]);
  return body.job.id;
}

const job = async (id: string): Promise<ApiReply['body']> =>
  (await api.send({ path: `/automation/jobs/${id}` })).body;

const isDone = (id: string) =>
  eventually(
    `job ${id} being done`,
    async () => {
      const { state, result } = await job(id);
      if (['FAILED', 'CANCELLED', 'AWAITING_OPERATOR'].includes(state))
        throw new Error(`${id} is ${state}: ${JSON.stringify(result)}`);
      return state === 'COMPLETED';
    },
    WITHIN_MS,
  );

/** Orders a placement, and waits until its robot stands still in the middle of the pick. */
async function placeAndFreeze(): Promise<string> {
  await cell.fault({ kind: 'freeze', when: 'before' });
  const id = await place();
  await eventually('the pick', async () => (await cell.world()).motion, WITHIN_MS);
  return id;
}

/** What the robot did with the tube of this test, by its own log. */
const motions = async (before: number) => (await cell.log()).slice(before).map(({ operation }) => operation);

test('with the broker away a robot’s job runs to its end, and its events go out once the broker is back', async () => {
  const port = String(await freePort());
  const broker = await start('stack/broker.ts', ['--port', port]);
  const relay = await start('workers/relay.ts', [], {
    STORAGE_RELAY_DATABASE_URL: api.lab.database.relayUrl,
    MQTT_BROKER_URL: `mqtt://127.0.0.1:${port}`,
    LOG_LEVEL: 'warn',
  });
  const unpublished = async () => {
    const query = sql<{ n: number }>`SELECT count(*)::int AS n FROM event WHERE published_at IS NULL`;
    const { rows } = await inTenant(api.lab.app, api.lab.tenantId, (tx) => query.execute(tx));
    return rows[0]?.n;
  };
  try {
    await eventually('all being published', async () => (await unpublished()) === 0, WITHIN_MS);
    const before = (await cell.log()).length;
    const id = await placeAndFreeze();
    await broker.kill();
    await cell.clearFaults();
    await isDone(id);
    expect(await motions(before)).toEqual(['pick', 'scan', 'place']);
    expect(await unpublished()).toBeGreaterThan(0);
    const next = await start('stack/broker.ts', ['--port', port]);
    try {
      await eventually('all being published', async () => (await unpublished()) === 0, WITHIN_MS);
    } finally {
      await next.kill();
    }
  } finally {
    await relay.kill();
    await broker.kill();
  }
}, 120_000);

test('started twice, by the sweep as well as by hand, a job has one workflow and moves its tube once', async () => {
  const before = (await cell.log()).length;
  const id = await placeAndFreeze();
  const again = await order();
  expect(again.status, again.body.detail).toBe(409);
  const { temporal } = api.dependencies;
  const record = await jobRecord(api.lab.app, api.lab.tenantId, id);
  if (record === null) throw new Error(`there is no job ${id}`);
  const runOf = async () => (await temporal.workflow.getHandle(record.workflowId).describe()).runId;
  const run = await runOf();
  const startAgain = () =>
    temporal.workflow.start(jobStart(record).workflowName, {
      ...jobStartOptions(record),
      workflowIdConflictPolicy: 'FAIL',
    });
  await createJobWorkflows(temporal).start(record);
  await expect(startAgain()).rejects.toThrow(WorkflowExecutionAlreadyStartedError);
  await cell.clearFaults();
  await isDone(id);
  await createJobWorkflows(temporal).start(record);
  await expect(startAgain()).rejects.toThrow(WorkflowExecutionAlreadyStartedError);
  expect(await runOf()).toBe(run);
  expect(await motions(before)).toEqual(['pick', 'scan', 'place']);
}, 120_000);

test('an answer for an old fault, and the second of two answers at once, are refused and move nothing', async () => {
  const before = (await cell.log()).length;
  await cell.fault({ kind: 'drop', operation: 'pick' });
  await cell.fault({ kind: 'drop', operation: 'pick' });
  const id = await place();
  const question = (than?: string) =>
    eventually(
      'the question',
      async () => {
        const { question: asked } = await job(id);
        return asked !== undefined && asked.faultId !== than ? asked : null;
      },
      WITHIN_MS,
    );
  const decide = (faultId: string) =>
    api.send({
      path: `/automation/jobs/${id}/decision`,
      as: operator,
      json: { faultId, answer: 'at_source', next: 'go_on', sampleBarcode: tube.barcode, robotFit: true },
    });
  const first = await question();
  await cell.putTube(9, 1, tube.slot, tube.barcode);
  expect((await decide(first.faultId)).status).toBe(200);
  const second = await question(first.faultId);
  const old = await decide(first.faultId);
  expect([old.status, old.body.code]).toEqual([409, 'STALE_ANSWER']);
  expect((await job(id)).question.faultId).toBe(second.faultId);
  expect(await motions(before)).toEqual(['pick', 'pick']);
  await cell.putTube(9, 1, tube.slot, tube.barcode);
  const answers = await Promise.all([decide(second.faultId), decide(second.faultId)]);
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
  await isDone(id);
  expect(await motions(before)).toEqual(['pick', 'pick', 'pick', 'scan', 'place']);
}, 120_000);

test('with the database gone after the motion the journal replays the confirmation, and nothing moves twice', async () => {
  const { name } = api.lab.database;
  const admin = new pg.Client({ connectionString: inject('postgresAdminUrl') });
  await admin.connect();
  const isOpen = (is: boolean) => admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS ${is}`);
  try {
    const before = (await cell.log()).length;
    const id = await placeAndFreeze();
    await isOpen(false);
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);
    await cell.clearFaults();
    await eventually('the end of the pick', async () => (await cell.log()).length > before, WITHIN_MS);
    await eventually('the gateway failing to write it', () =>
      gateway.output().includes('cannot write a result yet'),
    );
    await isOpen(true);
    await isDone(id);
    expect(await motions(before)).toEqual(['pick', 'scan', 'place']);
  } finally {
    await isOpen(true);
    await admin.end();
  }
}, 120_000);
