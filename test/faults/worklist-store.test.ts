import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type LabRobot, MotionLab } from '../setup/motion-lab.ts';
import { eventually, type Spawned, start } from '../setup/robot-cell.ts';
import { WorklistCell } from '../setup/worklist-cell.ts';

const NO_TEMPORAL = '127.0.0.1:9';
const GATEWAY_ARGS = ['--wire-timeout-ms', '300', '--motion-deadline-ms', '3000', '--look-every-ms', '100'];
const INSIDE = '1/1/1';
const OUTSIDE = '9/1/1';

/** The crash matrix (reference/devices 13.5) for a store that does the moves itself. */
describe('a gateway whose store takes worklists', () => {
  let lab: MotionLab;
  let gateway: Spawned;
  let cell: WorklistCell;
  let robot: LabRobot;

  beforeAll(async () => {
    lab = await MotionLab.open();
    gateway = await start('workers/gateway.ts', GATEWAY_ARGS, lab.environment(NO_TEMPORAL));
  });
  afterAll(async () => {
    await gateway.kill();
    await lab.close();
  });
  const open = async (...args: string[]) => {
    cell = await WorklistCell.open(['--seed', '7', ...args]);
    await cell.add(1, 1, 1, 'TUBE-1');
    robot = await lab.addRobot(cell.port, 'worklist');
  };
  beforeEach(() => open('--speed', '0'));
  afterEach(async () => {
    const numbers = (await cell.log()).map(({ number }) => number);
    expect(new Set(numbers).size).toBe(numbers.length);
    const world = await cell.world();
    const places = [...Object.values(world.positions), world.carrier, ...world.floor];
    expect(places.filter((tube) => tube?.barcode === 'TUBE-1')).toHaveLength(1);
    await lab.sql('UPDATE robot SET retired_at = now() WHERE id = $1', [robot.robotId]);
    await cell.close();
  });

  const accept = (way: 'out' | 'in') => {
    const [inside, outside] = [robot.positions[0], robot.handoffs[0]];
    return way === 'out'
      ? lab.acceptTransfer(robot, inside, outside)
      : lab.acceptTransfer(robot, outside, inside);
  };
  const perform = async (way: 'out' | 'in') => {
    const { commandId } = await accept(way);
    return lab.settled(robot, commandId);
  };
  const OUT = { carrier: false, source: false, target: true };

  it('brings a tube out and takes it in again, with its label', async () => {
    expect(await perform('out')).toMatchObject({ state: 'DONE', reading: { ...OUT, barcode: 'TUBE-1' } });
    expect(await perform('in')).toMatchObject({ state: 'DONE', reading: { ...OUT, barcode: 'TUBE-1' } });
    expect((await cell.world()).triggers).toEqual({ taken: 2, refused: 0 });
  });

  it('never sends what the interlock refuses', async () => {
    const detail = async (way: 'out' | 'in') => {
      const motion = await perform(way);
      expect(motion.state).toBe('FAILED');
      return motion.reading?.detail;
    };
    expect(await detail('in')).toBe('the command was not sent: no tube stands at the source');
    await cell.putTube(9, 1, 1, 'TUBE-2');
    expect(await detail('out')).toBe('the command was not sent: a tube stands at the target already');
    await cell.takeTube({ cassette: 9, level: 1, slot: 1 });
    await cell.setMode('manual');
    expect(await detail('out')).toBe('the command was not sent: the controller is in mode manual, not auto');
    await cell.setMode('auto');
    await cell.setDoor(true);
    expect(await detail('out')).toBe('the command was not sent: a door is open');
    expect(await cell.log()).toEqual([]);
    expect((await cell.world()).triggers).toEqual({ taken: 0, refused: 0 });
  });

  it('says at once what the store does not know: pick, place and scan', async () => {
    const motion = await lab.perform(robot, 'pick', 1);
    expect(motion).toMatchObject({ state: 'FAILED', sentAgoMs: null });
    expect(motion.reading?.detail).toMatch(
      /^the command was not sent: the store does not know the operation pick/,
    );
  });

  it.each([
    ['stays', { operation: 'pick', tube: 'source' }, { carrier: false, source: true, target: false }, INSIDE],
    [
      'in the shuttle',
      { operation: 'pick', tube: 'carrier' },
      { carrier: true, source: false, target: false },
      null,
    ],
    [
      'still in it',
      { operation: 'place', tube: 'carrier' },
      { carrier: true, source: false, target: false },
      null,
    ],
    ['arrived after all', { operation: 'place', tube: 'target' }, OUT, OUTSIDE],
    [
      'on the floor',
      { operation: 'place', tube: 'floor' },
      { carrier: false, source: false, target: false },
      null,
    ],
  ] as const)(
    'reports a fault on the way as the sensors see it: the tube %s',
    async (_, fault, seen, place) => {
      await cell.fault({ kind: 'motion_fault', ...fault });
      expect(await perform('out')).toMatchObject({ state: 'FAILED', reading: { errorCode: 5, ...seen } });
      if (place !== null) expect((await cell.world()).positions[place]).toMatchObject({ barcode: 'TUBE-1' });
    },
  );

  it('reports a tube that was dropped', async () => {
    await cell.fault({ kind: 'drop', operation: 'pick' });
    expect(await perform('out')).toMatchObject({
      state: 'FAILED',
      reading: { carrier: false, source: false, target: false },
    });
  });

  it('is not fooled by a store that says DONE and moved nothing: the hand-off has sensors of its own', async () => {
    await cell.fault({ kind: 'false_done' });
    expect(await perform('out')).toMatchObject({
      state: 'DONE',
      reading: { carrier: false, source: false, target: false },
    });
    expect((await cell.world()).positions).toHaveProperty(['1/1/1']);
  });

  it('reports a tube that the store does not find, because somebody took it', async () => {
    await cell.takeTube({ cassette: 1, level: 1, slot: 1 });
    expect(await perform('out')).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 2, carrier: false, source: false, target: false },
    });
    await cell.putTube(1, 1, 1, 'TUBE-1');
  });

  it('reports the label of another tube, and none where none was read', async () => {
    await cell.fault({ kind: 'barcode_other', barcode: 'OTHER' });
    expect(await perform('out')).toMatchObject({ state: 'DONE', reading: { barcode: 'OTHER' } });
    await cell.fault({ kind: 'barcode_unreadable' });
    expect(await perform('in')).toMatchObject({ state: 'DONE', reading: { ...OUT, barcode: null } });
  });

  it('gives a command that was not sent no label of the one before', async () => {
    expect(await perform('out')).toMatchObject({ reading: { barcode: 'TUBE-1' } });
    await cell.setDoor(true);
    expect(await perform('in')).toMatchObject({ state: 'FAILED', reading: { barcode: null } });
  });

  it('finds the one transfer again when the connection ends at the release', async () => {
    await cell.fault({ kind: 'cut_at_trigger', when: 'after' });
    expect(await perform('out')).toMatchObject({ state: 'DONE', reading: OUT });
    await cell.fault({ kind: 'cut_at_trigger', when: 'before' });
    expect(await perform('in')).toMatchObject({
      state: 'FAILED',
      reading: { carrier: false, source: true, target: false, barcode: null },
    });
    expect(await cell.log()).toHaveLength(1);
  });

  it('takes no late reply for another, and lets no late release start anything', async () => {
    await cell.fault({ kind: 'late_reply', to: 'trigger', ms: 700 });
    expect(await perform('out')).toMatchObject({ state: 'DONE', reading: OUT });
    await cell.fault({ kind: 'late_reply', to: 'any', ms: 700 });
    expect(await perform('in')).toMatchObject({ state: 'DONE', reading: OUT });
    await cell.fault({ kind: 'late_trigger', ms: 2_000 });
    const motion = await perform('out');
    await eventually('the late release', async () => (await cell.world()).triggers.refused === 1);
    expect(motion).toMatchObject({ state: 'FAILED', reading: { source: true, target: false } });
    expect(await cell.log()).toHaveLength(2);
  });

  it('attaches again after the connection ended in the middle of a transfer', async () => {
    await cell.fault({ kind: 'freeze', when: 'during' });
    const { commandId } = await accept('out');
    await eventually('the tube in the shuttle', async () => (await cell.world()).carrier !== null);
    await cell.cut(500);
    await cell.clearFaults();
    expect(await lab.settled(robot, commandId)).toMatchObject({ state: 'DONE', reading: OUT });
  });

  it.each([
    ['before', { carrier: false, source: true, target: false }],
    ['during', { carrier: true, source: false, target: false }],
    ['after', OUT],
  ] as const)('does not know after a loss of power %s the tube is on its way', async (when, seen) => {
    await cell.fault({ kind: 'power_cycle', when, offMs: 200 });
    expect(await perform('out')).toMatchObject({ state: 'UNKNOWN', reading: seen });
    expect((await cell.log()).map(({ result }) => result)).toEqual(['interrupted']);
  });

  it('does not know after the store’s program was killed in the middle of a transfer', async () => {
    await cell.fault({ kind: 'freeze', when: 'during' });
    const { commandId } = await accept('out');
    await eventually('the tube in the shuttle', async () => (await cell.world()).carrier !== null);
    await cell.restart();
    expect(await lab.settled(robot, commandId)).toMatchObject({
      state: 'UNKNOWN',
      reading: { carrier: true, source: false, target: false },
    });
  });

  it('does not know when a transfer takes longer than any may', async () => {
    await cell.fault({ kind: 'freeze', when: 'after' });
    expect(await perform('out')).toMatchObject({ state: 'UNKNOWN', reading: OUT });
    const next = await perform('in');
    expect(next.reading?.detail).toBe('the command was not sent: the controller is busy with command 1');
  });

  it('reports an emergency stop in the middle of a transfer', async () => {
    await cell.fault({ kind: 'freeze', when: 'during' });
    const { commandId } = await accept('out');
    await eventually('the tube in the shuttle', async () => (await cell.world()).carrier !== null);
    await cell.setMode('estop');
    expect(await lab.settled(robot, commandId)).toMatchObject({
      state: 'FAILED',
      reading: { errorCode: 5, carrier: true, source: false, target: false },
    });
  });

  it('attaches to the transfer of a gateway that was killed', async () => {
    await cell.fault({ kind: 'freeze', when: 'during' });
    const { commandId } = await accept('out');
    await eventually('the tube in the shuttle', async () => (await cell.world()).carrier !== null);
    await gateway.kill();
    gateway = await start('workers/gateway.ts', GATEWAY_ARGS, lab.environment(NO_TEMPORAL));
    await cell.clearFaults();
    expect(await lab.settled(robot, commandId)).toMatchObject({
      state: 'DONE',
      reading: { ...OUT, barcode: 'TUBE-1' },
    });
    expect((await cell.world()).triggers).toEqual({ taken: 1, refused: 0 });
  });

  it('lets nobody move in the store’s screen what is under way, and goes on when the screen is free', async () => {
    await cell.fault({ kind: 'freeze', when: 'before' });
    const { commandId } = await accept('out');
    await eventually('the transfer', async () => (await cell.world()).motion !== null);
    await expect(cell.screenRemove({ cassette: 1, level: 1, slot: 1 })).rejects.toThrow(/busy/);
    await cell.clearFaults();
    expect(await lab.settled(robot, commandId)).toMatchObject({ state: 'DONE', reading: OUT });
  });
});

describe('a store that forgets the number of its last list with its power', () => {
  it('leaves the outcome unknown, whatever really happened', async () => {
    const lab = await MotionLab.open();
    const cell = await WorklistCell.open(['--speed', '0', '--forget-latched']);
    const gateway = await start('workers/gateway.ts', GATEWAY_ARGS, lab.environment(NO_TEMPORAL));
    try {
      await cell.add(1, 1, 1, 'TUBE-1');
      const robot = await lab.addRobot(cell.port, 'worklist');
      await cell.fault({ kind: 'power_cycle', when: 'after', offMs: 100 });
      const { commandId } = await lab.acceptTransfer(robot, robot.positions[0], robot.handoffs[0]);
      expect(await lab.settled(robot, commandId)).toMatchObject({
        state: 'UNKNOWN',
        reading: { target: true },
      });
      expect(await cell.log()).toHaveLength(1);
    } finally {
      await gateway.kill();
      await cell.close();
      await lab.close();
    }
  });
});
