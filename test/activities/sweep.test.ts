import { type AddressInfo, createServer } from 'node:net';
import { Client, Connection } from '@temporalio/client';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { JobLooks } from '../../workers/job-looks.ts';
import { type SweepDependencies, sweepTenant, sweepTenants } from '../../workers/job-sweep.ts';
import { CONTROL_QUEUE, workflowIds } from '../../workflows/ids.ts';
import type { Decision } from '../../workflows/messages/job.ts';
import { RECONCILE_JOB } from '../../workflows/messages/reconcile.ts';
import { jobStart, jobStartOptions } from '../../workflows/messages/start.ts';
import { AWAIT_SCAN, type Job, ProcessLab } from '../setup/process-lab.ts';
import { createTestNamespace, temporalServer } from '../setup/temporal.ts';

const LONG_AGO = '1 hour';

let lab: ProcessLab;
let connection: Connection;
let deps: SweepDependencies;
const warnings: object[] = [];
const heard = { info() {}, warn: (facts: object) => warnings.push(facts) };
/** Jobs whose time is always over. */
const EVERY_TIME = new JobLooks(0);
beforeAll(async () => {
  lab = await ProcessLab.open();
  connection = await Connection.connect(temporalServer());
  const client = new Client({ connection, namespace: await createTestNamespace() });
  deps = { db: lab.store.db, client, log: heard, looks: EVERY_TIME, unstartedMs: 5_000, quietMs: 10_000 };
});
afterAll(async () => {
  await lab.close();
  await connection.close();
});
// Jobs of an earlier test are not looked at again.
beforeEach(() =>
  lab.rows(sql`UPDATE job SET created_at = now(), updated_at = now() WHERE finished_at IS NULL`),
);

const age = (job: Job) =>
  lab.rows(sql`UPDATE job SET created_at = now() - ${LONG_AGO}::interval, updated_at = now() - ${LONG_AGO}::interval
    WHERE id = ${job.id}`);
const sweep = () => sweepTenant(deps, lab.store.tenantId);
const status = async (workflowId: string) =>
  (await deps.client.workflow.getHandle(workflowId).describe()).status.name;

/** Starts the workflow of a job as the API does; no worker is there to run it. */
async function start(job: Job) {
  const row = await job.row();
  return deps.client.workflow.start(jobStart(row).workflowName, jobStartOptions(row));
}

/** Completes a workflow's first task, as a worker that has nothing to do. */
async function firstTaskOf(workflowId: string): Promise<void> {
  const { workflowService, options } = deps.client;
  const { namespace } = options;
  for (;;) {
    const task = await deps.client.withDeadline(Date.now() + 20_000, () =>
      workflowService.pollWorkflowTaskQueue({ namespace, taskQueue: { name: CONTROL_QUEUE } }),
    );
    if (task.workflowExecution?.workflowId !== workflowId) continue; // an earlier test's
    await workflowService.respondWorkflowTaskCompleted({
      namespace,
      taskToken: task.taskToken,
      commands: [],
    });
    return;
  }
}

