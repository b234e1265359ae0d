import type { MotionOutcome, ParkedProblem, SeenAt } from '../activities/contract.ts';
import { classifyLabel, classifyTransfer, describeOutcome } from '../domain/motion.ts';
import type { TransferPlace } from '../domain/reconciliation.ts';
import { PICK_TRIES } from '../domain/waits.ts';
import { motions, steps } from './activities.ts';
import { findOut } from './doubt.ts';
import { isStepFailure, reasonOf } from './failures.ts';
import { Abandoned, type Process } from './process.ts';
import {
  type Arrival,
  compensating,
  EndedByPerson,
  endMeant,
  labelOf,
  type Route,
  running,
  type Site,
  seenAt,
} from './site.ts';
import { STRANGER, takeBack } from './take-back.ts';
import type { Turn } from './turn.ts';

/** Where an attempt left the tube. */
interface Left {
  readonly at: TransferPlace;
  /** the store failed at it, rather than being kept from it */
  readonly isTry: boolean;
  readonly isDeviation?: boolean;
}

/**
 * The same as a transfer by single moves, by a store at job level: it is told where the tube shall go, goes there itself,
 * and reads the label on the way. Custody follows what the sensors saw at both ends, unless the label is another tube's:
 * then nothing is recorded as moved. What the store did not manage is tried again; what the sensors explain at last is
 * undone; what they do not is put to the operator.
 * @throws Abandoned when the tube stays, or goes back
 */
export async function relocate(process: Process, turn: Turn, route: Route): Promise<Arrival> {
  const relocation = new Relocation(process, turn, route);
  process.saga.before('have the store take the tube back', (round) =>
    takeBack(process, turn, route, { isUnread: relocation.isUnread, round }),
  );
  try {
    return await relocation.run();
  } catch (error) {
    if (error instanceof EndedByPerson) return { at: error.at, isDeviation: true };
    throw error;
  }
}

class Relocation {
  /** the tube was moved, and its label not read */
  isUnread = false;
  readonly #process: Process;
  readonly #turn: Turn;
  readonly #route: Route;
  /** counts the attempts; it rises only by what became of the one before */
  #attempt = 0;
  #tries = 0;

  constructor(process: Process, turn: Turn, route: Route) {
    this.#process = process;
    this.#turn = turn;
    this.#route = route;
  }

  async run(): Promise<Arrival> {
    let left: Left = { at: 'source', isTry: false };
    while (left.at !== 'target') {
      this.#attempt += 1;
      if (left.at === 'carrier') left = await this.#askAboutCarrier();
      else {
        if (this.#attempt > 1 && this.#route.isReturn !== true)
          this.#process.stopIfCancelled(`the tube was brought again from ${labelOf(this.#route.from)}`);
        left = await this.#bring();
      }
    }
    this.#process.enter(this.#route.arrived.phase);
    return { at: 'target', isDeviation: left.isDeviation === true };
  }

  async #bring(): Promise<Left> {
    const { robotId, from, to, arrived } = this.#route;
    this.#process.enter('TRANSFERRING');
    const { moved, refused } = await motions(wayOf(from, to)).relocateTube(this.#ref('relocate'), {
      robotId,
      fence: this.#turn.fence,
      attempt: this.#attempt,
      from: seenAt(from),
      to: seenAt(to),
      arrived,
    });
    if (classifyLabel(moved) === 'mismatch') return this.#askAboutStranger(moved);
    if (classifyTransfer(moved) !== 'placed') return this.#failed(moved);
    if (refused !== null) {
      const detail = `The sensors saw the tube (target), but the record refused it: ${refused}`;
      return this.#asked({ kind: 'outcome_unknown', detail, robotId, candidates: [seenAt(to)] });
    }
    if (this.#isUnverified(moved)) return this.#unread();
    return { at: 'target', isTry: false };
  }

  /** A transfer that did not succeed. */
  async #failed(moved: MotionOutcome): Promise<Left> {
    const { from, to } = this.#route;
    const isExplained = moved.stop === null && classifyTransfer(moved) === 'not_moved';
    const left: Left = isExplained ? { at: 'source', isTry: true } : await this.#doubt(moved);
    const isSeenByPerson = left.isDeviation === true;
    if (left.at === 'target' && !isSeenByPerson && this.#isUnverified(moved)) return this.#unread();
    if (left.at !== 'source' || !left.isTry) return left;
    this.#tries += 1;
    if (this.#tries < PICK_TRIES) return left;
    throw new Abandoned('FAILED', `The store did not ${wayOf(from, to)}: ${describeOutcome(moved)}`);
  }

  /** A tube that goes back was read on its way out; unread, it is better off in the cold. */
  #isUnverified(moved: MotionOutcome): boolean {
    return this.#route.isReturn !== true && classifyLabel(moved) === 'unread';
  }

