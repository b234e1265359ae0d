import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { releaseStep } from '../../domain/turns.ts';
import { AT_WORK, AWAIT_SCAN, type Job, ProcessLab, UNDOING } from '../setup/process-lab.ts';

let lab: ProcessLab;
beforeAll(async () => {
  lab = await ProcessLab.open();
});
afterAll(() => lab.close());

/** Everything a step may write: what a repeat must leave as it was. */
async function written(): Promise<unknown> {
  return lab.rows(sql`SELECT
    (SELECT count(*) FROM ledger.entry) AS entries, (SELECT count(*) FROM event) AS events,
    (SELECT count(*) FROM job_step) AS steps, (SELECT count(*) FROM step_result) AS results,
    (SELECT count(*) FROM motion) AS motions, (SELECT sum(fence) FROM robot_turn) AS fences,
    (SELECT md5(string_agg(s::text, ',' ORDER BY id)) FROM sample s) AS samples,
    (SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM position p) AS positions,
    (SELECT md5(string_agg((to_jsonb(j) - 'updated_at')::text, ',' ORDER BY id)) FROM job j) AS jobs`);
}

interface Twice {
  readonly job: Job;
  readonly once: () => Promise<unknown>;
  /** the same step with other parameters; null for a step that has none */
  readonly differently: (() => Promise<unknown>) | null;
}

const OTHER = { ...AT_WORK, phase: 'VERIFYING' } as const;

