import {
  DEVICE_BUSY,
  DEVICE_FAILURE,
  type Disturbance,
  Exception,
  ILLEGAL_ADDRESS,
  ILLEGAL_VALUE,
  type Registers,
} from './modbus-server.ts';
import { mulberry32, travel } from './motion-time.ts';
import { Faults } from './store-faults.ts';
import { type Address, type CurrentMotion, placeName, type Tube, type WorldFile } from './store-world.ts';

const TRIGGER = 6;
const HOLDING_COUNT = 7;
const INPUT_COUNT = 45;
const BARCODE_AT = 10;
const SAFETY_AT = 42;
const OPERATIONS = ['pick', 'place', 'scan'] as const;
const MODES = ['manual', 'auto', 'estop'] as const;

/** Error codes of the controller. */
const ERROR = {
  none: 0,
  refused: 1,
  sourceEmpty: 2,
  targetOccupied: 3,
  carrier: 4,
  motion: 5,
  unreadable: 6,
} as const;

/** Durations in ms at speed 1, of a mid-sized automated store. */
const GRIP_MS = 3000;
const SCAN_MS = 1000;

export interface ControllerOptions {
  /** factor on every duration: 1 = realistic, 0 = at once */
  readonly speed: number;
  /** of the jitter of durations */
  readonly seed: number;
  /** the latched number does not survive a loss of power */
  readonly forgetLatched: boolean;
  /** what a loss of power does to the wire */
  readonly onPowerLost: (offMs: number) => void;
}

/**
 * The controller of a store robot: registers outside, a carrier and tubes inside. It takes a command when its trigger
 * is written: mode auto, not busy, number above the last one taken; otherwise it answers with a Modbus exception (mode
 * 04, busy 06, number 03) and nothing moves.
 */
export class StoreController implements Registers {
  readonly faults = new Faults();
  /** triggers since the program's start */
  readonly triggers = { taken: 0, refused: 0 };
  readonly #file: WorldFile;
  readonly #options: ControllerOptions;
  readonly #random: () => number;
  readonly #holding = new Array<number>(HOLDING_COUNT).fill(0);
  #done = false;
  #error: number = ERROR.none;
  #barcode = '';
  #source: Address | null = null;
  #target: Address | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** the motion under way stops at the end of its present part, until the faults are cleared */
  #frozen = false;
  /** set while a motion is frozen: goes on with it */
  #thaw: (() => void) | undefined;

  constructor(file: WorldFile, options: ControllerOptions) {
    this.#file = file;
    this.#options = options;
    this.#random = mulberry32(options.seed);
    if (options.forgetLatched) file.world.latched = 0;
  }

