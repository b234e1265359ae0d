import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canHold } from '../../db/can-hold.ts';
import { releasePositions } from '../../db/handoff.ts';
import { blockPosition, retireLocation } from '../../db/location-service.ts';
import { findLocation, readMap } from '../../db/locations.ts';
import { type ReserveResult, reserveTarget } from '../../db/placement.ts';
import { findReservation, listReservations } from '../../db/reservation-record.ts';
import {
  createReservation,
  freeExpiredReservations,
  type NewReservation,
  releaseReservation,
} from '../../db/reservations.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Target } from '../../domain/order.ts';
import {
  addJob,
  addLocation,
  openStore,
  positionsOf,
  storeSample,
  type TestStore,
  wrongCounters,
} from '../setup/store.ts';

let store: TestStore;
let site: string;
let count = 0;
const HOUR_MS = 3_600_000;

beforeAll(async () => {
  store = await openStore(20);
  site = await addLocation(store, { type: 'site', name: 'Main' });
});
afterAll(() => store.lab.close());

const freezer = (changes: Partial<Parameters<typeof addLocation>[1]> = {}) =>
  addLocation(store, { type: 'freezer', name: `F${++count}`, parent: site, ...changes });
const box = (parent: string) => addLocation(store, { type: 'box_5x5', name: `B${++count}`, parent });

const setAside = (location: string, what: NewReservation['what'], changes: Partial<NewReservation> = {}) =>
  createReservation(
    store.db,
    { ...store.context, reason: 'blocking' },
    {
      location,
      project: 'HEART',
      reason: 'visit 3',
      expiresAt: new Date(Date.now() + HOUR_MS),
      what,
      ...changes,
    },
  );
const several = (n: number, consecutive = false) => ({ kind: 'count', count: n, consecutive }) as const;
const named = (...positions: string[]) => ({ kind: 'named', positions }) as const;

async function place(target: Target, project: string | null): Promise<ReserveResult & { jobId: string }> {
  const jobId = await addJob(store);
  const result = await inTenant(store.db, store.tenantId, (tx) =>
    reserveTarget(tx, store.tenantId, jobId, { zone: '-80', type: 'plasma', project }, target, 60_000),
  );
  return { ...result, jobId };
}
const within = (withinId: string): Target => ({ kind: 'chosen', withinId });

/** Makes the end of a reservation lie in the past, as an hour would. */
async function letExpire(id: string): Promise<void> {
  await inTenant(store.db, store.tenantId, (tx) =>
    sql`UPDATE position SET reserved_until = now() - interval '1 second' WHERE tenant_id = ${store.tenantId}
        AND reservation_id = ${id}`.execute(tx),
  );
}