/** Each step on a job of its own, brought to where the step makes sense. */
const STEPS: Record<string, () => Promise<Twice>> = {
  reservePlacement: async () => {
    const job = await lab.placement(lab.newTube());
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.reservePlacement(ref, AWAIT_SCAN),
      differently: () => lab.storage.reservePlacement(ref, AT_WORK),
    };
  },
  'reservePlacement, refused': async () => {
    const tube = await lab.storedTube();
    const job = await lab.placement(lab.newTube(), { positionId: tube.positionId });
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.reservePlacement(ref, AWAIT_SCAN),
      differently: () => lab.storage.reservePlacement(ref, AT_WORK),
    };
  },
  reserveRetrieval: async () => {
    const job = await lab.retrieval((await lab.storedTube()).sampleId, 'robot');
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.reserveRetrieval(ref, AT_WORK),
      differently: () => lab.storage.reserveRetrieval(ref, AWAIT_SCAN),
    };
  },
  reserveMove: async () => {
    const tube = await lab.storedTube();
    const job = await lab.move(tube.sampleId, 'hand', await lab.freePosition());
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.reserveMove(ref, AWAIT_SCAN),
      differently: () => lab.storage.reserveMove(ref, AT_WORK),
    };
  },
  confirmPlaced: async () => {
    const tube = lab.newTube();
    const job = await lab.placement(tube);
    const { place } = await job.reserved();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.confirmPlaced(ref, place, lab.scan(place, tube.barcode)),
      differently: () => lab.storage.confirmPlaced(ref, place, lab.scan(place, 'ANOTHER')),
    };
  },
  'confirmPlaced, refused': async () => {
    const job = await lab.placement(lab.newTube());
    const { place } = await job.reserved();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.confirmPlaced(ref, place, lab.scan(place, 'ANOTHER')),
      differently: () => lab.storage.confirmPlaced(ref, place, lab.scan(place, null)),
    };
  },
  confirmAtHandoff: async () => {
    const { job, handoff, barcode } = await robotPlacement();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.confirmAtHandoff(ref, handoff, lab.scan(handoff, barcode), AT_WORK),
      differently: () => lab.storage.confirmAtHandoff(ref, handoff, lab.scan(handoff, barcode), OTHER),
    };
  },
  confirmTaken: async () => {
    const tube = await lab.storedTube();
    const job = await lab.retrieval(tube.sampleId);
    const { place } = await job.reserved();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.confirmTaken(ref, place, lab.scan(place, tube.barcode)),
      differently: () => lab.storage.confirmTaken(ref, place, lab.scan(place, 'ANOTHER')),
    };
  },
  handOver: async () => {
    const tube = await lab.storedTube();
    const job = await lab.retrieval(tube.sampleId, 'robot');
    const { handoff } = await job.reserved(AT_WORK);
    if (!handoff) throw new Error('no hand-off');
    await lab.storage.moveCustody(job.ref(), { kind: 'carrier', robotId: lab.robotId }, AT_WORK);
    await lab.storage.moveCustody(job.ref(), { kind: 'handoff', positionId: handoff.positionId }, AWAIT_SCAN);
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.handOver(ref, handoff, { actor: lab.actor, sampleBarcode: tube.barcode }),
      differently: () => lab.storage.handOver(ref, handoff, { actor: lab.actor, sampleBarcode: 'ANOTHER' }),
    };
  },
  moveCustody: async () => {
    const { job, place } = await carried();
    const ref = job.ref();
    const seen = { kind: 'position', positionId: place.positionId } as const;
    return {
      job,
      once: () => lab.storage.moveCustody(ref, seen, AT_WORK),
      differently: () => lab.storage.moveCustody(ref, seen, UNDOING),
    };
  },
  markPhase: async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.markPhase(ref, AT_WORK),
      differently: () => lab.storage.markPhase(ref, OTHER),
    };
  },
  recordCancel: async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.recordCancel(ref, lab.actor, 'no longer needed'),
      differently: () => lab.storage.recordCancel(ref, lab.actor, null),
    };
  },
  releaseReservations: async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    const ref = job.ref();
    return { job, once: () => lab.storage.releaseReservations(ref), differently: null };
  },
  finishJob: async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.finishJob(ref, 'CANCELLED', 'Nobody came.'),
      differently: () => lab.storage.finishJob(ref, 'FAILED', 'Nobody came.'),
    };
  },
  freeze: async () => {
    const { job, doubt } = await inDoubt();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.freeze(ref, doubt),
      differently: () => lab.storage.freeze(ref, { ...doubt, stop: 'a door is open' }),
    };
  },
  recordFinding: async () => {
    const { job, doubt, seen } = await inDoubt();
    await lab.storage.freeze(job.ref(), doubt);
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.recordFinding(ref, { seen, detail: '', next: AT_WORK }),
      differently: () => lab.storage.recordFinding(ref, { seen, detail: 'other', next: AT_WORK }),
    };
  },
  holdForSafety: async () => {
    const { job } = await inDoubt();
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.holdForSafety(ref, lab.robotId, 'a door is open'),
      differently: () => lab.storage.holdForSafety(ref, lab.robotId, 'the robot is locked out'),
    };
  },
  escalate: async () => {
    const { job } = await carried();
    const { faultId } = await lab.storage.park(job.ref(), {
      kind: 'dropped',
      detail: 'No sensor sees it.',
      robotId: lab.robotId,
      candidates: [{ kind: 'carrier', robotId: lab.robotId }],
    });
    const ref = job.ref();
    return {
      job,
      once: () => lab.storage.escalate(ref, faultId, 1),
      differently: () => lab.storage.escalate(ref, faultId, 2),
    };
  },
  warnNotReady: async () => {
    const { job } = await inDoubt();
    const ref = job.ref();
    return { job, once: () => lab.storage.warnNotReady(ref, lab.robotId), differently: null };
  },
  reserveQuarantine: async () => {
    const { job } = await inDoubt();
    const ref = job.ref();
    return { job, once: () => lab.storage.reserveQuarantine(ref, lab.robotId), differently: null };
  },
  park: async () => {
    const { job } = await carried();
    const ref = job.ref();
    const problem = {
      kind: 'outcome_unknown',
      detail: 'The robot does not answer.',
      robotId: lab.robotId,
      candidates: [{ kind: 'carrier', robotId: lab.robotId }],
    } as const;
    return {
      job,
      once: () => lab.storage.park(ref, problem),
      differently: () => lab.storage.park(ref, { ...problem, candidates: null }),
    };
  },
  applyDecision: async () => {
    const { job, barcode } = await carried();
    const { faultId } = await lab.storage.park(job.ref(), {
      kind: 'outcome_unknown',
      detail: 'The robot does not answer.',
      robotId: lab.robotId,
      candidates: [{ kind: 'carrier', robotId: lab.robotId }],
    });
    const ref = job.ref();
    const decision = {
      actor: lab.actor,
      faultId,
      answer: 'with_me',
      sampleBarcode: barcode,
      robotFit: true,
      comment: null,
      next: 'release',
      positionId: null,
      lockedOut: true,
    } as const;
    return {
      job,
      once: () => lab.storage.applyDecision(ref, decision),
      differently: () => lab.storage.applyDecision(ref, { ...decision, robotFit: false }),
    };
  },
  adoptJob: async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    const ref = { ...job.ref(), workflowId: `reconcile-${job.id}` };
    return { job, once: () => lab.storage.adoptJob(ref), differently: null };
  },
  submitMotion: async () => {
    const tube = await lab.storedTube();
    const job = await lab.retrieval(tube.sampleId, 'robot');
    await job.reserved(AT_WORK);
    await job.takeTurn();
    const ref = job.ref();
    const order = job.order('pick', tube.positionId);
    return {
      job,
      once: () => lab.motion.submitMotion(ref, order),
      differently: () => lab.motion.submitMotion(ref, { ...order, operation: 'scan' }),
    };
  },
  requestTurn: async () => {
    const { job } = await robotPlacement();
    const ref = job.ref();
    return {
      job,
      once: () => lab.robots.requestTurn(ref, lab.robotId, 20, 1),
      differently: () => lab.robots.requestTurn(ref, lab.robotId, 30, 1),
    };
  },
  releaseTurn: async () => {
    const { job } = await robotPlacement();
    await job.takeTurn();
    const ref = job.ref(releaseStep(1));
    return {
      job,
      once: () => lab.robots.releaseTurn(ref, lab.robotId, 1),
      differently: () => lab.robots.releaseTurn(ref, lab.robotId, null),
    };
  },
  reportFault: async () => {
    const { job } = await robotPlacement();
    const ref = job.ref();
    const fault = '0190c0de-0000-7000-8000-000000000001';
    return {
      job,
      once: () => lab.robots.reportFault(ref, lab.robotId, fault, false),
      differently: () => lab.robots.reportFault(ref, lab.robotId, fault, true),
    };
  },
};

