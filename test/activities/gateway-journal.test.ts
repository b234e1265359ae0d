import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listen } from '../../db/announcements.ts';
import { enrolledRobots, raiseNumber, takeEpoch } from '../../db/gateway.ts';
import {
  liveMotion,
  MOTION_ACCEPTED_CHANNEL,
  MOTION_SETTLED_CHANNEL,
  markSent,
  readMotion,
  settleMotion,
} from '../../db/motion.ts';
import { reportContact } from '../../db/robot-contact.ts';
import type { ControllerView, MotionReading } from '../../domain/controller.ts';
import { MotionLab } from '../setup/motion-lab.ts';
import { eventually } from '../setup/robot-cell.ts';

const READING: MotionReading = {
  errorCode: 0,
  carrier: true,
  source: false,
  target: null,
  barcode: null,
  stop: null,
  detail: 'pick done',
};
const VIEW: ControllerView = {
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

describe('the journal of motion', () => {
  let lab: MotionLab;
  beforeAll(async () => {
    lab = await MotionLab.open();
  });
  afterAll(() => lab.close());

  const robotWithEpoch = async () => {
    const robot = await lab.addRobot(5020);
    const epoch = await takeEpoch(lab.db, robot.tenantId, robot.robotId, 'test');
    return { robot, epoch, key: (number: number, at = epoch) => ({ ...robot, number, epoch: at }) };
  };

  it('accepts a command once, under the next number, and takes the expiry off every lease of the job', async () => {
    const robot = await lab.addRobot(5020);
    const first = await lab.accept(robot, 'pick', 3, 'w/pick/1');
    expect(first).toMatchObject({
      number: 1,
      state: 'ACCEPTED',
      cassette: 1,
      level: 1,
      slot: 3,
      reading: null,
    });
    expect(await lab.accept(robot, 'pick', 3, 'w/pick/1')).toEqual(first);
    expect(
      await lab.sql(`SELECT 1 FROM position WHERE job_id = $1 AND lease_expires_at IS NOT NULL`, [
        robot.jobId,
      ]),
    ).toEqual([]);
    expect(await lab.sql(`SELECT last_number FROM robot_turn WHERE robot_id = $1`, [robot.robotId])).toEqual([
      { last_number: '1' },
    ]);
  });

  it('refuses another order under a known command id', async () => {
    const robot = await lab.addRobot(5020);
    await lab.accept(robot, 'pick', 3, 'w/pick/2');
    await expect(lab.accept(robot, 'pick', 4, 'w/pick/2')).rejects.toMatchObject({
      code: 'STEP_REPEATED_DIFFERENTLY',
    });
  });

  it('refuses a command without the turn, or under an old fence, and changes nothing', async () => {
    const robot = await lab.addRobot(5020);
    const stranger = await lab.addJob(robot.tenantId, robot.robotId);
    await expect(lab.accept({ ...robot, jobId: stranger }, 'pick', 1)).rejects.toMatchObject({
      code: 'TURN_LOST',
    });
    await lab.sql('UPDATE robot_turn SET fence = 2 WHERE robot_id = $1', [robot.robotId]);
    await expect(lab.accept(robot, 'pick', 1)).rejects.toMatchObject({ code: 'TURN_LOST' });
    expect(await lab.sql('SELECT 1 FROM motion WHERE robot_id = $1', [robot.robotId])).toEqual([]);
    expect(
      await lab.sql(`SELECT 1 FROM position WHERE job_id = $1 AND lease_expires_at IS NULL`, [robot.jobId]),
    ).toEqual([]);
  });

  it('refuses to place where the reservation is gone, and where no robot reaches', async () => {
    const robot = await lab.addRobot(5020);
    await lab.sql(
      `UPDATE position SET state = 'free', job_id = NULL, lease_expires_at = NULL WHERE id = $1`,
      [robot.positions[1]],
    );
    await expect(lab.accept(robot, 'place', 2)).rejects.toMatchObject({ code: 'LEASE_LOST' });
    await lab.sql(`UPDATE location SET robot_cassette = NULL, robot_level = NULL WHERE tenant_id = $1`, [
      robot.tenantId,
    ]);
    await expect(lab.accept(robot, 'place', 1)).rejects.toMatchObject({ code: 'OUT_OF_REACH' });
    await expect(lab.accept({ ...robot, positions: [randomUUID()] }, 'pick', 1)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('has one command of a robot under way', async () => {
    const robot = await lab.addRobot(5020);
    await lab.accept(robot, 'pick', 1);
    await expect(lab.accept(robot, 'pick', 2)).rejects.toMatchObject({ code: 'ROBOT_UNAVAILABLE' });
  });

  it('ends with the last 32-bit number', async () => {
    const { robot, key } = await robotWithEpoch();
    await lab.sql('UPDATE robot_turn SET last_number = 4294967294 WHERE robot_id = $1', [robot.robotId]);
    expect((await lab.accept(robot, 'pick', 1)).number).toBe(4_294_967_295);
    await settleMotion(lab.db, key(4_294_967_295), 'FAILED', READING);
    await expect(lab.accept(robot, 'pick', 1)).rejects.toMatchObject({ code: 'ROBOT_UNAVAILABLE' });
  });

  it('gives the right to trigger once', async () => {
    const { robot, epoch, key } = await robotWithEpoch();
    const { number, commandId } = await lab.accept(robot, 'pick', 1);
    expect(await markSent(lab.db, key(number), 7)).toBe('sent');
    expect(await markSent(lab.db, key(number), 7)).toBe('not_accepted');
    expect(await liveMotion(lab.db, robot.tenantId, robot.robotId)).toMatchObject({
      state: 'SENT',
      latchedBefore: 7,
    });
    expect(await settleMotion(lab.db, key(number), 'DONE', READING)).toBe('settled');
    expect(await settleMotion(lab.db, key(number), 'FAILED', READING)).toBe('settled');
    expect(await readMotion(lab.db, robot.tenantId, commandId)).toMatchObject({
      state: 'DONE',
      reading: READING,
    });
    expect(await markSent(lab.db, key(number), 7)).toBe('not_accepted');
    expect(await liveMotion(lab.db, robot.tenantId, robot.robotId)).toBeNull();
    expect(epoch).toBe(1);
  });

  it('refuses a gateway with a lower epoch, and a job whose turn is over', async () => {
    const { robot, epoch, key } = await robotWithEpoch();
    const { number } = await lab.accept(robot, 'pick', 1);
    const higher = await takeEpoch(lab.db, robot.tenantId, robot.robotId, 'another');
    expect(higher).toBe(epoch + 1);
    expect(await markSent(lab.db, key(number), 0)).toBe('epoch_lost');
    expect(await settleMotion(lab.db, key(number), 'FAILED', READING)).toBe('epoch_lost');
    expect(await reportContact(lab.db, { ...robot, epoch }, VIEW)).toBe(false);
    await lab.sql('UPDATE robot_turn SET fence = 2 WHERE robot_id = $1', [robot.robotId]);
    expect(await markSent(lab.db, key(number, higher), 0)).toBe('turn_lost');
    await lab.sql('UPDATE robot_turn SET fence = 1, job_id = NULL WHERE robot_id = $1', [robot.robotId]);
    expect(await markSent(lab.db, key(number, higher), 0)).toBe('turn_lost');
  });

  it('does not let a SENT slip past a gateway that takes the epoch at the same moment', async () => {
    const { robot, key } = await robotWithEpoch();
    const { number } = await lab.accept(robot, 'pick', 1);
    const taking = new pg.Client({ connectionString: lab.database.adminUrl });
    await taking.connect();
    await taking.query('BEGIN');
    await taking.query('UPDATE robot_turn SET epoch = epoch + 1 WHERE robot_id = $1', [robot.robotId]);
    const marking = markSent(lab.db, key(number), 0);
    await eventually(
      'markSent waiting for the lock',
      async () =>
        (
          await lab.sql(
            `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
          )
        ).length > 0,
    );
    await taking.query('COMMIT');
    await taking.end();
    expect(await marking).toBe('epoch_lost');
    expect(await liveMotion(lab.db, robot.tenantId, robot.robotId)).toMatchObject({ state: 'ACCEPTED' });
  });

  it('does not rewrite what was accepted, sent or settled', async () => {
    const { robot, key } = await robotWithEpoch();
    const { number } = await lab.accept(robot, 'pick', 1);
    await markSent(lab.db, key(number), 0);
    const asApp = async (set: string) => {
      const client = new pg.Client({ connectionString: lab.database.appUrl });
      await client.connect();
      try {
        await client.query(`SELECT set_config('app.tenant', $1, false)`, [robot.tenantId]);
        await client.query(`UPDATE motion SET ${set} WHERE robot_id = $1`, [robot.robotId]);
      } finally {
        await client.end();
      }
    };
    await expect(asApp(`state = 'ACCEPTED'`)).rejects.toThrow(/was sent/);
    await expect(asApp('slot = 2')).rejects.toThrow(/not rewritten/);
    await settleMotion(lab.db, key(number), 'UNKNOWN', READING);
    await expect(asApp(`state = 'DONE'`)).rejects.toThrow(/is settled/);
  });

  it('announces a command and its result at commit', async () => {
    const { robot, key } = await robotWithEpoch();
    const heard: string[] = [];
    let ready = false;
    const announcements = listen(
      lab.database.appUrl,
      [MOTION_ACCEPTED_CHANNEL, MOTION_SETTLED_CHANNEL],
      (channel, payload) => heard.push(`${channel} ${payload}`),
      () => {
        ready = true;
      },
    );
    await eventually('listening', () => ready);
    const { number, commandId } = await lab.accept(robot, 'pick', 1);
    await settleMotion(lab.db, key(number), 'FAILED', READING);
    await eventually('both announcements', () => heard.length >= 2);
    expect(heard).toEqual([`motion_accepted ${robot.robotId}`, `motion_settled ${commandId}`]);
    // A lost connection is made again, and told of.
    ready = false;
    await lab.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'`);
    await eventually('listening again', () => ready);
    await announcements.close();
  });

  it('projects what was heard of a robot, and keeps it when the robot falls silent', async () => {
    const { robot, epoch } = await robotWithEpoch();
    const owner = { ...robot, epoch };
    expect(await reportContact(lab.db, owner, { ...VIEW, mode: 'manual', carrier: true })).toBe(true);
    expect(await reportContact(lab.db, owner, null)).toBe(true);
    const [state] = await lab.sql(
      'SELECT mode, connected, carrier_occupied, last_contact_at IS NOT NULL AS heard FROM robot_state WHERE robot_id = $1',
      [robot.robotId],
    );
    expect(state).toEqual({ mode: 'manual', connected: false, carrier_occupied: true, heard: true });
  });

  it('goes above the number the controller shows, and never below its own', async () => {
    const { robot, epoch } = await robotWithEpoch();
    await raiseNumber(lab.db, { ...robot, epoch }, 41);
    await raiseNumber(lab.db, { ...robot, epoch }, 5);
    expect((await lab.accept(robot, 'pick', 1)).number).toBe(42);
  });

  it('lists robots in service of every tenant', async () => {
    const [one, other, retired] = [await lab.addRobot(1), await lab.addRobot(2), await lab.addRobot(3)];
    await lab.sql('UPDATE robot SET retired_at = now() WHERE id = $1', [retired.robotId]);
    const ids = (await enrolledRobots(lab.db)).map(({ robotId }) => robotId);
    expect(ids).toEqual(expect.arrayContaining([one.robotId, other.robotId]));
    expect(ids).not.toContain(retired.robotId);
  });
});
