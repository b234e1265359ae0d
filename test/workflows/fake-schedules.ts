import type { ScheduleActivities } from '../../activities/contract.ts';
import type { RunEnd } from '../../workflows/messages/schedule.ts';
import { failure } from './fakes.ts';
import type { Laboratory } from './laboratory.ts';

/** A schedule in memory, whose next run ends as a test says. */
export interface FakeSchedule {
  readonly id: string;
  runs: number;
  isDue: boolean;
  ends: RunEnd;
  jobId: string | null;
}

/** The scan's steps over schedules in memory, with the semantics of the real ones. */
export function createFakeScheduleActivities(lab: Laboratory): ScheduleActivities {
  return {
    dueRuns: async () =>
      [...lab.schedules.values()]
        .filter(({ isDue }) => isDue)
        .map(({ id, runs }) => ({ scheduleId: id, run: runs + 1 })),
    beginRun: async (_tenantId, { scheduleId, run }) => {
      const schedule = lab.schedules.get(scheduleId);
      if (schedule === undefined) throw failure('NOT_FOUND', `There is no schedule ${scheduleId}.`);
      const { ends } = schedule;
      if (schedule.runs >= run) return { outcome: ends, jobId: schedule.jobId };
      schedule.isDue = false;
      if (ends === 'started' || ends === 'refused') schedule.runs += 1;
      schedule.jobId = ends === 'started' ? lab.newId() : null;
      return { outcome: ends, jobId: schedule.jobId };
    },
  };
}
