import { mulberry32, travel } from './motion-time.ts';
import { Faults } from './store-faults.ts';
import {
  type Address,
  type CurrentMotion,
  placeName,
  type Tube,
  type World,
  type WorldFile,
} from './store-world.ts';
import type { BooksFile, Report } from './worklist-books.ts';

/** Durations in ms at speed 1, of a mid-sized automated store. */
const GRIP_MS = 6000;
const SCAN_MS = 1000;

export interface MachineOptions {
  /** factor on every duration: 1 = realistic, 0 = at once */
  readonly speed: number;
  /** of the jitter of durations */
  readonly seed: number;
  /** the number of its last list does not survive a loss of power */
  readonly forgetLatched: boolean;
  /** cassette of the hand-off, whose places have sensors; of the others the store knows what its books say */
  readonly handoffCassette: number;
  /** what a loss of power does to the wire */
  readonly onPowerLost: (offMs: number) => void;
}

export type Refusal = 'NO_DRAFT' | 'LOW_NUMBER' | 'BUSY' | 'NOT_READY';

interface Draft {
  readonly number: number;
  readonly verb: string;
  readonly from: Address;
  readonly to: Address;
}

/**
 * A vendor's store: it is handed a list of one tube, moves the tube with its own shuttle, reads its label on the way,
 * keeps books of what it holds, and lets people at its own screen do the same.
 */
export class WorklistMachine {
  readonly faults = new Faults();
  readonly triggers = { taken: 0, refused: 0 };
  readonly #file: WorldFile;
  readonly #books: BooksFile;
  readonly #options: MachineOptions;
  readonly #random: () => number;
  #draft: Draft | null = null;
  #timer: NodeJS.Timeout | undefined;
  #frozen = false;
  /** set while a motion is frozen: goes on with it */
  #thaw: (() => void) | undefined;

  constructor(file: WorldFile, books: BooksFile, options: MachineOptions) {
    this.#file = file;
    this.#books = books;
    this.#options = options;
    this.#random = mulberry32(options.seed);
    if (options.forgetLatched) this.#forget();
  }

  // ── what it is asked over the wire ────────────────────────────────────────────────────────────────────

  draft(draft: Draft): void {
    this.#draft = draft;
  }

  discard(): void {
    this.#draft = null;
  }

  /** Starts the list that was drafted under this number. @returns why it does not; null when it does */
  release(number: number): Refusal | null {
    const refusal = this.#refusalOf(number);
    if (refusal !== null) {
      this.triggers.refused += 1;
      return refusal;
    }
    this.triggers.taken += 1;
    const draft = this.#draft;
    this.#draft = null;
    if (draft) this.#start(draft);
    return null;
  }

  #refusalOf(number: number): Refusal | null {
    const { world } = this.#file;
    if (world.motion) return 'BUSY';
    if (this.#draft?.number !== number) return 'NO_DRAFT';
    if (number <= world.latched) return 'LOW_NUMBER';
    return world.mode !== 'auto' || world.doorOpen || world.lockedOut ? 'NOT_READY' : null;
  }

  /** What it says of itself and of two places; without places, of those of its last list. */
  status(asked: { readonly from: Address; readonly to: Address } | null) {
    const { world } = this.#file;
    const { report } = this.#books.books;
    const { from, to } = asked ?? report ?? {};
    const sensor = (name: 'carrier' | 'source' | 'target', isFull: boolean) =>
      this.faults.stuckAt(name) ?? isFull;
    return {
      world,
      report: report?.number === world.latched ? report : null,
      carrier: sensor('carrier', world.carrier !== null),
      source: sensor('source', from !== undefined && this.#isFull(from)),
      target: sensor('target', to !== undefined && this.#isFull(to)),
    };
  }

  #isFull(place: Address): boolean {
    const name = placeName(place);
    return this.#isHandoff(place)
      ? this.#file.world.positions[name] !== undefined
      : this.#books.books.inventory[name] !== undefined;
  }

  #isHandoff({ cassette }: Address): boolean {
    return cassette === this.#options.handoffCassette;
  }

  // ── a tube's way ──────────────────────────────────────────────────────────────────────────────────────

