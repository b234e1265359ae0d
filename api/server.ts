import { once } from 'node:events';
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { Client, Connection } from '@temporalio/client';
import { assertApplicationRole, openDatabase } from '../db/connection.ts';
import { closedSessionsSince } from '../db/session.ts';
import { loadEnvironment, temporalConnection } from '../schemas/environment.ts';
import { createApp } from './app.ts';
import { createAuthenticator } from './authenticator.ts';
import { createLog } from './log.ts';
import { createMetrics } from './metrics.ts';
import { createTokenIssuer, loadSigningKey } from './tokens.ts';

/** Connections to the database: reads are one flush each, so that few serve many requests. */
const POOL = 20;
/** Requests under way at a stop may take this long to end. */
const GRACE_MS = 10_000;

const environment = loadEnvironment(process.env, ['databaseUrl', 'temporalAddress', 'tokenSigningKeyPath']);
const log = createLog(environment.logLevel, 'api');
const db = openDatabase(environment.databaseUrl, { max: POOL });
const connection = Connection.lazy(temporalConnection(environment));
const now = () => new Date();
const key = await loadSigningKey(environment.tokenSigningKeyPath);
await assertApplicationRole(db);

const app = createApp({
  db,
  temporal: new Client({ connection, namespace: environment.temporalNamespace }),
  tokens: createTokenIssuer(key, now),
  authenticator: createAuthenticator(key.publicKey, (moment) => closedSessionsSince(db, moment), now),
  metrics: createMetrics(true),
  log,
  now,
  features: { automation: environment.automationEnabled },
  proxyHops: environment.proxyHops,
  temporalUiUrl: environment.temporalUiUrl?.replace(/\/$/, '') ?? null,
  temporalNamespace: environment.temporalNamespace,
});

const server = createServer(getRequestListener(app.fetch));
// Slow senders hold a socket, not a worker: headers within 10 s, the whole request within 30 s.
server.headersTimeout = 10_000;
server.requestTimeout = 30_000;
server.keepAliveTimeout = 65_000;
server.maxHeadersCount = 100;

let stopping = false;
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  log.info('stopping');
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  const giveUp = setTimeout(() => server.closeAllConnections(), GRACE_MS);
  await closed;
  clearTimeout(giveUp);
  await Promise.allSettled([db.close(), connection.close()]);
  process.exit(0);
}
process.on('SIGINT', () => void stop());
process.on('SIGTERM', () => void stop());
// Whoever started this process is gone: nobody would stop it.
process.on('disconnect', () => void stop());

server.on('error', (error) => {
  log.fatal({ err: error }, `cannot listen on ${environment.storageHost}:${environment.storagePort}`);
  process.exit(1);
});
server.listen(environment.storagePort, environment.storageHost, () => {
  // Said on every log level: whoever started this process waits for it.
  console.log(`ready api http://${environment.storageHost}:${environment.storagePort}`);
});
