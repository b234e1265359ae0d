import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withChange } from '../../db/change.ts';
import { lockSample, moveSampleCustody } from '../../db/custody.ts';
import { reserveHandoff } from '../../db/handoff.ts';
import { blockPosition } from '../../db/location-service.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Confirmation } from '../../domain/confirmation.ts';
import { AT_WORK, AWAIT_SCAN, type Job, ProcessLab, UNDOING } from '../setup/process-lab.ts';
import { addLocation, positionsOf, storeSample, wrongCounters } from '../setup/store.ts';

let lab: ProcessLab;
beforeAll(async () => {
  lab = await ProcessLab.open();
});
afterAll(async () => {
  expect(await wrongCounters(lab.store)).toEqual([]);
  await lab.close();
});

const person = () => `person:${lab.actor.userId}`;

async function handPlacement() {
  const tube = lab.newTube();
  const job = await lab.placement(tube, { withinId: lab.box });
  const { place } = await job.reserved();
  return { job, place, tube };
}

describe('a placement', () => {
  test('by hand registers the tube with the person, and the scan moves it: two entries, one a change', async () => {
    const { job, place, tube } = await handPlacement();
    expect(await lab.sample(job.sampleId)).toMatchObject({ custody: 'person', job_id: job.id, version: 1 });
    expect(await lab.position(place.positionId)).toMatchObject({ state: 'reserved', job_id: job.id });
    expect((await job.row()).result).toMatchObject({
      place,
      explanation: { containerId: lab.box, rules: expect.any(Array), runnersUp: expect.any(Array) },
    });
    const result = await lab.storage.confirmPlaced(job.ref(), place, lab.scan(place, tube.barcode));
    expect(result).toMatchObject({ outcome: 'closed', state: 'COMPLETED' });
    const at = `position:${place.positionId}`;
    expect(await lab.entries(job.sampleId)).toMatchObject([
      { type: 'storage.sample.registered', from: null, to: person(), reason: 'placement' },
      { type: 'storage.sample.placed', from: person(), to: at, reason: 'placement', actor: lab.actor.userId },
    ]);
    expect(await lab.sample(job.sampleId)).toMatchObject({
      custody: 'position',
      position_id: place.positionId,
      witness: 'barcode',
      ai_optimized: true,
      job_id: null,
    });
    expect(await lab.position(place.positionId)).toMatchObject({ state: 'occupied', job_id: null });
    const [event] = await lab.rows<{ data: unknown }>(
      sql`SELECT data FROM event WHERE subject = ${`sample/${job.sampleId}`} AND type = 'storage.sample.placed'`,
    );
    expect(event?.data).toMatchObject({
      sample_id: job.sampleId,
      location_id: lab.box,
      position: place.label,
      ai_optimized: true,
      timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    expect(JSON.stringify(event?.data)).not.toContain(tube.barcode);
  });

  test('into a named position is not the system’s choice', async () => {
    const tube = lab.newTube();
    const positionId = await lab.freePosition();
    const job = await lab.placement(tube, { positionId });
    const { place } = await job.reserved();
    await lab.storage.confirmPlaced(job.ref(), place, lab.scan(place, tube.barcode));
    expect(await lab.sample(job.sampleId)).toMatchObject({ position_id: positionId, ai_optimized: false });
  });

  test('by robot takes a hand-off, and its leases end with the person’s scan', async () => {
    const tube = lab.newTube();
    const job = await lab.placement(tube, { mode: 'robot', withinId: lab.box });
    const reserved = await job.reserved();
    expect(reserved).toMatchObject({ robotId: lab.robotId, leaseExpiresAt: expect.any(String) });
    const { handoff } = reserved;
    if (!handoff) throw new Error('no hand-off');
    const scan = lab.scan(handoff, tube.barcode);
    expect(await lab.storage.confirmAtHandoff(job.ref(), handoff, scan, AT_WORK)).toEqual({
      outcome: 'done',
    });
    expect(await lab.sample(job.sampleId)).toMatchObject({
      custody: 'handoff',
      position_id: handoff.positionId,
    });
    expect((await lab.position(reserved.place.positionId)).lease_expires_at).toBeNull();
    expect(await job.row()).toMatchObject({ state: 'RUNNING', phase: 'AWAITING_TURN', robotId: lab.robotId });
    await lab.storage.finishJob(job.ref(), 'CANCELLED', 'The tube stays in the hand-off.');
    expect(await lab.position(handoff.positionId)).toMatchObject({ state: 'occupied', job_id: null });

    const again = await lab.placement(null, { mode: 'robot', sampleId: job.sampleId, withinId: lab.box });
    expect(await again.reserved(AT_WORK)).toMatchObject({ handoff, source: handoff, leaseExpiresAt: null });
    await lab.storage.finishJob(again.ref(), 'CANCELLED', 'Enough.');
  });
});

describe('a refused first step writes nothing but the refusal', () => {
  async function refused(job: Job, code: string): Promise<void> {
    const before = await traces();
    const answer = await job.reserve();
    expect(answer).toMatchObject({ outcome: 'refused', refusal: { code } });
    expect(await traces()).toEqual(before);
    const row = await job.row();
    expect(row).toMatchObject({ state: 'REFUSED', result: { refusal: { code } } });
    expect(row.startedAt).not.toBeNull();
    expect(row.finishedAt).not.toBeNull();
  }
  const traces = () =>
    lab.rows(sql`SELECT (SELECT count(*) FROM ledger.entry) AS entries, (SELECT count(*) FROM barcode) AS barcodes,
      (SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM sample s) AS samples,
      (SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM position p) AS positions`);

  test('no room', async () => {
    const freezer = await addLocation(lab.store, { type: 'site', name: `Elsewhere ${Date.now()}` });
    await refused(await lab.placement(lab.newTube(), { withinId: freezer }), 'NO_POSITION_FREE');
  });
  test('the position is occupied', async () => {
    const { positionId } = await lab.storedTube();
    await refused(await lab.placement(lab.newTube(), { positionId }), 'POSITION_OCCUPIED');
  });
  test('the wrong zone', async () => {
    const positionId = await lab.freePosition();
    await refused(await lab.placement(lab.newTube({ zone: '4' }), { positionId }), 'ZONE_MISMATCH');
  });
  test('the barcode is taken', async () => {
    const { barcode } = await lab.storedTube();
    await refused(await lab.placement(lab.newTube({ barcode })), 'BARCODE_TAKEN');
    await refused(await lab.placement(lab.newTube({ barcode: 'BOX-B1' })), 'BARCODE_TAKEN');
  });
  test('another job has the sample', async () => {
    const { sampleId } = await lab.storedTube();
    const first = await lab.retrieval(sampleId);
    await first.reserved();
    const second = await lab.move(sampleId);
    await refused(second, 'SAMPLE_BUSY');
    expect((await second.row()).result).toMatchObject({ refusal: { facts: { jobId: first.id } } });
    await lab.storage.finishJob(first.ref(), 'CANCELLED', '');
  });
  test('the sample is not where it could be taken from, or nowhere', async () => {
    const { sampleId } = await lab.storedTube();
    await refused(await lab.placement(null, { sampleId }), 'SAMPLE_NOT_STORED');
    await refused(await lab.retrieval('0190c0de-0000-7000-8000-00000000beef'), 'NOT_FOUND');
    const { job } = await handPlacement();
    await lab.storage.finishJob(job.ref(), 'CANCELLED', '');
    await refused(await lab.retrieval(job.sampleId), 'SAMPLE_NOT_STORED');
    await refused(await lab.move(job.sampleId), 'SAMPLE_NOT_STORED');
  });
  test('no robot reaches it', async () => {
    const cabinet = await addLocation(lab.store, { type: 'site', name: 'Outside' });
    const freezer = await addLocation(lab.store, { type: 'freezer', name: 'F9', parent: cabinet });
    const box = await addLocation(lab.store, { type: 'box_5x5', name: 'far', parent: freezer });
    const [positionId] = await positionsOf(lab.store, box);
    if (!positionId) throw new Error('the box has no positions');
    await refused(await lab.placement(lab.newTube(), { mode: 'robot', positionId }), 'OUT_OF_REACH');
    const sampleId = await storeSample(lab.store, { barcode: 'FAR-1', positionId });
    await refused(await lab.retrieval(sampleId, 'robot'), 'OUT_OF_REACH');
  });
});

test('a hand-off position that cannot be given is named by its label', async () => {
  const [taken, blocked] = await positionsOf(lab.store, lab.handoff).then((all) => all.slice(-2));
  const [elsewhere] = await positionsOf(lab.store, lab.box);
  const { job } = await handPlacement();
  const ask = async (positionId: string | undefined) => {
    const result = await inTenant(lab.store.db, lab.store.tenantId, (tx) =>
      reserveHandoff(tx, lab.store.tenantId, job.id, lab.robotId, positionId ?? '', 60_000),
    );
    return result.outcome === 'refused' ? result.refusal : result.outcome;
  };
  await blockPosition(lab.store.db, lab.store.context, lab.handoff, 'A8', 'broken');
  expect(await ask(taken)).toBe('reserved');
  expect(await ask(taken)).toEqual({
    code: 'POSITION_OCCUPIED',
    detail: 'hand-off position A7 of H1 is taken: name another, or none',
  });
  expect(await ask(blocked)).toEqual({
    code: 'POSITION_BLOCKED',
    detail: 'hand-off position A8 of H1 is blocked: name another, or none',
  });
  expect(await ask(elsewhere)).toMatchObject({
    code: 'OUT_OF_REACH',
    detail: expect.stringMatching(/^position A1 of B1 is not in the hand-off of R1/),
  });
});

describe('a scan that does not fit is refused and changes nothing', () => {
  test('the refusal says what was scanned and what was expected, in names and without a barcode', async () => {
    const { job, place, tube } = await handPlacement();
    const other = await lab.storedTube();
    const [freezer] = await lab.rows<{ id: string }>(sql`SELECT id FROM location WHERE name = 'F1'`);
    await addLocation(lab.store, {
      type: 'box_9x9',
      name: 'B2',
      parent: freezer?.id ?? '',
      barcode: 'BOX-B2',
    });
    const said = async (over: Partial<Confirmation>) => {
      const result = await lab.storage.confirmPlaced(job.ref(), place, lab.scan(place, tube.barcode, over));
      return result.outcome === 'refused' ? result.refusal.detail : 'taken';
    };
    expect(await said({ containerBarcode: 'BOX-B2' })).toBe(
      `What was scanned as the container is B2 in F1; ${place.label} was reserved in B1 in F1: scan that one.`,
    );
    expect(await said({ containerBarcode: 'NEVER-SEEN' })).toMatch(
      /^What was scanned as the container is nothing known/,
    );
    const another = await said({ sampleBarcode: other.barcode });
    expect(another).toMatch(
      /^What was scanned as the tube is the tube recorded in [A-I][1-9] of B1 in F1, not the tube/,
    );
    expect(another).toContain(`which is expected for ${place.label} of B1: scan that one.`);
    expect(await said({ sampleBarcode: 'BOX-B2' })).toMatch(/^What was scanned as the tube is B2 in F1, not/);
  });

  test.each<[string, Partial<Confirmation>, string]>([
    ['another tube', { sampleBarcode: 'NOT-THIS' }, 'BARCODE_MISMATCH'],
    ['another container', { containerBarcode: 'BOX-B2' }, 'BARCODE_MISMATCH'],
    ['another position', { position: 'I9' }, 'CONFLICT'],
    ['a position outside the grid', { position: 'Z99' }, 'POSITION_UNKNOWN'],
    ['an unreadable label and one person', { sampleBarcode: null }, 'SECOND_PERSON_REQUIRED'],
  ])('%s', async (_, over, code) => {
    const { job, place, tube } = await handPlacement();
    const before = await lab.entries(job.sampleId);
    const scan = lab.scan(place, tube.barcode, over);
    const result = await lab.storage.confirmPlaced(job.ref(), place, scan);
    expect(result).toMatchObject({ outcome: 'refused', refusal: { code } });
    expect(JSON.stringify(result)).not.toContain(tube.barcode);
    expect(await lab.entries(job.sampleId)).toEqual(before);
    expect(await job.row()).toMatchObject({ state: 'AWAITING_PERSON', finishedAt: null });
    await lab.storage.finishJob(job.ref(), 'CANCELLED', '');
  });

  test('a person of another laboratory', async () => {
    const { job, place, tube } = await handPlacement();
    const scan = lab.scan(place, tube.barcode, { actor: await lab.store.lab.addTenant() });
    await expect(lab.storage.confirmPlaced(job.ref(), place, scan)).rejects.toMatchObject({
      type: 'FORBIDDEN',
    });
    await lab.storage.finishJob(job.ref(), 'CANCELLED', '');
  });
});

describe('invariant 1: a sample has exactly one custody', () => {
  test('the way by robot and back leaves one entry a transition, each from where the one before ended', async () => {
    const { sampleId, barcode, positionId } = await lab.storedTube();
    const job = await lab.retrieval(sampleId, 'robot');
    const { handoff } = await job.reserved(AT_WORK);
    if (!handoff) throw new Error('no hand-off');
    const carrier = { kind: 'carrier', robotId: lab.robotId } as const;
    await lab.storage.moveCustody(job.ref(), carrier, AT_WORK);
    expect(await lab.position(positionId)).toMatchObject({
      state: 'reserved',
      job_id: job.id,
      sample_id: null,
    });
    expect(await lab.storage.custodyOf(job.ref())).toEqual(carrier);
    await lab.storage.moveCustody(job.ref(), { kind: 'position', positionId }, UNDOING);
    await lab.storage.moveCustody(job.ref(), { kind: 'position', positionId }, UNDOING);
    await lab.storage.moveCustody(job.ref(), carrier, AT_WORK);
    await lab.storage.moveCustody(job.ref(), { kind: 'handoff', positionId: handoff.positionId }, AWAIT_SCAN);
    await lab.storage.handOver(job.ref(), handoff, { actor: lab.actor, sampleBarcode: barcode });
    const entries = await lab.entries(sampleId);
    expect(entries.map((entry) => [entry.type, entry.reason])).toEqual([
      ['storage.sample.registered', 'registered'],
      ['storage.sample.picked', 'retrieval'],
      ['storage.sample.placed', 'putting_back'],
      ['storage.sample.picked', 'retrieval'],
      ['storage.sample.at_handoff', 'retrieval'],
      ['storage.sample.taken', 'hand_over'],
    ]);
    for (const [index, entry] of entries.entries()) {
      if (index > 0) expect(entry.from).toBe(entries[index - 1]?.to);
    }
    for (const id of [positionId, handoff.positionId]) {
      expect(await lab.position(id)).toMatchObject({ state: 'free', job_id: null });
    }
  });

  test('a carrier holds one tube', async () => {
    const [first, second] = [await lab.storedTube(), await lab.storedTube()];
    const [one, two] = [
      await lab.retrieval(first.sampleId, 'robot'),
      await lab.retrieval(second.sampleId, 'robot'),
    ];
    await one.reserved(AT_WORK);
    await two.reserved(AT_WORK);
    const carrier = { kind: 'carrier', robotId: lab.robotId } as const;
    await lab.storage.moveCustody(one.ref(), carrier, AT_WORK);
    await expect(lab.storage.moveCustody(two.ref(), carrier, AT_WORK)).rejects.toMatchObject({
      type: 'INTERNAL',
      nonRetryable: true,
    });
    await lab.storage.moveCustody(one.ref(), { kind: 'position', positionId: first.positionId }, UNDOING);
    await lab.storage.finishJob(one.ref(), 'FAILED', '');
    await lab.storage.finishJob(two.ref(), 'FAILED', '');
  });

  test('position and sample cannot name different partners', async () => {
    const { sampleId } = await lab.storedTube();
    const other = await lab.freePosition();
    for (const statement of [
      sql`UPDATE sample SET position_id = ${other}, version = version + 1 WHERE id = ${sampleId}`,
      sql`UPDATE position SET state = 'free', sample_id = NULL WHERE sample_id = ${sampleId}`,
      sql`UPDATE position SET state = 'occupied', sample_id = ${sampleId} WHERE id = ${other}`,
    ]) {
      await expect(lab.rows(statement)).rejects.toThrow();
    }
  });
});

describe('invariant 2: one sample a position, one job a sample', () => {
  test('of two jobs for one sample one gets it; the other names it', async () => {
    const { sampleId } = await lab.storedTube();
    const jobs = await Promise.all([
      lab.retrieval(sampleId),
      lab.retrieval(sampleId),
      lab.retrieval(sampleId),
    ]);
    const answers = await Promise.all(jobs.map((job) => job.reserve()));
    const winner = jobs[answers.findIndex((answer) => answer.outcome === 'accepted')];
    expect(answers.filter((answer) => answer.outcome === 'accepted')).toHaveLength(1);
    for (const answer of answers) {
      if (answer.outcome === 'accepted') continue;
      expect(answer.refusal).toMatchObject({ code: 'SAMPLE_BUSY', facts: { jobId: winner?.id } });
    }
    if (winner) await lab.storage.finishJob(winner.ref(), 'CANCELLED', '');
  });

  test('of many jobs for the last position one gets it', async () => {
    const positionId = await lab.freePosition();
    const jobs = await Promise.all(
      Array.from({ length: 16 }, () => lab.placement(lab.newTube(), { positionId })),
    );
    const answers = await Promise.all(jobs.map((job) => job.reserve()));
    expect(answers.filter((answer) => answer.outcome === 'accepted')).toHaveLength(1);
    const registered = await lab.rows(
      sql`SELECT id FROM sample WHERE id = ANY (${jobs.map((job) => job.sampleId)}::uuid[])`,
    );
    expect(registered).toHaveLength(1);
  });

  test('a job without the sample cannot move it, nor into a position that is another’s', async () => {
    const { sampleId, positionId } = await lab.storedTube();
    const { job, place } = await handPlacement();
    const move = (to: string, jobId: string) =>
      withChange(lab.store.db, { actor: lab.actor, reason: 'move' }, async (change) => {
        const sample = await lockSample(change.tx, lab.store.tenantId, sampleId);
        if (!sample) throw new Error('the sample is gone');
        return moveSampleCustody(change, {
          tenantId: lab.store.tenantId,
          sample,
          jobId,
          to: { kind: 'position', positionId: to },
          witness: 'person',
          type: 'storage.sample.placed',
        });
      });
    await expect(move(place.positionId, job.id)).rejects.toMatchObject({ code: 'SAMPLE_BUSY' });
    const own = await lab.move(sampleId, 'hand', await lab.freePosition());
    await own.reserved();
    await expect(move(place.positionId, own.id)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    const occupied = await lab.storedTube();
    await expect(move(occupied.positionId, own.id)).rejects.toMatchObject({ code: 'POSITION_OCCUPIED' });
    expect(await lab.sample(sampleId)).toMatchObject({ position_id: positionId });
    await lab.storage.finishJob(own.ref(), 'CANCELLED', '');
    await lab.storage.finishJob(job.ref(), 'CANCELLED', '');
  });
});

describe('invariant 6, before motion: a lease ends by time', () => {
  test('a position given to somebody else is lost; the scan is refused and the tube stays with the person', async () => {
    const { job, place, tube } = await handPlacement();
    await lab.lapse(job.id);
    const second = await lab.placement(lab.newTube(), { positionId: place.positionId });
    expect(await second.reserved()).toMatchObject({ place });
    const scan = lab.scan(place, tube.barcode);
    expect(await lab.storage.confirmPlaced(job.ref(), place, scan)).toMatchObject({
      outcome: 'refused',
      refusal: { code: 'LEASE_LOST' },
    });
    expect(await lab.sample(job.sampleId)).toMatchObject({ custody: 'person' });
    await lab.storage.finishJob(job.ref(), 'FAILED', 'The lease ran out.');
    expect(await lab.position(place.positionId)).toMatchObject({ state: 'reserved', job_id: second.id });
    await lab.storage.finishJob(second.ref(), 'CANCELLED', '');
  });

  test('a lapsed lease that nobody took still serves the person who comes late', async () => {
    const { job, place, tube } = await handPlacement();
    await lab.lapse(job.id);
    const scan = lab.scan(place, tube.barcode);
    expect(await lab.storage.confirmPlaced(job.ref(), place, scan)).toMatchObject({ outcome: 'closed' });
  });

  test('a tube is not accepted at the hand-off when its target has gone to somebody else', async () => {
    const tube = lab.newTube();
    const job = await lab.placement(tube, { mode: 'robot', withinId: lab.box });
    const { place, handoff } = await job.reserved();
    if (!handoff) throw new Error('no hand-off');
    await lab.lapse(job.id);
    const second = await lab.placement(lab.newTube(), { positionId: place.positionId });
    await second.reserved();
    const scan = lab.scan(handoff, tube.barcode);
    expect(await lab.storage.confirmAtHandoff(job.ref(), handoff, scan, AT_WORK)).toMatchObject({
      outcome: 'refused',
      refusal: { code: 'LEASE_LOST' },
    });
    expect(await lab.sample(job.sampleId)).toMatchObject({ custody: 'person' });
  });
});

test('releasing frees what is empty, keeps what stands there, and the registered sample with its person', async () => {
  const { job, place } = await handPlacement();
  expect(await lab.storage.releaseReservations(job.ref())).toEqual({ released: 2 });
  expect(await lab.position(place.positionId)).toMatchObject({ state: 'free', job_id: null });
  expect(await lab.sample(job.sampleId)).toMatchObject({ custody: 'person', job_id: null });
  expect(await lab.storage.releaseReservations(job.ref())).toEqual({ released: 0 });

  const { sampleId, positionId } = await lab.storedTube();
  const retrieval = await lab.retrieval(sampleId);
  await retrieval.reserved();
  await lab.storage.releaseReservations(retrieval.ref());
  expect(await lab.position(positionId)).toMatchObject({
    state: 'occupied',
    job_id: null,
    sample_id: sampleId,
  });
});

test('what one job writes is one transaction: a step that fails at the end leaves nothing', async () => {
  const { sampleId } = await lab.storedTube();
  const job = await lab.retrieval(sampleId);
  await job.reserved();
  const seen = { kind: 'person', userId: '0190c0de-0000-7000-8000-00000000beef' } as const;
  await expect(lab.storage.moveCustody(job.ref('late'), seen, AT_WORK)).rejects.toMatchObject({
    type: 'INTERNAL',
  });
  const steps = await inTenant(lab.store.db, lab.store.tenantId, (tx) =>
    tx.selectFrom('job_step').selectAll().where('job_id', '=', job.id).where('step', '=', 'late').execute(),
  );
  expect(steps).toEqual([]);
  expect(await lab.sample(sampleId)).toMatchObject({ custody: 'position' });
});
