import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MotionOutcome } from '../../activities/contract.ts';
import type { MotionReading } from '../../domain/controller.ts';
import { AT_WORK, type Job, ProcessLab } from '../setup/process-lab.ts';

let lab: ProcessLab;
// A robot of its own for each: what one test leaves in the journal would stand in the way of the next.
beforeEach(async () => {
  lab = await ProcessLab.open();
});
afterEach(() => lab.close());

/** A retrieval by robot that has the turn. */
async function working() {
  const tube = await lab.storedTube();
  const job = await lab.retrieval(tube.sampleId, 'robot');
  const { handoff } = await job.reserved(AT_WORK);
  if (!handoff) throw new Error('no hand-off');
  await job.takeTurn();
  return { job, handoff, ...tube };
}

function waitFor(job: Job, commandId: string): Promise<MotionOutcome> {
  return new MockActivityEnvironment().run(() => lab.motion.awaitMotion(job.ref(), commandId));
}

async function carryOut(
  job: Job,
  operation: 'pick' | 'place' | 'scan',
  positionId: string,
  reading: Partial<MotionReading>,
  state: 'DONE' | 'FAILED' | 'UNKNOWN' = 'DONE',
): Promise<MotionOutcome> {
  const commandId = await job.submit(operation, positionId);
  await lab.send(commandId);
  await lab.settle(commandId, state, reading);
  return waitFor(job, commandId);
}

const PICKED = { errorCode: 0, carrier: true, source: false };
const PLACED = { errorCode: 0, carrier: false, target: true };

describe('awaiting a motion', () => {
  test('tells what the sensors said', async () => {
    const { job, positionId } = await working();
    expect(await carryOut(job, 'pick', positionId, PICKED)).toEqual({
      state: 'DONE',
      number: 1,
      errorCode: 0,
      carrier: true,
      source: false,
      target: null,
      barcodeMatches: null,
      stop: null,
      detail: 'test',
    });
  });

  test('of a scan tells only whether it was the tube', async () => {
    const { job, positionId, barcode } = await working();
    await carryOut(job, 'pick', positionId, PICKED);
    const held = { errorCode: 0, carrier: true };
    const right = await carryOut(job, 'scan', positionId, { ...held, barcode });
    expect(right.barcodeMatches).toBe(true);
    const wrong = await carryOut(job, 'scan', positionId, { ...held, barcode: 'FOREIGN' });
    expect(wrong.barcodeMatches).toBe(false);
    const none = await carryOut(job, 'scan', positionId, { ...held, errorCode: 6 }, 'FAILED');
    expect(none.barcodeMatches).toBeNull();
    expect(JSON.stringify([right, wrong, none])).not.toContain(barcode);
    expect(JSON.stringify([right, wrong, none])).not.toContain('FOREIGN');
  });

  test('ends at once when it settles, and holds no connection until then', async () => {
    const { job, positionId } = await working();
    const commandId = await job.submit('pick', positionId);
    await lab.send(commandId);
    let heardAt = 0;
    const environment = new MockActivityEnvironment();
    const heartbeat = new Promise<void>((resolve) => environment.on('heartbeat', () => resolve()));
    const outcome = environment
      .run(() => lab.motion.awaitMotion(job.ref(), commandId))
      .then((settled) => {
        heardAt = performance.now();
        return settled;
      });
    await heartbeat;
    expect(lab.store.db.pool.idleCount).toBe(lab.store.db.pool.totalCount);
    await lab.settle(commandId, 'DONE', PICKED);
    const settledAt = performance.now();
    expect(await outcome).toMatchObject({ state: 'DONE' });
    // The journal is looked at every second besides; far less than that shows that it was told.
    expect(heardAt - settledAt).toBeLessThan(300);
  });

  test('hears of it although nothing was announced', async () => {
    const { job, positionId } = await working();
    const commandId = await job.submit('pick', positionId);
    await lab.send(commandId);
    const outcome = waitFor(job, commandId);
    await lab.watch.close();
    await lab.settle(commandId, 'DONE', PICKED);
    expect(await outcome).toMatchObject({ state: 'DONE' });
  });

  test('is given up when the worker ends, and a command nobody accepted is not found', async () => {
    const { job, positionId } = await working();
    const commandId = await job.submit('pick', positionId);
    const environment = new MockActivityEnvironment();
    const outcome = environment.run(() => lab.motion.awaitMotion(job.ref(), commandId));
    environment.cancel();
    await expect(outcome).rejects.toMatchObject({ name: 'CancelledFailure' });
    await expect(waitFor(job, 'no/such/command')).rejects.toMatchObject({ type: 'NOT_FOUND' });
  });
});

