import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  setHandler,
} from '@temporalio/workflow';
import type { Actor } from '../domain/actor.ts';
import { steps, tubes } from './activities.ts';
import { isLong } from './history.ts';
import { cancelUpdate } from './messages/job.ts';
import type { PicklistInput, PicklistOutcome } from './messages/picklist.ts';
import { refuseForeign } from './process.ts';

/**
 * Works a picklist off in its planned order: starts the tubes' jobs one after the other, no more at a time than the window
 * has room for, and goes on whatever becomes of one. It remembers nothing: each step reads from the rows what comes next,
 * so that a run that was lost is followed by another that goes on where it ended. Cancelled, it begins no more tubes and
 * tells those under way, which end at their next safe point.
 */
export async function runPicklist(input: PicklistInput): Promise<PicklistOutcome> {
  const { tenantId, picklistId } = input;
  const cancel = (by: Actor | null, reason: string | null) =>
    steps('Record the cancel').cancelPicklist(tenantId, picklistId, by, reason);
  setHandler(cancelUpdate, ({ actor, reason }) => cancel(actor, reason), {
    validator: ({ actor }) => refuseForeign(tenantId, actor),
  });
  let isRecording = false;
  // A cancel from Temporal is the same wish.
  CancellationScope.current().cancelRequested.catch(async () => {
    isRecording = true;
    await CancellationScope.nonCancellable(() => cancel(null, 'asked for in Temporal'));
    isRecording = false;
  });
  const everyoneIsAnswered = () => condition(() => allHandlersFinished() && !isRecording);

  return CancellationScope.nonCancellable(async () => {
    while (!isLong(input.maxHistory)) {
      const round = await steps('Record what has ended, take the next tube').advancePicklist(
        tenantId,
        picklistId,
      );
      switch (round.next) {
        case 'start':
          await tubes(`Start job ${round.jobId}`).startTube(tenantId, picklistId, round.jobId);
          break;
        case 'stop':
          await tubes('Tell the tubes under way to stop').stopTubes(tenantId, picklistId);
          break;
        case 'wait':
          await tubes('Wait until a tube has ended').awaitTubes(tenantId, picklistId);
          break;
        case 'over':
          await everyoneIsAnswered();
          return { state: round.state };
      }
    }
    await everyoneIsAnswered();
    return continueAsNew<typeof runPicklist>(input);
  });
}
