import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { takeEpoch } from '../../db/gateway.ts';
import { reportContact } from '../../db/robot-contact.ts';
import { listRobots } from '../../db/robots.ts';
import { inTenant } from '../../db/tenancy.ts';
import { clearHold, holdRobot } from '../../db/turns.ts';
import type { ControllerView } from '../../domain/controller.ts';
import type { RobotOrder } from '../../domain/robot-order.ts';
import { AT_WORK, ProcessLab } from '../setup/process-lab.ts';

const CLEAR: ControllerView = {
  mode: 'auto',
  latchedNumber: 0,
  busy: false,
  done: false,
  errorCode: 0,
  carrier: false,
  source: false,
  target: false,
  barcode: '',
  doorOpen: false,
  unitAlarm: false,
  lockedOut: false,
};

let lab: ProcessLab;
let epoch = 0;
let keys = 0;
beforeAll(async () => {
  lab = await ProcessLab.open();
});
afterAll(() => lab.close());
beforeEach(async () => {
  epoch = await takeEpoch(lab.store.db, lab.store.tenantId, lab.robotId, 'test');
  await lab.rows(sql`UPDATE robot_turn SET job_id = NULL`);
  await lab.rows(sql`UPDATE robot_fault SET cleared_at = now() WHERE cleared_at IS NULL`);
  await lab.rows(sql`UPDATE robot_state SET dispatch = 'running', held_fault_ids = '{}', mode = NULL, locked_out = NULL,
    lockout_seen_at = NULL, stop_seen_at = NULL, reset_seen_at = NULL, last_contact_at = NULL`);
});

const report = (change: Partial<ControllerView> | null) =>
  reportContact(
    lab.store.db,
    { tenantId: lab.store.tenantId, robotId: lab.robotId, epoch },
    change && { ...CLEAR, ...change },
  );
const robot = async () => {
  const [found] = await listRobots(lab.store.db, lab.store.tenantId, lab.robotId);
  if (!found) throw new Error('the robot is gone');
  return found;
};
const alarms = () =>
  lab.rows<{ kind: string; severity: string; message: string; active: boolean }>(
    sql`SELECT kind, severity, message, cleared_at IS NULL AS active FROM alarm
        WHERE robot_id = ${lab.robotId} AND kind = 'robot_safety_stop' ORDER BY raised_at`,
  );

type Told =
  | { readonly command: 'resume' | 'maintenance' }
  | { readonly command: 'clear'; readonly faultId: string };
async function tell(told: Told): Promise<string> {
  const { actor } = lab;
  keys += 1;
  const order: RobotOrder = { ...told, actor, reason: null };
  const { answer } = await lab.robots.commandRobot(lab.robotId, `contact/${keys}`, order);
  return answer.outcome === 'accepted' ? 'accepted' : `${answer.refusal.code}: ${answer.refusal.detail}`;
}

describe('what stops a robot', () => {
  test('opens one fault, raises one alarm in the name of nobody, and is shown; it goes on being heard of', async () => {
    const before = (await alarms()).length;
    await report({});
    expect(await robot()).toMatchObject({ mode: 'auto', doorOpen: false, faults: [], heldFaultId: null });
    await report({ doorOpen: true });
    await report({ doorOpen: true, mode: 'estop' }); // a door that is open while the stop is pressed is the same stop
    const held = await robot();
    expect(held).toMatchObject({ mode: 'estop', doorOpen: true, unitAlarm: false, lockedOut: false });
    expect(held.faults).toEqual([
      expect.objectContaining({
        kind: 'safety',
        detail: 'R1 stands in a safety hold: a door is open.',
        jobId: null,
      }),
    ]);
    expect(held.heldFaultId).toBe(held.faults[0]?.id);
    expect((await alarms()).slice(before)).toEqual([
      { kind: 'robot_safety_stop', severity: 'high', message: held.faults[0]?.detail, active: true },
    ]);
    const [entry] = await lab.rows<{ actor: string; role: string; device: string; reason: string }>(sql`
      SELECT leaf ->> 'actor' AS actor, leaf ->> 'role' AS role, leaf ->> 'device' AS device, leaf ->> 'reason' AS reason
      FROM (SELECT seq, convert_from(leaf, 'UTF8')::jsonb AS leaf FROM ledger.entry) e
      WHERE leaf ->> 'type' = 'alarm.raised' ORDER BY seq DESC LIMIT 1`);
    expect(entry).toEqual({
      actor: '00000000-0000-0000-0000-000000000000',
      role: 'system',
      device: `robot:${lab.robotId}`,
      reason: 'fault',
    });
  });

  test('writes nothing for a gateway that lost the epoch', async () => {
    epoch -= 1;
    expect(await report({ doorOpen: true })).toBe(false);
    expect(await robot()).toMatchObject({ faults: [], mode: null });
  });

  test('is part of the work at a robot in maintenance, unless a job still has its turn', async () => {
    await report({});
    await tell({ command: 'maintenance' });
    await report({ lockedOut: true, mode: 'manual' });
    expect(await robot()).toMatchObject({ lockedOut: true, faults: [], lockoutSeenAt: expect.any(Date) });
    expect(await tell({ command: 'resume' })).toContain('the controller is in mode manual');
    await report({ lockedOut: true });
    expect(await tell({ command: 'resume' })).toMatch(
      /^ROBOT_UNAVAILABLE: R1 is not resumed yet: .* locked out/,
    );
    expect((await robot()).resetSeenAt).toBeNull();
    await report({});
    expect((await robot()).resetSeenAt).not.toBeNull();
    const job = await lab.placement(lab.newTube(), { mode: 'robot' });
    await job.reserved(AT_WORK);
    expect(await tell({ command: 'resume' })).toBe('accepted');
    await job.takeTurn();
    await tell({ command: 'maintenance' });
    await report({ lockedOut: true });
    expect((await robot()).faults).toHaveLength(1);
  });
});