describe('a job that nothing has started', () => {
  test('is started as the API starts it, once, when it is old enough', async () => {
    const job = await lab.placement(lab.newTube());
    expect(await sweep()).toEqual({ started: 0, reconciled: 0, answered: 0, freed: 0, failed: 0 });
    await age(job);
    expect(await sweep()).toEqual({ started: 1, reconciled: 0, answered: 0, freed: 0, failed: 0 });
    const described = await deps.client.workflow.getHandle(job.workflowId).describe();
    expect(described).toMatchObject({ type: 'placeSample', taskQueue: CONTROL_QUEUE });
    expect(described.typedSearchAttributes.getAll()).toHaveLength(4);
    const { runId } = described;
    await sweep();
    expect((await deps.client.workflow.getHandle(job.workflowId).describe()).runId).toBe(runId);
  });

  test('is started however many wait before it, and cannot be', async () => {
    const job = await lab.placement(lab.newTube());
    await age(job);
    await lab.rows(sql`
      INSERT INTO job SELECT (jsonb_populate_record(j, jsonb_build_object('id', uuidv7(), 'workflow_id', 'many-' || n))).*
      FROM job j, generate_series(1, 640) n WHERE j.id = ${job.id}`);
    let asked = 0;
    const refusing: SweepDependencies = {
      ...deps,
      client: Object.assign(Object.create(deps.client), {
        workflow: {
          async start() {
            asked += 1;
            throw new Error('not now');
          },
        },
      }),
    };
    expect(await sweepTenant(refusing, lab.store.tenantId)).toMatchObject({ failed: 641 });
    expect(asked).toBe(641);
    await lab.rows(sql`UPDATE job SET state = 'FAILED', finished_at = now() WHERE workflow_id LIKE 'many-%'`);
    warnings.length = 0;
  });

  test('whose workflow closed before its first step is handed over', async () => {
    const job = await lab.placement(lab.newTube());
    await (await start(job)).terminate('test');
    await age(job);
    expect(await sweep()).toMatchObject({ reconciled: 1 });
    expect(await status(workflowIds.reconcile(lab.store.tenantId, job.id))).toBe('RUNNING');
  });
});

describe('a job under way', () => {
  test('whose workflow runs is left alone', async () => {
    const job = await lab.placement(lab.newTube());
    await start(job);
    await job.reserved();
    await age(job);
    expect(await sweep()).toEqual({ started: 0, reconciled: 0, answered: 0, freed: 0, failed: 0 });
  });

  test.each(['terminated', 'never there'])('whose workflow is %s is handed over, once', async (how) => {
    const job = await lab.placement(lab.newTube());
    if (how === 'terminated') await (await start(job)).terminate('somebody did it');
    await job.reserved();
    expect(await sweep()).toEqual({ started: 0, reconciled: 0, answered: 0, freed: 0, failed: 0 });
    await age(job);
    expect(await sweep()).toMatchObject({ reconciled: 1 });
    const id = workflowIds.reconcile(lab.store.tenantId, job.id);
    const described = await deps.client.workflow.getHandle(id).describe();
    expect(described).toMatchObject({ type: RECONCILE_JOB, status: { name: 'RUNNING' } });
    await sweep();
    expect((await deps.client.workflow.getHandle(id).describe()).runId).toBe(described.runId);
    await lab.storage.adoptJob({ ...job.ref(), workflowId: id });
    await age(job);
    expect(await sweep()).toMatchObject({ reconciled: 0 });
  });

  test('whose workflow was reset is taken from it and handed over', async () => {
    const job = await lab.placement(lab.newTube());
    const handle = await start(job);
    await job.reserved();
    const { namespace } = deps.client.options;
    await firstTaskOf(job.workflowId);
    const { events } = await handle.fetchHistory();
    const task = events?.find((event) => event.workflowTaskCompletedEventAttributes != null)?.eventId;
    await deps.client.workflowService.resetWorkflowExecution({
      namespace,
      workflowExecution: { workflowId: job.workflowId },
      workflowTaskFinishEventId: task ?? null,
      reason: 'somebody did it',
      requestId: job.id,
    });
    expect(await sweep()).toMatchObject({ reconciled: 0 });
    await age(job);
    expect(await sweep()).toMatchObject({ reconciled: 1 });
    expect(await status(job.workflowId)).toBe('TERMINATED');
    expect(await status(workflowIds.reconcile(lab.store.tenantId, job.id))).toBe('RUNNING');
  });

  test('that closes while it is looked at is not handed over', async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    await age(job);
    const { client } = deps;
    const slow: SweepDependencies = {
      ...deps,
      client: Object.assign(Object.create(client), {
        workflow: {
          getHandle: (id: string) => ({
            async describe() {
              await lab.storage.finishJob(job.ref(), 'CANCELLED', '');
              return client.workflow.getHandle(id).describe();
            },
          }),
        },
      }),
    };
    expect(await sweepTenant(slow, lab.store.tenantId)).toMatchObject({ reconciled: 0 });
  });

  test('is not judged while Temporal does not answer', async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    await age(job);
    const away = Connection.lazy({ address: '127.0.0.1:1', connectTimeout: 200 });
    const absent = { ...deps, client: new Client({ connection: away }), callMs: 500 };
    expect(await sweepTenant(absent, lab.store.tenantId)).toMatchObject({ reconciled: 0, failed: 1 });
    const nowhere = { ...deps, client: new Client({ connection, namespace: 'no-such-namespace' }) };
    expect(await sweepTenant(nowhere, lab.store.tenantId)).toMatchObject({ reconciled: 0, failed: 1 });
    expect(await job.row()).toMatchObject({ state: 'AWAITING_PERSON' });
    await away.close();
  });
});

