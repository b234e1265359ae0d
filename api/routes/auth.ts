import { isIP } from 'node:net';
import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { listTenants, stationById, userById, verifySignIn, verifyStation } from '../../db/identity.ts';
import { closeSession, type OpenSession, openSession, rotateRefreshToken } from '../../db/session.ts';
import { DomainError } from '../../domain/errors.ts';
import { actionsOf } from '../../domain/permissions.ts';
import { Grant, KeySet, Me, RefreshRequest, SignInRequest } from '../../schemas/identity.ts';
import type { ApiEnv, AppDependencies, Limits } from '../dependencies.ts';
import { body, createRouter, openProblems, problems, reply, secured, withoutToken } from '../route.ts';
import { createSignInLimit } from '../sign-in-limit.ts';

const EXAMPLE_ID = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d01';
const GRANT_EXAMPLE = {
  accessToken: 'eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJ0aWQiOiIwMTk4In0.c2ln',
  tokenType: 'Bearer' as const,
  expiresAt: '2026-03-02T08:30:00.000Z',
  refreshToken: `${EXAMPLE_ID}.Vv0nJ7m3VZ7vTtQ1c2n1yJm5s2bq0m4y8kq2nU3v9aQ`,
  refreshExpiresAt: '2026-03-09T08:15:00.000Z',
};

const signInRoute = createRoute({
  ...withoutToken(),
  method: 'post',
  path: '/auth/sign-in',
  tags: ['Identity'],
  summary: 'Sign in with address and password, at a station when its secret is given too',
  request: {
    body: body(SignInRequest, {
      email: 'technician@demo.tracseq.local',
      password: 'correct horse battery staple',
      station: { id: EXAMPLE_ID, secret: 'u3p1sV0Jk3lq7Cw8m2Zt5Qn9Xr4Yb6Da1Ef2Gh3Ij4K' },
    }),
  },
  responses: {
    200: reply(Grant, 'Tokens for this session.', GRANT_EXAMPLE),
    ...openProblems(
      'MALFORMED_BODY',
      'UNAUTHENTICATED',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'RATE_LIMITED',
      'INTERNAL',
      'DATABASE_UNAVAILABLE',
    ),
  },
});

const refreshRoute = createRoute({
  ...withoutToken(),
  method: 'post',
  path: '/auth/refresh',
  tags: ['Identity'],
  summary: 'Exchange the refresh token for new tokens',
  request: { body: body(RefreshRequest, { refreshToken: GRANT_EXAMPLE.refreshToken }) },
  responses: {
    200: reply(Grant, 'New tokens; the refresh token sent is used up.', GRANT_EXAMPLE),
    ...openProblems(
      'MALFORMED_BODY',
      'UNAUTHENTICATED',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'INTERNAL',
      'DATABASE_UNAVAILABLE',
    ),
  },
});

const signOutRoute = createRoute({
  ...secured('session.own'),
  method: 'post',
  path: '/auth/sign-out',
  tags: ['Identity'],
  summary: 'Close the session of this token',
  responses: {
    204: { description: 'The session is closed; its tokens are refused everywhere within 5 s.' },
    ...problems(),
  },
});

const meRoute = createRoute({
  ...secured('session.own'),
  method: 'get',
  path: '/auth/me',
  tags: ['Identity'],
  summary: 'Who am I here',
  responses: {
    200: reply(Me, 'The user, laboratory and station of this token.', {
      user: {
        id: EXAMPLE_ID,
        email: 'technician@demo.tracseq.local',
        displayName: 'Tina Technician',
        role: 'lab_technician',
      },
      tenant: { id: EXAMPLE_ID, name: 'Demo laboratory' },
      station: { id: EXAMPLE_ID, name: 'Bench 1' },
      sessionId: EXAMPLE_ID,
      actions: ['sample.read', 'sample.place'],
    }),
    ...problems('NOT_FOUND'),
  },
});

