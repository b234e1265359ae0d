import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { barcodeFor } from '../../db/barcode-schemes.ts';
import { createLocation, editLocation } from '../../db/location-changes.ts';
import { retireLocation } from '../../db/location-service.ts';
import { findLocation, listLocations, locationById, readTree } from '../../db/locations.ts';
import {
  Location,
  LocationEditRequest,
  LocationPage,
  LocationQuery,
  LocationTree,
  NewLocationRequest,
} from '../../schemas/storage.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { presentLocation, presentNode, rulesOf } from '../locations.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS, IfMatchHeader, LOOKUP_REFUSALS, LocationParams, withEtag } from './location-parts.ts';
import { LOCATION_EXAMPLE } from './storage-examples.ts';

const LocationCursor = z.strictObject({ id: z.uuid(), name: z.string() });
/** Locations that one answer may hold as a tree. */
const TREE_MOST = 5_000;

const created = <R extends object>(answer: R) => ({
  ...answer,
  headers: {
    ETag: { description: 'For If-Match.', schema: { type: 'string' as const } },
    Location: { description: 'What was created.', schema: { type: 'string' as const } },
  },
});

const newLocationRoute = createRoute({
  ...secured('location.edit'),
  method: 'post',
  path: '/storage/locations',
  tags: ['Storage'],
  summary: 'Enter a location of any type under an allowed parent',
  request: {
    headers: IdempotencyHeader,
    body: body(NewLocationRequest, { type: 'box_9x9', parentId: EXAMPLE_ID, name: 'B-7', barcode: 'BOX-7' }),
  },
  responses: {
    201: created(reply(Location, 'Entered, with its positions.', LOCATION_EXAMPLE)),
    ...problems(
      ...BODY_REFUSALS,
      'NOT_FOUND',
      'BARCODE_UNKNOWN',
      'PARENT_NOT_ALLOWED',
      'LOCATION_RETIRED',
      'BARCODE_TAKEN',
      'NAME_TAKEN',
      'CONFLICT',
    ),
  },
});

const listRoute = createRoute({
  ...secured('location.read'),
  method: 'get',
  path: '/storage/locations',
  tags: ['Storage'],
  summary: 'Locations by type, zone, parent or free room; or the tree, empty places too',
  request: { query: LocationQuery },
  responses: {
    200: reply(
      z.union([LocationPage, LocationTree]),
      'A page; without nextCursor it is the last. With tree=true the tree.',
      { locations: [LOCATION_EXAMPLE] },
    ),
    ...problems(...LOOKUP_REFUSALS),
  },
});

const readRoute = createRoute({
  ...secured('location.read'),
  method: 'get',
  path: '/storage/locations/{id}',
  tags: ['Storage'],
  summary: 'A location with its path and the rules in force',
  request: { params: LocationParams },
  responses: {
    200: withEtag(reply(Location, 'The location.', LOCATION_EXAMPLE)),
    ...problems(...LOOKUP_REFUSALS),
  },
});

const editRoute = createRoute({
  ...secured('location.edit'),
  method: 'put',
  path: '/storage/locations/{id}',
  tags: ['Storage'],
  summary: 'Edit a location; new rules are held against what is stored',
  request: {
    params: LocationParams,
    headers: IfMatchHeader,
    body: body(LocationEditRequest, { name: 'B-7', barcode: 'BOX-7', sampleTypes: ['plasma'] }),
  },
  responses: {
    200: withEtag(reply(Location, 'The location as it is now.', { ...LOCATION_EXAMPLE, version: 2 })),
    ...problems(
      'MALFORMED_BODY',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      ...LOOKUP_REFUSALS,
      'PRECONDITION_REQUIRED',
      'PRECONDITION_FAILED',
      'RULE_BROKEN_BY_CONTENT',
      'LOCATION_RETIRED',
      'BARCODE_TAKEN',
      'NAME_TAKEN',
      'CONFLICT',
    ),
  },
});

