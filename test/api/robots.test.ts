import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { enrolledRobots } from '../../db/gateway.ts';
import { enrolStation } from '../../db/identity.ts';
import { inTenant } from '../../db/tenancy.ts';
import { holdRobot } from '../../db/turns.ts';
import { PRIORITIES } from '../../domain/priority.ts';
import { PriorityName } from '../../schemas/automation.ts';
import { CONTROL_QUEUE, workflowIds } from '../../workflows/ids.ts';
import { RECONCILE_JOB, type ReconcileInput } from '../../workflows/messages/reconcile.ts';
import { type ApiReply, openApi, type Person, type TestApi } from '../setup/api.ts';
import { addLocation, positionsOf, storeSample } from '../setup/store.ts';

let api: TestApi;
let robotId: string;
let atRobot: Person;
let elsewhere: Person;
let box: string;

beforeAll(async () => {
  // A busy machine may take longer than a person would wait; here it is told all the same.
  api = await openApi({ worker: true, limits: { earlyAnswerMs: 60_000, answerMs: 60_000 } });
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
    robotAddress: { cassette: 0, level: 0 },
  });
  box = await addLocation(store, {
    type: 'box_9x9',
    name: 'Box',
    parent: freezer,
    barcode: 'BOX',
    robotAddress: { cassette: 1, level: 1 },
  });
  await addLocation(store, { type: 'box_9x9', name: 'Other box', parent: freezer, barcode: 'OTHER' });
});
afterAll(() => api.close());

