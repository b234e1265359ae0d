import { ActivityFailure, ApplicationFailure, TemporalFailure } from '@temporalio/workflow';
import { ERRORS, type ErrorCode, type Refusal } from '../domain/errors.ts';
import { FINAL_JOB_STATES, type FinalJobState } from '../domain/job.ts';

/** A step failed for good: a regular activity's failure is wrapped, a local one's comes as it was thrown. */
export function isStepFailure(error: unknown): error is TemporalFailure {
  return error instanceof TemporalFailure;
}

function thrownBy(error: unknown): ApplicationFailure | undefined {
  const thrown = error instanceof ActivityFailure ? error.cause : error;
  return thrown instanceof ApplicationFailure ? thrown : undefined;
}

/** What a failed step tells besides its code: a sentence and facts, in the failure's details. */
function toldBy(error: unknown): {
  readonly detail?: unknown;
  readonly facts?: Readonly<Record<string, unknown>>;
} {
  const told: unknown = thrownBy(error)?.details?.[0];
  return typeof told === 'object' && told !== null ? told : {};
}

/** The code of the domain error that a step failed with; undefined for any other failure. */
export function codeOf(error: unknown): ErrorCode | undefined {
  const type = thrownBy(error)?.type;
  return Object.keys(ERRORS).find((code): code is ErrorCode => code === type);
}

/** How the job ended already, when a step failed for that. */
export function endedAs(error: unknown): FinalJobState | undefined {
  if (codeOf(error) !== 'JOB_FINISHED') return undefined;
  const state = toldBy(error).facts?.state;
  return FINAL_JOB_STATES.find((each) => each === state);
}

/** One sentence for people. */
export function reasonOf(error: Error): string {
  const { detail } = toldBy(error);
  if (typeof detail === 'string') return detail;
  return error instanceof ActivityFailure && error.cause ? error.cause.message : error.message;
}

/** A failure as the value that a caller is refused with. */
export function refusalOf(error: unknown): Refusal {
  const { facts } = toldBy(error);
  const detail = error instanceof Error ? reasonOf(error) : 'The step failed.';
  return { code: codeOf(error) ?? 'CONFLICT', detail, ...(facts && { facts }) };
}
