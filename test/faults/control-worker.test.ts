import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { RESERVED_UPDATE_ID } from '../../workflows/ids.ts';
import { confirmUpdate, type PlaceRef, reservedUpdate } from '../../workflows/messages/job.ts';
import { jobStart, jobStartOptions } from '../../workflows/messages/start.ts';
import { type Job, ProcessLab } from '../setup/process-lab.ts';
import { eventually, gone, type Spawned, start } from '../setup/robot-cell.ts';
import { createTestNamespace, temporalServer, workflowBundle } from '../setup/temporal.ts';

let lab: ProcessLab;
let connection: Connection;
let client: Client;
let environment: Record<string, string>;
const running = new Set<Spawned>();
beforeAll(async () => {
  lab = await ProcessLab.open();
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
afterEach(async () => {
  for (const each of running) await each.kill();
  running.clear();
});
afterAll(async () => {
  await lab.close();
  await connection.close();
});

async function spawn(script: string, args: readonly string[] = []): Promise<Spawned> {
  const spawned = await start(script, args, environment);
  running.add(spawned);
  return spawned;
}

async function end(spawned: Spawned, how: () => Promise<unknown>): Promise<void> {
  await how();
  running.delete(spawned);
}

/** Starts a job as the API does, and waits for the reserved position. */
async function earlyAnswer(job: Job): Promise<PlaceRef> {
  const row = await job.row();
  const startWorkflowOperation = new WithStartWorkflowOperation(
    jobStart(row).workflowName,
    jobStartOptions(row),
  );
  const answer = await client.workflow.executeUpdateWithStart(reservedUpdate, {
    updateId: RESERVED_UPDATE_ID,
    startWorkflowOperation,
  });
  if (answer.outcome === 'refused') throw new Error(answer.refusal.detail);
  return answer.place;
}

async function confirm(job: Job, place: PlaceRef, barcode: string): Promise<void> {
  const handle = client.workflow.getHandle(job.workflowId);
  const answer = await handle.executeUpdate(confirmUpdate, { args: [lab.scan(place, barcode)] });
  expect(answer).toEqual({ outcome: 'accepted' });
}

const completed = (job: Job) =>
  eventually('the placement', async () => (await job.row()).state === 'COMPLETED', 30_000);

test('a placement by hand goes on in the next worker when the first is killed, and its tube is moved once', async () => {
  const first = await spawn('workers/control.ts');
  expect(first.ready).toBe('ready control');
  const tube = lab.newTube();
  const job = await lab.placement(tube, { withinId: lab.box });
  const place = await earlyAnswer(job);
  await end(first, () => first.kill());
  await spawn('workers/control.ts');
  await confirm(job, place, tube.barcode);
  await completed(job);
  expect((await lab.entries(job.sampleId)).map((entry) => entry.type)).toEqual([
    'storage.sample.registered',
    'storage.sample.placed',
  ]);
});

test('a job that the API wrote and did not start is started by the sweep and done', async () => {
  await spawn('workers/control.ts');
  const tube = lab.newTube();
  const job = await lab.placement(tube, { withinId: lab.box });
  const sweep = await spawn('workers/sweep.ts', ['--every-ms', '100', '--unstarted-ms', '1']);
  expect(sweep.ready).toBe('ready sweep');
  await eventually('the reservation', async () => (await job.row()).state === 'AWAITING_PERSON', 30_000);
  await confirm(job, await earlyAnswer(job), tube.barcode);
  await completed(job);
  await end(sweep, async () => expect(await sweep.end()).toBe(0));
});

test('a job whose workflow was terminated waits for the operator, with the alarm raised', async () => {
  await spawn('workers/control.ts');
  const job = await lab.placement(lab.newTube(), { withinId: lab.box });
  await earlyAnswer(job);
  await client.workflow.getHandle(job.workflowId).terminate('somebody did it');
  await spawn('workers/sweep.ts', ['--every-ms', '100', '--quiet-ms', '1', '--look-ms', '100']);
  await eventually('the question', async () => (await job.row()).state === 'AWAITING_OPERATOR', 30_000);
  const { question, faultId, workflowId } = await job.row();
  expect(question).toMatchObject({ faultId, kind: 'workflow_gone' });
  expect(workflowId).toContain(':reconcile:');
});

test('the workers end in good order by signal, and when their parent is gone', async () => {
  const control = await spawn('workers/control.ts');
  await end(control, async () => expect(await control.end()).toBe(0));
  for (const script of ['workers/control.ts', 'workers/sweep.ts']) {
    const orphan = await spawn(script);
    await end(orphan, () => {
      orphan.child.disconnect();
      return gone(orphan);
    });
    expect(orphan.child.exitCode).toBe(0);
  }
});

test('without a Temporal server the workflow worker says so and ends with 1', async () => {
  const nowhere = { ...environment, TEMPORAL_ADDRESS: '127.0.0.1:1' };
  await expect(start('workers/control.ts', [], nowhere)).rejects.toThrow('ended with 1 before it was ready');
});
