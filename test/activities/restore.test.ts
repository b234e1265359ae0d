import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { takeEpoch } from '../../db/gateway.ts';
import { checkLedger } from '../../db/ledger.ts';
import { blockPosition } from '../../db/location-service.ts';
import { readMotion } from '../../db/motion.ts';
import { markRestored, RESTORE_JUMP } from '../../db/restore.ts';
import { commandRobot } from '../../db/robot-commands.ts';
import { reportContact } from '../../db/robot-contact.ts';
import { verifySample } from '../../db/verification.ts';
import type { ControllerView } from '../../domain/controller.ts';
import { workflowIds } from '../../workflows/ids.ts';
import { type Job, ProcessLab } from '../setup/process-lab.ts';
import { wrongCounters } from '../setup/store.ts';

const TAKEN_AT = new Date('2026-03-02T08:15:00Z');
const labs: ProcessLab[] = [];
afterAll(async () => {
  for (const lab of labs) await lab.close();
});

async function open(): Promise<ProcessLab> {
  const lab = await ProcessLab.open();
  labs.push(lab);
  return lab;
}

const mark = (lab: ProcessLab) =>
  markRestored(lab.store.db, lab.store.tenantId, TAKEN_AT, workflowIds.restored);

/** The controller says this number of its last command. */
async function hear(lab: ProcessLab, latchedNumber: number): Promise<void> {
  const { tenantId, db } = lab.store;
  const view: ControllerView = {
    mode: 'auto',
    latchedNumber,
    busy: false,
    done: true,
    errorCode: 0,
    carrier: false,
    source: false,
    target: false,
    barcode: '',
    doorOpen: false,
    unitAlarm: false,
    lockedOut: false,
  };
  const epoch = await takeEpoch(db, tenantId, lab.robotId, 'test');
  const owner = { tenantId, robotId: lab.robotId, epoch };
  expect(await reportContact(db, owner, view)).toBe(true);
}

async function restoredFault(lab: ProcessLab): Promise<string> {
  const rows = await lab.rows<{ id: string }>(
    sql`SELECT id FROM robot_fault WHERE kind = 'restored' ORDER BY id DESC LIMIT 1`,
  );
  return String(rows[0]?.id);
}

const clear = async (lab: ProcessLab, key: string) =>
  commandRobot(lab.store.db, lab.robotId, key, {
    command: 'clear',
    actor: lab.actor,
    reason: null,
    faultId: await restoredFault(lab),
  });

const verify = (
  lab: ProcessLab,
  sampleId: string,
  position: string,
  sampleBarcode: string,
  containerBarcode = 'BOX-B1',
) =>
  verifySample(lab.store.db, { actor: lab.actor, reason: 'correction' }, sampleId, {
    containerBarcode,
    position,
    sampleBarcode,
  });

const alarmsOf = (lab: ProcessLab) =>
  lab.rows<{ kind: string }>(
    sql`SELECT kind FROM alarm WHERE cleared_at IS NULL AND job_id IS NULL ORDER BY raised_at, kind`,
  );

/** A job that has the robot's turn and a motion of its tube. */
async function moving(lab: ProcessLab): Promise<{ job: Job; commandId: string; positionId: string }> {
  const tube = await lab.storedTube();
  const job = await lab.move(tube.sampleId, 'robot', await lab.freePosition());
  await job.reserved();
  await job.takeTurn();
  return { job, commandId: await job.submit('pick', tube.positionId), positionId: tube.positionId };
}