  // ── registers ─────────────────────────────────────────────────────────────────────────────────────────

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
    const [, , operation, cassette = 0, level = 0, slot = 0] = this.#holding;
    if (address < TRIGGER && operation === 1) this.#source = { cassette, level, slot };
    if (address < TRIGGER && operation === 2) this.#target = { cassette, level, slot };
    const trigger = values[TRIGGER - address];
    if (trigger === undefined || trigger === 0) return;
    if (trigger !== 1) throw new Exception(ILLEGAL_VALUE);
    this.#trigger();
  }

  #inputs(): number[] {
    const { world } = this.#file;
    const sensor = (name: 'carrier' | 'source' | 'target', tube: Tube | null | undefined) =>
      (this.faults.stuckAt(name) ?? Boolean(tube)) ? 1 : 0;
    const barcode = Buffer.alloc(2 * (SAFETY_AT - BARCODE_AT));
    barcode.write(this.#barcode, 'ascii');
    return [
      MODES.indexOf(world.mode),
      world.latched >>> 16,
      world.latched & 0xffff,
      world.motion ? 1 : 0,
      this.#done ? 1 : 0,
      this.#error,
      sensor('carrier', world.carrier),
      sensor('source', this.#source && world.positions[placeName(this.#source)]),
      sensor('target', this.#target && world.positions[placeName(this.#target)]),
      this.#barcode.length,
      ...Array.from({ length: barcode.length / 2 }, (_, index) => barcode.readUInt16BE(2 * index)),
      world.doorOpen ? 1 : 0,
      world.alarm ? 1 : 0,
      world.lockedOut ? 1 : 0,
    ];
  }

  /** What a fault does to a request on its way here. */
  disturb(functionCode: number, address: number): Disturbance {
    const isTrigger = functionCode === 6 && address === TRIGGER;
    const late = this.faults.strike('late_reply', (fault) => fault.to === 'any' || isTrigger);
    const delay = late && { delayReplyMs: late.ms };
    if (!isTrigger) return { ...delay };
    const cut = this.faults.strike('cut_at_trigger');
    const lateTrigger = this.faults.strike('late_trigger');
    return {
      ...delay,
      ...(cut && { cut: cut.when }),
      ...(lateTrigger && { delayRequestMs: lateTrigger.ms }),
    };
  }

  // ── motion ────────────────────────────────────────────────────────────────────────────────────────────

  #trigger(): void {
    const { world } = this.#file;
    const [high = 0, low = 0, code = 0, cassette = 0, level = 0, slot = 0] = this.#holding;
    const number = high * 0x1_0000 + low;
    const refusal =
      world.mode !== 'auto' || world.doorOpen || world.lockedOut
        ? DEVICE_FAILURE
        : world.motion
          ? DEVICE_BUSY
          : number <= world.latched
            ? ILLEGAL_VALUE
            : null;
    if (refusal !== null) {
      this.triggers.refused += 1;
      throw new Exception(refusal);
    }
    this.triggers.taken += 1;
    const operation = OPERATIONS[code - 1] ?? 'unknown';
    world.latched = number;
    world.motion = {
      number,
      operation,
      cassette,
      level,
      slot,
      startedAt: new Date().toISOString(),
      moved: null,
    };
    this.#done = false;
    this.#error = ERROR.none;
    const motion = world.motion;
    if (operation === 'unknown') {
      this.#end(motion, ERROR.refused);
      return;
    }
    const travelMs = operation === 'scan' ? 0 : travel(world.at, motion);
    const workMs = operation === 'scan' ? SCAN_MS : 2 * GRIP_MS;
    this.#file.save();
    this.#wait(motion, 'before', travelMs + workMs / 2, () => this.#act(motion, workMs / 2));
  }

  /** The middle of a motion: the tube changes its place, or is read. */
  #act(motion: CurrentMotion, restMs: number): void {
    const { world } = this.#file;
    if (motion.operation !== 'scan')
      world.at = { cassette: motion.cassette, level: motion.level, slot: motion.slot };
    const error = motion.operation === 'scan' ? this.#scan() : this.#moveTube(motion);
    this.#file.save();
    if (error !== ERROR.none) {
      this.#end(motion, error);
      return;
    }
    this.#wait(motion, 'after', restMs, () => this.#end(motion, ERROR.none));
  }

  #scan(): number {
    const { carrier } = this.#file.world;
    this.#barcode = '';
    if (!carrier) return ERROR.carrier;
    const other = this.faults.strike('barcode_other');
    if (this.faults.strike('barcode_unreadable') || (!carrier.readable && !other)) return ERROR.unreadable;
    this.#barcode = other?.barcode ?? carrier.barcode;
    return ERROR.none;
  }

  #moveTube(motion: CurrentMotion): number {
    const { world } = this.#file;
    const place = placeName(motion);
    const isPick = motion.operation === 'pick';
    const tube = isPick ? world.positions[place] : world.carrier;
    if (isPick && world.carrier) return ERROR.carrier;
    if (!tube) return isPick ? ERROR.sourceEmpty : ERROR.carrier;
    if (!isPick && world.positions[place]) return ERROR.targetOccupied;

    const fault = this.faults.strike('motion_fault', ({ operation }) => operation === motion.operation);
    const drop = this.faults.strike('drop', ({ operation }) => operation === motion.operation);
    const [from, usual] = isPick ? [place, 'carrier'] : ['carrier', place];
    const stays = fault?.tube === (isPick ? 'source' : 'carrier');
    if (!stays) {
      const to = drop || fault?.tube === 'floor' ? 'floor' : usual;
      if (isPick) delete world.positions[place];
      else world.carrier = null;
      if (to === 'floor') world.floor.push(tube);
      else if (isPick) world.carrier = tube;
      else world.positions[place] = tube;
      motion.moved = { barcode: tube.barcode, from, to };
    }
    return fault ? ERROR.motion : ERROR.none;
  }

  #end(motion: CurrentMotion, errorCode: number, result?: 'interrupted'): void {
    clearTimeout(this.#timer);
    this.#thaw = undefined;
    const ended = result ?? (errorCode === ERROR.none ? 'done' : 'error');
    this.#file.log({ ...motion, endedAt: new Date().toISOString(), result: ended, errorCode });
    this.#file.world.motion = null;
    this.#done = ended === 'done';
    this.#error = errorCode;
    this.#file.save();
  }

  /** Goes on after a time, unless a fault freezes the motion or cuts the power at this point of it. */
  #wait(motion: CurrentMotion, when: 'before' | 'after', ms: number, next: () => void): void {
    const power = this.faults.strike('power_cycle', (fault) => fault.when === when);
    this.#frozen = this.faults.strike('freeze', (fault) => fault.when === when) !== undefined;
    const proceed = () => {
      if (this.#file.world.motion !== motion) return;
      if (power) this.powerCycle(power.offMs);
      else if (this.#frozen) this.#thaw = next;
      else next();
    };
    const scaled = this.#ms(ms);
    if (scaled > 0) this.#timer = setTimeout(proceed, scaled);
    else proceed();
  }

  #ms(ms: number): number {
    return ms * this.#options.speed * (0.9 + 0.2 * this.#random());
  }

  // ── what people do to it ──────────────────────────────────────────────────────────────────────────────

  /** Emergency stop and manual mode end the motion under way with error 5; the tube stays where it is. */
  setMode(mode: (typeof MODES)[number]): void {
    const { world } = this.#file;
    world.mode = mode;
    if (mode !== 'auto' && world.motion) this.#end(world.motion, ERROR.motion);
    this.#file.save();
  }

  /** A door that opens ends the motion under way like the emergency stop; the mode stays. */
  setDoor(open: boolean): void {
    const { world } = this.#file;
    world.doorOpen = open;
    if (open && world.motion) this.#end(world.motion, ERROR.motion);
    this.#file.save();
  }

  /** The store's own judgement of its temperature. */
  setAlarm(on: boolean): void {
    this.#file.world.alarm = on;
    this.#file.save();
  }

  /** A person locks the robot out: it stops, and stays out of automatic mode until somebody resets it. */
  setLockOut(on: boolean): void {
    this.#file.world.lockedOut = on;
    if (on) this.setMode('manual');
    this.#file.save();
  }

  /** Registers are lost, the motion ends where it is, the tube stays where it is; so does the latched number, usually. */
  powerCycle(offMs: number): void {
    const { world } = this.#file;
    if (world.motion) this.#end(world.motion, ERROR.none, 'interrupted');
    if (this.#options.forgetLatched) world.latched = 0;
    this.#holding.fill(0);
    this.#done = false;
    this.#error = ERROR.none;
    this.#barcode = '';
    this.#source = null;
    this.#target = null;
    this.#file.save();
    this.#options.onPowerLost(offMs);
  }

  /** Switches every fault off; a frozen motion goes on. */
  clearFaults(): void {
    this.faults.clear();
    this.#frozen = false;
    const thaw = this.#thaw;
    this.#thaw = undefined;
    thaw?.();
  }
}
