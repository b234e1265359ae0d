import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type LabRobot, MotionLab } from '../setup/motion-lab.ts';
import { CELL_DRIVERS, eventually, RobotCell, type Spawned, start } from '../setup/robot-cell.ts';

/** Nobody listens there: motion does not need a Temporal server. */
const NO_TEMPORAL = '127.0.0.1:9';
const GATEWAY_ARGS = ['--wire-timeout-ms', '300', '--motion-deadline-ms', '4000', '--look-every-ms', '200'];
/** For what has to succeed: on a busy machine a reply that comes late is lost, and the command honestly not taken. */
const PATIENT_ARGS = ['--wire-timeout-ms', '3000', '--motion-deadline-ms', '30000', '--look-every-ms', '200'];

/** The crash matrix of devices reference 13.5, on the real wire, with every process killed for real. */
describe.each(CELL_DRIVERS)('a gateway of a store on %s that dies', (driver) => {
  let lab: MotionLab;
  let cell: RobotCell;
  let robot: LabRobot;
  const gateways: Spawned[] = [];
  const held: pg.Client[] = [];

  const startGateway = async (args = GATEWAY_ARGS): Promise<Spawned> => {
    const gateway = await start('workers/gateway.ts', args, lab.environment(NO_TEMPORAL));
    gateways.push(gateway);
    return gateway;
  };

  /** Holds the lock that the gateway needs next, as a slow database would. */
  const holdLock = async (statement: string, values: unknown[]) => {
    const client = new pg.Client({ connectionString: lab.database.adminUrl });
    await client.connect();
    await client.query('BEGIN');
    await client.query(statement, values);
    held.push(client);
    return {
      waitedFor: () =>
        eventually('somebody waiting for the lock', async () => {
          const waiting = await lab.sql(
            `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
          );
          return waiting.length > 0;
        }),
      release: () => client.end(),
    };
  };

  /** At most one motion a number, by the simulator's own log. */
  const expectAtMostOnce = async () => {
    const numbers = (await cell.log()).map(({ number }) => number);
    expect(new Set(numbers).size).toBe(numbers.length);
  };

  beforeAll(async () => {
    lab = await MotionLab.open();
  });
  afterAll(() => lab.close());
  beforeEach(async () => {
    cell = await RobotCell.open(['--speed', '0.05', '--seed', '7'], driver);
    await cell.putTube(1, 1, 1, 'TUBE-1');
    robot = await lab.addRobot(cell.port, driver);
  });
  afterEach(async () => {
    await Promise.all(gateways.splice(0).map((gateway) => gateway.kill()));
    await Promise.all(held.splice(0).map((client) => client.end()));
    await expectAtMostOnce();
    await cell.close();
    await lab.sql('UPDATE robot SET retired_at = now() WHERE id = $1', [robot.robotId]);
  });

  /** A first command, so that the controller shows a number it keeps. */
  const warmUp = async () => {
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
  };

  it('picks, scans and places, each seen by the sensors', async () => {
    await startGateway();
    const pick = await lab.perform(robot, 'pick', 1);
    expect(pick).toMatchObject({ state: 'DONE', number: 1 });
    expect(pick.reading).toMatchObject({ carrier: true, source: false, target: null, errorCode: 0 });
    expect((await lab.perform(robot, 'scan', 1)).reading).toMatchObject({ barcode: 'TUBE-1', carrier: true });
    expect((await lab.perform(robot, 'place', 5)).reading).toMatchObject({
      carrier: false,
      source: null,
      target: true,
    });
    expect((await cell.world()).positions['1/1/5']).toMatchObject({ barcode: 'TUBE-1' });
    const state = await eventually('the projection of the robot', async () => {
      const [row] = await lab.sql<{ mode: string; connected: boolean; carrier_occupied: boolean }>(
        'SELECT mode, connected, carrier_occupied FROM robot_state WHERE robot_id = $1 AND carrier_occupied = false',
        [robot.robotId],
      );
      return row;
    });
    expect(state).toMatchObject({ mode: 'auto', connected: true });
  });

  it('before SENT: the next one sends the command, once', async () => {
    const first = await startGateway();
    await warmUp();
    const lock = await holdLock('SELECT 1 FROM robot_turn WHERE robot_id = $1 FOR UPDATE', [robot.robotId]);
    // Accepting needs the same lock, so the command is planted as accepting would have.
    const commandId = randomUUID();
    await lab.sql(
      `INSERT INTO motion (tenant_id, robot_id, number, command_id, params_hash, job_id, fence, operation, cassette, level, slot)
       VALUES ($1, $2, 2, $3, 'x', $4, 1, 'place', 1, 1, 4)`,
      [robot.tenantId, robot.robotId, commandId, robot.jobId],
    );
    await lock.waitedFor();
    await first.kill();
    await lock.release();
    // The dead gateway's transaction got the row; the database takes it back once it notices that nobody is there.
    await lab.sql('SELECT 1 FROM robot_turn WHERE robot_id = $1 FOR UPDATE', [robot.robotId]);
    await lab.inState(robot, commandId, 'ACCEPTED');
    expect((await cell.log()).map(({ number }) => number)).toEqual([1]);
    await startGateway(PATIENT_ARGS);
    const settled = await lab.settled(robot, commandId);
    expect(settled.state, settled.reading?.detail).toBe('DONE');
    expect((await cell.log()).map(({ number }) => number)).toEqual([1, 2]);
  });

  it('after SENT, the trigger lost on its way: the next one finds that nothing was taken', async () => {
    const first = await startGateway();
    await warmUp();
    await cell.fault({ kind: 'cut_at_trigger', when: 'before' });
    const { commandId } = await lab.accept(robot, 'place', 2);
    await lab.inState(robot, commandId, 'SENT');
    await first.kill();
    await startGateway();
    const motion = await lab.settled(robot, commandId);
    expect(motion).toMatchObject({ state: 'FAILED', reading: { carrier: true, target: false } });
    expect(motion.reading?.detail).toMatch(/^the controller did not take the command/);
    expect(await cell.log()).toHaveLength(1);
  });

  it('after SENT, the trigger still on its way: it comes to nothing, or to the one motion', async () => {
    const first = await startGateway();
    await warmUp();
    await cell.fault({ kind: 'late_trigger', ms: 6_000 });
    const { commandId } = await lab.accept(robot, 'place', 2);
    await lab.inState(robot, commandId, 'SENT');
    await eventually('the trigger on its way', async () => (await cell.faults()).length === 0);
    await first.kill();
    await startGateway();
    const { state } = await lab.settled(robot, commandId);
    if (state === 'DONE') {
      // A slow machine: the trigger arrived before the next gateway had disarmed it. Then it is the one motion.
      expect((await cell.log()).map(({ number }) => number)).toEqual([1, 2]);
      return;
    }
    expect(state).toBe('FAILED');
    // The old trigger arrives now, at a controller that was disarmed.
    await eventually('the late trigger', async () => (await cell.world()).triggers.refused > 0);
    expect(await cell.log()).toHaveLength(1);
    expect((await cell.world()).carrier).toMatchObject({ barcode: 'TUBE-1' });
  });

  it('after SENT on a controller that has never shown a number: nobody knows', async () => {
    const first = await startGateway();
    await cell.fault({ kind: 'cut_at_trigger', when: 'before' });
    const { commandId } = await lab.accept(robot, 'pick', 1);
    await lab.inState(robot, commandId, 'SENT');
    await first.kill();
    await startGateway();
    expect(await lab.settled(robot, commandId)).toMatchObject({ state: 'UNKNOWN' });
  });

  it('in the middle of the motion: the next one attaches', async () => {
    const first = await startGateway();
    await cell.fault({ kind: 'freeze', when: 'before' });
    const { commandId } = await lab.accept(robot, 'pick', 1);
    await eventually('the motion', async () => (await cell.world()).motion?.number === 1);
    await lab.inState(robot, commandId, 'SENT');
    await first.kill();
    await startGateway();
    await cell.clearFaults();
    expect(await lab.settled(robot, commandId)).toMatchObject({
      state: 'DONE',
      reading: { carrier: true, source: false },
    });
  });

  it('after the motion, before DONE: the next one reads the result', async () => {
    const first = await startGateway();
    await cell.fault({ kind: 'freeze', when: 'before' });
    const { commandId } = await lab.accept(robot, 'pick', 1);
    await lab.inState(robot, commandId, 'SENT');
    const lock = await holdLock('SELECT 1 FROM motion WHERE command_id = $1 FOR UPDATE', [commandId]);
    await cell.clearFaults();
    await lock.waitedFor();
    expect(await cell.log()).toMatchObject([{ number: 1, result: 'done' }]);
    await first.kill();
    await lock.release();
    await startGateway();
    expect(await lab.settled(robot, commandId)).toMatchObject({ state: 'DONE', reading: { carrier: true } });
  });

  it('with a tube in the carrier and an error: the next one homes nothing, opens nothing, resets nothing', async () => {
    const first = await startGateway();
    await warmUp();
    await cell.fault({ kind: 'motion_fault', operation: 'place', tube: 'carrier' });
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 5 },
    });
    await first.kill();
    await lab.sql('UPDATE robot_state SET error_code = NULL WHERE robot_id = $1', [robot.robotId]);
    const second = await startGateway(PATIENT_ARGS);
    await eventually('the next one having looked', async () => {
      const [state] = await lab.sql<{ error_code: number | null }>(
        'SELECT error_code FROM robot_state WHERE robot_id = $1',
        [robot.robotId],
      );
      return state?.error_code === 5;
    });
    expect((await cell.log()).map(({ operation }) => operation)).toEqual(['pick', 'place']);
    expect((await cell.world()).carrier).toMatchObject({ barcode: 'TUBE-1' });
    // The error stands until somebody wants to move; where it has to be reset then, it is logged first.
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({ state: 'DONE' });
    expect(second.output().includes('"handlerError":"00017"')).toBe(driver === 'ascii');
  });

  it('by SIGTERM: sees the running motion to its end and leaves no other', async () => {
    const gateway = await startGateway();
    const { commandId } = await lab.accept(robot, 'pick', 1);
    await lab.inState(robot, commandId, 'SENT');
    expect(await gateway.end()).toBe(0);
    expect(await lab.settled(robot, commandId, 100)).toMatchObject({ state: 'DONE' });
  });

  it('by the loss of its parent: ends as well', async () => {
    const gateway = await startGateway();
    const ended = new Promise((resolve) => gateway.child.once('exit', resolve));
    gateway.child.disconnect();
    expect(await ended).toBe(0);
  });
});
