import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import pg from 'pg';
import { DomainError, ERRORS, type Refusal } from '../domain/errors.ts';
import type { Problem } from '../schemas/problem.ts';
import { withoutNullsIn } from './absent.ts';
import type { ApiEnv } from './dependencies.ts';
import { findJsonMistake } from './malformed.ts';
import { problemType } from './route.ts';
import { isServiceFailure } from './workflow-service.ts';

/** Seconds after which a caller may try again when a part does not answer. */
const RETRY_AFTER_S = 2;

/**
 * The one place that turns whatever was thrown into an RFC 9457 reply. What is not a refusal of ours is logged and
 * answered without saying what it was.
 */
export async function answerError(error: Error, c: Context<ApiEnv>): Promise<Response> {
  const known = await recognise(error, c);
  if (ERRORS[known.code].status >= 500) {
    c.var.dependencies.log.error({ requestId: c.var.requestId, err: error }, known.detail);
  }
  return problemResponse(known, c);
}

/** A refusal as RFC 9457 problem details. */
export function toProblem(refusal: Refusal, c: Context<ApiEnv>): Problem {
  const { status, title } = ERRORS[refusal.code];
  return {
    type: problemType(refusal.code),
    title,
    status,
    code: refusal.code,
    detail: refusal.detail,
    instance: c.req.path,
    requestId: c.var.requestId,
    ...(refusal.errors && { errors: refusal.errors.map((one) => ({ ...one })) }),
    ...(refusal.facts && { facts: withoutNullsIn(refusal.facts) }),
  };
}

/** Writes a refusal as problem+json. */
export function problemResponse(refusal: Refusal, c: Context<ApiEnv>): Response {
  const { status } = ERRORS[refusal.code];
  c.header('content-type', 'application/problem+json');
  c.header('cache-control', 'no-store');
  if (status === 401) c.header('www-authenticate', 'Bearer realm="tracseq"');
  if (status === 503) c.header('retry-after', String(RETRY_AFTER_S));
  if (status === 429 && typeof refusal.facts?.retryAfterSeconds === 'number') {
    c.header('retry-after', String(refusal.facts.retryAfterSeconds));
  }
  return c.body(JSON.stringify(toProblem(refusal, c)), status);
}

async function recognise(error: Error, c: Context<ApiEnv>): Promise<DomainError> {
  if (error instanceof DomainError) return error;
  if (error instanceof HTTPException) return fromHono(error, c);
  if (isDatabaseUnreachable(error)) {
    return new DomainError(
      'DATABASE_UNAVAILABLE',
      'The database does not answer; nothing was changed. Try again.',
    );
  }
  if (isServiceFailure(error)) {
    return new DomainError('WORKFLOWS_UNAVAILABLE', 'The workflow service does not answer. Try again.');
  }
  // Class 22: the data itself cannot be stored, e.g. a text with a zero byte. Always the input's doing.
  if (error instanceof pg.DatabaseError && error.code?.startsWith('22')) {
    return new DomainError(
      'VALIDATION',
      'A value cannot be stored: it is out of range, or a text holds a zero character.',
    );
  }
  return new DomainError(
    'INTERNAL',
    'Something failed here that is not the request’s fault. It is in the log under requestId.',
  );
}

/** What the framework refuses on its own account. */
async function fromHono(error: HTTPException, c: Context<ApiEnv>): Promise<DomainError> {
  if (error.status === 415) {
    const sent = c.req.header('content-type');
    return new DomainError(
      'UNSUPPORTED_MEDIA_TYPE',
      `The body should be application/json, but ${sent ? `says it is ${sent.slice(0, 100)}` : 'has no content-type'}.`,
    );
  }
  if (error.status === 413) return new DomainError('BODY_TOO_LARGE', error.message);
  if (error.status === 400) {
    const mistake = findJsonMistake(await c.req.text());
    return new DomainError(
      'MALFORMED_BODY',
      mistake
        ? `The body is not JSON: line ${mistake.line}, column ${mistake.column} should have ${mistake.expected}.`
        : 'The body cannot be read as JSON.',
      mistake ? { facts: { line: mistake.line, column: mistake.column } } : {},
    );
  }
  return new DomainError(
    'INTERNAL',
    'Something failed here that is not the request’s fault. It is in the log under requestId.',
    {
      cause: error,
    },
  );
}

const SOCKET_ERRORS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
]);

/** Lost connection, shutdown, too many connections, statement timeout, and deadlocks that outlived their retries. */
function isDatabaseUnreachable(error: Error): boolean {
  const code: unknown = Reflect.get(error, 'code');
  if (error instanceof pg.DatabaseError) {
    return typeof code === 'string' && /^(08|53|57P0|57014|40001|40P01|55P03)/.test(code);
  }
  if (error instanceof AggregateError)
    return error.errors.some((one) => one instanceof Error && isDatabaseUnreachable(one));
  if (typeof code === 'string' && SOCKET_ERRORS.has(code)) return true;
  return /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|not queryable/.test(
    error.message,
  );
}
