/** What each kind of finding is called. */
const PROMISES = {
  lost: 'lost',
  inTwoPlaces: 'in two places',
  movedTwice: 'motions sent twice',
  orphanLeases: 'orphan leases',
  givenTwice: 'positions given to two',
  openJobs: 'jobs that neither ended nor wait for a person',
  ledger: 'transitions without their ledger entry',
  journal: 'motions of which the journal tells something else than the robot',
  staleOrders: 'orders under a turn that is over, taken by the journal',
  staleAnswers: 'answers taken although they were given before, or to another question',
  stoodStill: 'things that stood still, or answered what they may not',
} as const;

/** What is wrong, by the promise that it breaks. */
export type Findings = Readonly<Record<keyof typeof PROMISES, string[]>>;

const KINDS = Object.keys(PROMISES) as (keyof Findings)[];

/** Shown of each kind; the rest is counted. */
const SHOWN = 10;

export const nothingFound = (): Findings => ({
  lost: [],
  inTwoPlaces: [],
  movedTwice: [],
  orphanLeases: [],
  givenTwice: [],
  openJobs: [],
  ledger: [],
  journal: [],
  staleOrders: [],
  staleAnswers: [],
  stoodStill: [],
});

/** Every finding with what it is called. */
export const allFound = (findings: Findings): string[] =>
  KINDS.flatMap((kind) => findings[kind].map((line) => `${PROMISES[kind]}: ${line}`));

export const isClean = (findings: Findings): boolean => allFound(findings).length === 0;

/** The promises that were broken, as they are called. */
export const brokenIn = (findings: Findings): string[] =>
  KINDS.filter((kind) => findings[kind].length > 0).map((kind) => PROMISES[kind]);

/** How many of each kind there are, and what some of them say. */
export const findingsInWords = (findings: Findings): string[] =>
  KINDS.flatMap((kind) => [
    `  ${findings[kind].length} ${PROMISES[kind]}`,
    ...findings[kind].slice(0, SHOWN).map((line) => `      ${line}`),
  ]);
