import type { MotionOutcome, ParkedProblem, SeenAt } from '../activities/contract.ts';
import { classifyPick, classifyPlace, classifyScan, describeOutcome } from '../domain/motion.ts';
import type { TransferPlace } from '../domain/reconciliation.ts';
import { PICK_TRIES, PLACE_TRIES } from '../domain/waits.ts';
import { motions } from './activities.ts';
import { findOut } from './doubt.ts';
import { Abandoned, type Process } from './process.ts';
import { putBack } from './put-back.ts';
import { relocate } from './relocation.ts';
import {
  type Arrival,
  EndedByPerson,
  endMeant,
  labelOf,
  type Route,
  running,
  type Site,
  seenAt,
} from './site.ts';
import type { Turn } from './turn.ts';

/** Where a part of the transfer left the tube; `isTry`: the robot failed at it, rather than being kept from it. */
interface Left {
  readonly at: TransferPlace;
  readonly isTry: boolean;
  readonly isDeviation?: boolean;
}

/**
 * Picks the tube up, reads its barcode and puts it down; custody follows what the sensors saw. What the robot did not
 * manage is tried again, from where the tube is; what the sensors explain at last is undone; what they do not is put to the
 * operator, with the tube, its places and the robot frozen.
 * @throws Abandoned when the tube goes back
 */
export async function transfer(process: Process, turn: Turn, route: Route): Promise<Arrival> {
  if (route.level === 'job') return relocate(process, turn, route);
  const before = process.saga.depth;
  process.saga.before('put the tube back', (round) => putBack(process, turn, route, round));
  try {
    return await new Transfer(process, turn, route, before).run();
  } catch (error) {
    if (error instanceof EndedByPerson) return { at: error.at, isDeviation: true };
    throw error;
  }
}

class Transfer {
  readonly #process: Process;
  readonly #turn: Turn;
  readonly #route: Route;
  /** undos registered before this transfer's */
  readonly #depth: number;
  /** counts the parts; it rises only by what became of the one before */
  #attempt = 0;
  #isVerified = false;
  readonly #tries = { pick: 0, place: 0 };

  constructor(process: Process, turn: Turn, route: Route, depth: number) {
    this.#process = process;
    this.#turn = turn;
    this.#route = route;
    this.#depth = depth;
  }

  async run(): Promise<Arrival> {
    let left: Left = { at: 'source', isTry: false };
    while (left.at !== 'target') {
      this.#attempt += 1;
      if (left.at === 'source') {
        if (this.#attempt > 1)
          this.#stopIfCancelled(`the tube was picked again from ${labelOf(this.#route.from)}`);
        left = await this.#pick();
      } else if (this.#isVerified) {
        this.#stopIfCancelled(`the tube was placed in ${labelOf(this.#route.to)}`);
        left = await this.#place();
      } else {
        left = await this.#verify(await this.#readLabel());
      }
    }
    this.#process.enter(this.#route.arrived.phase);
    return { at: 'target', isDeviation: left.isDeviation === true };
  }

  async #pick(): Promise<Left> {
    const { from } = this.#route;
    this.#process.enter('PICKING');
    const { picked, refused, read } = await motions(`pick ${labelOf(from)}, read the label`).fetchTube(
      this.#ref('fetch'),
      this.#order,
    );
    if (classifyPick(picked) !== 'picked') {
      return this.#failed('pick', picked, classifyPick(picked) === 'not_picked' ? 'source' : null);
    }
    if (refused !== null || read === null) return this.#refusedByRecord(this.#carrier, refused, 'carrier');
    return this.#verify(read);
  }

  #readLabel(): Promise<MotionOutcome> {
    return motions('read the label').readLabel(this.#ref('read'), this.#order);
  }