const retireRoute = createRoute({
  ...secured('location.edit'),
  method: 'delete',
  path: '/storage/locations/{id}',
  tags: ['Storage'],
  summary: 'Retire an empty location; its history stays',
  request: { params: LocationParams, headers: IfMatchHeader },
  responses: {
    200: withEtag(
      reply(Location, 'The location, retired.', {
        ...LOCATION_EXAMPLE,
        retiredAt: '2026-03-02T09:00:00.000Z',
        version: 2,
      }),
    ),
    ...problems(
      ...LOOKUP_REFUSALS,
      'PRECONDITION_REQUIRED',
      'PRECONDITION_FAILED',
      'LOCATION_NOT_EMPTY',
      'LOCATION_RETIRED',
      'CONFLICT',
    ),
  },
});

/** The storage tree. */
export function locationRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(newLocationRoute, async (c) => {
    const { actor } = c.var;
    const request = c.req.valid('json');
    const id = await createLocation(
      db,
      { actor, reason: 'setup' },
      {
        type: request.type,
        parent: request.parentId ?? null,
        name: request.name,
        barcode: await barcodeFor(db, actor.tenantId, 'location', request.barcode),
        zone: request.zone ?? null,
        sampleTypes: request.sampleTypes ?? null,
        rules: rulesOf(request.rules ?? {}),
        grid: request.grid ?? null,
        loose: request.loose ? { capacity: request.loose.capacity ?? null } : null,
        isHandoff: request.handoff ?? null,
        robotAddress: request.robotAddress ?? null,
      },
      async (tx, created) =>
        rememberReply(c, tx, {
          status: 201,
          body: presentLocation(await locationById(tx, actor.tenantId, created)),
          location: `/storage/locations/${created}`,
        }),
    );
    const location = await findLocation(db, actor.tenantId, id);
    c.header('etag', etagOf(location));
    c.header('location', `/storage/locations/${id}`);
    return c.json(presentLocation(location), 201);
  });

  routes.openapi(listRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const { tree, depth, sort, limit, cursor, retired, ...filter } = c.req.valid('query');
    if (tree === 'true') {
      const nodes = await readTree(db, tenantId, filter.parent ?? null, depth ?? 20, TREE_MOST);
      return c.json({ tree: nodes.map(presentNode) }, 200);
    }
    const after = decodeCursor(LocationCursor, cursor);
    const found = await listLocations(
      db,
      tenantId,
      { ...filter, retired: retired === 'true' },
      sort,
      after,
      limit + 1,
    );
    const last = found[limit - 1];
    return c.json(
      {
        locations: found.slice(0, limit).map(presentLocation),
        ...(found.length > limit && last && { nextCursor: encodeCursor({ id: last.id, name: last.name }) }),
      },
      200,
    );
  });

  routes.openapi(readRoute, async (c) => {
    const location = await findLocation(db, c.var.actor.tenantId, c.req.valid('param').id);
    c.header('etag', etagOf(location));
    return c.json(presentLocation(location), 200);
  });

  routes.openapi(editRoute, async (c) => {
    const { actor } = c.var;
    const edit = c.req.valid('json');
    const id = await editLocation(
      db,
      { actor, reason: 'edit' },
      c.req.valid('param').id,
      versionFromIfMatch(c),
      {
        name: edit.name,
        barcode: edit.barcode ?? null,
        zone: edit.zone ?? null,
        sampleTypes: edit.sampleTypes ?? null,
        rules: rulesOf(edit.rules ?? {}),
        robotAddress: edit.robotAddress ?? null,
      },
    );
    const location = await findLocation(db, actor.tenantId, id);
    c.header('etag', etagOf(location));
    return c.json(presentLocation(location), 200);
  });

  routes.openapi(retireRoute, async (c) => {
    const { actor } = c.var;
    const id = await retireLocation(
      db,
      { actor, reason: 'retirement' },
      c.req.valid('param').id,
      versionFromIfMatch(c),
    );
    const location = await findLocation(db, actor.tenantId, id);
    c.header('etag', etagOf(location));
    return c.json(presentLocation(location), 200);
  });

  return routes;
}
