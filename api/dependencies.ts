import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import type { Database } from '../db/connection.ts';
import type { Actor } from '../domain/actor.ts';
import type { Authenticator } from './authenticator.ts';
import type { Metrics } from './metrics.ts';
import type { IdempotencyClaim } from './middleware/idempotency.ts';
import type { TokenIssuer } from './tokens.ts';

/** Everything the application needs from outside, made once at the entry point. */
export interface AppDependencies {
  readonly db: Database;
  readonly temporal: Client;
  /** issues access tokens */
  readonly tokens: TokenIssuer;
  /** tells from a token who is asking */
  readonly authenticator: Authenticator;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly now: () => Date;
  /** parts that can be switched off */
  readonly features: { readonly automation: boolean };
  /** where people look at workflows, without a trailing slash; null when nobody may */
  readonly temporalUiUrl: string | null;
  readonly temporalNamespace: string;
  /** how many proxies of ours stand before the API; 0 when left out: callers reach it themselves */
  readonly proxyHops?: number;
  /** limits, lowered by tests */
  readonly limits?: Partial<Limits>;
}

export interface Limits {
  /** bytes of a request's body */
  readonly bodyBytes: number;
  /** bytes of a list of moves */
  readonly movesBytes: number;
  /** bytes of a file that is imported; it is read as it comes */
  readonly importBytes: number;
  /** failed sign-ins for one e-mail address from one host, and from one host, before they have to wait */
  readonly signInFailuresPerAddressAndHost: number;
  readonly signInFailuresPerHost: number;
  /** failed sign-ins for one e-mail address, from wherever, before each waits longer than the one before */
  readonly signInFailuresPerAddress: number;
  /** seconds in which those are counted, and the wait of the first two */
  readonly signInWindowSeconds: number;
  /** milliseconds the early answer of a process may take before 202 goes out without a position */
  readonly earlyAnswerMs: number;
  /** milliseconds a person waits for the answer to a scan; by then a step has been tried several times */
  readonly answerMs: number;
}

export const DEFAULT_LIMITS: Limits = {
  bodyBytes: 1024 * 1024,
  movesBytes: 4 * 1024 * 1024,
  importBytes: 1024 * 1024 * 1024,
  signInFailuresPerAddressAndHost: 10,
  signInFailuresPerHost: 100,
  signInFailuresPerAddress: 30,
  signInWindowSeconds: 15 * 60,
  earlyAnswerMs: 5_000,
  answerMs: 10_000,
};

/** What a request carries through the middleware. */
export interface ApiEnv {
  Variables: {
    dependencies: AppDependencies;
    limits: Limits;
    requestId: string;
    /** who is asking; set on every route that names an action */
    actor: Actor;
    /** the session of the token */
    sessionId: string;
    /** the Idempotency-Key of a POST, when one was sent */
    idempotency: IdempotencyClaim | null;
  };
}
