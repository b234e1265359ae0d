import type { Order, StoreMachine } from './store-machine.ts';

const COMMAND_COUNT = 10;
const ECHO = 90;
const STATUS_AT = 200;
const BARCODE_WORDS = 32;
const RELAYS_AT = 1810;
const HOME = 1900;
const RESET = 1814;
const READY = 1915;
const TRIGGERS: ReadonlyMap<number, { readonly operation: Order['operation']; readonly code: number }> =
  new Map([
    [1908, { operation: 'pick', code: 1 }],
    [1909, { operation: 'place', code: 2 }],
    [1910, { operation: 'scan', code: 3 }],
  ]);
/** What the error register shows for each error of the machine. */
const HANDLER_ERROR = {
  none: 0,
  sourceEmpty: 21,
  targetOccupied: 22,
  tubeOnShovel: 15,
  noTubeOnShovel: 16,
  motion: 17,
  unreadable: 31,
} as const;

/** Replies that carry no value: done; no such register or relay; not understood; not now, and nothing was done. */
const [OK, NO_DEVICE, NOT_UNDERSTOOD, NOT_NOW] = ['OK', 'E0', 'E1', 'E4'] as const;

/**
 * A store's controller as registers and relays behind ASCII commands (devices/profiles/ascii-store.yaml): DM registers
 * hold the order and the status, setting a relay triggers.
 */
export class AsciiRegisters {
  readonly #machine: StoreMachine;
  readonly #words = new Map<number, number>();

  constructor(machine: StoreMachine) {
    this.#machine = machine;
  }

  /** The reply to one command. */
  answer(line: string): string {
    if (line === 'CR') return 'CC';
    const [, verb = '', memory = '', number = '', rest = ''] =
      /^(RD|RDS|WR|WRS|ST|RS) (DM)?(\d{1,5})((?: \d{1,5})*)$/.exec(line) ?? [];
    const at = Number(number);
    const values = rest.split(' ').slice(1).map(Number);
    switch (`${verb} ${memory}`) {
      case 'RD DM':
        return values.length === 0 ? this.#read(at, 1, (word) => this.#word(word), 5) : NOT_UNDERSTOOD;
      case 'RDS DM':
        return values.length === 1
          ? this.#read(at, values[0] ?? 0, (word) => this.#word(word), 5)
          : NOT_UNDERSTOOD;
      case 'RD ':
        return values.length === 0 ? this.#read(at, 1, (relay) => this.#relay(relay), 1) : NOT_UNDERSTOOD;
      case 'RDS ':
        return values.length === 1
          ? this.#read(at, values[0] ?? 0, (relay) => this.#relay(relay), 1)
          : NOT_UNDERSTOOD;
      case 'WR DM':
        return values.length === 1 ? this.#write(at, values) : NOT_UNDERSTOOD;
      case 'WRS DM':
        return values.length > 1 && values[0] === values.length - 1
          ? this.#write(at, values.slice(1))
          : NOT_UNDERSTOOD;
      case 'ST ':
        return rest === '' ? this.#set(at) : NOT_UNDERSTOOD;
      case 'RS ':
        return rest === '' ? this.#reset(at) : NOT_UNDERSTOOD;
      default:
        return NOT_UNDERSTOOD;
    }
  }

  isTrigger(line: string): boolean {
    return line.startsWith('ST ') && TRIGGERS.has(Number(line.slice(3)));
  }

  /** What a loss of power leaves of the registers. */
  clear(): void {
    this.#words.clear();
  }

  #read(at: number, count: number, one: (address: number) => number | null, digits: number): string {
    if (count < 1 || count > 100) return NOT_UNDERSTOOD;
    const values = Array.from({ length: count }, (_, index) => one(at + index));
    if (values.includes(null)) return NO_DEVICE;
    return values.map((value) => String(value).padStart(digits, '0')).join(' ');
  }

  #word(address: number): number | null {
    if (address < COMMAND_COUNT || address === ECHO) return this.#words.get(address) ?? 0;
    if (address < STATUS_AT || address >= STATUS_AT + 4 + BARCODE_WORDS) return null;
    const { latched, barcode } = this.#machine.status();
    const text = Buffer.alloc(2 * BARCODE_WORDS);
    text.write(barcode, 'ascii');
    const index = address - STATUS_AT;
    switch (index) {
      case 0:
        return this.#error();
      case 1:
        return latched >>> 16;
      case 2:
        return latched & 0xffff;
      case 3:
        return barcode.length;
      default:
        return text.readUInt16BE(2 * (index - 4));
    }
  }

  #error(): number {
    const { error, carrier } = this.#machine.status();
    return (
      [
        HANDLER_ERROR.none,
        HANDLER_ERROR.motion, // an order without operation, which cannot be triggered here
        HANDLER_ERROR.sourceEmpty,
        HANDLER_ERROR.targetOccupied,
        carrier ? HANDLER_ERROR.tubeOnShovel : HANDLER_ERROR.noTubeOnShovel,
        HANDLER_ERROR.motion,
        HANDLER_ERROR.unreadable,
      ][error] ?? HANDLER_ERROR.motion
    );
  }

  #relay(address: number): number | null {
    const status = this.#machine.status();
    if (address === READY) return Number(!status.busy && status.mode === 'auto' && status.error === 0);
    const relay = [
      status.mode === 'auto',
      status.mode === 'estop',
      status.carrier,
      status.target,
      status.error !== 0,
      status.source,
      status.busy,
      status.done,
      status.door,
      status.alarm,
      status.lockedOut,
    ][address - RELAYS_AT];
    return relay === undefined ? null : Number(relay);
  }

  #write(at: number, values: readonly number[]): string {
    if (values.some((value) => value > 0xffff)) return NOT_UNDERSTOOD;
    if (at !== ECHO && at + values.length > COMMAND_COUNT) return NO_DEVICE;
    if (at === ECHO && values.length > 1) return NO_DEVICE;
    values.forEach((value, index) => {
      this.#words.set(at + index, value);
    });
    if (at !== ECHO) this.#machine.point(this.#order());
    return OK;
  }

  #order(): Order & { readonly code: number } {
    const word = (address: number) => this.#words.get(address) ?? 0;
    const code = word(9);
    const operation = [...TRIGGERS.values()].find((trigger) => trigger.code === code)?.operation ?? 'unknown';
    const number = word(7) * 0x1_0000 + word(8);
    return { number, operation, code, cassette: word(0), level: word(5), slot: word(6) };
  }

  #set(relay: number): string {
    if (relay === HOME) {
      this.#machine.home();
      return OK;
    }
    const trigger = TRIGGERS.get(relay);
    if (!trigger) return NO_DEVICE;
    const { code, ...order } = this.#order();
    if (code !== trigger.code) {
      this.#machine.triggers.refused += 1;
      return NOT_NOW;
    }
    return this.#machine.trigger(order) === null ? OK : NOT_NOW;
  }

  #reset(relay: number): string {
    if (relay !== RESET) return NO_DEVICE;
    if (this.#machine.status().busy) return NOT_NOW;
    this.#machine.resetError();
    return OK;
  }
}
