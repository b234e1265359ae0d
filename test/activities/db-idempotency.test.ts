import { createHash, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withChange } from '../../db/change.ts';
import type { Database } from '../../db/connection.ts';
import { forgetExpired } from '../../db/expiry.ts';
import { findStoredReply, type KeyedRequest, storeReply, takeKeyForJob } from '../../db/idempotency.ts';
import { inTenant, read } from '../../db/tenancy.ts';
import type { Actor } from '../../domain/actor.ts';
import { openLaboratory, type TestLaboratory } from '../setup/tenant.ts';

let laboratory: TestLaboratory;
let app: Database;
let actor: Actor;

beforeAll(async () => {
  laboratory = await openLaboratory({ max: 16 });
  app = laboratory.app;
  actor = laboratory.administrator;
});
afterAll(() => laboratory.close());

const digest = (text: string) => createHash('sha256').update(text).digest();
const request = (key: string, body = 'body', who: Actor = actor): KeyedRequest => ({
  tenantId: who.tenantId,
  actorId: who.userId,
  keyHash: digest(key),
  bodyHash: digest(body),
});
const find = (key: KeyedRequest) => findStoredReply(app, key.tenantId, key.actorId, key.keyHash);
const store = (key: KeyedRequest, reply: unknown, status = 201) =>
  inTenant(app, key.tenantId, (tx) => storeReply(tx, { ...key, status, reply, location: '/x' }));

async function insertJob(): Promise<string> {
  const id = randomUUID();
  await inTenant(app, actor.tenantId, (tx) =>
    sql`INSERT INTO job (tenant_id, id, kind, mode, workflow_id, sample_id, actor_id, actor_role, input)
        VALUES (${actor.tenantId}, ${id}, 'move', 'hand', 'w', ${id}, ${actor.userId}, 'guest', '{}')`.execute(
      tx,
    ),
  );
  return id;
}

/** Makes a key as old as one may get, and a bit older. */
const age = (key: KeyedRequest, interval: string) =>
  inTenant(app, key.tenantId, (tx) =>
    tx
      .updateTable('idempotency_key')
      .set({ created_at: sql<Date>`now() - ${interval}::interval` })
      .where('key_hash', '=', key.keyHash)
      .execute(),
  );

describe('an idempotency key', () => {
  it('finds the stored reply, whatever JSON it is', async () => {
    for (const [i, reply] of [{ a: [1, 'x', null] }, [1, 2], 'text', 0, null, undefined].entries()) {
      const key = request(`reply ${i}`);
      expect(await find(key)).toBeUndefined();
      await store(key, reply);
      expect(await find(key)).toEqual({
        bodyHash: key.bodyHash,
        jobId: null,
        status: 201,
        reply: reply ?? null,
        location: '/x',
      });
    }
  });

  it('belongs to one tenant and one actor', async () => {
    await store(request('mine'), 1);
    const elsewhere = await laboratory.addTenant();
    expect(await find(request('mine', 'body', elsewhere))).toBeUndefined();
    expect(await find(request('mine', 'body', { ...actor, userId: randomUUID() }))).toBeUndefined();
    await store(request('mine', 'other', elsewhere), 2);
  });

  it('keeps the first reply: a second one fails, and with another body says so', async () => {
    const key = request('first');
    await store(key, 1);
    await expect(store(key, 2)).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_BUSY' });
    await expect(store(request('first', 'another'), 3)).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    });
    expect((await find(key))?.reply).toBe(1);
  });

  it('lets one of many simultaneous requests change something, and takes the others’ changes back', async () => {
    const key = request('race');
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, (_, i) =>
        withChange(app, { actor, reason: 'setup' }, async ({ tx, record }) => {
          const { id } = await tx
            .insertInto('station')
            .values({ tenant_id: actor.tenantId, name: `Race ${i}`, secret_hash: 'x' })
            .returning('id')
            .executeTakeFirstOrThrow();
          record({
            aggregate: 'station',
            aggregateId: id,
            version: 1,
            type: 'identity.station.enrolled',
            from: null,
            to: 'active',
            before: null,
            after: {},
            data: {},
          });
          await storeReply(tx, { ...key, status: 201, reply: { id }, location: null });
          return id;
        }),
      ),
    );
    const won = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    const lost = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason.code] : []));
    expect(won).toHaveLength(1);
    expect(new Set(lost)).toEqual(new Set(['IDEMPOTENCY_KEY_BUSY']));
    expect((await find(key))?.reply).toEqual({ id: won[0] });
    const stations = await read(
      app,
      actor.tenantId,
      app.kysely.selectFrom('station').select('id').where('name', 'like', 'Race %').compile(),
    );
    expect(stations).toEqual([{ id: won[0] }]);
  });

  it('of a change that failed is free again', async () => {
    const key = request('failed');
    const failing = inTenant(app, actor.tenantId, async (tx) => {
      await storeReply(tx, { ...key, status: 201, reply: 1, location: null });
      throw new Error('later');
    });
    await expect(failing).rejects.toThrow('later');
    expect(await find(key)).toBeUndefined();
    await store(key, 2);
  });

  it('of a process finds its job first, then its reply', async () => {
    const key = request('process');
    const [jobId, other] = [await insertJob(), await insertJob()];
    const take = (id: string, taking = key) =>
      inTenant(app, actor.tenantId, (tx) => takeKeyForJob(tx, taking, id));
    await take(jobId);
    expect(await find(key)).toMatchObject({ jobId, status: null, reply: null });
    await expect(take(other)).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_BUSY' });
    await expect(take(other, request('process', 'x'))).rejects.toMatchObject({
      code: 'IDEMPOTENCY_KEY_REUSED',
    });
    await expect(store(request('process', 'x'), 1)).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
    await store(key, { jobId }, 202);
    expect(await find(key)).toMatchObject({ jobId, status: 202, reply: { jobId } });
    await expect(store(key, 1)).rejects.toMatchObject({ code: 'IDEMPOTENCY_KEY_BUSY' });
  });

  it('starts one of many simultaneous processes', async () => {
    const key = request('one process');
    const jobs = await Promise.all(Array.from({ length: 8 }, insertJob));
    const outcomes = await Promise.allSettled(
      jobs.map((id) => inTenant(app, actor.tenantId, (tx) => takeKeyForJob(tx, key, id))),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('is kept for 30 days, then forgotten and free for anything', async () => {
    const kept = request('kept');
    await store(kept, 1);
    await age(kept, '29 days 23 hours');
    expect(await find(kept)).toBeDefined();

    const jobId = await insertJob();
    const [forReply, forJob, deleted] = [request('old reply'), request('old job'), request('old')];
    for (const key of [forReply, forJob, deleted]) {
      await inTenant(app, actor.tenantId, (tx) => takeKeyForJob(tx, key, jobId));
      await age(key, '30 days 1 second');
      expect(await find(key)).toBeUndefined();
    }
    await store(request('old reply', 'new body'), 'new');
    expect(await find(forReply)).toMatchObject({ reply: 'new', jobId: null, bodyHash: digest('new body') });
    const again = await insertJob();
    await inTenant(app, actor.tenantId, (tx) => takeKeyForJob(tx, request('old job', 'new body'), again));
    expect(await find(forJob)).toMatchObject({ jobId: again, status: null });

    expect(await forgetExpired(app, actor.tenantId)).toEqual({ idempotencyKeys: 1, refreshTokens: 0 });
    expect(await find(kept)).toBeDefined();
  });
});
