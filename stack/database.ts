import { migrate } from '../db/migrate.ts';
import { ensureRolesAndDatabase, type LoginRole, rolePassword } from '../db/roles.ts';
import type { Settings } from '../schemas/environment.ts';
import type { Cluster } from './postgres.ts';

/** Name of the application's database in the built-in cluster. */
const DATABASE = 'tracseq';

/** How each part reaches the database: by the role that may do what the part does, and no more. */
export interface DatabaseUrls {
  readonly app: string;
  readonly relay: string;
  /** null where a database from outside comes without it */
  readonly owner: string | null;
  readonly signer: string | null;
}

/** Makes what is missing in the built-in cluster: roles and the database. */
export async function prepareCluster(cluster: Cluster): Promise<DatabaseUrls & { readonly owner: string }> {
  await ensureRolesAndDatabase(cluster.adminUrl, DATABASE, new URL(cluster.adminUrl).password);
  return applicationUrls(cluster.adminUrl);
}

/** How the roles reach the application's database in a built-in cluster. */
export function applicationUrls(adminUrl: string): DatabaseUrls & { readonly owner: string } {
  const secret = new URL(adminUrl).password;
  const as = (role: LoginRole) => {
    const url = new URL(adminUrl);
    url.username = role;
    url.password = rolePassword(role, secret);
    url.pathname = `/${DATABASE}`;
    return url.href;
  };
  return {
    app: as('tracseq_app'),
    relay: as('tracseq_relay'),
    owner: as('tracseq_owner'),
    signer: as('tracseq_signer'),
  };
}

/**
 * The database that the environment names; undefined when it names none.
 * @throws Error when it names the application's role alone
 */
export function databaseFromOutside(settings: Settings): DatabaseUrls | undefined {
  const { databaseUrl, relayDatabaseUrl, ownerDatabaseUrl, signerDatabaseUrl } = settings;
  if (databaseUrl === null) return undefined;
  if (relayDatabaseUrl === null) {
    throw new Error(
      'STORAGE_DATABASE_URL is set, STORAGE_RELAY_DATABASE_URL is not: events are relayed by a role of its own. Set both.',
    );
  }
  return { app: databaseUrl, relay: relayDatabaseUrl, owner: ownerDatabaseUrl, signer: signerDatabaseUrl };
}

/** Applies missing migrations where the owner's role is known. */
export async function migrateWith(urls: DatabaseUrls): Promise<string> {
  if (urls.owner === null) return 'left to whoever owns the database (no STORAGE_OWNER_DATABASE_URL)';
  const applied = await migrate(urls.owner);
  return applied.length === 0 ? 'all applied' : `${applied.length} applied`;
}
