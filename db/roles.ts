import { createHash } from 'node:crypto';
import pg from 'pg';

/** The roles the application needs, none of which is a superuser or may bypass row-level security. */
export const LOGIN_ROLES = ['tracseq_owner', 'tracseq_app', 'tracseq_relay', 'tracseq_signer'] as const;
/** Roles nobody signs in as: they own the functions that cross tenants (ledger head, sign-in look-up). */
const FUNCTION_ROLES = ['ledger_owner', 'tracseq_signin'] as const;

export type LoginRole = (typeof LOGIN_ROLES)[number];

/** Password of a role in a cluster, derived from the cluster's own secret so that no second secret is kept. */
export function rolePassword(role: LoginRole, clusterSecret: string): string {
  return createHash('sha256').update(`${role}\n${clusterSecret}`).digest('base64url');
}

/**
 * Creates the roles and the database where missing; safe to repeat. Needs a superuser's connection.
 * @param adminUrl connection URL of a superuser, to any database of the cluster
 * @param database name of the application's database
 */
export async function ensureRolesAndDatabase(
  adminUrl: string,
  database: string,
  clusterSecret: string,
): Promise<void> {
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  try {
    const existing = await admin.query<{ rolname: string }>('SELECT rolname FROM pg_roles');
    const has = new Set(existing.rows.map((row) => row.rolname));
    for (const role of LOGIN_ROLES) {
      const password = pg.escapeLiteral(rolePassword(role, clusterSecret));
      const verb = has.has(role) ? 'ALTER' : 'CREATE';
      await admin.query(
        `${verb} ROLE ${role} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD ${password}`,
      );
    }
    for (const role of FUNCTION_ROLES) {
      if (!has.has(role)) await admin.query(`CREATE ROLE ${role} NOLOGIN NOSUPERUSER NOBYPASSRLS`);
      await admin.query(`GRANT ${role} TO tracseq_owner WITH INHERIT FALSE, SET TRUE`);
    }
    const found = await admin.query('SELECT 1 FROM pg_database WHERE datname = $1', [database]);
    if (found.rowCount === 0) {
      await admin.query(`CREATE DATABASE ${pg.escapeIdentifier(database)} OWNER tracseq_owner`);
    }
  } finally {
    await admin.end();
  }
}
