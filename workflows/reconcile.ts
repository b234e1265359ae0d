import { describeOutcome } from '../domain/motion.ts';
import { releaseStep } from '../domain/turns.ts';
import { motions, steps } from './activities.ts';
import { serveExpedite } from './expedite.ts';
import type { JobOutcome } from './messages/job.ts';
import type { ReconcileInput } from './messages/reconcile.ts';
import { Process } from './process.ts';

const CAUSES = {
  workflow_gone: 'is gone',
  workflow_terminated: 'was terminated from outside',
  workflow_failed: 'failed',
} as const;

/**
 * Answers for a job whose own workflow is gone: waits for the motion under way, freezes the job, asks the operator where
 * the tube is, and closes the job by the answer. It moves nothing itself.
 */
export async function reconcileJob(input: ReconcileInput): Promise<JobOutcome | null> {
  const process = new Process(input);
  serveExpedite(process);
  const outcome = await process.run(async () => {
    const adopted = await steps('Take the job over').adoptJob(process.ref('adopt'));
    if (adopted === null) return null;
    const { kind, robotId, liveCommandId, candidates } = adopted;

    let detail = `The workflow that ran this job ${CAUSES[input.cause]}.`;
    if (liveCommandId !== null) {
      const ref = process.ref('last-motion');
      const settled = await motions('Wait for the motion under way').awaitMotion(ref, liveCommandId);
      detail += ` What became of its last motion: ${describeOutcome(settled)}`;
    }
    const { answer } = await process.ask({ kind: 'workflow_gone', detail, robotId, candidates });

    if (robotId !== null) {
      await steps('Give the robot’s turns back').releaseTurn(process.ref(releaseStep(null)), robotId, null);
    }
    const isDone = answer === 'at_target' || (answer === 'with_me' && kind === 'retrieval');
    const state = isDone ? 'COMPLETED_WITH_DEVIATION' : process.isCancelRequested ? 'CANCELLED' : 'FAILED';
    return process.finish(state, `${detail} The operator answered: ${answer.replaceAll('_', ' ')}.`);
  });
  return outcome;
}
