import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { relocateLocation } from '../../db/location-relocation.ts';
import { replicateLocation } from '../../db/location-replica.ts';
import { resizeLocation } from '../../db/location-resize.ts';
import { findLocation, locationById } from '../../db/locations.ts';
import {
  Location,
  LocationList,
  RelocateRequest,
  ReplicateRequest,
  ResizeRequest,
} from '../../schemas/storage.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { presentLocation } from '../locations.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS, IfMatchHeader, LOOKUP_REFUSALS, LocationParams, withEtag } from './location-parts.ts';
import { LOCATION_EXAMPLE } from './storage-examples.ts';

const EDIT_REFUSALS = [
  'MALFORMED_BODY',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  ...LOOKUP_REFUSALS,
  'PRECONDITION_REQUIRED',
  'PRECONDITION_FAILED',
  'LOCATION_RETIRED',
  'CONFLICT',
] as const;

const replicateRoute = createRoute({
  ...secured('location.edit'),
  method: 'post',
  path: '/storage/locations/{id}/replicate',
  tags: ['Storage'],
  summary: 'Copy a rack or a freezer with its whole layout, all copies or none',
  description:
    'What stands in it, grids, rules and hand-offs are copied; tubes, blocked positions and robots’ addresses are not. At most 2000 locations and 200000 positions a call.',
  request: {
    headers: IdempotencyHeader,
    params: LocationParams,
    body: body(ReplicateRequest, { copies: 3, firstNumber: 2, name: 'R-{n:2}', barcode: '{barcode}-{n}' }),
  },
  responses: {
    201: reply(LocationList, 'The copies; what stands in them is not listed.', {
      locations: [LOCATION_EXAMPLE],
    }),
    ...problems(
      ...BODY_REFUSALS,
      'NOT_FOUND',
      'BARCODE_UNKNOWN',
      'PARENT_NOT_ALLOWED',
      'LOCATION_RETIRED',
      'BARCODE_TAKEN',
      'NAME_TAKEN',
    ),
  },
});

const relocateRoute = createRoute({
  ...secured('location.edit'),
  method: 'put',
  path: '/storage/locations/{id}/parent',
  tags: ['Storage'],
  summary: 'Enter that a location stands elsewhere now, with all that is in it',
  request: {
    params: LocationParams,
    headers: IfMatchHeader,
    body: body(RelocateRequest, { parentId: EXAMPLE_ID }),
  },
  responses: {
    200: withEtag(reply(Location, 'Where it stands now.', { ...LOCATION_EXAMPLE, version: 2 })),
    ...problems(
      ...EDIT_REFUSALS,
      'LOCATION_CYCLE',
      'PARENT_NOT_ALLOWED',
      'RULE_BROKEN_BY_CONTENT',
      'NAME_TAKEN',
    ),
  },
});

const resizeRoute = createRoute({
  ...secured('location.edit'),
  method: 'put',
  path: '/storage/locations/{id}/size',
  tags: ['Storage'],
  summary: 'Make a container larger or smaller; refused while something is in the part that would go',
  request: {
    params: LocationParams,
    headers: IfMatchHeader,
    body: body(ResizeRequest, { rows: 10, columns: 10 }),
  },
  responses: {
    200: withEtag(reply(Location, 'The container as it is now.', { ...LOCATION_EXAMPLE, version: 2 })),
    ...problems(...EDIT_REFUSALS, 'CANNOT_SHRINK'),
  },
});

/** The shape of the storage tree: copies of its parts, what stands where, how large containers are. */
export function structureRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(replicateRoute, async (c) => {
    const { actor } = c.var;
    const { parentId, barcode, ...wanted } = c.req.valid('json');
    const ids = await replicateLocation(
      db,
      { actor, reason: 'setup' },
      c.req.valid('param').id,
      { ...wanted, parent: parentId ?? null, barcode: barcode ?? null },
      async (tx, made) => {
        const locations = [];
        for (const id of made) locations.push(presentLocation(await locationById(tx, actor.tenantId, id)));
        await rememberReply(c, tx, {
          status: 201,
          body: { locations },
          location: `/storage/locations/${made[0]}`,
        });
      },
    );
    const locations = await Promise.all(ids.map((id) => findLocation(db, actor.tenantId, id)));
    return c.json({ locations: locations.map(presentLocation) }, 201);
  });

  async function answer(c: Context<ApiEnv>, id: string) {
    const location = await findLocation(db, c.var.actor.tenantId, id);
    c.header('etag', etagOf(location));
    return presentLocation(location);
  }

  routes.openapi(relocateRoute, async (c) => {
    const id = await relocateLocation(
      db,
      { actor: c.var.actor, reason: 'edit' },
      c.req.valid('param').id,
      versionFromIfMatch(c),
      c.req.valid('json').parentId ?? null,
    );
    return c.json(await answer(c, id), 200);
  });

  routes.openapi(resizeRoute, async (c) => {
    const size = c.req.valid('json');
    const id = await resizeLocation(
      db,
      { actor: c.var.actor, reason: 'edit' },
      c.req.valid('param').id,
      versionFromIfMatch(c),
      'unlimited' in size ? { capacity: null } : size,
    );
    return c.json(await answer(c, id), 200);
  });

  return routes;
}
