import { afterEach, describe, expect, it } from 'vitest';
import { openAsciiStore } from '../../devices/ascii-store.ts';
import { ForeignOperation, type RobotWire, type WireCommand } from '../../devices/robot-wire.ts';
import { openStoreRobot } from '../../devices/store-robot.ts';
import { FakeWire } from '../setup/fake-wire.ts';
import { CELL_DRIVERS, type CellDriver, eventually, RobotCell } from '../setup/robot-cell.ts';
import { openWorklist, WorklistCell } from '../setup/worklist-cell.ts';

type Order = Omit<WireCommand, 'number'>;

/**
 * A robot cell with its wire: the same behaviour is asked of the fake and of the simulators, as far as their level goes.
 */
interface Cell {
  readonly wire: RobotWire;
  /** at job level: has the tube of a slot brought out */
  readonly bringOut?: (slot: number) => Order;
  putTube(slot: number, barcode: string): Promise<unknown>;
  setMode(mode: 'auto' | 'manual' | 'estop'): Promise<unknown>;
  openDoor(): Promise<unknown>;
  motions(): Promise<number[]>;
  close(): Promise<unknown>;
}

const at = (slot: number) => ({ cassette: 1, level: 1, slot });

/** What every wire can be told of a tube in a slot: to take it from there. */
const takeFrom = (cell: Cell, slot: number): Order =>
  cell.bringOut?.(slot) ?? { operation: 'pick', ...at(slot) };

/** Stores at motion level: each move is commanded. */
const CELLS: Record<string, () => Promise<Cell>> = {
  'the fake': async () => {
    const wire = new FakeWire();
    return {
      wire,
      putTube: async (slot, barcode) => wire.tubes.set(`1/1/${slot}`, barcode),
      setMode: async (mode) => {
        wire.mode = mode;
      },
      openDoor: async () => {
        wire.doorOpen = true;
      },
      motions: async () => wire.log,
      close: async () => wire.close(),
    };
  },
  'the simulator on Modbus TCP': () => simulated('modbus'),
  'the simulator of ASCII commands': () => simulated('ascii'),
};

/** Stores at job level: they do the moves themselves. */
const JOB_CELLS: Record<string, () => Promise<Cell>> = {
  'the simulator that takes worklists': async () => {
    const cell = await WorklistCell.open(['--speed', '0']);
    const wire = openWorklist(cell.port);
    return {
      wire,
      bringOut: (slot) => ({ operation: 'transfer', ...at(slot), to: { cassette: 9, level: 1, slot: 1 } }),
      putTube: (slot, barcode) => cell.add(1, 1, slot, barcode),
      setMode: (mode) => cell.setMode(mode),
      openDoor: () => cell.setDoor(true),
      motions: async () => (await cell.log()).map(({ number }) => number),
      close: () => {
        wire.close();
        return cell.close();
      },
    };
  },
};

const QUIET = { warn: () => undefined };
const openWire: Record<CellDriver, (port: number, timeoutMs: number) => RobotWire> = {
  modbus: (port, timeoutMs) => openStoreRobot({ host: '127.0.0.1', port, unitId: 1, timeoutMs }),
  ascii: (port, timeoutMs) => openAsciiStore({ host: '127.0.0.1', port, timeoutMs, log: QUIET }),
};

async function simulated(driver: CellDriver): Promise<Cell> {
  const cell = await RobotCell.open(['--speed', '0'], driver);
  const wire = openWire[driver](cell.port, 1000);
  return {
    wire,
    putTube: (slot, barcode) => cell.putTube(1, 1, slot, barcode),
    setMode: (mode) => cell.setMode(mode),
    openDoor: () => cell.setDoor(true),
    motions: async () => (await cell.log()).map(({ number }) => number),
    close: () => {
      wire.close();
      return cell.close();
    },
  };
}

