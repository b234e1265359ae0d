import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SeenAt } from '../../activities/contract.ts';
import { inTenant } from '../../db/tenancy.ts';
import { holdRobot } from '../../db/turns.ts';
import type { Decision } from '../../workflows/messages/job.ts';
import { AT_WORK, type Job, ProcessLab } from '../setup/process-lab.ts';

let lab: ProcessLab;
// A carrier of its own for each.
beforeEach(async () => {
  lab = await ProcessLab.open();
});
afterEach(() => lab.close());

/** A retrieval by robot whose place at the hand-off nobody has seen the end of. */
async function parked(robotId: string | null = lab.robotId) {
  const tube = await lab.storedTube();
  const job = await lab.retrieval(tube.sampleId, 'robot');
  const { handoff } = await job.reserved(AT_WORK);
  if (!handoff) throw new Error('no hand-off');
  await lab.storage.moveCustody(job.ref(), { kind: 'carrier', robotId: lab.robotId }, AT_WORK);
  const candidates: SeenAt[] = [
    { kind: 'carrier', robotId: lab.robotId },
    { kind: 'handoff', positionId: handoff.positionId },
  ];
  const problem = {
    kind: 'outcome_unknown',
    detail: 'The controller does not answer.',
    robotId,
    candidates,
  } as const;
  const { faultId } = await lab.storage.park(job.ref(), problem);
  return { ...tube, job, handoff, faultId };
}

function answer(faultId: string, over: Partial<Decision>): Decision {
  return {
    actor: lab.actor,
    faultId,
    answer: 'with_me',
    sampleBarcode: null,
    next: 'release',
    positionId: null,
    lockedOut: true,
    robotFit: true,
    comment: null,
    ...over,
  };
}

const held = async () => {
  const [row] = await lab.rows<{ held_fault_id: string | null }>(
    sql`SELECT held_fault_id FROM robot_state WHERE robot_id = ${lab.robotId}`,
  );
  return row?.held_fault_id ?? null;
};
const heldBy = async () => {
  const [row] = await lab.rows<{ held_fault_ids: string[] }>(
    sql`SELECT held_fault_ids FROM robot_state WHERE robot_id = ${lab.robotId}`,
  );
  return row?.held_fault_ids;
};
const alarms = () =>
  lab.rows<{ kind: string; severity: string; cleared_at: Date | null; job_id: string }>(
    sql`SELECT kind, severity, cleared_at, job_id FROM alarm ORDER BY id`,
  );

describe('parking', () => {
  test('freezes tube, positions and robot, asks, and raises the alarm', async () => {
    const { job, sampleId, positionId, handoff, faultId } = await parked();
    expect(await job.row()).toMatchObject({
      state: 'AWAITING_OPERATOR',
      phase: 'OUTCOME_UNKNOWN',
      faultId,
      question: {
        faultId,
        kind: 'outcome_unknown',
        detail: 'The controller does not answer.',
        candidates: [{ kind: 'carrier' }, { kind: 'handoff', label: handoff.label, containerName: 'H1' }],
        answers: ['at_source', 'at_target', 'in_carrier', 'with_me', 'elsewhere', 'damaged', 'not_found'].map(
          (answer) => ({ answer, does: expect.any(String) }),
        ),
      },
    });
    expect(await lab.sample(sampleId)).toMatchObject({
      custody: 'unknown',
      candidates: [
        { kind: 'carrier', robotId: lab.robotId },
        { kind: 'handoff', positionId: handoff.positionId },
      ],
    });
    for (const id of [positionId, handoff.positionId]) {
      expect(await lab.position(id)).toMatchObject({
        state: 'reserved',
        job_id: job.id,
        lease_expires_at: null,
      });
    }
    expect(await held()).toBe(faultId);
    expect(await alarms()).toMatchObject([
      { kind: 'outcome_unknown', severity: 'critical', cleared_at: null },
    ]);
    expect(await lab.storage.custodyOf(job.ref())).toEqual({ kind: 'unknown', isGivenUp: false });
  });

  test('what may hold the tube is not freed by releasing nor by ending the job', async () => {
    const { job, handoff } = await parked();
    await lab.storage.releaseReservations(job.ref());
    await lab.storage.finishJob(job.ref(), 'FAILED', 'Given up.');
    expect(await lab.position(handoff.positionId)).toMatchObject({ state: 'reserved', job_id: job.id });
    expect(await alarms()).toMatchObject([{ cleared_at: expect.any(Date) }]);
  });

  test('the entity’s projection does not lift a hold', async () => {
    const { job, faultId, barcode } = await parked();
    await lab.robots.projectRobot(lab.store.tenantId, lab.robotId, []);
    expect(await held()).toBe(faultId);
    const unfit = answer(faultId, { sampleBarcode: barcode, robotFit: false });
    expect(await lab.storage.applyDecision(job.ref(), unfit)).toEqual({ outcome: 'done' });
    expect(await held()).toBe(faultId);
    await lab.robots.reportFault(job.ref(), lab.robotId, faultId, true);
    expect(await held()).toBeNull();
  });

  test('a stuck compensation with a known custody moves nothing', async () => {
    const { sampleId } = await lab.storedTube();
    const job = await lab.retrieval(sampleId);
    await job.reserved();
    const before = await lab.entries(sampleId);
    const problem = {
      kind: 'compensation_stuck',
      detail: 'The undo fails.',
      robotId: null,
      candidates: null,
    } as const;
    const { faultId } = await lab.storage.park(job.ref(), problem);
    expect(await lab.entries(sampleId)).toEqual(before);
    expect(await job.row()).toMatchObject({ phase: 'COMPENSATION_STUCK' });
    const retry = answer(faultId, { answer: 'retry_undo' });
    expect(await lab.storage.applyDecision(job.ref(), retry)).toEqual({ outcome: 'done' });
    expect(await job.row()).toMatchObject({ state: 'RUNNING', question: null, faultId: null });
    expect(await lab.entries(sampleId)).toEqual(before);
  });
});