async function robotPlacement() {
  const tube = lab.newTube();
  const job = await lab.placement(tube, { mode: 'robot', withinId: lab.box });
  const { handoff, place } = await job.reserved();
  if (!handoff) throw new Error('no hand-off was reserved');
  return { job, handoff, place, barcode: tube.barcode };
}

/** A tube in the robot's carrier, on its way to a position. */
async function carried() {
  const made = await robotPlacement();
  const { job, handoff, barcode } = made;
  await lab.storage.confirmAtHandoff(job.ref(), handoff, lab.scan(handoff, barcode), AT_WORK);
  await lab.storage.moveCustody(job.ref(), { kind: 'carrier', robotId: lab.robotId }, AT_WORK);
  return made;
}

/** A tube in the carrier, whose job has the turn and does not know where it is. */
async function inDoubt() {
  const { job } = await carried();
  await job.takeTurn();
  const seen = { kind: 'carrier', robotId: lab.robotId } as const;
  return { job, seen, doubt: { robotId: lab.robotId, detail: '', candidates: [seen], stop: null } };
}

/** Empties the carrier and gives back the turn, so that the next test finds the robot idle. */
async function clean(job: Job): Promise<void> {
  await lab.rows(sql`UPDATE motion SET state = 'FAILED', settled_at = clock_timestamp()
    WHERE job_id = ${job.id} AND settled_at IS NULL`);
  await lab.rows(sql`UPDATE robot_turn SET job_id = NULL WHERE job_id = ${job.id}`);
  // A robot that is held gives no turn to the next one.
  await lab.rows(sql`UPDATE robot_state SET held_fault_ids = '{}'`);
  const { workflowId, state } = await job.row();
  if (
    (await lab.sample(job.sampleId))?.custody === 'carrier' &&
    (state === 'RUNNING' || state === 'SAFETY_HOLD')
  ) {
    const person = { kind: 'person', userId: lab.actor.userId } as const;
    await lab.storage.moveCustody({ ...job.ref(), workflowId }, person, AT_WORK);
  }
  if (!['COMPLETED', 'CANCELLED', 'REFUSED'].includes(state)) {
    await lab.storage.finishJob({ ...job.ref(), workflowId }, 'CANCELLED', 'Test over.');
  }
}

