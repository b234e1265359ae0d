import type { Refusal } from './errors.ts';

/** Why a job waits for the operator. */
export type FaultKind =
  /** the sensors do not say where the tube is */
  | 'outcome_unknown'
  /** no sensor sees the tube: it fell, or was never there */
  | 'dropped'
  /** a tube more than there should be, or a sensor that is stuck */
  | 'foreign_item'
  | 'compensation_stuck'
  | 'workflow_gone'
  | 'step_conflict'
  | 'barcode_mismatch';

/** What the operator may answer: a physical fact; `retry_undo` only answers a stuck compensation. */
const FAULT_ANSWERS = [
  'at_source',
  'at_target',
  'in_carrier',
  'with_me',
  'elsewhere',
  'damaged',
  'not_found',
  'retry_undo',
] as const;
export type FaultAnswer = (typeof FAULT_ANSWERS)[number];

/** What becomes of the job after an answer that leaves the robot something to do. */
export type NextStep = 'go_on' | 'release';

/**
 * Whether the process that asks can still put a tube down that is in the carrier. After a mismatch everything was put
 * back already; a process that takes over another's job moves nothing.
 */
const CAN_PUT_BACK: Readonly<Record<FaultKind, boolean>> = {
  outcome_unknown: true,
  dropped: true,
  foreign_item: true,
  compensation_stuck: true,
  step_conflict: true,
  barcode_mismatch: false,
  workflow_gone: false,
};

/** Whether the process that asks can go on with the transfer, rather than end it. */
const CAN_GO_ON: ReadonlySet<FaultKind> = new Set(['outcome_unknown', 'dropped', 'foreign_item']);

/** Answers that nobody can give who has not been in the cell: the robot is locked out before a hand goes in. */
const REACHES_IN: ReadonlySet<FaultAnswer> = new Set(['with_me', 'elsewhere', 'damaged', 'not_found']);

/** Answers that are given with the tube in hand or in sight: it is scanned where it was found. */
const IS_SCANNED: ReadonlySet<FaultAnswer> = new Set([
  'at_source',
  'at_target',
  'in_carrier',
  'with_me',
  'elsewhere',
]);

/** The question that is open. */
export interface OpenFault {
  readonly faultId: string;
  readonly kind: FaultKind;
  /** a robot is frozen by it */
  readonly hasRobot: boolean;
  /** false where that robot takes whole transfers alone: then `in_carrier` is not offered; left out: it can be told to */
  readonly putsDown?: boolean;
  /** nobody knows where the tube is: then `retry_undo` is not offered, since an undo begins where the tube is */
  readonly isLost?: boolean;
}

/** An answer that the operator is offered: what it says, what it needs, and what happens then. */
export interface OfferedAnswer {
  readonly answer: FaultAnswer;
  /** the tube is scanned where it was found */
  readonly needsScan: boolean;
  /** the robot is locked out before a hand goes in */
  readonly needsLockOut: boolean;
  /** what may follow, where there is a choice */
  readonly next: readonly NextStep[];
  /** what happens then, in a sentence */
  readonly does: string;
}

/** The answers an operator is offered: those that are taken when the robot is fit, and name a place the job has. */
export function offeredAnswers(
  fault: OpenFault,
  places: { readonly hasSource: boolean; readonly hasTarget: boolean },
): OfferedAnswer[] {
  return FAULT_ANSWERS.filter((answer) => {
    if (answer === 'at_source' && !places.hasSource) return false;
    if (answer === 'at_target' && !places.hasTarget) return false;
    return refusalOfAnswer(fault, { ...given(fault, answer), faultId: fault.faultId }) === null;
  }).map((answer) => ({
    answer,
    needsScan: needsScan(answer),
    needsLockOut: needsLockOut(fault, answer),
    next: mayGoOn(fault, answer) ? ['release', 'go_on'] : ['release'],
    does: effectOf(fault, answer),
  }));
}

const given = (fault: OpenFault, answer: FaultAnswer) =>
  ({ answer, next: 'release', robotFit: true, lockedOut: needsLockOut(fault, answer) }) as const;

