import { execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Connection, type TLSConfig } from '@temporalio/client';
import pg from 'pg';
import { postgresUser, startCluster as startPostgres } from '../postgres.ts';
import { endProcess, identify, isRunning, type ProcessIdentity, portIsFree, until } from '../processes.ts';
import { reachableFolder } from '../reachable.ts';
import { ensureNamespace } from '../temporal.ts';
import { startWatchdog } from '../watchdog.ts';
import { type NamedBinaries, type ServerBinaries, serverBinaries } from './binaries.ts';
import { issueCertificates } from './certificates.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url));
const DATABASES = { temporal: 'postgresql/v12/temporal', temporal_visibility: 'postgresql/v12/visibility' };
const PORTS = [
  'POSTGRES',
  'FRONTEND_GRPC',
  'FRONTEND_HTTP',
  'FRONTEND_MEMBERSHIP',
  'MATCHING_GRPC',
  'MATCHING_MEMBERSHIP',
  'HISTORY_GRPC',
  'HISTORY_MEMBERSHIP',
  'WORKER_GRPC',
  'WORKER_MEMBERSHIP',
] as const;

export interface ClusterOptions {
  readonly programs: NamedBinaries;
  /** folder of the cluster's state; another one is taken when PostgreSQL's user cannot reach it */
  readonly stateDir: string;
  /** port wished for the frontend; any free one when it is taken */
  readonly port?: number;
  readonly namespace?: string;
  /** PostgreSQL settings, e.g. TEST_SETTINGS for data that may be lost */
  readonly postgresSettings?: readonly string[];
  /** told what is being done */
  readonly say?: (line: string) => void;
}

/** A Temporal server on PostgreSQL with mutual TLS, on this machine. */
export interface TemporalCluster {
  readonly address: string;
  readonly namespace: string;
  /** what a client needs to be let in */
  readonly tls: TLSConfig;
  /** the same for a process of its own: environment variables with addresses and files */
  readonly environment: Readonly<Record<string, string>>;
  readonly postgresPort: number;
  /** where the state really is */
  readonly stateDir: string;
  readonly logFile: string;
  readonly pid: number;
  /** resolves when the server has ended, for whatever reason */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

interface KeptState {
  readonly ports: Record<(typeof PORTS)[number], number>;
  readonly password: string;
  readonly server: ProcessIdentity | null;
}

/**
 * Starts the production shape of Temporal from binaries, with the configuration that docker-compose.yml uses: the real
 * server 1.29.1 on the embedded PostgreSQL, schema by its SQL tool, one test CA and mutual TLS, namespace with retention
 * and search attributes. State and ports are kept: a second start goes on with the same workflows.
 * @throws Error with the log's place when the server does not come up
 */
export async function startTemporalCluster(options: ClusterOptions): Promise<TemporalCluster> {
  const { namespace = 'default', say = () => undefined } = options;
  const binaries = await serverBinaries(options.programs, say);
  const postgresOwner = postgresUser();
  const stateDir = reachableFolder(options.stateDir, postgresOwner);
  if (stateDir !== options.stateDir)
    say(`PostgreSQL's user cannot reach ${options.stateDir}: the state is in ${stateDir}`);
  mkdirSync(stateDir, { recursive: true, mode: 0o755 });
  const stateFile = join(stateDir, 'cluster.json');
  const kept = readState(stateFile);
  if (kept?.server && isRunning(kept.server)) {
    say(`ending the server left over from an earlier run (pid ${kept.server.pid})`);
    await endProcess(kept.server);
  }
  const ports = await choosePorts(kept?.ports, options.port);
  const password = kept?.password ?? randomBytes(24).toString('base64url');
  const keep = (server: ProcessIdentity | null) =>
    writeFileSync(stateFile, JSON.stringify({ ports, password, server } satisfies KeptState), {
      mode: 0o600,
    });
  keep(null);

  const certificates = join(stateDir, 'certificates');
  issueCertificates(certificates, [
    { name: 'temporal', hosts: ['temporal', 'localhost', '127.0.0.1'] },
    {
      name: 'postgres',
      hosts: ['postgres', 'localhost', '127.0.0.1'],
      ...(postgresOwner && { owner: postgresOwner.uid }),
    },
    { name: 'tracseq', hosts: ['tracseq', 'localhost', '127.0.0.1'] },
  ]);

  say('starting PostgreSQL');
  const postgres = await startPostgres({
    dataDir: join(stateDir, 'postgres'),
    port: ports.POSTGRES,
    settings: [
      'ssl=on',
      `ssl_cert_file=${join(certificates, 'postgres', 'cert.pem')}`,
      `ssl_key_file=${join(certificates, 'postgres', 'key.pem')}`,
      ...(options.postgresSettings ?? []),
    ],
    logFile: join(stateDir, 'postgres.log'),
    say,
  });
  const watchdog = startWatchdog();
  watchdog.watch(postgres.pid, 'SIGINT');
  try {
    say('setting up the databases');
    await ensureDatabases(postgres.adminUrl, password);
    const caFile = join(certificates, 'temporal', 'ca.pem');
    for (const [database, schema] of Object.entries(DATABASES)) {
      bringSchemaUp(binaries, { database, schema, port: ports.POSTGRES, password, caFile });
    }

    say('starting the Temporal server');
    const logFile = join(stateDir, 'temporal-server.log');
    const log = openSync(logFile, 'a');
    const child = spawn(
      binaries.server,
      ['--root', DEPLOY, '--config', 'temporal', '--env', 'server', '--allow-no-auth', 'start'],
      {
        stdio: ['ignore', log, log],
        cwd: '/',
        detached: true, // a group of its own: Ctrl-C is for us to handle, in order
        env: {
          ...Object.fromEntries(
            Object.entries(ports)
              .filter(([name]) => name !== 'POSTGRES')
              .map(([name, port]) => [`${name}_PORT`, String(port)]),
          ),
          CERTIFICATES: join(certificates, 'temporal'),
          DYNAMIC_CONFIG_PATH: join(DEPLOY, 'temporal', 'dynamic.yaml'),
          POSTGRES_ADDRESS: `127.0.0.1:${ports.POSTGRES}`,
          POSTGRES_USER: 'temporal',
          POSTGRES_PASSWORD: password,
          LOG_LEVEL: 'warn',
        },
      },
    );
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    const pid = child.pid ?? -1;
    keep(identify(pid) ?? null);
    watchdog.watch(pid, 'SIGTERM');
    const stopServer = async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        const insist = setTimeout(() => child.kill('SIGKILL'), 15_000);
        await ended;
        clearTimeout(insist);
      }
      watchdog.forget(pid);
      keep(null);
    };
    try {
      const address = `127.0.0.1:${ports.FRONTEND_GRPC}`;
      const client = join(certificates, 'tracseq');
      const tls: TLSConfig = {
        serverRootCACertificate: readFileSync(join(client, 'ca.pem')),
        clientCertPair: {
          crt: readFileSync(join(client, 'cert.pem')),
          key: readFileSync(join(client, 'key.pem')),
        },
        serverNameOverride: 'temporal',
      };
      await until(`the Temporal server on ${address} answering`, 60_000, async () => {
        if (child.exitCode !== null || child.signalCode !== null || pid === -1) {
          throw new Error(`the Temporal server did not start; its log is ${logFile}`);
        }
        return answers(address, tls);
      });
      say('setting up the namespace');
      await ensureNamespace(address, namespace, tls);
      return {
        address,
        namespace,
        tls,
        environment: {
          TEMPORAL_ADDRESS: address,
          TEMPORAL_NAMESPACE: namespace,
          TEMPORAL_TLS_SERVER_CA_CERT_PATH: join(client, 'ca.pem'),
          TEMPORAL_TLS_CLIENT_CERT_PATH: join(client, 'cert.pem'),
          TEMPORAL_TLS_CLIENT_KEY_PATH: join(client, 'key.pem'),
          TEMPORAL_TLS_SERVER_NAME: 'temporal',
        },
        postgresPort: ports.POSTGRES,
        stateDir,
        logFile,
        pid,
        ended,
        async stop() {
          await stopServer();
          await postgres.stop();
          watchdog.forget(postgres.pid);
          watchdog.close();
        },
      };
    } catch (error) {
      await stopServer();
      throw error;
    }
  } catch (error) {
    await postgres.stop();
    watchdog.forget(postgres.pid);
    watchdog.close();
    throw error;
  }
}

