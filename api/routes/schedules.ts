import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { resolveReference } from '../../db/references.ts';
import { cancelSchedule, changeSchedule, createSchedule } from '../../db/schedule-changes.ts';
import { findSchedule, listSchedules, scheduleById } from '../../db/schedules.ts';
import { priorityOf } from '../../domain/priority.ts';
import { JobKindName, Reference } from '../../schemas/automation.ts';
import { Id } from '../../schemas/problem.ts';
import {
  Schedule,
  ScheduleCancelRequest,
  ScheduleEditRequest,
  SchedulePage,
  ScheduleRequest,
  ScheduleStateName,
} from '../../schemas/schedule.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { instantOf, plannedJob, presentSchedule, schedulePath, triggerOf } from '../schedules.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS, IfMatchHeader, withEtag } from './location-parts.ts';

const ScheduleParams = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });

const NIGHTLY = { time: '03:00', timeZone: 'Europe/Berlin', weekdays: ['monday' as const] };
const NIGHT = { from: '22:00', to: '06:00', timeZone: 'Europe/Berlin' };
const SCHEDULE_EXAMPLE: z.input<typeof Schedule> = {
  id: EXAMPLE_ID,
  state: 'active',
  job: { kind: 'retrieval', mode: 'robot', priority: 20, priorityName: 'NORMAL', sampleId: EXAMPLE_ID },
  when: { every: NIGHTLY },
  window: NIGHT,
  graceMinutes: 60,
  planned: { by: EXAMPLE_ID, at: '2026-03-02T08:15:00.000Z', reason: 'Weekly control sample.' },
  nextDue: '2026-03-09T02:00:00.000Z',
  runs: 1,
  lastRun: {
    outcome: 'started',
    at: '2026-03-02T02:00:12.000Z',
    dueAt: '2026-03-02T02:00:00.000Z',
    job: { id: EXAMPLE_ID, state: 'COMPLETED', link: `/automation/jobs/${EXAMPLE_ID}` },
  },
  version: 2,
  links: { self: `/automation/schedule/${EXAMPLE_ID}`, jobs: `/automation/jobs?schedule=${EXAMPLE_ID}` },
};

const planRoute = createRoute({
  ...secured('schedule.edit'),
  method: 'post',
  path: '/automation/schedule',
  tags: ['Automation'],
  summary: 'Plan a job: at a time, after another job, or repeatedly; within daily hours',
  description:
    'What is due is looked for every 30 s, and begins within that. The run is done in the name of whoever planned it, and is refused when they may not any more. A retrieval of a tube that is not stored, or that another job has, is refused as a job; a repeated one goes on with the next run.',
  request: {
    headers: IdempotencyHeader,
    body: body(ScheduleRequest, {
      job: { kind: 'retrieval', sample: 'TUBE-000123', mode: 'robot' },
      when: { every: NIGHTLY },
      window: NIGHT,
      reason: 'Weekly control sample.',
    }),
  },
  responses: {
    201: {
      ...withEtag(reply(Schedule, 'Planned.', SCHEDULE_EXAMPLE)),
      headers: {
        ETag: { description: 'For If-Match.', schema: { type: 'string' as const } },
        Location: { description: 'What was planned.', schema: { type: 'string' as const } },
      },
    },
    ...problems(...BODY_REFUSALS, 'NOT_FOUND', 'BARCODE_UNKNOWN', 'POSITION_UNKNOWN', 'JOB_FINISHED'),
  },
});

const listRoute = createRoute({
  ...secured('schedule.read'),
  method: 'get',
  path: '/automation/schedule',
  tags: ['Automation'],
  summary: 'Planned jobs, newest first: what, when, who and why',
  request: {
    query: z.strictObject({
      state: ScheduleStateName.optional(),
      kind: JobKindName.optional(),
      sample: Reference.optional(),
      limit: z.coerce.number().int().min(1).max(500).default(50),
      cursor: z.uuid().optional().openapi({ description: 'The nextCursor of the page before.' }),
    }),
  },
  responses: {
    200: reply(SchedulePage, 'A page; without nextCursor it is the last.', { schedules: [SCHEDULE_EXAMPLE] }),
    ...problems('VALIDATION', 'NOT_FOUND', 'BARCODE_UNKNOWN'),
  },
});

const readRoute = createRoute({
  ...secured('schedule.read'),
  method: 'get',
  path: '/automation/schedule/{id}',
  tags: ['Automation'],
  summary: 'A planned job: when it is due next, and what came of its last run',
  request: { params: ScheduleParams },
  responses: {
    200: withEtag(reply(Schedule, 'The schedule.', SCHEDULE_EXAMPLE)),
    ...problems('NOT_FOUND', 'VALIDATION'),
  },
});