describe('marking a database as restored', () => {
  test.each(['accepted', 'sent'])('a motion that was %s is unknown, and so is its tube', async (state) => {
    const lab = await open();
    const { job, commandId, positionId } = await moving(lab);
    if (state === 'sent') await lab.send(commandId);
    const waiting = await lab.retrieval((await lab.storedTube()).sampleId);
    const before = await turnOf(lab);

    expect(await mark(lab)).toEqual({
      robots: 1,
      motions: 1,
      jobs: 2,
      schedules: 0,
      unknown: 1,
      unverified: 0,
    });
    const motion = await readMotion(lab.store.db, lab.store.tenantId, commandId);
    expect(motion).toMatchObject({ state: 'UNKNOWN', reading: { carrier: null, source: null } });
    expect(motion?.sentAgoMs === null).toBe(state === 'accepted');
    expect(await lab.sample(job.sampleId)).toMatchObject({
      custody: 'unknown',
      witness: 'asserted',
      candidates: expect.arrayContaining([
        { kind: 'position', positionId },
        { kind: 'carrier', robotId: lab.robotId },
        { kind: 'person', userId: lab.actor.userId },
        { kind: 'floor' },
      ]),
    });
    // The clock gives nothing away that the tube may be in.
    expect(await lab.position(positionId)).toMatchObject({
      state: 'reserved',
      job_id: job.id,
      lease_expires_at: null,
    });
    const held = await lab.rows(sql`SELECT 1 FROM position WHERE lease_expires_at IS NOT NULL`);
    expect(held).toEqual([]);
    // Neither workflow writes another step, and what nothing had started is not started again.
    for (const each of [job, waiting]) {
      const row = await each.row();
      expect(row.workflowId).toBe(workflowIds.restored(lab.store.tenantId, each.id));
      expect(row.startedAt).not.toBeNull();
      await expect(
        lab.storage.markPhase(each.ref(), { state: 'RUNNING', phase: 'PICKING', waitingFor: null }),
      ).rejects.toMatchObject({ type: 'CONFLICT' });
    }
    await expect(job.takeTurn()).rejects.toThrow('the turn was not granted');
    const after = await turnOf(lab);
    for (const counter of ['epoch', 'fence', 'last_number'] as const) {
      expect(after[counter] - before[counter]).toBe(RESTORE_JUMP);
    }
    expect(after.job_id).toBe(job.id); // the turn ends by reconciliation
    expect((await checkLedger(lab.store.db, lab.store.tenantId)).ok).toBe(true);
  });

  test('a second restore keeps the number that the controller must be compared with, and every robot held', async () => {
    const lab = await open();
    await mark(lab);
    const first = await turnOf(lab);
    await mark(lab);
    const second = await turnOf(lab);
    expect(first.restored_number).toBe(0);
    expect(second.restored_number).toBe(0);
    expect(second.fence).toBe(first.fence + RESTORE_JUMP);
    const rows = await lab.rows<{ held: number }>(
      sql`SELECT cardinality(held_fault_ids) AS held FROM robot_state`,
    );
    expect(rows).toEqual([{ held: 2 }]);
  });
});

interface TurnRow {
  readonly epoch: number;
  readonly fence: number;
  readonly last_number: number;
  readonly restored_number: number | null;
  readonly job_id: string | null;
}

async function turnOf(lab: ProcessLab): Promise<TurnRow> {
  const [turn] = await lab.rows<TurnRow>(sql`SELECT * FROM robot_turn`);
  if (!turn) throw new Error('the robot has no turn');
  return turn;
}

describe('the first word of a controller after a restore', () => {
  test('is waited for: before it the hold cannot be cleared', async () => {
    const lab = await open();
    await mark(lab);
    await expect(clear(lab, 'early')).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await alarmsOf(lab)).toEqual([{ kind: 'restored' }]);
    await hear(lab, 7);
    expect((await clear(lab, 'late')).heldFaults).toEqual([]);
    expect(await alarmsOf(lab)).toEqual([]);
  });

  test('that shows a number of the journal proves that the robot stood still', async () => {
    const lab = await open();
    const { commandId } = await moving(lab);
    await lab.send(commandId);
    const tube = await lab.storedTube();
    await mark(lab);
    await hear(lab, 1);
    expect(await lab.sample(tube.sampleId)).toMatchObject({ custody: 'position', witness: 'asserted' });
    expect(await lab.rows(sql`SELECT 1 FROM deviation`)).toEqual([]);
    expect((await turnOf(lab)).restored_number).toBeNull();
  });

  test.each([
    ['a number above the journal’s', 2],
    ['no number, which proves nothing', 0],
  ])('that shows %s makes every tube in its reach unknown', async (_, latchedNumber) => {
    const lab = await open();
    const { job, commandId } = await moving(lab);
    await lab.send(commandId);
    const tubes = [await lab.storedTube(), await lab.storedTube()];
    await mark(lab);
    await hear(lab, latchedNumber);
    for (const { sampleId, positionId } of tubes) {
      const sample = await lab.sample(sampleId);
      expect(sample).toMatchObject({ custody: 'unknown', position_id: null });
      expect(sample?.candidates).toEqual(
        expect.arrayContaining([
          { kind: 'position', positionId },
          { kind: 'carrier', robotId: lab.robotId },
          { kind: 'floor' },
        ]),
      );
      expect(await lab.position(positionId)).toMatchObject({ state: 'blocked', sample_id: null });
    }
    expect(await lab.sample(job.sampleId)).toMatchObject({ custody: 'unknown', job_id: job.id });
    expect(await lab.rows(sql`SELECT kind, facts FROM deviation`)).toEqual([
      { kind: 'unverified', facts: { samples: 2, latched_number: latchedNumber, known_number: 1 } },
    ]);
    expect(await alarmsOf(lab)).toEqual([{ kind: 'restored' }, { kind: 'unverified' }]);
    // Heard again, it is compared no more.
    await hear(lab, latchedNumber + 5);
    expect(await lab.rows(sql`SELECT 1 FROM deviation`)).toHaveLength(1);
    expect(await wrongCounters(lab.store)).toEqual([]);
    expect((await checkLedger(lab.store.db, lab.store.tenantId)).ok).toBe(true);
  });
});

