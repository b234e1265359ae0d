import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import { createLocationType, listLocationTypes } from '../../db/location-types.ts';
import { LocationType, LocationTypeList, NewLocationTypeRequest } from '../../schemas/storage.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { presentLocationType } from '../locations.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS } from './location-parts.ts';

const TYPE_EXAMPLE = {
  id: EXAMPLE_ID,
  code: 'box_9x9',
  name: 'Box 9×9',
  allowedParents: ['freezer', 'shelf', 'rack'],
  grid: { rows: 9, columns: 9, rowLabels: 'upper' as const, columnLabels: 'number' as const },
  version: 1,
};

const typesRoute = createRoute({
  ...secured('location.read'),
  method: 'get',
  path: '/storage/location-types',
  tags: ['Storage'],
  summary: 'Types of location, and where each may stand',
  responses: { 200: reply(LocationTypeList, 'All of them.', { types: [TYPE_EXAMPLE] }), ...problems() },
});

const createTypeRoute = createRoute({
  ...secured('location.edit'),
  method: 'post',
  path: '/storage/location-types',
  tags: ['Storage'],
  summary: 'Enter a type of location of the laboratory’s own',
  request: {
    headers: IdempotencyHeader,
    body: body(NewLocationTypeRequest, {
      code: 'box_7x7',
      name: 'Box 7×7',
      allowedParents: ['shelf', 'rack'],
      grid: { rows: 7, columns: 7 },
    }),
  },
  responses: {
    201: reply(LocationType, 'Entered.', TYPE_EXAMPLE),
    ...problems(...BODY_REFUSALS, 'NAME_TAKEN'),
  },
});

/** Types of location: those every laboratory has, and its own. */
export function locationTypeRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(typesRoute, async (c) => {
    const types = await listLocationTypes(db, c.var.actor.tenantId);
    return c.json({ types: types.map(presentLocationType) }, 200);
  });

  routes.openapi(createTypeRoute, async (c) => {
    const { actor } = c.var;
    const request = c.req.valid('json');
    const type = await createLocationType(
      db,
      { actor, reason: 'setup' },
      {
        code: request.code,
        name: request.name,
        allowedParents: request.allowedParents,
        zone: request.zone ?? null,
        grid: request.grid ?? null,
      },
      (tx, entered) =>
        rememberReply(c, tx, {
          status: 201,
          body: presentLocationType(entered),
          location: '/storage/location-types',
        }),
    );
    return c.json(presentLocationType(type), 201);
  });

  return routes;
}
