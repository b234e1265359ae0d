import type { KeyObject } from 'node:crypto';
import { errors, jwtVerify } from 'jose';
import { type Actor, ROLES, type Role } from '../domain/actor.ts';
import { DomainError } from '../domain/errors.ts';
import { ACCESS_TOKEN_S, AUDIENCE, ISSUER, TOKEN_TYPE } from './tokens.ts';

/** Who a token speaks for. */
interface Identity {
  readonly actor: Actor;
  readonly sessionId: string;
}

export interface Authenticator {
  /**
   * @param authorization the header as sent
   * @throws DomainError UNAUTHENTICATED, saying what is wrong with the token
   */
  identify(authorization: string | undefined): Promise<Identity>;
  /** Forgets tokens of a session closed by this very process, without waiting for the next look. */
  sessionClosed(sessionId: string): void;
}

/** A closed session as the database reports it. */
export interface ClosedSession {
  readonly sessionId: string;
  readonly closedAt: Date;
}

/** Closed sessions are asked for again after this time … */
const LOOK_EVERY_MS = 2_000;
/** … and a request waits for the answer when the last one is older than this, so that 5 s hold after a quiet spell too. */
const TRUST_MS = 4_000;
/** Commits become visible later than the time they carry, and clocks differ: each look reaches back this far. */
const OVERLAP_MS = 60_000;
/** A token cannot outlive this, so neither need the memory of its closed session. */
const REMEMBER_MS = ACCESS_TOKEN_S * 1000 + OVERLAP_MS;
const MAX_CACHED = 10_000;
const CLOCK_TOLERANCE_S = 5;

/**
 * Verifies access tokens; verified ones are kept until they expire or their session closes.
 * @param closedSince sessions of all tenants closed at or after a moment
 */
export function createAuthenticator(
  key: KeyObject,
  closedSince: (moment: Date) => Promise<readonly ClosedSession[]>,
  now: () => Date,
): Authenticator {
  const verified = new Map<string, Identity & { readonly expiresAtMs: number }>();
  const closed = new Map<string, number>();
  let lookedAt: number | null = null;
  let looking: Promise<void> | null = null;

  async function look(startedAt: number): Promise<void> {
    const from = lookedAt === null ? startedAt - REMEMBER_MS : lookedAt - OVERLAP_MS;
    for (const session of await closedSince(new Date(from))) {
      closed.set(session.sessionId, session.closedAt.getTime());
    }
    lookedAt = startedAt;
    for (const [sessionId, at] of closed) if (at < startedAt - REMEMBER_MS) closed.delete(sessionId);
  }

  /** At most one look at a time, shared by everybody who waits. */
  function refresh(nowMs: number): Promise<void> {
    looking ??= look(nowMs).finally(() => {
      looking = null;
    });
    return looking;
  }

  async function hearOfClosedSessions(nowMs: number): Promise<void> {
    const age = lookedAt === null ? Number.POSITIVE_INFINITY : nowMs - lookedAt;
    if (age > TRUST_MS) await refresh(nowMs);
    // A failure here is found out, and reported, by the request that has to wait for the next look.
    else if (age > LOOK_EVERY_MS) refresh(nowMs).catch(() => undefined);
  }

  async function verify(token: string): Promise<Identity & { readonly expiresAtMs: number }> {
    requireCanonical(token);
    const { payload } = await jwtVerify(token, key, {
      algorithms: ['EdDSA'],
      issuer: ISSUER,
      audience: AUDIENCE,
      typ: TOKEN_TYPE,
      maxTokenAge: ACCESS_TOKEN_S,
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['sub', 'jti', 'tid', 'sid', 'exp', 'iat'],
      currentDate: now(),
    }).catch((error: unknown) => {
      throw refusal(error);
    });
    const { sub, tid, sid, role, station, exp } = payload;
    if (
      !isUuid(sub) ||
      !isUuid(tid) ||
      !isUuid(sid) ||
      !isRole(role) ||
      !(station === undefined || isUuid(station)) ||
      exp === undefined
    ) {
      throw unauthenticated('The token lacks a claim that is needed here.');
    }
    return {
      actor: { tenantId: tid, userId: sub, role, stationId: station ?? null },
      sessionId: sid,
      expiresAtMs: exp * 1000,
    };
  }

  return {
    async identify(authorization) {
      const token = bearer(authorization);
      const nowMs = now().getTime();
      let identity = verified.get(token);
      if (identity && identity.expiresAtMs <= nowMs) {
        verified.delete(token);
        throw unauthenticated('The token has expired: refresh it or sign in again.');
      }
      if (!identity) {
        identity = await verify(token);
        // Oldest out: insertion order is close enough to expiry order.
        if (verified.size >= MAX_CACHED)
          for (const oldest of verified.keys()) {
            verified.delete(oldest);
            break;
          }
        verified.set(token, identity);
      }
      await hearOfClosedSessions(nowMs);
      if (closed.has(identity.sessionId)) {
        verified.delete(token);
        throw unauthenticated('The session of this token has been closed: sign in again.');
      }
      return identity;
    },
    sessionClosed(sessionId) {
      closed.set(sessionId, now().getTime());
    },
  };
}

function unauthenticated(detail: string): DomainError {
  return new DomainError('UNAUTHENTICATED', detail);
}

function bearer(authorization: string | undefined): string {
  if (authorization === undefined) {
    throw unauthenticated('Send a token: Authorization: Bearer …, from POST /auth/sign-in.');
  }
  const found = /^Bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)$/i.exec(authorization);
  if (!found?.[1] || authorization.length > 4_096) {
    throw unauthenticated('The Authorization header should be "Bearer" and a token of three parts.');
  }
  return found[1];
}

/** One token has one spelling: base64url that decodes alike but is written otherwise is refused (RFC 7515 §2). */
function requireCanonical(token: string): void {
  for (const part of token.split('.')) {
    if (Buffer.from(part, 'base64url').toString('base64url') !== part) {
      throw unauthenticated('The token is not written in canonical base64url.');
    }
  }
}

function refusal(error: unknown): DomainError {
  if (error instanceof errors.JWTExpired) {
    return unauthenticated('The token has expired: refresh it or sign in again.');
  }
  return unauthenticated('The token was not issued here, or has been changed.');
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function isUuid(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value);
}

function isRole(value: unknown): value is Role {
  return typeof value === 'string' && (ROLES as readonly string[]).includes(value);
}
