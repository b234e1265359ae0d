import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { enrolRobot } from '../../db/robots.ts';
import type { TurnRequest } from '../../domain/turns.ts';
import { workflowIds } from '../../workflows/ids.ts';
import { AT_WORK, type Job, ProcessLab } from '../setup/process-lab.ts';
import { addLocation } from '../setup/store.ts';

let lab: ProcessLab;
let storeId: string;
beforeEach(async () => {
  lab = await ProcessLab.open();
  const [robot] = await lab.rows<{ store_id: string }>(sql`SELECT store_id FROM robot`);
  storeId = String(robot?.store_id);
});
afterEach(() => lab.close());

/** A robot with the hand-off of the first, at work. */
async function addRobot(
  name: string,
  change: { storeId?: string; handoffId?: string; gate?: string } = {},
): Promise<string> {
  const { id } = await enrolRobot(lab.store.db, lab.store.context, {
    name,
    driver: 'modbus',
    storeId: change.storeId ?? storeId,
    handoffId: change.handoffId ?? lab.handoff,
    host: '127.0.0.1',
    port: 1503,
    unitId: 1,
    ...(change.gate && { gate: change.gate }),
  });
  await lab.rows(sql`UPDATE robot_state SET connected = true WHERE robot_id = ${id}`);
  return id;
}
/** A retrieval that asks for its robot's turn. */
async function asking(): Promise<{ readonly job: Job; readonly request: TurnRequest }> {
  const tube = await lab.storedTube();
  const job = await lab.retrieval(tube.sampleId, 'robot');
  await job.reserved(AT_WORK);
  await lab.robots.requestTurn(job.ref('request-turn/1'), lab.robotId, 20, 1);
  const { args } = lab.signals.at(-1) ?? {};
  return { job, request: args?.[0] as TurnRequest };
}
const grant = (robotId: string, request: TurnRequest) =>
  lab.robots.grantTurn(lab.store.tenantId, robotId, request, []);
const handOver = (...requests: TurnRequest[]) =>
  lab.robots.handQueueOver(lab.store.tenantId, lab.robotId, requests);
const robotOf = async (job: Job) => (await job.row()).robotId;
/** The robots that were told something since, by the ids of their workflows. */
function toldOf(signal: string, since: number): string[] {
  return lab.signals.slice(since).flatMap((sent) => (sent.signal === signal ? [sent.workflowId] : []));
}
const entity = (robotId: string) => workflowIds.robot(lab.store.tenantId, robotId);

describe('a queue that is handed over', () => {
  test('goes to the robot that can do the work, with its age; the robot it came from grants nothing any more', async () => {
    const other = await addRobot('R2');
    const { job, request } = await asking();
    const since = lab.signals.length;
    expect(await handOver(request)).toEqual([{ jobId: job.id, turn: 1 }]);
    expect(await robotOf(job)).toBe(other);
    expect(lab.signals.slice(since)).toEqual([
      { workflowId: entity(other), signal: 'request', args: [request] },
    ]);
    const { steps } = await job.row();
    expect(steps.at(-1)).toMatchObject({
      outcome: 'handed_over',
      detail: { from: lab.robotId, robotId: other, turn: 1 },
    });
    // Asked again because the answer was lost, it says the same.
    expect(await handOver(request)).toEqual([{ jobId: job.id, turn: 1 }]);
    expect(await grant(lab.robotId, request)).toBeNull();
    expect(await lab.robots.loadRobot(lab.store.tenantId, lab.robotId)).toMatchObject({ queue: [] });
    expect(await lab.robots.loadRobot(lab.store.tenantId, other)).toMatchObject({ queue: [request] });
    expect(await grant(other, request)).toEqual({ fence: 1 });
    expect(lab.signals.at(-1)).toEqual({
      workflowId: job.workflowId,
      signal: 'turnGranted',
      args: [{ turn: 1, fence: 1, robotId: other }],
    });
    // The job that has not heard of it gives back what it has, where it has it.
    const before = lab.signals.length;
    await job.endTurn(1);
    expect(toldOf('release', before).sort()).toEqual([entity(lab.robotId), entity(other)].sort());
    expect(await lab.rows(sql`SELECT FROM robot_turn WHERE job_id IS NOT NULL`)).toEqual([]);
  });

  test('a change of priority follows the job to its robot', async () => {
    const other = await addRobot('R2');
    const { job, request } = await asking();
    await handOver(request);
    const since = lab.signals.length;
    await lab.robots.requestTurn(job.ref('request-turn/1/1'), lab.robotId, 80, 1, 1);
    expect(toldOf('request', since)).toEqual([entity(other)]);
    expect(await robotOf(job)).toBe(other);
    // One that reached the first robot late is passed on by it.
    const late = { ...request, priority: 90, revision: 2 };
    expect(await grant(lab.robotId, late)).toBeNull();
    expect(lab.signals.at(-1)).toEqual({ workflowId: entity(other), signal: 'request', args: [late] });
  });

  test('goes to the one with the fewest jobs', async () => {
    const others = [await addRobot('R2'), await addRobot('R3')];
    const asked = [await asking(), await asking(), await asking(), await asking()];
    expect(await handOver(...asked.map(({ request }) => request))).toHaveLength(4);
    const went = await Promise.all(asked.map(({ job }) => robotOf(job)));
    for (const each of others) expect(went.filter((robotId) => robotId === each)).toHaveLength(2);
  });

  test('stays where no other robot can do the work', async () => {
    const site = await addLocation(lab.store, { type: 'site', name: 'Elsewhere' });
    const freezer = await addLocation(lab.store, { type: 'freezer', name: 'F2', parent: site });
    const handoff = await addLocation(lab.store, {
      type: 'handoff',
      name: 'H2',
      parent: freezer,
      isHandoff: true,
      robotAddress: { cassette: 9, level: 1 },
    });
    await addRobot('another store', { storeId: freezer });
    await addRobot('another hand-off', { handoffId: handoff });
    const { job, request } = await asking();
    const stays = async () => {
      expect(await handOver(request)).toEqual([]);
      expect(await robotOf(job)).toBe(lab.robotId);
    };
    await stays();
    const able = await addRobot('R2');
    for (const not of [
      sql`connected = false`,
      sql`dispatch = 'maintenance'`,
      sql`dispatch = 'paused'`,
      sql`held_fault_ids = ARRAY[gen_random_uuid()]`,
    ]) {
      await lab.rows(sql`UPDATE robot_state SET ${not} WHERE robot_id = ${able}`);
      await stays();
      await lab.rows(sql`UPDATE robot_state SET connected = true, dispatch = 'running', held_fault_ids = '{}'
        WHERE robot_id = ${able}`);
    }
    expect(await handOver(request)).toHaveLength(1);
  });

  test('stays when its tube was touched, while it has the turn, and when the job is over', async () => {
    await addRobot('R2');
    const { job, request } = await asking();
    await job.takeTurn();
    expect(await handOver(request)).toEqual([]);
    const { place } = (await job.row()).result as { place: { positionId: string } };
    const commandId = await job.submit('pick', place.positionId);
    await lab.send(commandId);
    await lab.settle(commandId, 'DONE', {});
    await job.endTurn(1);
    expect(await handOver({ ...request, turn: 2 })).toEqual([]);
    const next = await asking();
    await lab.storage.finishJob(next.job.ref('finish'), 'CANCELLED', 'Nobody wants it.');
    expect(await handOver(next.request)).toEqual([]);
    expect(await robotOf(job)).toBe(lab.robotId);
  });
});

