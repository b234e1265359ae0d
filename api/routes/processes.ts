import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { DomainError } from '../../domain/errors.ts';
import {
  MoveSampleRequest,
  PlacementRequest,
  Reference,
  RetrievalRequest,
  RetrieveSampleRequest,
  Started,
  StartedList,
  StoreSampleRequest,
} from '../../schemas/automation.ts';
import { withoutNullsIn } from '../absent.ts';
import type { ApiEnv } from '../dependencies.ts';
import { jobPath, presentStarted } from '../jobs.ts';
import { orderMaker } from '../orders.ts';
import { toProblem } from '../problem.ts';
import { type ProcessAnswer, type ProcessRequest, rememberAnswer, startProcesses } from '../processes.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { JOB_EXAMPLE, STARTED_EXAMPLE } from './examples.ts';

const SampleParams = z.object({ id: Reference.openapi({ param: { name: 'id', in: 'path' } }) });

/** What starting any process may be refused with. */
export const REFUSALS = [
  'MALFORMED_BODY',
  'NOT_FOUND',
  'BARCODE_UNKNOWN',
  'NO_POSITION_FREE',
  'POSITION_OCCUPIED',
  'POSITION_BLOCKED',
  'ZONE_MISMATCH',
  'TYPE_NOT_ACCEPTED',
  'LOCATION_RETIRED',
  'SAMPLE_BUSY',
  'SAMPLE_NOT_STORED',
  'SAMPLE_STATE',
  'CONSENT_WITHDRAWN',
  'OUT_OF_REACH',
  'EXPOSURE_BUDGET',
  'ROBOT_UNAVAILABLE',
  'IDEMPOTENCY_KEY_BUSY',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'VALIDATION',
  'POSITION_UNKNOWN',
  'IDEMPOTENCY_KEY_REUSED',
  'WORKFLOWS_UNAVAILABLE',
] as const;

const LATE =
  'Without `position` the answer was not ready in time; the process runs on: look at the job, or send the request again with the same Idempotency-Key.';
export const accepted = (what: string) => ({
  ...reply(Started, `${what}. ${LATE}`, STARTED_EXAMPLE),
  headers: { Location: { description: 'The job.', schema: { type: 'string' as const } } },
});

const storeRoute = createRoute({
  ...secured('sample.place'),
  method: 'post',
  path: '/storage/samples',
  tags: ['Storage'],
  summary: 'Register a sample and store it, at a named position or one the system chooses',
  request: {
    headers: IdempotencyHeader,
    body: body(StoreSampleRequest, {
      barcode: 'TUBE-000123',
      type: 'plasma',
      project: 'HEART-2',
      zone: '-80',
      target: { within: 'FREEZER-1' },
      mode: 'hand',
    }),
  },
  responses: {
    202: accepted('The position is reserved and the process waits for the tube'),
    ...problems('BARCODE_TAKEN', ...REFUSALS),
  },
});

const moveRoute = createRoute({
  ...secured('sample.move'),
  method: 'post',
  path: '/storage/samples/{id}/move',
  tags: ['Storage'],
  summary: 'Move a tube to another position',
  request: {
    headers: IdempotencyHeader,
    params: SampleParams,
    body: body(MoveSampleRequest, { target: { location: 'BOX-8', position: 'A1' }, mode: 'robot' }),
  },
  responses: { 202: accepted('The target is reserved and the move is under way'), ...problems(...REFUSALS) },
});

const retrieveRoute = createRoute({
  ...secured('sample.retrieve'),
  method: 'post',
  path: '/storage/samples/{id}/retrieve',
  tags: ['Storage'],
  summary: 'Fetch a tube out of its position',
  request: {
    headers: IdempotencyHeader,
    params: SampleParams,
    body: body(RetrieveSampleRequest, { mode: 'robot' }),
  },
  responses: { 202: accepted('The tube is being fetched'), ...problems(...REFUSALS) },
});

const startedOrList = z.union([Started, StartedList]);
const acceptedList = {
  description: `One: the process. A list: one result each, in its order. ${LATE}`,
  headers: { Location: { description: 'The job, for one.', schema: { type: 'string' as const } } },
  content: {
    'application/json': {
      schema: startedOrList,
      examples: {
        one: { value: STARTED_EXAMPLE },
        list: {
          value: {
            results: [
              { outcome: 'accepted', job: JOB_EXAMPLE },
              {
                outcome: 'refused',
                code: 'BARCODE_UNKNOWN',
                detail: 'no sample has the barcode TUBE-9: scan it again, or register it',
              },
            ],
          },
        },
      },
    },
  },
};

const placementRoute = createRoute({
  ...secured('sample.place'),
  method: 'post',
  path: '/automation/placement',
  tags: ['Automation'],
  summary: 'Place one tube or a list of them: registered ones, or new ones to register',
  request: {
    headers: IdempotencyHeader,
    body: body(PlacementRequest, {
      items: [
        { sample: 'TUBE-000123', target: { within: 'FREEZER-1' } },
        { register: { barcode: 'TUBE-000124', type: 'plasma', zone: '-80' } },
      ],
      mode: 'robot',
    }),
  },
  responses: { 202: acceptedList, ...problems('BARCODE_TAKEN', ...REFUSALS) },
});

