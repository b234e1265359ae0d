import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CompiledQuery,
  type ConnectionProvider,
  type DatabaseConnection,
  DefaultQueryExecutor,
  PostgresAdapter,
  PostgresDialect,
  PostgresDriver,
  PostgresQueryCompiler,
  type QueryResult,
  Transaction,
} from 'kysely';
import pg from 'pg';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';

/** A prepared statement whose table was changed by a migration: a new connection knows the new one. */
const STALE_STATEMENT = '0A000';
/** Serialisation failure, deadlock, stale statement: nothing was done, the same transaction may be tried again. */
const RETRYABLE = new Set(['40001', '40P01', STALE_STATEMENT]);
const ATTEMPTS = 5;

/**
 * Runs `body` in one transaction that sees one tenant's rows: for bookkeeping and reads of several statements. A change of
 * a ledgered row goes through `withChange`. Serialisation failures and deadlocks are tried again, so `body` may run more
 * than once and must have no effect outside the transaction.
 * @throws whatever `body` or the database throws; then nothing was written
 */
export function inTenant<T>(
  db: Database,
  tenantId: string,
  body: (tx: Transaction<DB>) => Promise<T>,
): Promise<T> {
  return transact<T, T>(
    db,
    tenantId,
    async (_tx, _startedAt, result) => ({ result, last: [] }),
    (tx) => body(tx),
  );
}

/** Statements that end a transaction, sent together with its COMMIT. */
export interface Outcome<T> {
  readonly result: T;
  readonly last: readonly pg.QueryConfig[];
}

/**
 * The transaction under `inTenant` and `withChange`. What `body` returns in `last` goes out in one flush with the COMMIT,
 * so that a lock taken there is held for no round trip.
 * @param lead begins before the server has answered BEGIN; its result goes to `body`
 */
export async function transact<T, L>(
  db: Database,
  tenantId: string,
  body: (tx: Transaction<DB>, startedAt: Date, led: L) => Promise<Outcome<T>>,
  lead: (tx: Transaction<DB>) => Promise<L>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await transactOnce(db, tenantId, body, lead);
    } catch (error) {
      if (attempt === ATTEMPTS || !RETRYABLE.has(sqlStateOf(error) ?? '')) throw error;
      await sleep(5 * 2 ** attempt * (0.5 + Math.random()));
    }
  }
}

/** SQLSTATE of a database error, e.g. `23505`; undefined when the error did not come from the database. */
export function sqlStateOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

async function transactOnce<T, L>(
  db: Database,
  tenantId: string,
  body: (tx: Transaction<DB>, startedAt: Date, led: L) => Promise<Outcome<T>>,
  lead: (tx: Transaction<DB>) => Promise<L>,
): Promise<T> {
  const client = await db.pool.connect();
  let broken: Error | undefined;
  try {
    const tx = transactionOn(client);
    const [opening, led] = await Promise.allSettled([
      flush(client, [BEGIN, enterTenant(tenantId)]),
      lead(tx),
    ]);
    // What went wrong first is the cause: where the beginning failed, everything behind it did.
    if (opening.status === 'rejected') throw opening.reason;
    if (led.status === 'rejected') throw led.reason;
    const startedAt: unknown = opening.value[1]?.rows[0]?.started_at;
    if (!(startedAt instanceof Date)) throw new Error('the transaction did not tell its time');
    const { result, last } = await body(tx, startedAt, led.value);
    const answers = await flush(client, [...last, COMMIT]);
    // After an error inside the transaction COMMIT succeeds, and says ROLLBACK.
    const verdict = answers.at(-1)?.command;
    if (verdict !== 'COMMIT') throw new Error(`the transaction ended with ${verdict}, nothing was written`);
    return result;
  } catch (error) {
    if (error instanceof Error && sqlStateOf(error) === STALE_STATEMENT) broken = error;
    try {
      await client.query(ROLLBACK);
    } catch (failed) {
      broken = failed instanceof Error ? failed : new Error(String(failed));
    }
    throw error;
  } finally {
    client.release(broken);
  }
}

/**
 * One read in one flush: begin, set_config, the query, commit. Half the time of the four sent one by one.
 * @param query built with `db.kysely`, then `.compile()`
 * @param name keeps the query prepared on each connection under this name from its first use on: for queries that are
 *   asked often and always have the same text
 */
export async function read<R>(
  db: Database,
  tenantId: string,
  query: CompiledQuery<R>,
  name?: string,
): Promise<R[]> {
  const client = await db.pool.connect();
  let broken: Error | undefined;
  try {
    const [, , answer, end] = await flush(client, [
      BEGIN_READ_ONLY,
      enterTenant(tenantId),
      name ? { name, text: query.sql, values: [...query.parameters] } : statementOf(query),
      COMMIT,
    ]);
    if (answer === undefined || end?.command !== 'COMMIT')
      throw new Error(`the read ended with ${end?.command}`);
    return answer.rows;
  } catch (error) {
    // COMMIT has ended the transaction already, unless the connection is gone.
    const state = sqlStateOf(error);
    if (error instanceof Error && (state === undefined || state === STALE_STATEMENT)) broken = error;
    throw error;
  } finally {
    client.release(broken);
  }
}

