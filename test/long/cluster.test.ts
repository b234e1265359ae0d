import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadEnvironment } from '../../schemas/environment.ts';
import { startTemporalCluster, type TemporalCluster } from '../../stack/cluster/server.ts';
import { TEST_SETTINGS } from '../../stack/postgres.ts';

const stateDir = mkdtempSync(join(tmpdir(), 'tracseq-cluster-'));
chmodSync(stateDir, 0o755); // PostgreSQL may run as another user
const start = () =>
  startTemporalCluster({
    programs: loadEnvironment(process.env, []),
    stateDir,
    postgresSettings: TEST_SETTINGS,
    say: console.log,
  });
let cluster: TemporalCluster | undefined;

// The server is built with Go when it is not in the cache.
beforeAll(async () => {
  cluster = await start();
}, 20 * 60_000);
afterAll(async () => {
  await cluster?.stop();
  rmSync(stateDir, { recursive: true, force: true });
});

function running(): TemporalCluster {
  if (!cluster) throw new Error('the cluster does not run');
  return cluster;
}

async function withConnection<T>(body: (connection: Connection) => Promise<T>): Promise<T> {
  const { address, tls } = running();
  const connection = await Connection.connect({ address, tls });
  try {
    return await body(connection);
  } finally {
    await connection.close();
  }
}

test('nobody is let in without a certificate of the test CA', async () => {
  const { address, tls } = running();
  const { serverRootCACertificate, serverNameOverride } = tls;
  const plain = Connection.connect({ address, connectTimeout: '3s' });
  await expect(plain).rejects.toThrow();
  const unnamed = Connection.connect({
    address,
    connectTimeout: '3s',
    tls: {
      ...(serverRootCACertificate && { serverRootCACertificate }),
      ...(serverNameOverride && { serverNameOverride }),
    },
  });
  await expect(unnamed).rejects.toThrow();
});

test('the namespace keeps histories for the retention and knows the search attributes', async () => {
  const { namespace } = running();
  await withConnection(async (connection) => {
    const { config } = await connection.workflowService.describeNamespace({ namespace });
    expect(Number(config?.workflowExecutionRetentionTtl?.seconds)).toBe(30 * 24 * 3600);
    const { customAttributes } = await connection.operatorService.listSearchAttributes({
      namespace,
    });
    expect(Object.keys(customAttributes ?? {})).toEqual(
      expect.arrayContaining(['Tenant', 'JobKind', 'JobState', 'SampleId', 'RobotId']),
    );
  });
});

test('workflows under way are there again after a stop and a start, at the same address', async () => {
  const { address } = running();
  await withConnection((connection) =>
    new Client({ connection }).workflow.start('waiting', { taskQueue: 'nobody', workflowId: 'under-way' }),
  );
  await running().stop();
  cluster = await start();
  expect(cluster.address).toBe(address);
  await withConnection(async (connection) => {
    const found = await new Client({ connection }).workflow.getHandle('under-way').describe();
    expect(found.status.name).toBe('RUNNING');
  });
});
