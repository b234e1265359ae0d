import fc from 'fast-check';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withChange } from '../../db/change.ts';
import { releasePositions, reserveHandoff, robotForTarget } from '../../db/handoff.ts';
import { editLocation } from '../../db/location-changes.ts';
import { blockPosition, retireLocation } from '../../db/location-service.ts';
import { findLocation } from '../../db/locations.ts';
import { type ReserveOptions, type ReserveResult, reserveTarget } from '../../db/placement.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Target } from '../../domain/order.ts';
import type { SampleNeed } from '../../domain/placement.ts';
import {
  addJob,
  addLocation,
  openStore,
  positionsOf,
  storeSample,
  type TestStore,
  takeOut,
  wrongCounters,
} from '../setup/store.ts';

const LEASE_MS = 60_000;
const need = (changes: Partial<SampleNeed> = {}): SampleNeed => ({
  zone: '-80',
  type: 'plasma',
  project: null,
  ...changes,
});

let store: TestStore;
let site: string;
let count = 0;

beforeAll(async () => {
  store = await openStore(8);
  site = await addLocation(store, { type: 'site', name: 'Main' });
});
afterAll(() => store.lab.close());

/** A freezer of its own, so that tests do not meet. */
const freezer = (parent = site) => addLocation(store, { type: 'freezer', name: `F${++count}`, parent });
const box = (parent: string, changes: Partial<Parameters<typeof addLocation>[1]> = {}) =>
  addLocation(store, { type: 'box_5x5', name: `B${++count}`, parent, ...changes });
const within = (withinId: string): Target => ({ kind: 'chosen', withinId });
const named = (positionId: string | undefined): Target => ({ kind: 'named', positionId: String(positionId) });

async function reserve(
  target: Target,
  what: SampleNeed = need(),
  options: ReserveOptions = {},
  leaseMs = LEASE_MS,
): Promise<ReserveResult & { jobId: string }> {
  const jobId = await addJob(store);
  const result = await inTenant(store.db, store.tenantId, (tx) =>
    reserveTarget(tx, store.tenantId, jobId, what, target, leaseMs, options),
  );
  return { ...result, jobId };
}

async function reserved(...args: Parameters<typeof reserve>) {
  const result = await reserve(...args);
  if (result.outcome !== 'reserved') throw new Error(result.refusal.detail);
  return result;
}

async function refused(...args: Parameters<typeof reserve>) {
  const result = await reserve(...args);
  if (result.outcome !== 'refused') throw new Error(`reserved ${result.position.label}`);
  return result.refusal;
}

const edit = async (id: string, changes: { zone?: '-20'; sampleTypes?: readonly string[] }) => {
  const location = await findLocation(store.db, store.tenantId, id);
  return editLocation(store.db, { ...store.context, reason: 'edit' }, id, location.version, {
    name: location.name,
    barcode: location.barcode,
    zone: changes.zone ?? location.zone,
    sampleTypes: changes.sampleTypes ?? location.sampleTypes,
    robotAddress: location.robotAddress,
  });
};

