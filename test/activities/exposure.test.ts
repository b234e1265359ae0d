import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closeDeviation, listDeviations } from '../../db/deviations.ts';
import { listBudgets, setBudget } from '../../db/exposure-budgets.ts';
import { findSample } from '../../db/samples.ts';
import type { Zone } from '../../domain/zone.ts';
import {
  addMotions,
  addWarmCell,
  contentOf,
  letTimePass,
  storeInCell,
  type WarmCell,
} from '../setup/exposure-lab.ts';
import { AT_WORK, AWAIT_SCAN, type Job, ProcessLab, UNDOING } from '../setup/process-lab.ts';
import { openStore, positionsOf } from '../setup/store.ts';

let lab: ProcessLab;
let cell: WarmCell;
let stored = 0;
beforeAll(async () => {
  lab = await ProcessLab.open();
  cell = await addWarmCell(lab.store);
});
afterAll(() => lab.close());

// The system gives positions away from the front.
const nextTube = () => storeInCell(lab.store, cell, 5 + stored++);
const exposureOf = async (sampleId: string) =>
  (await findSample(lab.store.db, lab.store.tenantId, sampleId)).exposure;
const deviationsOf = (sampleId: string) =>
  listDeviations(lab.store.db, lab.store.tenantId, { sampleId, after: null, limit: 10 });
const carrier = () => ({ kind: 'carrier', robotId: cell.robotId }) as const;

/** A retrieval by the cell's robot, up to the hand-off in the room. */
async function atTheBench() {
  const tube = await nextTube();
  const job = await lab.retrieval(tube.sampleId, 'robot');
  const { handoff } = await job.reserved(AT_WORK);
  if (!handoff) throw new Error('no hand-off');
  await lab.storage.moveCustody(job.ref(), carrier(), AT_WORK);
  const there = { kind: 'handoff', positionId: handoff.positionId } as const;
  await lab.storage.moveCustody(job.ref(), there, AWAIT_SCAN);
  return { ...tube, job, handoff };
}

async function putBack({ job, positionId }: { job: Job; positionId: string }): Promise<void> {
  await lab.storage.moveCustody(job.ref(), carrier(), UNDOING);
  await lab.storage.moveCustody(job.ref(), { kind: 'position', positionId }, UNDOING);
}

describe('the exposure clock', () => {
  test('runs from the carrier on, also in the hand-off, and stops where the tube is cold again', async () => {
    const tube = await atTheBench();
    const [picked] = await lab.rows<{ time: Date }>(
      sql`SELECT time FROM event WHERE subject = ${`sample/${tube.sampleId}`} AND type = 'storage.sample.picked'`,
    );
    const { warmSince } = await exposureOf(tube.sampleId);
    expect(warmSince).toEqual(picked?.time);
    expect((await lab.rows(contentOf(tube.sampleId)))[0]?.after).toMatchObject({
      warm_since: warmSince?.toISOString(),
      exposure_ms: 0,
      freeze_thaw_count: 0,
    });
    await letTimePass(lab.store, tube.sampleId, 50);
    await putBack(tube);
    const { exposureMs, ...after } = await exposureOf(tube.sampleId);
    expect(after).toEqual({ warmSince: null, freezeThawCount: 0 });
    expect(exposureMs).toBeGreaterThan(50_000);
    expect(exposureMs).toBeLessThan(110_000);
    expect((await lab.rows(contentOf(tube.sampleId)))[0]?.after).toMatchObject({
      warm_since: null,
      exposure_ms: exposureMs,
    });
    expect(await deviationsOf(tube.sampleId)).toEqual([]);
    await lab.storage.finishJob(tube.job.ref(), 'FAILED', 'Nobody came.');
  });

  test('stands still in a hand-off that is as cold as the freezer, and runs on with the person', async () => {
    const { sampleId, barcode } = await lab.storedTube();
    const job = await lab.retrieval(sampleId, 'robot');
    const { handoff } = await job.reserved(AT_WORK);
    if (!handoff) throw new Error('no hand-off');
    await lab.storage.moveCustody(job.ref(), { kind: 'carrier', robotId: lab.robotId }, AT_WORK);
    expect((await exposureOf(sampleId)).warmSince).not.toBeNull();
    const there = { kind: 'handoff', positionId: handoff.positionId } as const;
    await lab.storage.moveCustody(job.ref(), there, AWAIT_SCAN);
    expect((await exposureOf(sampleId)).warmSince).toBeNull();
    await lab.storage.handOver(job.ref(), handoff, { actor: lab.actor, sampleBarcode: barcode });
    expect((await exposureOf(sampleId)).warmSince).not.toBeNull();
  });

  test('of a new tube does not run before the store has it: nobody knows what was before', async () => {
    const tube = lab.newTube();
    const byHand = await lab.placement(tube, { withinId: lab.box });
    const { place } = await byHand.reserved();
    expect(await exposureOf(byHand.sampleId)).toMatchObject({ warmSince: null });
    await lab.storage.confirmPlaced(byHand.ref(), place, lab.scan(place, tube.barcode));
    expect(await exposureOf(byHand.sampleId)).toEqual({ warmSince: null, exposureMs: 0, freezeThawCount: 0 });

    const other = lab.newTube();
    const byRobot = await lab.placement(other, { mode: 'robot', withinId: cell.box });
    const { handoff } = await byRobot.reserved();
    if (!handoff) throw new Error('no hand-off');
    const scan = lab.scan(handoff, other.barcode, { containerBarcode: 'Bench of Cell 1' });
    expect(await lab.storage.confirmAtHandoff(byRobot.ref(), handoff, scan, AT_WORK)).toEqual({
      outcome: 'done',
    });
    expect((await exposureOf(byRobot.sampleId)).warmSince).not.toBeNull();
  });

  test('runs on while nobody knows where the tube is', async () => {
    const { sampleId, job } = await atTheBench();
    const before = await exposureOf(sampleId);
    const problem = { kind: 'outcome_unknown', detail: 'Lost.', robotId: cell.robotId } as const;
    await lab.storage.park(job.ref(), { ...problem, candidates: [carrier()] });
    expect(await exposureOf(sampleId)).toEqual(before);
    expect((await job.row()).exposed).toEqual({
      since: before.warmSince,
      elapsedMs: expect.any(Number),
    });
  });
});

