import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import {
  certifyDestruction,
  findWithdrawal,
  isGone,
  listWithdrawals,
  type WithdrawalRecord,
  withdrawalById,
  withdrawConsent,
} from '../../db/consents.ts';
import { DomainError } from '../../domain/errors.ts';
import { Id } from '../../schemas/problem.ts';
import {
  Certificate,
  CommentRequest,
  Withdrawal,
  WithdrawalPage,
  WithdrawRequest,
} from '../../schemas/sample-life.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { presentSample } from '../samples.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS } from './location-parts.ts';
import { SAMPLE_EXAMPLE } from './storage-examples.ts';

const WithdrawalParams = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });
const Cursor = z.strictObject({ id: z.uuid() });
const EXAMPLE_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const EXAMPLE: Withdrawal = {
  id: EXAMPLE_ID,
  subject: 'DONOR-0042',
  withdrawnAt: '2026-03-02T08:15:00.000Z',
  withdrawnBy: EXAMPLE_ID,
  left: 1,
  samples: [{ ...SAMPLE_EXAMPLE, state: 'on_hold', holdReason: 'consent_withdrawn' }],
};

const withdrawRoute = createRoute({
  ...secured('consent.withdraw'),
  method: 'post',
  path: '/storage/consents/withdraw',
  tags: ['Storage'],
  summary: 'Withdraw a consent: hold every sample of it, down to the last aliquot, and say where they are',
  description:
    'By the donor’s reference or by one sample. What is held is destroyed one by one with /storage/samples/{id}/dispose; nothing of the donor is entered any more.',
  request: { headers: IdempotencyHeader, body: body(WithdrawRequest, { subject: 'DONOR-0042' }) },
  responses: {
    201: reply(Withdrawal, 'All are on hold.', EXAMPLE),
    ...problems(...BODY_REFUSALS, 'NOT_FOUND', 'BARCODE_UNKNOWN', 'CONFLICT'),
  },
});

const listRoute = createRoute({
  ...secured('consent.withdraw'),
  method: 'get',
  path: '/storage/consents/withdrawals',
  tags: ['Storage'],
  summary: 'Withdrawn consents, newest first',
  request: {
    query: z.strictObject({
      limit: z.coerce.number().int().min(1).max(500).default(50),
      cursor: z.string().max(300).optional().openapi({ description: 'The nextCursor of the page before.' }),
    }),
  },
  responses: {
    200: reply(WithdrawalPage, 'A page; without nextCursor it is the last.', {
      withdrawals: [{ id: EXAMPLE_ID, withdrawnAt: EXAMPLE.withdrawnAt, isCertified: false }],
    }),
    ...problems('VALIDATION'),
  },
});

const findRoute = createRoute({
  ...secured('consent.withdraw'),
  method: 'get',
  path: '/storage/consents/withdrawals/{id}',
  tags: ['Storage'],
  summary: 'A withdrawn consent: what is left to be destroyed, and where it is',
  request: { params: WithdrawalParams },
  responses: { 200: reply(Withdrawal, 'As it stands.', EXAMPLE), ...problems('NOT_FOUND', 'VALIDATION') },
});

const certifyRoute = createRoute({
  ...secured('consent.withdraw'),
  method: 'post',
  path: '/storage/consents/withdrawals/{id}/certificate',
  tags: ['Storage'],
  summary: 'Certify that everything is destroyed, once it is',
  request: { headers: IdempotencyHeader, params: WithdrawalParams, body: body(CommentRequest, {}) },
  responses: {
    200: reply(Withdrawal, 'Certified; the certificate is at the same path.', {
      ...EXAMPLE,
      left: 0,
      samples: [],
      certificate: {
        at: '2026-03-03T08:15:00.000Z',
        sha256: EXAMPLE_SHA256,
      },
    }),
    ...problems(...BODY_REFUSALS, 'NOT_FOUND', 'CONFLICT'),
  },
});

