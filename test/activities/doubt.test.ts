import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { inTenant } from '../../db/tenancy.ts';
import type { Decision } from '../../workflows/messages/job.ts';
import { AT_WORK, ProcessLab } from '../setup/process-lab.ts';
import { addLocation, positionsOf } from '../setup/store.ts';

let lab: ProcessLab;
beforeEach(async () => {
  lab = await ProcessLab.open();
});
afterEach(() => lab.close());

/** A retrieval that has the robot's turn, with its tube still at its place. */
async function working() {
  const tube = await lab.storedTube();
  const job = await lab.retrieval(tube.sampleId, 'robot');
  const { place, handoff } = await job.reserved(AT_WORK);
  if (!handoff) throw new Error('no hand-off');
  const fence = await job.takeTurn();
  const source = { kind: 'position', positionId: place.positionId } as const;
  const carrier = { kind: 'carrier', robotId: lab.robotId } as const;
  const doubt = { robotId: lab.robotId, detail: 'picked?', candidates: [source, carrier], stop: null };
  return { ...tube, job, fence, source, carrier, handoff, doubt };
}

/** What the gateway last wrote of the robot. */
const reports = (set: string) =>
  inTenant(lab.store.db, lab.store.tenantId, (tx) =>
    sql`UPDATE robot_state SET ${sql.raw(set)} WHERE robot_id = ${lab.robotId}`.execute(tx),
  );
const deviations = () =>
  lab.rows<{ kind: string; sample_id: string }>(sql`SELECT kind, sample_id FROM deviation ORDER BY id`);

describe('a motion that does not say where the tube is', () => {
  test('takes the fence from whatever was ordered before, and leaves the places taken', async () => {
    const { job, sampleId, fence, positionId, doubt } = await working();
    const frozen = await lab.storage.freeze(job.ref(), doubt);
    expect(frozen.fence).toBe(fence + 1);
    expect(await lab.sample(sampleId)).toMatchObject({ custody: 'unknown', witness: 'asserted' });
    expect(await lab.position(positionId)).toMatchObject({ state: 'reserved', job_id: job.id });
    await expect(job.submit('pick', positionId)).rejects.toMatchObject({ type: 'TURN_LOST' });
  });

  test('is settled by what the sensors saw, with an entry that says so', async () => {
    const { job, sampleId, doubt, carrier } = await working();
    await lab.storage.freeze(job.ref(), doubt);
    await lab.storage.recordFinding(job.ref(), { seen: carrier, detail: 'seen twice', next: AT_WORK });
    expect(await lab.sample(sampleId)).toMatchObject({ custody: 'carrier', witness: 'sensor' });
    const entries = await lab.entries(sampleId);
    expect(entries.at(-1)).toMatchObject({
      type: 'storage.sample.found',
      reason: 'reconciliation',
      from: 'unknown',
    });
  });
});

describe('quarantine', () => {
  test('takes a tube whose place does not, cold enough and in the robot’s reach, and leaves a deviation', async () => {
    const { job, sampleId } = await working();
    expect(await lab.storage.reserveQuarantine(job.ref(), lab.robotId)).toBeNull();
    const container = await addLocation(lab.store, {
      type: 'quarantine',
      name: 'Q1',
      parent: lab.freezer,
      robotAddress: { cassette: 8, level: 1 },
    });
    const place = await lab.storage.reserveQuarantine(job.ref(), lab.robotId);
    expect(place).toMatchObject({ containerId: container, label: 'A1' });
    expect(await lab.position(place?.positionId ?? '')).toMatchObject({ state: 'reserved', job_id: job.id });
    expect(await deviations()).toEqual([{ kind: 'quarantined', sample_id: sampleId }]);
  });

  test('is no room for a placement', async () => {
    const container = await addLocation(lab.store, {
      type: 'quarantine',
      name: 'Q1',
      parent: lab.freezer,
    });
    const job = await lab.placement(lab.newTube(), { withinId: container });
    expect(await job.reserve()).toMatchObject({ outcome: 'refused', refusal: { code: 'NO_POSITION_FREE' } });
    expect(await positionsOf(lab.store, container)).toHaveLength(12);
  });
});

