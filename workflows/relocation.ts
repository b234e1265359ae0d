import type { MotionOutcome, ParkedProblem, SeenAt } from '../activities/contract.ts';
import { classifyLabel, classifyTransfer, describeOutcome, type SensorReport } from '../domain/motion.ts';
import { motions, type Steps, steps } from './activities.ts';
import { isStepFailure, reasonOf } from './failures.ts';
import { Abandoned, type Process } from './process.ts';
import { UndoStuck } from './saga.ts';
import {
  type Arrival,
  askWhere,
  compensating,
  labelOf,
  type Route,
  refusedByRecord,
  running,
  type Site,
  seenAt,
} from './transfer.ts';
import type { Turn } from './turn.ts';

const STRANGER =
  'The store brought a tube with another barcode than the one expected: look which it is, take it out, then unblock.';

/**
 * The same as `transfer`, by a store at job level: it is told where the tube shall go, goes there itself, and reads the
 * label on the way. Custody follows what the sensors saw at both ends, unless the label is another tube's: then nothing is
 * recorded as moved. What they explain is undone; what they do not is put to the operator.
 * @throws Abandoned when the tube stays, or goes back
 */
export async function relocate(process: Process, turn: Turn, route: Route): Promise<Arrival> {
  const { robotId, from, to } = route;
  let isUnread = false;
  process.saga.before('have the store take the tube back', (attempt) =>
    takeBack(process, turn, route, { isUnread, attempt }),
  );
  process.enter('TRANSFERRING');
  const { moved, refused } = await motions(wayOf(from, to)).relocateTube(process.ref('relocate'), {
    robotId,
    fence: turn.fence,
    from: seenAt(from),
    to: seenAt(to),
    arrived: route.arrived,
  });
  const label = classifyLabel(moved);
  if (label === 'mismatch') return askAboutStranger(process, turn, route, moved);
  switch (classifyTransfer(moved)) {
    case 'not_moved':
      throw new Abandoned('FAILED', `The store did not ${wayOf(from, to)}: ${describeOutcome(moved)}`);
    case 'unknown':
      return askWhere(process, {
        kind: 'outcome_unknown',
        detail: unknownAfter(from, to, moved),
        robotId,
        candidates: suspectsAfter(moved, route),
      });
    case 'placed':
  }
  if (refused !== null) return askWhere(process, refusedByRecord(robotId, seenAt(to), refused));
  if (label === 'unread') {
    isUnread = true;
    throw new Abandoned('FAILED', 'The store could not read the label of the tube it brought.');
  }
  process.enter(route.arrived.phase);
  return { at: 'target', isDeviation: false };
}

const wayOf = (from: Site, to: Site): string => `bring the tube from ${labelOf(from)} to ${labelOf(to)}`;

const unknownAfter = (from: Site, to: Site, moved: MotionOutcome): string =>
  `The store was to ${wayOf(from, to)}: ${describeOutcome(moved)} Nobody knows where the tube is.`;

/**
 * Where the tube may be: wherever the sensors do not say that none is. Anywhere, when they say so of every place, or when
 * the store may still be at it.
 */
function suspectsAfter(
  { state, carrier, source, target }: SensorReport,
  { robotId, from, to }: Pick<Route, 'robotId' | 'from' | 'to'>,
): SeenAt[] {
  const places: readonly (readonly [SeenAt, boolean | null])[] = [
    [seenAt(from), source],
    [{ kind: 'carrier', robotId }, carrier],
    [seenAt(to), target],
  ];
  const suspects = places.filter(([, isFull]) => state !== 'UNKNOWN' && isFull !== false);
  return (suspects.length > 0 ? suspects : places).map(([seen]) => seen);
}

/** Orders the way back and waits until it is settled. */
async function bringBack(
  process: Process,
  turn: Turn,
  { robotId, from, to }: Route,
  step: { readonly name: string; readonly attempt: number; readonly by: Steps; readonly isReturn: boolean },
): Promise<MotionOutcome> {
  const ref = process.ref(step.name);
  const next = step.isReturn ? running('RETURNING') : compensating('PUTTING_BACK');
  process.show(next.state, next.phase);
  await turn.takeForUndo(robotId);
  const { commandId } = await step.by.submitMotion(ref, {
    operation: 'transfer',
    robotId,
    fence: turn.fence,
    positionId: to.place.positionId,
    toPositionId: from.place.positionId,
    attempt: step.attempt,
    next,
  });
  return motions(wayOf(to, from)).awaitMotion(ref, commandId);
}

