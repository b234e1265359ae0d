import { proxyActivities, sleep, workflowInfo } from '@temporalio/workflow';
import type { GatewayActivities, Mark, MotionOutcome, Observation, SeenAt } from '../activities/contract.ts';
import type { FaultKind } from '../domain/fault.ts';
import { describeOutcome } from '../domain/motion.ts';
import {
  candidatesOf,
  evidenceOf,
  type Finding,
  judge,
  settles,
  stopIn,
  type TransferPlace,
} from '../domain/reconciliation.ts';
import { type Steps, steps } from './activities.ts';
import { Deadline } from './deadline.ts';
import { isStepFailure } from './failures.ts';
import { observeQueue } from './ids.ts';
import type { Process } from './process.ts';
import { labelOf, type Site, seenAt } from './site.ts';
import type { Turn } from './turn.ts';

/** A motion that ended without saying where the tube is. */
export interface DoubtfulMotion {
  readonly operation: 'pick' | 'place' | 'transfer';
  readonly robotId: string;
  /** where the tube was picked; null: the controller's sensors look elsewhere by now */
  readonly source: Site | null;
  /** where it was to be placed; null for a pick */
  readonly target: Site | null;
  readonly outcome: MotionOutcome;
  /** what the job says while the tube is looked for, and once it is found there */
  readonly next: (at: TransferPlace) => Mark;
}

/** What came out: where the tube is, or what is to be put to the operator. */
export type Explained =
  | { readonly at: TransferPlace }
  | { readonly kind: FaultKind; readonly detail: string; readonly candidates: readonly SeenAt[] };

/**
 * Finds out where the tube is after a motion that did not say: freezes its places and the fence, waits while the robot
 * stands in a safety hold, then looks until two looks in a row agree (reference/devices 13.2 U, 13.3). Nothing moves.
 * @param by steps of the body, or of an undo
 */
export async function findOut(
  process: Process,
  turn: Turn,
  motion: DoubtfulMotion,
  by: (summary: string) => Steps = steps,
): Promise<Explained> {
  const { robotId, outcome, operation } = motion;
  const n = process.nextDoubt();
  const what = `The robot was to ${taskOf(motion)}: ${describeOutcome(outcome)}`;
  const seen = (place: TransferPlace): SeenAt[] => {
    if (place === 'carrier') return [{ kind: 'carrier', robotId }];
    const at = place === 'source' ? motion.source : motion.target;
    return at === null ? [] : [seenAt(at)];
  };
  const journal = { operation, number: outcome.number, journal: outcome.state } as const;
  const atFirst = candidatesOf({
    ...journal,
    carrier: outcome.carrier,
    source: outcome.source,
    target: outcome.target,
    busy: false,
    latch: 'this',
  });
  const { fence } = await by('Nobody knows where the tube is: freeze').freeze(process.ref(`freeze/${n}`), {
    robotId,
    detail: what,
    candidates: atFirst.flatMap(seen),
    stop: outcome.stop,
  });
  turn.refence(fence);
  process.show(outcome.stop === null ? 'RUNNING' : 'SAFETY_HOLD', 'RECONCILING');

  let finding: Finding = { kind: 'undecided', candidates: atFirst };
  for (let stop = outcome.stop, holds = 1; ; holds += 1) {
    if (stop !== null) await process.holdForSafety(robotId, stop, `${n}/${holds}`);
    const looked = await look(process, motion, journal);
    if ('stop' in looked) {
      stop = looked.stop;
      continue;
    }
    finding = looked.finding;
    break;
  }
  if (finding.kind === 'found') {
    const [place] = seen(finding.at);
    if (place !== undefined) {
      const next = motion.next(finding.at);
      await by(`The sensors found the tube: ${finding.at}`).recordFinding(process.ref(`found/${n}`), {
        seen: place,
        detail: what,
        next,
      });
      process.show(next.state, next.phase);
      return { at: finding.at };
    }
  }
  const candidates = 'candidates' in finding ? finding.candidates : [];
  return {
    kind:
      finding.kind === 'dropped'
        ? 'dropped'
        : finding.kind === 'foreign'
          ? 'foreign_item'
          : 'outcome_unknown',
    detail: `${what} ${sayOf(finding)}`,
    candidates: finding.kind === 'dropped' ? atFirst.flatMap(seen) : candidates.flatMap(seen),
  };
}

/** What was to be done, as people read it. */
function taskOf({ operation, source, target }: DoubtfulMotion): string {
  const name = (site: Site | null) => (site === null ? 'its place' : labelOf(site));
  switch (operation) {
    case 'pick':
      return `pick the tube from ${name(source)}`;
    case 'place':
      return `put the tube into ${name(target)}`;
    case 'transfer':
      return `bring the tube from ${name(source)} to ${name(target)}`;
  }
}

function sayOf(finding: Finding): string {
  switch (finding.kind) {
    case 'dropped':
      return 'No sensor sees the tube: it may have fallen. The robot stays where it is.';
    case 'foreign':
      return 'The sensors see a tube more than there should be, or one of them is stuck.';
    default:
      return 'Nobody knows where the tube is.';
  }
}

/** Looks until two looks in a row agree, the time is over, or the robot stands in a safety hold. */
async function look(
  process: Process,
  motion: DoubtfulMotion,
  command: Parameters<typeof evidenceOf>[0],
): Promise<{ readonly finding: Finding } | { readonly stop: string }> {
  const { observeMs, observeEveryMs } = process.waits;
  const deadline = new Deadline(observeMs, 'Look at the robot, at most so long');
  let before: Finding | null = null;
  for (;;) {
    const view = await inspect(process.actor.tenantId, motion);
    const stop = stopIn(view);
    if (stop !== null) {
      deadline.stop();
      return { stop };
    }
    const evidence = evidenceOf(command, view);
    const now = judge(motion.source === null ? { ...evidence, source: null } : evidence);
    if (before !== null && settles(before, now)) {
      deadline.stop();
      return { finding: now };
    }
    before = now;
    if (deadline.hasPassed) return { finding: now.kind === 'found' ? undecided(evidence) : now };
    await sleep(observeEveryMs, { summary: 'Until the next look' });
  }
}

/** One look that nothing confirmed is none. */
const undecided = (evidence: Parameters<typeof judge>[0]): Finding => ({
  kind: 'undecided',
  candidates: candidatesOf({ ...evidence, carrier: null, source: null, target: null }),
});

/** One look at the job's own places; null when the robot or its gateway does not answer. */
async function inspect(
  tenantId: string,
  { robotId, source, target }: DoubtfulMotion,
): Promise<Observation | null> {
  const { inspect } = proxyActivities<GatewayActivities>({
    taskQueue: observeQueue(workflowInfo().taskQueue, robotId),
    scheduleToCloseTimeout: '5 seconds',
    startToCloseTimeout: '5 seconds',
    retry: { maximumAttempts: 1 },
    summary: 'Look where the tube is',
  });
  try {
    return await inspect(tenantId, robotId, {
      sourceId: source?.place.positionId ?? null,
      targetId: target?.place.positionId ?? null,
    });
  } catch (error) {
    if (!isStepFailure(error)) throw error;
    return null;
  }
}
