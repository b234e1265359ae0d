import { condition, defineUpdate, proxyLocalActivities, setHandler } from '@temporalio/workflow';
import type { bareActivities } from './activities.ts';

const { nothing } = proxyLocalActivities<typeof bareActivities>({ startToCloseTimeout: '2s' });

export const bareUpdate = defineUpdate<string>('bare');

/** The limit of a placement: one local activity, nothing else. */
export async function bareLocal(): Promise<void> {
  await nothing();
}

/** The limit of an early answer: an update that waits for the first local activity. */
export async function bareEarlyAnswer(): Promise<void> {
  let answer: string | undefined;
  setHandler(bareUpdate, async () => {
    await condition(() => answer !== undefined);
    return answer ?? '';
  });
  answer = await nothing();
}
