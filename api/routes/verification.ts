import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { findSample, sampleById } from '../../db/samples.ts';
import { verifySample } from '../../db/verification.ts';
import { Reference } from '../../schemas/automation.ts';
import { Sample, VerifyRequest } from '../../schemas/storage.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { presentSample } from '../samples.ts';
import { BODY_REFUSALS } from './location-parts.ts';
import { SAMPLE_EXAMPLE } from './storage-examples.ts';

const verifyRoute = createRoute({
  ...secured('sample.verify'),
  method: 'post',
  path: '/storage/samples/{id}/verify',
  tags: ['Storage'],
  summary: 'Say by a scan where a tube is that is unknown, or that nothing has seen where the record has it',
  description:
    'It corrects the record and moves no tube: one that something has seen elsewhere is moved by /move. A tube that was only asserted to stand in that position is unknown from then on.',
  request: {
    headers: IdempotencyHeader,
    params: z.object({ id: Reference.openapi({ param: { name: 'id', in: 'path' } }) }),
    body: body(VerifyRequest, {
      containerBarcode: 'BOX-7',
      position: 'A1',
      sampleBarcode: 'TUBE-000123',
    }),
  },
  responses: {
    200: reply(Sample, 'The sample, seen there.', SAMPLE_EXAMPLE),
    ...problems(
      ...BODY_REFUSALS,
      'NOT_FOUND',
      'BARCODE_UNKNOWN',
      'BARCODE_MISMATCH',
      'SAMPLE_BUSY',
      'CONFLICT',
      'POSITION_UNKNOWN',
      'POSITION_OCCUPIED',
      'POSITION_BLOCKED',
      'LOCATION_RETIRED',
    ),
  },
});

/** Scans that correct the record of where a tube is. */
export function verificationRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(verifyRoute, async (c) => {
    const { actor } = c.var;
    const { tenantId } = actor;
    const id = await verifySample(
      db,
      { actor, reason: 'correction' },
      c.req.valid('param').id,
      c.req.valid('json'),
      async (tx, sampleId) =>
        rememberReply(c, tx, { status: 200, body: presentSample(await sampleById(tx, tenantId, sampleId)) }),
    );
    return c.json(presentSample(await findSample(db, tenantId, id)), 200);
  });
  return routes;
}
