import { scanSteps } from './activities.ts';
import { isStepFailure } from './failures.ts';
import type { RunDueInput, RunDueReport } from './messages/schedule.ts';

/**
 * One scan of a tenant's schedules: begins every run that is due. It keeps nothing from scan to scan, and two at once begin
 * no run twice: all that counts is in the database.
 */
export async function runDue({ tenantId }: RunDueInput): Promise<RunDueReport> {
  const report = { started: 0, refused: 0, missed: 0, unmet: 0, later: 0, failed: 0 };
  const due = await scanSteps('Which planned jobs are due').dueRuns(tenantId);
  for (const each of due) {
    const summary = `Run ${each.run} of schedule ${each.scheduleId}`;
    try {
      const { outcome } = await scanSteps(summary).beginRun(tenantId, each);
      report[outcome] += 1;
    } catch (error) {
      if (!isStepFailure(error)) throw error;
      report.failed += 1; // the next scan looks again; those behind it do not wait for that
    }
  }
  return report;
}