describe('hard rules, for a choice and for a position that was named', () => {
  test('the temperature of the place is the one the sample needs', async () => {
    const place = await box(await freezer());
    const [first] = await positionsOf(store, place);
    for (const target of [within(place), named(first)]) {
      const refusal = await refused(target, need({ zone: '-20' }));
      expect(refusal.code).toBe('ZONE_MISMATCH');
      expect(refusal.detail).toContain('is at -80 (−85…−60 °C), and the sample needs -20 (−35…−18 °C)');
    }
  });

  test('the place takes the type of sample, as its parents say', async () => {
    const unit = await freezer();
    const place = await box(unit, { sampleTypes: ['serum', 'plasma'] });
    await edit(unit, { sampleTypes: ['serum'] });
    const [first] = await positionsOf(store, place);
    for (const target of [within(place), named(first)]) {
      const refusal = await refused(target);
      expect(refusal.code).toBe('TYPE_NOT_ACCEPTED');
      expect(refusal.detail).toContain('takes serum, not plasma');
    }
    expect((await reserved(within(unit), need({ type: 'serum' }))).position.label).toBe('A1');
  });

  test('nothing is stored in a retired place or in a hand-off', async () => {
    const unit = await freezer();
    const place = await box(unit);
    const handoff = await addLocation(store, { type: 'handoff', name: `H${++count}`, parent: unit });
    await retireLocation(store.db, { ...store.context, reason: 'retirement' }, place, 1);
    const [first] = await positionsOf(store, place);
    const [gate] = await positionsOf(store, handoff);
    expect((await refused(within(place))).code).toBe('LOCATION_RETIRED');
    expect((await refused(named(first))).code).toBe('LOCATION_RETIRED');
    expect((await refused(within(handoff))).code).toBe('CONFLICT');
    expect((await refused(named(gate))).code).toBe('CONFLICT');
    expect((await refused(within(unit))).code).toBe('NO_POSITION_FREE');
  });

  test('a blocked, occupied or leased position is not given away, and the next free one is told', async () => {
    const place = await box(await freezer());
    const [a1, a2, a3] = await positionsOf(store, place);
    await blockPosition(store.db, { ...store.context, reason: 'blocking' }, place, 'A1', 'bent');
    await storeSample(store, { barcode: `T-${uuidv7()}`, positionId: String(a2) });
    await reserved(named(a3));
    const blocked = await refused(named(a1));
    expect(blocked.code).toBe('POSITION_BLOCKED');
    expect(blocked.detail).toContain('is blocked (bent); the next free position is A4');
    const occupied = await refused(named(a2));
    expect(occupied).toMatchObject({
      code: 'POSITION_OCCUPIED',
      facts: { nextFree: { label: 'A4', containerId: place } },
    });
    expect((await refused(named(a3))).detail).toContain(
      'is reserved for another job; the next free position is A4',
    );
    expect((await reserved(within(place))).position.label).toBe('A4');
    expect((await refused(named(uuidv7()))).code).toBe('NOT_FOUND');
    expect((await refused(within(uuidv7()))).code).toBe('NOT_FOUND');
  });

  test('a lease that has run out may be taken, one without expiry never', async () => {
    const grid = { rows: 1, columns: 1, rowLabels: 'upper', columnLabels: 'number' } as const;
    const place = await box(await freezer(), { grid });
    const first = await reserved(within(place), need(), {}, 0);
    const second = await reserved(within(place));
    expect(second.position.positionId).toBe(first.position.positionId);
    expect((await refused(within(place))).code).toBe('NO_POSITION_FREE');
    await inTenant(store.db, store.tenantId, (tx) =>
      sql`UPDATE position SET lease_expires_at = NULL WHERE job_id = ${second.jobId}`.execute(tx),
    );
    expect((await refused(within(place))).code).toBe('NO_POSITION_FREE');
    expect((await refused(named(first.position.positionId))).code).toBe('POSITION_OCCUPIED');
    // The first job has nothing left to give back.
    expect(
      await inTenant(store.db, store.tenantId, (tx) => releasePositions(tx, store.tenantId, first.jobId)),
    ).toBe(0);
    expect(await wrongCounters(store)).toEqual([]);
  });

  test('rules edited between the look and the taking are asked again', async () => {
    const place = await box(await freezer());
    const results = await Promise.all(
      [
        edit(place, { sampleTypes: ['serum'] }),
        ...Array.from({ length: 12 }, () => reserve(within(place))),
      ].map((each) => Promise.allSettled([each])),
    );
    const edited = results[0]?.[0]?.status === 'fulfilled';
    const { rows } = await inTenant(store.db, store.tenantId, (tx) =>
      sql<{ n: number }>`SELECT count(*)::int AS n FROM position
        WHERE container_id = ${place} AND state = 'reserved'`.execute(tx),
    );
    const rules = (await findLocation(store.db, store.tenantId, place)).rules.sampleTypes;
    // Reservations of samples that are registered would stop the edit; these jobs have none, so both may stand.
    expect(rules).toEqual(edited ? ['serum'] : null);
    const later = await reserve(within(place));
    expect(later.outcome).toBe(edited ? 'refused' : 'reserved');
    expect(rows[0]?.n).toBeLessThanOrEqual(12);
  });
});

