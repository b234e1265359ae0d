import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type LabRobot, MotionLab } from '../setup/motion-lab.ts';
import { CELL_DRIVERS, eventually, RobotCell, type Spawned, start } from '../setup/robot-cell.ts';

const NO_TEMPORAL = '127.0.0.1:9';
const GATEWAY_ARGS = ['--wire-timeout-ms', '300', '--motion-deadline-ms', '3000', '--look-every-ms', '100'];

/** What the wire, the controller and the robot do to a gateway that lives. */
describe.each(CELL_DRIVERS)('a gateway whose robot on %s fails', (driver) => {
  let lab: MotionLab;
  let gateway: Spawned;
  let cell: RobotCell;
  let robot: LabRobot;

  const open = async (...args: string[]): Promise<void> => {
    cell = await RobotCell.open(args, driver);
    await cell.putTube(1, 1, 1, 'TUBE-1');
    robot = await lab.addRobot(cell.port, driver);
  };

  beforeAll(async () => {
    lab = await MotionLab.open();
    gateway = await start('workers/gateway.ts', GATEWAY_ARGS, lab.environment(NO_TEMPORAL));
  });
  afterAll(async () => {
    await gateway.kill();
    await lab.close();
  });
  beforeEach(() => open('--speed', '0'));
  afterEach(async () => {
    const numbers = (await cell.log()).map(({ number }) => number);
    expect(new Set(numbers).size).toBe(numbers.length);
    await lab.sql('UPDATE robot SET retired_at = now() WHERE id = $1', [robot.robotId]);
    await cell.close();
  });

  it('serves a newly enrolled robot within 2 s, of any tenant', async () => {
    const { commandId } = await lab.accept(robot, 'pick', 1);
    expect(await lab.settled(robot, commandId, 2_500)).toMatchObject({ state: 'DONE' });
  });

  it('never sends what the interlock refuses', async () => {
    const detail = async (operation: 'pick' | 'place' | 'scan', slot: number) => {
      const motion = await lab.perform(robot, operation, slot);
      expect(motion.state).toBe('FAILED');
      return motion.reading?.detail;
    };
    expect(await detail('pick', 2)).toBe('the command was not sent: no tube stands at the source');
    expect(await detail('place', 2)).toBe('the command was not sent: the carrier holds no tube');
    expect(await detail('scan', 1)).toBe('the command was not sent: the carrier holds no tube to scan');
    await cell.setMode('estop');
    expect(await detail('pick', 1)).toBe(
      'the command was not sent: the controller is in mode estop, not auto',
    );
    await cell.setMode('auto');
    await cell.putTube(1, 1, 3, 'TUBE-3');
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
    expect(await detail('pick', 3)).toBe('the command was not sent: the carrier holds a tube already');
    expect(await detail('place', 3)).toBe('the command was not sent: a tube stands at the target already');
    expect(await cell.log()).toHaveLength(1);
    expect((await cell.world()).triggers).toEqual({ taken: 1, refused: 0 });
  });

  it('reports what the sensors say of each fault of a motion', async () => {
    await cell.fault({ kind: 'motion_fault', operation: 'pick', tube: 'source' });
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 5, carrier: false, source: true },
    });
    await cell.fault({ kind: 'motion_fault', operation: 'pick', tube: 'carrier' });
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 5, carrier: true, source: false },
    });
    await cell.fault({ kind: 'motion_fault', operation: 'place', tube: 'carrier' });
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 5, carrier: true, target: false },
    });
    await cell.fault({ kind: 'barcode_unreadable' });
    expect(await lab.perform(robot, 'scan', 1)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 6, barcode: null },
    });
    await cell.fault({ kind: 'barcode_other', barcode: 'OTHER' });
    expect(await lab.perform(robot, 'scan', 1)).toMatchObject({
      state: 'DONE',
      reading: { barcode: 'OTHER' },
    });
    await cell.fault({ kind: 'motion_fault', operation: 'place', tube: 'target' });
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 5, carrier: false, target: true },
    });
    await cell.fault({ kind: 'drop', operation: 'pick' });
    expect(await lab.perform(robot, 'pick', 2)).toMatchObject({
      state: 'DONE',
      reading: { carrier: false, source: false },
    });
    expect((await cell.world()).floor).toMatchObject([{ barcode: 'TUBE-1' }]);
  });

  it('reports a stuck sensor as it is', async () => {
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
    await cell.fault({ kind: 'sensor_stuck', sensor: 'carrier', value: true });
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({
      state: 'DONE',
      reading: { carrier: true, target: true },
    });
  });

  it('finds the one motion again when the connection ends at the trigger', async () => {
    await cell.fault({ kind: 'cut_at_trigger', when: 'after' });
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE', reading: { carrier: true } });
    await cell.fault({ kind: 'cut_at_trigger', when: 'before' });
    const motion = await lab.perform(robot, 'place', 2);
    expect(motion).toMatchObject({ state: 'FAILED', reading: { carrier: true, target: false } });
    expect(await cell.log()).toHaveLength(1);
  });

  it('takes no late reply for another', async () => {
    await cell.fault({ kind: 'late_reply', to: 'trigger', ms: 700 });
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE', reading: { carrier: true } });
    await cell.fault({ kind: 'late_reply', to: 'any', ms: 700 });
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({ state: 'DONE', reading: { target: true } });
    expect((await cell.world()).triggers).toEqual({ taken: 2, refused: 0 });
  });

  it('attaches again after the connection ended in the middle of a motion', async () => {
    await cell.fault({ kind: 'freeze', when: 'before' });
    const { commandId } = await lab.accept(robot, 'pick', 1);
    await eventually('the motion', async () => (await cell.world()).motion?.number === 1);
    await cell.cut(500);
    await cell.clearFaults();
    expect(await lab.settled(robot, commandId)).toMatchObject({ state: 'DONE', reading: { carrier: true } });
  });

  it('does not know after a loss of power with the tube in the carrier', async () => {
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
    await cell.fault({ kind: 'power_cycle', when: 'before', offMs: 200 });
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({
      state: 'UNKNOWN',
      reading: { carrier: true, target: false },
    });
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({ state: 'DONE' });
    await cell.fault({ kind: 'power_cycle', when: 'after', offMs: 200 });
    expect(await lab.perform(robot, 'pick', 2)).toMatchObject({
      state: 'UNKNOWN',
      reading: { carrier: true, source: false },
    });
  });

  it('does not know after the controller’s program was killed in the middle of a motion', async () => {
    await cell.fault({ kind: 'freeze', when: 'after' });
    const { commandId } = await lab.accept(robot, 'pick', 1);
    await eventually('the motion', async () => (await cell.world()).carrier !== null);
    await cell.restart();
    expect(await lab.settled(robot, commandId)).toMatchObject({
      state: 'UNKNOWN',
      reading: { carrier: true, source: false },
    });
    expect(await cell.log()).toMatchObject([
      { number: 1, result: 'interrupted', moved: { barcode: 'TUBE-1' } },
    ]);
  });

  it('does not know when a motion takes longer than any may', async () => {
    await cell.fault({ kind: 'freeze', when: 'after' });
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({
      state: 'UNKNOWN',
      reading: { carrier: true },
    });
    const next = await lab.perform(robot, 'place', 2);
    expect(next.reading?.detail).toBe('the command was not sent: the controller is busy with command 1');
  });

  it('reports an emergency stop in the middle of a motion', async () => {
    await cell.fault({ kind: 'freeze', when: 'after' });
    const { commandId } = await lab.accept(robot, 'pick', 1);
    await eventually('the motion', async () => (await cell.world()).carrier !== null);
    await cell.setMode('estop');
    expect(await lab.settled(robot, commandId)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 5, carrier: true },
    });
    await eventually(
      'the projection',
      async () =>
        (await lab.sql(`SELECT 1 FROM robot_state WHERE robot_id = $1 AND mode = 'estop'`, [robot.robotId]))
          .length > 0,
    );
  });

  it('sends a command that waited for a robot out of reach, and gives it up in time', async () => {
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
    await cell.cut(1_000);
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({ state: 'DONE' });
    await cell.cut(6_000);
    const motion = await lab.perform(robot, 'pick', 2);
    expect(motion).toMatchObject({ state: 'FAILED', reading: { carrier: null, source: null } });
    expect(motion.reading?.detail).toMatch(/^the command was not sent/);
    const [state] = await lab.sql('SELECT connected FROM robot_state WHERE robot_id = $1', [robot.robotId]);
    expect(state).toEqual({ connected: false });
  });

  it('goes above the number of a controller that served another laboratory', async () => {
    for (const [operation, slot] of [
      ['pick', 1],
      ['place', 2],
      ['pick', 2],
    ] as const)
      await lab.perform(robot, operation, slot);
    await lab.sql('UPDATE robot SET retired_at = now() WHERE id = $1', [robot.robotId]);
    robot = await lab.addRobot(cell.port, driver);
    await eventually(
      'the number being raised',
      async () =>
        (await lab.sql('SELECT 1 FROM robot_turn WHERE robot_id = $1 AND last_number = 3', [robot.robotId]))
          .length > 0,
    );
    expect(await lab.perform(robot, 'place', 2)).toMatchObject({ state: 'DONE', number: 4 });
  });

  it('writes the result of a motion during which the database went away', async () => {
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
    await cell.fault({ kind: 'freeze', when: 'before' });
    const { commandId } = await lab.accept(robot, 'place', 2);
    await eventually('the motion', async () => (await cell.world()).motion?.number === 2);
    const { name } = lab.database;
    await lab.sql(`ALTER ROLE tracseq_app IN DATABASE ${name} SET default_transaction_read_only = on`);
    await lab.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'tracseq_app'`,
      [name],
    );
    await cell.clearFaults();
    await eventually('the gateway failing to write', () =>
      gateway.output().includes('cannot write a result yet'),
    );
    await lab.sql(`ALTER ROLE tracseq_app IN DATABASE ${name} RESET default_transaction_read_only`);
    await lab.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'tracseq_app'`,
      [name],
    );
    expect(await lab.settled(robot, commandId)).toMatchObject({ state: 'DONE', reading: { target: true } });
    expect((await cell.world()).triggers).toEqual({ taken: 2, refused: 0 });
  });

  it('leaves a robot alone whose driver it does not know, and serves the others', async () => {
    await lab.sql('ALTER TABLE robot DROP CONSTRAINT robot_driver_check');
    const other = await lab.addRobot(cell.port);
    await lab.sql(`UPDATE robot SET driver = 'telepathy' WHERE id = $1`, [other.robotId]);
    await eventually('the gateway saying so', () =>
      gateway.output().includes('robot R is enrolled with the driver telepathy'),
    );
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
  });

  it('leaves a robot to the gateway that took it, and stays away', async () => {
    expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
    const second = await start('workers/gateway.ts', GATEWAY_ARGS, lab.environment(NO_TEMPORAL));
    try {
      await eventually('the first one letting go', () =>
        gateway.output().includes('another gateway owns this robot'),
      );
      const [turn] = await lab.sql<{ epoch: string; gateway: string }>(
        'SELECT epoch, gateway FROM robot_turn WHERE robot_id = $1',
        [robot.robotId],
      );
      expect(turn).toMatchObject({ epoch: '2' });
      expect(turn?.gateway).toMatch(`:${second.child.pid}`);
      expect(await lab.perform(robot, 'place', 2)).toMatchObject({ state: 'DONE' });
      expect((await cell.world()).triggers).toEqual({ taken: 2, refused: 0 });
    } finally {
      await second.kill();
    }
  });
});

describe.each(CELL_DRIVERS)('a controller on %s that forgets its number with its power', (driver) => {
  it('leaves the outcome unknown, whatever really happened', async () => {
    const lab = await MotionLab.open();
    const cell = await RobotCell.open(['--speed', '0', '--forget-latched'], driver);
    const gateway = await start('workers/gateway.ts', GATEWAY_ARGS, lab.environment(NO_TEMPORAL));
    try {
      await cell.putTube(1, 1, 1, 'TUBE-1');
      const robot = await lab.addRobot(cell.port, driver);
      expect(await lab.perform(robot, 'pick', 1)).toMatchObject({ state: 'DONE' });
      await cell.fault({ kind: 'power_cycle', when: 'after', offMs: 100 });
      expect(await lab.perform(robot, 'place', 2)).toMatchObject({
        state: 'UNKNOWN',
        reading: { target: true },
      });
      expect(await cell.log()).toHaveLength(2);
    } finally {
      await gateway.kill();
      await cell.close();
      await lab.close();
    }
  });
});