/**
 * The store took another tube than the one expected: it goes back into the cold, and the operator is asked where the
 * expected one is. A place where the stranger may stand is offered to nobody before a person has looked.
 */
async function askAboutStranger(
  process: Process,
  turn: Turn,
  route: Route,
  moved: MotionOutcome,
): Promise<Arrival> {
  const { robotId, from, to } = route;
  const { isBack, said } = await returnStranger(process, turn, route, moved);
  const problem: ParkedProblem = {
    kind: 'barcode_mismatch',
    detail: [
      `The tube the store took from ${labelOf(from)} has another barcode than the one expected there.`,
      said,
      `Unless the tube of this job is found there, ${labelOf(from)} is blocked until a person has seen to it.`,
    ].join(' '),
    robotId,
    candidates: null,
  };
  return askWhere(process, problem, async (answer) => {
    if (isBack || answer === 'at_target') return;
    await steps(`Block ${labelOf(to)}`).blockPlace(
      process.ref('block-target'),
      to.place.positionId,
      STRANGER,
    );
  });
}

async function returnStranger(
  process: Process,
  turn: Turn,
  route: Route,
  moved: MotionOutcome,
): Promise<{ readonly isBack: boolean; readonly said: string }> {
  const verdict = classifyTransfer(moved);
  if (verdict !== 'placed') return { isBack: verdict === 'not_moved', said: describeOutcome(moved) };
  const back = labelOf(route.from);
  try {
    const returned = await bringBack(process, turn, route, {
      name: 'return-stranger',
      attempt: 1,
      by: steps(`Order: ${wayOf(route.to, route.from)}`),
      isReturn: false,
    });
    if (classifyTransfer(returned) === 'placed') {
      return { isBack: true, said: `The store brought it back to ${back}.` };
    }
    return {
      isBack: false,
      said: `The store did not bring it back to ${back}: ${describeOutcome(returned)}`,
    };
  } catch (error) {
    if (!isStepFailure(error)) throw error;
    return { isBack: false, said: `It could not be brought back to ${back}: ${reasonOf(error)}` };
  }
}

/** The undo of a relocation: has the store take the tube back to where it came from, by where it is now. */
async function takeBack(
  process: Process,
  turn: Turn,
  route: Route,
  { isUnread, attempt }: { readonly isUnread: boolean; readonly attempt: number },
): Promise<string> {
  const { robotId, from, to } = route;
  const step = (name: string) => `take-back/${name}/${attempt}`;
  const by = process.undoing(`Have the store ${wayOf(to, from)}`);
  const stuck = (detail: string, candidates: readonly SeenAt[] | null) =>
    new UndoStuck({ kind: 'compensation_stuck', detail, robotId, candidates });

  const where = await process.undoing('Where is the tube now?').custodyOf(process.ref(step('where')));
  if (where.kind === 'carrier') {
    throw stuck('The store’s own robot holds the tube: have it taken out, then say where it is.', null);
  }
  const isAtTarget = where.kind === to.kind && where.positionId === to.place.positionId;
  // A tube that reached its position is stored, if it is the right one; one in the hand-off goes back.
  if (!isAtTarget || (to.kind === 'position' && !isUnread)) return 'There was nothing to take back.';

  const moved = await bringBack(process, turn, route, {
    name: step('transfer'),
    attempt,
    by,
    isReturn: !isUnread,
  });
  switch (classifyTransfer(moved)) {
    case 'not_moved':
      throw stuck(`The store did not ${wayOf(to, from)}: ${describeOutcome(moved)}`, null);
    case 'unknown':
      throw stuck(unknownAfter(to, from, moved), suspectsAfter(moved, { robotId, from: to, to: from }));
    case 'placed':
  }
  if (classifyLabel(moved) === 'mismatch') {
    await by.blockPlace(process.ref(step('block')), from.place.positionId, STRANGER);
    throw stuck(
      `The tube the store took back from ${labelOf(to)} is another one; it stands in ${labelOf(from)}, which is blocked.`,
      [seenAt(to)],
    );
  }
  const next = isUnread ? compensating('PUTTING_BACK') : running('RETURNING');
  await process
    .undoing(`Custody: ${from.kind}`)
    .moveCustody(process.ref(step('custody')), seenAt(from), next);
  return `The store brought the tube back to ${labelOf(from)}.`;
}
