import { mulberry32, travel } from './motion-time.ts';
import { Faults } from './store-faults.ts';
import { type Address, type CurrentMotion, placeName, type Tube, type WorldFile } from './store-world.ts';

type Mode = 'manual' | 'auto' | 'estop';

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

export interface MachineOptions {
  /** factor on every duration: 1 = realistic, 0 = at once */
  readonly speed: number;
  /** of the jitter of durations */
  readonly seed: number;
  /** the latched number does not survive a loss of power */
  readonly forgetLatched: boolean;
  /** after an error nothing moves until the error register has been reset */
  readonly errorStops: boolean;
  /** what a loss of power does to the registers and to the wire */
  readonly onPowerLost: (offMs: number) => void;
}

export interface Order extends Address {
  readonly number: number;
  readonly operation: 'pick' | 'place' | 'scan' | 'unknown';
}

/** Why a trigger moves nothing: not in automatic mode or held, moving, number not above the last, error not reset. */
export type Refusal = 'mode' | 'busy' | 'number' | 'error';

/** What the machine shows on its registers. */
export interface MachineStatus {
  readonly mode: Mode;
  readonly latched: number;
  readonly busy: boolean;
  readonly done: boolean;
  readonly error: number;
  readonly carrier: boolean;
  readonly source: boolean;
  readonly target: boolean;
  readonly barcode: string;
  readonly door: boolean;
  readonly alarm: boolean;
  readonly lockedOut: boolean;
}

/**
 * The machine of a store robot, behind whatever protocol its controller speaks: a carrier, tubes, sensors, and the
 * number of the last order it took, which it keeps without power. It takes an order when it is triggered in mode auto,
 * with door and lock-out clear, not busy, under a number above the last one; otherwise nothing moves.
 */
export class StoreMachine {
  readonly faults = new Faults();
  /** triggers since the program's start */
  readonly triggers = { taken: 0, refused: 0 };
  readonly #file: WorldFile;
  readonly #options: MachineOptions;
  readonly #random: () => number;
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

  constructor(file: WorldFile, options: MachineOptions) {
    this.#file = file;
    this.#options = options;
    this.#random = mulberry32(options.seed);
    if (options.forgetLatched) file.world.latched = 0;
  }

  status(): MachineStatus {
    const { world } = this.#file;
    const sensor = (name: 'carrier' | 'source' | 'target', tube: Tube | null | undefined) =>
      this.faults.stuckAt(name) ?? Boolean(tube);
    return {
      mode: world.mode,
      latched: world.latched,
      busy: world.motion !== null,
      done: this.#done,
      error: this.#error,
      carrier: sensor('carrier', world.carrier),
      source: sensor('source', this.#source && world.positions[placeName(this.#source)]),
      target: sensor('target', this.#target && world.positions[placeName(this.#target)]),
      barcode: this.#barcode,
      door: world.doorOpen,
      alarm: world.alarm,
      lockedOut: world.lockedOut,
    };
  }

  /** Lets the sensor of an operation look at an address. */
  point({ operation, cassette, level, slot }: Omit<Order, 'number'>): void {
    if (operation === 'pick') this.#source = { cassette, level, slot };
    if (operation === 'place') this.#target = { cassette, level, slot };
  }

  // ── motion ────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes an order and starts to move; or says why not. */
  trigger(order: Order): Refusal | null {
    const { world } = this.#file;
    const refusal = this.#refusal(order.number);
    if (refusal !== null) {
      this.triggers.refused += 1;
      return refusal;
    }
    this.triggers.taken += 1;
    world.latched = order.number;
    world.motion = { ...order, startedAt: new Date().toISOString(), moved: null };
    this.#done = false;
    this.#error = ERROR.none;
    const motion = world.motion;
    if (motion.operation === 'unknown') {
      this.#end(motion, ERROR.refused);
      return null;
    }
    const travelMs = motion.operation === 'scan' ? 0 : travel(world.at, motion);
    const workMs = motion.operation === 'scan' ? SCAN_MS : 2 * GRIP_MS;
    this.#file.save();
    this.#wait(motion, 'before', travelMs + workMs / 2, () => this.#act(motion, workMs / 2));
    return null;
  }

  #refusal(number: number): Refusal | null {
    const { world } = this.#file;
    if (world.mode !== 'auto' || world.doorOpen || world.lockedOut) return 'mode';
    if (world.motion) return 'busy';
    if (number <= world.latched) return 'number';
    return this.#options.errorStops && this.#error !== ERROR.none ? 'error' : null;
  }

  /** What the error register held is gone from then on. */
  resetError(): void {
    this.#error = ERROR.none;
  }

  /** Drives home with an open gripper, as such machines do: what is in the carrier falls. A line of the log tells it. */
  home(): void {
    const { world } = this.#file;
    const tube = world.carrier;
    const now = new Date().toISOString();
    world.carrier = null;
    world.at = { cassette: 0, level: 0, slot: 0 };
    if (tube) world.floor.push(tube);
    this.#file.log({
      ...world.at,
      number: 0,
      operation: 'home',
      startedAt: now,
      moved: tube && { barcode: tube.barcode, from: 'carrier', to: 'floor' },
      endedAt: now,
      result: 'done',
      errorCode: ERROR.none,
    });
    this.#file.save();
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
  setMode(mode: Mode): void {
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