const editRoute = createRoute({
  ...secured('schedule.edit'),
  method: 'patch',
  path: '/automation/schedule/{id}',
  tags: ['Automation'],
  summary: 'Change when or how urgently it runs, pause it, or let it go on',
  description: 'What is left out stays. What it does is not changed: cancel it, and plan another.',
  request: {
    params: ScheduleParams,
    headers: IfMatchHeader,
    body: body(ScheduleEditRequest, { paused: true, reason: 'The freezer is being defrosted.' }),
  },
  responses: {
    200: withEtag(reply(Schedule, 'The schedule as it is now.', SCHEDULE_EXAMPLE)),
    ...problems(
      'MALFORMED_BODY',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'NOT_FOUND',
      'PRECONDITION_REQUIRED',
      'PRECONDITION_FAILED',
      'CONFLICT',
      'JOB_FINISHED',
    ),
  },
});

const cancelRoute = createRoute({
  ...secured('schedule.edit'),
  method: 'post',
  path: '/automation/schedule/{id}/cancel',
  tags: ['Automation'],
  summary: 'Call it off; a job it has started goes on',
  request: {
    params: ScheduleParams,
    headers: IdempotencyHeader,
    body: body(ScheduleCancelRequest, { reason: 'The study is closed.' }),
  },
  responses: {
    200: withEtag(
      reply(Schedule, 'The schedule, cancelled.', {
        ...SCHEDULE_EXAMPLE,
        state: 'cancelled',
        nextDue: undefined,
      }),
    ),
    ...problems(...BODY_REFUSALS, 'NOT_FOUND', 'CONFLICT'),
  },
});

/** Jobs planned for later. */
export function scheduleRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(planRoute, async (c) => {
    const { actor } = c.var;
    const request = c.req.valid('json');
    const plan = {
      trigger: triggerOf(c, request.when),
      window: request.window ?? null,
      until: instantOf(request.until ?? null),
      maxRuns: request.maxRuns ?? null,
      graceMs: request.graceMinutes * 60_000,
    };
    const job = await plannedJob(c, request.job, request.when);
    const id = await createSchedule(db, actor, { job, plan, reason: request.reason }, async (tx, planned) =>
      rememberReply(c, tx, {
        status: 201,
        body: presentSchedule(await scheduleById(tx, actor.tenantId, planned)),
        location: schedulePath(planned),
      }),
    );
    const schedule = await findSchedule(db, actor.tenantId, id);
    c.header('etag', etagOf(schedule));
    c.header('location', schedulePath(id));
    return c.json(presentSchedule(schedule), 201);
  });

  routes.openapi(listRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const { state, kind, sample, limit, cursor } = c.req.valid('query');
    // One more than asked for tells whether there is another page.
    const found = await listSchedules(db, tenantId, {
      ...(state && { state }),
      ...(kind && { kind }),
      ...(sample && { sampleId: await resolveReference(db, tenantId, 'sample', sample) }),
      ...(cursor && { after: cursor }),
      limit: limit + 1,
    });
    const page = found.slice(0, limit);
    const last = page.at(-1);
    return c.json(
      {
        schedules: page.map(presentSchedule),
        ...(found.length > limit && last && { nextCursor: last.id }),
      },
      200,
    );
  });

  routes.openapi(readRoute, async (c) => {
    const schedule = await findSchedule(db, c.var.actor.tenantId, c.req.valid('param').id);
    c.header('etag', etagOf(schedule));
    return c.json(presentSchedule(schedule), 200);
  });

  routes.openapi(editRoute, async (c) => {
    const { actor } = c.var;
    const { id } = c.req.valid('param');
    const { when, until, graceMinutes, priority, reason, ...rest } = c.req.valid('json');
    await changeSchedule(db, { actor, reason }, id, versionFromIfMatch(c), {
      ...rest,
      ...(when && { trigger: triggerOf(c, when) }),
      ...(until !== undefined && { until: instantOf(until) }),
      ...(priority !== undefined && { priority: priorityOf(priority) }),
      ...(graceMinutes !== undefined && { graceMs: graceMinutes * 60_000 }),
    });
    const schedule = await findSchedule(db, actor.tenantId, id);
    c.header('etag', etagOf(schedule));
    return c.json(presentSchedule(schedule), 200);
  });

  routes.openapi(cancelRoute, async (c) => {
    const { actor } = c.var;
    const { id } = c.req.valid('param');
    await cancelSchedule(db, { actor, ...c.req.valid('json') }, id, async (tx) =>
      rememberReply(c, tx, {
        status: 200,
        body: presentSchedule(await scheduleById(tx, actor.tenantId, id)),
      }),
    );
    const schedule = await findSchedule(db, actor.tenantId, id);
    c.header('etag', etagOf(schedule));
    return c.json(presentSchedule(schedule), 200);
  });

  return routes;
}
