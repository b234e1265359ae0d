import { workflowInfo } from '@temporalio/workflow';

/**
 * Events after which a process that may go on for ever goes on in a new run. A worker that takes it over replays them all within
 * one workflow task, for which it has 2 s: 2,588 events took 8 s on a machine that was busy, and the task was given out again
 * and again.
 */
const MOST_EVENTS = 300;

/** Whether the run's history is so long that the next run should begin. @param most for tests */
export function isLong(most: number = MOST_EVENTS): boolean {
  const { continueAsNewSuggested, historyLength } = workflowInfo();
  return continueAsNewSuggested || historyLength > most;
}
