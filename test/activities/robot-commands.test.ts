import { Client, Connection } from '@temporalio/client';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { liveMotion } from '../../db/motion.ts';
import { inTenant } from '../../db/tenancy.ts';
import { holdRobot } from '../../db/turns.ts';
import type { RobotOrder } from '../../domain/robot-order.ts';
import { sweepRobots } from '../../workers/robot-sweep.ts';
import { workflowIds } from '../../workflows/ids.ts';
import { AT_WORK, type Job, ProcessLab } from '../setup/process-lab.ts';
import { createTestNamespace, temporalServer } from '../setup/temporal.ts';

const FAULTS = ['00000000-0000-7000-8000-00000000fa01', '00000000-0000-7000-8000-00000000fa02'] as const;

let lab: ProcessLab;
let connection: Connection;
let client: Client;
let keys = 0;
beforeAll(async () => {
  lab = await ProcessLab.open();
  connection = await Connection.connect(temporalServer());
  client = new Client({ connection, namespace: await createTestNamespace() });
});
afterAll(async () => {
  await lab.close();
  await connection.close();
});
afterEach(async () => {
  await lab.rows(sql`UPDATE robot_turn SET job_id = NULL`);
  await lab.rows(sql`UPDATE robot_state SET dispatch = 'running', held_fault_ids = '{}'`);
});

type Told = Pick<RobotOrder, 'command'> & { readonly faultId?: string; readonly when?: 'now' | 'safe_point' };

function tell(told: Told, key = `command/${++keys}`, reason: string | null = 'the gripper is bent') {
  const { actor } = lab.store.context;
  const order = { ...told, actor, reason } as RobotOrder;
  return lab.robots.commandRobot(lab.robotId, key, order);
}
const hold = (faultId: string) =>
  inTenant(lab.store.db, lab.store.tenantId, (tx) => holdRobot(tx, lab.store.tenantId, lab.robotId, faultId));

/** Asks for the turn as a process does, at the place where it waits. */
async function asking(): Promise<Job> {
  const job = await lab.placement(lab.newTube(), { mode: 'robot' });
  await job.reserved(AT_WORK);
  await lab.robots.requestTurn(job.ref('request-turn/1'), lab.robotId, 20, 1);
  return job;
}
const grantTo = (job: Job) =>
  lab.robots.grantTurn(
    lab.store.tenantId,
    lab.robotId,
    { jobId: job.id, turn: 1, workflowId: job.workflowId, priority: 20, requestedAt: 0 },
    [],
  );
const fence = async () =>
  (await lab.rows<{ fence: number }>(sql`SELECT fence FROM robot_turn WHERE robot_id = ${lab.robotId}`))[0]
    ?.fence;

describe('a turn', () => {
  test('is not begun while a fault holds the robot, whatever its workflow remembers', async () => {
    const job = await asking();
    await hold(FAULTS[0]);
    const before = await fence();
    expect(await grantTo(job)).toEqual({ standing: { dispatch: 'running', heldFaults: [FAULTS[0]] } });
    expect(await fence()).toBe(before);
    await tell({ command: 'clear', faultId: FAULTS[0] });
    expect(await grantTo(job)).toEqual({ fence: expect.any(Number) });
  });

  test.each(['pause', 'maintenance'] as const)(
    'is not begun after %s, until the robot is resumed',
    async (command) => {
      const job = await asking();
      await tell({ command });
      expect(await grantTo(job)).toMatchObject({ standing: { heldFaults: [] } });
      await tell({ command: 'resume' });
      expect(await grantTo(job)).toEqual({ fence: expect.any(Number) });
    },
  );

  test('that was begun goes on while its own fault holds the robot', async () => {
    const job = await asking();
    const granted = await grantTo(job);
    await hold(FAULTS[0]);
    await tell({ command: 'pause' });
    expect(await grantTo(job)).toEqual(granted);
  });
});

