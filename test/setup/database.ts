import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { type LoginRole, rolePassword } from '../../db/roles.ts';

/** Name of the migrated database that tests clone. */
export const TEMPLATE = 'tracseq_template';

/** A database of its own for one test file. */
export interface TestDatabase {
  readonly name: string;
  readonly ownerUrl: string;
  readonly appUrl: string;
  readonly relayUrl: string;
  readonly signerUrl: string;
  /** superuser, whom row-level security does not bind: for looking, and for planting damage */
  readonly adminUrl: string;
  drop(): Promise<void>;
}

/** Clones the migrated template: about 30 ms. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  await asAdmin(`CREATE DATABASE ${name} OWNER tracseq_owner TEMPLATE ${TEMPLATE} STRATEGY file_copy`);
  return {
    name,
    ownerUrl: urlOf(name, 'tracseq_owner'),
    appUrl: urlOf(name, 'tracseq_app'),
    relayUrl: urlOf(name, 'tracseq_relay'),
    signerUrl: urlOf(name, 'tracseq_signer'),
    adminUrl: urlOf(name),
    drop: () => asAdmin(`DROP DATABASE ${name} WITH (FORCE)`),
  };
}

function urlOf(database: string, role?: LoginRole): string {
  const url = new URL(inject('postgresAdminUrl'));
  url.pathname = `/${database}`;
  if (role !== undefined) {
    url.username = role;
    url.password = rolePassword(role, inject('clusterSecret'));
  }
  return url.href;
}

async function asAdmin(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: inject('postgresAdminUrl') });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