describe('a safety fault', () => {
  async function stopped(view: Partial<ControllerView>): Promise<string> {
    await report({});
    await report(view);
    return String((await robot()).faults[0]?.id);
  }

  test('is released once, when all is clear; its alarm ends with it', async () => {
    const faultId = await stopped({ unitAlarm: true });
    expect(await tell({ command: 'clear', faultId })).toContain('the store is in alarm');
    expect(await tell({ command: 'resume' })).toContain(faultId);
    expect((await robot()).faults).toHaveLength(1);
    await report({});
    expect(await tell({ command: 'clear', faultId: crypto.randomUUID() })).toMatch(/^STALE_ANSWER/);
    expect(await tell({ command: 'clear', faultId })).toBe('accepted');
    expect(await tell({ command: 'clear', faultId })).toMatch(/^STALE_ANSWER/);
    expect(await robot()).toMatchObject({ faults: [], heldFaultId: null });
    expect((await alarms()).at(-1)?.active).toBe(false);
    const [row] = await lab.rows<{ cleared_by: string; cleared: boolean }>(
      sql`SELECT cleared_by, cleared_at IS NOT NULL AS cleared FROM robot_fault WHERE id = ${faultId}`,
    );
    expect(row).toEqual({ cleared_by: lab.store.context.actor.userId, cleared: true });
    await report({ unitAlarm: true });
    expect((await robot()).faults[0]?.id).not.toBe(faultId);
  });

  test('is not released by what was heard long ago', async () => {
    const faultId = await stopped({ doorOpen: true });
    await report({});
    await lab.rows(sql`UPDATE robot_state SET last_contact_at = now() - interval '11 seconds'`);
    expect(await tell({ command: 'clear', faultId })).toContain('last 11 s ago heard of');
    await report(null); // it does not answer: that is no contact
    expect(await tell({ command: 'clear', faultId })).toMatch(/^ROBOT_UNAVAILABLE/);
    await report({});
    expect(await tell({ command: 'clear', faultId })).toBe('accepted');
  });

  test.each([{ mode: 'estop' }, { mode: 'manual' }, { lockedOut: true }] as const)(
    'after %o is released when the hardware reset was seen',
    async (view) => {
      const faultId = await stopped(view);
      await report({ doorOpen: true }); // back in automatic mode, and somebody still stands inside
      expect(await tell({ command: 'clear', faultId })).toContain('a door is open');
      await report({});
      // A laboratory that was restored has not seen it.
      const [seen] = await lab.rows<{ at: Date }>(sql`
        WITH seen AS (SELECT reset_seen_at AS at FROM robot_state WHERE robot_id = ${lab.robotId})
        UPDATE robot_state SET reset_seen_at = NULL FROM seen WHERE robot_id = ${lab.robotId} RETURNING seen.at`);
      expect(await tell({ command: 'clear', faultId })).toContain('hardware reset was not seen');
      await lab.rows(sql`UPDATE robot_state SET reset_seen_at = ${seen?.at}`);
      expect(await tell({ command: 'clear', faultId })).toBe('accepted');
    },
  );

  test('tells the job that has the turn that the robot was released', async () => {
    await report({});
    const job = await lab.placement(lab.newTube(), { mode: 'robot' });
    await job.reserved(AT_WORK);
    await job.takeTurn();
    const faultId = await stopped({ mode: 'estop' });
    await report({});
    const told = () => lab.signals.filter(({ signal }) => signal === 'robotReleased');
    await tell({ command: 'clear', faultId });
    expect(told()).toEqual([{ workflowId: job.workflowId, signal: 'robotReleased', args: [{ faultId }] }]);
  });
});

describe('the fault of a job', () => {
  const change = (body: (tx: Parameters<typeof holdRobot>[0]) => Promise<void>) =>
    inTenant(lab.store.db, lab.store.tenantId, body);

  test('is shown with the job; the one that replaces it ends it, and so does the answer', async () => {
    const { tenantId } = lab.store;
    const job = await lab.placement(lab.newTube(), { mode: 'robot' });
    const [first, second] = [crypto.randomUUID(), crypto.randomUUID()];
    await change((tx) =>
      holdRobot(tx, tenantId, lab.robotId, first, null, { jobId: job.id, detail: 'Where is the tube?' }),
    );
    expect((await robot()).faults).toMatchObject([
      { id: first, kind: 'job', jobId: job.id, detail: 'Where is the tube?' },
    ]);
    await change((tx) => holdRobot(tx, tenantId, lab.robotId, second, first));
    expect((await robot()).faults).toMatchObject([{ id: second, jobId: null }]);
    await change((tx) => clearHold(tx, tenantId, second));
    expect(await robot()).toMatchObject({ faults: [], heldFaultId: null });
  });

  test('is released without contact, but not while the robot is stopped', async () => {
    const { tenantId } = lab.store;
    const faultId = crypto.randomUUID();
    await change((tx) => holdRobot(tx, tenantId, lab.robotId, faultId));
    await report({ doorOpen: true });
    expect(await tell({ command: 'clear', faultId })).toContain('a door is open');
    await report({});
    await report(null);
    await lab.rows(sql`UPDATE robot_state SET last_contact_at = now() - interval '1 hour'`);
    expect(await tell({ command: 'clear', faultId })).toBe('accepted');
  });
});
