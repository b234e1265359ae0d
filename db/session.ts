import { createHash, randomBytes } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { Actor } from '../domain/actor.ts';
import { DomainError } from '../domain/errors.ts';
import type { ReasonCode } from '../domain/reasons.ts';
import { withChange } from './change.ts';
import type { Database } from './connection.ts';
import { roleOf } from './identity.ts';
import type { DB } from './schema.ts';
import { inTenant } from './tenancy.ts';

/** Days without any use after which a session cannot be refreshed. */
const REFRESH_DAYS = 7;

/** A session just opened or refreshed. */
export interface OpenSession {
  readonly sessionId: string;
  /** who it speaks for, with the role of this moment */
  readonly actor: Actor;
  /** opaque, for one use */
  readonly refreshToken: string;
  readonly refreshExpiresAt: Date;
}

export type CloseReason = 'signed_out' | 'refresh_reused' | 'revoked';

const LEDGER_REASON = {
  signed_out: 'sign_out',
  refresh_reused: 'token_reused',
  revoked: 'revoked',
} as const satisfies Record<CloseReason, ReasonCode>;

/** Opens a session for a user whose password was checked. */
export function openSession(db: Database, actor: Actor): Promise<OpenSession> {
  const sessionId = uuidv7();
  return withChange(db, { actor, reason: 'sign_in' }, async ({ tx, recordedAt, record }) => {
    await tx
      .insertInto('session')
      .values({
        tenant_id: actor.tenantId,
        id: sessionId,
        user_id: actor.userId,
        station_id: actor.stationId,
        opened_at: recordedAt,
      })
      .execute();
    record({
      aggregate: 'session',
      aggregateId: sessionId,
      version: 1,
      type: 'identity.session.opened',
      from: null,
      to: 'open',
      before: null,
      after: { user_id: actor.userId, station_id: actor.stationId },
      data: { session_id: sessionId, user_id: actor.userId, station_id: actor.stationId },
    });
    return { sessionId, actor, ...(await insertRefreshToken(tx, actor.tenantId, sessionId)) };
  });
}

type Rotation =
  | { readonly kind: 'refreshed'; readonly session: OpenSession }
  | { readonly kind: 'reused'; readonly sessionId: string; readonly actor: Actor }
  | { readonly kind: 'refused'; readonly detail: string };

/**
 * Exchanges a refresh token for a new one. A token that was exchanged before has been copied: its session is closed, for
 * the thief and for the owner.
 * @throws DomainError UNAUTHENTICATED
 */
export async function rotateRefreshToken(db: Database, refreshToken: string): Promise<OpenSession> {
  const tenantId = tenantOf(refreshToken);
  if (tenantId === null) throw new DomainError('UNAUTHENTICATED', 'This is not a refresh token.');
  const rotation = await inTenant(db, tenantId, (tx) => rotate(tx, tenantId, refreshToken));
  switch (rotation.kind) {
    case 'refreshed':
      return rotation.session;
    case 'reused':
      await closeSession(db, rotation.actor, rotation.sessionId, 'refresh_reused');
      throw new DomainError(
        'UNAUTHENTICATED',
        'This refresh token was used before, so its session has been closed: sign in again.',
      );
    case 'refused':
      throw new DomainError('UNAUTHENTICATED', rotation.detail);
  }
}

async function rotate(tx: Transaction<DB>, tenantId: string, refreshToken: string): Promise<Rotation> {
  const digest = digestOf(refreshToken);
  const found = await tx
    .selectFrom('refresh_token')
    .innerJoin('session', (join) =>
      join
        .onRef('session.tenant_id', '=', 'refresh_token.tenant_id')
        .onRef('session.id', '=', 'refresh_token.session_id'),
    )
    .innerJoin('app_user', (join) =>
      join.onRef('app_user.tenant_id', '=', 'session.tenant_id').onRef('app_user.id', '=', 'session.user_id'),
    )
    .leftJoin('station', (join) =>
      join
        .onRef('station.tenant_id', '=', 'session.tenant_id')
        .onRef('station.id', '=', 'session.station_id'),
    )
    .select([
      'session.id as session_id',
      'session.closed_at',
      'session.station_id',
      'station.retired_at as station_retired_at',
      'app_user.id as user_id',
      'app_user.role',
      'app_user.disabled_at',
      'refresh_token.used_at',
      sql<boolean>`refresh_token.expires_at <= now()`.as('expired'),
    ])
    .where('refresh_token.tenant_id', '=', tenantId)
    .where('refresh_token.digest', '=', digest)
    // Two exchanges at once: the second waits here, and then sees that the token was used.
    .forUpdate('refresh_token')
    .executeTakeFirst();
  if (!found) return { kind: 'refused', detail: 'Nobody knows this refresh token: sign in again.' };
  const actor: Actor = {
    tenantId,
    userId: found.user_id,
    role: roleOf(found.role),
    stationId: found.station_id,
  };
  const sessionId = found.session_id;
  if (found.closed_at) return { kind: 'refused', detail: 'The session has been closed: sign in again.' };
  if (found.used_at) return { kind: 'reused', sessionId, actor };
  if (found.expired) return { kind: 'refused', detail: 'The refresh token has expired: sign in again.' };
  if (found.disabled_at) return { kind: 'refused', detail: 'The user has been disabled.' };
  if (found.station_retired_at)
    return { kind: 'refused', detail: 'The station has been retired: sign in again.' };
  await tx
    .updateTable('refresh_token')
    .set({ used_at: sql<Date>`now()` })
    .where('tenant_id', '=', tenantId)
    .where('digest', '=', digest)
    .execute();
  const token = await insertRefreshToken(tx, tenantId, sessionId);
  return { kind: 'refreshed', session: { sessionId, actor, ...token } };
}