describe('a job that had its tube outside for longer than the budget', () => {
  test('leaves a deviation with the numbers when the tube comes back, and a thaw', async () => {
    const tube = await atTheBench();
    await letTimePass(lab.store, tube.sampleId, 143);
    await putBack(tube);
    const [deviation, ...more] = await deviationsOf(tube.sampleId);
    expect(more).toEqual([]);
    expect(deviation).toMatchObject({
      kind: 'exposure_exceeded',
      jobId: tube.job.id,
      facts: { zone: '-80', budget_seconds: 120, since: expect.any(String) },
      closed: null,
    });
    expect(Number(deviation?.facts.exposed_seconds)).toBeGreaterThanOrEqual(143);
    expect(deviation?.description).toMatch(
      /^The tube was outside -80 \(−85…−60 °C\) for 1\d\d s in this move; it may be for 120 s\.$/,
    );
    expect(await exposureOf(tube.sampleId)).toMatchObject({ warmSince: null, freezeThawCount: 1 });
    await lab.storage.finishJob(tube.job.ref(), 'FAILED', 'Nobody came.');
    expect(await tube.job.row()).toMatchObject({ state: 'FAILED' });
    expect(await deviationsOf(tube.sampleId)).toHaveLength(1);
  });

  test('is completed with a deviation when the person takes the tube late, and says why', async () => {
    const tube = await atTheBench();
    await letTimePass(lab.store, tube.sampleId, 300);
    const scan = { actor: lab.actor, sampleBarcode: tube.barcode };
    const closed = await lab.storage.handOver(tube.job.ref(), tube.handoff, scan);
    const detail = expect.stringMatching(
      /^Taken from the hand-off, A\d\. The tube was outside .* for 120 s\.$/,
    );
    expect(closed).toEqual({ outcome: 'closed', state: 'COMPLETED_WITH_DEVIATION', detail });
    expect(await tube.job.row()).toMatchObject({ state: 'COMPLETED_WITH_DEVIATION', result: { detail } });
    expect(await deviationsOf(tube.sampleId)).toMatchObject([
      { kind: 'exposure_exceeded', jobId: tube.job.id },
    ]);
  });

  test('is completed with a deviation by its last step too, also when that is asked for again', async () => {
    const tube = await nextTube();
    const job = await lab.move(tube.sampleId, 'robot', (await positionsOf(lab.store, cell.box)).at(-1));
    const { place } = await job.reserved(AT_WORK);
    await lab.storage.moveCustody(job.ref(), carrier(), AT_WORK);
    await letTimePass(lab.store, tube.sampleId, 121);
    const there = { kind: 'position', positionId: place.positionId } as const;
    await lab.storage.moveCustody(job.ref(), there, AT_WORK);
    const finish = () => lab.storage.finishJob(job.ref('finish/COMPLETED'), 'COMPLETED', 'Moved.');
    await finish();
    await finish();
    const row = await job.row();
    expect(row).toMatchObject({
      state: 'COMPLETED_WITH_DEVIATION',
      result: { detail: expect.stringMatching(/^Moved\. The tube was outside/) },
    });
    expect(row.steps.at(-1)).toMatchObject({ detail: { state: 'COMPLETED_WITH_DEVIATION' } });
  });

  test('with the tube given up is judged when the job lets go of it', async () => {
    const tube = await atTheBench();
    await letTimePass(lab.store, tube.sampleId, 200);
    await lab.storage.releaseReservations(tube.job.ref());
    await lab.storage.finishJob(tube.job.ref(), 'FAILED', 'The robot is out of order.');
    expect(await deviationsOf(tube.sampleId)).toMatchObject([{ kind: 'exposure_exceeded' }]);
  });

  test('is not blamed for the hours in which a person worked with the tube', async () => {
    const { sampleId, barcode } = await lab.storedTube();
    const out = await lab.retrieval(sampleId);
    const { place: source } = await out.reserved();
    await lab.storage.confirmTaken(out.ref(), source, lab.scan(source, barcode));
    await letTimePass(lab.store, sampleId, 7_200);
    const back = await lab.placement(null, { sampleId, withinId: lab.box });
    const { place } = await back.reserved();
    const closed = await lab.storage.confirmPlaced(back.ref(), place, lab.scan(place, barcode));
    expect(closed).toMatchObject({ state: 'COMPLETED', detail: `Stored in ${place.label}.` });
    const exposure = await exposureOf(sampleId);
    expect(exposure).toMatchObject({ warmSince: null, freezeThawCount: 1 });
    expect(exposure.exposureMs).toBeGreaterThan(7_200_000);
    expect(await deviationsOf(sampleId)).toEqual([]);
  });
});

