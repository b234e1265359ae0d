import { log } from '@temporalio/workflow';
import type { ParkedProblem } from '../activities/contract.ts';
import { endedAs, isStepFailure, reasonOf } from './failures.ts';

/** Undoes one step, and says what it did or that there was nothing to undo. `attempt` counts from 1. */
export type Undo = (attempt: number) => Promise<string>;

/** What an undo asks that is tried again before anybody has found the tube. */
export const LOOK_FOR_IT =
  'Nobody knows where the tube is, so that there is nothing a robot could bring back: look for it, and say where it is.';

/** Thrown by an undo that found something only a person can settle. */
export class UndoStuck extends Error {
  readonly problem: ParkedProblem;

  constructor(problem: ParkedProblem) {
    super(problem.detail);
    this.name = 'UndoStuck';
    this.problem = problem;
  }
}

/** Asks a person about an undo that does not succeed; resolves when it may be tried again. */
export type AskAboutUndo = (problem: Pick<ParkedProblem, 'detail'> & Partial<ParkedProblem>) => Promise<void>;

/**
 * What undoes the steps of a process. An undo is registered before its step, with what is known then; undos run last-in
 * first-out and read custody as it is when they run. One that fails waits for a person, and those below wait with it:
 * nothing is skipped and nothing swallowed. The caller runs all of it non-cancellable.
 */
export class Saga {
  readonly #undos: { readonly name: string; readonly run: Undo }[] = [];
  readonly #ask: AskAboutUndo;

  constructor(ask: AskAboutUndo) {
    this.#ask = ask;
  }

  /** Registers what undoes the step that comes next. */
  before(name: string, run: Undo): void {
    this.#undos.push({ name, run });
  }

  /** How many undos are registered: what `unwind` may go back to. */
  get depth(): number {
    return this.#undos.length;
  }

  /**
   * Runs the undos registered since the saga had this depth.
   * @returns what each said, in the order in which they ran
   */
  async unwind(depth = 0): Promise<string[]> {
    const said: string[] = [];
    for (let undo = this.#undos.at(-1); undo && this.#undos.length > depth; undo = this.#undos.at(-1)) {
      said.push(await this.#run(undo.name, undo.run));
      this.#undos.pop();
    }
    return said;
  }

  async #run(name: string, undo: Undo): Promise<string> {
    try {
      for (let attempt = 1; ; attempt += 1) {
        const said = await this.#try(name, undo, attempt);
        if (said !== null) return said;
      }
    } catch (error) {
      // The undo found it, or the wait for the person.
      if (endedAs(error) !== undefined) return 'The job was over: there was nothing to undo.';
      throw error;
    }
  }

  /** @returns what the undo said; null when it did not succeed, and a person says that it may be tried again */
  async #try(name: string, undo: Undo, attempt: number): Promise<string | null> {
    try {
      return await undo(attempt);
    } catch (error) {
      if (error instanceof UndoStuck) {
        await this.#ask(error.problem);
      } else if (isStepFailure(error) && endedAs(error) === undefined) {
        log.warn('an undo failed', { undo: name, attempt, reason: reasonOf(error) });
        await this.#ask({ detail: `The undo "${name}" fails: ${reasonOf(error)}` });
      } else {
        throw error;
      }
      return null;
    }
  }
}
