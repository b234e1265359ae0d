import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { applyRackScan } from '../../db/rack-apply.ts';
import { findRackScan, listRackScans, type NewRackScan, saveRackScan } from '../../db/rack-scans.ts';
import { resolveReference } from '../../db/references.ts';
import { parseRackScan, readListedScan } from '../../domain/rack-scan.ts';
import { scanText } from '../../domain/scan-text.ts';
import { Reference } from '../../schemas/automation.ts';
import { Id } from '../../schemas/problem.ts';
import {
  ApplyRackScanRequest,
  NewRackScanRequest,
  RackScan,
  RackScanPage,
  RackScanStateName,
} from '../../schemas/rack-scan.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { presentRackScan, presentRackScanSummary } from '../rack-scans.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS } from './location-parts.ts';

const COUNTS = {
  match: 80,
  moved: 0,
  elsewhere: 1,
  found: 0,
  unknown: 0,
  duplicate: 0,
  unread: 1,
  missing: 0,
  empty: 14,
  not_scanned: 0,
};

/** A scan with one tube of another box. */
export const RACK_SCAN_EXAMPLE: RackScan = {
  id: EXAMPLE_ID,
  locationId: EXAMPLE_ID,
  location: 'Box 7 in Freezer 1',
  profile: 'two_columns',
  state: 'open',
  scannedBy: EXAMPLE_ID,
  scannedAt: '2026-03-02T08:15:00.000Z',
  diff: {
    counts: COUNTS,
    absent: 0,
    rotated: false,
    positions: [
      {
        position: 'C1',
        verdict: 'elsewhere',
        barcode: 'TUBE-000123',
        tube: {
          sampleId: EXAMPLE_ID,
          barcode: 'TUBE-000123',
          custody: 'position',
          recorded: { locationId: EXAMPLE_ID, location: 'Box 12 in Freezer 1', position: 'A4' },
        },
        inBox: true,
      },
    ],
  },
  version: 1,
};
const APPLIED_EXAMPLE: RackScan = {
  ...RACK_SCAN_EXAMPLE,
  state: 'applied',
  applied: {
    at: '2026-03-02T08:16:00.000Z',
    by: EXAMPLE_ID,
    turned: false,
    placed: 1,
    confirmed: 80,
    lost: 0,
    blocked: 0,
    deviations: [],
  },
  version: 2,
};

const params = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });
const Cursor = z.strictObject({ id: z.uuid() });

const makeRoute = createRoute({
  ...secured('rack_scan.make'),
  method: 'post',
  path: '/storage/rack-scans',
  tags: ['Storage'],
  summary: 'Hold a scan of a whole rack against the record of all boxes',
  description:
    'The scan is kept, with unread tubes too; the record stays as it is until the scan is applied. A scan of the same box that was not applied is superseded. Mistakes in a file are named by line and column.',
  request: {
    headers: IdempotencyHeader,
    body: body(NewRackScanRequest, {
      location: 'BOX-7',
      profile: 'two_columns',
      text: 'A1,TUBE-000123\nA2,NO READ\nA3,EMPTY\n',
    }),
  },
  responses: {
    201: {
      ...reply(RackScan, 'Kept, with what differs.', RACK_SCAN_EXAMPLE),
      headers: z.object({ location: z.string().openapi({ description: 'Where it can be looked at.' }) }),
    },
    ...problems(
      ...BODY_REFUSALS,
      'NOT_FOUND',
      'BARCODE_UNKNOWN',
      'BARCODE_MISMATCH',
      'POSITION_UNKNOWN',
      'LOCATION_RETIRED',
    ),
  },
});

const listRoute = createRoute({
  ...secured('rack_scan.read'),
  method: 'get',
  path: '/storage/rack-scans',
  tags: ['Storage'],
  summary: 'Scans of racks, newest first',
  request: {
    query: z.strictObject({
      location: Reference.optional(),
      state: RackScanStateName.optional(),
      limit: z.coerce.number().int().min(1).max(100).default(20),
      cursor: z.string().max(300).optional().openapi({ description: 'The nextCursor of the page before.' }),
    }),
  },
  responses: {
    200: reply(RackScanPage, 'A page; without nextCursor it is the last.', { scans: [] }),
    ...problems('VALIDATION', 'NOT_FOUND', 'BARCODE_UNKNOWN'),
  },
});

