/** A branch of the workflows that no history can show, by the line it stands on. */
export interface UntakenBranch {
  readonly file: string;
  /** part of the line, as it stands in the source */
  readonly code: string;
  /** which ways of what stands there, as `branchesOf` names them */
  readonly ways: readonly string[];
  readonly why: string;
}

const PROGRAM_ERROR =
  'only by an error in the program: the workflow task fails, and no history goes on until it is mended';
const VALIDATOR = 'a replay runs no validator, and what a validator refuses is not in the history';
const QUERY = 'a query is not in the history';
const REFUSED_BEFORE =
  'only the type has it: the step that reserves refuses when no robot reaches the places';
const NO_SITE =
  'only the type has it: a motion has the site it goes to, and nothing is found at a site it does not have';
const LEASE_ENDS = 'only the type has it: while a person is awaited, the lease has an end';

/** Short, and each with a reason: the test fails when one of them is taken after all, or is there no more. */
export const UNTAKEN: readonly UntakenBranch[] = [
  { file: 'workflows/deadline.ts', code: 'if (!isCancellation(error))', ways: ['if'], why: PROGRAM_ERROR },
  { file: 'workflows/expedite.ts', code: 'if (!isStepFailure(error))', ways: ['if'], why: PROGRAM_ERROR },
  {
    file: 'workflows/process.ts',
    code: 'if (!(error instanceof Abandoned) && !isStepFailure(error))',
    ways: ['if'],
    why: PROGRAM_ERROR,
  },
  { file: 'workflows/reconcile.ts', code: 'if (!isStepFailure(error))', ways: ['if'], why: PROGRAM_ERROR },
  { file: 'workflows/schedule.ts', code: 'if (!isStepFailure(error))', ways: ['if'], why: PROGRAM_ERROR },
  { file: 'workflows/rack-scan.ts', code: 'if (!isStepFailure(error))', ways: ['if'], why: PROGRAM_ERROR },
  { file: 'workflows/inventory.ts', code: 'if (!isStepFailure(error))', ways: ['if'], why: PROGRAM_ERROR },
  {
    file: 'workflows/inventory.ts',
    code: 'if (!(error instanceof WorkflowExecutionAlreadyStartedError))',
    ways: ['if'],
    why: PROGRAM_ERROR,
  },
  { file: 'workflows/relocation.ts', code: 'if (!isStepFailure(error))', ways: ['if'], why: PROGRAM_ERROR },
  { file: 'workflows/turn.ts', code: 'const fence = this.#isAsked', ways: ['no'], why: PROGRAM_ERROR },
  { file: 'workflows/doubt.ts', code: 'if (!isStepFailure(error))', ways: ['if'], why: PROGRAM_ERROR },
  { file: 'workflows/doubt.ts', code: 'return at === null ? [] : [seenAt(at)]', ways: ['yes'], why: NO_SITE },
  { file: 'workflows/doubt.ts', code: 'if (place !== undefined)', ways: ['else'], why: NO_SITE },
  {
    file: 'workflows/doubt.ts',
    code: "(site === null ? 'its place' : labelOf(site))",
    ways: ['yes'],
    why: NO_SITE,
  },
  { file: 'workflows/turn.ts', code: 'if (fence === undefined)', ways: ['if'], why: PROGRAM_ERROR },
  {
    file: 'workflows/turn.ts',
    code: 'return this.#isAsked && this.#fences.has',
    ways: ['left of && decides'],
    why: 'nobody looks for a turn before asking for it',
  },
  {
    file: 'workflows/failures.ts',
    code: 'thrownBy(error)?.details?.[0]',
    ways: ['nothing there'],
    why: 'only the type has it: a failure that came from the server has a list of details, empty or not',
  },
  {
    file: 'workflows/failures.ts',
    code: 'facts?.state',
    ways: ['nothing there'],
    why: 'whoever says JOB_FINISHED says how it ended',
  },
  {
    file: 'workflows/failures.ts',
    code: 'error instanceof Error ?',
    ways: ['no'],
    why: 'only the type has it: what is thrown is an error',
  },
  {
    file: 'workflows/move.ts',
    code: 'if (source === null || robotId === null)',
    ways: ['if', 'left of || decides'],
    why: REFUSED_BEFORE,
  },
  {
    file: 'workflows/placement.ts',
    code: 'if (handoff === null || robotId === null)',
    ways: ['if', 'left of || decides'],
    why: REFUSED_BEFORE,
  },
  {
    file: 'workflows/retrieval.ts',
    code: 'if (handoff === null || robotId === null)',
    ways: ['if', 'left of || decides'],
    why: REFUSED_BEFORE,
  },
  { file: 'workflows/process.ts', code: 'leaseEnd === null ? null', ways: ['yes'], why: LEASE_ENDS },
  { file: 'workflows/process.ts', code: 'lease?.hasPassed', ways: ['nothing there'], why: LEASE_ENDS },
  { file: 'workflows/process.ts', code: 'lease?.stop()', ways: ['nothing there'], why: LEASE_ENDS },
  {
    file: 'workflows/process.ts',
    code: 'return this.#early ??',
    ways: ['nothing there'],
    why: 'only the type has it: the line above waits until it is there',
  },
  {
    file: 'workflows/robot.ts',
    code: 'currentUpdateInfo()?.id',
    ways: ['nothing there'],
    why: 'only the type has it: commands come as updates',
  },
  {
    file: 'workflows/history.ts',
    code: 'continueAsNewSuggested ||',
    ways: ['left of || decides'],
    why: 'the server suggests it after some thousand events, or megabytes; a history goes by the number that is set',
  },
  { file: 'workflows/picklist.ts', code: 'validator: ({ actor }', ways: ['function'], why: VALIDATOR },
  { file: 'workflows/process.ts', code: 'export function refuseForeign', ways: ['function'], why: VALIDATOR },
  {
    file: 'workflows/process.ts',
    code: 'if (sender.tenantId !== tenantId)',
    ways: ['if', 'else'],
    why: VALIDATOR,
  },
  { file: 'workflows/process.ts', code: 'validator: ({ actor }', ways: ['function'], why: VALIDATOR },
  { file: 'workflows/robot.ts', code: 'validator: ({ actor }', ways: ['function'], why: VALIDATOR },
  { file: 'workflows/process.ts', code: 'setHandler(jobViewQuery', ways: ['function'], why: QUERY },
  { file: 'workflows/robot.ts', code: 'setHandler(robotViewQuery', ways: ['function'], why: QUERY },
];
