import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../../stack/processes.ts';
import { DueSchedules } from '../../workers/due-schedules.ts';
import { CONTROL_QUEUE, workflowIds } from '../../workflows/ids.ts';
import { RUN_DUE, type RunDueReport } from '../../workflows/messages/schedule.ts';
import { openApi, type TestApi } from '../setup/api.ts';
import { ScheduleLab } from '../setup/schedules.ts';
import { addLocation, positionsOf, storeSample } from '../setup/store.ts';

const PATH = '/automation/schedule';
const HOUR = 3_600_000;

let api: TestApi;
let schedules: ScheduleLab;
let positions: string[];
beforeAll(async () => {
  api = await openApi({ worker: true, limits: { earlyAnswerMs: 60_000 } });
  schedules = await ScheduleLab.open(api.store);
  const site = await addLocation(api.store, { type: 'site', name: 'Site' });
  const freezer = await addLocation(api.store, { type: 'freezer', name: 'F', parent: site });
  positions = await positionsOf(
    api.store,
    await addLocation(api.store, { type: 'box_9x9', name: 'B', parent: freezer, barcode: 'BOX' }),
  );
});
afterAll(async () => {
  await schedules.close();
  await api.close();
});

const temporal = () => api.dependencies.temporal;
const tenantId = () => api.store.tenantId;
const handle = () => temporal().schedule.getHandle(workflowIds.due(tenantId()));
const bootstrap = (over: { isOn?: boolean } = {}) =>
  new DueSchedules({
    db: api.store.db,
    client: temporal(),
    log: { info() {}, warn() {} },
    isOn: true,
    scanEveryMs: 1_000,
    lookEveryMs: 0,
    ...over,
  });
const stored = (barcode: string) => storeSample(api.store, { barcode, positionId: positions.shift() ?? '' });
const jobState = async (id: string) =>
  (await api.send({ path: `/automation/jobs?schedule=${id}` })).body.jobs;

async function planned(sample: string, when: object): Promise<string> {
  const json = { job: { kind: 'retrieval', sample }, when, reason: 'The control sample.' };
  const reply = await api.send({ path: PATH, json });
  expect(reply.status, JSON.stringify(reply.body)).toBe(201);
  return reply.body.id;
}

test('a due run that two scans find at once becomes one job with one workflow', async () => {
  await stored('TUBE-1');
  const id = await planned('TUBE-1', { every: { unit: 'hours', count: 1 } });
  await schedules.age(id, HOUR + 1_000);
  const scan = (n: number) =>
    temporal().workflow.execute<() => Promise<RunDueReport>>(RUN_DUE, {
      workflowId: `${workflowIds.due(tenantId())}-${n}`,
      taskQueue: CONTROL_QUEUE,
      args: [{ tenantId: tenantId() }] as never,
    });
  const reports = await Promise.all([1, 2, 3].map(scan));
  // Who came later found it done, or nothing to do.
  expect(reports.some(({ started }) => started === 1)).toBe(true);
  for (const { failed, missed, refused } of reports) expect([failed, missed, refused]).toEqual([0, 0, 0]);
  const jobs = await jobState(id);
  expect(jobs).toHaveLength(1);
  await until('the job waiting for its person', 30_000, async () => {
    return (await jobState(id))[0].state === 'AWAITING_PERSON';
  });
  const started: string[] = [];
  for await (const { workflowId } of temporal().workflow.list({
    query: `WorkflowType = 'retrieveSample' AND SampleId = '${jobs[0].sampleId}'`,
  }))
    started.push(workflowId);
  expect(started.length).toBeLessThanOrEqual(1);
  const described = await temporal()
    .workflow.getHandle(workflowIds.retrieval(tenantId(), jobs[0].id))
    .describe();
  expect(described.status.name).toBe('RUNNING');
  expect((await schedules.read(id)).runs).toBe(1);
});

test('what is planned begins by itself at its time, and the next run is told', async () => {
  await stored('TUBE-2');
  const at = new Date(Date.now() + 2_000).toISOString();
  const id = await planned('TUBE-2', { at });
  await bootstrap().ensure([tenantId()]);
  await until('the job waiting for its person', 30_000, async () => {
    return (await jobState(id))[0]?.state === 'AWAITING_PERSON';
  });
  const { body } = await api.send({ path: `${PATH}/${id}` });
  expect(body).toMatchObject({ state: 'done', lastRun: { outcome: 'started', dueAt: at } });
  const late = Date.parse(body.lastRun.at) - Date.parse(at);
  expect(late).toBeGreaterThanOrEqual(0);
  console.log(`began ${late} ms after its time, with a scan each second`);
});

test('the scan is there while something is planned, is mended, and is gone with the last of it', async () => {
  const due = bootstrap();
  await due.ensure([tenantId()]);
  const { policies, spec, action } = await handle().describe();
  expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 10_000 });
  expect(spec.intervals?.map(({ every }) => every)).toEqual([1_000]);
  expect(action).toMatchObject({ workflowType: RUN_DUE, taskQueue: CONTROL_QUEUE });
  await handle().pause('somebody in the Web UI');
  await due.ensure([tenantId()]);
  expect((await handle().describe()).state.paused).toBe(false);
  await handle().delete();
  await due.ensure([tenantId()]);
  expect((await handle().describe()).state.paused).toBe(false);

  await bootstrap({ isOn: false }).ensure([tenantId()]);
  await expect(handle().describe()).rejects.toThrow(/not found/i);
  await due.ensure([tenantId()]);
  for (const { id, state } of (await api.send({ path: PATH })).body.schedules) {
    if (state !== 'active') continue;
    await api.send({ path: `${PATH}/${id}/cancel`, json: { reason: 'Enough.' } });
  }
  await due.ensure([tenantId()]);
  await expect(handle().describe()).rejects.toThrow(/not found/i);
});
