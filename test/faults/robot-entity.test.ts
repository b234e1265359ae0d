import { sql } from 'kysely';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { enrolStation } from '../../db/identity.ts';
import { liveMotion } from '../../db/motion.ts';
import { inTenant } from '../../db/tenancy.ts';
import { type ApiReply, openApi, type Person, type TestApi } from '../setup/api.ts';
import { eventually, RobotCell, type Spawned, start } from '../setup/robot-cell.ts';
import { addLocation } from '../setup/store.ts';

/** A store with its robot: a simulated controller, and the robot as it is entered. */
interface Store {
  readonly name: string;
  readonly cell: RobotCell;
  readonly robotId: string;
  /** signed in at the station at the robot */
  readonly person: Person;
}

const GATE = 'north';
const CELL = ['--speed', '0.1'];
let api: TestApi;
let gateway: Spawned;
let stores: readonly [Store, Store];
let tubes = 0;

beforeAll(async () => {
  api = await openApi({ worker: true, limits: { earlyAnswerMs: 60_000, answerMs: 60_000 } });
  const site = await addLocation(api.store, { type: 'site', name: 'Site' });
  stores = [await addStore(site, 'A'), await addStore(site, 'B')];
  gateway = await start('workers/gateway.ts', ['--look-every-ms', '100', '--wire-timeout-ms', '500'], {
    STORAGE_DATABASE_URL: api.lab.database.appUrl,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TEMPORAL_NAMESPACE: api.namespace,
    LOG_LEVEL: 'warn',
    ...inject('temporalTls'),
  });
  for (const { robotId } of stores) await eventually('contact', async () => (await look(robotId)).connected);
});
afterAll(async () => {
  await gateway?.kill();
  for (const { cell } of stores ?? []) await cell.close();
  await api.close();
});

async function addStore(site: string, name: string): Promise<Store> {
  const freezer = await addLocation(api.store, {
    type: 'freezer',
    name: `Store ${name}`,
    parent: site,
    barcode: `STORE-${name}`,
  });
  const inside = { parent: freezer, robotAddress: { cassette: 1, level: 1 } };
  await addLocation(api.store, { ...inside, type: 'box_9x9', name: `Box ${name}`, barcode: `BOX-${name}` });
  await addLocation(api.store, {
    ...inside,
    type: 'handoff',
    name: `Hand-off ${name}`,
    barcode: `HANDOFF-${name}`,
    grid: { rows: 1, columns: 8, rowLabels: 'upper', columnLabels: 'number' },
    robotAddress: { cassette: 9, level: 1 },
  });
  const cell = await RobotCell.open(CELL);
  const robotId = await enrol(`Robot ${name}`, name, cell.port, { gate: GATE });
  return { name, cell, robotId, person: await personAt(robotId) };
}

async function enrol(
  name: string,
  store: string,
  port: number,
  more: Record<string, unknown> = {},
): Promise<string> {
  const reply = await api.send({
    path: '/automation/robots',
    as: api.people.lab_administrator,
    json: { name, store: `STORE-${store}`, handoff: `HANDOFF-${store}`, host: '127.0.0.1', port, ...more },
  });
  expect(reply.status).toBe(201);
  return reply.body.id;
}

async function personAt(robotId: string): Promise<Person> {
  const station = await enrolStation(
    api.lab.app,
    { actor: api.lab.administrator },
    { name: `At ${robotId}`, robotId },
  );
  const actor = { ...api.people.lab_technician.actor, stationId: station.id };
  return { actor, ...(await api.tokenFor(actor)) };
}

/** A placement by robot whose tube stands in the hand-off already. @returns the job's id */
async function place({ name, cell }: Store, change: Record<string, unknown> = {}): Promise<string> {
  tubes += 1;
  const slot = ((tubes - 1) % 8) + 1;
  const barcode = `TUBE-${tubes}`;
  const position = `A${slot}`;
  await cell.putTube(9, 1, slot, barcode);
  const { status, body } = await api.send({
    path: '/storage/samples',
    json: {
      barcode,
      type: 'plasma',
      zone: '-80',
      mode: 'robot',
      target: { within: `BOX-${name}` },
      handoff: { location: `HANDOFF-${name}`, position },
      confirmation: { sampleBarcode: barcode, containerBarcode: `HANDOFF-${name}`, position },
      ...change,
    },
  });
  expect([status, body.detail]).toEqual([202, undefined]);
  return body.job.id;
}

