import { CancellationScope, log, setHandler } from '@temporalio/workflow';
import { steps } from './activities.ts';
import { isStepFailure, reasonOf } from './failures.ts';
import { type Expedite, expediteSignal } from './messages/job.ts';
import type { Process } from './process.ts';

/**
 * Hears how urgent other services say the job is, and writes it into the job's row, one event after the other in the order
 * in which they came; the last one stands. An event counts once. Nobody waits for an answer, so nothing is refused: what
 * comes when the process is over, or cannot be written, changes nothing.
 * @param apply what else follows from the priority, called with it once it is written
 */
export function serveExpedite(
  process: Process,
  apply: (priority: number) => Promise<void> = async () => {},
): void {
  const seen = new Set<string>();
  let last = Promise.resolve();
  // A cancel from Temporal ends the process at its next safe point; until then its messages are heard.
  const hear = (event: Expedite) =>
    CancellationScope.nonCancellable(async () => {
      if (process.isOver) return;
      try {
        const { actor, priority, eventId } = event;
        const ref = process.ref(`expedite/${eventId}`);
        await steps(`Priority ${priority}`).reprioritise(ref, actor, priority, eventId);
        if (!process.isOver) await apply(priority);
      } catch (error) {
        if (!isStepFailure(error)) throw error;
        log.warn('a change of priority had no effect', { event: event.eventId, reason: reasonOf(error) });
      }
    });
  setHandler(expediteSignal, (event) => {
    if (event.actor.tenantId !== process.actor.tenantId || seen.has(event.eventId)) return;
    seen.add(event.eventId);
    process.hear();
    last = last.then(() => hear(event));
    return last;
  });
}
