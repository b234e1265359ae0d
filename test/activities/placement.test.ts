import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { releasePositions } from '../../db/handoff.ts';
import { blockPosition } from '../../db/location-service.ts';
import { findLocation } from '../../db/locations.ts';
import { type ReserveOptions, type ReserveResult, reserveTarget } from '../../db/placement.ts';
import { holdWithoutExpiry } from '../../db/places.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Target } from '../../domain/order.ts';
import type { SampleNeed } from '../../domain/placement.ts';
import {
  addJob,
  addLocation,
  openStore,
  positionsOf,
  type TestStore,
  wrongCounters,
} from '../setup/store.ts';

const PLASMA: SampleNeed = { zone: '-80', type: 'plasma', project: null };
const LEASE_MS = 60_000;

let store: TestStore;
let freezer: string;

beforeAll(async () => {
  store = await openStore(32);
  const site = await addLocation(store, { type: 'site', name: 'Main' });
  freezer = await addLocation(store, { type: 'freezer', name: 'F1', parent: site });
});
afterAll(() => store.lab.close());

function reserve(
  target: Target,
  need: SampleNeed = PLASMA,
  options: ReserveOptions = {},
  leaseMs = LEASE_MS,
): Promise<ReserveResult & { jobId: string }> {
  return addJob(store).then(async (jobId) => ({
    ...(await inTenant(store.db, store.tenantId, (tx) =>
      reserveTarget(tx, store.tenantId, jobId, need, target, leaseMs, options),
    )),
    jobId,
  }));
}

function release(jobId: string): Promise<number> {
  return inTenant(store.db, store.tenantId, (tx) => releasePositions(tx, store.tenantId, jobId));
}

describe('the last free position of a box', () => {
  test.each(['chosen', 'named'] as const)(
    'goes to one of 64 callers (%s); the other 63 hear of the next free one elsewhere',
    async (kind) => {
      const box = await addLocation(store, {
        type: 'box_5x5',
        name: `last-${kind}`,
        parent: freezer,
        grid: { rows: 1, columns: 1, rowLabels: 'upper', columnLabels: 'number' },
      });
      const elsewhere = await addLocation(store, { type: 'box_5x5', name: `next-${kind}`, parent: freezer });
      const [last] = await positionsOf(store, box);
      const target: Target = kind === 'chosen' ? { kind, withinId: box } : { kind, positionId: String(last) };
      const results = await Promise.all(Array.from({ length: 64 }, () => reserve(target)));
      const winners = results.filter((result) => result.outcome === 'reserved');
      const losers = results.filter((result) => result.outcome === 'refused');
      expect(winners).toHaveLength(1);
      expect(losers).toHaveLength(63);
      for (const { refusal } of losers) {
        expect(refusal.code).toBe(kind === 'chosen' ? 'NO_POSITION_FREE' : 'POSITION_OCCUPIED');
        expect(refusal.facts?.nextFree).toMatchObject({ label: 'A1' });
        expect(refusal.detail).toContain('the next free position is A1 of Box 5×5');
        expect(refusal.facts?.nextFree).not.toMatchObject({ containerId: box });
      }
      expect(await wrongCounters(store)).toEqual([]);
      for (const winner of winners) await release(winner.jobId);
      await blockPosition(store.db, { ...store.context, reason: 'blocking' }, elsewhere, 'A1', 'test over');
    },
  );
});

test('a position that a live job holds without end goes to nobody else', async () => {
  const box = await addLocation(store, {
    type: 'box_5x5',
    name: 'held',
    parent: freezer,
    grid: { rows: 1, columns: 2, rowLabels: 'upper', columnLabels: 'number' },
  });
  const [first, second] = await positionsOf(store, box);
  const holder = await reserve({ kind: 'named', positionId: String(first) }, PLASMA, {}, 1);
  await inTenant(store.db, store.tenantId, (tx) => holdWithoutExpiry(tx, store.tenantId, holder.jobId));
  expect(await reserve({ kind: 'named', positionId: String(first) })).toMatchObject({
    outcome: 'refused',
    refusal: { code: 'POSITION_OCCUPIED' },
  });
  expect(await reserve({ kind: 'chosen', withinId: box })).toMatchObject({
    outcome: 'reserved',
    position: { positionId: second },
  });
  expect(await reserve({ kind: 'chosen', withinId: box })).toMatchObject({
    outcome: 'refused',
    refusal: { code: 'NO_POSITION_FREE' },
  });
  await release(holder.jobId);
  expect(await wrongCounters(store)).toEqual([]);
});

test('64 callers at once for a box of 81 get 64 positions, and the counters agree', async () => {
  const box = await addLocation(store, { type: 'box_9x9', name: 'crowd', parent: freezer });
  const results = await Promise.all(
    Array.from({ length: 64 }, () => reserve({ kind: 'chosen', withinId: box })),
  );
  const positions = results.flatMap((result) =>
    result.outcome === 'reserved' ? [result.position.positionId] : [],
  );
  expect(new Set(positions).size).toBe(64);
  expect(await wrongCounters(store)).toEqual([]);
  expect((await findLocation(store.db, store.tenantId, box)).positions).toMatchObject({
    reserved: 64,
    free: 17,
  });
  await Promise.all(results.map((result) => release(result.jobId)));
  expect(await wrongCounters(store)).toEqual([]);
});
