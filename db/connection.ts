import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { DB } from './schema.ts';
import { SharedConnections } from './shared-connections.ts';

/** A pool of connections of one role, and Kysely over it. Rows are reached through `inTenant`, `read` and `withChange`. */
export interface Database {
  /** for building queries; running one outside a tenant fails, as the policies say */
  readonly kysely: Kysely<DB>;
  readonly pool: pg.Pool;
  /** few connections for long reads by cursor, so that they do not keep others waiting */
  readonly cursors: pg.Pool;
  /** for single statements that read by key */
  readonly shared: SharedConnections;
  close(): Promise<void>;
}

const INT8 = 20;
/** Enough to keep a processor of the database busy while another answer is on its way. */
const SHARED = 2;
/** What takes longer than this is no read by key, and holds up others. */
const SHARED_STATEMENT_MS = 5_000;

/**
 * Opens a database; connections are made when needed. `int8` is read as a number: every count and sequence here stays
 * below 2^53, and a value that does not is an error rather than a rounded number.
 * @param url connection URL of the role to use
 * @param options.max most connections at a time
 */
export function openDatabase(url: string, options: { readonly max?: number } = {}): Database {
  const common: pg.PoolConfig = {
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    // A process that hangs in the middle of a transaction must not hold its locks for ever.
    idle_in_transaction_session_timeout: 60_000,
    types: { getTypeParser: parserOf },
  };
  const pool = new pg.Pool({ ...common, max: options.max ?? 10, pipeline: true });
  // Portals and pipelining exclude each other, so long reads have connections of their own.
  const cursors = new pg.Pool({ ...common, max: 2 });
  // A connection that breaks (a restart of the server) fails the query that uses it, and the pool replaces it. Without
  // these listeners the same error, raised as an event, would end the process.
  for (const each of [pool, cursors]) {
    each.on('error', () => undefined);
    each.on('connect', (client) => client.on('error', () => undefined));
  }
  const sharedConnections = new SharedConnections(
    { ...common, statement_timeout: SHARED_STATEMENT_MS },
    SHARED,
  );
  const kysely = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) });
  return {
    kysely,
    pool,
    cursors,
    shared: sharedConnections,
    async close() {
      await Promise.all([pool.end(), cursors.end(), sharedConnections.close()]);
    },
  };
}

const parserOf: pg.CustomTypesConfig['getTypeParser'] = (oid: number, format?: 'text' | 'binary') =>
  oid === INT8 && format !== 'binary' ? parseInt8 : pg.types.getTypeParser(oid, format ?? 'text');

function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} does not fit a number`);
  return value;
}

/**
 * Checks that the connection's role is bound by row-level security: neither superuser nor BYPASSRLS, nor owner of a table.
 * Every process that serves people or devices calls it before it says it is ready.
 * @throws Error naming the role and what is wrong with it
 */
export async function assertApplicationRole(db: Database): Promise<void> {
  const { rows } = await db.pool.query<{ role: string; super: boolean; bypass: boolean; owns: boolean }>(
    `SELECT current_user AS role, rolsuper AS super, rolbypassrls AS bypass,
            EXISTS (SELECT 1 FROM pg_class WHERE relkind IN ('r', 'p') AND relowner = r.oid) AS owns
     FROM pg_roles r WHERE rolname = current_user`,
  );
  const found = rows[0];
  if (found === undefined) throw new Error('the database does not tell which role this connection has');
  const wrong = [
    found.super && 'is a superuser',
    found.bypass && 'has BYPASSRLS',
    found.owns && 'owns tables',
  ].filter((fault) => fault !== false);
  if (wrong.length > 0) {
    throw new Error(
      `database role ${found.role} ${wrong.join(', ')}: the application needs a role bound by row-level security, ` +
        'such as tracseq_app',
    );
  }
}