describe('an answer about a tube in a robot cell', () => {
  async function asked() {
    const parts = await working();
    const { faultId } = await lab.storage.park(parts.job.ref(), {
      kind: 'dropped',
      detail: 'No sensor sees it.',
      robotId: lab.robotId,
      candidates: [parts.source, parts.carrier],
    });
    const decision = (over: Partial<Decision>): Decision => ({
      actor: lab.actor,
      faultId,
      answer: 'not_found',
      next: 'release',
      positionId: null,
      lockedOut: true,
      sampleBarcode: null,
      robotFit: false,
      comment: null,
      ...over,
    });
    return {
      ...parts,
      tell: (over: Partial<Decision>) => lab.storage.applyDecision(parts.job.ref(), decision(over)),
    };
  }

  test('that takes a hand in it needs the lock-out, which a controller that knows of it must have seen', async () => {
    const { tell } = await asked();
    expect(await tell({ lockedOut: false })).toMatchObject({ refusal: { code: 'VALIDATION' } });
    await reports(`connected = true, mode = 'auto', locked_out = false`);
    expect(await tell({})).toMatchObject({ refusal: { code: 'CONFLICT', detail: /has not been seen/ } });
    await reports(`locked_out = true, mode = 'manual', lockout_seen_at = clock_timestamp()`);
    expect(await tell({})).toEqual({ outcome: 'done' });
  });

  test('lets the robot go on only when it stands ready, and was reset after the lock-out', async () => {
    const { tell } = await asked();
    const fit = { robotFit: true } as const;
    await reports(
      `connected = true, mode = 'manual', locked_out = true, lockout_seen_at = clock_timestamp()`,
    );
    expect(await tell(fit)).toMatchObject({ refusal: { code: 'CONFLICT', detail: /is locked out/ } });
    await reports(`locked_out = false`);
    expect(await tell(fit)).toMatchObject({ refusal: { detail: /is in mode manual/ } });
    await reports(`mode = 'auto', door_open = true`);
    expect(await tell(fit)).toMatchObject({ refusal: { detail: /has a door open/ } });
    await reports(`door_open = false`);
    expect(await tell(fit)).toMatchObject({ refusal: { detail: /its reset has not been seen/ } });
    await reports(`reset_seen_at = clock_timestamp()`);
    expect(await tell(fit)).toEqual({ outcome: 'done' });
  });

  test('not found: the sample is lost, with a deviation that stays, and its places stay taken', async () => {
    const { tell, job, sampleId, positionId } = await asked();
    expect(await tell({})).toEqual({ outcome: 'done' });
    await lab.storage.finishJob(job.ref(), 'FAILED', 'Lost.');
    expect(await job.row()).toMatchObject({ state: 'FAILED', phase: 'SAMPLE_LOST' });
    expect((await deviations()).map(({ kind }) => kind)).toEqual(['dropped', 'sample_lost']);
    expect(await lab.sample(sampleId)).toMatchObject({ custody: 'unknown', candidates: [{ kind: 'floor' }] });
    expect(await lab.position(positionId)).toMatchObject({ sample_id: null });
  });

  test('damaged: the tube is the person’s, with a deviation', async () => {
    const { tell, sampleId } = await asked();
    expect(await tell({ answer: 'damaged', comment: 'The cap is broken.' })).toEqual({ outcome: 'done' });
    expect(await lab.sample(sampleId)).toMatchObject({ custody: 'person', witness: 'person' });
    expect((await deviations()).map(({ kind }) => kind)).toEqual(['dropped', 'sample_damaged']);
  });

  test('elsewhere: the place is the tube’s, if nobody else has it', async () => {
    const { tell, sampleId, barcode } = await asked();
    const taken = await lab.storedTube();
    const elsewhere = { answer: 'elsewhere', sampleBarcode: barcode } as const;
    expect(await tell({ ...elsewhere, positionId: taken.positionId })).toMatchObject({
      refusal: { code: 'POSITION_OCCUPIED' },
    });
    expect(await tell(elsewhere)).toMatchObject({ refusal: { errors: [{ pointer: '/place' }] } });
    const positionId = await lab.freePosition();
    expect(await tell({ ...elsewhere, positionId })).toEqual({ outcome: 'done' });
    expect(await lab.sample(sampleId)).toMatchObject({ custody: 'position', position_id: positionId });
  });
});

describe('a question that nobody answers', () => {
  test('gets louder, and a job that waits for a robot says why', async () => {
    const { job } = await working();
    const { faultId } = await lab.storage.park(job.ref(), {
      kind: 'barcode_mismatch',
      detail: 'Another tube.',
      robotId: lab.robotId,
      candidates: null,
    });
    const alarms = () =>
      lab.rows<{ kind: string; severity: string; escalation: number }>(
        sql`SELECT kind, severity, escalation FROM alarm ORDER BY id`,
      );
    await lab.storage.escalate(job.ref(), faultId, 1);
    expect(await alarms()).toEqual([{ kind: 'barcode_mismatch', severity: 'high', escalation: 1 }]);
    await lab.storage.escalate(job.ref(), faultId, 2);
    expect(await alarms()).toMatchObject([{ severity: 'critical', escalation: 2 }]);

    await reports(`connected = true, mode = 'auto'`);
    const other = await lab.retrieval((await lab.storedTube()).sampleId, 'robot');
    await other.reserved(AT_WORK);
    expect(await lab.storage.warnNotReady(other.ref(), lab.robotId)).toBe(true);
    expect((await alarms()).at(-1)).toMatchObject({ kind: 'robot_not_ready' });
    await reports(`held_fault_ids = '{}'`);
    expect(await lab.storage.warnNotReady(other.ref(), lab.robotId)).toBe(false);
  });
});