describe('the pick-up time', () => {
  test('is what the budget of the class leaves, and ten minutes where the hand-off is cold', async () => {
    const cold = await lab.retrieval((await lab.storedTube()).sampleId, 'robot');
    expect(await cold.reserved(AT_WORK)).toMatchObject({ pickupMs: 600_000 });
    const warm = await lab.retrieval((await nextTube()).sampleId, 'robot');
    expect(await warm.reserved(AT_WORK)).toMatchObject({ pickupMs: 70_000 });
    expect((await warm.row()).result).toMatchObject({
      exposure: {
        budgetSeconds: 120,
        predictedSeconds: 120,
        parts: { pick: 12, read: 2, place: 12, waiting: 70, wayBack: 24 },
        pickupSeconds: 70,
      },
    });
    const hand = await lab.retrieval((await lab.storedTube()).sampleId);
    expect(await hand.reserved()).not.toHaveProperty('pickupMs');
  });

  test('goes by what the robot’s last fifty motions of a kind took that succeeded', async () => {
    const fast = await addWarmCell(lab.store);
    await addMotions(lab.store, fast.robotId, { pick: [...Array(20).fill(60), ...Array(50).fill(4)] });
    await addMotions(lab.store, fast.robotId, { place: [3, 4, 5.5, 30, 90], scan: [1, 1, 1, 1] });
    await addMotions(lab.store, fast.robotId, { scan: [99, 99, 99] }, 'FAILED');
    const { sampleId } = await storeInCell(lab.store, fast, 0);
    const job = await lab.retrieval(sampleId, 'robot');
    await job.reserved(AT_WORK);
    expect((await job.row()).result).toMatchObject({
      exposure: { parts: { pick: 4, read: 2, place: 6, waiting: 98, wayBack: 10 } },
    });
  });
});