/**
 * Closes a session; one that is closed already stays as it is.
 * @param actor who closes it
 * @returns whether it was open
 */
export function closeSession(
  db: Database,
  actor: Actor,
  sessionId: string,
  reason: CloseReason,
): Promise<boolean> {
  return withChange(db, { actor, reason: LEDGER_REASON[reason] }, async ({ tx, record }) => {
    const closed = await tx
      .updateTable('session')
      .set((eb) => ({
        closed_at: sql<Date>`clock_timestamp()`,
        close_reason: reason,
        version: eb('version', '+', 1),
      }))
      .where('tenant_id', '=', actor.tenantId)
      .where('id', '=', sessionId)
      .where('closed_at', 'is', null)
      .returning(['version', 'user_id', 'station_id'])
      .executeTakeFirst();
    if (!closed) return false;
    const unchanged = { user_id: closed.user_id, station_id: closed.station_id };
    record({
      aggregate: 'session',
      aggregateId: sessionId,
      version: closed.version,
      type: 'identity.session.closed',
      from: 'open',
      to: 'closed',
      before: { ...unchanged, close_reason: null },
      after: { ...unchanged, close_reason: reason },
      data: { session_id: sessionId, user_id: closed.user_id, close_reason: reason },
    });
    return true;
  });
}

/** Sessions of every tenant that were closed at or after a moment: what token checks have to hear of. */
export async function closedSessionsSince(
  db: Database,
  moment: Date,
): Promise<{ readonly sessionId: string; readonly closedAt: Date }[]> {
  const { rows } = await db.pool.query<{ session_id: string; closed_at: Date }>({
    name: 'sessions_closed_since',
    text: 'SELECT session_id, closed_at FROM signin.sessions_closed_since($1)',
    values: [moment],
  });
  return rows.map((row) => ({ sessionId: row.session_id, closedAt: row.closed_at }));
}

/**
 * Deletes the refresh tokens of one tenant that have expired. Used ones stay until then: they betray a copy.
 * @returns how many
 */
export async function deleteExpiredTokens(tx: Transaction<DB>, tenantId: string): Promise<number> {
  const deleted = await tx
    .deleteFrom('refresh_token')
    .where('tenant_id', '=', tenantId)
    .where('expires_at', '<', sql<Date>`now()`)
    .executeTakeFirst();
  return Number(deleted.numDeletedRows);
}

async function insertRefreshToken(
  tx: Transaction<DB>,
  tenantId: string,
  sessionId: string,
): Promise<Pick<OpenSession, 'refreshToken' | 'refreshExpiresAt'>> {
  const refreshToken = `${tenantId}.${randomBytes(32).toString('base64url')}`;
  const { expires_at } = await tx
    .insertInto('refresh_token')
    .values({
      tenant_id: tenantId,
      digest: digestOf(refreshToken),
      session_id: sessionId,
      expires_at: sql<Date>`now() + make_interval(days => ${sql.lit(REFRESH_DAYS)})`,
    })
    .returning('expires_at')
    .executeTakeFirstOrThrow();
  return { refreshToken, refreshExpiresAt: expires_at };
}

/** A refresh token says which tenant's rows to look into; the rest of it is the secret. */
function tenantOf(refreshToken: string): string | null {
  const found = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.[A-Za-z0-9_-]{43}$/.exec(refreshToken);
  return found?.[1] ?? null;
}

function digestOf(refreshToken: string): Buffer {
  return createHash('sha256').update(refreshToken).digest();
}