describe('the operator’s answer', () => {
  type Found = { custody: string; witness: string };
  test.each<[Decision['answer'], Found, string]>([
    ['at_source', { custody: 'position', witness: 'barcode' }, 'storage.sample.found'],
    ['at_target', { custody: 'handoff', witness: 'barcode' }, 'storage.sample.found'],
    ['in_carrier', { custody: 'carrier', witness: 'barcode' }, 'storage.sample.found'],
    ['with_me', { custody: 'person', witness: 'barcode' }, 'storage.sample.found'],
    ['not_found', { custody: 'unknown', witness: 'person' }, 'storage.sample.custody_unknown'],
  ])(
    '%s moves custody to where the tube was found, and makes the end a deviation',
    async (where, found, type) => {
      const { job, sampleId, faultId, barcode, positionId, handoff } = await parked();
      const sampleBarcode = where === 'not_found' ? null : barcode;
      const decision = answer(faultId, { answer: where, sampleBarcode, comment: 'Looked into the cell.' });
      expect(await lab.storage.applyDecision(job.ref(), decision)).toEqual({ outcome: 'done' });
      expect(await lab.sample(sampleId)).toMatchObject(found);
      const entries = await lab.entries(sampleId);
      expect(entries.at(-1)).toMatchObject({ type, reason: 'decision', from: 'unknown' });
      expect(await job.row()).toMatchObject({
        state: 'RUNNING',
        question: null,
        faultId: null,
        result: { deviation: { faultId, answer: where } },
      });
      expect(await held()).toBeNull();
      expect(await alarms()).toMatchObject([{ cleared_at: expect.any(Date) }]);
      await lab.storage.finishJob(job.ref(), 'COMPLETED_WITH_DEVIATION', '');
      const left = where === 'at_source' ? 'occupied' : 'free';
      expect((await lab.position(positionId)).state).toBe(left);
      expect((await lab.position(handoff.positionId)).state).toBe(
        where === 'at_target' ? 'occupied' : 'free',
      );
    },
  );

  test('a scan that ends the job later says that there was a deviation', async () => {
    const { job, faultId, barcode, handoff } = await parked();
    await lab.storage.applyDecision(
      job.ref(),
      answer(faultId, { answer: 'at_target', sampleBarcode: barcode }),
    );
    const taken = await lab.storage.handOver(job.ref(), handoff, {
      actor: lab.actor,
      sampleBarcode: barcode,
    });
    expect(taken).toMatchObject({ outcome: 'closed', state: 'COMPLETED_WITH_DEVIATION' });
  });

  test('for another fault, with another tube, without one, or impossible, is refused and changes nothing', async () => {
    const { job, sampleId, faultId, barcode } = await parked(null);
    const other = '0190c0de-0000-7000-8000-00000000beef';
    const before = [await lab.entries(sampleId), await alarms()];
    for (const [decision, code] of [
      [answer(other, { sampleBarcode: barcode }), 'STALE_ANSWER'],
      [answer(faultId, { sampleBarcode: 'FOREIGN' }), 'BARCODE_MISMATCH'],
      [answer(faultId, {}), 'VALIDATION'],
      [answer(faultId, { answer: 'retry_undo' }), 'VALIDATION'],
      [answer(faultId, { answer: 'in_carrier', sampleBarcode: barcode }), 'VALIDATION'],
    ] as const) {
      expect(await lab.storage.applyDecision(job.ref(), decision)).toMatchObject({
        outcome: 'refused',
        refusal: { code },
      });
    }
    expect([await lab.entries(sampleId), await alarms()]).toEqual(before);
    expect(await job.row()).toMatchObject({ state: 'AWAITING_OPERATOR', faultId });
    await lab.storage.applyDecision(job.ref(), answer(faultId, { sampleBarcode: barcode }));
    const late = await lab.storage.applyDecision(job.ref(), answer(faultId, { sampleBarcode: barcode }));
    expect(late).toMatchObject({ outcome: 'refused', refusal: { code: 'NOT_WAITING' } });
  });

  test('for a placement by hand the source is the person', async () => {
    const tube = lab.newTube();
    const job = await lab.placement(tube);
    await job.reserved();
    const problem = {
      kind: 'workflow_gone',
      detail: 'The workflow is gone.',
      robotId: null,
      candidates: null,
    } as const;
    const { faultId } = await lab.storage.park(job.ref(), problem);
    const decision = answer(faultId, { answer: 'at_source', sampleBarcode: tube.barcode });
    expect(await lab.storage.applyDecision(job.ref(), decision)).toEqual({ outcome: 'done' });
    expect(await lab.sample(job.sampleId)).toMatchObject({ custody: 'person' });
  });

  test('a tube that was lost and turns up is placed again', async () => {
    const { job, sampleId, faultId, barcode } = await parked();
    await lab.storage.applyDecision(job.ref(), answer(faultId, { answer: 'not_found' }));
    await lab.storage.finishJob(job.ref(), 'COMPLETED_WITH_DEVIATION', 'Lost.');
    const again = await lab.placement(null, { sampleId, withinId: lab.box });
    const { place } = await again.reserved();
    const scan = lab.scan(place, barcode);
    expect(await lab.storage.confirmPlaced(again.ref(), place, scan)).toMatchObject({ outcome: 'closed' });
    expect(await lab.sample(sampleId)).toMatchObject({ custody: 'position', position_id: place.positionId });
  });
});