describe('invariant 5: a motion is commanded at most once, in the job’s turn', () => {
  test('without the turn, or with an old fence, nothing is accepted', async () => {
    const { job, positionId } = await working();
    const stale = job.order('pick', positionId);
    await job.endTurn(1);
    await expect(lab.motion.submitMotion(job.ref(), stale)).rejects.toMatchObject({ type: 'TURN_LOST' });
    const fence = await job.takeTurn(2);
    expect(fence).toBeGreaterThan(stale.fence);
    await expect(lab.motion.submitMotion(job.ref(), stale)).rejects.toMatchObject({ type: 'TURN_LOST' });
    await job.submit('pick', positionId);
    expect(await lab.rows(sql`SELECT number FROM motion WHERE job_id = ${job.id}`)).toHaveLength(1);
  });

  test('the turn is one job’s; its grant is repeated with the same fence, and ends by release', async () => {
    const { job } = await working();
    const fence = await job.takeTurn();
    expect(await job.takeTurn()).toBe(fence);
    const other = await lab.retrieval((await lab.storedTube()).sampleId, 'robot');
    await other.reserved(AT_WORK);
    await expect(other.takeTurn()).rejects.toThrow('not granted');
    await job.endTurn();
    expect(await other.takeTurn()).toBe(fence + 1);
  });

  test('a turn given back, of a job that is over or was taken over, is not granted', async () => {
    const { job } = await working();
    await job.endTurn(1);
    const ask = (turn: number, workflowId = job.workflowId) =>
      lab.robots.grantTurn(
        lab.store.tenantId,
        lab.robotId,
        { jobId: job.id, turn, workflowId, priority: 20, requestedAt: 0 },
        [],
      );
    expect(await ask(1)).toBeNull();
    expect(await ask(2, 'another-workflow')).toBeNull();
    expect(await ask(2)).toMatchObject({ fence: expect.any(Number) });
    await job.endTurn(null);
    expect(await ask(3)).toBeNull();
    await lab.storage.finishJob(job.ref(), 'FAILED', '');
    expect(await ask(4)).toBeNull();
  });

  test('a turn does not end under a command that was sent', async () => {
    const { job, positionId } = await working();
    const commandId = await job.submit('pick', positionId);
    await lab.send(commandId);
    await expect(job.endTurn(7)).rejects.toMatchObject({ type: 'CONFLICT' });
    await lab.settle(commandId, 'FAILED', { carrier: false, source: true });
    await job.endTurn(7);
  });

  test('the database lets no counter fall, and no turn begin without a new fence', async () => {
    await working();
    const other = await lab.placement(lab.newTube());
    for (const change of [
      sql`fence = fence - 1`,
      sql`epoch = epoch - 1`,
      sql`last_number = last_number - 1`,
      sql`job_id = ${other.id}`,
    ]) {
      const statement = sql`UPDATE robot_turn SET ${change} WHERE robot_id = ${lab.robotId}`;
      await expect(lab.rows(statement)).rejects.toMatchObject({ code: '23514' });
    }
  });

  test('the entity is told, once for each call, under its own id', async () => {
    const { job } = await working();
    lab.signals.length = 0;
    const ref = job.ref();
    await lab.robots.requestTurn(ref, lab.robotId, 20, 2);
    await lab.robots.requestTurn(ref, lab.robotId, 20, 2);
    expect(lab.signals.map((each) => each.signal)).toEqual(['request', 'request']);
    expect(lab.signals[1]).toEqual(lab.signals[0]);
    expect(lab.signals[0]).toMatchObject({
      workflowId: `t-${lab.store.tenantId}:robot:${lab.robotId}`,
      args: [{ jobId: job.id, turn: 2, workflowId: job.workflowId, priority: 20 }],
    });
    await job.endTurn();
    expect(lab.signals.at(-1)).toMatchObject({ signal: 'release', args: [{ jobId: job.id, turn: null }] });
  });
});

