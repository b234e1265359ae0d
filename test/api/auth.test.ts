import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApp } from '../../api/app.ts';
import { AUDIENCE, ISSUER, TOKEN_TYPE } from '../../api/tokens.ts';
import { enrolStation } from '../../db/identity.ts';
import { closeSession } from '../../db/session.ts';
import { emailOf, openApi, type TestApi } from '../setup/api.ts';
import { TEST_PASSWORD } from '../setup/tenant.ts';

let api: TestApi;
let clock = Date.now();

beforeAll(async () => {
  api = await openApi({
    now: () => new Date(clock),
    limits: { signInFailuresPerAddress: 3, signInWindowSeconds: 60 },
  });
});
afterAll(() => api.close());

const signIn = (json: unknown) => api.send({ path: '/auth/sign-in', as: null, json });
const me = (token: string | null) => api.send({ path: '/auth/me', as: token });

describe('sign-in', () => {
  test('gives tokens that say who it is, and what the role may do', async () => {
    const email = emailOf(api.lab.tenantId, 'guest');
    const granted = await signIn({ email: email.toUpperCase(), password: TEST_PASSWORD });
    expect(granted.status).toBe(200);
    expect(granted.headers.get('cache-control')).toBe('no-store');
    const answer = await me(granted.body.accessToken);
    expect(answer.body).toMatchObject({
      user: { email, role: 'guest' },
      tenant: { id: api.lab.tenantId },
      actions: ['session.own', 'location.read'],
    });
    expect(answer.body.station).toBeUndefined();
  });

  test('at a station carries the station, and a wrong secret is no sign-in', async () => {
    const station = await enrolStation(
      api.lab.app,
      { actor: api.lab.administrator },
      { name: 'Bench 1', robotId: null },
    );
    const email = emailOf(api.lab.tenantId, 'lab_technician');
    const granted = await signIn({
      email,
      password: TEST_PASSWORD,
      station: { id: station.id, secret: station.secret },
    });
    expect((await me(granted.body.accessToken)).body.station).toEqual({ id: station.id, name: 'Bench 1' });
    const refused = await signIn({
      email,
      password: TEST_PASSWORD,
      station: { id: station.id, secret: 'x'.repeat(43) },
    });
    expect(refused.status).toBe(401);
  });

  test('tells an unknown address, a wrong password and a foreign station with one sentence', async () => {
    const station = await enrolStation(
      api.lab.app,
      { actor: api.stranger.actor },
      { name: 'Elsewhere', robotId: null },
    );
    const replies = await Promise.all([
      signIn({ email: 'nobody@example.org', password: 'wrong password' }),
      signIn({ email: emailOf(api.lab.tenantId, 'data_analyst'), password: 'wrong password' }),
      signIn({
        email: emailOf(api.lab.tenantId, 'research_scientist'),
        password: TEST_PASSWORD,
        station: { id: station.id, secret: station.secret },
      }),
    ]);
    expect(replies.map(({ status }) => status)).toEqual([401, 401, 401]);
    expect(new Set(replies.map(({ body }) => body.detail)).size).toBe(1);
  });

  test('slows down who guesses, however many tries come at once, and says for how long', async () => {
    const email = emailOf(api.lab.tenantId, 'principal_investigator');
    const tries = await Promise.all(
      Array.from({ length: 6 }, () => signIn({ email, password: 'wrong password' })),
    );
    expect(tries.map(({ status }) => status).sort()).toEqual([401, 401, 401, 429, 429, 429]);
    const waiting = await signIn({ email, password: TEST_PASSWORD });
    expect(waiting.status).toBe(429);
    expect(Number(waiting.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(waiting.body.code).toBe('RATE_LIMITED');
  });

  test('is locked out from nowhere but the host the failures came from, as the proxy names it', async () => {
    const email = emailOf(api.lab.tenantId, 'research_scientist');
    const behindProxy = createApp({
      ...api.dependencies,
      proxyHops: 1,
      limits: { signInFailuresPerAddressAndHost: 2 },
    });
    const from = async (forwarded: string, password: string) => {
      const headers = { 'content-type': 'application/json', 'x-forwarded-for': forwarded };
      const body = JSON.stringify({ email, password });
      return (await behindProxy.request('/auth/sign-in', { method: 'POST', headers, body })).status;
    };
    // What stands further left is the sender's own invention.
    for (const claimed of ['203.0.113.1', '203.0.113.2'])
      expect(await from(`${claimed}, 192.0.2.1`, 'wrong password')).toBe(401);
    expect(await from('203.0.113.3, 192.0.2.1', TEST_PASSWORD)).toBe(429);
    expect(await from('192.0.2.2', TEST_PASSWORD)).toBe(200);
  });

  test('right passwords do not use up the tries', async () => {
    const email = emailOf(api.lab.tenantId, 'lab_administrator');
    for (let count = 0; count < 5; count++) {
      expect((await signIn({ email, password: TEST_PASSWORD })).status).toBe(200);
    }
  });
});

describe('refresh and sign-out', () => {
  const email = () => emailOf(api.lab.tenantId, 'lab_administrator');

  test('a refresh token works once; used twice it closes the session', async () => {
    const first = (await signIn({ email: email(), password: TEST_PASSWORD })).body;
    const refresh = (refreshToken: string) =>
      api.send({ path: '/auth/refresh', as: null, json: { refreshToken } });
    const second = await refresh(first.refreshToken);
    expect(second.status).toBe(200);
    expect(second.body.refreshToken).not.toBe(first.refreshToken);
    expect((await refresh(first.refreshToken)).status).toBe(401);
    expect((await refresh(second.body.refreshToken)).status).toBe(401);
    clock += 4_500;
    expect((await me(second.body.accessToken)).status).toBe(401);
  });

  test('after sign-out the token is refused at once', async () => {
    const { accessToken } = (await signIn({ email: email(), password: TEST_PASSWORD })).body;
    const out = await api.send({ method: 'POST', path: '/auth/sign-out', as: accessToken });
    expect(out.status).toBe(204);
    const after = await me(accessToken);
    expect(after.status).toBe(401);
    expect(after.headers.get('www-authenticate')).toContain('Bearer');
  });

  test('a session closed elsewhere is heard of within 5 s, also after a quiet spell', async () => {
    const { token, sessionId } = await api.tokenFor(api.people.guest.actor);
    expect((await me(token)).status).toBe(200);
    await closeSession(api.lab.app, api.lab.administrator, sessionId, 'revoked');
    clock += 5_000;
    const answer = await me(token);
    expect(answer.status).toBe(401);
    expect(answer.body.detail).toContain('closed');
  });

  test('a token whose session was closed before this process saw it is refused', async () => {
    const { token, sessionId } = await api.tokenFor(api.people.guest.actor);
    await closeSession(api.lab.app, api.lab.administrator, sessionId, 'revoked');
    clock += 5_000;
    expect((await me(token)).status).toBe(401);
  });

  test('ends with its time, cached or not', async () => {
    const { token } = await api.tokenFor(api.people.guest.actor);
    expect((await me(token)).status).toBe(200);
    clock += 15 * 60_000 + 6_000;
    const cached = await me(token);
    expect(cached.status).toBe(401);
    expect(cached.body.detail).toContain('expired');
    expect((await me(token)).body.detail).toContain('expired');
  });
});

describe('tokens that were not issued here', () => {
  const claims = () => ({
    tid: api.lab.tenantId,
    sid: api.people.guest.sessionId,
    role: 'lab_administrator',
  });
  const seconds = () => Math.floor(clock / 1000);
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const payload = (changed: Record<string, unknown> = {}) => ({
    ...claims(),
    iss: ISSUER,
    aud: AUDIENCE,
    sub: api.people.guest.actor.userId,
    jti: crypto.randomUUID(),
    iat: seconds(),
    exp: seconds() + 600,
    ...changed,
  });
  const header = (changed: Record<string, unknown> = {}) => ({
    alg: 'EdDSA',
    typ: TOKEN_TYPE,
    kid: api.key.kid,
    ...changed,
  });
  const signed = (head: unknown, content: unknown) => {
    const input = `${base64(head)}.${base64(content)}`;
    return `${input}.${sign(null, Buffer.from(input), api.key.privateKey).toString('base64url')}`;
  };
  const publicPem = () => api.key.publicKey.export({ type: 'spki', format: 'pem' });
  const hmac = (secret: string | Buffer) => {
    const input = `${base64(header({ alg: 'HS256' }))}.${base64(payload())}`;
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };

  test('one made by hand with the right key and claims is taken', async () => {
    expect((await me(signed(header(), payload()))).status).toBe(200);
  });

  const forgeries: Record<string, () => string | Promise<string>> = {
    'algorithm none': () => `${base64(header({ alg: 'none' }))}.${base64(payload())}.`,
    'HS256 with the public key as secret (PEM)': () => hmac(publicPem().toString()),
    'HS256 with the public key as secret (raw)': () => hmac(Buffer.from(api.key.jwk.x, 'base64url')),
    'another key': () =>
      new SignJWT(payload())
        .setProtectedHeader({ alg: 'EdDSA', typ: TOKEN_TYPE })
        .sign(generateKeyPairSync('ed25519').privateKey),
    'a key brought along in the header': () => {
      const own = generateKeyPairSync('ed25519');
      const input = `${base64(header({ jwk: own.publicKey.export({ format: 'jwk' }) }))}.${base64(payload())}`;
      return `${input}.${sign(null, Buffer.from(input), own.privateKey).toString('base64url')}`;
    },
    'another type': () => signed(header({ typ: 'JWT' }), payload()),
    'no type': () => signed(header({ typ: undefined }), payload()),
    'another audience': () => signed(header(), payload({ aud: 'somebody-else' })),
    'another issuer': () => signed(header(), payload({ iss: 'somebody-else' })),
    expired: () => signed(header(), payload({ iat: seconds() - 700, exp: seconds() - 100 })),
    'issued too long ago, whatever its end': () =>
      signed(header(), payload({ iat: seconds() - 86_400, exp: seconds() + 86_400 })),
    'issued in the future': () =>
      signed(header(), payload({ iat: seconds() + 3_600, exp: seconds() + 4_000 })),
    'no end': () => signed(header(), payload({ exp: undefined })),
    'no id': () => signed(header(), payload({ jti: undefined })),
    'no session': () => signed(header(), payload({ sid: undefined })),
    'no tenant': () => signed(header(), payload({ tid: undefined })),
    'a tenant that is no id': () => signed(header(), payload({ tid: "' OR true --" })),
    'a role nobody has': () => signed(header(), payload({ role: 'root' })),
    'changed content': () => {
      const [head, , signature] = signed(header(), payload()).split('.');
      return `${head}.${base64(payload({ role: 'lab_administrator' }))}.${signature}`;
    },
    'a critical extension': () => signed(header({ crit: ['exp'] }), payload()),
  };
  test.each(Object.entries(forgeries))('%s', async (_name, forge) => {
    const answer = await me(await forge());
    expect(answer.status).toBe(401);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(answer.body.code).toBe('UNAUTHENTICATED');
  });

  test('one token has one spelling', async () => {
    const token = signed(header(), payload());
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    // 64 bytes of signature end in a character of which two bits count for nothing.
    const last = alphabet.indexOf(token.slice(-1));
    const other = token.slice(0, -1) + alphabet.charAt(last ^ 1);
    expect(Buffer.from(other.split('.')[2] ?? '', 'base64url')).toEqual(
      Buffer.from(token.split('.')[2] ?? '', 'base64url'),
    );
    for (const spelling of [other, `${token}=`, `${token}==`, token.replace('.', '\n.'), `${token} `]) {
      const answer = await api.app.request('/auth/me', {
        headers: { authorization: `Bearer ${spelling.replace('\n', '\t')}` },
      });
      // A space at the end is no part of a header's value.
      expect(answer.status, JSON.stringify(spelling.slice(-5))).toBe(spelling.endsWith(' ') ? 200 : 401);
    }
  });

  test.each([
    '',
    'Bearer',
    'Bearer ',
    'Basic YTpi',
    'Bearer a.b',
    'Bearer a.b.c.d',
    `Bearer ${'a'.repeat(5000)}.b.c`,
  ])('header %j', async (authorization) => {
    const answer = await api.app.request('/auth/me', { headers: { authorization } });
    expect(answer.status).toBe(401);
  });

  test('the public key is told to whoever wants to verify, the private one is not', async () => {
    const keys = await api.send({ path: '/.well-known/jwks.json', as: null });
    expect(keys.body.keys).toEqual([api.key.jwk]);
    expect(JSON.stringify(keys.body)).not.toContain('"d"');
  });
});
