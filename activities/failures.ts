import { ApplicationFailure, TemporalFailure } from '@temporalio/common';
import { DomainError, ERRORS, type ErrorCode } from '../domain/errors.ts';

/** Longest text that goes into a history with a failure, in characters. */
const DETAIL_LENGTH = 400;

/** What a failed activity tells its workflow, in `details[0]`. */
interface FailureDetail {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** SQLSTATE classes of an input or a programme that is wrong: the same again ends the same way. */
const PERMANENT_SQL_CLASSES = new Set(['22', '23', '42', 'P0']);
/** Connection lost, server shutting down or starting, out of resources. */
const UNAVAILABLE_SQL_CLASSES = new Set(['08', '53', '57']);
const UNAVAILABLE_SOCKET = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** Runs an activity and turns whatever it throws into the failure its workflow branches on. */
export async function failingAsWorkflowsExpect<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw toFailure(error);
  }
}

/**
 * The one mapping from errors to Temporal failures: the type is the error's code, retryable by the table in
 * domain/errors.ts, refusals without error logs (BENIGN). Messages are stored in clear by Temporal, so a message is the
 * code's fixed title; the sentence goes into the details.
 */
export function toFailure(error: unknown): Error {
  if (error instanceof TemporalFailure) return error;
  if (error instanceof DomainError) return failureOf(error.code, error.detail, error.facts, error);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const sqlClass = /^[0-9A-Z]{5}$/.test(code) ? code.slice(0, 2) : null;
  if (sqlClass !== null && PERMANENT_SQL_CLASSES.has(sqlClass)) {
    return ApplicationFailure.create({
      type: 'INTERNAL',
      message: ERRORS.INTERNAL.title,
      nonRetryable: true,
      details: [{ code: 'INTERNAL', detail: `The database refused it (${code}${constraintOf(error)}).` }],
    });
  }
  if ((sqlClass !== null && UNAVAILABLE_SQL_CLASSES.has(sqlClass)) || isConnectionLost(error, code)) {
    return failureOf('DATABASE_UNAVAILABLE', 'The database does not answer.', undefined, undefined);
  }
  const name = error instanceof Error ? error.constructor.name : typeof error;
  // The database quotes values in its messages; a cause of its own would put them into the history.
  return failureOf(
    'INTERNAL',
    `${name}${code && ` ${code}`}`,
    undefined,
    sqlClass === null ? error : undefined,
  );
}

function failureOf(
  code: ErrorCode,
  detail: string,
  facts: FailureDetail['facts'],
  cause: unknown,
): ApplicationFailure {
  const { status, retryable, title } = ERRORS[code];
  const told: FailureDetail = { code, detail: detail.slice(0, DETAIL_LENGTH), ...(facts && { facts }) };
  return ApplicationFailure.create({
    type: code,
    message: title,
    nonRetryable: !retryable,
    ...(status < 500 && { category: 'BENIGN' as const }),
    details: [told],
    // A refusal explains itself; the cause of anything else is for whoever looks into it.
    ...(status >= 500 && cause instanceof Error && !(cause instanceof DomainError) && { cause }),
  });
}

function isConnectionLost(error: unknown, code: string): boolean {
  if (UNAVAILABLE_SOCKET.has(code)) return true;
  return (
    error instanceof Error &&
    /connection (terminated|timeout)|timeout (exceeded )?when trying to connect|not queryable/i.test(
      error.message,
    )
  );
}

function constraintOf(error: unknown): string {
  const constraint = error instanceof Error && 'constraint' in error ? error.constraint : undefined;
  return typeof constraint === 'string' ? `, ${constraint}` : '';
}