const scanRoute = createRoute({
  ...secured('rack_scan.read'),
  method: 'get',
  path: '/storage/rack-scans/{id}',
  tags: ['Storage'],
  summary: 'A scan of a rack with what differs, position by position',
  request: { params },
  responses: {
    200: reply(RackScan, 'As scanned, against the record of that moment.', RACK_SCAN_EXAMPLE),
    ...problems('NOT_FOUND', 'VALIDATION'),
  },
});

const applyRoute = createRoute({
  ...secured('rack_scan.apply'),
  method: 'post',
  path: '/storage/rack-scans/{id}/apply',
  tags: ['Storage'],
  summary: 'Make the record agree with a scan',
  description:
    'All of it or nothing, in whatever order the tubes of a spilled box lie now. Tubes that were read are where they were read; those that are not there are UNKNOWN, each with a deviation; positions in which something without a name stands are blocked. Refused when the box has changed since the scan, when a job holds what would change, and when the rack was turned, of another size or of another box unless that is confirmed.',
  request: { headers: IdempotencyHeader, params, body: body(ApplyRackScanRequest, { confirm: [] }) },
  responses: {
    200: reply(RackScan, 'Applied.', APPLIED_EXAMPLE),
    ...problems(
      ...BODY_REFUSALS,
      'NOT_FOUND',
      'CONFLICT',
      'PRECONDITION_FAILED',
      'SAMPLE_BUSY',
      'POSITION_OCCUPIED',
      'POSITION_BLOCKED',
      'POSITION_UNKNOWN',
      'LOCATION_RETIRED',
    ),
  },
});

/** Scans of whole racks against the record. */
export function rackScanRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(makeRoute, async (c) => {
    const { location = null, profile, ...content } = c.req.valid('json');
    const at = (id: string) => `/storage/rack-scans/${id}`;
    const scan = await saveRackScan(
      db,
      { actor: c.var.actor, reason: 'inventory' },
      { location, profile, read: readerOf(content) },
      (tx, saved) =>
        rememberReply(c, tx, { status: 201, body: presentRackScan(saved), location: at(saved.id) }),
    );
    c.header('location', at(scan.id));
    return c.json(presentRackScan(scan), 201);
  });

  routes.openapi(listRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const { location, state, limit, cursor } = c.req.valid('query');
    const found = await listRackScans(db, tenantId, {
      locationId: location && (await resolveReference(db, tenantId, 'location', location)),
      state,
      before: decodeCursor(Cursor, cursor)?.id ?? null,
      limit: limit + 1,
    });
    const scans = found.slice(0, limit);
    const last = found.length > limit ? scans.at(-1) : undefined;
    return c.json(
      {
        scans: scans.map(presentRackScanSummary),
        ...(last && { nextCursor: encodeCursor({ id: last.id }) }),
      },
      200,
    );
  });

  routes.openapi(scanRoute, async (c) =>
    c.json(presentRackScan(await findRackScan(db, c.var.actor.tenantId, c.req.valid('param').id)), 200),
  );

  routes.openapi(applyRoute, async (c) => {
    const { orientation = null, confirm } = c.req.valid('json');
    const scan = await applyRackScan(
      db,
      { actor: c.var.actor, reason: 'correction' },
      c.req.valid('param').id,
      { orientation, confirm },
      (tx, applied) => rememberReply(c, tx, { status: 200, body: presentRackScan(applied) }),
    );
    return c.json(presentRackScan(scan), 200);
  });
  return routes;
}

/** How a scan is read that came as text, as bytes or as a list; the schema has seen to it that it is one of them. */
function readerOf(
  content: Pick<NewRackScanRequest, 'text' | 'fileBase64' | 'positions'>,
): NewRackScan['read'] {
  const { text, fileBase64, positions } = content;
  if (positions) return (profile, grid) => readListedScan(positions, profile, grid);
  return (profile, grid) => {
    const bytes = fileBase64 === undefined ? null : Buffer.from(fileBase64, 'base64');
    return parseRackScan(bytes ? scanText(bytes, profile.encoding, 'the file') : (text ?? ''), profile, grid);
  };
}