describe('paused now', () => {
  test('a robot is let go by nothing but a resume', async () => {
    await tell({ command: 'pause', when: 'now' });
    const kept = { answer: { outcome: 'refused', refusal: { code: 'CONFLICT' } } };
    expect(await tell({ command: 'maintenance' })).toMatchObject(kept);
    expect(await tell({ command: 'pause', when: 'safe_point' })).toMatchObject(kept);
    expect(await tell({ command: 'pause', when: 'now' })).toMatchObject({
      standing: { dispatch: 'paused_now' },
    });
    expect(await tell({ command: 'resume' })).toMatchObject({ standing: { dispatch: 'running' } });
  });

  test('nothing that was accepted is sent, until it is resumed; what was sent goes on', async () => {
    const job = await asking();
    await job.takeTurn();
    const places = await lab.rows<{ id: string }>(sql`
      SELECT id FROM position WHERE job_id = ${job.id} AND container_id = ${lab.handoff}`);
    await tell({ command: 'pause', when: 'now' });
    const commandId = await job.submit('pick', places[0]?.id ?? '');
    const live = () => liveMotion(lab.store.db, lab.store.tenantId, lab.robotId);
    expect(await live()).toMatchObject({ commandId, state: 'ACCEPTED', isHeldBack: true });
    await expect(lab.send(commandId)).rejects.toThrow('the gateway may not send: paused');
    await tell({ command: 'resume' });
    expect(await live()).toMatchObject({ state: 'ACCEPTED', isHeldBack: false });
    await lab.send(commandId);
    await tell({ command: 'pause', when: 'now' });
    expect(await live()).toMatchObject({ state: 'SENT', isHeldBack: false });
    await lab.settle(commandId, 'DONE', {});
    await job.endTurn(1);
    await lab.storage.finishJob(job.ref('finish'), 'CANCELLED', 'It was only a test.');
  });
});

describe('a workflow of the robot that begins', () => {
  test('knows the holds, the dispatch, whose turn it is and who waits', async () => {
    const [first, second] = [await asking(), await asking()];
    await grantTo(first);
    await tell({ command: 'maintenance' });
    await hold(FAULTS[0]);
    await hold(FAULTS[1]);
    const known = await lab.robots.loadRobot(lab.store.tenantId, lab.robotId);
    expect(known).toMatchObject({
      dispatch: 'maintenance',
      heldFaults: FAULTS,
      current: { jobId: first.id, turn: 1, workflowId: first.workflowId },
    });
    expect(known.queue.map(({ jobId }) => jobId)).toContain(second.id);
    await first.endTurn(1);
    await second.endTurn(1);
    const later = await lab.robots.loadRobot(lab.store.tenantId, lab.robotId);
    expect(later.current).toBeNull();
    expect(later.queue.map(({ jobId }) => jobId)).not.toContain(second.id);
  });

  test('is started again by the sweep for those who wait, once', async () => {
    const job = await asking();
    const deps = { db: lab.store.db, client, log: { info: () => {}, warn: () => {} }, quietMs: 10_000 };
    await lab.rows(sql`UPDATE job SET updated_at = now() WHERE finished_at IS NULL`);
    expect(await sweepRobots(deps, lab.store.tenantId)).toBe(0);
    await lab.rows(sql`UPDATE job SET updated_at = now() - interval '1 hour' WHERE id = ${job.id}`);
    expect(await sweepRobots(deps, lab.store.tenantId)).toBe(1);
    const entity = client.workflow.getHandle(workflowIds.robot(lab.store.tenantId, lab.robotId));
    const { runId, status } = await entity.describe();
    expect(status.name).toBe('RUNNING');
    const request = { jobId: job.id, turn: 1, workflowId: job.workflowId, priority: 20, requestedAt: 0 };
    await lab.robots.projectRobot(lab.store.tenantId, lab.robotId, [request]);
    expect(await sweepRobots(deps, lab.store.tenantId)).toBe(0);
    await entity.terminate('lost');
    expect(await sweepRobots(deps, lab.store.tenantId)).toBe(1);
    expect((await entity.describe()).runId).not.toBe(runId);
  });
});