describe('a scan of a tube where it stands', () => {
  let lab: ProcessLab;
  beforeAll(async () => {
    lab = await open();
  });

  test('makes an asserted place a witnessed one; again, it changes nothing', async () => {
    const tube = await lab.storedTube();
    const { place } = await placeOf(lab, tube.positionId);
    await verify(lab, tube.barcode, place, tube.barcode);
    await verify(lab, tube.sampleId, place, tube.barcode);
    expect(await lab.sample(tube.sampleId)).toMatchObject({
      custody: 'position',
      position_id: tube.positionId,
      witness: 'barcode',
      version: 2,
    });
    expect((await lab.entries(tube.sampleId)).at(-1)).toMatchObject({
      type: 'storage.sample.verified',
      reason: 'correction',
      actor: lab.actor.userId,
    });
    // Something has seen it there: elsewhere it must have been moved.
    const free = await placeOf(lab, await lab.freePosition());
    await expect(verify(lab, tube.sampleId, free.place, tube.barcode)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
  });

  test('settles two tubes that stand in each other’s place', async () => {
    const [one, two] = [await lab.storedTube(), await lab.storedTube()];
    const [first, second] = [await placeOf(lab, one.positionId), await placeOf(lab, two.positionId)];
    await verify(lab, one.sampleId, second.place, one.barcode);
    expect(await lab.sample(two.sampleId)).toMatchObject({ custody: 'unknown' });
    expect(await lab.position(one.positionId)).toMatchObject({ state: 'free' });
    await verify(lab, two.sampleId, first.place, two.barcode);
    expect(await lab.sample(one.sampleId)).toMatchObject({ position_id: two.positionId, witness: 'barcode' });
    expect(await lab.sample(two.sampleId)).toMatchObject({ position_id: one.positionId, witness: 'barcode' });
    // A third tube, scanned where one was seen, is not believed.
    const third = await lab.storedTube();
    await expect(verify(lab, third.sampleId, first.place, third.barcode)).rejects.toMatchObject({
      code: 'POSITION_OCCUPIED',
    });
    expect(await wrongCounters(lab.store)).toEqual([]);
  });

  test('is refused with another barcode, for a tube a job has, and where the position may not be used', async () => {
    const tube = await lab.storedTube();
    const here = await placeOf(lab, tube.positionId);
    const other = await lab.storedTube();
    await expect(verify(lab, tube.sampleId, here.place, other.barcode)).rejects.toMatchObject({
      code: 'BARCODE_MISMATCH',
    });
    await expect(verify(lab, tube.sampleId, 'Z99', tube.barcode)).rejects.toMatchObject({
      code: 'POSITION_UNKNOWN',
    });
    const blocked = await placeOf(lab, await lab.freePosition());
    await blockPosition(
      lab.store.db,
      { actor: lab.actor, reason: 'blocking' },
      'BOX-B1',
      blocked.place,
      'bent',
    );
    await expect(verify(lab, tube.sampleId, blocked.place, tube.barcode)).rejects.toMatchObject({
      code: 'POSITION_BLOCKED',
    });
    const job = await lab.move(other.sampleId, 'hand', await lab.freePosition());
    const { place } = await job.reserved();
    await expect(verify(lab, tube.sampleId, place.label, tube.barcode)).rejects.toMatchObject({
      code: 'POSITION_OCCUPIED',
    });
    const from = await placeOf(lab, other.positionId);
    await expect(verify(lab, other.sampleId, from.place, other.barcode)).rejects.toMatchObject({
      code: 'SAMPLE_BUSY',
    });
  });
});

async function placeOf(lab: ProcessLab, positionId: string): Promise<{ place: string }> {
  const [row] = await lab.rows<{ row: number; column: number }>(
    sql`SELECT grid_row AS row, grid_column AS column FROM position WHERE id = ${positionId}`,
  );
  return { place: `${'ABCDEFGHI'[row?.row ?? 0]}${(row?.column ?? 0) + 1}` };
}
