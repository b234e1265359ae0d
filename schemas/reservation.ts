import { z } from '@hono/zod-openapi';
import { PositionLabel, Reference } from './automation.ts';
import { Id, Instant } from './problem.ts';

const Project = z.string().trim().min(1).max(100);
const common = {
  location: Reference.openapi({ description: 'Id or barcode of a container, or of a place above some.' }),
  project: Project.openapi({ description: 'Whose samples go there.', example: 'HEART-2' }),
  reason: z.string().trim().min(1).max(200).openapi({ example: 'visit 3 of the study' }),
  expiresAt: Instant.openapi({ description: 'At most 90 days away.' }),
};

/** Positions to be set aside. */
export const NewReservationRequest = z
  .union([
    z.strictObject({ ...common, positions: z.array(PositionLabel).min(1).max(1000) }),
    z.strictObject({
      ...common,
      count: z.int().min(1).max(1000),
      consecutive: z
        .boolean()
        .default(false)
        .openapi({ description: 'One after the other, in one container.' }),
    }),
  ])
  .openapi('NewReservationRequest');

export const ReservationQuery = z.strictObject({
  project: Project.optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
  cursor: z.string().max(300).optional().openapi({ description: 'The nextCursor of the page before.' }),
});
export const ReservationParams = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });

export const Reservation = z
  .object({
    id: Id,
    project: z.string(),
    ownerId: Id.openapi({ description: 'The person who answers for it.' }),
    reason: z.string(),
    state: z.enum(['active', 'expired', 'released']),
    createdAt: Instant,
    expiresAt: Instant,
    releasedAt: Instant.optional(),
    positions: z
      .array(
        z.object({
          positionId: Id,
          containerId: Id,
          containerName: z.string(),
          label: z.string(),
          state: z.enum(['reserved', 'occupied']),
        }),
      )
      .openapi({ description: 'Those still set aside, with a tube or without.' }),
    version: z.int(),
  })
  .openapi('Reservation');
export type Reservation = z.infer<typeof Reservation>;
export const ReservationPage = z
  .object({ reservations: z.array(Reservation), nextCursor: z.string().optional() })
  .openapi('ReservationPage');
