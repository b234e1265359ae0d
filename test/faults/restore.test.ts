import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkLedger } from '../../db/ledger.ts';
import { blockPosition } from '../../db/location-service.ts';
import { acceptMotion, markSent } from '../../db/motion.ts';
import { inTenant } from '../../db/tenancy.ts';
import { verifySample } from '../../db/verification.ts';
import { backUp } from '../../stack/backup.ts';
import { restore } from '../../stack/restore.ts';
import { createScreen } from '../../stack/screen.ts';
import { decideUpdate } from '../../workflows/messages/job.ts';
import { type LabPlan, RestoredLab } from '../setup/restored-lab.ts';
import { eventually, type LoggedMotion, RobotCell } from '../setup/robot-cell.ts';

/**
 * Postgres is restored to T, while the robot's world, and in two of three cases a Temporal server, stand elsewhere:
 *
 *     older Temporal | T (backup)      | after T, lost
 *     A waits        | A moved 1 → 6   | B fetched to the hand-off and waits for a person (open at T: waiting for the robot)
 *                    | B asked for     | C moved 3 → 7
 *                    |                 | D has the robot's turn and a motion that no gateway has sent yet
 */
const folder = mkdtempSync(join(tmpdir(), 'tracseq-restore-'));
chmodSync(folder, 0o755);
const screen = createScreen(() => undefined, false);
const TUBES = ['A', 'B', 'C', 'D'];

let cell: RobotCell;
let plan: LabPlan;
let backup: string;
/** the retrieval of B, open at T */
let openJob: string;
/** the fence and epoch that were granted last */
let lost: { fence: number; epoch: number; lastNumber: number };
let worldBefore: { log: LoggedMotion[]; positions: unknown };
const temporalFile = (name: string) => join(folder, `${name}.db`);

beforeAll(async () => {
  cell = await RobotCell.open(['--speed', '0', '--seed', '4']);
  const lab = await RestoredLab.open(join(folder, 'before'));
  plan = await lab.furnish(cell.port, TUBES, 'E');
  for (const [index, barcode] of TUBES.entries()) await cell.putTube(1, 1, index + 1, barcode);
  await verify(lab, 'E', 'BOX-2', 'A1'); // the record of E has a witness
  const port = await lab.startTemporal(null);
  await lab.work();

  await lab.dispatch(plan, 'pause');
  const moved = await lab.move(plan, 'A', 6);
  await lab.queued(plan, moved);
  await lab.rest();
  await lab.stopTemporal(temporalFile('older'));
  await lab.startTemporal(temporalFile('older'), port);
  await lab.work();
  await lab.dispatch(plan, 'resume');
  await lab.inState(plan, moved, 'COMPLETED');

  await lab.dispatch(plan, 'pause');
  openJob = await lab.retrieve(plan, 'B');
  await lab.queued(plan, openJob);
  backup = await backUp(join(folder, 'before'), 8082, join(folder, 'backups'), screen);

  await lab.dispatch(plan, 'resume');
  await lab.inState(plan, openJob, 'AWAITING_PERSON');
  await lab.inState(plan, await lab.move(plan, 'C', 7), 'COMPLETED');
  await lab.killGateway();
  const last = await lab.retrieve(plan, 'D');
  await eventually('the motion for D in the journal', async () => {
    const rows = await lab.rows(plan.actor.tenantId, sql`SELECT 1 FROM motion WHERE job_id = ${last}`);
    return rows.length > 0;
  });
  const [turn] = await lab.rows<{ fence: number; epoch: number; last_number: number }>(
    plan.actor.tenantId,
    sql`SELECT fence, epoch, last_number FROM robot_turn`,
  );
  lost = { fence: Number(turn?.fence), epoch: Number(turn?.epoch), lastNumber: Number(turn?.last_number) };
  await lab.rest();
  await lab.stopTemporal(temporalFile('newer'));
  await lab.close();
  worldBefore = { log: await cell.log(), positions: (await cell.world()).positions };
}, 240_000);
afterAll(async () => {
  await cell.close();
  rmSync(folder, { recursive: true, force: true });
});

const verify = (lab: RestoredLab, barcode: string, container: string, position: string) =>
  verifySample(lab.db, { actor: plan.actor, reason: 'correction' }, String(plan.tubes.get(barcode)), {
    containerBarcode: container,
    position,
    sampleBarcode: barcode,
  });

