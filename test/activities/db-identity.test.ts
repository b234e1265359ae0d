import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../db/connection.ts';
import { forgetExpired } from '../../db/expiry.ts';
import {
  createTenant,
  createUser,
  enrolStation,
  listTenants,
  stationById,
  userById,
  verifySignIn,
  verifyStation,
} from '../../db/identity.ts';
import { hashPassword, passwordMatches } from '../../db/password.ts';
import { closedSessionsSince, closeSession, openSession, rotateRefreshToken } from '../../db/session.ts';
import { read } from '../../db/tenancy.ts';
import type { Actor } from '../../domain/actor.ts';
import { DEFAULT_LOCATION_TYPES } from '../../domain/location-type.ts';
import { openLaboratory, TEST_PASSWORD, type TestLaboratory } from '../setup/tenant.ts';

let laboratory: TestLaboratory;
let app: Database;
let actor: Actor;

beforeAll(async () => {
  laboratory = await openLaboratory();
  app = laboratory.app;
  actor = laboratory.administrator;
});
afterAll(() => laboratory.close());

const USER = {
  email: 'Lise@Example.org',
  displayName: 'Lise',
  role: 'lab_technician',
  password: TEST_PASSWORD,
} as const;

function entriesOf(aggregateId: string) {
  return read(
    app,
    actor.tenantId,
    app.kysely
      .selectFrom('event')
      .innerJoin('record_version', 'record_version.event_id', 'event.id')
      .select(['event.type', 'record_version.version', 'event.actor'])
      .where('record_version.aggregate_id', '=', aggregateId)
      .orderBy('record_version.version')
      .compile(),
  );
}

/** What other parts of the application, or time, will do: a person is disabled, a token expires. */
async function asAdmin(sql: string, values: unknown[]): Promise<void> {
  const client = new pg.Client({ connectionString: laboratory.database.adminUrl });
  await client.connect();
  try {
    await client.query(`SET session_replication_role = 'replica'`);
    await client.query(sql, values);
  } finally {
    await client.end();
  }
}

describe('a laboratory', () => {
  it('begins with its ledger, its administrator and the usual types of location, all recorded', async () => {
    const { tenantId, administrator } = await createTenant(laboratory.owner, {
      name: 'New laboratory',
      administrator: { email: 'new@example.org', displayName: 'New', password: TEST_PASSWORD },
    });
    expect((await listTenants(app)).filter((tenant) => tenant.id === tenantId)).toEqual([
      { id: tenantId, name: 'New laboratory' },
    ]);
    const types = await read(
      app,
      tenantId,
      app.kysely.selectFrom('location_type').select('code').orderBy('code').compile(),
    );
    expect(types.map((type) => type.code)).toEqual(DEFAULT_LOCATION_TYPES.map((type) => type.code).sort());
    const [log] = await read(app, tenantId, app.kysely.selectFrom('ledger.log').select('size').compile());
    expect(log?.size).toBe(2 + types.length);
    expect(await userById(app, tenantId, administrator.userId)).toMatchObject({ role: 'lab_administrator' });
  });

  it('has a name of its own', async () => {
    const again = createTenant(laboratory.owner, {
      name: 'New laboratory',
      administrator: { email: 'other@example.org', displayName: 'O', password: TEST_PASSWORD },
    });
    await expect(again).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    expect(await verifySignIn(app, 'other@example.org', TEST_PASSWORD)).toBeNull();
  });

  it('cannot be created by the application’s role', async () => {
    const attempt = createTenant(app, {
      name: 'By the application',
      administrator: { email: 'app@example.org', displayName: 'A', password: TEST_PASSWORD },
    });
    await expect(attempt).rejects.toThrow(/permission denied for table tenant/);
  });
});

