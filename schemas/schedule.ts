import { z } from '@hono/zod-openapi';
import {
  JobKindName,
  JobStateName,
  Mode,
  newSampleFields,
  PositionChoice,
  Priority,
  priorityFields,
  Reference,
  TargetChoice,
} from './automation.ts';
import { RefusalView } from './job-view.ts';
import { Id, Instant } from './problem.ts';

const Time = z
  .string()
  .regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, { error: 'should be a time of day such as 03:30' })
  .openapi({ example: '03:30' });
const TimeZoneName = z.string().min(1).max(64).openapi({
  description: 'IANA name; bare offsets know no daylight-saving time.',
  example: 'Europe/Berlin',
});
const WeekdayName = z.enum(['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']);
const UnitName = z.enum(['minutes', 'hours', 'days', 'weeks']);
export const ScheduleStateName = z.enum(['active', 'paused', 'done', 'cancelled']);

const At = z.strictObject({ at: Instant }).openapi({ description: 'Once, at this time.' });
const After = z
  .strictObject({
    after: Id.openapi({ description: 'The job to wait for.' }),
    condition: z.enum(['completed', 'ended']).default('completed').openapi({
      description: 'Run when that job did what it was asked for, or when it came to any end.',
    }),
  })
  .openapi({ description: 'Once, after another job.' });
const Interval = z
  .strictObject({
    unit: UnitName.openapi({ description: 'A day is 24 hours here, a week seven of them.' }),
    count: z.int().min(1).max(1_000),
    from: Instant.optional().openapi({
      description: 'When the counting begins: a run then, and so on. Left out: one period from now.',
    }),
  })
  .openapi({ description: 'Every so many units of time.' });
const Calendar = z
  .strictObject({
    time: Time.openapi({
      description:
        'By the clocks of the place. Where they jump over it, it is as much later; where it comes twice, the first counts.',
    }),
    timeZone: TimeZoneName,
    weekdays: z.array(WeekdayName).min(1).max(7).optional().openapi({ description: 'Left out: every day.' }),
  })
  .openapi({ description: 'At a time of day.' });

/** When a planned job runs: exactly one of at, after and every. */
const When = z
  .union([At, After, z.strictObject({ every: z.union([Interval, Calendar]) })])
  .openapi('ScheduleWhen');
export type When = z.infer<typeof When>;

const Window = z
  .strictObject({ from: Time, to: Time, timeZone: TimeZoneName })
  .openapi('DailyWindow', { description: 'From this minute until before that one, also over midnight.' });

const planFields = {
  window: Window.optional().openapi({
    description: 'A run begins inside only; one that is due outside waits for the next opening.',
  }),
  until: Instant.optional().openapi({ description: 'The last time at which a run may be due.' }),
  maxRuns: z.int().min(1).max(1_000_000).optional().openapi({ description: 'For what is repeated.' }),
};
const GraceMinutes = z.int().min(1).max(10_080);
const Reason = z.string().trim().min(1).max(1_000);

const PlannedJob = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('retrieval'),
      sample: Reference,
      handoff: PositionChoice.optional(),
      mode: Mode,
      priority: Priority,
    }),
    z.strictObject({
      kind: z.literal('move'),
      sample: Reference,
      target: TargetChoice.optional(),
      mode: Mode,
      priority: Priority,
    }),
    z.strictObject({
      kind: z.literal('placement'),
      sample: Reference.optional().openapi({ description: 'A registered sample; or else `register`.' }),
      register: z.strictObject(newSampleFields).optional().openapi({ description: 'A new sample.' }),
      target: TargetChoice.optional(),
      handoff: PositionChoice.optional(),
      mode: Mode,
      priority: Priority,
    }),
  ])
  .openapi('PlannedJob');
export type PlannedJob = z.infer<typeof PlannedJob>;

export const ScheduleRequest = z
  .strictObject({
    job: PlannedJob,
    when: When,
    ...planFields,
    graceMinutes: GraceMinutes.default(60).openapi({
      description: 'How late a run may begin, after the laboratory was off say; later it is missed.',
    }),
    reason: Reason.openapi({ description: 'Why it is planned.' }),
  })
  .openapi('ScheduleRequest');

export const ScheduleEditRequest = z
  .strictObject({
    when: When.optional(),
    window: Window.nullable().optional().openapi({ description: 'null: at any time of day.' }),
    until: Instant.nullable().optional(),
    maxRuns: planFields.maxRuns.unwrap().nullable().optional(),
    graceMinutes: GraceMinutes.optional(),
    priority: Priority.unwrap().optional(),
    paused: z.boolean().optional().openapi({
      description: 'true: nothing runs; false: it goes on, and what was due meanwhile is not made up for.',
    }),
    reason: Reason.openapi({ description: 'Why it is changed.' }),
  })
  .openapi('ScheduleEditRequest');

export const ScheduleCancelRequest = z.strictObject({ reason: Reason }).openapi('ScheduleCancelRequest');

const LastRun = z
  .object({
    outcome: z.enum(['started', 'refused', 'missed', 'unmet']).openapi({
      description:
        'started: there is a job, which may have been refused itself; refused: who planned it may not any more; missed: later than the grace period; unmet: the job before ended otherwise than asked.',
    }),
    at: Instant,
    dueAt: Instant,
    missedSince: Instant.optional().openapi({
      description: 'The first of several that were due; one run made up for all.',
    }),
    job: z.object({ id: Id, state: JobStateName, link: z.string() }).optional(),
    refusal: RefusalView.optional(),
    ended: JobStateName.optional().openapi({ description: 'How the job before ended.' }),
  })
  .openapi('ScheduleRun');

const By = { by: Id.openapi({ description: 'User id.' }), at: Instant, reason: z.string() };

/** A planned job, as it stands. */
export const Schedule = z
  .object({
    id: Id,
    state: ScheduleStateName,
    job: z.object({
      kind: JobKindName,
      mode: Mode.unwrap(),
      ...priorityFields,
      sampleId: Id,
      register: z.object(newSampleFields).optional(),
      target: z
        .object({ positionId: Id })
        .or(z.object({ withinId: Id }))
        .optional()
        .openapi({
          description: 'Absent: the system chooses.',
        }),
      handoffPositionId: Id.optional(),
    }),
    when: When,
    ...planFields,
    graceMinutes: z.int(),
    planned: z.object(By).openapi({ description: 'Who, when and why.' }),
    changed: z.object(By).optional().openapi({ description: 'The last change by a person.' }),
    nextDue: Instant.optional().openapi({
      description: 'Within 30 s after it the job begins. Absent: it waits for a job, is paused, or is over.',
    }),
    runs: z.int(),
    lastRun: LastRun.optional(),
    version: z.int(),
    links: z.object({ self: z.string(), jobs: z.string() }),
  })
  .openapi('Schedule');
export type Schedule = z.infer<typeof Schedule>;

export const SchedulePage = z
  .object({ schedules: z.array(Schedule), nextCursor: z.string().optional() })
  .openapi('SchedulePage');