const rows = <R>(query: ReturnType<typeof sql<R>>) =>
  inTenant(api.lab.app, api.lab.tenantId, async (tx) => (await query.execute(tx)).rows);
const job = async (id: string): Promise<ApiReply['body']> =>
  (await api.send({ path: `/automation/jobs/${id}` })).body;
const isDone = async (id: string) => {
  const { state, result } = await job(id);
  if (['FAILED', 'CANCELLED', 'AWAITING_OPERATOR'].includes(state))
    throw new Error(`${id} is ${state}: ${JSON.stringify(result)}`);
  return state === 'COMPLETED';
};
async function look(robotId: string): Promise<ApiReply['body']> {
  const { body } = await api.send({ path: '/automation/robots' });
  return body.robots.find(({ id }: { id: string }) => id === robotId);
}
const tell = ({ robotId, person }: Store, json: Record<string, unknown>, as: Person = person) =>
  api.send({ path: `/automation/robots/${robotId}/command`, json, as });

test('paused now between pick and place, the tube stays in the carrier; resumed, it is placed, each motion once', async () => {
  const [store] = stores;
  const { cell, robotId } = store;
  const before = (await cell.log()).length;
  const id = await place(store);
  await eventually('the pick', async () => (await cell.world()).motion);
  const paused = await tell(store, { command: 'pause', when: 'now' }, api.people.lab_technician);
  expect([paused.status, paused.body.dispatch]).toEqual([200, 'paused_now']);
  const held = await eventually('a motion that is held back', async () => {
    const live = await liveMotion(api.lab.app, api.lab.tenantId, robotId);
    return live?.isHeldBack ? live : null;
  });
  expect((await cell.world()).carrier).not.toBeNull();
  expect(['scan', 'place']).toContain(held.operation);
  // It is heard of all the while: after two more looks the tube is where it was.
  const { lastContactAt } = await look(robotId);
  await eventually('further reports', async () => {
    return Date.parse((await look(robotId)).lastContactAt) > Date.parse(lastContactAt) + 200;
  });
  const world = await cell.world();
  expect([world.carrier !== null, world.motion]).toEqual([true, null]);
  expect((await job(id)).state).toBe('RUNNING');
  for (const command of ['maintenance', 'pause']) expect((await tell(store, { command })).status).toBe(409);
  expect((await tell(store, { command: 'resume' }, api.people.lab_technician)).body.code).toBe(
    'STATION_REQUIRED',
  );
  expect((await tell(store, { command: 'resume' })).status).toBe(200);
  await eventually('the tube being placed', () => isDone(id), 30_000);
  expect((await cell.log()).slice(before).map(({ operation, result }) => [operation, result])).toEqual([
    ['pick', 'done'],
    ['scan', 'done'],
    ['place', 'done'],
  ]);
});