const enrol = (changed: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  api.send({
    path: '/automation/robots',
    as: api.people.lab_administrator,
    json: {
      name: 'Robot',
      store: 'STORE',
      handoff: 'HANDOFF',
      host: '127.0.0.1',
      port: 1502,
      gate: 'Gate north',
      ...changed,
    },
    headers,
  });
const command = (json: unknown, as: Person = atRobot) =>
  api.send({ path: `/automation/robots/${robotId}/command`, json, as });
const robot = async () => (await api.send({ path: '/automation/robots' })).body.robots[0];

async function eventually<T>(look: () => Promise<T>, wanted: (value: T) => boolean): Promise<T> {
  const end = Date.now() + 20_000;
  for (;;) {
    const value = await look();
    if (wanted(value)) return value;
    if (Date.now() > end) throw new Error(`it stayed ${JSON.stringify(value)}`);
    await sleep(30);
  }
}

describe('enrolling a robot', () => {
  test('is refused for a hand-off that is none, and changes nothing', async () => {
    const reply = await enrol({ handoff: 'BOX' });
    expect(reply.status).toBe(422);
    expect(reply.body.errors[0].pointer).toBe('/handoff');
    expect((await api.send({ path: '/automation/robots' })).body.robots).toEqual([]);
  });

  test('enters it once, also when asked twice with one key', async () => {
    const key = { 'idempotency-key': 'enrol-1' };
    const first = await enrol({}, key);
    expect(first.status).toBe(201);
    robotId = first.body.id;
    const again = await enrol({}, key);
    expect([again.status, again.body]).toEqual([201, first.body]);
    const other = await enrol();
    expect([other.status, other.body.code]).toEqual([409, 'NAME_TAKEN']);
    expect(await robot()).toMatchObject({
      id: robotId,
      driver: 'modbus',
      gate: 'Gate north',
      dispatch: 'running',
      connected: false,
      faults: [],
      queue: [],
    });
    const { actor } = api.people.lab_technician;
    const person = async (name: string, standsAt: string | null): Promise<Person> => {
      const station = await enrolStation(
        api.lab.app,
        { actor: api.lab.administrator },
        { name, robotId: standsAt },
      );
      const seated = { ...actor, stationId: station.id };
      return { actor: seated, ...(await api.tokenFor(seated)) };
    };
    atRobot = await person('At the robot', robotId);
    elsewhere = await person('Elsewhere', null);
  });
});

describe('commands', () => {
  test('pause from anywhere, resume only from the station at the robot', async () => {
    expect((await command({ command: 'pause' }, elsewhere)).status).toBe(200);
    await eventually(robot, ({ dispatch }) => dispatch === 'paused');
    for (const person of [elsewhere, api.people.lab_administrator]) {
      const refused = await command({ command: 'resume' }, person);
      expect([refused.status, refused.body.code]).toEqual([403, 'STATION_REQUIRED']);
    }
    expect((await robot()).dispatch).toBe('paused');
    expect((await command({ command: 'resume', reason: 'clean again' })).status).toBe(200);
    await eventually(robot, ({ dispatch }) => dispatch === 'running');
    expect((await command({ command: 'maintenance' })).status).toBe(200);
    await eventually(robot, ({ dispatch }) => dispatch === 'maintenance');
    await command({ command: 'resume' });
  });

  test('a named fault is cleared at the robot, and only that one', async () => {
    const faultId = crypto.randomUUID();
    await inTenant(api.lab.app, api.lab.tenantId, (tx) => holdRobot(tx, api.lab.tenantId, robotId, faultId));
    await eventually(robot, ({ heldFaultId }) => heldFaultId === faultId);
    const resumed = await command({ command: 'resume' });
    expect([resumed.status, resumed.body.code]).toEqual([409, 'ROBOT_UNAVAILABLE']);
    const stale = await command({ command: 'clear', faultId: crypto.randomUUID() });
    expect([stale.status, stale.body.code]).toEqual([409, 'STALE_ANSWER']);
    expect(stale.body.facts.faultId).toBe(faultId);
    expect((await command({ command: 'clear', faultId }, elsewhere)).status).toBe(403);
    const cleared = await command({ command: 'clear', faultId });
    expect(cleared.status).toBe(200);
    expect([cleared.body.heldFaultId, cleared.body.faults]).toEqual([undefined, []]);
    expect((await command({ command: 'clear', faultId })).body.code).toBe('STALE_ANSWER');
  });

  test('paused now, it is resumed at the robot before anything else', async () => {
    const paused = await command({ command: 'pause', when: 'now' }, elsewhere);
    expect([paused.status, paused.body.dispatch]).toEqual([200, 'paused_now']);
    const refused = await command({ command: 'maintenance' }, elsewhere);
    expect([refused.status, refused.body.code]).toEqual([409, 'CONFLICT']);
    expect((await command({ command: 'resume' }, elsewhere)).body.code).toBe('STATION_REQUIRED');
    expect((await command({ command: 'resume' })).body.dispatch).toBe('running');
    const wrong = await command({ command: 'pause', when: 'later' });
    expect([wrong.status, wrong.body.errors[0].pointer]).toEqual([422, '/when']);
  });

  test('priorities have the names that the API lists', () => {
    expect([...PriorityName.options]).toEqual(Object.keys(PRIORITIES));
  });

  test('there is no raw motion', async () => {
    for (const raw of ['pick', 'place', 'scan', 'move']) {
      expect((await command({ command: raw })).status).toBe(422);
    }
  });
});

test('a job by robot waits for its tube in the hand-off, and the cancelled one gives everything back', async () => {
  const started = await api.send({
    path: '/storage/samples',
    json: { barcode: 'TUBE-1', type: 'plasma', zone: '-80', mode: 'robot', target: { within: 'STORE' } },
  });
  expect(started.status).toBe(202);
  expect(started.body.handoff.label).toBeTruthy();
  const path = `/automation/jobs/${started.body.job.id}`;
  const notYet = await api.send({ path: `${path}/hand-over`, json: { sampleBarcode: 'TUBE-1' } });
  expect([notYet.status, notYet.body.code]).toEqual([409, 'NOT_WAITING']);
  const cancelled = await api.send({ path: `${path}/cancel`, json: {} });
  expect([cancelled.status, cancelled.body.code]).toEqual([202, undefined]);
  const over = await eventually(
    () => api.send({ path }),
    ({ body }) => body.finishedAt !== undefined,
  );
  expect(over.body.state).toBe('CANCELLED');
});

test('a job by robot says what it waits for, and only who stands at the robot declares it fit', async () => {
  expect((await command({ command: 'pause' })).status).toBe(200);
  const started = await api.send({
    path: '/storage/samples',
    json: { barcode: 'TUBE-3', type: 'plasma', zone: '-80', mode: 'robot', target: { within: 'STORE' } },
  });
  const path = `/automation/jobs/${started.body.job.id}`;
  expect((await api.send({ path })).body.waitingFor).toEqual({ kind: 'confirm' });
  const scan = {
    sampleBarcode: 'TUBE-3',
    containerBarcode: 'HANDOFF',
    position: started.body.handoff.label,
  };
  expect((await api.send({ path: `${path}/confirm`, json: scan })).status).toBe(200);
  const queued = await eventually(
    () => api.send({ path }),
    ({ body }) => body.robotId !== undefined,
  );
  expect(queued.body.waitingFor).toEqual({ kind: 'robot_turn', robotId });

  const { temporal } = api.dependencies;
  const jobId: string = started.body.job.id;
  await temporal.workflow.getHandle(workflowIds.placement(api.lab.tenantId, jobId)).terminate('by the test');
  const input: ReconcileInput = { jobId, actor: api.lab.administrator, cause: 'workflow_terminated' };
  await temporal.workflow.start(RECONCILE_JOB, {
    workflowId: workflowIds.reconcile(api.lab.tenantId, jobId),
    taskQueue: CONTROL_QUEUE,
    args: [input],
  });
  const asked = await eventually(
    () => api.send({ path }),
    ({ body }) => body.state === 'AWAITING_OPERATOR',
  );
  expect(asked.body.waitingFor).toEqual({ kind: 'decision' });
  expect(asked.body.question.robotId).toBe(robotId);
  const { faultId } = asked.body.question;
  const decide = (robotFit: boolean, as: Person) =>
    api.send({
      path: `${path}/decision`,
      as,
      json: { faultId, answer: 'with_me', sampleBarcode: 'TUBE-3', robotFit, lockedOut: true },
    });
  for (const person of [elsewhere, api.people.lab_administrator]) {
    const refused = await decide(true, person);
    expect([refused.status, refused.body.code]).toEqual([403, 'STATION_REQUIRED']);
  }
  expect((await robot()).heldFaultId).toBe(faultId);
  // Where the tube is may be said from anywhere; the robot stays held then.
  expect((await decide(false, elsewhere)).status).toBe(200);
  expect((await robot()).heldFaultId).toBe(faultId);
  expect((await command({ command: 'clear', faultId })).status).toBe(200);
  expect((await command({ command: 'resume' })).status).toBe(200);
});

test('the operator is asked when a workflow is gone; a stale answer is refused, the true one taken', async () => {
  const [position] = await positionsOf(api.store, box);
  await storeSample(api.store, { barcode: 'TUBE-2', positionId: position ?? '' });
  const { temporal } = api.dependencies;
  const started = await api.send({
    path: '/storage/moves',
    json: { sample: 'TUBE-2', target: { within: 'OTHER' } },
  });
  const jobId: string = started.body.job.id;
  await temporal.workflow
    .getHandle(workflowIds.move(api.lab.tenantId, jobId))
    .terminate('pulled away by the test');
  const input: ReconcileInput = { jobId, actor: api.lab.administrator, cause: 'workflow_terminated' };
  await temporal.workflow.start(RECONCILE_JOB, {
    workflowId: workflowIds.reconcile(api.lab.tenantId, jobId),
    taskQueue: CONTROL_QUEUE,
    args: [input],
  });
  const path = `/automation/jobs/${jobId}`;
  const asked: ApiReply = await eventually(
    () => api.send({ path }),
    ({ body }) => body.state === 'AWAITING_OPERATOR',
  );
  const { faultId } = asked.body.question;
  expect(asked.body.question).toMatchObject({
    kind: 'workflow_gone',
    detail: expect.any(String),
    answers: ['at_source', 'at_target', 'with_me', 'elsewhere', 'damaged', 'not_found'].map((answer) => ({
      answer,
      does: expect.any(String),
    })),
    source: { positionId: position },
  });
  const decide = (changed: Record<string, unknown>, as: Person = atRobot) =>
    api.send({
      path: `${path}/decision`,
      as,
      json: { faultId, answer: 'at_source', sampleBarcode: 'TUBE-2', robotFit: true, ...changed },
    });
  expect((await decide({}, api.people.research_scientist)).status).toBe(403);
  const stale = await decide({ faultId: crypto.randomUUID() });
  expect([stale.status, stale.body.code]).toEqual([409, 'STALE_ANSWER']);
  const wrong = await decide({ sampleBarcode: 'TUBE-X' });
  expect([wrong.status, wrong.body.code]).toEqual([409, 'BARCODE_MISMATCH']);
  const taken = await decide({ comment: 'It never left.' });
  expect(taken.status).toBe(200);
  const over = await eventually(
    () => api.send({ path }),
    ({ body }) => body.finishedAt !== undefined,
  );
  expect(over.body.question).toBeUndefined();
  expect((await decide({})).body.code).toBe('JOB_FINISHED');
});

test('a robot is entered with what its controller speaks; a driver there is not is refused', async () => {
  const { store } = api;
  const site = await addLocation(store, { type: 'site', name: 'Site 2' });
  const freezer = await addLocation(store, {
    type: 'freezer',
    name: 'Store 2',
    parent: site,
    barcode: 'STORE-2',
  });
  await addLocation(store, {
    type: 'handoff',
    name: 'Hand-off 2',
    parent: freezer,
    barcode: 'HANDOFF-2',
    robotAddress: { cassette: 0, level: 0 },
  });
  const second = { name: 'Second', store: 'STORE-2', handoff: 'HANDOFF-2', port: undefined };
  const refused = await enrol({ ...second, driver: 'telepathy' });
  expect([refused.status, refused.body.errors[0].pointer]).toEqual([422, '/driver']);
  expect(refused.body.errors[0].detail).toMatch(/modbus.*ascii/);
  const ascii = await enrol({ ...second, driver: 'ascii' });
  expect([ascii.status, ascii.body.driver]).toEqual([201, 'ascii']);
  const modbus = await enrol({ ...second, name: 'Third' });
  expect([modbus.status, modbus.body.driver]).toEqual([201, 'modbus']);
  const { robots } = (await api.send({ path: '/automation/robots' })).body;
  expect(robots.map(({ driver }: { driver: string }) => driver)).toEqual(['modbus', 'ascii', 'modbus']);
  const entered = (await enrolledRobots(api.lab.app)).filter(({ tenantId }) => tenantId === api.lab.tenantId);
  const ports = entered.map(({ name, driver, port }) => [name, driver, port]);
  expect(ports.toSorted()).toEqual([
    ['Robot', 'modbus', 1502],
    ['Second', 'ascii', 8501],
    ['Third', 'modbus', 502],
  ]);
});
