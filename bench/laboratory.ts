import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import pg from 'pg';
import { createTokenIssuer, loadSigningKey, type TokenIssuer } from '../api/tokens.ts';
import { openDatabase } from '../db/connection.ts';
import { createTenant } from '../db/identity.ts';
import type { Actor } from '../domain/actor.ts';
import { startChild } from '../stack/child.ts';
import { type DatabaseUrls, migrateWith, prepareCluster } from '../stack/database.ts';
import { startCluster } from '../stack/postgres.ts';
import { freePort } from '../stack/processes.ts';
import type { RunningPart } from '../stack/supervisor.ts';
import { ensureNamespace, startTemporal } from '../stack/temporal.ts';
import { findTemporal } from '../stack/temporal-binary.ts';
import { ensureSigningKey } from '../stack/token-key.ts';

/** A simulated robot on the wire, and how to reach its side channel. */
export interface SimulatedRobot {
  readonly modbusPort: number;
  readonly controlUrl: string;
}

/**
 * The laboratory that is measured: every part in a process of its own, and data kept as it is for real samples
 * (fsync on in PostgreSQL, synchronous=FULL in Temporal's file).
 */
export class BenchLaboratory {
  readonly folder = mkdtempSync(join(tmpdir(), 'tracseq-bench-'));
  readonly #parts: RunningPart[] = [];
  readonly #names = new Map<string, number>();
  readonly #closers: (() => Promise<unknown>)[] = [];
  urls!: DatabaseUrls & { readonly owner: string };
  adminUrl = '';
  apiPort = 0;
  temporalAddress = '';
  temporal!: Client;
  tokens!: TokenIssuer;
  actor!: Actor;
  token = '';

  static async open(options: { readonly workers: boolean }): Promise<BenchLaboratory> {
    const laboratory = new BenchLaboratory();
    try {
      await laboratory.#start(options.workers);
    } catch (error) {
      await laboratory.close();
      throw error;
    }
    return laboratory;
  }

  async #start(workers: boolean): Promise<void> {
    chmodSync(this.folder, 0o755);
    const cluster = await startCluster({
      dataDir: join(this.folder, 'postgres'),
      port: await freePort(),
      settings: ['max_connections=200', 'shared_buffers=1GB', 'max_wal_size=4GB'],
      logFile: join(this.folder, 'postgres.log'),
    });
    this.#parts.push(cluster);
    this.#names.set('PostgreSQL', cluster.pid);
    this.urls = await prepareCluster(cluster);
    this.adminUrl = cluster.adminUrl.replace(/\/postgres$/, '/tracseq');
    await migrateWith(this.urls);
    const keyFile = join(this.folder, 'key.pem');
    ensureSigningKey(keyFile);
    this.tokens = createTokenIssuer(await loadSigningKey(keyFile), () => new Date());
    const owner = openDatabase(this.urls.owner, { max: 2 });
    const { administrator } = await createTenant(owner, {
      name: 'Bench',
      administrator: { email: 'bench@tracseq.local', displayName: 'Bench', password: 'bench-password-1' },
    });
    await owner.close();
    this.actor = administrator;
    this.token = await this.tokenOf(administrator);

    const binary = await findTemporal(process.env.TEMPORAL_CLI_PATH ?? null, (line) => console.error(line));
    const temporal = await startTemporal({
      binary: binary.path,
      port: await freePort(),
      uiPort: null,
      databaseFile: join(this.folder, 'temporal.db'),
      durable: true,
      logFile: join(this.folder, 'temporal.log'),
    });
    this.#parts.push(temporal);
    this.#names.set('Temporal', temporal.pid);
    this.temporalAddress = temporal.address;
    await ensureNamespace(temporal.address, 'default');
    const connection = await Connection.connect({ address: temporal.address });
    this.#closers.push(() => connection.close());
    this.temporal = new Client({ connection });

    this.apiPort = await freePort();
    if (workers) {
      await Promise.all([
        this.start('workflow worker', 'workers/control.ts'),
        this.start('robot gateway', 'workers/gateway.ts'),
      ]);
    }
    await this.start('API', 'api/server.ts', {
      STORAGE_PORT: String(this.apiPort),
      TOKEN_SIGNING_KEY_PATH: keyFile,
      LOG_LEVEL: 'warn',
    });
  }

  /** Starts one more process beside the others; it is stopped with them. */
  async start(
    name: string,
    script: string,
    env: Record<string, string> = {},
    args: readonly string[] = [],
  ): Promise<RunningPart> {
    const part = await startChild({
      script,
      args,
      env: {
        ...process.env,
        STORAGE_DATABASE_URL: this.urls.app,
        TEMPORAL_ADDRESS: this.temporalAddress,
        // Nothing that is measured here publishes; the setting is one every process asks for.
        MQTT_BROKER_URL: 'mqtt://127.0.0.1:1',
        ...env,
      },
      logFile: join(this.folder, `${name.replaceAll(' ', '-')}.log`),
    });
    this.#parts.push(part);
    this.#names.set(name, part.pid);
    return part;
  }

  async startRobot(name: string, seed: number, speed = 0): Promise<SimulatedRobot> {
    const [modbusPort, controlPort] = [await freePort(), await freePort()];
    await this.start(`simulator ${name}`, 'devices/simulators/store-robot.ts', {}, [
      ...['--data', join(this.folder, name), '--port', String(modbusPort)],
      ...['--control-port', String(controlPort), '--speed', String(speed), '--seed', String(seed)],
    ]);
    return { modbusPort, controlUrl: `http://127.0.0.1:${controlPort}` };
  }

  /** Processes by name, for their memory. */
  pids(): ReadonlyMap<string, number> {
    return this.#names;
  }

  async tokenOf(actor: Actor): Promise<string> {
    const { token } = await this.tokens.issue({ actor, sessionId: crypto.randomUUID() });
    return token;
  }

  /** Calls the API over HTTP; the reply's status and body. */
  async call<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: T }> {
    const reply = await fetch(`http://127.0.0.1:${this.apiPort}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: reply.status, body: (await reply.json()) as T };
  }

  /** As `call`, for what must succeed. */
  async must<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> {
    const reply = await this.call<T>(method, path, body);
    if (reply.status >= 300)
      throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
    return reply.body;
  }

  /** Rows by the superuser: seeding and auditing only. */
  async sql<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> {
    const client = new pg.Client({ connectionString: this.adminUrl });
    await client.connect();
    try {
      return (await client.query<R>(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  /** Waits until a count reaches `expected`. */
  async untilCount(query: string, expected: number, seconds: number): Promise<void> {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const [row] = await this.sql<{ n: number }>(query);
      if ((row?.n ?? 0) >= expected) return;
      if (Date.now() > end) throw new Error(`${query} is ${row?.n} after ${seconds} s, not ${expected}`);
      await sleep(20);
    }
  }

  /** Most events in the history of any job's workflow. */
  async longestHistory(): Promise<number> {
    let longest = 0;
    for (const { workflow_id } of await this.sql<{ workflow_id: string }>('SELECT workflow_id FROM job')) {
      const { historyLength } = await this.temporal.workflow.getHandle(workflow_id).describe();
      longest = Math.max(longest, historyLength);
    }
    return longest;
  }

  async close(): Promise<void> {
    for (const close of this.#closers) await close();
    for (const part of this.#parts.reverse()) await part.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
