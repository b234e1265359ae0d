import type { ControllerView, MotionOperation } from '../domain/controller.ts';
import { ModbusError, ModbusLine } from './modbus.ts';
import { ForeignOperation, type RobotWire, type WireCommand } from './robot-wire.ts';

/** Register map: devices/profiles/store-robot.yaml. */
const TRIGGER = 6;
const INPUT_COUNT = 45;
const BARCODE_AT = 10;
const SAFETY_AT = 42;
const BARCODE_MAX = 2 * (SAFETY_AT - BARCODE_AT);
const OPERATION_CODE: Record<MotionOperation, number> = { pick: 1, place: 2, scan: 3 };
const MODES = ['manual', 'auto', 'estop'] as const;
const LAST_ERROR_CODE = 6;
/** Exceptions that say the write was not carried out. Device failure (4) and those of gateways (10, 11) do not say so. */
const REFUSALS: ReadonlySet<number> = new Set([1, 2, 3, 6]);

export interface StoreRobotAddress {
  readonly host: string;
  readonly port: number;
  readonly unitId: number;
  /** default 1000 ms */
  readonly timeoutMs?: number;
}

/**
 * The wire to a store robot with the register map of devices/profiles/store-robot.yaml.
 *
 * A number above every earlier one is written first, the trigger last and alone: it is the only write that moves
 * anything, it goes out at most once, and only on the connection on which the command was written.
 */
export function openStoreRobot({ host, port, unitId, timeoutMs = 1000 }: StoreRobotAddress): RobotWire {
  const line = new ModbusLine({ host, port, unitId, timeoutMs });
  let armedIn = 0;
  const writeBlock = async (number: number, command: Omit<WireCommand, 'number'>) => {
    const { operation, cassette, level, slot } = command;
    if (operation === 'transfer') throw new ForeignOperation(operation, 'it is told to pick, place and scan');
    await line.writeAll(0, [
      number >>> 16,
      number & 0xffff,
      OPERATION_CODE[operation],
      cassette,
      level,
      slot,
    ]);
  };
  return {
    timeoutMs,
    async arm(command) {
      await writeBlock(command.number, command);
      armedIn = line.session;
    },
    // Number 0 is never above the last one taken, so no trigger can start this; the sensors look at the address.
    disarm: (address) => writeBlock(0, address),
    async observe() {
      return parseInputs(await line.readInput(0, INPUT_COUNT));
    },
    async trigger() {
      const session = armedIn;
      armedIn = 0;
      try {
        await line.writeOnce(TRIGGER, 1, session);
        return 'taken';
      } catch (error) {
        if (!(error instanceof ModbusError)) throw error;
        const didNothing = error.kind === 'unreachable' || (error.code !== null && REFUSALS.has(error.code));
        return didNothing ? 'refused' : 'unknown';
      }
    },
    close() {
      armedIn = 0;
      line.close();
    },
  };
}

/**
 * Reads the controller's input registers.
 * @throws ModbusError `garbled` naming the register that holds what it cannot hold
 */
export function parseInputs(registers: readonly number[]): ControllerView {
  const at = (address: number): number => {
    const value = registers[address];
    if (value === undefined) throw new ModbusError('garbled', `input register ${address} is missing`);
    return value;
  };
  const flag = (address: number): boolean => {
    const value = at(address);
    if (value > 1)
      throw new ModbusError('garbled', `input register ${address} holds ${value}, which is not 0 or 1`);
    return value === 1;
  };
  const mode = MODES[at(0)];
  if (!mode) throw new ModbusError('garbled', `input register 0 holds ${at(0)}, which is no mode`);
  const errorCode = at(5);
  if (errorCode > LAST_ERROR_CODE) {
    throw new ModbusError('garbled', `input register 5 holds ${errorCode}, which is no error code`);
  }
  const length = at(9);
  if (length > BARCODE_MAX) {
    throw new ModbusError(
      'garbled',
      `input register 9 says ${length} bytes of barcode; there is room for ${BARCODE_MAX}`,
    );
  }
  const bytes = Buffer.alloc(BARCODE_MAX);
  for (let index = 0; index < BARCODE_MAX / 2; index++)
    bytes.writeUInt16BE(at(BARCODE_AT + index), 2 * index);
  const barcode = bytes.toString('latin1', 0, length);
  if (!/^[\x20-\x7e]*$/.test(barcode)) {
    throw new ModbusError('garbled', 'the barcode registers hold something that is not printable ASCII');
  }
  return {
    mode,
    latchedNumber: at(1) * 0x1_0000 + at(2),
    busy: flag(3),
    done: flag(4),
    errorCode,
    carrier: flag(6),
    source: flag(7),
    target: flag(8),
    barcode,
    doorOpen: flag(SAFETY_AT),
    unitAlarm: flag(SAFETY_AT + 1),
    lockedOut: flag(SAFETY_AT + 2),
  };
}
