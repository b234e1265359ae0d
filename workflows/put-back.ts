import type { MotionOutcome, SeenAt } from '../activities/contract.ts';
import { classifyPick, classifyPlace, describeOutcome } from '../domain/motion.ts';
import type { TransferPlace } from '../domain/reconciliation.ts';
import { PLACE_TRIES } from '../domain/waits.ts';
import { motions } from './activities.ts';
import { findOut } from './doubt.ts';
import type { Process } from './process.ts';
import { LOOK_FOR_IT, UndoStuck } from './saga.ts';
import { compensating, labelOf, type Route, running, type Site, seenAt } from './site.ts';
import type { Turn } from './turn.ts';

/**
 * The undo of a transfer: brings the tube back to where it came from, by where it is now; where that place does not take
 * it, into quarantine, which is as cold.
 * @param round counts the runs of this undo, from 1 on
 * @returns what was done, in a sentence
 * @throws UndoStuck when only a person can say where the tube is, or help
 */
export function putBack(process: Process, turn: Turn, route: Route, round: number): Promise<string> {
  return new PutBack(process, turn, route, round).run();
}

class PutBack {
  readonly #process: Process;
  readonly #turn: Turn;
  readonly #route: Route;
  readonly #round: number;
  /** the one that holds the tube, or fetches it */
  #robotId: string;
  #attempt = 0;

  constructor(process: Process, turn: Turn, route: Route, round: number) {
    this.#process = process;
    this.#turn = turn;
    this.#route = route;
    this.#round = round;
    this.#robotId = route.robotId;
  }

  async run(): Promise<string> {
    const { from, to } = this.#route;
    const where = await this.#process.undoing('Where is the tube now?').custodyOf(this.#ref('where'));
    if (where.kind === 'unknown' && !where.isGivenUp) throw this.#stuck(LOOK_FOR_IT, null);
    // A tube that reached its position is stored; one in the hand-off, which nobody collected, goes back.
    const isReturn =
      to.kind === 'handoff' && where.kind === 'handoff' && where.positionId === to.place.positionId;
    if (where.kind !== 'carrier' && !isReturn) return 'There was nothing to put back.';
    const mark = this.#mark(isReturn);
    this.#process.show(mark.state, mark.phase);
    this.#robotId = await this.#turn.takeForUndo(this.#robotId);
    if (isReturn) await this.#fetch(to);
    if (await this.#place(from)) return `The tube was put back into ${labelOf(from)}.`;
    const place = await this.#process
      .undoing('Find a place in quarantine')
      .reserveQuarantine(this.#ref('quarantine'), this.#robotId);
    if (place === null) {
      throw this.#stuck(
        `The robot holds the tube and could not put it back into ${labelOf(from)}; no quarantine position is free.`,
        null,
      );
    }
    const quarantine: Site = { kind: 'position', place };
    if (await this.#place(quarantine)) {
      return `${labelOf(from)} did not take the tube: it was put into quarantine, ${labelOf(quarantine)}.`;
    }
    throw this.#stuck(
      `The robot holds the tube and could not put it back into ${labelOf(from)}, nor into quarantine ${labelOf(quarantine)}.`,
      null,
    );
  }

  /** Fetches the tube from the hand-off. */
  async #fetch(at: Site): Promise<void> {
    for (;;) {
      const picked = await this.#move('pick', at);
      const verdict = classifyPick(picked);
      if (verdict === 'picked') {
        await this.#record({ kind: 'carrier', robotId: this.#robotId }, true);
        return;
      }
      if (picked.stop !== null || verdict === 'unknown') {
        if ((await this.#doubt('pick', at, picked)) === 'carrier') return;
      }
      if (picked.stop !== null) continue; // it was kept from it
      throw this.#stuck(
        `The robot did not fetch the tube from ${labelOf(at)}: ${describeOutcome(picked)}`,
        null,
      );
    }
  }

  /** @returns whether the tube stands there now; otherwise the robot holds it still */
  async #place(at: Site): Promise<boolean> {
    for (let tries = 1; ; ) {
      const placed = await this.#move('place', at);
      const verdict = classifyPlace(placed);
      if (verdict === 'placed') {
        await this.#record(seenAt(at), false);
        return true;
      }
      if (placed.stop !== null || verdict === 'unknown') {
        if ((await this.#doubt('place', at, placed)) === 'target') return true;
      }
      if (placed.stop !== null) continue; // it was kept from it
      if (tries === PLACE_TRIES) return false;
      tries += 1;
    }
  }

  /** Finds out where the tube is. @throws UndoStuck with the question when the sensors do not say */
  async #doubt(operation: 'pick' | 'place', at: Site, outcome: MotionOutcome): Promise<TransferPlace> {
    const explained = await findOut(
      this.#process,
      this.#turn,
      {
        operation,
        robotId: this.#robotId,
        source: operation === 'pick' ? at : null,
        target: operation === 'place' ? at : null,
        outcome,
        next: () => this.#mark(operation === 'pick'),
      },
      (summary) => this.#process.undoing(summary),
    );
    if ('at' in explained) return explained.at;
    throw this.#stuck(explained.detail, explained.candidates);
  }

  /** Orders one motion, and waits until it is settled. */
  async #move(operation: 'pick' | 'place', site: Site): Promise<MotionOutcome> {
    this.#attempt += 1;
    const next = this.#mark(operation === 'pick');
    const summary = `${operation} ${labelOf(site)}`;
    const ref = this.#ref(operation);
    this.#process.enter(next.phase);
    const { commandId } = await this.#process.undoing(`Order: ${summary}`).submitMotion(ref, {
      operation,
      robotId: this.#robotId,
      fence: this.#turn.fence,
      positionId: site.place.positionId,
      attempt: this.#attempt,
      next,
    });
    return motions(summary).awaitMotion(ref, commandId);
  }

  #record(seen: SeenAt, isReturn: boolean): Promise<void> {
    return this.#process
      .undoing(`Custody: ${seen.kind}`)
      .moveCustody(this.#ref('custody'), seen, this.#mark(isReturn));
  }

  #mark(isReturn: boolean) {
    return isReturn ? running('RETURNING') : compensating('PUTTING_BACK');
  }

  #stuck(detail: string, candidates: readonly SeenAt[] | null): UndoStuck {
    return new UndoStuck({ kind: 'compensation_stuck', detail, robotId: this.#robotId, candidates });
  }

  #ref(step: string) {
    return this.#process.ref(
      `put-back/${this.#route.isReturn ? 'return/' : ''}${this.#round}/${step}/${this.#attempt}`,
    );
  }
}
