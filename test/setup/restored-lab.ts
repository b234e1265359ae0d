import { copyFileSync, existsSync } from 'node:fs';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { inject } from 'vitest';
import { type Database, openDatabase } from '../../db/connection.ts';
import { createTenant } from '../../db/identity.ts';
import { insertJobs, jobById } from '../../db/jobs.ts';
import { createLocation, type NewLocation } from '../../db/location-changes.ts';
import { migrate } from '../../db/migrate.ts';
import { enrolRobot } from '../../db/robots.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Actor } from '../../domain/actor.ts';
import type { Order } from '../../domain/order.ts';
import type { TurnRequest } from '../../domain/turns.ts';
import { prepareCluster } from '../../stack/database.ts';
import { type Cluster, startCluster, TEST_SETTINGS } from '../../stack/postgres.ts';
import { freePort } from '../../stack/processes.ts';
import { State } from '../../stack/state.ts';
import { ensureNamespace, startTemporal, type Temporal } from '../../stack/temporal.ts';
import { RESERVED_UPDATE_ID, workflowIds } from '../../workflows/ids.ts';
import { reservedUpdate } from '../../workflows/messages/job.ts';
import { clearUpdate, pauseUpdate, ROBOT, resumeUpdate } from '../../workflows/messages/robot.ts';
import { jobStart, jobStartOptions, robotStartOptions } from '../../workflows/messages/start.ts';
import { eventually, type Spawned, start } from './robot-cell.ts';
import { storeSample } from './store.ts';
import { workflowBundle } from './temporal.ts';

/** What stands in the laboratory; the same before and after a restore. */
export interface LabPlan {
  readonly actor: Actor;
  readonly robotId: string;
  /** in the robot's reach, at cassette 1, level 1 */
  readonly box: string;
  /** samples by barcode */
  readonly tubes: ReadonlyMap<string, string>;
}

export interface SampleState {
  readonly custody: string;
  readonly witness: string;
  readonly place: string | null;
  readonly candidates: readonly { readonly kind: string }[] | null;
}

/** A laboratory on a state folder with a cluster of its own, as npm start has it, and the processes that work in it. */
export class RestoredLab {
  readonly state: State;
  readonly db: Database;
  readonly #cluster: Cluster;
  readonly #appUrl: string;
  readonly #ownerUrl: string;
  #temporal: { readonly server: Temporal; readonly client: Client; readonly file: string } | null = null;
  readonly #processes: Spawned[] = [];

  private constructor(state: State, cluster: Cluster, urls: { app: string; owner: string }) {
    this.state = state;
    this.#cluster = cluster;
    this.#appUrl = urls.app;
    this.#ownerUrl = urls.owner;
    this.db = openDatabase(urls.app);
  }

  static async open(folder: string): Promise<RestoredLab> {
    const state = await State.open(folder, 'demo', { reset: false, say: () => undefined });
    state.claim(8082);
    const cluster = await startCluster({
      dataDir: state.path('postgres'),
      port: await state.port('PostgreSQL'),
      settings: TEST_SETTINGS,
      logFile: state.logFile('postgres'),
    });
    const urls = await prepareCluster(cluster);
    return new RestoredLab(state, cluster, urls);
  }