describe('strategy', () => {
  test('a project is kept together, then no further door is opened, then one box is filled before the next', async () => {
    const hall = await addLocation(store, { type: 'room', name: `R${++count}`, parent: site });
    const [near, far] = [await freezer(hall), await freezer(hall)];
    const empty = await box(far);
    const home = await box(near);
    const neighbour = await box(near);
    const project = `P-${uuidv7()}`;
    const [first] = await positionsOf(store, home);
    await storeSample(store, { barcode: `T-${uuidv7()}`, positionId: String(first), project });
    const chosen = await reserved(within(hall), need({ project }));
    expect(chosen.position).toMatchObject({ containerId: home, label: 'A2' });
    expect(chosen.explanation).toMatchObject({
      containerId: home,
      score: { keepTogether: 150, door: 10 },
    });
    expect(chosen.explanation.runnersUp.map((each) => each.containerId)).toEqual([neighbour, empty]);
    expect(chosen.explanation.runnersUp[0]?.lostBecause).toBe("it holds none of the project's tubes");
    // With the project's box full, its freezer is opened rather than another.
    const { rows } = await inTenant(store.db, store.tenantId, (tx) =>
      sql<{ id: string }>`SELECT id FROM position WHERE container_id = ${home} AND state = 'free'`.execute(
        tx,
      ),
    );
    for (const row of rows)
      await storeSample(store, { barcode: `T-${uuidv7()}`, positionId: row.id, project });
    const next = await reserved(within(hall), need({ project }));
    expect(next.position.containerId).toBe(neighbour);
    expect(next.explanation.runnersUp).toMatchObject([
      { containerId: empty, lostBecause: 'a further door would have to be opened' },
      { containerId: home, lostBecause: expect.stringContaining('none of its 25 positions is free') },
    ]);
  });

  test('tubes that are still on their way count for their project', async () => {
    const unit = await freezer();
    await box(unit);
    const second = await box(unit);
    const [at] = await positionsOf(store, second);
    const project = `P-${uuidv7()}`;
    const onItsWay = await reserved(named(at), need({ project }));
    await withChange(
      store.db,
      { ...store.context, reason: 'registered' },
      async ({ tx, record, recordedAt }) => {
        const id = uuidv7();
        const barcode = `T-${id}`;
        await tx
          .insertInto('barcode')
          .values({ tenant_id: store.tenantId, code: barcode, kind: 'sample', owner_id: id })
          .execute();
        await tx
          .insertInto('sample')
          .values({
            tenant_id: store.tenantId,
            id,
            barcode,
            type: 'plasma',
            project,
            zone: '-80',
            custody: 'person',
            holder_id: store.actor.userId,
            custody_since: recordedAt,
            witness: 'person',
            job_id: onItsWay.jobId,
          })
          .execute();
        record({
          aggregate: 'sample',
          aggregateId: id,
          version: 1,
          type: 'storage.sample.registered',
          from: null,
          to: `person:${store.actor.userId}`,
          before: null,
          after: {},
          data: {},
        });
      },
    );
    expect((await reserved({ kind: 'chosen', withinId: null }, need({ project }))).position.containerId).toBe(
      second,
    );
  });

  test('a tube that moves is not put into the box it stands in', async () => {
    const unit = await freezer();
    const [here, there] = [await box(unit), await box(unit)];
    const moved = await reserved(within(unit), need(), { exceptContainerId: here });
    expect(moved.position.containerId).toBe(there);
  });
});

describe('by robot', () => {
  let robotId: string;
  let unit: string;
  let handoff: string;
  let rack: string;

  beforeAll(async () => {
    unit = await freezer();
    handoff = await addLocation(store, {
      type: 'handoff',
      name: `H${++count}`,
      parent: site,
      robotAddress: { cassette: 1, level: 1 },
      grid: { rows: 1, columns: 2, rowLabels: 'upper', columnLabels: 'number' },
    });
    await box(unit); // by hand only
    rack = await box(unit, { robotAddress: { cassette: 2, level: 1 } });
    robotId = uuidv7();
    await withChange(store.db, store.context, async ({ tx, record }) => {
      await tx
        .insertInto('robot')
        .values({
          tenant_id: store.tenantId,
          id: robotId,
          name: 'R1',
          store_id: unit,
          handoff_id: handoff,
          host: '127.0.0.1',
          port: 502,
        })
        .execute();
      record({
        aggregate: 'robot',
        aggregateId: robotId,
        version: 1,
        type: 'automation.robot.registered',
        from: null,
        to: null,
        before: null,
        after: {},
        data: {},
      });
    });
  });

  test('only containers of its store with a cassette and a level are chosen', async () => {
    const chosen = await reserved({ kind: 'chosen', withinId: null }, need(), { robotId });
    expect(chosen.position.containerId).toBe(rack);
    expect(chosen.explanation.rules.map((each) => each.rule)).toContain('reach');
    const elsewhere = await freezer();
    await box(elsewhere, { robotAddress: { cassette: 2, level: 1 } });
    const refusal = await refused(within(elsewhere), need(), { robotId });
    expect(refusal.code).toBe('NO_POSITION_FREE');
    expect(refusal.facts?.nextFree).toMatchObject({ containerId: rack });
  });

  test('a named position out of its reach is refused', async () => {
    const [first] = await positionsOf(store, await box(unit));
    expect((await refused(named(first), need(), { robotId })).code).toBe('OUT_OF_REACH');
  });

  test('its hand-off is taken position by position, the one named or the first free', async () => {
    const [h1, h2] = await positionsOf(store, handoff);
    const take = async (positionId: string | null) => {
      const jobId = await addJob(store);
      return inTenant(store.db, store.tenantId, (tx) =>
        reserveHandoff(tx, store.tenantId, jobId, robotId, positionId, LEASE_MS),
      );
    };
    expect(await take(String(h2))).toMatchObject({
      outcome: 'reserved',
      position: { positionId: h2, label: 'A2' },
    });
    expect(await take(String(h2))).toMatchObject({ refusal: { code: 'POSITION_OCCUPIED' } });
    expect(await take(null)).toMatchObject({
      outcome: 'reserved',
      position: { positionId: h1, label: 'A1' },
    });
    expect(await take(null)).toMatchObject({ refusal: { code: 'NO_POSITION_FREE' } });
    const [elsewhere] = await positionsOf(store, rack);
    expect(await take(String(elsewhere))).toMatchObject({ refusal: { code: 'OUT_OF_REACH' } });
    expect(await take(uuidv7())).toMatchObject({ refusal: { code: 'NOT_FOUND' } });
    expect(await wrongCounters(store)).toEqual([]);
  });

  test('the robot for a target is the one that reaches it', async () => {
    const find = (target: Target) =>
      inTenant(store.db, store.tenantId, (tx) => robotForTarget(tx, store.tenantId, target));
    const [first] = await positionsOf(store, rack);
    expect(await find(named(first))).toBe(robotId);
    expect(await find({ kind: 'chosen', withinId: null })).toBe(robotId);
    expect(await find(within(site))).toBe(robotId);
    expect(await find(within(rack))).toBe(robotId);
    expect(await find(within(await freezer()))).toBeNull();
  });
});