  async #verify(read: MotionOutcome): Promise<Left> {
    const { from } = this.#route;
    this.#process.enter('IN_CARRIER');
    const verdict = classifyScan(read);
    if (verdict === 'matches') {
      this.#isVerified = true;
      return { at: 'carrier', isTry: false };
    }
    // Kept from reading, or no tube where one should be: look first.
    if (read.stop !== null || verdict === 'unknown') return this.#doubt('pick', { ...read, source: null });
    if (verdict === 'unread') throw new Abandoned('FAILED', 'The robot could not read the label.');
    const detail = afterMismatch(from, await this.#process.saga.unwind(this.#depth));
    return this.#asked({
      kind: 'barcode_mismatch',
      detail,
      robotId: this.#route.robotId,
      candidates: null,
      strangerIn: from.place.positionId,
    });
  }

  async #place(): Promise<Left> {
    const { to, arrived } = this.#route;
    this.#process.enter('PLACING');
    const { placed, refused } = await motions(`place ${labelOf(to)}`).deliverTube(this.#ref('deliver'), {
      ...this.#order,
      to: seenAt(to),
      arrived,
    });
    if (classifyPlace(placed) !== 'placed') {
      return this.#failed('place', placed, classifyPlace(placed) === 'still_held' ? 'carrier' : null);
    }
    if (refused !== null) return this.#refusedByRecord(seenAt(to), refused, 'target');
    return { at: 'target', isTry: false };
  }

  /** A motion that did not succeed. @param at where the sensors see the tube all the same; null when they do not */
  async #failed(
    operation: 'pick' | 'place',
    outcome: MotionOutcome,
    at: TransferPlace | null,
  ): Promise<Left> {
    const left =
      at === null || outcome.stop !== null ? await this.#doubt(operation, outcome) : { at, isTry: true };
    const isSameAgain = left.isTry && left.at === (operation === 'pick' ? 'source' : 'carrier');
    if (!isSameAgain) return left;
    this.#tries[operation] += 1;
    if (this.#tries[operation] < (operation === 'pick' ? PICK_TRIES : PLACE_TRIES)) return left;
    const { from, to } = this.#route;
    const what =
      operation === 'pick' ? `pick the tube from ${labelOf(from)}` : `place the tube in ${labelOf(to)}`;
    throw new Abandoned('FAILED', `The robot did not ${what}: ${describeOutcome(outcome)}`);
  }

  /** Finds out where the tube is, by looking or by asking. */
  async #doubt(operation: 'pick' | 'place', outcome: MotionOutcome): Promise<Left> {
    const { robotId, from, to, arrived } = this.#route;
    const explained = await findOut(this.#process, this.#turn, {
      operation,
      robotId,
      source: from,
      target: operation === 'place' ? to : null,
      outcome,
      next: (at) => (at === 'target' ? arrived : running(at === 'source' ? 'AWAITING_TURN' : 'IN_CARRIER')),
    });
    if (!('at' in explained)) return this.#asked({ ...explained, robotId });
    return { at: explained.at, isTry: outcome.stop === null };
  }

  #refusedByRecord(seen: SeenAt, refused: string | null, at: TransferPlace): Promise<Left> {
    const detail = `The sensors saw the tube (${at}), but the record refused it: ${refused}`;
    return this.#asked({ kind: 'outcome_unknown', detail, robotId: this.#route.robotId, candidates: [seen] });
  }

  /** Asks the operator where the tube is. @throws Abandoned when it is not where the process can go on from */
  async #asked(problem: ParkedProblem): Promise<Left> {
    const { answer, next } = await this.#process.ask(problem);
    const end = endMeant(this.#route, answer);
    if (end === 'to') return { at: 'target', isTry: false, isDeviation: true };
    if (answer === 'with_me') throw new EndedByPerson('person');
    if (end === 'from' && this.#route.isReturn) throw new EndedByPerson('handoff');
    if (next === 'go_on' && end === 'from') return { at: 'source', isTry: false };
    if (next === 'go_on' && answer === 'in_carrier') {
      // Whoever was in the cell may have put another tube in.
      this.#isVerified = false;
      return { at: 'carrier', isTry: false };
    }
    const ended = this.#process.isCancelRequested ? 'CANCELLED' : 'FAILED';
    throw new Abandoned(ended, `${problem.detail} The operator answered: ${answer.replaceAll('_', ' ')}.`);
  }

  #stopIfCancelled(before: string): void {
    if (this.#route.isReturn !== true) this.#process.stopIfCancelled(before);
  }

  get #carrier(): SeenAt {
    return { kind: 'carrier', robotId: this.#route.robotId };
  }

  get #order() {
    const { robotId, from } = this.#route;
    return { robotId, fence: this.#turn.fence, attempt: this.#attempt, positionId: from.place.positionId };
  }

  /** Parts of a return have names of their own: the transfer before it, in the same process, has used the plain ones. */
  #ref(part: string) {
    return this.#process.ref(`${this.#route.isReturn ? 'return-' : ''}${part}/${this.#attempt}`);
  }
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
