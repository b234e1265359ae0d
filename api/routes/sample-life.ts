import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { checkIn, checkOut, giveUpAsLost, listCheckOuts } from '../../db/check-out.ts';
import {
  archiveSample,
  disposeSample,
  editSample,
  holdSample,
  relabelSample,
  releaseSample,
} from '../../db/sample-keeping.ts';
import type { AlsoWriteSample } from '../../db/sample-life.ts';
import { consumeSample, recordThaw, takeAliquots } from '../../db/sample-use.ts';
import { findSample, sampleById, samplesByIds } from '../../db/samples.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { ReasonCode } from '../../domain/reasons.ts';
import { Reference } from '../../schemas/automation.ts';
import {
  AliquotsRequest,
  CheckInRequest,
  CheckOutPage,
  CheckOutQuery,
  CheckOutRequest,
  CommentRequest,
  ConsumeRequest,
  DisposeRequest,
  HoldRequest,
  RelabelRequest,
  SampleEditRequest,
  SampleList,
} from '../../schemas/sample-life.ts';
import { Sample } from '../../schemas/storage.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { etagOf, versionFromIfMatch } from '../etag.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { presentSample } from '../samples.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS, IfMatchHeader, withEtag } from './location-parts.ts';
import { SAMPLE_EXAMPLE } from './storage-examples.ts';

const SampleParams = z.object({ id: Reference.openapi({ param: { name: 'id', in: 'path' } }) });
const REFUSALS = [
  ...BODY_REFUSALS,
  'NOT_FOUND',
  'BARCODE_UNKNOWN',
  'SAMPLE_BUSY',
  'SAMPLE_STATE',
  'CONFLICT',
] as const;
const DueCursor = z.strictObject({ d: z.iso.datetime(), id: z.uuid() });

/** A POST on one sample that answers with the sample. */
const acting = { method: 'post' as const, tags: ['Storage'] };
const sampleReply = { 200: reply(Sample, 'The sample after it.', SAMPLE_EXAMPLE) };
const acts = <S extends z.ZodType>(schema: S, example: z.input<S>) => ({
  headers: IdempotencyHeader,
  params: SampleParams,
  body: body(schema, example),
});

const editRoute = createRoute({
  ...secured('sample.edit'),
  method: 'put',
  path: '/storage/samples/{id}',
  tags: ['Storage'],
  summary: 'Edit a sample’s description',
  request: {
    headers: IfMatchHeader,
    params: SampleParams,
    body: body(SampleEditRequest, {
      project: 'HEART-2',
      subject: 'DONOR-0042',
      quantity: { amount: '450', unit: 'ul' },
    }),
  },
  responses: {
    200: withEtag(reply(Sample, 'The sample after it.', SAMPLE_EXAMPLE)),
    ...problems(...REFUSALS, 'PRECONDITION_REQUIRED', 'PRECONDITION_FAILED', 'CONSENT_WITHDRAWN'),
  },
});

const aliquotsRoute = createRoute({
  ...secured('sample.use'),
  ...acting,
  path: '/storage/samples/{id}/aliquots',
  summary: 'Register tubes that were filled from a sample',
  request: acts(AliquotsRequest, {
    aliquots: [{ barcode: 'TUBE-000123-1', quantity: { amount: '50', unit: 'ul' } }],
  }),
  responses: {
    201: reply(SampleList, 'The aliquots, in their order.', { samples: [SAMPLE_EXAMPLE] }),
    ...problems(...REFUSALS, 'BARCODE_TAKEN', 'QUANTITY_EXCEEDED', 'CONSENT_WITHDRAWN'),
  },
});

const consumeRoute = createRoute({
  ...secured('sample.use'),
  ...acting,
  path: '/storage/samples/{id}/consume',
  summary: 'Use an amount of a sample, or all that is left',
  request: acts(ConsumeRequest, { quantity: { amount: '50', unit: 'ul' } }),
  responses: { ...sampleReply, ...problems(...REFUSALS, 'QUANTITY_EXCEEDED') },
});

const thawRoute = createRoute({
  ...secured('sample.use'),
  ...acting,
  path: '/storage/samples/{id}/thaw',
  summary: 'Count a thaw that was seen; the tube’s return does not count it again',
  request: acts(CommentRequest, { comment: 'Thawed on ice.' }),
  responses: { ...sampleReply, ...problems(...REFUSALS) },
});

const relabelRoute = createRoute({
  ...secured('sample.edit'),
  ...acting,
  path: '/storage/samples/{id}/barcode',
  summary: 'Give a tube another label; the old one stays reserved and still finds it',
  request: acts(RelabelRequest, { barcode: 'TUBE-000999', comment: 'Label came off.' }),
  responses: { ...sampleReply, ...problems(...REFUSALS, 'BARCODE_TAKEN') },
});

