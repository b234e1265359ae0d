import type { Mark, MotionOutcome, ParkedProblem, SeenAt } from '../activities/contract.ts';
import type { RobotLevel } from '../domain/controller.ts';
import type { FaultAnswer } from '../domain/fault.ts';
import type { Phase } from '../domain/job.ts';
import { classifyPick, classifyPlace, classifyScan, describeOutcome } from '../domain/motion.ts';
import { motions } from './activities.ts';
import type { PlaceRef } from './messages/job.ts';
import { Abandoned, type Process } from './process.ts';
import { relocate } from './relocation.ts';
import { UndoStuck } from './saga.ts';
import type { Turn } from './turn.ts';

/** A place a robot reaches. */
export interface Site {
  readonly kind: 'position' | 'handoff';
  readonly place: PlaceRef;
}

/** One tube's way from site to site by one robot. */
export interface Route {
  readonly robotId: string;
  readonly level: RobotLevel;
  readonly from: Site;
  readonly to: Site;
  /** what the job waits for once the tube stands at `to` */
  readonly arrived: Mark;
}

/** How a transfer ended well. `isDeviation`: a person had to say so. */
export interface Arrival {
  readonly at: 'target' | 'person';
  readonly isDeviation: boolean;
}

export const running = (phase: Phase): Mark => ({ state: 'RUNNING', phase, waitingFor: null });
export const compensating = (phase: Phase): Mark => ({ state: 'COMPENSATING', phase, waitingFor: null });

export const seenAt = ({ kind, place }: Site) => ({ kind, positionId: place.positionId });
export const labelOf = ({ kind, place }: Site): string =>
  kind === 'handoff' ? `hand-off ${place.label}` : place.label;

/**
 * Picks the tube up, reads its barcode and puts it down; custody follows what the sensors saw. What the sensors explain
 * is undone; what they do not is put to the operator, with the tube, its places and the robot frozen.
 * @throws Abandoned when the tube goes back
 */
export async function transfer(process: Process, turn: Turn, route: Route): Promise<Arrival> {
  if (route.level === 'job') return relocate(process, turn, route);
  const { robotId, from, to } = route;
  const carrier: SeenAt = { kind: 'carrier', robotId };
  const before = process.saga.depth;
  process.saga.before('put the tube back', (attempt) => putBack(process, turn, route, attempt));

  process.enter('PICKING');
  const { picked, refused, read } = await motions(`pick ${labelOf(from)}, read the label`).fetchTube(
    process.ref('fetch'),
    { robotId, fence: turn.fence, positionId: from.place.positionId },
  );
  switch (classifyPick(picked)) {
    case 'not_picked':
      throw new Abandoned(
        'FAILED',
        `The robot did not pick the tube from ${labelOf(from)}: ${describeOutcome(picked)}`,
      );
    case 'unknown':
      return askWhere(process, unknownAfter('pick the tube from', from, picked, [seenAt(from), carrier]));
    case 'picked':
  }
  if (refused !== null || read === null) return askWhere(process, refusedByRecord(robotId, carrier, refused));
  process.enter('IN_CARRIER');

  switch (classifyScan(read)) {
    case 'unknown':
      return askWhere(
        process,
        unknownAfter('read the label of the tube from', from, read, [seenAt(from), carrier]),
      );
    case 'unread':
      throw new Abandoned('FAILED', 'The robot could not read the label.');
    case 'mismatch':
      return askWhere(process, {
        kind: 'barcode_mismatch',
        detail: afterMismatch(from, await process.saga.unwind(before)),
        robotId,
        candidates: null,
      });
    case 'matches':
  }
  process.stopIfCancelled(`the tube was placed in ${labelOf(to)}`);

  process.enter('PLACING');
  const delivered = await motions(`place ${labelOf(to)}`).deliverTube(process.ref('deliver'), {
    robotId,
    fence: turn.fence,
    to: seenAt(to),
    arrived: route.arrived,
  });
  switch (classifyPlace(delivered.placed)) {
    case 'still_held':
      throw new Abandoned(
        'FAILED',
        `The robot did not place the tube in ${labelOf(to)}: ${describeOutcome(delivered.placed)}`,
      );
    case 'unknown':
      return askWhere(
        process,
        unknownAfter('put the tube into', to, delivered.placed, [carrier, seenAt(to)]),
      );
    case 'placed':
  }
  if (delivered.refused !== null) {
    return askWhere(process, refusedByRecord(robotId, seenAt(to), delivered.refused));
  }
  process.enter(route.arrived.phase);
  return { at: 'target', isDeviation: false };
}

/** The question when the record does not take what the sensors saw. */
export function refusedByRecord(robotId: string, seen: SeenAt, refused: string | null): ParkedProblem {
  const detail = `The sensors saw the tube (${seen.kind}), but the record refused it: ${refused}`;
  return { kind: 'outcome_unknown', detail, robotId, candidates: [seen] };
}

