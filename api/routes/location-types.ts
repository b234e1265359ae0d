import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import { createLocationType, editLocationType, listLocationTypes } from '../../db/location-types.ts';
import {
  LocationType,
  LocationTypeEditRequest,
  LocationTypeList,
  LocationTypeParams,
  NewLocationTypeRequest,
} from '../../schemas/storage.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { presentLocationType } from '../locations.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS, IfMatchHeader, withEtag } from './location-parts.ts';
import { GRID_EXAMPLE } from './storage-examples.ts';

const TYPE_EXAMPLE = {
  id: EXAMPLE_ID,
  code: 'box_9x9',
  name: 'Box 9×9',
  allowedParents: ['freezer', 'shelf', 'rack'],
  grid: GRID_EXAMPLE,
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

const editTypeRoute = createRoute({
  ...secured('location.edit'),
  method: 'put',
  path: '/storage/location-types/{code}',
  tags: ['Storage'],
  summary: 'Change a type: where it may stand and its zone at once, its positions for new locations',
  request: {
    params: LocationTypeParams,
    headers: IfMatchHeader,
    body: body(LocationTypeEditRequest, {
      name: 'Box 9×9',
      allowedParents: ['freezer', 'shelf', 'rack', 'drawer'],
      grid: { rows: 9, columns: 9, labelling: 'linear' },
    }),
  },
  responses: {
    200: withEtag(reply(LocationType, 'The type as it is now.', { ...TYPE_EXAMPLE, version: 2 })),
    ...problems(
      'MALFORMED_BODY',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'NOT_FOUND',
      'PRECONDITION_REQUIRED',
      'PRECONDITION_FAILED',
      'RULE_BROKEN_BY_CONTENT',
    ),
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
        loose: request.loose ? { capacity: request.loose.capacity ?? null } : null,
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

  routes.openapi(editTypeRoute, async (c) => {
    const { zone, grid, loose, ...edit } = c.req.valid('json');
    const type = await editLocationType(db, { actor: c.var.actor, reason: 'edit' }, versionFromIfMatch(c), {
      code: c.req.valid('param').code,
      ...edit,
      zone: zone ?? null,
      grid: grid ?? null,
      loose: loose ? { capacity: loose.capacity ?? null } : null,
    });
    c.header('etag', etagOf(type));
    return c.json(presentLocationType(type), 200);
  });

  return routes;
}
