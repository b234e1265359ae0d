import { z } from '@hono/zod-openapi';
import { Id, Instant } from './problem.ts';

/** The six roles; domain/actor.ts says the same, and the compiler compares the two where replies are made. */
export const RoleName = z.enum([
  'lab_administrator',
  'principal_investigator',
  'lab_technician',
  'research_scientist',
  'data_analyst',
  'guest',
]);

export const SignInRequest = z
  .strictObject({
    email: z.email().max(254),
    password: z.string().min(1).max(1_024),
    station: z
      .strictObject({ id: z.uuid(), secret: z.string().min(1).max(200) })
      .optional()
      .openapi({
        description: 'The enrolled station one signs in at; some things are done at a station only.',
      }),
  })
  .openapi('SignInRequest');

export const RefreshRequest = z
  .strictObject({ refreshToken: z.string().min(1).max(200) })
  .openapi('RefreshRequest');

export const Grant = z
  .object({
    accessToken: z.string().openapi({ description: 'Bearer token, a JWT signed with EdDSA.' }),
    tokenType: z.literal('Bearer'),
    expiresAt: Instant,
    refreshToken: z
      .string()
      .openapi({ description: 'Good for one refresh; used twice, it closes the session.' }),
    refreshExpiresAt: Instant,
  })
  .openapi('Grant');

export const Me = z
  .object({
    user: z.object({ id: Id, email: z.string(), displayName: z.string(), role: RoleName }),
    tenant: z.object({ id: Id, name: z.string() }),
    station: z
      .object({
        id: Id,
        name: z.string(),
        robotId: Id.optional().openapi({ description: 'The robot the station stands at.' }),
      })
      .optional(),
    sessionId: Id,
    actions: z.array(z.string()).openapi({ description: 'What the role may do.' }),
  })
  .openapi('Me');

export type Me = z.infer<typeof Me>;

export const KeySet = z
  .object({
    keys: z.array(
      z.object({
        kty: z.string(),
        crv: z.string(),
        x: z.string(),
        kid: z.string(),
        use: z.string(),
        alg: z.string(),
      }),
    ),
  })
  .openapi('KeySet');