describe('invariant 6: from accepted motion to resolved custody the clock gives nothing away', () => {
  test('three lease times after the motion was accepted every position is still the job’s', async () => {
    const tube = lab.newTube();
    const job = await lab.placement(tube, { mode: 'robot', withinId: lab.box });
    const { place, handoff } = await job.reserved();
    if (!handoff) throw new Error('no hand-off');
    await job.takeTurn();
    // The person's scan takes the expiry off; put it on again, so that the acceptance alone must hold.
    await lab.storage.confirmAtHandoff(job.ref(), handoff, lab.scan(handoff, tube.barcode), AT_WORK);
    await lab.rows(sql`UPDATE position SET lease_expires_at = now() WHERE id = ${place.positionId}`);
    await job.submit('pick', handoff.positionId);
    await lab.lapse(job.id);
    const second = await lab.placement(lab.newTube(), { positionId: place.positionId });
    expect(await second.reserve()).toMatchObject({
      outcome: 'refused',
      refusal: { code: 'POSITION_OCCUPIED' },
    });
    expect(await lab.position(place.positionId)).toMatchObject({ job_id: job.id, lease_expires_at: null });
  });

  test('a tube is not picked when its target was lost before', async () => {
    const tube = await lab.storedTube();
    const positionId = await lab.freePosition();
    const job = await lab.move(tube.sampleId, 'robot', positionId);
    await job.reserved();
    await lab.lapse(job.id);
    const second = await lab.placement(lab.newTube(), { positionId });
    await second.reserved();
    await job.takeTurn();
    await expect(job.submit('pick', tube.positionId)).rejects.toMatchObject({ type: 'LEASE_LOST' });
    expect(await lab.rows(sql`SELECT FROM motion WHERE job_id = ${job.id}`)).toEqual([]);
  });

  test('nothing that a motion of unknown end addresses is freed, whatever is released', async () => {
    const { job, positionId, handoff } = await working();
    await carryOut(job, 'pick', positionId, PICKED);
    await lab.storage.moveCustody(job.ref(), { kind: 'carrier', robotId: lab.robotId }, AT_WORK);
    await carryOut(job, 'place', handoff.positionId, {}, 'UNKNOWN');
    await lab.storage.releaseReservations(job.ref());
    expect(await lab.position(handoff.positionId)).toMatchObject({ state: 'reserved', job_id: job.id });
    await lab.storage.finishJob(job.ref(), 'FAILED', 'Given up.');
    expect(await lab.position(handoff.positionId)).toMatchObject({ state: 'reserved', job_id: job.id });
  });
});

test('a placement by robot, step by step: custody follows the sensors, and the job ends with its positions settled', async () => {
  const tube = lab.newTube();
  const job = await lab.placement(tube, { mode: 'robot', withinId: lab.box });
  const { place, handoff } = await job.reserved();
  if (!handoff) throw new Error('no hand-off');
  await lab.storage.confirmAtHandoff(job.ref(), handoff, lab.scan(handoff, tube.barcode), AT_WORK);
  await job.takeTurn();
  await carryOut(job, 'pick', handoff.positionId, PICKED);
  await lab.storage.moveCustody(job.ref(), { kind: 'carrier', robotId: lab.robotId }, AT_WORK);
  await carryOut(job, 'place', place.positionId, PLACED);
  await lab.storage.moveCustody(job.ref(), { kind: 'position', positionId: place.positionId }, AT_WORK);
  await job.endTurn();
  await lab.storage.finishJob(job.ref(), 'COMPLETED', `Stored in ${place.label}.`);
  expect(await lab.position(handoff.positionId)).toMatchObject({ state: 'free' });
  expect(await lab.position(place.positionId)).toMatchObject({ state: 'occupied', job_id: null });
  expect(await lab.sample(job.sampleId)).toMatchObject({
    ai_optimized: true,
    witness: 'sensor',
    job_id: null,
  });
  expect((await lab.entries(job.sampleId)).map((entry) => entry.type)).toEqual([
    'storage.sample.registered',
    'storage.sample.at_handoff',
    'storage.sample.picked',
    'storage.sample.placed',
  ]);
});