test('what stops a robot holds it until somebody at it releases that fault, after its reset, once', async () => {
  const [store] = stores;
  const { cell, robotId } = store;
  await cell.setMode('estop');
  await cell.setDoor(true);
  const stopped = await eventually('the fault', async () => {
    const robot = await look(robotId);
    return robot.faults.length > 0 && robot.doorOpen ? robot : null;
  });
  expect(stopped).toMatchObject({ mode: 'estop', doorOpen: true, heldFaultId: stopped.faults[0].id });
  expect(stopped.faults).toEqual([
    {
      id: expect.any(String),
      kind: 'safety',
      detail: expect.stringMatching(/^Robot A stands in a safety hold: /),
      raisedAt: expect.any(String),
    },
  ]);
  const faultId = stopped.faults[0].id;
  const id = await place(store, { priority: 'URGENT' });
  await eventually('the queue', async () => (await look(robotId)).queue[0]?.priorityName === 'URGENT');
  const refusal = async (json: Record<string, unknown>) => {
    const { status, body } = await tell(store, json);
    return [status, body.code, body.detail];
  };
  const clear = { command: 'clear', faultId };
  expect(await refusal(clear)).toEqual([
    409,
    'ROBOT_UNAVAILABLE',
    'Robot A is not released yet: the controller is in mode estop, not auto. End that at the machine first.',
  ]);
  expect((await refusal({ command: 'resume' }))[1]).toBe('ROBOT_UNAVAILABLE');
  await cell.setMode('auto');
  await eventually('the reset', async () => (await look(robotId)).resetSeenAt);
  expect((await refusal(clear))[2]).toContain('a door is open');
  await cell.setDoor(false);
  await eventually('the door being shut', async () => (await look(robotId)).doorOpen === false);
  expect((await job(id)).phase).toBe('AWAITING_TURN');
  expect((await tell(store, clear, api.people.lab_technician)).body.code).toBe('STATION_REQUIRED');
  const released = await tell(store, clear);
  expect([released.status, released.body.faults]).toEqual([200, []]);
  expect((await refusal(clear)).slice(0, 2)).toEqual([409, 'STALE_ANSWER']);
  await eventually('the job', () => isDone(id), 30_000);
});

test('two robots behind one gate never have a turn at the same time, and all their jobs are done', async () => {
  const [one, other] = stores;
  const since = new Date();
  const ids = (
    await Promise.all([place(one), place(other), place(one), place(other), place(one), place(other)])
  ).flat();
  for (const id of ids) await eventually('the job', () => isDone(id), 60_000);
  // A turn lasts at least from its first order to its last result.
  const turns = await rows(sql<{ robot_id: string; from: Date; to: Date }>`
    SELECT robot_id, min(accepted_at) AS from, max(settled_at) AS to FROM motion
    WHERE accepted_at > ${since} GROUP BY robot_id, fence ORDER BY 2`);
  expect(turns).toHaveLength(ids.length);
  turns.forEach((turn, n) => {
    const next = turns[n + 1];
    if (next) expect(turn.to.getTime()).toBeLessThanOrEqual(next.from.getTime());
  });
  // Neither waits until the other has nothing left.
  const changes = turns.filter(({ robot_id }, n) => n > 0 && robot_id !== turns[n - 1]?.robot_id);
  expect(changes.length).toBeGreaterThan(1);
});

test('a robot in maintenance ends its turn; another that can reach does what waits for it', async () => {
  const [store] = stores;
  const { cell, robotId } = store;
  // It stands for a second arm in the same store: the gate keeps the two apart.
  const heir = await enrol('Robot A2', 'A', cell.port, { gate: GATE });
  await eventually('its contact', async () => (await look(heir)).connected);
  const first = await place(store);
  const waiting = [await place(store), await place(store)];
  await eventually('the first motion', async () => (await cell.world()).motion);
  await eventually('the queue', async () => (await look(robotId)).queue.length === 2);
  expect((await tell(store, { command: 'maintenance' })).status).toBe(200);
  for (const id of [first, ...waiting]) await eventually('the job', () => isDone(id), 60_000);
  expect([
    (await job(first)).robotId,
    ...(await Promise.all(waiting.map(async (id) => (await job(id)).robotId))),
  ]).toEqual([robotId, heir, heir]);
  const drained = await look(robotId);
  expect([drained.queue, drained.currentJobId]).toEqual([[], undefined]);
  // Locked out for the work, it is no fault of its own, and does not resume.
  await cell.setLockOut(true);
  await eventually('the lock-out', async () => (await look(robotId)).lockedOut);
  expect((await look(robotId)).faults).toEqual([]);
  expect((await tell(store, { command: 'resume' })).body.detail).toContain('Robot A is not resumed yet');
  await cell.setLockOut(false);
  await cell.setMode('auto');
  await eventually('its end', async () => {
    const { lockedOut, mode } = await look(robotId);
    return !lockedOut && mode === 'auto';
  });
  expect((await tell(store, { command: 'resume' })).body.dispatch).toBe('running');
});