describe.each(Object.entries({ ...CELLS, ...JOB_CELLS }))('every wire: %s', (_, open) => {
  let cell: Cell;
  afterEach(() => cell.close());

  const take = async (number: number, slot: number) => {
    await cell.wire.arm({ number, ...takeFrom(cell, slot) });
    return cell.wire.trigger();
  };

  it('shows what stands where before anything moves, and moves nothing by being armed', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    await cell.wire.arm({ number: 70_000, ...takeFrom(cell, 1) });
    expect(await cell.wire.observe()).toEqual({
      mode: 'auto',
      latchedNumber: 0,
      busy: false,
      done: false,
      errorCode: 0,
      carrier: false,
      source: true,
      target: false,
      barcode: '',
      doorOpen: false,
      unitAlarm: false,
      lockedOut: false,
    });
    expect(await cell.motions()).toEqual([]);
  });

  it('takes a number once, and none below it', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    await cell.putTube(2, 'AB-2');
    expect(await take(5, 1)).toBe('taken');
    expect(await take(5, 2)).toBe('refused');
    expect(await take(4, 2)).toBe('refused');
    expect(await cell.wire.observe()).toMatchObject({
      latchedNumber: 5,
      busy: false,
      done: true,
      source: true,
    });
    expect(await cell.motions()).toEqual([5]);
  });

  it('triggers once what was armed once', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    expect(await take(5, 1)).toBe('taken');
    expect(await cell.wire.trigger()).toBe('refused');
    expect(await cell.motions()).toEqual([5]);
  });

  it('starts nothing after it was disarmed, and keeps looking at the address', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    await cell.wire.arm({ number: 5, ...takeFrom(cell, 1) });
    await cell.wire.disarm(takeFrom(cell, 1));
    expect(await cell.wire.trigger()).toBe('refused');
    expect(await cell.wire.observe()).toMatchObject({ latchedNumber: 0, source: true, carrier: false });
    expect(await cell.motions()).toEqual([]);
  });

  it('says why a tube cannot be taken from where none stands', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    expect(await take(1, 2)).toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({ latchedNumber: 1, done: false, errorCode: 2 });
  });

  it('starts nothing while a door is open, and says so', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    await cell.openDoor();
    expect(await take(1, 1)).not.toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({ doorOpen: true, latchedNumber: 0, carrier: false });
    expect(await cell.motions()).toEqual([]);
  });

  it('does not move in another mode than auto', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    await cell.setMode('estop');
    expect(await take(1, 1)).not.toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({ mode: 'estop', latchedNumber: 0, carrier: false });
    expect(await cell.motions()).toEqual([]);
  });

  it('goes on after its connection was ended', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    await cell.wire.observe();
    cell.wire.close();
    expect(await take(1, 1)).toBe('taken');
  });

  it('refuses an operation of the other level in a sentence, and nothing is armed by it', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    const foreign: Order = cell.bringOut
      ? { operation: 'pick', ...at(1) }
      : { operation: 'transfer', ...at(1), to: at(2) };
    await expect(cell.wire.arm({ number: 1, ...foreign })).rejects.toThrow(ForeignOperation);
    await expect(cell.wire.arm({ number: 1, ...foreign })).rejects.toThrow(/does not know the operation/);
    expect(await cell.wire.trigger()).toBe('refused');
    expect(await cell.motions()).toEqual([]);
  });
});

