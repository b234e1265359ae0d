import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** Days a key is remembered: longer than the longest offline buffer of a client. */
const IDEMPOTENCY_DAYS = 30;
const FORGOTTEN_BEFORE = sql<Date>`now() - make_interval(days => ${sql.lit(IDEMPOTENCY_DAYS)})`;

/** What is known of an earlier request with the same key. */
export interface StoredReply {
  /** SHA-256 of method, path and body of the first request */
  readonly bodyHash: Buffer;
  /** the process it started, if it started one */
  readonly jobId: string | null;
  /** HTTP status; null until the first reply is stored */
  readonly status: number | null;
  readonly reply: unknown;
  /** the Location header */
  readonly location: string | null;
}

/** A request that carries a key, named by tenant, actor and SHA-256 of the key. */
export interface KeyedRequest {
  readonly tenantId: string;
  readonly actorId: string;
  readonly keyHash: Buffer;
  readonly bodyHash: Buffer;
}

/** What is stored under a key; undefined when the key is new or was forgotten after {@link IDEMPOTENCY_DAYS}. */
export async function findStoredReply(
  db: Database,
  tenantId: string,
  actorId: string,
  keyHash: Buffer,
): Promise<StoredReply | undefined> {
  const [row] = await read(
    db,
    tenantId,
    db.kysely
      .selectFrom('idempotency_key')
      .select(['body_hash', 'job_id', 'status', 'reply', 'location'])
      .where('tenant_id', '=', tenantId)
      .where('actor_id', '=', actorId)
      .where('key_hash', '=', keyHash)
      .where('created_at', '>=', FORGOTTEN_BEFORE)
      .compile(),
    'stored_reply',
  );
  return (
    row && {
      bodyHash: row.body_hash,
      jobId: row.job_id,
      status: row.status,
      reply: row.reply,
      location: row.location,
    }
  );
}

/**
 * Takes a key for a process, in the transaction that writes its job, or for a message to it: from then on a repeat finds
 * the job instead of starting another, and another request is refused. Waits for a transaction that is taking the same key.
 * @throws DomainError IDEMPOTENCY_KEY_BUSY or IDEMPOTENCY_KEY_REUSED when another request took the key first
 */
export async function takeKeyForJob(
  tx: Transaction<DB>,
  request: KeyedRequest,
  jobId: string,
): Promise<void> {
  const taken = await tx
    .insertInto('idempotency_key')
    .values({ ...columnsOf(request), job_id: jobId })
    .onConflict((conflict) =>
      conflict
        .columns(['tenant_id', 'actor_id', 'key_hash'])
        .doUpdateSet((eb) => ({
          body_hash: eb.ref('excluded.body_hash'),
          job_id: eb.ref('excluded.job_id'),
          status: null,
          reply: null,
          location: null,
          created_at: sql<Date>`now()`,
        }))
        .where('idempotency_key.created_at', '<', FORGOTTEN_BEFORE),
    )
    .returning('job_id')
    .executeTakeFirst();
  if (!taken) await refuse(tx, request);
}

/**
 * Stores the reply of a request, in the transaction of its change; for a process, once its early answer is there. Waits
 * for a transaction that is storing under the same key.
 * @throws DomainError IDEMPOTENCY_KEY_BUSY or IDEMPOTENCY_KEY_REUSED when another request has stored its reply first:
 *   the change must then not be committed
 */
export async function storeReply(
  tx: Transaction<DB>,
  request: KeyedRequest & {
    readonly status: number;
    readonly reply: unknown;
    readonly location: string | null;
  },
): Promise<void> {
  const reply = request.reply === undefined ? null : JSON.stringify(request.reply);
  const stored = await tx
    .insertInto('idempotency_key')
    .values({ ...columnsOf(request), status: request.status, reply, location: request.location })
    .onConflict((conflict) =>
      conflict
        .columns(['tenant_id', 'actor_id', 'key_hash'])
        .doUpdateSet((eb) => ({
          body_hash: eb.ref('excluded.body_hash'),
          status: eb.ref('excluded.status'),
          reply: eb.ref('excluded.reply'),
          location: eb.ref('excluded.location'),
          // A forgotten key starts anew; that of a process keeps its job and its age.
          job_id: sql<string | null>`CASE WHEN idempotency_key.created_at >= ${FORGOTTEN_BEFORE}
                                          THEN idempotency_key.job_id END`,
          created_at: sql<Date>`CASE WHEN idempotency_key.created_at >= ${FORGOTTEN_BEFORE}
                                     THEN idempotency_key.created_at ELSE now() END`,
        }))
        .where((eb) =>
          eb.or([
            eb('idempotency_key.created_at', '<', FORGOTTEN_BEFORE),
            eb.and([
              eb('idempotency_key.status', 'is', null),
              eb('idempotency_key.body_hash', '=', request.bodyHash),
            ]),
          ]),
        ),
    )
    .returning('status')
    .executeTakeFirst();
  if (!stored) await refuse(tx, request);
}

function columnsOf(request: KeyedRequest) {
  return {
    tenant_id: request.tenantId,
    actor_id: request.actorId,
    key_hash: request.keyHash,
    body_hash: request.bodyHash,
  };
}

async function refuse(tx: Transaction<DB>, request: KeyedRequest): Promise<never> {
  const first = await tx
    .selectFrom('idempotency_key')
    .select('body_hash')
    .where('tenant_id', '=', request.tenantId)
    .where('actor_id', '=', request.actorId)
    .where('key_hash', '=', request.keyHash)
    .executeTakeFirst();
  if (first && !first.body_hash.equals(request.bodyHash)) {
    throw new DomainError(
      'IDEMPOTENCY_KEY_REUSED',
      'This Idempotency-Key came with another request before: use a new key for a new request.',
    );
  }
  throw new DomainError(
    'IDEMPOTENCY_KEY_BUSY',
    'Another request with this key was faster: ask again for its reply.',
  );
}

/**
 * Forgets the keys of one tenant that are older than {@link IDEMPOTENCY_DAYS}.
 * @returns how many
 */
export async function forgetOldKeys(tx: Transaction<DB>, tenantId: string): Promise<number> {
  const deleted = await tx
    .deleteFrom('idempotency_key')
    .where('tenant_id', '=', tenantId)
    .where('created_at', '<', FORGOTTEN_BEFORE)
    .executeTakeFirst();
  return Number(deleted.numDeletedRows);
}
