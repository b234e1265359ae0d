import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { closeDeviation, type DeviationRecord, listDeviations } from '../../db/deviations.ts';
import {
  CloseDeviationRequest,
  Deviation,
  DeviationKindName,
  DeviationPage,
} from '../../schemas/deviation.ts';
import { Id } from '../../schemas/problem.ts';
import { withoutNullsIn } from '../absent.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS } from './location-parts.ts';

const EXAMPLE: Deviation = {
  id: EXAMPLE_ID,
  kind: 'exposure_exceeded',
  description: 'The tube was outside -80 (−85…−60 °C) for 143 s in this move; it may be for 120 s.',
  sampleId: EXAMPLE_ID,
  jobId: EXAMPLE_ID,
  facts: { zone: '-80', exposed_seconds: 143, budget_seconds: 120, since: '2026-03-02T08:12:37.000Z' },
  openedAt: '2026-03-02T08:15:00.000Z',
  version: 1,
};
const CLOSED_EXAMPLE: Deviation = {
  ...EXAMPLE,
  closed: {
    at: '2026-03-02T10:00:00.000Z',
    by: EXAMPLE_ID,
    comment: 'Quality check passed: the sample may be used.',
  },
  version: 2,
};
const Cursor = z.strictObject({ part: z.enum(['open', 'closed']), id: z.uuid() });

const listRoute = createRoute({
  ...secured('deviation.read'),
  method: 'get',
  path: '/automation/deviations',
  tags: ['Automation'],
  summary: 'Deviations: the open ones first, then newest first',
  request: {
    query: z.strictObject({
      state: z.enum(['open', 'closed']).optional(),
      kind: DeviationKindName.optional(),
      sample: z.uuid().optional().openapi({ description: 'Id of a sample.' }),
      limit: z.coerce.number().int().min(1).max(500).default(50),
      cursor: z.string().max(300).optional().openapi({ description: 'The nextCursor of the page before.' }),
    }),
  },
  responses: {
    200: reply(DeviationPage, 'A page; without nextCursor it is the last.', { deviations: [EXAMPLE] }),
    ...problems('VALIDATION'),
  },
});

const closeRoute = createRoute({
  ...secured('deviation.close'),
  method: 'post',
  path: '/automation/deviations/{id}/close',
  tags: ['Automation'],
  summary: 'Close a deviation, once, with a word on how it was settled',
  request: {
    headers: IdempotencyHeader,
    params: z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) }),
    body: body(CloseDeviationRequest, { comment: 'Quality check passed: the sample may be used.' }),
  },
  responses: {
    200: reply(Deviation, 'Closed.', CLOSED_EXAMPLE),
    ...problems(...BODY_REFUSALS, 'NOT_FOUND', 'CONFLICT'),
  },
});

/** Where what is and what should be differ. */
export function deviationRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(listRoute, async (c) => {
    const { state, kind, sample, limit, cursor } = c.req.valid('query');
    const after = decodeCursor(Cursor, cursor);
    const found = await listDeviations(db, c.var.actor.tenantId, {
      ...(state && { isClosed: state === 'closed' }),
      ...(kind && { kind }),
      ...(sample && { sampleId: sample }),
      after: after && { closed: after.part === 'closed', id: after.id },
      limit: limit + 1,
    });
    const last = found[limit - 1];
    return c.json(
      {
        deviations: found.slice(0, limit).map(present),
        ...(found.length > limit &&
          last && { nextCursor: encodeCursor({ part: last.closed ? 'closed' : 'open', id: last.id }) }),
      },
      200,
    );
  });
  routes.openapi(closeRoute, async (c) => {
    const { actor } = c.var;
    const closed = await closeDeviation(
      db,
      { actor, reason: 'deviation' },
      c.req.valid('param').id,
      c.req.valid('json').comment,
      (tx, after) => rememberReply(c, tx, { status: 200, body: present(after) }),
    );
    return c.json(present(closed), 200);
  });
  return routes;
}

function present(deviation: DeviationRecord): Deviation {
  const { id, kind, description, sampleId, jobId, robotId, facts, openedAt, closed, version } = deviation;
  return {
    id,
    kind,
    description,
    ...(sampleId !== null && { sampleId }),
    ...(jobId !== null && { jobId }),
    ...(robotId !== null && { robotId }),
    facts: withoutNullsIn(facts),
    openedAt: openedAt.toISOString(),
    ...(closed && {
      closed: {
        at: closed.at.toISOString(),
        by: closed.by,
        ...(closed.comment !== null && { comment: closed.comment }),
      },
    }),
    version,
  };
}