test('counters agree with a count after any sequence of reservations, placements, blocks and releases', async () => {
  const unit = await freezer();
  const boxes = [await box(unit), await box(unit)];
  const operation = fc.record({
    kind: fc.constantFrom('reserve', 'release', 'store', 'take', 'block', 'unblock', 'abort'),
    box: fc.nat(1),
    pick: fc.nat(24),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 25 }), async (operations) => {
      const jobs: string[] = [];
      const samples: string[] = [];
      for (const { kind, box: which, pick } of operations) {
        const place = String(boxes[which]);
        const positions = await positionsOf(store, place);
        const at = String(positions[pick]);
        const blocking = { ...store.context, reason: 'blocking' } as const;
        const label = `${'ABCDE'[Math.floor(pick / 5)]}${(pick % 5) + 1}`;
        // What cannot be done in this state is refused, and must change nothing.
        await (kind === 'reserve'
          ? reserve(within(place)).then(({ jobId }) => jobs.push(jobId))
          : kind === 'release'
            ? inTenant(store.db, store.tenantId, (tx) =>
                releasePositions(tx, store.tenantId, jobs.pop() ?? uuidv7()),
              )
            : kind === 'store'
              ? storeSample(store, { barcode: `T-${uuidv7()}`, positionId: at }).then((id) =>
                  samples.push(id),
                )
              : kind === 'take'
                ? takeOut(store, samples.pop() ?? uuidv7())
                : kind === 'abort'
                  ? inTenant(store.db, store.tenantId, async (tx) => {
                      await reserveTarget(
                        tx,
                        store.tenantId,
                        await addJob(store),
                        need(),
                        within(place),
                        LEASE_MS,
                      );
                      throw new Error('rolled back');
                    })
                  : blockPosition(store.db, blocking, place, label, kind === 'block' ? 'test' : null)
        ).then(
          () => undefined,
          () => undefined,
        );
      }
      expect(await wrongCounters(store)).toEqual([]);
      for (const jobId of jobs) {
        await inTenant(store.db, store.tenantId, (tx) => releasePositions(tx, store.tenantId, jobId));
      }
      for (const id of samples) await takeOut(store, id);
      expect(await wrongCounters(store)).toEqual([]);
    }),
    { numRuns: 8 },
  );
});

test('crossing moves between two boxes do not wait for each other in a circle', async () => {
  const unit = await freezer();
  const [left, right] = [await box(unit), await box(unit)];
  const before = await deadlocks();
  await Promise.all(
    Array.from({ length: 24 }, async (_, index) => {
      const order = index % 2 === 0 ? [left, right] : [right, left];
      const jobId = await addJob(store);
      await inTenant(store.db, store.tenantId, async (tx) => {
        for (const place of order) {
          await reserveTarget(tx, store.tenantId, jobId, need(), within(String(place)), LEASE_MS);
        }
      });
    }),
  );
  expect(await wrongCounters(store)).toEqual([]);
  expect(await deadlocks()).toBe(before);
});

async function deadlocks(): Promise<number> {
  const { rows } = await inTenant(store.db, store.tenantId, (tx) =>
    sql<{
      deadlocks: number;
    }>`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`.execute(tx),
  );
  return rows[0]?.deadlocks ?? -1;
}