test('lapsed leases of jobs that are over are freed; those of live jobs and those without an end stay', async () => {
  const [over, live, doubtful] = [
    await lab.placement(lab.newTube()),
    await lab.placement(lab.newTube()),
    await lab.placement(lab.newTube()),
  ];
  const places = new Map<Job, string>();
  for (const job of [over, live, doubtful])
    places.set(job, (await job.reserved(AWAIT_SCAN)).place.positionId);
  for (const job of [over, live]) await lab.lapse(job.id);
  await lab.rows(sql`UPDATE position SET lease_expires_at = NULL WHERE job_id = ${doubtful.id}`);
  // As if they had ended without letting go.
  await lab.rows(
    sql`UPDATE job SET state = 'FAILED', finished_at = now() WHERE id IN (${over.id}, ${doubtful.id})`,
  );
  expect(await sweep()).toMatchObject({ freed: 1 });
  expect(await lab.position(String(places.get(over)))).toMatchObject({ state: 'free', job_id: null });
  expect(await lab.position(String(places.get(live)))).toMatchObject({ state: 'reserved', job_id: live.id });
  expect(await lab.position(String(places.get(doubtful)))).toMatchObject({ state: 'reserved' });
});

test('one tenant’s sweep does not touch another’s jobs', async () => {
  const job = await lab.placement(lab.newTube());
  await age(job);
  const stranger = await lab.store.lab.addTenant();
  expect(await sweepTenant(deps, stranger.tenantId)).toEqual({
    started: 0,
    reconciled: 0,
    answered: 0,
    freed: 0,
    failed: 0,
  });
  expect((await job.row()).startedAt).toBeNull();
});

describe('a job whose question was answered', () => {
  /** A client that tells what is said to this job's workflow, which runs. */
  function listening(job: Job, outcome: 'accepted' | 'refused') {
    const { client } = deps;
    const said: { updateId?: string; args: [Decision] }[] = [];
    const workflow = Object.assign(Object.create(client.workflow), {
      getHandle: (id: string) =>
        Object.assign(client.workflow.getHandle(id), {
          async executeUpdate(_: unknown, update: { args: [Decision] }) {
            if (id === job.workflowId) said.push(update);
            return { outcome };
          },
        }),
    });
    return { client: Object.assign(Object.create(client), { workflow }), said };
  }

  test.each(['accepted', 'refused'] as const)(
    'has the answer given again while nothing followed from it, the same to the last word (%s)',
    async (outcome) => {
      const job = await lab.placement(lab.newTube());
      await start(job);
      await job.reserved();
      const problem = {
        kind: 'compensation_stuck',
        detail: 'The undo fails.',
        robotId: null,
        candidates: null,
      } as const;
      const { faultId } = await lab.storage.park(job.ref('park/1'), problem);
      const { client, said } = listening(job, outcome);
      const round = async () => {
        await age(job);
        return sweepTenant({ ...deps, client }, lab.store.tenantId);
      };
      expect(await round()).toMatchObject({ answered: 0 });
      expect(said).toEqual([]); // it waits for a person

      const given: Decision = {
        actor: lab.actor,
        faultId,
        answer: 'retry_undo',
        next: 'release',
        positionId: null,
        lockedOut: false,
        sampleBarcode: null,
        robotFit: false,
        comment: 'Anna looked.',
      };
      await lab.storage.applyDecision(job.ref('decide/1/1'), given);
      const { steps } = await job.row();
      expect(await round()).toMatchObject({ answered: outcome === 'accepted' ? 1 : 0, failed: 0 });
      expect(said).toEqual([
        { updateId: `again-${faultId}`, args: [{ ...given, actor: lab.actor, comment: null }] },
      ]);
      const [again] = said[0]?.args ?? [];
      if (again === undefined) throw new Error('nothing was said');
      expect(await lab.storage.applyDecision(job.ref('decide/1/1'), again)).toEqual({ outcome: 'done' });
      expect((await job.row()).steps).toEqual(steps);

      await lab.storage.park(job.ref('park/2'), problem);
      await round();
      expect(said).toHaveLength(1); // there is a new question
    },
  );
});