const checkOutRoute = createRoute({
  ...secured('sample.check_out'),
  ...acting,
  path: '/storage/samples/{id}/check-out',
  summary: 'Take a tube out until a time; its position waits for it with its label',
  request: acts(CheckOutRequest, { dueAt: '2031-03-02T17:00:00Z', comment: 'For the plate reader.' }),
  responses: { ...sampleReply, ...problems(...REFUSALS, 'BARCODE_MISMATCH') },
});

const checkInRoute = createRoute({
  ...secured('sample.check_out'),
  ...acting,
  path: '/storage/samples/{id}/check-in',
  summary: 'Bring a tube back into the position that waits for it',
  request: acts(CheckInRequest, { sampleBarcode: 'TUBE-000123' }),
  responses: {
    ...sampleReply,
    ...problems(...REFUSALS, 'BARCODE_MISMATCH', 'ZONE_MISMATCH', 'POSITION_OCCUPIED'),
  },
});

const checkOutsRoute = createRoute({
  ...secured('sample.read'),
  method: 'get',
  path: '/storage/check-outs',
  tags: ['Storage'],
  summary: 'Tubes that are out, the one due first first',
  request: { query: CheckOutQuery },
  responses: {
    200: reply(CheckOutPage, 'A page; without nextCursor it is the last.', {
      checkOuts: [
        {
          id: EXAMPLE_ID,
          sampleId: EXAMPLE_ID,
          barcode: 'TUBE-000123',
          assigneeId: EXAMPLE_ID,
          assigneeName: 'Tom Technician',
          dueAt: '2026-03-02T17:00:00.000Z',
          isOverdue: true,
          positionId: EXAMPLE_ID,
          checkedOutAt: '2026-03-02T08:15:00.000Z',
        },
      ],
    }),
    ...problems('VALIDATION'),
  },
});

const holdRoute = createRoute({
  ...secured('sample.hold'),
  ...acting,
  path: '/storage/samples/{id}/hold',
  summary: 'Keep a sample from being used',
  request: acts(HoldRequest, { reason: 'quality' }),
  responses: { ...sampleReply, ...problems(...REFUSALS) },
});

const releaseRoute = createRoute({
  ...secured('sample.hold'),
  ...acting,
  path: '/storage/samples/{id}/release',
  summary: 'Let a held sample be used again',
  request: acts(CommentRequest, { comment: 'Measured again: good.' }),
  responses: { ...sampleReply, ...problems(...REFUSALS, 'CONSENT_WITHDRAWN') },
});

const disposeRoute = createRoute({
  ...secured('sample.dispose'),
  ...acting,
  path: '/storage/samples/{id}/dispose',
  summary: 'Destroy a tube before the eyes of a second person',
  request: acts(DisposeRequest, { reason: 'contaminated', secondPersonId: EXAMPLE_ID }),
  responses: {
    ...sampleReply,
    ...problems(...REFUSALS, 'SECOND_PERSON_REQUIRED', 'CONSENT_WITHDRAWN', 'BARCODE_MISMATCH'),
  },
});

const lostRoute = createRoute({
  ...secured('sample.archive'),
  ...acting,
  path: '/storage/samples/{id}/lost',
  summary: 'Give up the search for a tube; a scan of it finds it again',
  request: acts(CommentRequest, {}),
  responses: { ...sampleReply, ...problems(...REFUSALS) },
});

const archiveRoute = createRoute({
  ...secured('sample.archive'),
  ...acting,
  path: '/storage/samples/{id}/archive',
  summary: 'Close a sample’s record; nothing is deleted',
  request: acts(CommentRequest, {}),
  responses: { ...sampleReply, ...problems(...REFUSALS) },
});

const reopenRoute = createRoute({
  ...secured('sample.archive'),
  ...acting,
  path: '/storage/samples/{id}/reopen',
  summary: 'Open an archived record again',
  request: acts(CommentRequest, {}),
  responses: { ...sampleReply, ...problems(...REFUSALS) },
});

