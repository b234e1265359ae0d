import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { canHold, readNeed } from '../../db/can-hold.ts';
import { readCapacity } from '../../db/capacity.ts';
import { blockPosition } from '../../db/location-service.ts';
import { findLocation, locationById, readMap } from '../../db/locations.ts';
import { resolveReference } from '../../db/references.ts';
import { DomainError } from '../../domain/errors.ts';
import { mayDo, rolesInWords } from '../../domain/permissions.ts';
import {
  BlockRequest,
  CanHold,
  CanHoldRequest,
  Capacity,
  Location,
  LocationMap,
  UnblockRequest,
} from '../../schemas/storage.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf } from '../etag.ts';
import { presentCanHold, presentCapacity, presentLocation, presentMap } from '../locations.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS, LOOKUP_REFUSALS, LocationParams, withEtag } from './location-parts.ts';
import { COUNTS_EXAMPLE, LOCATION_EXAMPLE } from './storage-examples.ts';

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
      cells: [
        {
          positionId: EXAMPLE_ID,
          label: 'A1',
          row: 1,
          column: 1,
          drawn: { row: 1, column: 1 },
          state: 'free',
        },
      ],
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

const canHoldRoute = createRoute({
  ...secured('location.read'),
  method: 'post',
  path: '/storage/locations/{id}/can-hold',
  tags: ['Storage'],
  summary: 'Whether a place can hold a sample, rule by rule; changes nothing',
  request: {
    headers: IdempotencyHeader,
    params: LocationParams,
    body: body(CanHoldRequest, { type: 'plasma', zone: '-80', project: 'HEART-2', hazard: 'BSL-2' }),
  },
  responses: {
    200: reply(CanHold, 'Each rule with its verdict.', {
      locationId: EXAMPLE_ID,
      canHold: false,
      rules: [
        { rule: 'temperature', passed: true, detail: '-80 (−85…−60 °C) is what the sample needs' },
        { rule: 'hazard', passed: false, detail: 'it is for hazard BSL-1, not for BSL-2' },
      ],
    }),
    ...problems(...BODY_REFUSALS, 'NOT_FOUND', 'BARCODE_UNKNOWN'),
  },
});

/** The positions in a location: how many, what is in them, which are out of use. */
export function positionRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(capacityRoute, async (c) =>
    c.json(presentCapacity(await readCapacity(db, c.var.actor.tenantId, c.req.valid('param').id)), 200),
  );

  routes.openapi(mapRoute, async (c) => {
    const { actor } = c.var;
    const map = await readMap(db, actor.tenantId, c.req.valid('param').id);
    return c.json(presentMap(map, mayDo(actor.role, 'sample.read')), 200);
  });

  routes.openapi(canHoldRoute, async (c) => {
    const { tenantId, role } = c.var.actor;
    const asked = c.req.valid('json');
    if ('sample' in asked && !mayDo(role, 'sample.read')) {
      throw new DomainError('FORBIDDEN', `Samples are read by a ${rolesInWords('sample.read')}.`, {
        facts: { action: 'sample.read' },
      });
    }
    const need =
      'sample' in asked
        ? await readNeed(db, tenantId, await resolveReference(db, tenantId, 'sample', asked.sample))
        : {
            type: asked.type,
            zone: asked.zone,
            project: asked.project ?? null,
            class: asked.class ?? null,
            hazard: asked.hazard ?? null,
            owner: asked.owner ?? null,
            quarantine: asked.quarantine ?? false,
          };
    return c.json(presentCanHold(await canHold(db, tenantId, c.req.valid('param').id, need)), 200);
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

  return routes;
}
