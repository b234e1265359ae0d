import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../db/migrate.ts';
import { ensureRolesAndDatabase, rolePassword } from '../../db/roles.ts';
import { loadEnvironment } from '../../schemas/environment.ts';
import { startTemporalCluster } from '../../stack/cluster/server.ts';
import { type Cluster, startCluster, TEST_SETTINGS } from '../../stack/postgres.ts';
import { endProcess, freePort, identify, isRunning, type ProcessIdentity } from '../../stack/processes.ts';
import { ensureNamespace, startTemporal } from '../../stack/temporal.ts';
import { findTemporal } from '../../stack/temporal-binary.ts';
import { startWatchdog } from '../../stack/watchdog.ts';
import { TEMPLATE } from './database.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** superuser's URL of the run's PostgreSQL cluster */
    postgresAdminUrl: string;
    /** what the passwords of the application's roles are derived from */
    clusterSecret: string;
    temporalAddress: string;
    /** environment variables for a server with mutual TLS; empty for one without */
    temporalTls: Record<string, string>;
    /** the Temporal CLI, for tests that start a server of their own */
    temporalBinary: string;
    /** file of the workflow bundle; empty when there are no workflows */
    workflowBundlePath: string;
  }
}

/** The run's server: the CLI's, or with TEST_TEMPORAL=cluster the real one on PostgreSQL with mutual TLS. */
interface TestTemporal {
  readonly address: string;
  readonly tls: Record<string, string>;
  stop(): Promise<void>;
}

const PREFIX = 'tracseq-test-';
const WORKFLOWS = new URL('../../workflows/index.ts', import.meta.url).pathname;

/** Starts once for a run what its tests share: PostgreSQL with a migrated template, Temporal, the workflow bundle. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  await clearLeftovers();
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  chmodSync(folder, 0o755); // PostgreSQL may run as another user
  const processes: ProcessIdentity[] = [];
  const keep = (pid: number) => {
    const identity = identify(pid);
    if (identity) processes.push(identity);
    writeFileSync(join(folder, 'processes.json'), JSON.stringify(processes));
  };
  keep(process.pid);
  const watchdog = startWatchdog();
  const clusterSecret = randomBytes(16).toString('hex');

  const postgres = async (): Promise<Cluster> => {
    const cluster = await startCluster({
      dataDir: join(folder, 'postgres'),
      port: await freePort(),
      settings: TEST_SETTINGS,
      logFile: join(folder, 'postgres.log'),
    });
    keep(cluster.pid);
    watchdog.watch(cluster.pid, 'SIGINT');
    await ensureRolesAndDatabase(cluster.adminUrl, TEMPLATE, clusterSecret);
    const owner = new URL(cluster.adminUrl);
    owner.username = 'tracseq_owner';
    owner.password = rolePassword('tracseq_owner', clusterSecret);
    owner.pathname = `/${TEMPLATE}`;
    await migrate(owner.href);
    return cluster;
  };
  const temporal = async (): Promise<{ server: TestTemporal; binary: string }> => {
    const binary = await findTemporal(process.env.TEMPORAL_CLI_PATH ?? null, (line) => console.log(line));
    if (process.env.TEST_TEMPORAL === 'cluster') {
      const cluster = await startTemporalCluster({
        programs: loadEnvironment(process.env, []),
        stateDir: join(folder, 'cluster'),
        postgresSettings: TEST_SETTINGS,
        say: (line) => console.log(`Temporal cluster: ${line}`),
      });
      keep(cluster.pid);
      const { TEMPORAL_ADDRESS, ...tls } = cluster.environment;
      return { server: { address: cluster.address, tls, stop: () => cluster.stop() }, binary: binary.path };
    }
    const server = await startTemporal({
      binary: binary.path,
      port: await freePort(),
      uiPort: null,
      databaseFile: join(folder, 'temporal.db'),
      durable: false,
      logFile: join(folder, 'temporal.log'),
    });
    keep(server.pid);
    watchdog.watch(server.pid, 'SIGTERM');
    await ensureNamespace(server.address, 'default');
    return {
      server: {
        address: server.address,
        tls: {},
        async stop() {
          await server.stop();
          watchdog.forget(server.pid);
        },
      },
      binary: binary.path,
    };
  };
  const bundle = async (): Promise<string> => {
    if (!existsSync(WORKFLOWS)) return '';
    const { code } = await bundleWorkflowCode({
      workflowsPath: WORKFLOWS,
      logger: new DefaultLogger('WARN'),
    });
    const path = join(folder, 'workflows.js');
    writeFileSync(path, code);
    return path;
  };

  // All are waited for, so that none starts after the others were ended for the failure of one.
  const starting = [postgres(), temporal(), bundle()] as const;
  await Promise.allSettled(starting);
  const [cluster, { server, binary }, bundlePath] = await Promise.all(starting).catch((error: unknown) => {
    watchdog.close();
    throw error;
  });
  project.provide('postgresAdminUrl', cluster.adminUrl);
  project.provide('clusterSecret', clusterSecret);
  project.provide('temporalAddress', server.address);
  project.provide('temporalTls', server.tls);
  project.provide('temporalBinary', binary);
  project.provide('workflowBundlePath', bundlePath);

  return async () => {
    await Promise.all([server.stop(), cluster.stop()]);
    watchdog.forget(cluster.pid);
    watchdog.close();
    rmSync(folder, { recursive: true, force: true });
  };
}

/** Ends and removes what runs left behind that were killed together with their watchdog. */
async function clearLeftovers(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(PREFIX))) {
    const folder = join(tmpdir(), name);
    const list = join(folder, 'processes.json');
    if (!existsSync(list)) continue; // another run is just starting
    const [owner, ...started] = JSON.parse(readFileSync(list, 'utf8')) as ProcessIdentity[];
    if (owner === undefined || isRunning(owner)) continue;
    for (const identity of started) await endProcess(identity, 'SIGQUIT');
    rmSync(folder, { recursive: true, force: true });
  }
}
