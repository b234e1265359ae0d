import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { z } from 'zod';
import { type Database, openDatabase } from '../../../db/connection.ts';
import { enrolStation } from '../../../db/identity.ts';
import { rolePassword } from '../../../db/roles.ts';
import { loadEnvironment } from '../../../schemas/environment.ts';
import { Me } from '../../../schemas/identity.ts';
import { startChild } from '../../../stack/child.ts';
import { startTemporalCluster, type TemporalCluster } from '../../../stack/cluster/server.ts';
import { Client } from '../../../stack/demo/client.ts';
import { RunningLaboratory } from '../../../stack/demo/running-laboratory.ts';
import { clusterFolder } from '../../../stack/postgres.ts';
import { freePort } from '../../../stack/processes.ts';
import type { RunningPart } from '../../../stack/supervisor.ts';
import { Disk } from './disk.ts';
import { PatientCell } from './patient-cell.ts';
import { enrolSecondRobot, furnish, type Site } from './site.ts';

/** Factor on every duration of the simulated robots. */
const SPEED = '0.02';
/** In s: robots that are fifty times as fast are looked at more often, and a lease is shorter than their motions. */
const WAITS = JSON.stringify({ observeEvery: 0.5, holdLook: 2, lease: 0.2 });

const Ports = z.object({ ports: z.object({ PostgreSQL: z.int() }) });

const SECOND_ROBOT = 'second robot';
const TEMPORAL = 'Temporal';

/** Parts that are killed, the usual victims more often. */
export const VICTIMS = [
  'workflow worker',
  'robot gateway',
  'PostgreSQL',
  TEMPORAL,
  'API',
  'MQTT broker',
  'event relay',
  'sweep',
  'simulated robot',
  SECOND_ROBOT,
] as const;
export type Victim = (typeof VICTIMS)[number];

/** How the laboratory of a campaign is made. */
export interface LaboratoryOptions {
  readonly seed: number;
  /** Temporal on PostgreSQL with mutual TLS, as in production, instead of the development server */
  readonly cluster: boolean;
  readonly say: (line: string) => void;
}

/**
 * A whole local laboratory with two robots, whose parts can be killed and whose power can be cut. What the laboratory keeps
 * lies on a disk of its own where the machine allows it; the cells, which are the physical world, do not.
 */
export class CampaignLaboratory {
  /** or why no power can be cut here */
  readonly disk: Disk | string;
  readonly #folder: string;
  readonly #state: string;
  readonly #options: LaboratoryOptions;
  readonly #env: NodeJS.ProcessEnv;
  readonly #secondPorts: { readonly wire: number; readonly control: number };
  #running!: RunningLaboratory;
  #second!: RunningPart;
  #cluster: TemporalCluster | null = null;
  #sites: readonly Site[] = [];
  #pool!: pg.Pool;

