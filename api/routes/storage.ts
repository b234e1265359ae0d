import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { readOverview } from '../../db/overview.ts';
import { resolveReference } from '../../db/references.ts';
import { findSample, listSamples, listSamplesWithin, locateSample } from '../../db/samples.ts';
import { sampleTimeline } from '../../db/timeline.ts';
import { Reference } from '../../schemas/automation.ts';
import {
  Overview,
  Sample,
  SampleLocation,
  SamplePage,
  SampleQuery,
  Timeline,
  TimelineQuery,
} from '../../schemas/storage.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { createRouter, problems, reply, secured } from '../route.ts';
import { presentSample, presentTimelineEntry, presentWhereabouts } from '../samples.ts';
import {
  COUNTS_EXAMPLE,
  SAMPLE_EXAMPLE,
  SAMPLE_LOCATION_EXAMPLE,
  TIMELINE_EXAMPLE,
} from './storage-examples.ts';

const SampleParams = z.object({ id: Reference.openapi({ param: { name: 'id', in: 'path' } }) });
const PlaceCursor = z.strictObject({ c: z.uuid(), p: z.uuid() });
const IdCursor = z.strictObject({ id: z.uuid() });
const VersionCursor = z.strictObject({ v: z.int().min(0) });

const listRoute = createRoute({
  ...secured('sample.read'),
  method: 'get',
  path: '/storage/samples',
  tags: ['Storage'],
  summary: 'Samples with custody, path and position',
  request: { query: SampleQuery },
  responses: {
    200: reply(SamplePage, 'A page; without nextCursor it is the last.', { samples: [SAMPLE_EXAMPLE] }),
    ...problems('NOT_FOUND', 'BARCODE_UNKNOWN', 'VALIDATION'),
  },
});

const sampleRoute = createRoute({
  ...secured('sample.read'),
  method: 'get',
  path: '/storage/samples/{id}',
  tags: ['Storage'],
  summary: 'A sample with custody, path and position',
  request: { params: SampleParams },
  responses: {
    200: reply(Sample, 'The sample.', SAMPLE_EXAMPLE),
    ...problems('NOT_FOUND', 'BARCODE_UNKNOWN', 'VALIDATION'),
  },
});

const locationRoute = createRoute({
  ...secured('sample.read'),
  method: 'get',
  path: '/storage/samples/{id}/location',
  tags: ['Storage'],
  summary: 'Where a sample is now, since when, and how sure that is',
  request: { params: SampleParams },
  responses: {
    200: reply(SampleLocation, 'Where it is.', SAMPLE_LOCATION_EXAMPLE),
    ...problems('NOT_FOUND', 'BARCODE_UNKNOWN', 'VALIDATION'),
  },
});

const timelineRoute = createRoute({
  ...secured('sample.read'),
  method: 'get',
  path: '/storage/samples/{id}/timeline',
  tags: ['Storage'],
  summary: 'Everything that ever happened to a sample, as the ledger has it',
  request: { params: SampleParams, query: TimelineQuery },
  responses: {
    200: reply(Timeline, 'A page, oldest first; without nextCursor it is the last.', TIMELINE_EXAMPLE),
    ...problems('NOT_FOUND', 'BARCODE_UNKNOWN', 'VALIDATION'),
  },
});

const overviewRoute = createRoute({
  ...secured('location.read'),
  method: 'get',
  path: '/storage/overview',
  tags: ['Storage'],
  summary: 'The store at a glance: positions by zone, samples by custody, alarms, jobs under way',
  responses: {
    200: reply(Overview, 'The store now.', {
      positions: COUNTS_EXAMPLE,
      perZone: [{ zone: '-80', ...COUNTS_EXAMPLE }],
      samples: { position: 20, person: 1 },
      alarms: { active: 0, unacknowledged: 0 },
      jobs: { AWAITING_PERSON: 1 },
    }),
    ...problems(),
  },
});

/** Looking: samples and the store at a glance. Locations are in locations.ts, what moves tubes in processes.ts. */
export function storageRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(listRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const { location, parent, sort, limit, cursor, ...rest } = c.req.valid('query');
    const filter = {
      ...rest,
      ...(parent !== undefined && { parentId: await resolveReference(db, tenantId, 'sample', parent) }),
    };
    if (location !== undefined) {
      const after = decodeCursor(PlaceCursor, cursor);
      const within = await resolveReference(db, tenantId, 'location', location);
      const found = await listSamplesWithin(
        db,
        tenantId,
        within,
        filter,
        after && { containerId: after.c, positionId: after.p },
        limit + 1,
      );
      const place = found[limit - 1]?.place;
      return c.json(
        {
          samples: found.slice(0, limit).map(presentSample),
          ...(found.length > limit &&
            place && { nextCursor: encodeCursor({ c: place.containerId, p: place.positionId }) }),
        },
        200,
      );
    }
    const after = decodeCursor(IdCursor, cursor);
    const found = await listSamples(db, tenantId, filter, sort, after?.id ?? null, limit + 1);
    const last = found[limit - 1];
    return c.json(
      {
        samples: found.slice(0, limit).map(presentSample),
        ...(found.length > limit && last && { nextCursor: encodeCursor({ id: last.id }) }),
      },
      200,
    );
  });

  routes.openapi(sampleRoute, async (c) =>
    c.json(presentSample(await findSample(db, c.var.actor.tenantId, c.req.valid('param').id)), 200),
  );

  routes.openapi(locationRoute, async (c) =>
    c.json(presentWhereabouts(await locateSample(db, c.var.actor.tenantId, c.req.valid('param').id)), 200),
  );

  routes.openapi(timelineRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const { limit, cursor } = c.req.valid('query');
    const after = decodeCursor(VersionCursor, cursor);
    const sampleId = await resolveReference(db, tenantId, 'sample', c.req.valid('param').id);
    const found = await sampleTimeline(db, tenantId, sampleId, after?.v ?? 0, limit + 1);
    const last = found[limit - 1];
    return c.json(
      {
        entries: found.slice(0, limit).map(presentTimelineEntry),
        ...(found.length > limit && last && { nextCursor: encodeCursor({ v: last.version }) }),
      },
      200,
    );
  });

  routes.openapi(overviewRoute, async (c) => {
    const overview = await readOverview(db, c.var.actor.tenantId);
    return c.json(
      {
        ...overview,
        perZone: overview.perZone.map(({ zone, ...counts }) => ({
          ...(zone !== null && { zone }),
          ...counts,
        })),
        samples: { ...overview.samples },
      },
      200,
    );
  });

  return routes;
}
