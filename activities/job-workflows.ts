import {
  type Client,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import { RESERVED_UPDATE_ID } from '../workflows/ids.ts';
import { cancelUpdate, reservedUpdate } from '../workflows/messages/job.ts';
import { jobStart, jobStartOptions } from '../workflows/messages/start.ts';
import type { JobWorkflows } from './picklist.ts';

/** Shorter than the heartbeats of the activities that call it, in ms. */
const CALL_MS = 5_000;

/** The workflows of jobs through a client. What does not answer in time is thrown, and tried again by the caller. */
export function createJobWorkflows(client: Client): JobWorkflows {
  /** A workflow that has ended, before or because of the message, is what the job's row tells of. */
  async function unlessEnded(message: () => Promise<unknown>): Promise<void> {
    try {
      await client.withDeadline(Date.now() + CALL_MS, message);
    } catch (error) {
      const hasEnded =
        error instanceof WorkflowExecutionAlreadyStartedError ||
        error instanceof WorkflowNotFoundError ||
        error instanceof WorkflowUpdateFailedError;
      if (!hasEnded) throw error;
    }
  }

  return {
    start: (job) =>
      unlessEnded(() =>
        client.workflow.executeUpdateWithStart(reservedUpdate, {
          updateId: RESERVED_UPDATE_ID,
          startWorkflowOperation: new WithStartWorkflowOperation(
            jobStart(job).workflowName,
            jobStartOptions(job),
          ),
        }),
      ),
    cancel: (workflowId, wish, updateId) =>
      unlessEnded(() =>
        client.workflow.getHandle(workflowId).executeUpdate(cancelUpdate, { args: [{ ...wish }], updateId }),
      ),
  };
}