describe('a place in which the robot found another tube', () => {
  /** A retrieval by robot whose tube was not the one expected: it was put back, and the operator is asked. */
  async function mismatched(problem: 'barcode_mismatch' | 'outcome_unknown' = 'barcode_mismatch') {
    const tube = await lab.storedTube();
    const job = await lab.retrieval(tube.sampleId, 'robot');
    await job.reserved(AT_WORK);
    const asked = {
      kind: problem,
      detail: 'Another barcode.',
      robotId: lab.robotId,
      candidates: null,
      ...(problem === 'barcode_mismatch' && { strangerIn: tube.positionId }),
    };
    const { faultId } = await lab.storage.park(job.ref(), asked);
    return { ...tube, job, faultId };
  }
  const place = async (id: string) => {
    const [row] = await lab.rows<{ state: string; blocked_reason: string | null; job_id: string | null }>(
      sql`SELECT state, blocked_reason, job_id FROM position WHERE id = ${id}`,
    );
    return row;
  };

  test.each(['not_found', 'with_me'] as const)(
    'is offered to nobody after %s: it is blocked until somebody has looked',
    async (where) => {
      const { job, faultId, barcode, sampleId, positionId } = await mismatched();
      const sampleBarcode = where === 'not_found' ? null : barcode;
      const given = answer(faultId, { answer: where, sampleBarcode });
      expect(await lab.storage.applyDecision(job.ref(), given)).toEqual({ outcome: 'done' });
      await lab.storage.finishJob(job.ref(), 'FAILED', 'Another tube stands there.');
      expect(await place(positionId)).toEqual({
        state: 'blocked',
        blocked_reason: expect.stringContaining('another barcode'),
        job_id: null,
      });
      expect(await lab.sample(sampleId)).toMatchObject({
        custody: where === 'not_found' ? 'unknown' : 'person',
        job_id: null,
      });
      const [entry] = await lab.rows<{ type: string }>(
        sql`SELECT type FROM event WHERE subject = ${`location/${lab.box}`} ORDER BY recorded_at DESC LIMIT 1`,
      );
      expect(entry?.type).toBe('storage.location.position_blocked');
    },
  );

  test('is the tube’s own when that is found there after all', async () => {
    const { job, faultId, barcode, sampleId, positionId } = await mismatched();
    const given = answer(faultId, { answer: 'at_source', sampleBarcode: barcode });
    expect(await lab.storage.applyDecision(job.ref(), given)).toEqual({ outcome: 'done' });
    await lab.storage.finishJob(job.ref(), 'FAILED', 'The label was misread.');
    expect(await place(positionId)).toMatchObject({ state: 'occupied' });
    expect(await lab.sample(sampleId)).toMatchObject({ custody: 'position', position_id: positionId });
  });

  test('is the hand-off where the robot was to fetch the tube back: the tube’s own position stays its own', async () => {
    const { sampleId, positionId, barcode } = await lab.storedTube();
    const job = await lab.retrieval(sampleId, 'robot');
    const { handoff } = await job.reserved(AT_WORK);
    const strangerIn = handoff?.positionId ?? '';
    const asked = {
      kind: 'barcode_mismatch',
      detail: 'Another barcode.',
      robotId: lab.robotId,
      candidates: null,
    } as const;
    const { faultId } = await lab.storage.park(job.ref(), { ...asked, strangerIn });
    await lab.storage.applyDecision(
      job.ref(),
      answer(faultId, { answer: 'at_source', sampleBarcode: barcode }),
    );
    expect(await place(strangerIn)).toMatchObject({ state: 'blocked' });
    expect(await place(positionId)).toMatchObject({ state: 'occupied' });
  });

  test('is blocked also when another workflow had to ask again', async () => {
    const { job, positionId } = await mismatched();
    const again = { kind: 'workflow_gone', detail: 'Gone.', robotId: null, candidates: null } as const;
    const { faultId } = await lab.storage.park(job.ref(), again);
    await lab.storage.applyDecision(job.ref(), answer(faultId, { answer: 'not_found' }));
    expect(await place(positionId)).toMatchObject({ state: 'blocked' });
  });

  test('is free again where there was no other tube', async () => {
    const { job, faultId, positionId } = await mismatched('outcome_unknown');
    await lab.storage.applyDecision(job.ref(), answer(faultId, { answer: 'not_found' }));
    await lab.storage.finishJob(job.ref(), 'FAILED', 'Lost.');
    expect(await place(positionId)).toMatchObject({ state: 'free' });
  });
});

