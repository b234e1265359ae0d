import { generateKeyPairSync } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { openDatabase } from '../db/connection.ts';
import { createApp } from './app.ts';
import { createAuthenticator } from './authenticator.ts';
import { createLog } from './log.ts';
import { createMetrics } from './metrics.ts';
import { OPENAPI_INFO } from './openapi.ts';
import { createTokenIssuer, toSigningKey } from './tokens.ts';

/** The document of all that is built, made without a database, a workflow service or an environment. */
export async function openApiDocument(): Promise<unknown> {
  // Connections are made when something is asked of them, and nothing is.
  const db = openDatabase('postgresql://nobody@127.0.0.1:1/none');
  const connection = Connection.lazy({ address: '127.0.0.1:1' });
  const now = () => new Date();
  const key = await toSigningKey(generateKeyPairSync('ed25519').privateKey, 'a new key');
  try {
    const app = createApp({
      db,
      temporal: new Client({ connection }),
      tokens: createTokenIssuer(key, now),
      authenticator: createAuthenticator(key.publicKey, () => Promise.resolve([]), now),
      metrics: createMetrics(false),
      log: createLog('silent', 'openapi'),
      now,
      features: { automation: true },
      temporalUiUrl: null,
      temporalNamespace: 'default',
    });
    return app.getOpenAPI31Document(OPENAPI_INFO);
  } finally {
    await Promise.all([db.close(), connection.close()]);
  }
}