describe.each(Object.entries(CELLS))('a wire at motion level: %s', (_, open) => {
  let cell: Cell;
  afterEach(() => cell.close());

  const perform = async (number: number, operation: 'pick' | 'place' | 'scan', slot: number) => {
    await cell.wire.arm({ number, operation, ...at(slot) });
    return cell.wire.trigger();
  };

  it('moves a tube: picked, read, placed', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    await cell.wire.arm({ number: 70_000, operation: 'pick', ...at(1) });
    expect(await cell.wire.trigger()).toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({
      latchedNumber: 70_000,
      busy: false,
      done: true,
      carrier: true,
      source: false,
    });
    expect(await perform(70_001, 'scan', 1)).toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({
      done: true,
      errorCode: 0,
      barcode: 'AB-1',
      source: false,
    });
    expect(await perform(70_002, 'place', 2)).toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({
      done: true,
      carrier: false,
      target: true,
      source: false,
    });
    expect(await cell.motions()).toEqual([70_000, 70_001, 70_002]);
  });

  it.each([
    ['place', 1, 4],
    ['scan', 1, 4],
  ] as const)('says why a %s cannot be done', async (operation, slot, errorCode) => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    expect(await perform(1, operation, slot)).toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({ latchedNumber: 1, done: false, errorCode });
  });

  it('does not place where a tube stands, nor pick with a full carrier', async () => {
    cell = await open();
    await cell.putTube(1, 'AB-1');
    await cell.putTube(2, 'AB-2');
    expect(await perform(1, 'pick', 1)).toBe('taken');
    expect(await perform(2, 'place', 2)).toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({ errorCode: 3, carrier: true, target: true });
    expect(await perform(3, 'pick', 2)).toBe('taken');
    expect(await cell.wire.observe()).toMatchObject({ errorCode: 4, carrier: true, source: true });
  });
});

describe.each(CELL_DRIVERS)('the %s wire to a simulated store', (driver) => {
  let cell: RobotCell;
  let wire: RobotWire;
  const open = async (timeoutMs: number) => {
    cell = await RobotCell.open(['--speed', '0'], driver);
    wire = openWire[driver](cell.port, timeoutMs);
    await cell.putTube(1, 1, 1, 'AB-1');
  };
  afterEach(async () => {
    wire.close();
    await cell.close();
  });
  /** A look may be disturbed by what comes late; it may be repeated. */
  const look = () => eventually('a look', () => wire.observe().catch(() => null));

  it('does not trigger on another connection than it armed on', async () => {
    await open(300);
    await wire.arm({ number: 1, operation: 'pick', ...at(1) });
    wire.close();
    await wire.observe();
    expect(await wire.trigger()).toBe('refused');
    expect(await wire.trigger()).toBe('refused');
    expect((await cell.world()).triggers).toEqual({ taken: 0, refused: 0 });
  });

  it('takes no late reply for another', async () => {
    await open(200);
    await wire.arm({ number: 1, operation: 'pick', ...at(1) });
    await cell.fault({ kind: 'late_reply', to: 'trigger', ms: 500 });
    expect(await wire.trigger()).toBe('unknown');
    expect(await look()).toMatchObject({ latchedNumber: 1, done: true });
  });

  it.each([
    ['was cut off', { kind: 'cut_at_trigger', when: 'before' }, false],
    ['was taken and cut off', { kind: 'cut_at_trigger', when: 'after' }, true],
    ['never came', { kind: 'no_reply_to_trigger', when: 'before' }, false],
    ['was taken', { kind: 'no_reply_to_trigger', when: 'after' }, true],
    ['was taken, and another’s reply came', { kind: 'wrong_transaction', to: 'trigger' }, true],
  ])('says that it does not know of a trigger that %s', async (_, fault, isTaken) => {
    await open(200);
    await wire.arm({ number: 1, operation: 'pick', ...at(1) });
    await cell.fault(fault);
    expect(await wire.trigger()).toBe('unknown');
    expect(await look()).toMatchObject({ latchedNumber: isTaken ? 1 : 0, carrier: isTaken });
  });

  it('takes no reply to another request for its own', async () => {
    await open(200);
    await wire.arm({ number: 1, operation: 'pick', ...at(1) });
    await cell.fault({ kind: 'wrong_transaction', to: 'any' });
    await expect(wire.observe()).rejects.toMatchObject({ kind: 'lost' });
    expect(await look()).toMatchObject({ source: true, latchedNumber: 0 });
  });
});

describe('the wire to a store robot on Modbus TCP', () => {
  it('does not hear another unit, and says so within its timeout', async () => {
    const cell = await RobotCell.open(['--speed', '0']);
    const wire = openStoreRobot({ host: '127.0.0.1', port: cell.port, unitId: 9, timeoutMs: 100 });
    try {
      await expect(wire.observe()).rejects.toMatchObject({ kind: 'lost' });
    } finally {
      wire.close();
      await cell.close();
    }
  });
});