  private constructor(
    options: LaboratoryOptions,
    folder: string,
    disk: Disk | string,
    ports: { readonly api: number; readonly wire: number; readonly control: number },
  ) {
    this.#options = options;
    this.#folder = folder;
    this.disk = disk;
    this.#state = join(typeof disk === 'string' ? folder : disk.folder, 'state');
    this.#secondPorts = ports;
    this.#env = {
      ...process.env,
      TRACSEQ_STATE: this.#state,
      STORAGE_PORT: String(ports.api),
      SIMULATED_ROBOT_SPEED: SPEED,
      AUTOMATION_WAITS: WAITS,
    };
  }

  static async start(options: LaboratoryOptions): Promise<CampaignLaboratory> {
    const folder = mkdtempSync(join(tmpdir(), 'tracseq-campaign-'));
    chmodSync(folder, 0o755); // PostgreSQL may run as another user
    const disk = Disk.make(folder);
    const [api, wire, control] = [await freePort(), await freePort(), await freePort()];
    const laboratory = new CampaignLaboratory(options, folder, disk, { api, wire, control });
    try {
      laboratory.#prepareState();
      await laboratory.#powerOn();
      await laboratory.#furnish();
      if (typeof disk !== 'string') disk.sync();
      return laboratory;
    } catch (error) {
      await laboratory.close();
      throw error;
    }
  }

  get sites(): readonly Site[] {
    return this.#sites;
  }

  /** A person of the laboratory, at the station of the first robot. */
  get client(): Client {
    const [first] = this.#sites;
    if (first === undefined) throw new Error('the laboratory is not furnished yet');
    return first.client;
  }

  /** Rows by the superuser: for looking, never for changing. @throws what pg throws while the database is away */
  async sql<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> {
    return (await this.#pool.query<R>(text, values)).rows;
  }

  /** A connection that hears of a channel of PostgreSQL, until it breaks or is ended. */
  async listen(channel: string, heard: () => void): Promise<{ end(): Promise<void> }> {
    const client = new pg.Client({ connectionString: this.#databaseUrl('postgres') });
    client.on('error', () => undefined); // the server is killed on purpose
    client.on('notification', heard);
    await client.connect();
    await client.query(`LISTEN ${pg.escapeIdentifier(channel)}`);
    return { end: () => client.end().catch(() => undefined) };
  }

  /** A connection of a workflow worker's, for as long as the work takes. */
  async asWorker<T>(work: (db: Database) => Promise<T>): Promise<T> {
    const db = openDatabase(this.#databaseUrl('tracseq_app'), { max: 1 });
    try {
      return await work(db);
    } finally {
      await db.close();
    }
  }

  /** Kills one part, as nothing prepares it for. @returns when it happened, and when the part is back */
  async kill(victim: Victim): Promise<{ readonly at: Date; readonly isBack: Promise<void> }> {
    if (victim === SECOND_ROBOT) {
      process.kill(-this.#second.pid, 'SIGKILL');
      const at = new Date();
      return { at, isBack: this.#second.ended.then(() => this.#startSecondRobot()) };
    }
    if (victim === TEMPORAL && this.#cluster !== null) {
      const { pid, ended } = this.#cluster;
      process.kill(pid, 'SIGKILL');
      const at = new Date();
      return { at, isBack: ended.then(() => this.#restartCluster()) };
    }
    const { restarted } = await this.#running.kill(victim);
    return { at: new Date(), isBack: restarted().then(() => undefined) };
  }

  /** Cuts the power of everything, loses what nobody synced, and starts it all again. */
  async cutPower(disk: Disk): Promise<Date> {
    let at = new Date();
    await this.#running.crash(() => {
      at = new Date();
      disk.cutPower();
    });
    process.kill(-this.#second.pid, 'SIGKILL');
    await this.#second.ended;
    if (this.#cluster !== null) await this.#killCluster(this.#cluster);
    await this.#pool.end();
    await disk.powerUp();
    await this.#powerOn();
    return at;
  }

  async close(): Promise<void> {
    await this.#pool?.end();
    await this.#running?.stop();
    await this.#second?.stop();
    await this.#cluster?.stop();
    if (typeof this.disk !== 'string') await this.disk.remove();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The physical world and the logs outlive a power cut of the laboratory's computer. */
  #prepareState(): void {
    mkdirSync(this.#state, { recursive: true, mode: 0o711 });
    writeFileSync(join(this.#state, 'laboratory.json'), JSON.stringify({ kind: 'demo', ports: {} }));
    for (const name of ['robot', 'logs']) {
      mkdirSync(join(this.#folder, name));
      symlinkSync(join(this.#folder, name), join(this.#state, name));
    }
  }

  async #powerOn(): Promise<void> {
    if (this.#options.cluster) this.#cluster = await this.#startCluster();
    await this.#startSecondRobot();
    const env = { ...this.#env, ...this.#cluster?.environment };
    this.#running = await RunningLaboratory.find(env, () => undefined);
    this.#pool = new pg.Pool({ connectionString: this.#databaseUrl('postgres'), max: 4 });
    // The server is killed on purpose; what was asked of it fails by itself.
    this.#pool.on('error', () => undefined);
    this.#pool.on('connect', (client) => client.on('error', () => undefined));
  }

  async #startSecondRobot(): Promise<void> {
    const { wire, control } = this.#secondPorts;
    this.#second = await startChild({
      script: 'devices/simulators/store-robot.ts',
      args: [
        ...['--data', join(this.#folder, 'second-robot'), '--port', String(wire)],
        ...['--control-port', String(control), '--speed', SPEED, '--seed', String(this.#options.seed)],
      ],
      env: process.env,
      logFile: join(this.#folder, 'logs', 'second-robot.log'),
    });
  }

  #startCluster(): Promise<TemporalCluster> {
    return startTemporalCluster({
      programs: loadEnvironment(process.env, []),
      stateDir: join(this.#state, '..', 'cluster'),
    });
  }

  async #killCluster(cluster: TemporalCluster): Promise<void> {
    process.kill(cluster.pid, 'SIGKILL');
    await cluster.ended;
    await cluster.stop(); // its PostgreSQL too: from the disk it has nothing to read from any more
  }

  async #restartCluster(): Promise<void> {
    await this.#cluster?.stop();
    this.#cluster = await this.#startCluster();
  }

  /** A second robot with a store and a station, and empty containers for both. */
  async #furnish(): Promise<void> {
    const { apiAddress, credentials, controller, cellAddress } = this.#running;
    const first = new Client(apiAddress, credentials);
    const me = await first.get('/auth/me', Me);
    if (me.station?.robotId === undefined) throw new Error('the demo laboratory has no station at its robot');
    const { wire, control } = this.#secondPorts;
    const secondRobot = await enrolSecondRobot(first, { host: controller.host, port: wire });
    const second = new Client(apiAddress, {
      ...credentials,
      station: await this.#enrolStation(me, secondRobot),
    });
    this.#sites = [
      await furnish('DEMO', me.station.robotId, new PatientCell(cellAddress), first),
      await furnish('SECOND', secondRobot, new PatientCell(`http://127.0.0.1:${control}`), second),
    ];
  }

  /** The API has no way to enrol stations. */
  async #enrolStation({ tenant, user }: Me, robotId: string): Promise<{ id: string; secret: string }> {
    const actor = { tenantId: tenant.id, userId: user.id, role: user.role, stationId: null };
    return this.asWorker(async (db) => {
      const { id, secret } = await enrolStation(db, { actor }, { name: 'Second robot station', robotId });
      return { id, secret };
    });
  }

  #databaseUrl(role: 'postgres' | 'tracseq_app'): string {
    const { ports } = Ports.parse(JSON.parse(readFileSync(join(this.#state, 'laboratory.json'), 'utf8')));
    const secret = readFileSync(`${clusterFolder(join(this.#state, 'postgres'))}.secret`, 'utf8');
    const password = role === 'postgres' ? secret : rolePassword(role, secret);
    return `postgresql://${role}:${password}@127.0.0.1:${ports.PostgreSQL}/tracseq`;
  }
}