function readState(file: string): KeptState | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as KeptState) : undefined;
}

/**
 * The ports of the last run where they are free, so that addresses stay as they were; else free ones below 32768:
 * Temporal's schema for PostgreSQL keeps ports as smallint.
 */
async function choosePorts(
  before: KeptState['ports'] | undefined,
  frontend: number | undefined,
): Promise<KeptState['ports']> {
  const taken = new Set<number>();
  const chosen: Partial<Record<(typeof PORTS)[number], number>> = {};
  for (const name of PORTS) {
    let port =
      (name === 'FRONTEND_GRPC' ? frontend : undefined) ?? before?.[name] ?? randomInt(20_000, 32_768);
    while (taken.has(port) || !(await portIsFree(port))) port = randomInt(20_000, 32_768);
    taken.add(port);
    chosen[name] = port;
  }
  return chosen as KeptState['ports'];
}

/** Temporal's own role and databases, apart from the application's. */
async function ensureDatabases(adminUrl: string, password: string): Promise<void> {
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  try {
    const role = await admin.query(`SELECT 1 FROM pg_roles WHERE rolname = 'temporal'`);
    await admin.query(
      `${role.rowCount === 0 ? 'CREATE' : 'ALTER'} ROLE temporal LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE
       PASSWORD ${pg.escapeLiteral(password)}`,
    );
    for (const database of Object.keys(DATABASES)) {
      const found = await admin.query('SELECT 1 FROM pg_database WHERE datname = $1', [database]);
      if (found.rowCount === 0) {
        await admin.query(`CREATE DATABASE ${pg.escapeIdentifier(database)} OWNER temporal`);
      }
    }
  } finally {
    await admin.end();
  }
}

interface Schema {
  readonly database: string;
  /** name of the schema inside the SQL tool */
  readonly schema: string;
  readonly port: number;
  readonly password: string;
  readonly caFile: string;
}

/** Creates the schema where there is none and applies what is missing; repeating it changes nothing. */
function bringSchemaUp({ sqlTool }: ServerBinaries, target: Schema): void {
  for (const command of [
    ['setup-schema', '--version', '0.0'],
    ['update-schema', '--schema-name', target.schema],
  ]) {
    execFileSync(sqlTool, command, {
      env: {
        SQL_PLUGIN: 'postgres12',
        SQL_HOST: '127.0.0.1',
        SQL_PORT: String(target.port),
        SQL_USER: 'temporal',
        SQL_PASSWORD: target.password,
        SQL_DATABASE: target.database,
        SQL_TLS: 'true',
        SQL_TLS_CA_FILE: target.caFile,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }
}

async function answers(address: string, tls: TLSConfig): Promise<boolean> {
  try {
    const connection = await Connection.connect({ address, tls, connectTimeout: '1s' });
    try {
      await connection.workflowService.listNamespaces({ pageSize: 1 });
    } finally {
      await connection.close();
    }
    return true;
  } catch {
    return false; // not up yet; the deadline tells when that is an error
  }
}