  #start({ number, verb, from, to }: Draft): void {
    const { world } = this.#file;
    const report: Report = { number, from, to, state: 'RUNNING', reason: 'NONE', barcode: '' };
    this.#books.books.report = report;
    this.#books.save();
    world.latched = number;
    world.motion = {
      ...from,
      number,
      operation: 'transfer',
      startedAt: new Date().toISOString(),
      moved: null,
    };
    this.#file.save();
    const { motion } = world;
    const refusal = this.#refusalOfLine(verb, from, to);
    if (refusal !== 'NONE') this.#end(motion, refusal);
    else this.#wait(motion, 'before', travel(world.at, from) + GRIP_MS / 2, () => this.#take(motion, report));
  }

  #refusalOfLine(verb: string, from: Address, to: Address): Report['reason'] {
    const fits: Readonly<Record<string, boolean>> = {
      PICK: !this.#isHandoff(from) && this.#isHandoff(to),
      PUT: this.#isHandoff(from) && !this.#isHandoff(to),
      MOVE: !this.#isHandoff(from) && !this.#isHandoff(to),
    };
    if (!fits[verb]) return 'REFUSED';
    if (this.#file.world.carrier) return 'CARRIER_OCCUPIED';
    if (this.#isFull(to)) return 'TARGET_OCCUPIED';
    return this.#isFull(from) ? 'NONE' : 'NOT_FOUND';
  }

  /** The middle of a way's first half: the tube leaves its place, and its label is read. */
  #take(motion: CurrentMotion, report: Report): void {
    const tube = this.#takeUp(motion, report);
    this.#file.save();
    if (typeof tube === 'string') {
      this.#end(motion, tube);
      return;
    }
    report.barcode = this.#readLabel(tube);
    this.#books.save();
    const ms = SCAN_MS + travel(report.from, report.to) + GRIP_MS;
    this.#wait(motion, 'during', ms, () => {
      const reason = this.#setDown(motion, report, tube);
      this.#file.save();
      if (reason === null) this.#wait(motion, 'after', GRIP_MS / 2, () => this.#end(motion, 'NONE'));
      else this.#end(motion, reason);
    });
  }

  /** @returns the tube in the shuttle, or how the list ends without one */
  #takeUp(motion: CurrentMotion, report: Report): Tube | Report['reason'] {
    const { world } = this.#file;
    const place = placeName(report.from);
    world.at = report.from;
    if (this.faults.strike('false_done')) {
      report.barcode = this.#books.books.inventory[place] ?? '';
      this.#book(report.from, null);
      this.#book(report.to, report.barcode);
      return 'NONE';
    }
    const tube = world.positions[place];
    if (!tube) {
      this.#book(report.from, null);
      return 'NOT_FOUND';
    }
    const fault = this.faults.strike('motion_fault', ({ operation }) => operation === 'pick');
    const isDropped = this.faults.strike('drop', ({ operation }) => operation === 'pick') !== undefined;
    if (fault?.tube === 'source') return 'MOTION';
    delete world.positions[place];
    this.#book(report.from, null);
    this.#bring(motion, tube, place, isDropped || fault?.tube === 'floor' ? 'floor' : 'carrier');
    return fault || isDropped ? 'MOTION' : tube;
  }

  /** @returns why it did not arrive, or null */
  #setDown(motion: CurrentMotion, report: Report, tube: Tube): Report['reason'] | null {
    const { world } = this.#file;
    const [from, to] = [placeName(report.from), placeName(report.to)];
    world.at = report.to;
    const fault = this.faults.strike('motion_fault', ({ operation }) => operation === 'place');
    const isDropped = this.faults.strike('drop', ({ operation }) => operation === 'place') !== undefined;
    if (fault?.tube === 'carrier') return 'MOTION';
    world.carrier = null;
    if (isDropped || fault?.tube === 'floor') {
      this.#bring(motion, tube, from, 'floor');
      return 'MOTION';
    }
    if (world.positions[to]) {
      // A tube its books do not know stands there: back to where this one came from.
      world.positions[from] = tube;
      motion.moved = null;
      this.#book(report.from, report.barcode);
      return 'TARGET_OCCUPIED';
    }
    world.positions[to] = tube;
    motion.moved = { barcode: tube.barcode, from, to };
    this.#book(report.to, report.barcode);
    return fault ? 'MOTION' : null;
  }

  #bring(motion: CurrentMotion, tube: Tube, from: string, to: 'carrier' | 'floor'): void {
    if (to === 'floor') this.#file.world.floor.push(tube);
    else this.#file.world.carrier = tube;
    motion.moved = { barcode: tube.barcode, from, to };
  }

  #readLabel(tube: Tube): string {
    const other = this.faults.strike('barcode_other');
    if (this.faults.strike('barcode_unreadable') || (!tube.readable && !other)) return '';
    return other?.barcode ?? tube.barcode;
  }

  /** The books are of what is inside. */
  #book(place: Address, barcode: string | null): void {
    if (!this.#isHandoff(place)) this.#books.note(place, barcode);
  }

  #end(motion: CurrentMotion, reason: Report['reason'], interrupted = false): void {
    clearTimeout(this.#timer);
    this.#thaw = undefined;
    const { report } = this.#books.books;
    const state = interrupted ? 'INTERRUPTED' : reason === 'NONE' ? 'DONE' : 'FAILED';
    this.#file.log({
      ...motion,
      endedAt: new Date().toISOString(),
      result: interrupted ? 'interrupted' : reason === 'NONE' ? 'done' : 'error',
      errorCode: reason === 'NONE' ? 0 : 5,
    });
    this.#file.world.motion = null;
    this.#file.save();
    if (report?.number === motion.number) Object.assign(report, { state, reason });
    this.#books.save();
  }

  /** Goes on after a time, unless a fault freezes the motion or cuts the power at this point of it. */
  #wait(motion: CurrentMotion, when: 'before' | 'during' | 'after', ms: number, next: () => void): void {
    const power = this.faults.strike('power_cycle', (fault) => fault.when === when);
    this.#frozen = this.faults.strike('freeze', (fault) => fault.when === when) !== undefined;
    const proceed = () => {
      if (this.#file.world.motion !== motion) return;
      if (power) this.powerCycle(power.offMs);
      else if (this.#frozen) this.#thaw = next;
      else next();
    };
    const scaled = ms * this.#options.speed * (0.9 + 0.2 * this.#random());
    if (scaled > 0) this.#timer = setTimeout(proceed, scaled);
    else proceed();
  }

  // ── what people do at its own screen ──────────────────────────────────────────────────────────────────

  /** Puts a tube into the store. @returns why not; null when it is done */
  screenAdd(place: Address, tube: Tube): string | null {
    const name = placeName(place);
    if (this.#file.world.positions[name]) return `a tube stands at ${name} already`;
    this.#file.world.positions[name] = tube;
    this.#file.save();
    this.#book(place, tube.readable ? tube.barcode : '');
    return null;
  }

  /** Takes a tube out. @returns the tube; null when none stands there */
  screenRemove(place: Address): Tube | null {
    const name = placeName(place);
    const tube = this.#file.world.positions[name] ?? null;
    delete this.#file.world.positions[name];
    this.#file.save();
    this.#book(place, null);
    return tube;
  }

  // ── what people and accidents do to it ────────────────────────────────────────────────────────────────

  /** Emergency stop and manual mode end the motion under way; the tube stays where it is. */
  setMode(mode: World['mode']): void {
    const { world } = this.#file;
    world.mode = mode;
    if (mode !== 'auto' && world.motion) this.#end(world.motion, 'MOTION');
    this.#file.save();
  }

  setDoor(open: boolean): void {
    const { world } = this.#file;
    world.doorOpen = open;
    if (open && world.motion) this.#end(world.motion, 'MOTION');
    this.#file.save();
  }

  setAlarm(on: boolean): void {
    this.#file.world.alarm = on;
    this.#file.save();
  }

  setLockOut(on: boolean): void {
    this.#file.world.lockedOut = on;
    if (on) this.setMode('manual');
    this.#file.save();
  }

  /** The draft is lost, the motion ends where it is, the tube stays where it is; books and, usually, number survive. */
  powerCycle(offMs: number): void {
    const { world } = this.#file;
    if (world.motion) this.#end(world.motion, 'NONE', true);
    this.#draft = null;
    if (this.#options.forgetLatched) this.#forget();
    this.#file.save();
    this.#options.onPowerLost(offMs);
  }

  #forget(): void {
    this.#file.world.latched = 0;
    this.#books.books.report = null;
    this.#books.save();
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