describe('a command', () => {
  interface Entry {
    readonly type: string;
    readonly from: string;
    readonly to: string;
    readonly reason: string;
    readonly device: string | null;
    readonly actor: string;
    readonly version: number;
  }
  const entries = () =>
    lab.rows<Entry>(sql`
      SELECT leaf ->> 'type' AS type, leaf ->> 'from' AS "from", leaf ->> 'to' AS "to", leaf ->> 'reason' AS reason,
             leaf ->> 'device' AS device, leaf ->> 'actor' AS actor, (leaf ->> 'version')::int AS version
      FROM (SELECT seq, convert_from(leaf, 'UTF8')::jsonb AS leaf FROM ledger.entry) e
      WHERE leaf ->> 'aggregate_id' = ${lab.robotId} ORDER BY seq`);

  test('each leaves an entry with who, why and from what to what; its words can be erased', async () => {
    const before = await entries();
    await tell({ command: 'pause' });
    await tell({ command: 'maintenance' });
    await tell({ command: 'resume' });
    await hold(FAULTS[0]);
    await tell({ command: 'clear', faultId: FAULTS[0] });
    const written = (await entries()).slice(before.length);
    expect(written.map(({ type, from, to, reason }) => [type, from, to, reason])).toEqual([
      ['automation.robot.paused', 'running', 'paused', 'dispatch'],
      ['automation.robot.in_maintenance', 'paused', 'maintenance', 'dispatch'],
      ['automation.robot.resumed', 'maintenance', 'running', 'dispatch'],
      ['automation.robot.fault_cleared', 'held', 'running', 'clearance'],
    ]);
    const first = (before.at(-1)?.version ?? 0) + 1;
    expect(written.map(({ version }) => version)).toEqual([first, first + 1, first + 2, first + 3]);
    expect(new Set(written.map(({ actor }) => actor))).toEqual(new Set([lab.store.context.actor.userId]));
    const words = await lab.rows(sql`SELECT value FROM erasable_value WHERE value = 'the gripper is bent'`);
    expect(words.length).toBeGreaterThanOrEqual(4);
  });

  test('repeated under its key, or changing nothing, leaves no second entry', async () => {
    const before = (await entries()).length;
    await hold(FAULTS[0]);
    const once = await tell({ command: 'clear', faultId: FAULTS[0] }, 'the same');
    expect(await tell({ command: 'clear', faultId: FAULTS[0] }, 'the same')).toEqual(once);
    await tell({ command: 'resume' });
    expect(await entries()).toHaveLength(before + 1);
    expect(await tell({ command: 'pause' }, 'the same')).toMatchObject({
      answer: { refusal: { code: 'STEP_REPEATED_DIFFERENTLY' } },
    });
  });

  test('is refused while held, for another fault, and while a job asks; nothing is written', async () => {
    await hold(FAULTS[0]);
    const before = (await entries()).length;
    const code = async (told: Told) => {
      const { answer } = await tell(told);
      return answer.outcome === 'refused' ? answer.refusal.code : answer.outcome;
    };
    expect(await code({ command: 'resume' })).toBe('ROBOT_UNAVAILABLE');
    expect(await code({ command: 'clear', faultId: FAULTS[1] })).toBe('STALE_ANSWER');
    const job = await asking();
    const problem = {
      kind: 'outcome_unknown',
      detail: 'lost',
      robotId: lab.robotId,
      candidates: null,
    } as const;
    const { faultId } = await lab.storage.park(job.ref(), problem);
    expect(await code({ command: 'clear', faultId })).toBe('CONFLICT');
    expect(await entries()).toHaveLength(before);
  });
});