async function restored(name: string, temporal: string | null): Promise<RestoredLab> {
  await restore({
    folder: join(folder, name),
    from: backup,
    apiPort: 8082,
    isSure: async () => true,
    screen,
  });
  const lab = await RestoredLab.open(join(folder, name));
  // Paused at T; that alone would keep it from moving, and is not what is looked at here.
  await lab.rows(plan.actor.tenantId, sql`UPDATE robot_state SET dispatch = 'running'`);
  await lab.startTemporal(temporal);
  return lab;
}

interface Turn {
  readonly fence: number;
  readonly epoch: number;
  readonly last_number: number;
  readonly restored_number: number | null;
  readonly held_fault_ids: string[];
  readonly fault: string | null;
}

async function turnOf(lab: RestoredLab): Promise<Turn> {
  const [turn] = await lab.rows<Turn>(
    plan.actor.tenantId,
    sql`SELECT t.fence, t.epoch, t.last_number, t.restored_number, s.held_fault_ids,
          (SELECT id FROM robot_fault WHERE kind = 'restored') AS fault
        FROM robot_turn t JOIN robot_state s USING (tenant_id, robot_id)`,
  );
  if (!turn) throw new Error('the robot has no turn');
  return turn;
}

/** The robot has been heard of, and the operator is asked about the open job: all that happens by itself has happened. */
async function settled(lab: RestoredLab): Promise<void> {
  await eventually(
    'the comparison with the controller',
    async () => (await turnOf(lab)).restored_number === null,
    45_000,
  );
  await lab.inState(plan, openJob, 'AWAITING_OPERATOR');
}

async function expectNothingMoved(): Promise<void> {
  expect(await cell.log()).toEqual(worldBefore.log);
  expect((await cell.world()).positions).toEqual(worldBefore.positions);
}

describe.each([
  ['newer than the database', 'newer'],
  ['older than the database', 'older'],
  ['new, and knows nothing', null],
])('a database restored while Temporal is %s', (_, temporal) => {
  let lab: RestoredLab;
  beforeAll(async () => {
    lab = await restored(`with-${temporal}`, temporal && temporalFile(temporal));
  }, 120_000);
  afterAll(() => lab.close());

  it('holds every robot above anything granted or sent since, before anything runs', async () => {
    const turn = await turnOf(lab);
    expect(turn.fence).toBeGreaterThan(lost.fence);
    expect(turn.epoch).toBeGreaterThan(lost.epoch);
    expect(turn.last_number).toBeGreaterThan(lost.lastNumber);
    expect(turn.fault).not.toBeNull();
    expect(turn.held_fault_ids).toEqual([turn.fault]);
    expect(await lab.tube(plan, 'B')).toMatchObject({ custody: 'unknown', witness: 'asserted' });
    expect(await lab.tube(plan, 'E')).toMatchObject({
      custody: 'position',
      place: 'B2 1',
      witness: 'asserted',
    });
    const [alarm] = await lab.rows(
      plan.actor.tenantId,
      sql`SELECT kind, severity FROM alarm WHERE cleared_at IS NULL AND job_id IS NULL`,
    );
    expect(alarm).toEqual({ kind: 'restored', severity: 'critical' });
  });

  it('moves nothing, and does not know the tubes in the robot’s reach', async () => {
    await lab.work();
    await settled(lab);
    for (const barcode of TUBES) {
      expect([barcode, await lab.tube(plan, barcode)]).toMatchObject([barcode, { custody: 'unknown' }]);
    }
    expect((await lab.tube(plan, 'C')).candidates?.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['position', 'carrier', 'handoff', 'floor']),
    );
    // People alone reach E: its record stands, unseen.
    expect(await lab.tube(plan, 'E')).toMatchObject({ custody: 'position', witness: 'asserted' });
    const deviations = await lab.rows(
      plan.actor.tenantId,
      sql`SELECT kind, robot_id, facts FROM deviation WHERE closed_at IS NULL`,
    );
    expect(deviations).toEqual([
      {
        kind: 'unverified',
        robot_id: plan.robotId,
        facts: { samples: 3, latched_number: worldBefore.log.at(-1)?.number, known_number: 3 },
      },
    ]);
    expect((await turnOf(lab)).held_fault_ids).toContain((await turnOf(lab)).fault);
    await expectNothingMoved();
    expect((await checkLedger(lab.db, plan.actor.tenantId)).ok).toBe(true);
  }, 120_000);

  it('refuses the turns and the gateway from before', async () => {
    const { tenantId } = plan.actor;
    const request = {
      tenantId,
      jobId: openJob,
      robotId: plan.robotId,
      fence: lost.fence,
      commandId: 'from before',
      operation: 'pick',
      positionId: await lab.slot(plan, 2),
    } as const;
    await expect(inTenant(lab.db, tenantId, (tx) => acceptMotion(tx, request))).rejects.toMatchObject({
      code: 'TURN_LOST',
    });
    const key = { tenantId, robotId: plan.robotId, number: lost.lastNumber, epoch: lost.epoch };
    expect(await markSent(lab.db, key, 0)).toBe('epoch_lost');
    await expectNothingMoved();
  });

  it('begins no turn while a person has not looked: a new job waits', async () => {
    await verify(lab, 'D', 'BOX-1', 'A4');
    expect(await lab.tube(plan, 'D')).toMatchObject({
      custody: 'position',
      place: 'B1 4',
      witness: 'barcode',
    });
    await lab.queued(plan, await lab.retrieve(plan, 'D'));
    await expectNothingMoved();
  }, 60_000);
});