describe('a block', () => {
  test('is for its project: its samples go there first, others elsewhere, until it is released', async () => {
    const unit = await freezer();
    const [first, second] = [await box(unit), await box(unit)];
    const made = await setAside(second, several(25));
    expect(made).toMatchObject({ project: 'HEART', ownerId: store.actor.userId, version: 1 });
    expect(made.positions).toHaveLength(25);
    expect((await findLocation(store.db, store.tenantId, second)).positions).toMatchObject({
      reserved: 25,
      free: 0,
    });

    const mine = await place(within(unit), 'HEART');
    expect(mine).toMatchObject({
      outcome: 'reserved',
      position: { containerId: second, label: 'A1' },
      explanation: {
        score: { setAside: 200 },
        runnersUp: [{ lostBecause: 'nothing in it is set aside for the project' }],
      },
    });
    expect(await place(within(unit), 'LUNG')).toMatchObject({ position: { containerId: first } });
    expect(await place(within(second), 'LUNG')).toMatchObject({
      outcome: 'refused',
      refusal: { code: 'NO_POSITION_FREE', facts: { nextFree: { containerId: first } } },
    });
    const last = (await positionsOf(store, second)).at(-1);
    expect(await place({ kind: 'named', positionId: String(last) }, null)).toMatchObject({
      refusal: {
        code: 'POSITION_OCCUPIED',
        detail: expect.stringContaining('is set aside for project HEART'),
      },
    });
    expect(
      await canHold(store.db, store.tenantId, second, { zone: '-80', type: 'plasma', project: 'HEART' }),
    ).toMatchObject({ canHold: true, position: { label: 'A2' } });

    // A job that gives its position back gives it back to the block.
    await inTenant(store.db, store.tenantId, (tx) => releasePositions(tx, store.tenantId, mine.jobId));
    expect((await findReservation(store.db, store.tenantId, made.id)).positions).toHaveLength(25);
    expect(await place(within(second), 'LUNG')).toMatchObject({ outcome: 'refused' });

    const again = await place(within(second), 'HEART');
    const released = await releaseReservation(store.db, { ...store.context, reason: 'blocking' }, made.id);
    expect(released).toMatchObject({ positions: [], version: 2 });
    expect((await findLocation(store.db, store.tenantId, second)).positions).toMatchObject({
      reserved: 1,
      free: 24,
    });
    await inTenant(store.db, store.tenantId, (tx) => releasePositions(tx, store.tenantId, again.jobId));
    expect(await place(within(second), 'LUNG')).toMatchObject({ outcome: 'reserved' });
    await expect(
      releaseReservation(store.db, { ...store.context, reason: 'blocking' }, made.id),
    ).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await wrongCounters(store)).toEqual([]);
  });

  test('past its end is anybody’s before anything has swept it', async () => {
    const place1 = await box(await freezer());
    const made = await setAside(place1, several(25));
    await letExpire(made.id);
    expect(await place(within(place1), 'LUNG')).toMatchObject({
      outcome: 'reserved',
      position: { label: 'A1' },
    });
    expect((await findLocation(store.db, store.tenantId, place1)).positions).toMatchObject({ reserved: 25 });
    expect(await wrongCounters(store)).toEqual([]);
  });

  test('is given to one of those who ask at once; n consecutive lie in one container', async () => {
    const unit = await freezer();
    const [one, two] = [await box(unit), await box(unit)];
    const [, , third] = await positionsOf(store, one);
    await storeSample(store, { barcode: `GAP-${++count}`, positionId: String(third) });
    await blockPosition(store.db, { ...store.context, reason: 'blocking' }, one, 'E1', 'bent');
    const made = await setAside(unit, several(18, true));
    expect(new Set(made.positions.map((position) => position.containerId))).toEqual(new Set([two]));
    expect(made.positions.map((position) => position.label)).toEqual(
      (await readMap(store.db, store.tenantId, two)).cells
        .slice(0, 18)
        .map((cell) => `${'ABCDE'[cell.row]}${cell.column + 1}`),
    );
    const next = await setAside(unit, several(17, true));
    expect(next.positions.map((position) => position.containerId)).toEqual(next.positions.map(() => one));
    expect(next.positions[0]?.label).toBe('A4');
    await expect(setAside(unit, several(8, true))).rejects.toMatchObject({ code: 'NO_POSITION_FREE' });
    expect((await setAside(unit, several(8))).positions).toHaveLength(8);

    const place1 = await box(await freezer());
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => setAside(place1, named('B2', 'B3'))),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    for (const lost of results.filter((result) => result.status === 'rejected')) {
      expect(lost.reason).toMatchObject({ code: 'POSITION_OCCUPIED', facts: { nextFree: 'A1' } });
    }
    expect(await wrongCounters(store)).toEqual([]);
  });
});

describe('what is refused', () => {
  test('an end in the past or too far, a position that is not there, a place for others, a hand-off', async () => {
    const unit = await freezer({ rules: { projects: ['LUNG'] } });
    const place1 = await box(unit);
    await expect(setAside(place1, several(1))).rejects.toMatchObject({ code: 'RULE_NOT_MET' });
    const lung = { project: 'LUNG' };
    for (const expiresAt of [new Date(Date.now() - 1), new Date(Date.now() + 91 * 24 * HOUR_MS)]) {
      await expect(setAside(place1, several(1), { ...lung, expiresAt })).rejects.toMatchObject({
        code: 'VALIDATION',
        errors: [{ pointer: '/expiresAt' }],
      });
    }
    await expect(setAside(place1, named('A1', 'Z9'), lung)).rejects.toMatchObject({
      code: 'POSITION_UNKNOWN',
      errors: [{ pointer: '/positions/1' }],
    });
    const gate = await addLocation(store, { type: 'handoff', name: `H${++count}`, parent: unit });
    await expect(setAside(gate, several(1), lung)).rejects.toMatchObject({ code: 'CONFLICT' });
    const made = await setAside(place1, named('A1', 'a01'), lung);
    expect(made.positions.map((position) => position.label)).toEqual(['A1']);
    expect(
      (await listReservations(store.db, store.tenantId, 'LUNG', null, 10)).map((each) => each.id),
    ).toEqual([made.id]);
    await expect(
      retireLocation(store.db, { ...store.context, reason: 'retirement' }, place1, 1),
    ).rejects.toMatchObject({
      code: 'LOCATION_NOT_EMPTY',
      detail: expect.stringContaining('is set aside by reservation'),
    });
  });
});

test('the sweep frees what is set aside past its end', async () => {
  const place1 = await box(await freezer());
  const made = await setAside(place1, several(3), { expiresAt: new Date(Date.now() + 1_200) });
  const end = Date.now() + 20_000;
  for (;;) {
    const freed = await inTenant(store.db, store.tenantId, (tx) =>
      freeExpiredReservations(tx, store.tenantId),
    );
    if (freed > 0) {
      expect(freed).toBe(3);
      break;
    }
    if (Date.now() > end) throw new Error('nothing was freed');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  expect(await findReservation(store.db, store.tenantId, made.id)).toMatchObject({
    isExpired: true,
    positions: [],
  });
  expect((await findLocation(store.db, store.tenantId, place1)).positions).toMatchObject({
    reserved: 0,
    free: 25,
  });
});
