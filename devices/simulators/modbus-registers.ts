import {
  DEVICE_BUSY,
  DEVICE_FAILURE,
  Exception,
  ILLEGAL_ADDRESS,
  ILLEGAL_VALUE,
  type Registers,
} from './modbus-server.ts';
import type { Order, Refusal, StoreMachine } from './store-machine.ts';

const TRIGGER = 6;
const HOLDING_COUNT = 7;
const INPUT_COUNT = 45;
const BARCODE_AT = 10;
const SAFETY_AT = 42;
const OPERATIONS = ['pick', 'place', 'scan'] as const;
const MODES = ['manual', 'auto', 'estop'] as const;
const EXCEPTION: Record<Refusal, number> = {
  mode: DEVICE_FAILURE,
  busy: DEVICE_BUSY,
  number: ILLEGAL_VALUE,
  error: DEVICE_FAILURE,
};

/**
 * A store's controller as Modbus registers (devices/profiles/store-robot.yaml). The trigger is a write to its own
 * register; what the machine does not take, it answers with an exception.
 */
export class ModbusRegisters implements Registers {
  readonly #machine: StoreMachine;
  readonly #holding = new Array<number>(HOLDING_COUNT).fill(0);

  constructor(machine: StoreMachine) {
    this.#machine = machine;
  }

  readHolding(address: number, count: number): number[] {
    if (address + count > HOLDING_COUNT) throw new Exception(ILLEGAL_ADDRESS);
    return this.#holding.slice(address, address + count);
  }

  readInput(address: number, count: number): number[] {
    if (address + count > INPUT_COUNT) throw new Exception(ILLEGAL_ADDRESS);
    return this.#inputs().slice(address, address + count);
  }

  writeHolding(address: number, values: readonly number[]): void {
    if (address + values.length > HOLDING_COUNT) throw new Exception(ILLEGAL_ADDRESS);
    values.forEach((value, index) => {
      if (address + index !== TRIGGER) this.#holding[address + index] = value;
    });
    const [high = 0, low = 0, code = 0, cassette = 0, level = 0, slot = 0] = this.#holding;
    const order: Order = {
      number: high * 0x1_0000 + low,
      operation: OPERATIONS[code - 1] ?? 'unknown',
      cassette,
      level,
      slot,
    };
    if (address < TRIGGER) this.#machine.point(order);
    const trigger = values[TRIGGER - address];
    if (trigger === undefined || trigger === 0) return;
    if (trigger !== 1) throw new Exception(ILLEGAL_VALUE);
    const refusal = this.#machine.trigger(order);
    if (refusal !== null) throw new Exception(EXCEPTION[refusal]);
  }

  isTrigger(functionCode: number, address: number): boolean {
    return functionCode === 6 && address === TRIGGER;
  }

  /** What a loss of power leaves of the registers. */
  clear(): void {
    this.#holding.fill(0);
  }

  #inputs(): number[] {
    const status = this.#machine.status();
    const barcode = Buffer.alloc(2 * (SAFETY_AT - BARCODE_AT));
    barcode.write(status.barcode, 'ascii');
    return [
      MODES.indexOf(status.mode),
      status.latched >>> 16,
      status.latched & 0xffff,
      Number(status.busy),
      Number(status.done),
      status.error,
      Number(status.carrier),
      Number(status.source),
      Number(status.target),
      status.barcode.length,
      ...Array.from({ length: barcode.length / 2 }, (_, index) => barcode.readUInt16BE(2 * index)),
      Number(status.door),
      Number(status.alarm),
      Number(status.lockedOut),
    ];
  }
}