/**
 * Bookkeeping in one flush: begin, set_config, statements whose answers nobody needs, commit. All of them or none.
 * @throws the first error
 */
export async function write(
  db: Database,
  tenantId: string,
  queries: readonly CompiledQuery[],
): Promise<void> {
  const client = await db.pool.connect();
  let broken: Error | undefined;
  try {
    const answers = await flush(client, [BEGIN, enterTenant(tenantId), ...queries.map(statementOf), COMMIT]);
    const verdict = answers.at(-1)?.command;
    if (verdict !== 'COMMIT') throw new Error(`the transaction ended with ${verdict}, nothing was written`);
  } catch (error) {
    // COMMIT has ended the transaction already, unless the connection is gone.
    const state = sqlStateOf(error);
    if (error instanceof Error && (state === undefined || state === STALE_STATEMENT)) broken = error;
    throw error;
  } finally {
    client.release(broken);
  }
}

const BEGIN: pg.QueryConfig = { text: 'BEGIN' };
const BEGIN_READ_ONLY: pg.QueryConfig = { text: 'BEGIN READ ONLY' };
const COMMIT: pg.QueryConfig = { text: 'COMMIT' };
const ROLLBACK: pg.QueryConfig = { text: 'ROLLBACK' };

function enterTenant(tenantId: string): pg.QueryConfig {
  return {
    name: 'enter_tenant',
    text: `SELECT set_config('app.tenant', $1, true), date_trunc('milliseconds', clock_timestamp()) AS started_at`,
    values: [tenantId],
  };
}

/**
 * Sends all queries in one write before the first answer, waits for every answer, then throws the first error if there
 * is one.
 */
async function flush(client: pg.PoolClient, queries: readonly pg.QueryConfig[]): Promise<pg.QueryResult[]> {
  const stream = client instanceof pg.Client ? client.connection.stream : null;
  // Each write is a system call, and may wake the server for a part of what it is to do.
  stream?.cork();
  let sent: Promise<pg.QueryResult>[];
  try {
    sent = queries.map((query) => client.query(query));
  } finally {
    stream?.uncork();
  }
  const answers = await Promise.allSettled(sent);
  return answers.map((answer) => {
    if (answer.status === 'rejected') throw answer.reason;
    return answer.value;
  });
}

/** A query as it is sent; under a name, and so prepared, once it is sent often. */
export function statementOf(query: CompiledQuery): pg.QueryConfig {
  const name = preparedName(query.sql);
  return { text: query.sql, values: [...query.parameters], ...(name !== undefined && { name }) };
}

/** A text that this process has sent so often is kept prepared from then on: neither parsed nor, mostly, planned again. */
const PREPARE_FROM = 5;
/** Each connection keeps what was prepared on it; texts beyond these are sent as before. */
const MOST_TEXTS = 300;
const timesSent = new Map<string, number>();
const preparedNames = new Map<string, string>();

function preparedName(text: string): string | undefined {
  const name = preparedNames.get(text);
  if (name !== undefined) return name;
  const times = (timesSent.get(text) ?? 0) + 1;
  if (times < PREPARE_FROM) {
    if (timesSent.size >= MOST_TEXTS) timesSent.clear();
    timesSent.set(text, times);
    return undefined;
  }
  timesSent.delete(text);
  if (preparedNames.size >= MOST_TEXTS) return undefined;
  const given = `often_${preparedNames.size}`;
  preparedNames.set(text, given);
  return given;
}

/** Kysely over one connection that is in a transaction already; its statements may be sent without waiting for each other. */
function transactionOn(client: pg.PoolClient): Transaction<DB> {
  const connection = new OpenConnection(client);
  const provider: ConnectionProvider = { provideConnection: (consumer) => consumer(connection) };
  const dialect = new PostgresDialect({
    pool: () => Promise.reject(new Error('a transaction opens no connection')),
  });
  return new Transaction<DB>({
    config: { dialect },
    dialect,
    driver: new PostgresDriver({
      pool: () => Promise.reject(new Error('a transaction opens no connection')),
    }),
    executor: new DefaultQueryExecutor(new PostgresQueryCompiler(), new PostgresAdapter(), provider),
  });
}

class OpenConnection implements DatabaseConnection {
  readonly #client: pg.PoolClient;

  constructor(client: pg.PoolClient) {
    this.#client = client;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const { command, rowCount, rows } = await this.#client.query(statementOf(query));
    const counted =
      command === 'INSERT' || command === 'UPDATE' || command === 'DELETE' || command === 'MERGE';
    return { rows, ...(counted && { numAffectedRows: BigInt(rowCount ?? 0) }) };
  }

  // biome-ignore lint/correctness/useYield: the interface asks for a generator
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('a pipelined connection has no cursors: read through Database.cursors');
  }
}
