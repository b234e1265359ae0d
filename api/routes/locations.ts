import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { readCapacity } from '../../db/capacity.ts';
import { createLocation, editLocation } from '../../db/location-changes.ts';
import { blockPosition, retireLocation } from '../../db/location-service.ts';
import { createLocationType, listLocationTypes } from '../../db/location-types.ts';
import { findLocation, listLocations, locationById, readMap, readTree } from '../../db/locations.ts';
import { mayDo } from '../../domain/permissions.ts';
import { Reference } from '../../schemas/automation.ts';
import {
  BlockRequest,
  Capacity,
  Location,
  LocationEditRequest,
  LocationMap,
  LocationPage,
  LocationQuery,
  LocationTree,
  LocationType,
  LocationTypeList,
  NewLocationRequest,
  NewLocationTypeRequest,
  UnblockRequest,
} from '../../schemas/storage.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import {
  presentCapacity,
  presentLocation,
  presentLocationType,
  presentMap,
  presentNode,
} from '../locations.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { COUNTS_EXAMPLE, LOCATION_EXAMPLE } from './storage-examples.ts';

const LocationParams = z.object({ id: Reference.openapi({ param: { name: 'id', in: 'path' } }) });
const IfMatchHeader = z.object({
  'if-match': z
    .string()
    .optional()
    .openapi({ description: 'ETag of the record as it was read; missing: 428.', example: '"3"' }),
});
const LocationCursor = z.strictObject({ id: z.uuid(), name: z.string() });
/** Locations that one answer may hold as a tree. */
const TREE_MOST = 5_000;

const BODY_REFUSALS = [
  'MALFORMED_BODY',
  'VALIDATION',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'IDEMPOTENCY_KEY_BUSY',
  'IDEMPOTENCY_KEY_REUSED',
] as const;
const LOOKUP_REFUSALS = ['NOT_FOUND', 'BARCODE_UNKNOWN', 'VALIDATION'] as const;

const withEtag = <R extends object>(answer: R) => ({
  ...answer,
  headers: { ETag: { description: 'For If-Match.', schema: { type: 'string' as const } } },
});
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

const capacityRoute = createRoute({
  ...secured('location.read'),
  method: 'get',
  path: '/storage/locations/{id}/capacity',
  tags: ['Storage'],
  summary: 'Positions in and below a location, by zone and by level',
  request: { params: LocationParams },
  responses: {
    200: reply(Capacity, 'Counted now.', {
      locationId: EXAMPLE_ID,
      ...COUNTS_EXAMPLE,
      perZone: [{ zone: '-80', ...COUNTS_EXAMPLE }],
      perLevel: [
        { type: 'box_9x9', typeName: 'Box 9×9', depth: 0, locations: 1, withRoom: 1, ...COUNTS_EXAMPLE },
      ],
    }),
    ...problems(...LOOKUP_REFUSALS),
  },
});

const mapRoute = createRoute({
  ...secured('location.read'),
  method: 'get',
  path: '/storage/locations/{id}/map',
  tags: ['Storage'],
  summary: 'The grid of a container with what is in it',
  request: { params: LocationParams },
  responses: {
    200: reply(LocationMap, 'Row by row. Samples are shown to those who may read them.', {
      location: LOCATION_EXAMPLE,
      cells: [{ positionId: EXAMPLE_ID, label: 'A1', row: 1, column: 1, state: 'free' }],
    }),
    ...problems(...LOOKUP_REFUSALS),
  },
});

const BLOCK_REFUSALS = [
  ...BODY_REFUSALS,
  'NOT_FOUND',
  'BARCODE_UNKNOWN',
  'POSITION_UNKNOWN',
  'POSITION_OCCUPIED',
  'POSITION_BLOCKED',
  'LOCATION_RETIRED',
  'CONFLICT',
] as const;

const blockRoute = createRoute({
  ...secured('location.edit'),
  method: 'post',
  path: '/storage/locations/{id}/block',
  tags: ['Storage'],
  summary: 'Take a free position out of use',
  request: {
    headers: IdempotencyHeader,
    params: LocationParams,
    body: body(BlockRequest, { position: 'C5', reason: 'slot is bent' }),
  },
  responses: {
    200: withEtag(reply(Location, 'Blocked.', LOCATION_EXAMPLE)),
    ...problems(...BLOCK_REFUSALS),
  },
});

const unblockRoute = createRoute({
  ...secured('location.edit'),
  method: 'post',
  path: '/storage/locations/{id}/unblock',
  tags: ['Storage'],
  summary: 'Put a blocked position back into use',
  request: {
    headers: IdempotencyHeader,
    params: LocationParams,
    body: body(UnblockRequest, { position: 'C5' }),
  },
  responses: {
    200: withEtag(reply(Location, 'In use again.', LOCATION_EXAMPLE)),
    ...problems(...BLOCK_REFUSALS),
  },
});

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

/** The storage tree: locations, their types, their grids. */
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
        barcode: request.barcode ?? null,
        zone: request.zone ?? null,
        sampleTypes: request.sampleTypes ?? null,
        grid: request.grid ?? null,
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

  routes.openapi(capacityRoute, async (c) =>
    c.json(presentCapacity(await readCapacity(db, c.var.actor.tenantId, c.req.valid('param').id)), 200),
  );

  routes.openapi(mapRoute, async (c) => {
    const { actor } = c.var;
    const map = await readMap(db, actor.tenantId, c.req.valid('param').id);
    return c.json(presentMap(map, mayDo(actor.role, 'sample.read')), 200);
  });

  async function block(c: Context<ApiEnv>, reference: string, position: string, reason: string | null) {
    const { actor } = c.var;
    const id = await blockPosition(
      db,
      { actor, reason: 'blocking' },
      reference,
      position,
      reason,
      async (tx, locationId) =>
        rememberReply(c, tx, {
          status: 200,
          body: presentLocation(await locationById(tx, actor.tenantId, locationId)),
        }),
    );
    const location = await findLocation(db, actor.tenantId, id);
    c.header('etag', etagOf(location));
    return presentLocation(location);
  }

  routes.openapi(blockRoute, async (c) => {
    const { position, reason } = c.req.valid('json');
    return c.json(await block(c, c.req.valid('param').id, position, reason), 200);
  });

  routes.openapi(unblockRoute, async (c) =>
    c.json(await block(c, c.req.valid('param').id, c.req.valid('json').position, null), 200),
  );

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
