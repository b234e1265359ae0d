import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { reserveTarget } from '../../db/placement.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Target } from '../../domain/order.ts';
import { RESERVED_UPDATE_ID } from '../../workflows/ids.ts';
import { confirmUpdate, reservedUpdate } from '../../workflows/messages/job.ts';
import { jobStart, jobStartOptions } from '../../workflows/messages/start.ts';
import { type Accepted, type Job, ProcessLab } from '../setup/process-lab.ts';
import { eventually, RobotCell, type Spawned, start } from '../setup/robot-cell.ts';
import { createTestNamespace, temporalServer, workflowBundle } from '../setup/temporal.ts';

/** Shortened in the rows, right after the reservation: the usual quarter of an hour would be waited for in full. */
const LEASE_MS = 1_500;
const POSITIONS = 81;

let lab: ProcessLab;
let cell: RobotCell;
let connection: Connection;
let client: Client;
let environment: Record<string, string>;
const running: Spawned[] = [];

beforeAll(async () => {
  lab = await ProcessLab.open();
  cell = await RobotCell.open(['--speed', '0.1', '--seed', '11']);
  const admin = new pg.Client({ connectionString: lab.store.lab.database.adminUrl });
  await admin.connect();
  await admin.query('SET session_replication_role = replica');
  await admin.query('UPDATE robot SET port = $1', [cell.port]);
  await admin.end();
  connection = await Connection.connect(temporalServer());
  const namespace = await createTestNamespace();
  client = new Client({ connection, namespace });
  environment = {
    STORAGE_DATABASE_URL: lab.store.lab.database.appUrl,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TEMPORAL_NAMESPACE: namespace,
    WORKFLOW_BUNDLE_PATH: workflowBundle().codePath,
    LOG_LEVEL: 'warn',
    ...inject('temporalTls'),
  };
});
afterAll(async () => {
  for (const each of running) await each.kill();
  await cell.close();
  await lab.close();
  await connection.close();
});

async function spawn(script: string): Promise<Spawned> {
  const spawned = await start(script, [], environment);
  running.push(spawned);
  return spawned;
}

/** Starts a job as the API does, with a lease that soon runs out. */
async function reserve(job: Job): Promise<Accepted> {
  const row = await job.row();
  const answer = await client.workflow.executeUpdateWithStart(reservedUpdate, {
    updateId: RESERVED_UPDATE_ID,
    startWorkflowOperation: new WithStartWorkflowOperation(jobStart(row).workflowName, jobStartOptions(row)),
  });
  if (answer.outcome === 'refused') throw new Error(answer.refusal.detail);
  await lab.rows(sql`UPDATE position SET lease_expires_at = now() + ${LEASE_MS} * interval '1 millisecond'
    WHERE job_id = ${job.id} AND lease_expires_at IS NOT NULL`);
  return answer;
}

/** What another job gets that asks for a place now. */
function ask(jobId: string, target: Target) {
  const need = { zone: '-80', type: 'plasma', project: null } as const;
  return inTenant(lab.store.db, lab.store.tenantId, (tx) =>
    reserveTarget(tx, lab.store.tenantId, jobId, need, target, 60_000),
  );
}

test('workers down for three lease times in mid-motion: what the motion needs is not given away', {
  timeout: 120_000,
}, async () => {
  await spawn('workers/gateway.ts');
  const worker = await spawn('workers/control.ts');
  const tube = lab.newTube();
  const job = await lab.placement(tube, { mode: 'robot', withinId: lab.box });
  const { place, handoff } = await reserve(job);
  if (!handoff) throw new Error('a robot’s placement has a hand-off');
  const slot = Number(handoff.label.slice(1));
  await cell.putTube(9, 1, slot, tube.barcode);
  const answer = await client.workflow
    .getHandle(job.workflowId)
    .executeUpdate(confirmUpdate, { args: [lab.scan(handoff, tube.barcode)] });
  expect(answer).toEqual({ outcome: 'accepted' });
  // Beside it a job that only waits for its person: its lease runs out as leases do.
  const idle = await lab.placement(lab.newTube(), { withinId: lab.box });
  const lapsing = await reserve(idle);

  await eventually('a motion', async () => (await cell.world()).motion !== null, 30_000);
  await worker.kill();
  const down = Date.now();
  expect((await job.row()).finishedAt).toBeNull();
  await eventually('three lease times', () => Date.now() - down >= 3 * LEASE_MS);

  for (const { positionId } of [place, handoff]) {
    expect(await lab.position(positionId)).toMatchObject({ job_id: job.id, lease_expires_at: null });
  }
  const other = await lab.placement(lab.newTube());
  const refused = await Promise.all(
    Array.from({ length: 8 }, () => ask(other.id, { kind: 'named', positionId: place.positionId })),
  );
  for (const each of refused) {
    expect(each).toMatchObject({ outcome: 'refused', refusal: { code: 'POSITION_OCCUPIED' } });
  }
  expect(await ask(other.id, { kind: 'named', positionId: handoff.positionId })).toMatchObject({
    outcome: 'refused',
  });
  // Whoever asks for any position gets every other one, the lapsed one too, and never this one.
  const taken: string[] = [];
  for (;;) {
    const each = await ask(other.id, { kind: 'chosen', withinId: lab.box });
    if (each.outcome === 'refused') break;
    taken.push(each.position.positionId);
  }
  expect(taken).toHaveLength(POSITIONS - 1);
  expect(taken).toContain(lapsing.place.positionId);
  expect(taken).not.toContain(place.positionId);

  await spawn('workers/control.ts');
  const settled = await eventually(
    'the end of the placement',
    async () => {
      const row = await job.row();
      return (row.finishedAt !== null || row.state === 'AWAITING_OPERATOR') && row;
    },
    50_000,
  );
  expect(settled, JSON.stringify(settled.steps)).toMatchObject({ state: 'COMPLETED' });
  expect(await lab.sample(job.sampleId)).toMatchObject({
    custody: 'position',
    position_id: place.positionId,
  });
  const moved = (await cell.log()).filter((motion) => motion.moved?.barcode === tube.barcode);
  expect(moved.map(({ operation }) => operation)).toEqual(['pick', 'place']);
});
