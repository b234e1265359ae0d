import type { Refusal } from './errors.ts';

/** Why a job waits for the operator. */
export type FaultKind =
  | 'outcome_unknown'
  | 'compensation_stuck'
  | 'workflow_gone'
  | 'step_conflict'
  | 'barcode_mismatch';

/** What the operator may answer; `retry_undo` only answers a stuck compensation. */
export type FaultAnswer = 'at_source' | 'at_target' | 'in_carrier' | 'with_me' | 'not_found' | 'retry_undo';

/** The question that is open. */
export interface OpenFault {
  readonly faultId: string;
  readonly kind: FaultKind;
  /** a robot is frozen by it */
  readonly hasRobot: boolean;
  /** the process can still put a tube down that is in the carrier */
  readonly canPutBack: boolean;
}

/**
 * Why an answer cannot be taken, or null. Software never moves a robot that a person calls unfit, and a job does not end
 * with a tube in the carrier: then the person takes it out and answers `with_me`.
 */
export function refusalOfAnswer(
  fault: OpenFault | null,
  given: { readonly faultId: string; readonly answer: FaultAnswer; readonly robotFit: boolean },
): Refusal | null {
  if (fault === null) return { code: 'NOT_WAITING', detail: 'The job asks the operator nothing now.' };
  if (given.faultId !== fault.faultId) {
    return {
      code: 'STALE_ANSWER',
      detail: `The answer is for fault ${given.faultId}; the job asks about fault ${fault.faultId}.`,
      facts: { faultId: fault.faultId },
    };
  }
  const invalid = (detail: string): Refusal => ({
    code: 'VALIDATION',
    detail,
    errors: [{ pointer: '/answer', detail }],
  });
  if (given.answer === 'retry_undo') {
    if (fault.kind !== 'compensation_stuck') {
      return invalid('Only a compensation that is stuck can be tried again: say where the tube is.');
    }
    if (fault.hasRobot && !given.robotFit) {
      return invalid('The undo needs the robot: clear it to run, or say where the tube is.');
    }
  }
  if (given.answer === 'in_carrier') {
    if (!fault.hasRobot) return invalid('No robot works for this job: the tube cannot be in a carrier.');
    if (!fault.canPutBack || !given.robotFit) {
      return invalid('The robot will not put the tube down: take it out of the carrier and answer with_me.');
    }
  }
  return null;
}
