import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { Database } from '../db/connection.ts';
import { beginRun, dueRuns } from '../db/schedule-runs.ts';
import { workflowIds } from '../workflows/ids.ts';
import { jobStart, jobStartOptions } from '../workflows/messages/start.ts';
import type { ScheduleActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';

/** What is needed of a workflow client: start the workflow of a job. */
interface Starter {
  start(workflow: string, options: ReturnType<typeof jobStartOptions>): Promise<unknown>;
}

export interface ScheduleDependencies {
  readonly db: Database;
  readonly workflows: Starter;
}

/** Jobs planned for later: which are due, and their beginning. */
export function createScheduleActivities({ db, workflows }: ScheduleDependencies): ScheduleActivities {
  return {
    dueRuns: (tenantId) => failingAsWorkflowsExpect(() => dueRuns(db, tenantId)),

    beginRun: (tenantId, run) =>
      failingAsWorkflowsExpect(async () => {
        const { outcome, job } = await beginRun(db, tenantId, run, (kind, jobId) =>
          workflowIds[kind](tenantId, jobId),
        );
        if (job !== null && job.startedAt === null && job.finishedAt === null) {
          try {
            await workflows.start(jobStart(job).workflowName, jobStartOptions(job));
          } catch (error) {
            // It ran and closed meanwhile: as good as started here.
            if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
          }
        }
        return { outcome, jobId: job?.id ?? null };
      }),
  };
}
