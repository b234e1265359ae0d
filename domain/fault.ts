import type { Refusal } from './errors.ts';

/** Why a job waits for the operator. */
export type FaultKind =
  | 'outcome_unknown'
  | 'compensation_stuck'
  | 'workflow_gone'
  | 'step_conflict'
  | 'barcode_mismatch';

/** What the operator may answer; `retry_undo` only answers a stuck compensation. */
const FAULT_ANSWERS = ['at_source', 'at_target', 'in_carrier', 'with_me', 'not_found', 'retry_undo'] as const;
export type FaultAnswer = (typeof FAULT_ANSWERS)[number];

/**
 * Whether the process that asks can still put a tube down that is in the carrier. After a mismatch everything was put
 * back already; a process that takes over another's job moves nothing.
 */
const CAN_PUT_BACK: Readonly<Record<FaultKind, boolean>> = {
  outcome_unknown: true,
  compensation_stuck: true,
  step_conflict: true,
  barcode_mismatch: false,
  workflow_gone: false,
};

/** The question that is open. */
export interface OpenFault {
  readonly faultId: string;
  readonly kind: FaultKind;
  /** a robot is frozen by it */
  readonly hasRobot: boolean;
}

/** The answers an operator is offered: those that are taken when the robot is fit, and name a place the job has. */
export function offeredAnswers(
  fault: OpenFault,
  places: { readonly hasSource: boolean; readonly hasTarget: boolean },
): FaultAnswer[] {
  return FAULT_ANSWERS.filter((answer) => {
    if (answer === 'at_source' && !places.hasSource) return false;
    if (answer === 'at_target' && !places.hasTarget) return false;
    return refusalOfAnswer(fault, { faultId: fault.faultId, answer, robotFit: true }) === null;
  });
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
    if (!CAN_PUT_BACK[fault.kind] || !given.robotFit) {
      return invalid('The robot will not put the tube down: take it out of the carrier and answer with_me.');
    }
  }
  return null;
}