const retrievalRoute = createRoute({
  ...secured('sample.retrieve'),
  method: 'post',
  path: '/automation/retrieval',
  tags: ['Automation'],
  summary: 'Fetch one tube or a list of them',
  request: {
    headers: IdempotencyHeader,
    body: body(RetrievalRequest, {
      samples: ['TUBE-000123', 'TUBE-000124'],
      mode: 'robot',
      priority: 'HIGH',
    }),
  },
  responses: { 202: acceptedList, ...problems(...REFUSALS) },
});

/** Storage's processes; by hand they need no robot and are there when automation is switched off. */
export function storageProcessRoutes(): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(storeRoute, async (c) => {
    const { mode, priority, target, handoff, confirmation, ...newSample } = c.req.valid('json');
    const order = orderMaker(c, { mode, priority });
    const fields = { target, handoff, confirmation };
    return c.json(...(await one(c, () => order.placementOfNew(newSample, fields))));
  });
  routes.openapi(moveRoute, async (c) => {
    const { target, ...common } = c.req.valid('json');
    const { id } = c.req.valid('param');
    return c.json(...(await one(c, () => orderMaker(c, common).move(id, target))));
  });
  routes.openapi(retrieveRoute, async (c) => {
    const { handoff, ...common } = c.req.valid('json');
    const { id } = c.req.valid('param');
    return c.json(...(await one(c, () => orderMaker(c, common).retrieval(id, handoff))));
  });
  return routes;
}

/** Processes started one by one or as a list, for robots and other services. */
export function automationProcessRoutes(): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(placementRoute, async (c) => {
    const request = c.req.valid('json');
    const order = orderMaker(c, request);
    if ('sample' in request) {
      const { sample, ...fields } = request;
      return c.json(...(await one(c, () => order.placementOf(sample, fields))));
    }
    const makers = request.items.map(
      (item) => () =>
        'sample' in item ? order.placementOf(item.sample, item) : order.placementOfNew(item.register, item),
    );
    return c.json(...(await many(c, makers)));
  });
  routes.openapi(retrievalRoute, async (c) => {
    const request = c.req.valid('json');
    const order = orderMaker(c, request);
    if ('sample' in request) {
      return c.json(...(await one(c, () => order.retrieval(request.sample, request.handoff))));
    }
    const makers = request.samples.map((sample) => () => order.retrieval(sample, undefined));
    return c.json(...(await many(c, makers)));
  });
  return routes;
}

type Reply<T> = [T, 202, Record<string, string>];

/** @throws DomainError with the process's refusal */
export async function one(
  c: Context<ApiEnv>,
  request: () => Promise<ProcessRequest>,
): Promise<Reply<Started>> {
  const [answer] = await startProcesses(c, [request]);
  if (!answer) throw new Error('one process was asked for, and none was answered');
  if (answer.outcome === 'refused') {
    const { code, detail, errors, facts } = answer.refusal;
    const refused = new DomainError(code, detail, {
      ...(errors && { errors }),
      facts: { ...facts, ...(answer.jobId !== null && { jobId: answer.jobId }) },
    });
    // A refusal that started nothing is not kept: the same request may be right later.
    if (answer.jobId !== null) {
      const problem = toProblem(refused, c);
      await rememberAnswer(c, { status: problem.status, reply: problem, location: jobPath(answer.jobId) });
    }
    throw refused;
  }
  const started = presentStarted(answer, c.var.dependencies);
  const location = jobPath(answer.job.id);
  if (answer.reservation) await rememberAnswer(c, { status: 202, reply: started, location });
  return [started, 202, { location }];
}

async function many(
  c: Context<ApiEnv>,
  requests: readonly (() => Promise<ProcessRequest>)[],
): Promise<Reply<StartedList>> {
  const answers = await startProcesses(c, requests);
  const list: StartedList = { results: answers.map((answer) => presentResult(c, answer)) };
  const complete = answers.every((answer) => answer.outcome === 'refused' || answer.reservation !== null);
  if (complete) await rememberAnswer(c, { status: 202, reply: list, location: null });
  return [list, 202, {}];
}

function presentResult(c: Context<ApiEnv>, answer: ProcessAnswer): StartedList['results'][number] {
  if (answer.outcome === 'accepted') {
    return { outcome: 'accepted', ...presentStarted(answer, c.var.dependencies) };
  }
  const { code, detail, errors, facts } = answer.refusal;
  return {
    outcome: 'refused',
    ...(answer.jobId !== null && { jobId: answer.jobId }),
    code,
    detail,
    ...(errors && { errors: errors.map((each) => ({ ...each })) }),
    ...(facts && { facts: withoutNullsIn(facts) }),
  };
}