describe('a person', () => {
  it('is recorded without password, address or name in clear', async () => {
    const user = await createUser(app, { actor, comment: 'joined today' }, USER);
    expect(await userById(app, actor.tenantId, user.id)).toEqual({ ...user, email: 'lise@example.org' });
    expect(await entriesOf(user.id)).toEqual([
      { type: 'identity.user.created', version: 1, actor: actor.userId },
    ]);
    const [version] = await read(
      app,
      actor.tenantId,
      app.kysely.selectFrom('record_version').select('content').where('aggregate_id', '=', user.id).compile(),
    );
    const content = version?.content.toString('utf8') ?? '';
    expect(JSON.parse(content).after.role).toBe('lab_technician');
    for (const secret of ['argon2', 'lise', 'Lise', 'joined']) expect(content).not.toContain(secret);
  });

  it('has an address that is unique in all laboratories, in whatever case', async () => {
    const elsewhere = await laboratory.addTenant();
    for (const who of [actor, elsewhere]) {
      await expect(
        createUser(app, { actor: who }, { ...USER, email: 'LISE@example.ORG' }),
      ).rejects.toMatchObject({
        code: 'CONFLICT',
      });
    }
  });

  it('is not seen from another laboratory', async () => {
    const elsewhere = await laboratory.addTenant();
    expect(await userById(app, elsewhere.tenantId, actor.userId)).toBeUndefined();
  });

  it('entered twice at the same moment is entered once', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => createUser(app, { actor }, { ...USER, email: 'race@example.org' })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });
});

describe('signing in', () => {
  it('needs address and password of a user who is not disabled', async () => {
    expect(await verifySignIn(app, 'lise@example.org', TEST_PASSWORD)).toMatchObject({ displayName: 'Lise' });
    expect(await verifySignIn(app, 'LISE@example.org', TEST_PASSWORD)).not.toBeNull();
    expect(await verifySignIn(app, 'lise@example.org', 'wrong')).toBeNull();
    expect(await verifySignIn(app, 'nobody@example.org', TEST_PASSWORD)).toBeNull();
    expect(await verifySignIn(app, `' OR true --`, TEST_PASSWORD)).toBeNull();
    await asAdmin('UPDATE app_user SET disabled_at = now() WHERE email = $1', ['lise@example.org']);
    expect(await verifySignIn(app, 'lise@example.org', TEST_PASSWORD)).toBeNull();
    await asAdmin('UPDATE app_user SET disabled_at = NULL WHERE email = $1', ['lise@example.org']);
  });

  it('stores argon2id with the pinned cost, and a salt of its own for each', async () => {
    const [one, other] = await Promise.all([hashPassword('p'), hashPassword('p')]);
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(one).not.toBe(other);
    expect(await passwordMatches('p', one)).toBe(true);
    expect(await passwordMatches('P', one)).toBe(false);
  });

  it('works as long for an address nobody has: the time does not tell which exist', async () => {
    const stored = await hashPassword('p');
    const median = async (hash: string | null) => {
      const times: number[] = [];
      for (let i = 0; i < 15; i++) {
        const since = performance.now();
        await passwordMatches('guess', hash);
        times.push(performance.now() - since);
      }
      return times.sort((a, b) => a - b)[7] ?? 0;
    };
    const [known, unknown] = [await median(stored), await median(null)];
    // Without the work it would be a hundredth; other load on the machine stays within this.
    expect(unknown).toBeGreaterThan(known / 3);
    expect(await passwordMatches('', null)).toBe(false);
  });
});