describe.each(Object.keys(STEPS))('%s', (name) => {
  test('done again gives the stored result and writes nothing; with other parameters it is refused', async () => {
    const made = await STEPS[name]?.();
    if (!made) throw new Error(`no step ${name}`);
    const { job, once, differently } = made;
    const first = (await once()) ?? null;
    const after = await written();
    expect((await once()) ?? null).toEqual(first);
    expect(await written()).toEqual(after);
    if (differently) {
      await expect(differently()).rejects.toMatchObject({
        type: 'STEP_REPEATED_DIFFERENTLY',
        nonRetryable: true,
      });
      expect(await written()).toEqual(after);
    }
    await clean(job);
  });

  test('done four times at once is done once', async () => {
    const made = await STEPS[name]?.();
    if (!made) throw new Error(`no step ${name}`);
    const { job, once } = made;
    const [first, ...others] = await Promise.all([once(), once(), once(), once()]);
    for (const other of others) expect(other ?? null).toEqual(first ?? null);
    const { steps } = await job.row();
    expect(new Set(steps.map((step) => step.step)).size).toBe(steps.length);
    await clean(job);
  });
});

describe('a job', () => {
  test('takes no step of a workflow that no longer answers for it', async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    await lab.storage.adoptJob({ ...job.ref(), workflowId: `reconcile-${job.id}` });
    const before = await written();
    await expect(lab.storage.markPhase(job.ref(), AT_WORK)).rejects.toMatchObject({ type: 'CONFLICT' });
    expect(await written()).toEqual(before);
  });

  test('that is over takes no step but those that have nothing left to do', async () => {
    const job = await lab.placement(lab.newTube());
    await job.reserved();
    await expect(lab.storage.expectOpen(job.ref())).resolves.toBeUndefined();
    await lab.storage.finishJob(job.ref(), 'CANCELLED', 'Nobody came.');
    await expect(lab.storage.expectOpen(job.ref())).rejects.toMatchObject({
      type: 'JOB_FINISHED',
      details: [{ facts: { state: 'CANCELLED' } }],
    });
    await expect(lab.storage.markPhase(job.ref(), AT_WORK)).rejects.toMatchObject({ type: 'JOB_FINISHED' });
    await expect(lab.storage.finishJob(job.ref(), 'FAILED', '')).rejects.toMatchObject({
      type: 'JOB_FINISHED',
    });
    await lab.storage.finishJob(job.ref(), 'CANCELLED', 'Again.');
    expect(await lab.storage.releaseReservations(job.ref())).toEqual({ released: 0 });
    expect(await lab.storage.adoptJob({ ...job.ref(), workflowId: 'late' })).toBeNull();
    expect(await job.row()).toMatchObject({ state: 'CANCELLED', workflowId: job.workflowId });
  });

  test('that nobody wrote is not found', async () => {
    const job = await lab.placement(lab.newTube());
    const ref = { ...job.ref(), jobId: '0190c0de-0000-7000-8000-00000000dead' };
    await expect(lab.storage.markPhase(ref, AT_WORK)).rejects.toMatchObject({ type: 'NOT_FOUND' });
    await expect(lab.storage.custodyOf(ref)).rejects.toMatchObject({ type: 'NOT_FOUND' });
    await expect(lab.storage.expectOpen(ref)).rejects.toMatchObject({ type: 'NOT_FOUND' });
  });
});