describe('robots that share a gate', () => {
  let [here, there] = ['', ''];
  beforeEach(async () => {
    here = await addRobot('R2', { gate: 'north' });
    there = await addRobot('R3', { gate: 'north' });
  });
  /** A job that waits at this robot. */
  async function askingAt(robotId: string) {
    const { job, request } = await asking();
    await lab.rows(sql`UPDATE job SET robot_id = ${robotId} WHERE id = ${job.id}`);
    return { end: () => job.endTurn(1), asks: () => grant(robotId, request) };
  }

  test('have one turn at a time; who waits longest is next, and is told', async () => {
    const [first, second, other] = [await askingAt(here), await askingAt(here), await askingAt(there)];
    expect(await first.asks()).toEqual({ fence: 1 });
    expect(await other.asks()).toEqual({ taken: true });
    const since = lab.signals.length;
    await first.end();
    expect(toldOf('gateFree', since)).toEqual([entity(there)]);
    // The robot that had it last stands behind the one that waits.
    expect(await second.asks()).toEqual({ taken: true });
    expect(await other.asks()).toEqual({ fence: 1 });
    expect(await other.asks()).toEqual({ fence: 1 });
    await other.end();
    expect(toldOf('gateFree', since)).toEqual([entity(there), entity(here)]);
    expect(await second.asks()).toEqual({ fence: 2 });
  });

  test('do not wait for one that may not begin, or was not heard of for long', async () => {
    const [first, second, third] = [await askingAt(here), await askingAt(here), await askingAt(here)];
    const other = await askingAt(there);
    await first.asks();
    expect(await other.asks()).toEqual({ taken: true });
    await first.end();
    await lab.rows(sql`UPDATE robot_state SET dispatch = 'paused' WHERE robot_id = ${there}`);
    expect(await other.asks()).toMatchObject({ standing: { dispatch: 'paused' } });
    expect(await second.asks()).toEqual({ fence: 2 });
    await lab.rows(sql`UPDATE robot_state SET dispatch = 'running' WHERE robot_id = ${there}`);
    expect(await other.asks()).toEqual({ taken: true });
    await second.end();
    // Its workflow is gone, and the sweep has not started it again yet.
    await lab.rows(
      sql`UPDATE robot_turn SET gate_asked_at = now() - interval '26 seconds' WHERE robot_id = ${there}`,
    );
    expect(await third.asks()).toEqual({ fence: 3 });
  });

  test('many ask at once, and never two have a turn', async () => {
    let left: Awaited<ReturnType<typeof askingAt>>[] = [];
    for (let n = 0; n < 6; n += 1) left.push(await askingAt(n % 2 === 0 ? here : there));
    for (let round = 0; left.length > 0; round += 1) {
      if (round > 30) throw new Error('some never got their turn');
      const answers = await Promise.all(left.map(({ asks }) => asks()));
      const having = left.filter((_, n) => answers[n] && 'fence' in (answers[n] ?? {}));
      expect(having).toHaveLength(1);
      await having[0]?.end();
      left = left.filter((each) => each !== having[0]);
    }
  });
});