describe('a station', () => {
  it('proves itself by its secret, in its own laboratory, as long as it is in use', async () => {
    const station = await enrolStation(app, { actor }, { name: 'Bench 1', robotId: null });
    const { secret, ...known } = station;
    expect(await verifyStation(app, actor.tenantId, station.id, secret)).toEqual(known);
    expect(await stationById(app, actor.tenantId, station.id)).toEqual(known);
    expect(await verifyStation(app, actor.tenantId, station.id, `${secret}x`)).toBeNull();
    expect(await verifyStation(app, actor.tenantId, station.id, '')).toBeNull();
    const elsewhere = await laboratory.addTenant();
    expect(await verifyStation(app, elsewhere.tenantId, station.id, secret)).toBeNull();
    expect(await entriesOf(station.id)).toHaveLength(1);
    await asAdmin('UPDATE station SET retired_at = now() WHERE id = $1', [station.id]);
    expect(await verifyStation(app, actor.tenantId, station.id, secret)).toBeNull();
    expect(await stationById(app, actor.tenantId, station.id)).toBeUndefined();
  });

  it('has a name of its own, and stands at a robot that exists', async () => {
    const again = enrolStation(app, { actor }, { name: 'Bench 1', robotId: null });
    await expect(again).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    const nowhere = enrolStation(app, { actor }, { name: 'Bench 2', robotId: actor.userId });
    await expect(nowhere).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('a session', () => {
  it('is opened, refreshed and closed, and says so in the ledger', async () => {
    const opened = await openSession(app, actor);
    expect(opened.refreshToken.startsWith(`${actor.tenantId}.`)).toBe(true);
    const refreshed = await rotateRefreshToken(app, opened.refreshToken);
    expect(refreshed).toMatchObject({ sessionId: opened.sessionId, actor });
    expect(refreshed.refreshToken).not.toBe(opened.refreshToken);
    const before = new Date(Date.now() - 60_000);
    expect(await closeSession(app, actor, opened.sessionId, 'signed_out')).toBe(true);
    expect(await closeSession(app, actor, opened.sessionId, 'revoked')).toBe(false);
    expect((await closedSessionsSince(app, before)).map((closed) => closed.sessionId)).toContain(
      opened.sessionId,
    );
    expect(await closedSessionsSince(app, new Date(Date.now() + 60_000))).toEqual([]);
    await expect(rotateRefreshToken(app, refreshed.refreshToken)).rejects.toMatchObject({
      code: 'UNAUTHENTICATED',
    });
    expect((await entriesOf(opened.sessionId)).map((entry) => entry.type)).toEqual([
      'identity.session.opened',
      'identity.session.closed',
    ]);
  });

  it('is closed when a refresh token is presented twice: for the thief and for the owner', async () => {
    const opened = await openSession(app, actor);
    const owner = await rotateRefreshToken(app, opened.refreshToken);
    await expect(rotateRefreshToken(app, opened.refreshToken)).rejects.toThrow(/used before/);
    await expect(rotateRefreshToken(app, owner.refreshToken)).rejects.toThrow(/closed/);
    const [session] = await read(
      app,
      actor.tenantId,
      app.kysely.selectFrom('session').select('close_reason').where('id', '=', opened.sessionId).compile(),
    );
    expect(session?.close_reason).toBe('refresh_reused');
  });

  it('gives one new token when the same one is presented many times at once', async () => {
    const opened = await openSession(app, actor);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, () => rotateRefreshToken(app, opened.refreshToken)),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('is not refreshed with a token that is expired, foreign, mangled or unknown', async () => {
    const opened = await openSession(app, actor);
    const secret = opened.refreshToken.split('.')[1];
    const elsewhere = await laboratory.addTenant();
    for (const token of [
      '',
      'x',
      opened.refreshToken.slice(1),
      `${elsewhere.tenantId}.${secret}`,
      `${opened.refreshToken}x`,
    ]) {
      await expect(rotateRefreshToken(app, token), token).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    }
    await asAdmin(`UPDATE refresh_token SET expires_at = now() WHERE session_id = $1`, [opened.sessionId]);
    await expect(rotateRefreshToken(app, opened.refreshToken)).rejects.toThrow(/expired/);
    expect(await forgetExpired(app, actor.tenantId)).toEqual({ idempotencyKeys: 0, refreshTokens: 1 });
    await expect(rotateRefreshToken(app, opened.refreshToken)).rejects.toThrow(/Nobody knows/);
  });

  it('is not refreshed for a disabled user or at a retired station; a change of role is heard', async () => {
    const user = await createUser(app, { actor }, { ...USER, email: 'marie@example.org' });
    const station = await enrolStation(app, { actor }, { name: 'Bench 3', robotId: null });
    const marie: Actor = { ...actor, userId: user.id, role: user.role, stationId: station.id };
    let token = (await openSession(app, marie)).refreshToken;
    await asAdmin(`UPDATE app_user SET role = 'guest' WHERE id = $1`, [user.id]);
    const refreshed = await rotateRefreshToken(app, token);
    expect(refreshed.actor).toEqual({ ...marie, role: 'guest' });
    token = refreshed.refreshToken;
    await asAdmin('UPDATE station SET retired_at = now() WHERE id = $1', [station.id]);
    await expect(rotateRefreshToken(app, token)).rejects.toThrow(/station has been retired/);
    await asAdmin('UPDATE station SET retired_at = NULL WHERE id = $1', [station.id]);
    await asAdmin('UPDATE app_user SET disabled_at = now() WHERE id = $1', [user.id]);
    await expect(rotateRefreshToken(app, token)).rejects.toThrow(/disabled/);
  });

  it('keeps no token, only its digest', async () => {
    const opened = await openSession(app, actor);
    const rows = await read(
      app,
      actor.tenantId,
      app.kysely.selectFrom('refresh_token').selectAll().where('session_id', '=', opened.sessionId).compile(),
    );
    expect(JSON.stringify(rows)).not.toContain(opened.refreshToken.split('.')[1]);
    expect(rows[0]?.digest).toHaveLength(32);
  });
});
