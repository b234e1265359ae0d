import type { Refusal } from '../domain/errors.ts';
import type { Answer } from './messages/job.ts';

/** A message somebody waits for an answer to. */
export interface Mail<T> {
  readonly message: T;
  answer(answer: Answer): void;
}

/**
 * Messages of one kind, which the process takes one at a time while it waits for them. A message that comes early is
 * kept until the process knows whether it wants it; one that comes when nobody waits for it is refused.
 */
export class Inbox<T> {
  #waiting: Mail<T>[] = [];
  #refusal: Refusal | null;

  /** @param refusal why nothing is taken yet; null keeps what comes early */
  constructor(refusal: Refusal | null = null) {
    this.#refusal = refusal;
  }

  /** For the handler: hands the message to the process, and resolves with its answer. */
  ask(message: T): Promise<Answer> {
    const refusal = this.#refusal;
    if (refusal !== null) return Promise.resolve({ outcome: 'refused', refusal });
    return new Promise((answer) => {
      this.#waiting.push({ message, answer });
    });
  }

  get hasMail(): boolean {
    return this.#waiting.length > 0;
  }

  take(): Mail<T> | undefined {
    return this.#waiting.shift();
  }

  /** From now on messages are taken. */
  open(): void {
    this.#refusal = null;
  }

  /** From now on, and for those that wait, the answer is this refusal. */
  close(refusal: Refusal): void {
    this.#refusal = refusal;
    for (const mail of this.#waiting.splice(0)) mail.answer({ outcome: 'refused', refusal });
  }
}
