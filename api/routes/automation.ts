import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type JobRecord, listJobs } from '../../db/jobs.ts';
import { resolvePosition } from '../../db/references.ts';
import { DomainError } from '../../domain/errors.ts';
import { needsScan } from '../../domain/fault.ts';
import { priorityOf } from '../../domain/priority.ts';
import {
  CancelRequest,
  DecisionRequest,
  HandOverRequest,
  Job,
  JobKindName,
  JobPage,
  JobSignal,
  JobStateName,
  JobWithSteps,
  ScanRequest,
} from '../../schemas/automation.ts';
import { Id } from '../../schemas/problem.ts';
import {
  cancelUpdate,
  confirmUpdate,
  decideUpdate,
  expediteSignal,
  handOverUpdate,
} from '../../workflows/messages/job.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { presentJob, presentJobWithSteps } from '../jobs.ts';
import { confirmationOf } from '../orders.ts';
import { rememberAnswer } from '../processes.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { signalJob } from '../signals.ts';
import { requireStationAt } from '../stations.ts';
import { requireJob, tellJob } from '../updates.ts';
import { ASKING_EXAMPLE, EXAMPLE_ID, JOB_EXAMPLE, SCAN_EXAMPLE } from './examples.ts';

const JobParams = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });

/** What telling a job something may be refused with. */
const REFUSALS = [
  'MALFORMED_BODY',
  'NOT_FOUND',
  'JOB_FINISHED',
  'NOT_WAITING',
  'BARCODE_MISMATCH',
  'CONFLICT',
  'LEASE_LOST',
  'POSITION_OCCUPIED',
  'STALE_ANSWER',
  'IDEMPOTENCY_KEY_BUSY',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'VALIDATION',
  'POSITION_UNKNOWN',
  'SECOND_PERSON_REQUIRED',
  'IDEMPOTENCY_KEY_REUSED',
  'WORKFLOWS_UNAVAILABLE',
] as const;

const jobsRoute = createRoute({
  ...secured('job.read'),
  method: 'get',
  path: '/automation/jobs',
  tags: ['Automation'],
  summary: 'Jobs, newest first',
  request: {
    query: z.strictObject({
      state: JobStateName.optional(),
      kind: JobKindName.optional(),
      sample: z.uuid().optional().openapi({ description: 'Id of a sample.' }),
      robot: z.uuid().optional().openapi({ description: 'Id of a robot.' }),
      schedule: z.uuid().optional().openapi({ description: 'Id of a schedule: its runs.' }),
      live: z
        .enum(['true', 'false'])
        .optional()
        .openapi({ description: 'true: only jobs that are not over; false: only those that are.' }),
      limit: z.coerce.number().int().min(1).max(500).default(50),
      cursor: z.uuid().optional().openapi({ description: 'The nextCursor of the page before.' }),
    }),
  },
  responses: {
    200: reply(JobPage, 'A page of jobs; without nextCursor it is the last.', {
      jobs: [JOB_EXAMPLE],
      nextCursor: EXAMPLE_ID,
    }),
    ...problems('VALIDATION'),
  },
});

const jobRoute = createRoute({
  ...secured('job.read'),
  method: 'get',
  path: '/automation/jobs/{id}',
  tags: ['Automation'],
  summary: 'A job: state, steps, what it waits for, the question to the operator',
  request: { params: JobParams },
  responses: {
    200: reply(JobWithSteps, 'The job.', ASKING_EXAMPLE),
    ...problems('NOT_FOUND', 'VALIDATION'),
  },
});

const confirmRoute = createRoute({
  ...secured('job.confirm'),
  method: 'post',
  path: '/automation/jobs/{id}/confirm',
  tags: ['Automation'],
  summary: 'The scan that completes a step by hand',
  description:
    'By hand: the tube stands in (or was taken from) the position. By robot: it stands in the hand-off. The tube and the container are scanned; an unreadable label takes a second person.',
  request: { headers: IdempotencyHeader, params: JobParams, body: body(ScanRequest, SCAN_EXAMPLE) },
  responses: { 200: reply(Job, 'Taken; the job as it is now.', JOB_EXAMPLE), ...problems(...REFUSALS) },
});

const handOverRoute = createRoute({
  ...secured('job.hand_over'),
  method: 'post',
  path: '/automation/jobs/{id}/hand-over',
  tags: ['Automation'],
  summary: 'The scan with which a person takes the tube from the hand-off',
  request: {
    headers: IdempotencyHeader,
    params: JobParams,
    body: body(HandOverRequest, { sampleBarcode: 'TUBE-000123' }),
  },
  responses: { 200: reply(Job, 'Taken; the job as it is now.', JOB_EXAMPLE), ...problems(...REFUSALS) },
});

const decisionRoute = createRoute({
  ...secured('job.decide'),
  method: 'post',
  path: '/automation/jobs/{id}/decision',
  tags: ['Automation'],
  summary: 'Answer the operator’s question',
  description:
    'Bound to the fault it was asked for: an answer to another fault is refused as stale. `robotFit: true` lets the robot run again and is taken only from a station enrolled at it, as `clear` and `resume` are; with `false` the robot stays held until somebody there clears the fault.',
  request: {
    headers: IdempotencyHeader,
    params: JobParams,
    body: body(DecisionRequest, {
      faultId: EXAMPLE_ID,
      answer: 'at_source',
      sampleBarcode: 'TUBE-000123',
      robotFit: true,
      comment: 'The gripper had let go of it.',
    }),
  },
  responses: {
    200: reply(Job, 'Taken; the job as it is now.', JOB_EXAMPLE),
    ...problems('STATION_REQUIRED', ...REFUSALS),
  },
});