/** What becomes of samples besides moving them. */
export function sampleLifeRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  const because = (c: Context<ApiEnv>, reason: ReasonCode, comment?: string) => ({
    actor: c.var.actor,
    reason,
    ...(comment !== undefined && { comment }),
  });
  const remembering =
    (c: Context<ApiEnv>): AlsoWriteSample =>
    async (tx, id) =>
      rememberReply(c, tx, {
        status: 200,
        body: presentSample(await sampleById(tx, c.var.actor.tenantId, id)),
      });
  const answer = async (c: Context<ApiEnv>, id: Promise<string>) => {
    const sample = await findSample(db, c.var.actor.tenantId, await id);
    return presentSample(sample);
  };

  routes.openapi(editRoute, async (c) => {
    const {
      project = null,
      subject = null,
      lot = null,
      expiresOn = null,
      quantity = null,
    } = c.req.valid('json');
    const edit = { project, subject, lot, expiresOn, quantity };
    const id = await editSample(db, because(c, 'edit'), c.req.valid('param').id, versionFromIfMatch(c), edit);
    const sample = await findSample(db, c.var.actor.tenantId, id);
    c.header('etag', etagOf(sample));
    return c.json(presentSample(sample), 200);
  });

  routes.openapi(aliquotsRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const aliquots = c.req
      .valid('json')
      .aliquots.map(({ barcode, quantity = null }) => ({ barcode, quantity }));
    const ids = await takeAliquots(
      db,
      because(c, 'registered'),
      c.req.valid('param').id,
      aliquots,
      async (tx, made) =>
        rememberReply(c, tx, {
          status: 201,
          body: { samples: (await samplesByIds(tx, tenantId, made)).map(presentSample) },
        }),
    );
    const samples = await inTenant(db, tenantId, (tx) => samplesByIds(tx, tenantId, ids));
    return c.json({ samples: samples.map(presentSample) }, 201);
  });

  routes.openapi(consumeRoute, async (c) => {
    const json = c.req.valid('json');
    const used = 'quantity' in json ? json.quantity : null;
    const { id } = c.req.valid('param');
    return c.json(await answer(c, consumeSample(db, because(c, 'use'), id, used, remembering(c))), 200);
  });

  routes.openapi(thawRoute, async (c) => {
    const context = because(c, 'use', c.req.valid('json').comment);
    return c.json(await answer(c, recordThaw(db, context, c.req.valid('param').id, remembering(c))), 200);
  });

  routes.openapi(relabelRoute, async (c) => {
    const { barcode, comment } = c.req.valid('json');
    const context = because(c, 'correction', comment);
    return c.json(
      await answer(c, relabelSample(db, context, c.req.valid('param').id, barcode, remembering(c))),
      200,
    );
  });

  routes.openapi(checkOutRoute, async (c) => {
    const { assigneeId, dueAt, comment = null, sampleBarcode = null } = c.req.valid('json');
    const request = {
      assigneeId: assigneeId ?? c.var.actor.userId,
      dueAt: new Date(dueAt),
      comment,
      scanned: sampleBarcode,
    };
    return c.json(
      await answer(c, checkOut(db, because(c, 'use'), c.req.valid('param').id, request, remembering(c))),
      200,
    );
  });

  routes.openapi(checkInRoute, async (c) => {
    const scanned = c.req.valid('json').sampleBarcode ?? null;
    const { id } = c.req.valid('param');
    return c.json(await answer(c, checkIn(db, because(c, 'placement'), id, scanned, remembering(c))), 200);
  });

  routes.openapi(checkOutsRoute, async (c) => {
    const { overdue, assignee, limit, cursor } = c.req.valid('query');
    const after = decodeCursor(DueCursor, cursor);
    const found = await listCheckOuts(
      db,
      c.var.actor.tenantId,
      { overdue: overdue === 'true', assigneeId: assignee ?? null },
      after && { dueAt: new Date(after.d), id: after.id },
      limit + 1,
    );
    const last = found[limit - 1];
    return c.json(
      {
        checkOuts: found.slice(0, limit).map(({ comment, positionId, dueAt, checkedOutAt, ...rest }) => ({
          ...rest,
          dueAt: dueAt.toISOString(),
          ...(comment !== null && { comment }),
          ...(positionId !== null && { positionId }),
          checkedOutAt: checkedOutAt.toISOString(),
        })),
        ...(found.length > limit &&
          last && { nextCursor: encodeCursor({ d: last.dueAt.toISOString(), id: last.id }) }),
      },
      200,
    );
  });

  routes.openapi(holdRoute, async (c) => {
    const { reason, comment } = c.req.valid('json');
    const { id } = c.req.valid('param');
    return c.json(
      await answer(c, holdSample(db, because(c, 'hold', comment), id, reason, remembering(c))),
      200,
    );
  });

  routes.openapi(releaseRoute, async (c) => {
    const context = because(c, 'hold', c.req.valid('json').comment);
    return c.json(await answer(c, releaseSample(db, context, c.req.valid('param').id, remembering(c))), 200);
  });

  routes.openapi(disposeRoute, async (c) => {
    const { reason, comment = null, secondPersonId = null, sampleBarcode = null } = c.req.valid('json');
    const request = { reason, comment, secondPersonId, scanned: sampleBarcode };
    return c.json(
      await answer(
        c,
        disposeSample(db, because(c, 'disposal'), c.req.valid('param').id, request, remembering(c)),
      ),
      200,
    );
  });

  routes.openapi(lostRoute, async (c) => {
    const context = because(c, 'search', c.req.valid('json').comment);
    return c.json(await answer(c, giveUpAsLost(db, context, c.req.valid('param').id, remembering(c))), 200);
  });

  routes.openapi(archiveRoute, async (c) => {
    const context = because(c, 'archiving', c.req.valid('json').comment);
    const { id } = c.req.valid('param');
    return c.json(await answer(c, archiveSample(db, context, id, 'archive', remembering(c))), 200);
  });

  routes.openapi(reopenRoute, async (c) => {
    const context = because(c, 'archiving', c.req.valid('json').comment);
    const { id } = c.req.valid('param');
    return c.json(await answer(c, archiveSample(db, context, id, 'reopen', remembering(c))), 200);
  });

  return routes;
}