it('goes on when the tubes are scanned, the question is answered and the robot is cleared', async () => {
  const lab = await restored('to-the-end', null);
  try {
    const fault = String((await turnOf(lab)).fault);
    // Before the controller was heard of nobody can know what it did.
    await lab.work();
    await settled(lab);
    await verify(lab, 'A', 'BOX-1', 'A6');
    await verify(lab, 'C', 'BOX-1', 'A7'); // where the robot put it in the time that is lost
    await verify(lab, 'D', 'BOX-1', 'A4');
    expect(await lab.tube(plan, 'C')).toMatchObject({
      custody: 'position',
      place: 'B1 7',
      witness: 'barcode',
    });

    const { question, faultId, workflowId } = await lab.job(plan, openJob);
    expect(question).toMatchObject({ kind: 'workflow_gone' });
    const answer = await lab.client.workflow.getHandle(workflowId).executeUpdate(decideUpdate, {
      args: [
        {
          actor: plan.actor,
          faultId: String(faultId),
          answer: 'at_target',
          sampleBarcode: 'B',
          next: 'release',
          positionId: null,
          lockedOut: false,
          robotFit: true,
          comment: null,
        },
      ],
    });
    expect(answer).toEqual({ outcome: 'accepted' });
    await lab.inState(plan, openJob, 'COMPLETED_WITH_DEVIATION');
    expect(await lab.tube(plan, 'B')).toMatchObject({ custody: 'handoff', witness: 'barcode' });

    const context = { actor: plan.actor, reason: 'blocking' } as const;
    await blockPosition(lab.db, context, 'BOX-1', 'A3', null); // somebody has seen that it is empty
    const waiting = await lab.move(plan, 'C', 3);
    await lab.queued(plan, waiting);
    // No job's fault holds the robot any more: what is left is the restore's own.
    expect((await turnOf(lab)).held_fault_ids).toEqual([fault]);
    await expect(lab.dispatch(plan, 'resume')).rejects.toThrow(`is held by fault ${fault}`);
    await expectNothingMoved();
    expect(await lab.clear(plan, fault)).toEqual({ outcome: 'accepted' });
    await lab.inState(plan, waiting, 'COMPLETED');
    const numbers = (await cell.log()).slice(worldBefore.log.length).map((motion) => motion.number);
    expect(numbers.length).toBe(3);
    for (const number of numbers) expect(number).toBeGreaterThan(1_000_000);
    expect((await cell.world()).positions).toMatchObject({
      '1/1/3': { barcode: 'C' },
      '1/1/6': { barcode: 'A' },
    });
    const alarms = await lab.rows(plan.actor.tenantId, sql`SELECT kind FROM alarm WHERE cleared_at IS NULL`);
    expect(alarms).toEqual([]);
    expect((await checkLedger(lab.db, plan.actor.tenantId)).ok).toBe(true);
  } finally {
    await lab.close();
  }
}, 180_000);