describe('a move that is expected to exceed the budget', () => {
  const traces = () =>
    lab.rows(sql`SELECT (SELECT count(*) FROM ledger.entry) AS entries,
      (SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM sample s) AS samples,
      (SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM position p) AS positions`);

  test('is refused before it starts, with the numbers, and leaves nothing behind', async () => {
    const frozen = await addWarmCell(lab.store, 'LN2');
    const { sampleId } = await storeInCell(lab.store, frozen, 0, 'LN2');
    const job = await lab.retrieval(sampleId, 'robot');
    const before = await traces();
    const answer = await job.reserve(AT_WORK);
    expect(answer).toMatchObject({
      outcome: 'refused',
      refusal: {
        code: 'EXPOSURE_BUDGET',
        detail: expect.stringContaining(
          'for 60 s a move; this move is expected to take 80 s (pick 12, read 2, place 12, waiting at the hand-off 30, ' +
            'way back if nobody comes 24): use a colder hand-off,',
        ),
        facts: { zone: 'LN2', budgetSeconds: 60, predictedSeconds: 80 },
      },
    });
    expect(await traces()).toEqual(before);
    expect(await job.row()).toMatchObject({
      state: 'REFUSED',
      result: { refusal: { code: 'EXPOSURE_BUDGET', facts: { predictedSeconds: 80 } } },
    });
    await addMotions(lab.store, frozen.robotId, { pick: Array(5).fill(4), place: Array(5).fill(4) });
    expect(await (await lab.retrieval(sampleId, 'robot')).reserve(AT_WORK)).toMatchObject({
      pickupMs: 42_000,
    });
  });

  test('by robot or by hand from position to position', async () => {
    const slow = await addWarmCell(lab.store);
    await addMotions(lab.store, slow.robotId, { pick: Array(5).fill(90), place: Array(5).fill(29) });
    const { sampleId } = await storeInCell(lab.store, slow, 0);
    const target = (await positionsOf(lab.store, slow.box))[1];
    expect(await (await lab.move(sampleId, 'robot', target)).reserve(AT_WORK)).toMatchObject({
      refusal: { code: 'EXPOSURE_BUDGET', facts: { predictedSeconds: 121, parts: { pick: 90, place: 29 } } },
    });
    const current = (await listBudgets(lab.store.db, lab.store.tenantId)).find(({ zone }) => zone === '-80');
    const set = (handSeconds: number, version: number) =>
      setBudget(lab.store.db, { actor: lab.actor, reason: 'configuration' }, '-80', version, {
        budgetSeconds: 120,
        handSeconds,
        pickupSeconds: null,
      });
    const { version } = await set(121, current?.version ?? 0);
    expect(await (await lab.move(sampleId, 'hand', target)).reserve()).toMatchObject({
      refusal: { code: 'EXPOSURE_BUDGET', facts: { predictedSeconds: 121, parts: { byHand: 121 } } },
    });
    await set(120, version);
    expect(await (await lab.move(sampleId, 'hand', target)).reserve()).toMatchObject({ outcome: 'accepted' });
  });

  test('does not keep a tube from coming into its cold', async () => {
    const slow = await addWarmCell(lab.store);
    await addMotions(lab.store, slow.robotId, { pick: Array(5).fill(300) });
    const job = await lab.placement(lab.newTube(), { mode: 'robot', withinId: slow.box });
    await job.reserved();
    expect((await job.row()).result).toMatchObject({
      exposure: { budgetSeconds: 120, predictedSeconds: 314 },
    });
  });
});

describe('the budgets of a laboratory', () => {
  const BUDGET = { budgetSeconds: 90, handSeconds: 20, pickupSeconds: null };

  test('are the presets until somebody sets one, which is ledgered with what was in force before', async () => {
    const store = await openStore(4);
    try {
      const { db, tenantId, actor } = store;
      const set = (zone: Zone, version: number, budget = BUDGET) =>
        setBudget(db, { actor, reason: 'configuration' }, zone, version, budget);
      const presets = await listBudgets(db, tenantId);
      expect(presets.map(({ zone, budgetSeconds }) => [zone, budgetSeconds])).toEqual([
        ['LN2', 60],
        ['-80', 120],
        ['-20', 120],
        ['4', 1800],
        ['RT', null],
        ['37', null],
      ]);
      expect(presets.every(({ version, handSeconds }) => version === 0 && handSeconds === 30)).toBe(true);
      await expect(set('-20', 1)).rejects.toMatchObject({
        code: 'PRECONDITION_FAILED',
        facts: { version: 0 },
      });
      const both = await Promise.allSettled([set('-20', 0), set('-20', 0)]);
      expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      expect(both.find(({ status }) => status === 'rejected')).toMatchObject({
        reason: { code: 'PRECONDITION_FAILED' },
      });
      expect(await set('-20', 1, { ...BUDGET, budgetSeconds: 100 })).toMatchObject({ version: 2 });
      const other = await store.lab.addTenant();
      expect((await listBudgets(db, other.tenantId)).every(({ version }) => version === 0)).toBe(true);
      expect(await listBudgets(db, tenantId)).toContainEqual({
        zone: '-20',
        ...BUDGET,
        budgetSeconds: 100,
        version: 2,
      });
    } finally {
      await store.lab.close();
    }
  });
});

test('of two who close a deviation at once one does, and the other reads who it was', async () => {
  const tube = await atTheBench();
  await letTimePass(lab.store, tube.sampleId, 143);
  await putBack(tube);
  const [open] = await deviationsOf(tube.sampleId);
  const close = (comment: string) =>
    closeDeviation(lab.store.db, { actor: lab.actor, reason: 'deviation' }, String(open?.id), comment);
  const both = await Promise.allSettled([close('One.'), close('Two.')]);
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(both.find(({ status }) => status === 'rejected')).toMatchObject({
    reason: { code: 'CONFLICT', facts: { closedBy: lab.actor.userId } },
  });
  const [content] = await lab.rows(contentOf(String(open?.id)));
  expect(content?.after).toMatchObject({
    closed_by: lab.actor.userId,
    closing_comment: { commitment: expect.any(String) },
  });
  await lab.storage.finishJob(tube.job.ref(), 'FAILED', '');
});