describe('a job that always fails', () => {
  /** A client to whom Temporal answers for every workflow but one. */
  function failingFor(job: Job): { client: Client; asked: string[] } {
    const { client } = deps;
    const asked: string[] = [];
    const workflow = Object.assign(Object.create(client.workflow), {
      getHandle(id: string) {
        asked.push(id);
        if (id === job.workflowId) throw new Error('this one never answers');
        return client.workflow.getHandle(id);
      },
    });
    return { client: Object.assign(Object.create(client), { workflow }), asked };
  }

  test('stops neither the other jobs of its tenant nor the tenants after it', async () => {
    const [bad, good] = [await lab.placement(lab.newTube()), await lab.placement(lab.newTube())];
    for (const job of [bad, good]) {
      await job.reserved();
      await age(job);
    }
    const { client } = failingFor(bad);
    warnings.length = 0;
    expect(await sweepTenant({ ...deps, client }, lab.store.tenantId)).toMatchObject({
      reconciled: 1,
      failed: 1,
    });
    expect(warnings).toMatchObject([{ tenant: lab.store.tenantId, job: bad.id }]);
    expect(await bad.row()).toMatchObject({ state: 'AWAITING_PERSON' });

    // The tenant before it cannot even be asked for its jobs.
    const unstarted = await lab.placement(lab.newTube());
    await age(unstarted);
    warnings.length = 0;
    const broken = 'not a tenant';
    await sweepTenants({ ...deps, client }, [broken, lab.store.tenantId]);
    expect(warnings[0]).toMatchObject({ tenant: broken });
    expect(await status(unstarted.workflowId)).toBe('RUNNING');
  });

  test('takes no more of a round than its deadline', async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    await age(job);
    const silent = createServer(() => {}); // accepts, and never says anything
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const mute = Connection.lazy({ address: `127.0.0.1:${port}`, connectTimeout: 60_000 });
    const began = performance.now();
    const report = await sweepTenant(
      { ...deps, client: new Client({ connection: mute }), callMs: 300 },
      lab.store.tenantId,
    );
    expect(report).toMatchObject({ reconciled: 0, failed: 1 });
    expect(performance.now() - began).toBeLessThan(10_000);
    await mute.close();
    silent.close();
  });
});

describe('a job that waits quietly', () => {
  test('is looked at once in a while, and at once when its row was written', async () => {
    const job = await lab.placement(lab.newTube());
    await start(job);
    await job.reserved();
    await age(job);
    let clock = 0;
    const looks = new JobLooks(60_000, () => clock);
    let asked = 0;
    const { client } = deps;
    const workflow = Object.assign(Object.create(client.workflow), {
      getHandle(id: string) {
        if (id === job.workflowId) asked += 1;
        return client.workflow.getHandle(id);
      },
    });
    const counting = { ...deps, looks, client: Object.assign(Object.create(client), { workflow }) };
    const round = async () => {
      await sweepTenants(counting, [lab.store.tenantId]);
      return asked;
    };
    expect(await round()).toBe(1);
    clock += 59_000;
    expect(await round()).toBe(1);
    clock += 1_000;
    expect(await round()).toBe(2);
    await lab.rows(sql`UPDATE job SET updated_at = now() - interval '30 minutes' WHERE id = ${job.id}`);
    expect(await round()).toBe(3);
    expect(looks.size).toBeGreaterThan(0);
    await lab.storage.finishJob(job.ref(), 'CANCELLED', '');
    clock += 60_000;
    await round();
    expect(looks.size).toBe(0);
  });
});