const certificateRoute = createRoute({
  ...secured('consent.withdraw'),
  method: 'get',
  path: '/storage/consents/withdrawals/{id}/certificate',
  tags: ['Storage'],
  summary: 'The certificate, byte for byte as it was hashed',
  request: { params: WithdrawalParams },
  responses: {
    200: reply(Certificate, 'Canonical JSON (RFC 8785).', {
      format: 'tracseq-destruction-certificate/v1',
      laboratory: EXAMPLE_ID,
      withdrawal_id: EXAMPLE_ID,
      withdrawn_at: EXAMPLE.withdrawnAt,
      withdrawn_by: EXAMPLE_ID,
      issued_at: '2026-03-03T08:15:00.000Z',
      issued_by: EXAMPLE_ID,
      samples: [
        {
          sample_id: EXAMPLE_ID,
          type: 'plasma',
          state: 'disposed',
          reason: 'consent_withdrawn',
          disposed_at: '2026-03-03T08:10:00.000Z',
          disposed_by: EXAMPLE_ID,
          second_person: EXAMPLE_ID,
          entry: 41,
          event_id: EXAMPLE_ID,
          leaf_sha256: EXAMPLE_SHA256,
        },
      ],
    }),
    ...problems('NOT_FOUND', 'VALIDATION'),
  },
});

/** Withdrawn consents. */
export function consentRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(withdrawRoute, async (c) => {
    const { actor } = c.var;
    const json = c.req.valid('json');
    const scope =
      'subject' in json
        ? ({ kind: 'subject', subject: json.subject } as const)
        : ({ kind: 'sample', reference: json.sample } as const);
    const context = { actor, reason: 'consent', ...(json.comment && { comment: json.comment }) } as const;
    const id = await withdrawConsent(db, context, scope, async (tx, made) =>
      rememberReply(c, tx, { status: 201, body: present(await withdrawalById(tx, actor.tenantId, made)) }),
    );
    return c.json(present(await findWithdrawal(db, actor.tenantId, id)), 201);
  });

  routes.openapi(listRoute, async (c) => {
    const { limit, cursor } = c.req.valid('query');
    const after = decodeCursor(Cursor, cursor);
    const found = await listWithdrawals(db, c.var.actor.tenantId, after?.id ?? null, limit + 1);
    const last = found[limit - 1];
    return c.json(
      {
        withdrawals: found.slice(0, limit).map(({ id, withdrawnAt, isCertified }) => ({
          id,
          withdrawnAt: withdrawnAt.toISOString(),
          isCertified,
        })),
        ...(found.length > limit && last && { nextCursor: encodeCursor({ id: last.id }) }),
      },
      200,
    );
  });

  routes.openapi(findRoute, async (c) =>
    c.json(present(await findWithdrawal(db, c.var.actor.tenantId, c.req.valid('param').id)), 200),
  );

  routes.openapi(certifyRoute, async (c) => {
    const { comment } = c.req.valid('json');
    const context = { actor: c.var.actor, reason: 'consent', ...(comment && { comment }) } as const;
    const after = await certifyDestruction(db, context, c.req.valid('param').id, (tx, record) =>
      rememberReply(c, tx, { status: 200, body: present(record) }),
    );
    return c.json(present(after), 200);
  });

  routes.openapi(certificateRoute, async (c) => {
    const { id } = c.req.valid('param');
    const { certificate } = await findWithdrawal(db, c.var.actor.tenantId, id);
    if (!certificate) {
      throw new DomainError(
        'NOT_FOUND',
        `Withdrawal ${id} is not certified yet: destroy what is left, then certify it.`,
      );
    }
    c.header('etag', `"${certificate.sha256}"`);
    // Canonical JSON parsed and written again is the same bytes.
    return c.json(JSON.parse(certificate.bytes.toString('utf8')), 200);
  });

  return routes;
}

function present(record: WithdrawalRecord): Withdrawal {
  const { certificate, samples, withdrawnAt, subject, sampleId, comment } = record;
  return {
    id: record.id,
    ...(subject !== null && { subject }),
    ...(sampleId !== null && { sampleId }),
    ...(comment !== null && { comment }),
    withdrawnAt: withdrawnAt.toISOString(),
    withdrawnBy: record.withdrawnBy,
    left: samples.filter((sample) => !isGone(sample)).length,
    ...(certificate && { certificate: { at: certificate.at.toISOString(), sha256: certificate.sha256 } }),
    samples: samples.map(presentSample),
  };
}
