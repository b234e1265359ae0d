import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { type BudgetRecord, listBudgets, setBudget } from '../../db/exposure-budgets.ts';
import { DomainError } from '../../domain/errors.ts';
import { ZONE_NAMES } from '../../domain/zone.ts';
import { ExposureBudget, ExposureBudgetList, ExposureBudgetRequest } from '../../schemas/exposure-budget.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { body, createRouter, problems, reply, secured } from '../route.ts';
import { IfMatchHeader, withEtag } from './location-parts.ts';

const EXAMPLE: ExposureBudget = { zone: '-80', budgetSeconds: 180, handSeconds: 30, version: 1 };

const listRoute = createRoute({
  ...secured('exposure_budget.read'),
  method: 'get',
  path: '/storage/exposure-budgets',
  tags: ['Storage'],
  summary: 'How long a move may have tubes outside their cold, by temperature class',
  responses: {
    200: reply(ExposureBudgetList, 'In force, the presets too.', { budgets: [EXAMPLE] }),
    ...problems(),
  },
});

const setRoute = createRoute({
  ...secured('exposure_budget.edit'),
  method: 'put',
  path: '/storage/exposure-budgets/{zone}',
  tags: ['Storage'],
  summary: 'Set the exposure budget of a temperature class',
  description: 'In force for what is reserved from now on. If-Match is the class’s `version`.',
  request: {
    params: z.object({
      zone: z.string().openapi({ param: { name: 'zone', in: 'path' }, example: '-80' }),
    }),
    headers: IfMatchHeader,
    body: body(ExposureBudgetRequest, { budgetSeconds: 180, handSeconds: 30 }),
  },
  responses: {
    200: withEtag(reply(ExposureBudget, 'In force from now on.', EXAMPLE)),
    ...problems(
      'MALFORMED_BODY',
      'VALIDATION',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'NOT_FOUND',
      'PRECONDITION_REQUIRED',
      'PRECONDITION_FAILED',
    ),
  },
});

/** Limits on the time that tubes are outside their cold. */
export function exposureBudgetRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(listRoute, async (c) => {
    const budgets = await listBudgets(db, c.var.actor.tenantId);
    return c.json({ budgets: budgets.map(present) }, 200);
  });
  routes.openapi(setRoute, async (c) => {
    const named = c.req.valid('param').zone;
    const zone = ZONE_NAMES.find((name) => name === named);
    if (zone === undefined) {
      throw new DomainError(
        'NOT_FOUND',
        `There is no temperature class ${named.slice(0, 50)}: there are ${ZONE_NAMES.join(', ')}.`,
      );
    }
    const { budgetSeconds, handSeconds, pickupSeconds = null } = c.req.valid('json');
    const budget = await setBudget(
      db,
      { actor: c.var.actor, reason: 'configuration' },
      zone,
      versionFromIfMatch(c),
      { budgetSeconds, handSeconds, pickupSeconds },
    );
    c.header('etag', etagOf(budget));
    return c.json(present(budget), 200);
  });
  return routes;
}

function present({ zone, budgetSeconds, handSeconds, pickupSeconds, version }: BudgetRecord): ExposureBudget {
  return {
    zone,
    ...(budgetSeconds !== null && { budgetSeconds }),
    handSeconds,
    ...(pickupSeconds !== null && { pickupSeconds }),
    version,
  };
}
