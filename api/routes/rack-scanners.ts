import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { askScanner, enrolScanner, listScanners, retireScanner } from '../../db/rack-scanners.ts';
import { DomainError } from '../../domain/errors.ts';
import { Id } from '../../schemas/problem.ts';
import { RackScan } from '../../schemas/rack-scan.ts';
import {
  EnrolRackScannerRequest,
  RackScanner,
  RackScannerList,
  ScanRequest,
} from '../../schemas/rack-scanner.ts';
import { CONTROL_QUEUE } from '../../workflows/ids.ts';
import { SCAN_RACK } from '../../workflows/messages/rack-scan.ts';
import { rackScanStartOptions } from '../../workflows/messages/start.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { rememberAnswer } from '../processes.ts';
import { presentRackScan } from '../rack-scans.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS } from './location-parts.ts';

const EXAMPLE: z.input<typeof RackScanner> = {
  id: EXAMPLE_ID,
  name: 'Scanner at bench 2',
  driver: 'visionmate',
  host: '192.0.2.20',
  port: 8000,
  profile: 'visionmate',
  version: 1,
};
const READING_EXAMPLE: RackScan = {
  id: EXAMPLE_ID,
  locationId: EXAMPLE_ID,
  location: 'Box 7 in Freezer 1',
  profile: 'visionmate',
  scannerId: EXAMPLE_ID,
  state: 'reading',
  scannedBy: EXAMPLE_ID,
  scannedAt: '2026-03-02T08:15:00.000Z',
  version: 1,
};
const params = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });

const listRoute = createRoute({
  ...secured('rack_scan.read'),
  method: 'get',
  path: '/storage/rack-scanners',
  tags: ['Storage'],
  summary: 'Rack scanners on the network',
  responses: { 200: reply(RackScannerList, 'In service.', { scanners: [EXAMPLE] }), ...problems() },
});

const enrolRoute = createRoute({
  ...secured('rack_scanner.enrol'),
  method: 'post',
  path: '/storage/rack-scanners',
  tags: ['Storage'],
  summary: 'Enter a rack scanner and its address',
  description: 'A VisionMate: switch its TCP server on and set its suffix character to [3].',
  request: {
    headers: IdempotencyHeader,
    body: body(EnrolRackScannerRequest, { name: 'Scanner at bench 2', host: '192.0.2.20' }),
  },
  responses: { 201: reply(RackScanner, 'Entered.', EXAMPLE), ...problems(...BODY_REFUSALS, 'NAME_TAKEN') },
});

const retireRoute = createRoute({
  ...secured('rack_scanner.enrol'),
  method: 'delete',
  path: '/storage/rack-scanners/{id}',
  tags: ['Storage'],
  summary: 'Take a rack scanner out of use; its scans stay',
  request: { params },
  responses: { 204: { description: 'Out of use.' }, ...problems('NOT_FOUND', 'VALIDATION') },
});

const scanRoute = createRoute({
  ...secured('rack_scan.make'),
  method: 'post',
  path: '/storage/rack-scanners/{id}/scan',
  tags: ['Storage'],
  summary: 'Have a scanner read the rack that is put on it',
  description:
    'The scanner is set to the size of the box and waits two minutes for the rack. One reads at a time: asked again for the same box, the scan that runs is answered. Look at the scan to see what came of it: `open` with its diff, or `failed` with the reason.',
  request: { headers: IdempotencyHeader, params, body: body(ScanRequest, { location: 'BOX-7' }) },
  responses: {
    202: {
      ...reply(RackScan, 'The scanner waits for the rack.', READING_EXAMPLE),
      headers: z.object({ location: z.string().openapi({ description: 'Where it can be looked at.' }) }),
    },
    ...problems(
      ...BODY_REFUSALS,
      'NOT_FOUND',
      'BARCODE_UNKNOWN',
      'CONFLICT',
      'POSITION_UNKNOWN',
      'LOCATION_RETIRED',
      'WORKFLOWS_UNAVAILABLE',
    ),
  },
});

/** Rack scanners on the network. */
export function rackScannerRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(listRoute, async (c) =>
    c.json({ scanners: await listScanners(db, c.var.actor.tenantId) }, 200),
  );

  routes.openapi(enrolRoute, async (c) => {
    const scanner = await enrolScanner(
      db,
      { actor: c.var.actor, reason: 'setup' },
      c.req.valid('json'),
      ({ tx }, entered) => rememberReply(c, tx, { status: 201, body: entered }),
    );
    return c.json(scanner, 201);
  });

  routes.openapi(retireRoute, async (c) => {
    await retireScanner(db, { actor: c.var.actor, reason: 'retirement' }, c.req.valid('param').id);
    return c.body(null, 204);
  });

  routes.openapi(scanRoute, async (c) => {
    const { actor, dependencies, limits } = c.var;
    const { id } = c.req.valid('param');
    const [scanner] = await listScanners(db, actor.tenantId, id);
    if (!scanner) throw new DomainError('NOT_FOUND', `There is no rack scanner ${id}.`);
    const scan = await askScanner(db, actor, id, c.req.valid('json').location);
    // Joined when it runs: one that was begun when the workflow service was away is started by the next request.
    await dependencies.temporal.withDeadline(Date.now() + limits.answerMs, () =>
      dependencies.temporal.workflow.start(SCAN_RACK, {
        ...rackScanStartOptions({ actor, scanId: scan.id }),
        taskQueue: CONTROL_QUEUE,
      }),
    );
    const location = `/storage/rack-scans/${scan.id}`;
    const shown = presentRackScan(scan);
    await rememberAnswer(c, { status: 202, reply: shown, location });
    c.header('location', location);
    return c.json(shown, 202);
  });
  return routes;
}
