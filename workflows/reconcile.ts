import { workflowInfo } from '@temporalio/workflow';
import type { ParkedProblem } from '../activities/contract.ts';
import { describeOutcome } from '../domain/motion.ts';
import { releaseStep } from '../domain/turns.ts';
import { motions, steps } from './activities.ts';
import { serveExpedite } from './expedite.ts';
import { endedAs, isStepFailure, reasonOf } from './failures.ts';
import type { JobOutcome } from './messages/job.ts';
import type { ReconcileInput } from './messages/reconcile.ts';
import { Process } from './process.ts';

const CAUSES = {
  workflow_gone: 'is gone',
  workflow_terminated: 'was terminated from outside',
  workflow_reset: 'was reset from outside',
  workflow_failed: 'failed',
} as const;

/**
 * Answers for a job whose own workflow is gone: waits for the motion under way, freezes the job, asks the operator where
 * the tube is, and closes the job by the answer. It moves nothing itself, and ends nothing without an answer: when it
 * cannot even ask it fails, the job stays open, and the sweep has it taken over again under the same workflow id.
 */
export async function reconcileJob(input: ReconcileInput): Promise<JobOutcome | null> {
  const process = new Process(input, workflowInfo().runId);
  serveExpedite(process);
  const reconcile = async (): Promise<JobOutcome | null> => {
    const adopted = await steps('Take the job over').adoptJob(process.ref('adopt'));
    if (adopted === null) return null;
    process.adoptWaits(adopted.waits);
    const { kind, robotId, liveCommandId, candidates } = adopted;

    const motion = liveCommandId === null ? '' : ` ${await lastMotion(process, liveCommandId)}`;
    const detail = `The workflow that ran this job ${CAUSES[input.cause]}.${motion}`;
    let problem: ParkedProblem = { kind: 'workflow_gone', detail, robotId, candidates };
    for (;;) {
      const { answer } = await process.ask(problem);
      const isDone = answer === 'at_target' || (answer === 'with_me' && kind === 'retrieval');
      const state = isDone ? 'COMPLETED_WITH_DEVIATION' : process.isCancelRequested ? 'CANCELLED' : 'FAILED';
      try {
        if (robotId !== null) {
          const ref = process.ref(releaseStep(null));
          await steps('Give the robot’s turns back').releaseTurn(ref, robotId, null);
        }
        return await process.finish(
          state,
          `${detail} The operator answered: ${answer.replaceAll('_', ' ')}.`,
        );
      } catch (error) {
        if (!isStepFailure(error)) throw error;
        const why = `${detail} The job could not be ended: ${reasonOf(error)}`;
        problem = { ...problem, detail: why, candidates: null };
      }
    }
  };
  return process.run(reconcile, async (error) => {
    if (endedAs(error) === undefined) throw error;
    return process.finish('FAILED', 'The job was over.');
  });
}

/** What became of the motion under way, in a sentence. */
async function lastMotion(process: Process, commandId: string): Promise<string> {
  try {
    const ref = process.ref('last-motion');
    const settled = await motions('Wait for the motion under way').awaitMotion(ref, commandId);
    return `What became of its last motion: ${describeOutcome(settled)}`;
  } catch (error) {
    if (!isStepFailure(error)) throw error;
    return `What became of its last motion could not be read: ${reasonOf(error)}`;
  }
}