/** Asks the operator where the tube is. @throws Abandoned when it is not where the process wanted it */
export async function askWhere(
  process: Process,
  problem: ParkedProblem,
  answered: (answer: FaultAnswer) => Promise<void> = async () => {},
): Promise<Arrival> {
  const { answer } = await process.ask(problem);
  await answered(answer);
  if (answer === 'at_target') return { at: 'target', isDeviation: true };
  if (answer === 'with_me') return { at: 'person', isDeviation: true };
  const ended = process.isCancelRequested ? 'CANCELLED' : 'FAILED';
  throw new Abandoned(ended, `${problem.detail} The operator answered: ${say(answer)}.`);
}

function say(answer: FaultAnswer): string {
  return answer.replaceAll('_', ' ');
}

/** The question after a motion that the sensors do not explain: what was to be done, what became of it, what they see. */
function unknownAfter(
  what: string,
  site: Site,
  outcome: MotionOutcome,
  candidates: readonly SeenAt[],
): ParkedProblem {
  return {
    kind: 'outcome_unknown',
    detail: `The robot was to ${what} ${labelOf(site)}: ${describeOutcome(outcome)} Nobody knows where the tube is.`,
    robotId: candidates.flatMap((seen) => (seen.kind === 'carrier' ? [seen.robotId] : []))[0] ?? null,
    candidates,
  };
}

/** @param undone what the undo said of the tube that was picked */
function afterMismatch(from: Site, undone: readonly string[]): string {
  const found = `The tube the robot picked from ${labelOf(from)} has another barcode than the one expected there.`;
  return [
    found,
    ...undone,
    `Unless the tube of this job is found there, ${labelOf(from)} is blocked until a person has seen to it.`,
  ].join(' ');
}

/** A motion that undoes. */
interface Move {
  readonly robotId: string;
  readonly operation: 'pick' | 'place';
  readonly step: string;
  readonly site: Site;
  readonly attempt: number;
  readonly next: Mark;
}

/** Orders one motion of an undo and waits until it is settled. */
async function move(process: Process, turn: Turn, order: Move): Promise<MotionOutcome> {
  const { robotId, operation, site, attempt, next } = order;
  const summary = `${operation} ${labelOf(site)}`;
  const ref = process.ref(order.step);
  process.enter(next.phase);
  const { commandId } = await process.undoing(`Order: ${summary}`).submitMotion(ref, {
    operation,
    robotId,
    fence: turn.fence,
    positionId: site.place.positionId,
    attempt,
    next,
  });
  return motions(summary).awaitMotion(ref, commandId);
}

/** The undo of a transfer: brings the tube back to where it came from, by where it is now. */
async function putBack(process: Process, turn: Turn, route: Route, attempt: number): Promise<string> {
  const { robotId, from, to } = route;
  const step = (name: string) => `put-back/${name}/${attempt}`;
  const stuck = (detail: string, candidates: readonly SeenAt[] | null) =>
    new UndoStuck({ kind: 'compensation_stuck', detail, robotId, candidates });

  const where = await process.undoing('Where is the tube now?').custodyOf(process.ref(step('where')));
  // A tube that reached its position is stored; one in the hand-off, which nobody collected, goes back.
  const isReturn =
    to.kind === 'handoff' && where.kind === 'handoff' && where.positionId === to.place.positionId;
  if (where.kind !== 'carrier' && !isReturn) return 'There was nothing to put back.';

  const mark = isReturn ? running('RETURNING') : compensating('PUTTING_BACK');
  process.show(mark.state, mark.phase);
  await turn.takeForUndo(robotId);
  if (isReturn) {
    const fetched = await move(process, turn, {
      robotId,
      operation: 'pick',
      step: step('pick'),
      site: to,
      attempt,
      next: mark,
    });
    switch (classifyPick(fetched)) {
      case 'not_picked':
        throw stuck(
          `The robot did not fetch the tube from ${labelOf(to)}: ${describeOutcome(fetched)}`,
          null,
        );
      case 'unknown':
        throw stuck(unknownAfter('pick the tube from', to, fetched, []).detail, [
          seenAt(to),
          { kind: 'carrier', robotId },
        ]);
      case 'picked':
    }
    await process
      .undoing('Custody: carrier')
      .moveCustody(process.ref(step('carrier')), { kind: 'carrier', robotId }, mark);
  }
  const placed = await move(process, turn, {
    robotId,
    operation: 'place',
    step: step('place'),
    site: from,
    attempt,
    next: mark,
  });
  switch (classifyPlace(placed)) {
    case 'still_held':
      throw stuck(
        `The robot holds the tube and could not put it back into ${labelOf(from)}: ${describeOutcome(placed)}`,
        null,
      );
    case 'unknown':
      throw stuck(unknownAfter('put the tube back into', from, placed, []).detail, [
        { kind: 'carrier', robotId },
        seenAt(from),
      ]);
    case 'placed':
  }
  await process.undoing(`Custody: ${from.kind}`).moveCustody(process.ref(step('source')), seenAt(from), mark);
  return `The tube was put back into ${labelOf(from)}.`;
}
