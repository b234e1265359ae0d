import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { listPicklists, type PicklistRecord, picklistItems, picklistRecord } from '../../db/picklists.ts';
import { DomainError } from '../../domain/errors.ts';
import { isPicklistLive } from '../../domain/picklist.ts';
import { CancelRequest, JobKindName } from '../../schemas/automation.ts';
import {
  PicklistPage,
  PicklistPlan,
  PicklistReport,
  PicklistRequest,
  PicklistStateName,
} from '../../schemas/picklist.ts';
import { Id } from '../../schemas/problem.ts';
import { cancelUpdate } from '../../workflows/messages/job.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { picklistPath, presentPicklist, presentReport } from '../picklist-view.ts';
import { dryRun, orderPicklist } from '../picklists.ts';
import { rememberAnswer } from '../processes.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { tellPicklist } from '../updates.ts';
import { EXAMPLE_ID, PICKLIST_EXAMPLE, PICKLIST_PLAN_EXAMPLE } from './examples.ts';

const PicklistParams = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });
const REPORT_EXAMPLE = { ...PICKLIST_EXAMPLE, ...PICKLIST_PLAN_EXAMPLE };

const orderRoute = createRoute({
  ...secured('picklist.order'),
  method: 'post',
  path: '/automation/picklists',
  tags: ['Automation'],
  summary: 'Fetch, place or move up to 1,000 tubes as one order',
  description:
    'Planned so that each door is opened once, by freezer, shelf, rack, box and position, and worked off with `window` tubes under way at a time, each by a job of its own. One tube’s failure does not stop the others. Unknown tubes, and those in no position, are refused one by one; a list that is malformed, or names a tube twice, is refused as a whole. A retrieval that finds the hand-off full keeps its turn and waits for room.',
  request: {
    headers: IdempotencyHeader,
    body: body(PicklistRequest, {
      kind: 'retrieval',
      samples: ['TUBE-000123', 'TUBE-000124', 'TUBE-000125'],
      mode: 'robot',
      priority: 50,
      window: 4,
      name: 'Shipment 12',
    }),
  },
  responses: {
    200: reply(PicklistPlan, 'Of a dry run: the plan. Nothing begins.', PICKLIST_PLAN_EXAMPLE),
    202: {
      ...reply(PicklistReport, 'The list, with its plan.', REPORT_EXAMPLE),
      headers: { Location: { description: 'The picklist.', schema: { type: 'string' as const } } },
    },
    ...problems(
      'MALFORMED_BODY',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'IDEMPOTENCY_KEY_BUSY',
      'IDEMPOTENCY_KEY_REUSED',
    ),
  },
});

const listRoute = createRoute({
  ...secured('picklist.read'),
  method: 'get',
  path: '/automation/picklists',
  tags: ['Automation'],
  summary: 'Picklists, newest first',
  request: {
    query: z.strictObject({
      kind: JobKindName.optional(),
      state: PicklistStateName.optional(),
      live: z
        .enum(['true', 'false'])
        .optional()
        .openapi({ description: 'true: only lists that are not over; false: only those that are.' }),
      limit: z.coerce.number().int().min(1).max(500).default(50),
      cursor: z.uuid().optional().openapi({ description: 'The nextCursor of the page before.' }),
    }),
  },
  responses: {
    200: reply(PicklistPage, 'A page of lists; without nextCursor it is the last.', {
      picklists: [PICKLIST_EXAMPLE],
      nextCursor: EXAMPLE_ID,
    }),
    ...problems('VALIDATION'),
  },
});

const reportRoute = createRoute({
  ...secured('picklist.read'),
  method: 'get',
  path: '/automation/picklists/{id}',
  tags: ['Automation'],
  summary: 'A picklist: how each tube stands, where it is fetched, why it failed',
  request: { params: PicklistParams },
  responses: {
    200: reply(PicklistReport, 'The list.', REPORT_EXAMPLE),
    ...problems('NOT_FOUND', 'VALIDATION'),
  },
});

const cancelRoute = createRoute({
  ...secured('picklist.cancel'),
  method: 'post',
  path: '/automation/picklists/{id}/cancel',
  tags: ['Automation'],
  summary: 'Begin no more tubes; those under way end at their next safe point',
  request: {
    headers: IdempotencyHeader,
    params: PicklistParams,
    body: body(CancelRequest, { reason: 'The shipment was called off.' }),
  },
  responses: {
    202: reply(PicklistReport, 'The wish is recorded; the list as it is now.', REPORT_EXAMPLE),
    ...problems(
      'MALFORMED_BODY',
      'NOT_FOUND',
      'JOB_FINISHED',
      'IDEMPOTENCY_KEY_BUSY',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'IDEMPOTENCY_KEY_REUSED',
      'WORKFLOWS_UNAVAILABLE',
    ),
  },
});

/** Many tubes as one order. */
export function picklistRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  async function requirePicklist(c: Context<ApiEnv>, id: string): Promise<PicklistRecord> {
    const list = await picklistRecord(db, c.var.actor.tenantId, id);
    if (!list) throw new DomainError('NOT_FOUND', `There is no picklist ${id}.`);
    return list;
  }

  async function reportOf(c: Context<ApiEnv>, list: PicklistRecord): Promise<PicklistReport> {
    const items = await picklistItems(db, c.var.actor.tenantId, list.id);
    return presentReport(list, items, c.var.dependencies);
  }

  routes.openapi(orderRoute, async (c) => {
    const request = c.req.valid('json');
    if (request.dryRun) return c.json(await dryRun(c, request), 200);
    const report = await orderPicklist(c, request);
    return c.json(report, 202, { location: picklistPath(report.id) });
  });

  routes.openapi(listRoute, async (c) => {
    const { kind, state, live, limit, cursor } = c.req.valid('query');
    // One more than asked for tells whether there is another page.
    const lists = await listPicklists(db, c.var.actor.tenantId, {
      ...(kind && { kind }),
      ...(state && { state }),
      ...(live && { live: live === 'true' }),
      ...(cursor && { after: cursor }),
      limit: limit + 1,
    });
    const page = lists.slice(0, limit);
    const last = page.at(-1);
    return c.json(
      {
        picklists: page.map((list) => presentPicklist(list, c.var.dependencies)),
        ...(lists.length > limit && last && { nextCursor: last.id }),
      },
      200,
    );
  });

  routes.openapi(reportRoute, async (c) => {
    return c.json(await reportOf(c, await requirePicklist(c, c.req.valid('param').id)), 200);
  });

  routes.openapi(cancelRoute, async (c) => {
    const { id } = c.req.valid('param');
    const { state } = await requirePicklist(c, id);
    if (!isPicklistLive(state)) {
      throw new DomainError('JOB_FINISHED', `Picklist ${id} is over: it ended as ${state}.`, {
        facts: { state },
      });
    }
    const wish = { actor: c.var.actor, reason: c.req.valid('json').reason ?? null };
    await tellPicklist(c, id, cancelUpdate, wish);
    const report = await reportOf(c, await requirePicklist(c, id));
    await rememberAnswer(c, { status: 202, reply: report, location: null });
    return c.json(report, 202);
  });
  return routes;
}
