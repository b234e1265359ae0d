import { ForeignOperation, type RobotWire, type WireCommand } from '../../devices/robot-wire.ts';
import type { ControllerView } from '../../domain/controller.ts';

/**
 * A store robot in memory, behind the same interface as the real wire: moves at once unless held.
 * test/activities/gateway-wire-contract.test.ts holds it against the simulator.
 */
export class FakeWire implements RobotWire {
  readonly timeoutMs = 1;
  readonly tubes = new Map<string, string>();
  /** number armed at each trigger that was asked for, taken or not */
  readonly triggers: number[] = [];
  /** every motion, by number */
  readonly log: number[] = [];
  carrier: string | null = null;
  mode: ControllerView['mode'] = 'auto';
  doorOpen = false;
  unitAlarm = false;
  lockedOut = false;
  latched = 0;
  /** while true a motion that starts stays busy */
  held = false;
  /** answers nothing while true */
  isSilent = false;
  /** what happens to the next trigger, instead of being taken and acknowledged */
  nextTrigger: 'lost_before' | 'lost_after' | null = null;
  /** times the connection was ended from this side */
  closed = 0;
  #armed: WireCommand | null = null;
  #moving: WireCommand | null = null;
  #result = { done: false, errorCode: 0, barcode: '' };
  #source: string | null = null;
  #target: string | null = null;

  async arm(command: WireCommand): Promise<void> {
    this.#answer();
    if (command.operation === 'transfer')
      throw new ForeignOperation('transfer', 'it picks, places and scans');
    this.#armed = command;
    this.#point(command);
  }

  async disarm(address: Omit<WireCommand, 'number'>): Promise<void> {
    this.#answer();
    this.#armed = null;
    this.#point(address);
  }

  async observe(): Promise<ControllerView> {
    this.#answer();
    return {
      mode: this.mode,
      latchedNumber: this.latched,
      busy: this.#moving !== null,
      ...this.#result,
      carrier: this.carrier !== null,
      source: this.#source !== null && this.tubes.has(this.#source),
      target: this.#target !== null && this.tubes.has(this.#target),
      doorOpen: this.doorOpen,
      unitAlarm: this.unitAlarm,
      lockedOut: this.lockedOut,
    };
  }

  async trigger(): Promise<'taken' | 'refused' | 'unknown'> {
    this.triggers.push(this.#armed?.number ?? 0);
    const fate = this.nextTrigger;
    this.nextTrigger = null;
    if (fate === 'lost_before') return 'unknown';
    const taken = this.#take();
    if (fate === 'lost_after') return 'unknown';
    return taken ? 'taken' : 'refused';
  }

  close(): void {
    this.closed += 1;
  }

  /** Ends the motion under way. */
  finish(): void {
    if (this.#moving) this.#move(this.#moving);
    this.#moving = null;
  }

  /** The controller loses its power: registers and motion are gone, tubes stay where they are. */
  powerCycle(): void {
    this.#moving = null;
    this.#armed = null;
    this.#result = { done: false, errorCode: 0, barcode: '' };
    this.#source = null;
    this.#target = null;
  }

  #answer(): void {
    if (this.isSilent) throw new Error('the fake robot does not answer');
  }

  #point({ operation, cassette, level, slot }: Omit<WireCommand, 'number'>): void {
    if (operation === 'pick') this.#source = `${cassette}/${level}/${slot}`;
    if (operation === 'place') this.#target = `${cassette}/${level}/${slot}`;
  }

  #take(): boolean {
    const command = this.#armed;
    if (
      !command ||
      this.mode !== 'auto' ||
      this.doorOpen ||
      this.lockedOut ||
      this.#moving ||
      command.number <= this.latched
    )
      return false;
    this.latched = command.number;
    this.log.push(command.number);
    this.#result = { ...this.#result, done: false, errorCode: 0 };
    this.#moving = command;
    if (!this.held) this.finish();
    return true;
  }

  #move(command: WireCommand): void {
    const errorCode = this.#act(command);
    const barcode = command.operation === 'scan' ? (this.carrier ?? '') : this.#result.barcode;
    this.#result = { done: errorCode === 0, errorCode, barcode };
  }

  /** Returns the controller's error code. */
  #act({ operation, cassette, level, slot }: WireCommand): number {
    const place = `${cassette}/${level}/${slot}`;
    const there = this.tubes.get(place);
    switch (operation) {
      case 'scan':
        return this.carrier === null ? 4 : 0;
      case 'pick':
        if (this.carrier !== null) return 4;
        if (there === undefined) return 2;
        this.tubes.delete(place);
        this.carrier = there;
        return 0;
      case 'place':
        if (this.carrier === null) return 4;
        if (there !== undefined) return 3;
        this.tubes.set(place, this.carrier);
        this.carrier = null;
        return 0;
      case 'transfer':
        return 1;
    }
  }
}
