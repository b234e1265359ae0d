import type { MotionOutcome, SeenAt } from '../activities/contract.ts';
import { classifyLabel, classifyTransfer, describeOutcome } from '../domain/motion.ts';
import type { TransferPlace } from '../domain/reconciliation.ts';
import { PLACE_TRIES } from '../domain/waits.ts';
import { motions } from './activities.ts';
import { findOut } from './doubt.ts';
import type { Process } from './process.ts';
import { LOOK_FOR_IT, UndoStuck } from './saga.ts';
import { compensating, labelOf, type Route, running, type Site, seenAt } from './site.ts';
import type { Turn } from './turn.ts';

/** Why a place is blocked in which the store may have set another tube down. */
export const STRANGER =
  'The store brought a tube with another barcode than the one expected: look which it is, take it out, then unblock.';

/**
 * The undo of a relocation: has the store bring the tube back to where it came from, by where it is now; where that place
 * does not take it, into quarantine, which is as cold.
 * @returns what was done, in a sentence
 * @throws UndoStuck when only a person can say where the tube is, or help
 */
export function takeBack(
  process: Process,
  turn: Turn,
  route: Route,
  undo: { readonly isUnread: boolean; readonly round: number },
): Promise<string> {
  return new TakeBack(process, turn, route, undo).run();
}

class TakeBack {
  readonly #process: Process;
  readonly #turn: Turn;
  readonly #route: Route;
  readonly #isUnread: boolean;
  readonly #round: number;
  #attempt = 0;

  constructor(
    process: Process,
    turn: Turn,
    route: Route,
    { isUnread, round }: { readonly isUnread: boolean; readonly round: number },
  ) {
    this.#process = process;
    this.#turn = turn;
    this.#route = route;
    this.#isUnread = isUnread;
    this.#round = round;
  }

  async run(): Promise<string> {
    const { robotId, from, to } = this.#route;
    const where = await this.#process.undoing('Where is the tube now?').custodyOf(this.#ref('where'));
    if (where.kind === 'unknown' && !where.isGivenUp) throw this.#stuck(LOOK_FOR_IT, null);
    if (where.kind === 'carrier') {
      throw this.#stuck(
        'The store’s own robot holds the tube: have it taken out, then say where it is.',
        null,
      );
    }
    const isAtTarget = where.kind === to.kind && where.positionId === to.place.positionId;
    // A tube that reached its position is stored, if its label was read; one in the hand-off goes back.
    if (!isAtTarget || (to.kind === 'position' && !this.#isUnread)) return 'There was nothing to take back.';
    this.#process.show(this.#mark.state, this.#mark.phase);
    await this.#turn.takeForUndo(robotId);
    if (await this.#bring(from)) return `The store brought the tube back to ${labelOf(from)}.`;
    const place = await this.#process
      .undoing('Find a place in quarantine')
      .reserveQuarantine(this.#ref('quarantine'), robotId);
    if (place !== null && (await this.#bring({ kind: 'position', place }))) {
      return `${labelOf(from)} did not take the tube: it was put into quarantine, ${place.label}.`;
    }
    throw this.#stuck(
      `The store did not bring the tube from ${labelOf(to)} back to ${labelOf(from)}, nor into quarantine.`,
      null,
    );
  }

  /** @returns whether the tube stands there now; otherwise it is where it was */
  async #bring(into: Site): Promise<boolean> {
    for (let tries = 1; ; ) {
      const moved = await this.#move(into);
      if (classifyLabel(moved) === 'mismatch') await this.#stopForStranger(into);
      if (classifyTransfer(moved) === 'placed') {
        await this.#process
          .undoing(`Custody: ${into.kind}`)
          .moveCustody(this.#ref('custody'), seenAt(into), this.#mark);
        return true;
      }
      if (moved.stop !== null || classifyTransfer(moved) === 'unknown') {
        if ((await this.#doubt(into, moved)) === 'target') return true;
      }
      if (moved.stop !== null) continue; // it was kept from it
      if (tries === PLACE_TRIES) return false;
      tries += 1;
    }
  }

  /** What the store took back is not the tube of the job: somebody has exchanged it. */
  async #stopForStranger(into: Site): Promise<never> {
    const { to } = this.#route;
    await this.#process
      .undoing(`Block ${labelOf(into)}`)
      .blockPlace(this.#ref('block'), into.place.positionId, STRANGER);
    throw this.#stuck(
      `The tube the store took back from ${labelOf(to)} is another one; ${labelOf(into)} is blocked until a person has seen to it.`,
      [seenAt(to)],
    );
  }

  /** Finds out where the tube is. @throws UndoStuck with the question when it is in neither place */
  async #doubt(into: Site, outcome: MotionOutcome): Promise<TransferPlace> {
    const { robotId, to } = this.#route;
    const explained = await findOut(
      this.#process,
      this.#turn,
      { operation: 'transfer', robotId, source: to, target: into, outcome, next: () => this.#mark },
      (summary) => this.#process.undoing(summary),
    );
    if (!('at' in explained)) throw this.#stuck(explained.detail, explained.candidates);
    if (explained.at === 'carrier') {
      throw this.#stuck(`The store’s own robot holds the tube: ${describeOutcome(outcome)}`, null);
    }
    return explained.at;
  }

  /** Orders the way back, and waits until it is settled. */
  async #move(into: Site): Promise<MotionOutcome> {
    const { robotId, to } = this.#route;
    this.#attempt += 1;
    const summary = `bring the tube from ${labelOf(to)} to ${labelOf(into)}`;
    const ref = this.#ref('transfer');
    const { commandId } = await this.#process.undoing(`Order: ${summary}`).submitMotion(ref, {
      operation: 'transfer',
      robotId,
      fence: this.#turn.fence,
      positionId: to.place.positionId,
      toPositionId: into.place.positionId,
      attempt: this.#attempt,
      next: this.#mark,
    });
    return motions(summary).awaitMotion(ref, commandId);
  }

  get #mark() {
    return this.#isUnread ? compensating('PUTTING_BACK') : running('RETURNING');
  }

  #stuck(detail: string, candidates: readonly SeenAt[] | null): UndoStuck {
    return new UndoStuck({ kind: 'compensation_stuck', detail, robotId: this.#route.robotId, candidates });
  }

  #ref(step: string) {
    return this.#process.ref(
      `take-back/${this.#route.isReturn ? 'return/' : ''}${this.#round}/${step}/${this.#attempt}`,
    );
  }
}