/** Whether the tube is scanned with this answer. */
export const needsScan = (answer: FaultAnswer): boolean => IS_SCANNED.has(answer);

/** Whether a person must have locked the robot out to know this. */
export const needsLockOut = (fault: OpenFault, answer: FaultAnswer): boolean =>
  fault.hasRobot && REACHES_IN.has(answer);

const mayGoOn = ({ kind, hasRobot }: OpenFault, answer: FaultAnswer): boolean =>
  hasRobot && CAN_GO_ON.has(kind) && (answer === 'at_source' || answer === 'in_carrier');

function effectOf(fault: OpenFault, answer: FaultAnswer): string {
  const goesOn = mayGoOn(fault, answer);
  switch (answer) {
    case 'at_source':
      return `The tube is recorded where it came from and the job ends${goesOn ? '; with go_on the robot picks it again' : ''}.`;
    case 'at_target':
      return 'The tube is recorded where it was to go and the job ends as completed with a deviation.';
    case 'in_carrier':
      return `The robot puts the tube back where it came from and the job ends${goesOn ? '; with go_on it reads the label and places the tube' : ''}.`;
    case 'with_me':
      return 'The tube is recorded as yours, which a retrieval completes and ends any other job.';
    case 'elsewhere':
      return 'The tube is recorded in the position you found it in, and the job ends.';
    case 'damaged':
      return 'The tube is recorded as yours and as damaged, a deviation is opened, and the job ends.';
    case 'not_found':
      return 'The sample is recorded as lost, a deviation is opened, its places stay taken, and the job ends.';
    case 'retry_undo':
      return 'The step that was stuck is tried again.';
  }
}

/**
 * Why an answer cannot be taken, or null. Software never moves a robot that a person calls unfit, and a job does not end
 * with a tube in the carrier: then the person takes it out and answers `with_me`.
 */
export function refusalOfAnswer(
  fault: OpenFault | null,
  given: {
    readonly faultId: string;
    readonly answer: FaultAnswer;
    readonly next: NextStep;
    readonly robotFit: boolean;
    readonly lockedOut: boolean;
  },
): Refusal | null {
  if (fault === null) return { code: 'NOT_WAITING', detail: 'The job asks the operator nothing now.' };
  if (given.faultId !== fault.faultId) {
    return {
      code: 'STALE_ANSWER',
      detail: `The answer is for fault ${given.faultId}; the job asks about fault ${fault.faultId}.`,
      facts: { faultId: fault.faultId },
    };
  }
  const invalid = (detail: string, pointer = '/answer'): Refusal => ({
    code: 'VALIDATION',
    detail,
    errors: [{ pointer, detail }],
  });
  if (given.answer === 'retry_undo') {
    if (fault.kind !== 'compensation_stuck') {
      return invalid('Only a compensation that is stuck can be tried again: say where the tube is.');
    }
    if (fault.isLost) return invalid('Nobody knows where the tube is: look for it, and say where it is.');
    if (fault.hasRobot && !given.robotFit) {
      return invalid('The undo needs the robot: clear it to run, or say where the tube is.');
    }
  }
  if (given.answer === 'in_carrier') {
    if (!fault.hasRobot) return invalid('No robot works for this job: the tube cannot be in a carrier.');
    if (!CAN_PUT_BACK[fault.kind] || !given.robotFit || fault.putsDown === false) {
      return invalid('The robot will not put the tube down: take it out of the carrier and answer with_me.');
    }
  }
  if (given.next === 'go_on') {
    if (!mayGoOn(fault, given.answer)) {
      return invalid('The robot cannot go on after this answer: leave next out, or say release.', '/next');
    }
    if (!given.robotFit) return invalid('The robot goes on only when it is called fit.', '/robotFit');
  }
  if (needsLockOut(fault, given.answer) && !given.lockedOut) {
    return invalid(
      `Before ${given.answer} can be known a hand goes into the cell: lock the robot out first, then say so with lockedOut true.`,
      '/lockedOut',
    );
  }
  return null;
}