describe('taking over a job', () => {
  const adopt = (job: Job) =>
    lab.storage.adoptJob({ ...job.ref(), workflowId: `t-${lab.store.tenantId}:reconcile:${job.id}` });

  test('by hand: custody is surely known', async () => {
    const { sampleId } = await lab.storedTube();
    const job = await lab.retrieval(sampleId);
    await job.reserved();
    expect(await adopt(job)).toEqual({
      kind: 'retrieval',
      sampleId,
      robotId: null,
      liveCommandId: null,
      candidates: null,
    });
    expect((await job.row()).workflowId).toContain(':reconcile:');
  });

  test('with a pick accepted since custody was confirmed: source or carrier, and the live command', async () => {
    const { sampleId, positionId } = await lab.storedTube();
    const job = await lab.retrieval(sampleId, 'robot');
    await job.reserved(AT_WORK);
    await job.takeTurn();
    const commandId = await job.submit('pick', positionId);
    expect(await adopt(job)).toMatchObject({
      robotId: lab.robotId,
      liveCommandId: commandId,
      candidates: [
        { kind: 'carrier', robotId: lab.robotId },
        { kind: 'position', positionId },
      ],
    });
  });

  test('of a parked job: the candidates it was parked with', async () => {
    const { job, handoff } = await parked();
    expect((await adopt(job))?.candidates).toEqual([
      { kind: 'carrier', robotId: lab.robotId },
      { kind: 'handoff', positionId: handoff.positionId },
    ]);
  });

  test('of a parked job: the new question holds the robot instead of the one that nobody answers any more', async () => {
    const stranger = '0190c0de-0000-7000-8000-00000000fa17';
    await inTenant(lab.store.db, lab.store.tenantId, (tx) =>
      holdRobot(tx, lab.store.tenantId, lab.robotId, stranger),
    );
    const { job, faultId: lost, barcode } = await parked();
    expect(await heldBy()).toEqual([stranger, lost]);
    await adopt(job);
    const ref = { ...job.ref(), workflowId: `t-${lab.store.tenantId}:reconcile:${job.id}` };
    const problem = {
      kind: 'workflow_gone',
      detail: 'Gone.',
      robotId: lab.robotId,
      candidates: null,
    } as const;
    const { faultId, replaced } = await lab.storage.park(ref, problem);
    expect(replaced).toBe(lost);
    expect(await heldBy()).toEqual([stranger, faultId]);
    const found = answer(faultId, { sampleBarcode: barcode });
    expect(await lab.storage.applyDecision({ ...ref, step: 'decide' }, found)).toEqual({ outcome: 'done' });
    expect(await heldBy()).toEqual([stranger]);
  });

  test('of a parked job, asked about without the robot: the robot stays held', async () => {
    const { job, faultId: lost } = await parked();
    await adopt(job);
    const ref = { ...job.ref(), workflowId: `t-${lab.store.tenantId}:reconcile:${job.id}` };
    const problem = { kind: 'workflow_gone', detail: 'Gone.', robotId: null, candidates: null } as const;
    expect(await lab.storage.park(ref, problem)).toEqual({ faultId: expect.any(String) });
    expect(await heldBy()).toEqual([lost]);
  });
});
