/**
 * Every way the application says no. `status` is the HTTP status; `retryable` says whether a workflow may try the
 * same activity again unchanged. A code is part of the API: add, never rename.
 */
export const ERRORS = {
  VALIDATION: { status: 422, retryable: false, title: 'The request does not have the right shape' },
  MALFORMED_BODY: { status: 400, retryable: false, title: 'The body cannot be read' },
  BODY_TOO_LARGE: { status: 413, retryable: false, title: 'The body is too large' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, retryable: false, title: 'The body has a type that is not taken' },
  METHOD_NOT_ALLOWED: { status: 405, retryable: false, title: 'The path does not know this method' },
  UNAUTHENTICATED: { status: 401, retryable: false, title: 'Sign in first' },
  FORBIDDEN: { status: 403, retryable: false, title: 'Your role may not do this' },
  STATION_REQUIRED: { status: 403, retryable: false, title: 'This is done at an enrolled station' },
  RATE_LIMITED: { status: 429, retryable: true, title: 'Too many requests' },
  NOT_FOUND: { status: 404, retryable: false, title: 'There is no such thing' },
  FEATURE_OFF: { status: 404, retryable: false, title: 'This part is switched off' },
  PRECONDITION_REQUIRED: { status: 428, retryable: false, title: 'If-Match is missing' },
  PRECONDITION_FAILED: { status: 412, retryable: false, title: 'The record has changed since' },
  BARCODE_UNKNOWN: { status: 404, retryable: false, title: 'Nobody knows this barcode' },
  BARCODE_TAKEN: { status: 409, retryable: false, title: 'The barcode is in use' },
  BARCODE_MISMATCH: { status: 409, retryable: false, title: 'The barcode is not the expected one' },
  NAME_TAKEN: { status: 409, retryable: false, title: 'The name is in use' },
  PARENT_NOT_ALLOWED: { status: 422, retryable: false, title: 'A location of this type may not stand there' },
  LOCATION_NOT_EMPTY: { status: 409, retryable: false, title: 'The location is not empty' },
  LOCATION_CYCLE: { status: 409, retryable: false, title: 'The location would stand in itself' },
  CANNOT_SHRINK: { status: 409, retryable: false, title: 'Something is in the part that would go' },
  LOCATION_RETIRED: { status: 409, retryable: false, title: 'The location is retired' },
  RULE_BROKEN_BY_CONTENT: {
    status: 409,
    retryable: false,
    title: 'What is stored there would break the rule',
  },
  POSITION_UNKNOWN: { status: 422, retryable: false, title: 'The grid has no such position' },
  POSITION_OCCUPIED: { status: 409, retryable: false, title: 'The position is taken' },
  POSITION_BLOCKED: { status: 409, retryable: false, title: 'The position is blocked' },
  NO_POSITION_FREE: { status: 409, retryable: false, title: 'No position is free' },
  ZONE_MISMATCH: { status: 409, retryable: false, title: 'The temperature is not what the sample needs' },
  TYPE_NOT_ACCEPTED: {
    status: 409,
    retryable: false,
    title: 'The location does not take this type of sample',
  },
  RULE_NOT_MET: { status: 409, retryable: false, title: 'A rule of the place refuses the sample' },
  SAMPLE_BUSY: { status: 409, retryable: false, title: 'Another job has the sample' },
  SAMPLE_NOT_STORED: { status: 409, retryable: false, title: 'The sample is not where this can be done' },
  SAMPLE_STATE: { status: 409, retryable: false, title: 'Nothing of this kind is done with the sample now' },
  BULK_REFUSED: { status: 409, retryable: false, title: 'Some rows cannot be done, so none was' },
  CONSENT_WITHDRAWN: { status: 409, retryable: false, title: 'The consent was withdrawn' },
  QUANTITY_EXCEEDED: { status: 409, retryable: false, title: 'Less is left than that' },
  EXPOSURE_BUDGET: {
    status: 409,
    retryable: false,
    title: 'The tube would be outside its cold for too long',
  },
  LEASE_LOST: {
    status: 409,
    retryable: false,
    title: 'The reservation has run out and the position went to somebody else',
  },
  OUT_OF_REACH: { status: 409, retryable: false, title: 'No robot reaches this position' },
  ROBOT_UNAVAILABLE: { status: 409, retryable: false, title: 'The robot does not take this now' },
  SCANNER_UNAVAILABLE: { status: 409, retryable: false, title: 'The rack scanner gave no scan' },
  TURN_LOST: { status: 409, retryable: false, title: 'The job does not have the robot’s turn' },
  JOB_FINISHED: { status: 409, retryable: false, title: 'The job is over' },
  NOT_WAITING: { status: 409, retryable: false, title: 'The job does not wait for this' },
  STALE_ANSWER: { status: 409, retryable: false, title: 'The answer is for another fault' },
  SECOND_PERSON_REQUIRED: { status: 422, retryable: false, title: 'A second person must confirm this' },
  CONFLICT: { status: 409, retryable: false, title: 'The record is not in a state that allows this' },
  IDEMPOTENCY_KEY_REUSED: { status: 422, retryable: false, title: 'The key was used with another request' },
  IDEMPOTENCY_KEY_BUSY: {
    status: 409,
    retryable: true,
    title: 'The first request with this key is still running',
  },
  STEP_REPEATED_DIFFERENTLY: {
    status: 500,
    retryable: false,
    title: 'A step was repeated with other parameters',
  },
  WORKFLOWS_UNAVAILABLE: { status: 503, retryable: true, title: 'The workflow service does not answer' },
  DATABASE_UNAVAILABLE: { status: 503, retryable: true, title: 'The database does not answer' },
  INTERNAL: { status: 500, retryable: true, title: 'Something failed here' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** One place in the input that is wrong; `pointer` is an RFC 6901 JSON pointer into the body, or a parameter's name. */
export interface InputProblem {
  readonly pointer: string;
  readonly detail: string;
}

/** What a refusal carries over every boundary: HTTP reply, workflow result, activity failure. */
export interface Refusal {
  readonly code: ErrorCode;
  /** One sentence: what was wrong, where, and what would be right. */
  readonly detail: string;
  readonly errors?: readonly InputProblem[];
  /** Facts a program may use, e.g. `{ nextFree: … }` or `{ jobId: … }`. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

/** The one error class of the application. */
export class DomainError extends Error implements Refusal {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly errors?: readonly InputProblem[];
  readonly facts?: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    detail: string,
    extra: {
      errors?: readonly InputProblem[];
      facts?: Readonly<Record<string, unknown>>;
      cause?: unknown;
    } = {},
  ) {
    super(detail, { cause: extra.cause });
    this.name = 'DomainError';
    this.code = code;
    this.detail = detail;
    if (extra.errors) this.errors = extra.errors;
    if (extra.facts) this.facts = extra.facts;
  }

  /** The plain value of this error, without stack or cause. */
  toRefusal(): Refusal {
    return {
      code: this.code,
      detail: this.detail,
      ...(this.errors && { errors: this.errors }),
      ...(this.facts && { facts: this.facts }),
    };
  }
}