const keysRoute = createRoute({
  ...withoutToken(),
  method: 'get',
  path: '/.well-known/jwks.json',
  tags: ['Identity'],
  summary: 'The public keys that verify access tokens (RFC 7517)',
  responses: {
    200: reply(KeySet, 'The key set.', {
      keys: [
        {
          kty: 'OKP',
          crv: 'Ed25519',
          x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
          kid: 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
          use: 'sig',
          alg: 'EdDSA',
        },
      ],
    }),
  },
});

export function authRoutes(dependencies: AppDependencies, limits: Limits): OpenAPIHono<ApiEnv> {
  const { db, tokens, authenticator } = dependencies;
  const limit = createSignInLimit(limits);
  const routes = createRouter();

  async function grantFor(session: OpenSession) {
    const { token, expiresAt } = await tokens.issue(session);
    return {
      accessToken: token,
      tokenType: 'Bearer' as const,
      expiresAt: expiresAt.toISOString(),
      refreshToken: session.refreshToken,
      refreshExpiresAt: session.refreshExpiresAt.toISOString(),
    };
  }

  routes.openapi(signInRoute, async (c) => {
    const { email, password, station } = c.req.valid('json');
    const host = hostOf(c, dependencies.proxyHops ?? 0);
    await limit.count(email, host);
    const user = await verifySignIn(db, email, password);
    // One answer for all that can be wrong: it tells nobody which addresses and stations exist.
    const refuse = () => new DomainError('UNAUTHENTICATED', 'Address, password or station are not right.');
    if (user === null) throw refuse();
    if (station && !(await verifyStation(db, user.tenantId, station.id, station.secret))) throw refuse();
    await limit.forgive(email, host);
    const session = await openSession(db, {
      tenantId: user.tenantId,
      userId: user.id,
      role: user.role,
      stationId: station?.id ?? null,
    });
    return c.json(await grantFor(session), 200, { 'cache-control': 'no-store' });
  });

  routes.openapi(refreshRoute, async (c) => {
    const session = await rotateRefreshToken(db, c.req.valid('json').refreshToken);
    return c.json(await grantFor(session), 200, { 'cache-control': 'no-store' });
  });

  routes.openapi(signOutRoute, async (c) => {
    const { actor, sessionId } = c.var;
    await closeSession(db, actor, sessionId, 'signed_out');
    authenticator.sessionClosed(sessionId);
    return c.body(null, 204);
  });

  routes.openapi(meRoute, async (c) => {
    const { actor, sessionId } = c.var;
    const [user, tenants, station] = await Promise.all([
      userById(db, actor.tenantId, actor.userId),
      listTenants(db),
      actor.stationId === null ? undefined : stationById(db, actor.tenantId, actor.stationId),
    ]);
    const tenant = tenants.find(({ id }) => id === actor.tenantId);
    if (!user || !tenant)
      throw new DomainError('NOT_FOUND', 'The user of this token is gone: sign in again.');
    return c.json(
      {
        user: { id: user.id, email: user.email, displayName: user.displayName, role: user.role },
        tenant,
        ...(station && {
          station: {
            id: station.id,
            name: station.name,
            ...(station.robotId !== null && { robotId: station.robotId }),
          },
        }),
        sessionId,
        actions: actionsOf(user.role),
      },
      200,
    );
  });

  routes.openapi(keysRoute, (c) =>
    c.json({ keys: [...tokens.keySet.keys] }, 200, { 'cache-control': 'public, max-age=300' }),
  );
  return routes;
}

/**
 * The network address a request came from: without a proxy of ours, that of the connection itself; behind some, what the
 * outermost of them wrote into X-Forwarded-For, counted from the right. Everything further left is whatever the sender
 * likes. Null when nobody can tell.
 */
function hostOf(c: Context<ApiEnv>, proxyHops: number): string | null {
  if (proxyHops > 0) {
    const hops = (c.req.header('x-forwarded-for') ?? '').split(',').map((hop) => hop.trim());
    const host = hops.at(-proxyHops) ?? '';
    return isIP(host) === 0 ? null : host;
  }
  const incoming: unknown = Reflect.get(Object(c.env), 'incoming');
  const socket: unknown = Reflect.get(Object(incoming), 'socket');
  const address: unknown = Reflect.get(Object(socket), 'remoteAddress');
  return typeof address === 'string' ? address : null;
}
