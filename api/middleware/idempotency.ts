import { createHash } from 'node:crypto';
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Transaction } from 'kysely';
import { findStoredReply, type StoredReply, storeReply } from '../../db/idempotency.ts';
import type { DB } from '../../db/schema.ts';
import { DomainError } from '../../domain/errors.ts';
import type { ApiEnv } from '../dependencies.ts';

/** The Idempotency-Key of one request: hashed, so that what clients put into it is not kept. */
export interface IdempotencyClaim {
  readonly keyHash: Buffer;
  /** of method, path and body: the same key with another request is a mistake */
  readonly bodyHash: Buffer;
  /** set when an earlier request with this key started a process whose reply is not stored yet */
  readonly jobId: string | null;
}

/** RFC 8941 sf-string, or the bare characters that many clients send. */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"$/;
const BARE = /^[\x21\x23-\x7e]{1,255}$/;

function readKey(header: string): string {
  const quoted = QUOTED.exec(header.trim());
  if (quoted?.[1] !== undefined) return quoted[1].replaceAll(/\\(["\\])/g, '$1');
  if (BARE.test(header.trim())) return header.trim();
  throw new DomainError(
    'VALIDATION',
    'The Idempotency-Key should have 1 to 255 printable characters, quoted or bare.',
    {
      errors: [{ pointer: 'Idempotency-Key', detail: 'should have 1 to 255 printable ASCII characters' }],
    },
  );
}

/**
 * Answers a repeated POST with the reply of the first. Runs after the token was checked, since keys belong to a
 * tenant and an actor. The reply itself is stored by the handler, in the transaction of the change: `rememberReply`.
 * @throws DomainError IDEMPOTENCY_KEY_REUSED, VALIDATION
 */
export const acceptIdempotencyKey = createMiddleware<ApiEnv>(async (c, next) => {
  c.set('idempotency', null);
  const header = c.req.method === 'POST' ? c.req.header('idempotency-key') : undefined;
  if (header === undefined) return next();
  const { actor, dependencies } = c.var;
  const keyHash = createHash('sha256').update(readKey(header)).digest();
  const bodyHash = createHash('sha256')
    .update(`${c.req.method} ${c.req.path}\n`)
    .update(new Uint8Array(await c.req.arrayBuffer()))
    .digest();
  const stored = await findStoredReply(dependencies.db, actor.tenantId, actor.userId, keyHash);
  if (stored) {
    if (!stored.bodyHash.equals(bodyHash)) {
      throw new DomainError(
        'IDEMPOTENCY_KEY_REUSED',
        'This Idempotency-Key came with another request before: use a new key for a new request.',
      );
    }
    if (stored.status !== null) return replay(c, stored, stored.status);
    if (stored.jobId === null) {
      throw new DomainError(
        'IDEMPOTENCY_KEY_BUSY',
        'The first request with this key is still running: ask again.',
      );
    }
  }
  c.set('idempotency', { keyHash, bodyHash, jobId: stored?.jobId ?? null });
  return next();
});

function replay(c: Context<ApiEnv>, stored: StoredReply, status: number): Response {
  const headers = new Headers({
    'content-type': status < 400 ? 'application/json' : 'application/problem+json',
    'idempotency-replayed': 'true',
  });
  if (stored.location !== null) headers.set('location', stored.location);
  c.res = new Response(status === 204 ? null : JSON.stringify(stored.reply), { status, headers });
  return c.res;
}

/**
 * Stores the reply of a record change under the request's Idempotency-Key, in the change's own transaction; without a
 * key it does nothing. A request with the same key that commits first makes this one fail as busy.
 * @throws DomainError IDEMPOTENCY_KEY_BUSY
 */
export async function rememberReply(
  c: Context<ApiEnv>,
  tx: Transaction<DB>,
  reply: { status: number; body: unknown; location?: string },
): Promise<void> {
  const claim = c.var.idempotency;
  if (claim === null) return;
  await storeReply(tx, {
    tenantId: c.var.actor.tenantId,
    actorId: c.var.actor.userId,
    keyHash: claim.keyHash,
    bodyHash: claim.bodyHash,
    status: reply.status,
    reply: reply.body,
    location: reply.location ?? null,
  });
}