  #unread(): never {
    this.isUnread = true;
    throw new Abandoned('FAILED', 'The store could not read the label of the tube it brought.');
  }

  /** Finds out where the tube is, by looking or by asking. */
  async #doubt(outcome: MotionOutcome): Promise<Left> {
    const { robotId, from, to, arrived } = this.#route;
    const explained = await findOut(this.#process, this.#turn, {
      operation: 'transfer',
      robotId,
      source: from,
      target: to,
      outcome,
      next: (at) => (at === 'target' ? arrived : running(at === 'source' ? 'AWAITING_TURN' : 'TRANSFERRING')),
    });
    if (!('at' in explained)) return this.#asked({ ...explained, robotId });
    return { at: explained.at, isTry: outcome.stop === null };
  }

  /** A store at job level takes no single moves: a person has it set the tube down, or takes the tube out. */
  #askAboutCarrier(): Promise<Left> {
    const { robotId, from, to } = this.#route;
    return this.#asked({
      kind: 'outcome_unknown',
      detail: `The store was to ${wayOf(from, to)}; its own robot holds the tube and takes no order to set it down. Have that done at the store, or take the tube out.`,
      robotId,
      candidates: [{ kind: 'carrier', robotId }],
    });
  }

  /**
   * The store took another tube than the one expected: it goes back into the cold, and the operator is asked where the
   * expected one is. A place where the stranger may stand is offered to nobody before a person has looked.
   */
  async #askAboutStranger(moved: MotionOutcome): Promise<Left> {
    const { robotId, from, to, isReturn } = this.#route;
    const { isBack, said } = isReturn
      ? { isBack: false, said: `It stands in ${labelOf(to)} now, unless the sensors say otherwise.` }
      : await this.#returnStranger(moved);
    const detail = [
      `The tube the store took from ${labelOf(from)} has another barcode than the one expected there.`,
      said,
      `Unless the tube of this job is found there, ${labelOf(isReturn ? to : from)} is blocked until a person has seen to it.`,
    ].join(' ');
    const candidates: SeenAt[] | null = isReturn ? [seenAt(from)] : null;
    const strangerIn = (isReturn ? to : from).place.positionId;
    const problem: ParkedProblem = { kind: 'barcode_mismatch', detail, robotId, candidates, strangerIn };
    return this.#asked(problem, async () => {
      if (isBack) return;
      const ref = this.#ref('block-target');
      await steps(`Block ${labelOf(to)}`).blockPlace(ref, to.place.positionId, STRANGER);
    });
  }

  async #returnStranger(moved: MotionOutcome): Promise<{ readonly isBack: boolean; readonly said: string }> {
    const verdict = classifyTransfer(moved);
    if (verdict !== 'placed') return { isBack: verdict === 'not_moved', said: describeOutcome(moved) };
    const { robotId, from, to } = this.#route;
    const next = compensating('PUTTING_BACK');
    const ref = this.#ref('return-stranger');
    this.#process.show(next.state, next.phase);
    try {
      const { commandId } = await steps(`Order: ${wayOf(to, from)}`).submitMotion(ref, {
        operation: 'transfer',
        robotId,
        fence: this.#turn.fence,
        positionId: to.place.positionId,
        toPositionId: from.place.positionId,
        attempt: this.#attempt,
        next,
      });
      const returned = await motions(wayOf(to, from)).awaitMotion(ref, commandId);
      const isBack = classifyTransfer(returned) === 'placed';
      const said = isBack ? 'The store brought it back' : 'The store did not bring it back';
      return { isBack, said: `${said} to ${labelOf(from)}: ${describeOutcome(returned)}` };
    } catch (error) {
      if (!isStepFailure(error)) throw error;
      return { isBack: false, said: `It could not be brought back to ${labelOf(from)}: ${reasonOf(error)}` };
    }
  }

  /**
   * Asks the operator where the tube is.
   * @param unlessArrived what else to do with every answer but that the tube is where it was to go
   * @throws Abandoned when it is not where the process can go on from
   */
  async #asked(problem: ParkedProblem, unlessArrived: () => Promise<void> = async () => {}): Promise<Left> {
    const { answer, next } = await this.#process.ask(problem);
    const end = endMeant(this.#route, answer);
    if (end === 'to') return { at: 'target', isTry: false, isDeviation: true };
    await unlessArrived();
    if (answer === 'with_me') throw new EndedByPerson('person');
    if (end === 'from' && this.#route.isReturn) throw new EndedByPerson('handoff');
    if (next === 'go_on') return { at: end === 'from' ? 'source' : 'carrier', isTry: false };
    const ended = this.#process.isCancelRequested ? 'CANCELLED' : 'FAILED';
    throw new Abandoned(ended, `${problem.detail} The operator answered: ${answer.replaceAll('_', ' ')}.`);
  }

  /** Parts of a return have names of their own: the way out before it, in the same process, has used the plain ones. */
  #ref(part: string) {
    return this.#process.ref(`${this.#route.isReturn ? 'return-' : ''}${part}/${this.#attempt}`);
  }
}

const wayOf = (from: Site, to: Site): string => `bring the tube from ${labelOf(from)} to ${labelOf(to)}`;
