import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { findReservation, listReservations, type ReservationRecord } from '../../db/reservation-record.ts';
import { createReservation, releaseReservation } from '../../db/reservations.ts';
import {
  NewReservationRequest,
  Reservation,
  ReservationPage,
  ReservationParams,
  ReservationQuery,
} from '../../schemas/reservation.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';
import { BODY_REFUSALS } from './location-parts.ts';

const EXAMPLE: Reservation = {
  id: EXAMPLE_ID,
  project: 'HEART-2',
  ownerId: EXAMPLE_ID,
  reason: 'visit 3 of the study',
  state: 'active',
  createdAt: '2026-03-02T08:15:00.000Z',
  expiresAt: '2026-03-05T18:00:00.000Z',
  positions: [
    {
      positionId: EXAMPLE_ID,
      containerId: EXAMPLE_ID,
      containerName: 'Box 9×9 B-7',
      label: 'A1',
      state: 'reserved',
    },
  ],
  version: 1,
};

const createRouteOf = createRoute({
  ...secured('reservation.edit'),
  method: 'post',
  path: '/storage/reservations',
  tags: ['Storage'],
  summary: 'Set free positions aside for a project until a time, all of them or none',
  request: {
    headers: IdempotencyHeader,
    body: body(NewReservationRequest, {
      location: 'BOX-7',
      project: 'HEART-2',
      reason: 'visit 3 of the study',
      expiresAt: '2026-03-05T18:00:00.000Z',
      count: 12,
      consecutive: true,
    }),
  },
  responses: {
    201: reply(Reservation, 'Set aside.', EXAMPLE),
    ...problems(
      ...BODY_REFUSALS,
      'NOT_FOUND',
      'BARCODE_UNKNOWN',
      'POSITION_UNKNOWN',
      'POSITION_OCCUPIED',
      'POSITION_BLOCKED',
      'NO_POSITION_FREE',
      'RULE_NOT_MET',
      'LOCATION_RETIRED',
      'CONFLICT',
    ),
  },
});

const listRoute = createRoute({
  ...secured('reservation.read'),
  method: 'get',
  path: '/storage/reservations',
  tags: ['Storage'],
  summary: 'Reservations in force',
  request: { query: ReservationQuery },
  responses: {
    200: reply(ReservationPage, 'A page; without nextCursor it is the last.', { reservations: [EXAMPLE] }),
    ...problems('VALIDATION'),
  },
});

const readRoute = createRoute({
  ...secured('reservation.read'),
  method: 'get',
  path: '/storage/reservations/{id}',
  tags: ['Storage'],
  summary: 'A reservation with its positions',
  request: { params: ReservationParams },
  responses: {
    200: reply(Reservation, 'As it is now.', EXAMPLE),
    ...problems('NOT_FOUND', 'VALIDATION'),
  },
});

const releaseRoute = createRoute({
  ...secured('reservation.edit'),
  method: 'post',
  path: '/storage/reservations/{id}/release',
  tags: ['Storage'],
  summary: 'Give back what is set aside; tubes stay where they are',
  request: { headers: IdempotencyHeader, params: ReservationParams },
  responses: {
    200: reply(Reservation, 'Given back.', {
      ...EXAMPLE,
      state: 'released',
      releasedAt: '2026-03-03T08:00:00.000Z',
      positions: [],
      version: 2,
    }),
    ...problems('NOT_FOUND', 'VALIDATION', 'CONFLICT', 'IDEMPOTENCY_KEY_BUSY', 'IDEMPOTENCY_KEY_REUSED'),
  },
});

const Cursor = z.strictObject({ id: z.uuid() });

/** Positions set aside for studies. */
export function reservationRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(createRouteOf, async (c) => {
    const { location, project, reason, expiresAt, ...what } = c.req.valid('json');
    const record = await createReservation(
      db,
      { actor: c.var.actor, reason: 'blocking' },
      {
        location,
        project,
        reason,
        expiresAt: new Date(expiresAt),
        what: 'positions' in what ? { kind: 'named', ...what } : { kind: 'count', ...what },
      },
      (tx, made) =>
        rememberReply(c, tx, {
          status: 201,
          body: present(made),
          location: `/storage/reservations/${made.id}`,
        }),
    );
    c.header('location', `/storage/reservations/${record.id}`);
    return c.json(present(record), 201);
  });

  routes.openapi(listRoute, async (c) => {
    const { project, limit, cursor } = c.req.valid('query');
    const after = decodeCursor(Cursor, cursor);
    const found = await listReservations(
      db,
      c.var.actor.tenantId,
      project ?? null,
      after?.id ?? null,
      limit + 1,
    );
    const last = found[limit - 1];
    return c.json(
      {
        reservations: found.slice(0, limit).map(present),
        ...(found.length > limit && last && { nextCursor: encodeCursor({ id: last.id }) }),
      },
      200,
    );
  });

  routes.openapi(readRoute, async (c) =>
    c.json(present(await findReservation(db, c.var.actor.tenantId, c.req.valid('param').id)), 200),
  );

  routes.openapi(releaseRoute, async (c) => {
    const record = await releaseReservation(
      db,
      { actor: c.var.actor, reason: 'blocking' },
      c.req.valid('param').id,
      (tx, after) => rememberReply(c, tx, { status: 200, body: present(after) }),
    );
    return c.json(present(record), 200);
  });

  return routes;
}

function present(record: ReservationRecord): Reservation {
  return {
    id: record.id,
    project: record.project,
    ownerId: record.ownerId,
    reason: record.reason,
    state: record.releasedAt !== null ? 'released' : record.isExpired ? 'expired' : 'active',
    createdAt: record.createdAt.toISOString(),
    expiresAt: record.expiresAt.toISOString(),
    ...(record.releasedAt && { releasedAt: record.releasedAt.toISOString() }),
    positions: record.positions.map(({ positionId, containerId, containerName, label, state }) => ({
      positionId,
      containerId,
      containerName,
      label,
      state,
    })),
    version: record.version,
  };
}