const cancelRoute = createRoute({
  ...secured('job.cancel'),
  method: 'post',
  path: '/automation/jobs/{id}/cancel',
  tags: ['Automation'],
  summary: 'Cancel at the next safe point',
  request: {
    headers: IdempotencyHeader,
    params: JobParams,
    body: body(CancelRequest, { reason: 'The wrong tube was asked for.' }),
  },
  responses: {
    202: reply(Job, 'The wish is recorded; the job as it is now.', JOB_EXAMPLE),
    ...problems(...REFUSALS),
  },
});

const signalRoute = createRoute({
  ...secured('job.signal'),
  method: 'post',
  path: '/automation/jobs/{id}/signal',
  tags: ['Automation'],
  summary: 'A typed signal from another service',
  description:
    '`expedite`: the sample is urgent, or is not any more. The job gets the priority and, while it waits for a robot, the place in its queue that goes with it; a turn that has begun is not interrupted. The event counts once by its `eventId`; of several events the last one stands.',
  request: {
    headers: IdempotencyHeader,
    params: JobParams,
    body: body(JobSignal, { type: 'expedite', eventId: EXAMPLE_ID, priority: 'URGENT' }),
  },
  responses: {
    202: reply(Job, 'The signal is kept; the job as it is now.', JOB_EXAMPLE),
    ...problems(
      'MALFORMED_BODY',
      'NOT_FOUND',
      'JOB_FINISHED',
      'NOT_WAITING',
      'IDEMPOTENCY_KEY_BUSY',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'IDEMPOTENCY_KEY_REUSED',
      'WORKFLOWS_UNAVAILABLE',
    ),
  },
});

/** Jobs and what people and other services tell them. */
export function jobRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(jobsRoute, async (c) => {
    const { state, kind, sample, robot, schedule, live, limit, cursor } = c.req.valid('query');
    // One more than asked for tells whether there is another page.
    const jobs = await listJobs(db, c.var.actor.tenantId, {
      ...(state && { state }),
      ...(kind && { kind }),
      ...(sample && { sampleId: sample }),
      ...(robot && { robotId: robot }),
      ...(schedule && { scheduleId: schedule }),
      ...(live && { live: live === 'true' }),
      ...(cursor && { after: cursor }),
      limit: limit + 1,
    });
    const page = jobs.slice(0, limit);
    const last = page.at(-1);
    return c.json(
      {
        jobs: page.map((job) => presentJob(job, c.var.dependencies)),
        ...(jobs.length > limit && last && { nextCursor: last.id }),
      },
      200,
    );
  });
  routes.openapi(jobRoute, async (c) => {
    const job = await requireJob(c, c.req.valid('param').id);
    return c.json(presentJobWithSteps(job, c.var.dependencies), 200);
  });
  routes.openapi(confirmRoute, async (c) => {
    const { id } = c.req.valid('param');
    await tellJob(c, id, confirmUpdate, confirmationOf(c, c.req.valid('json')));
    return c.json(await told(c, id, 200), 200);
  });
  routes.openapi(handOverRoute, async (c) => {
    const { id } = c.req.valid('param');
    await tellJob(c, id, handOverUpdate, { actor: c.var.actor, ...c.req.valid('json') });
    return c.json(await told(c, id, 200), 200);
  });
  routes.openapi(decisionRoute, async (c) => {
    const { id } = c.req.valid('param');
    const { sampleBarcode, comment, place, ...decision } = c.req.valid('json');
    if (needsScan(decision.answer) && sampleBarcode === undefined) {
      throw missing('/sampleBarcode', `with ${decision.answer} the tube is scanned where it was found`);
    }
    if (decision.answer === 'elsewhere' && place === undefined) {
      throw missing('/place', 'with elsewhere it names the container and position the tube stands in');
    }
    if (decision.robotFit) await requireStationAtRobotOf(c, await requireJob(c, id), decision.faultId);
    await tellJob(c, id, decideUpdate, {
      actor: c.var.actor,
      ...decision,
      sampleBarcode: sampleBarcode ?? null,
      positionId: place
        ? await resolvePosition(db, c.var.actor.tenantId, place.location, place.position)
        : null,
      comment: comment ?? null,
    });
    return c.json(await told(c, id, 200), 200);
  });
  routes.openapi(cancelRoute, async (c) => {
    const { id } = c.req.valid('param');
    const wish = { actor: c.var.actor, reason: c.req.valid('json').reason ?? null };
    await tellJob(c, id, cancelUpdate, wish, 'CANCELLED');
    return c.json(await told(c, id, 202), 202);
  });
  routes.openapi(signalRoute, async (c) => {
    const { id } = c.req.valid('param');
    const { eventId, priority } = c.req.valid('json');
    const event = { actor: c.var.actor, eventId, priority: priorityOf(priority) };
    await signalJob(c, id, expediteSignal, event);
    return c.json(await told(c, id, 202), 202);
  });
  return routes;
}

function missing(pointer: string, why: string): DomainError {
  const detail = `is missing; ${why}`;
  return new DomainError('VALIDATION', `The body’s ${pointer}: ${detail}`, { errors: [{ pointer, detail }] });
}

/** Of an answer to another question than the job's, nothing comes: that is the workflow's to say. */
async function requireStationAtRobotOf(c: Context<ApiEnv>, job: JobRecord, faultId: string): Promise<void> {
  const robotId = job.question?.robotId;
  if (job.faultId === faultId && typeof robotId === 'string') await requireStationAt(c, robotId);
}

/** The job after it was told something, kept for a repeat with the same key. */
async function told(c: Context<ApiEnv>, jobId: string, status: 200 | 202): Promise<Job> {
  const job = presentJob(await requireJob(c, jobId), c.var.dependencies);
  await rememberAnswer(c, { status, reply: job, location: null });
  return job;
}