  /** Enters a laboratory with a robot and tubes in slots 1, 2, 3 … of its box, and one tube that people alone reach. */
  async furnish(robotPort: number, barcodes: readonly string[], byHand: string): Promise<LabPlan> {
    await migrate(this.#ownerUrl);
    const owner = openDatabase(this.#ownerUrl, { max: 1 });
    const { administrator: actor } = await createTenant(owner, {
      name: 'Laboratory',
      administrator: { email: 'ada@example.org', displayName: 'Ada', password: 'a long enough password' },
    });
    await owner.close();
    const context = { actor, reason: 'setup' } as const;
    const place = (location: Pick<NewLocation, 'type' | 'name'> & Partial<NewLocation>) =>
      createLocation(this.db, context, {
        parent: null,
        barcode: null,
        zone: null,
        sampleTypes: null,
        grid: null,
        isHandoff: null,
        robotAddress: null,
        ...location,
      });
    const site = await place({ type: 'site', name: 'Main' });
    const freezer = await place({ type: 'freezer', name: 'F1', parent: site });
    const other = await place({ type: 'freezer', name: 'F2', parent: site });
    const box = await place({
      type: 'box_9x9',
      name: 'B1',
      parent: freezer,
      barcode: 'BOX-1',
      robotAddress: { cassette: 1, level: 1 },
    });
    const handBox = await place({ type: 'box_9x9', name: 'B2', parent: other, barcode: 'BOX-2' });
    const handoff = await place({
      type: 'handoff',
      name: 'H1',
      parent: freezer,
      barcode: 'HANDOFF',
      isHandoff: true,
      grid: { rows: 1, columns: 4, rowLabels: 'upper', columnLabels: 'number' },
      robotAddress: { cassette: 9, level: 1 },
    });
    const robot = await enrolRobot(this.db, context, {
      driver: 'modbus',
      name: 'R1',
      storeId: freezer,
      handoffId: handoff,
      host: '127.0.0.1',
      port: robotPort,
      unitId: 1,
    });
    const tubes = new Map<string, string>();
    const store = { db: this.db, tenantId: actor.tenantId, actor, context };
    const positions = await this.#positions(actor.tenantId, box);
    for (const [index, barcode] of barcodes.entries()) {
      tubes.set(barcode, await storeSample(store, { barcode, positionId: String(positions[index]) }));
    }
    const [first] = await this.#positions(actor.tenantId, handBox);
    tubes.set(byHand, await storeSample(store, { barcode: byHand, positionId: String(first) }));
    return { actor, robotId: robot.id, box, tubes };
  }

  async #positions(tenantId: string, containerId: string): Promise<string[]> {
    const rows = await this.rows<{ id: string }>(
      tenantId,
      sql`SELECT id FROM position WHERE container_id = ${containerId} ORDER BY ordinal`,
    );
    return rows.map((row) => row.id);
  }

  /** The position of the robot's box with this number, from 1 on. */
  async slot(plan: LabPlan, number: number): Promise<string> {
    return String((await this.#positions(plan.actor.tenantId, plan.box))[number - 1]);
  }

  async rows<R>(tenantId: string, query: ReturnType<typeof sql<R>>): Promise<R[]> {
    const { rows } = await inTenant(this.db, tenantId, (tx) => query.execute(tx));
    return rows;
  }

  // ── Temporal and the processes ────────────────────────────────────────────────────────────────────────

  /** @param from a database file of a server that was stopped; it is copied. Null: a server that knows nothing */
  async startTemporal(from: string | null, port?: number): Promise<number> {
    const databaseFile = this.state.path('temporal', `${uuidv7()}.db`);
    if (from !== null) copyDatabase(from, databaseFile);
    const server = await startTemporal({
      binary: inject('temporalBinary'),
      port: port ?? (await freePort()),
      uiPort: null,
      databaseFile,
      durable: false,
      logFile: this.state.logFile('temporal'),
    });
    await ensureNamespace(server.address, 'default');
    const connection = await Connection.connect({ address: server.address });
    this.#temporal = { server, client: new Client({ connection }), file: databaseFile };
    return Number(server.address.split(':')[1]);
  }

  /** Stops the server and keeps what it knows in a file. */
  async stopTemporal(keepIn: string): Promise<void> {
    const { server, client, file } = this.#running();
    await client.connection.close();
    this.#temporal = null;
    await server.stop();
    copyDatabase(file, keepIn);
  }

  get client(): Client {
    return this.#running().client;
  }

  #running() {
    if (this.#temporal === null) throw new Error('no Temporal server runs');
    return this.#temporal;
  }

  /** The robot gateway, the workflow worker and the sweep, as processes. */
  async work(): Promise<void> {
    const environment = {
      STORAGE_DATABASE_URL: this.#appUrl,
      TEMPORAL_ADDRESS: this.#running().server.address,
      WORKFLOW_BUNDLE_PATH: workflowBundle().codePath,
      LOG_LEVEL: 'warn',
    };
    this.#processes.push(
      await start('workers/gateway.ts', ['--look-every-ms', '100'], environment),
      await start('workers/control.ts', [], environment),
      await start(
        'workers/sweep.ts',
        ['--every-ms', '200', '--unstarted-ms', '1000', '--quiet-ms', '500', '--look-ms', '3000'],
        environment,
      ),
    );
  }

  /** What the processes have printed: for the message of a test that failed. */
  output(): string {
    return this.#processes.map((each) => each.output()).join('\n');
  }

  /** What is accepted from now on is sent by nobody. */
  async killGateway(): Promise<void> {
    await this.#processes[0]?.kill();
  }

  async rest(): Promise<void> {
    for (const each of this.#processes.splice(0)) await each.kill();
  }

  async close(): Promise<void> {
    await this.rest();
    if (this.#temporal !== null) {
      await this.#temporal.client.connection.close();
      await this.#temporal.server.stop();
      this.#temporal = null;
    }
    await this.db.close();
    await this.#cluster.stop();
    this.state.release();
  }

  // ── jobs and robots ───────────────────────────────────────────────────────────────────────────────────

  /** Starts a job by robot as the API does, and waits for its reservation. @returns the job's id */
  async begin(plan: LabPlan, kind: 'move' | 'retrieval', barcode: string, order: Order): Promise<string> {
    const id = uuidv7();
    const { tenantId } = plan.actor;
    await insertJobs(this.db, tenantId, [
      {
        id,
        kind,
        mode: 'robot',
        workflowId: workflowIds[kind](tenantId, id),
        sampleId: String(plan.tubes.get(barcode)),
        robotId: null,
        priority: 20,
        actor: plan.actor,
        input: { order, confirmation: null },
      },
    ]);
    const job = await this.job(plan, id);
    const answer = await this.client.workflow.executeUpdateWithStart(reservedUpdate, {
      updateId: RESERVED_UPDATE_ID,
      startWorkflowOperation: new WithStartWorkflowOperation(
        jobStart(job).workflowName,
        jobStartOptions(job),
      ),
    });
    if (answer.outcome === 'refused') throw new Error(answer.refusal.detail);
    return id;
  }

  async move(plan: LabPlan, barcode: string, slot: number): Promise<string> {
    const target = { kind: 'named', positionId: await this.slot(plan, slot) } as const;
    return this.begin(plan, 'move', barcode, { kind: 'move', target });
  }

  retrieve(plan: LabPlan, barcode: string): Promise<string> {
    return this.begin(plan, 'retrieval', barcode, { kind: 'retrieval', handoffPositionId: null });
  }

  async job(plan: LabPlan, id: string) {
    const job = await jobById(this.db, plan.actor.tenantId, id);
    if (!job) throw new Error(`there is no job ${id}`);
    return job;
  }

  async inState(plan: LabPlan, id: string, state: string): Promise<void> {
    await eventually(
      `job ${id} being ${state}`,
      async () => (await this.job(plan, id)).state === state,
      45_000,
    ).catch(async (error: unknown) => {
      const job = await this.job(plan, id);
      throw new Error(`${JSON.stringify(job, null, 1)}\n${this.output()}`, { cause: error });
    });
  }

  /** Waits until the robot's workflow shows the job in its queue. */
  async queued(plan: LabPlan, jobId: string): Promise<void> {
    await eventually(
      `job ${jobId} waiting for the robot`,
      async () => {
        const [row] = await this.rows<{ queue: TurnRequest[] }>(
          plan.actor.tenantId,
          sql`SELECT queue FROM robot_state WHERE robot_id = ${plan.robotId}`,
        );
        return row?.queue.some((request) => request.jobId === jobId);
      },
      45_000,
    );
  }

  async dispatch(plan: LabPlan, command: 'pause' | 'resume'): Promise<void> {
    const { actor } = plan;
    const update = command === 'pause' ? pauseUpdate : resumeUpdate;
    const answer = await this.client.workflow.executeUpdateWithStart(update, {
      args: [{ actor, reason: null }],
      startWorkflowOperation: new WithStartWorkflowOperation(
        ROBOT,
        robotStartOptions(actor.tenantId, plan.robotId),
      ),
    });
    if (answer.outcome === 'refused') throw new Error(answer.refusal.detail);
  }

  clear(plan: LabPlan, faultId: string) {
    const { actor } = plan;
    return this.client.workflow.executeUpdateWithStart(clearUpdate, {
      args: [{ actor, reason: null, faultId }],
      startWorkflowOperation: new WithStartWorkflowOperation(
        ROBOT,
        robotStartOptions(actor.tenantId, plan.robotId),
      ),
    });
  }

  /** Where the record has a tube, e.g. `B1 3` in words of container and slot. */
  async tube(plan: LabPlan, barcode: string): Promise<SampleState> {
    const [row] = await this.rows<SampleState>(
      plan.actor.tenantId,
      sql`SELECT s.custody, s.witness, l.name || ' ' || p.ordinal AS place, s.candidates FROM sample s
        LEFT JOIN position p ON p.tenant_id = s.tenant_id AND p.id = s.position_id
        LEFT JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
        WHERE s.tenant_id = ${plan.actor.tenantId} AND s.id = ${String(plan.tubes.get(barcode))}`,
    );
    if (!row) throw new Error(`there is no tube ${barcode}`);
    return row;
  }
}

/** SQLite keeps what is not written back yet beside its file. */
function copyDatabase(from: string, to: string): void {
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
  }
}
