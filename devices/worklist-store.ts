import type { ControllerView } from '../domain/controller.ts';
import type { InventoryEntry } from '../domain/inventory.ts';
import { ForeignOperation, type RobotWire, type WireAddress, type WireCommand } from './robot-wire.ts';
import type { InventoryPage, StoreInventory } from './store-inventory.ts';
import { WorklistError, WorklistLine } from './worklist-line.ts';

/** Protocol: devices/profiles/worklist-store.yaml. */
const MODES = { AUTO: 'auto', MANUAL: 'manual', ESTOP: 'estop' } as const;
const STATES = ['NONE', 'RUNNING', 'DONE', 'FAILED', 'INTERRUPTED'];
/** What became of a tube that did not arrive, in the numbers of ControllerView. */
const ERROR_CODES = new Map([
  ['REFUSED', 1],
  ['NOT_FOUND', 2],
  ['TARGET_OCCUPIED', 3],
  ['CARRIER_OCCUPIED', 4],
  ['MOTION', 5],
]);
/** Answers to RELEASE that say that nothing was started. */
const REFUSALS: ReadonlySet<string> = new Set(['NO_DRAFT', 'LOW_NUMBER', 'BUSY', 'NOT_READY']);

export interface WorklistStoreAddress {
  readonly host: string;
  readonly port: number;
  /** default 1000 ms */
  readonly timeoutMs?: number;
  /** cassette and level of the hand-off: what goes there is picked, what comes from there is put */
  readonly handoff: Pick<WireAddress, 'cassette' | 'level'>;
}

/**
 * The wire to a vendor's store that takes worklists: it is told which tube shall go where, does the moves itself, and
 * reports the tube. A worklist of one line is drafted under our command number; its release is the only request that moves
 * anything, goes out at most once, and only on the connection on which the list was drafted.
 */
export function openWorklistStore(address: WorklistStoreAddress): RobotWire & StoreInventory {
  const { host, port, timeoutMs = 1000 } = address;
  const line = new WorklistLine({ host, port, timeoutMs });
  let armed: { readonly number: number; readonly session: number } | null = null;
  /** what the sensors are asked for; null: whatever the store's last list was about */
  let ways: string | null = null;

  /** A line of a worklist. @throws ForeignOperation */
  function listLine({ operation, to, ...from }: Omit<WireCommand, 'number'>): string {
    const isAtHandoff = ({ cassette, level }: WireAddress) =>
      cassette === address.handoff.cassette && level === address.handoff.level;
    if (operation !== 'transfer' || !to) {
      throw new ForeignOperation(operation, 'it is told to transfer a tube from place to place');
    }
    if (isAtHandoff(from) && isAtHandoff(to)) {
      throw new ForeignOperation(operation, 'both places are in its hand-off, where a person moves tubes');
    }
    const verb = isAtHandoff(from) ? 'PUT' : isAtHandoff(to) ? 'PICK' : 'MOVE';
    ways = `${nameOf(from)} ${nameOf(to)}`;
    return `${verb} ${ways}`;
  }

  return {
    timeoutMs,
    async arm(command) {
      await line.ask(`DRAFT ${command.number} ${listLine(command)}`);
      armed = { number: command.number, session: line.session };
    },
    async disarm(command) {
      listLine(command);
      await line.ask('DISCARD');
    },
    async observe() {
      return parseStatus(await line.ask(ways === null ? 'STATUS' : `STATUS ${ways}`));
    },
    async trigger() {
      const list = armed;
      armed = null;
      if (list === null) return 'refused';
      try {
        await line.askOn(list.session, `RELEASE ${list.number}`);
        return 'taken';
      } catch (error) {
        if (!(error instanceof WorklistError)) throw error;
        const didNothing = error.kind === 'unreachable' || REFUSALS.has(error.code ?? '');
        return didNothing ? 'refused' : 'unknown';
      }
    },
    close() {
      armed = null;
      line.close();
    },
    async inventory(after, limit) {
      return parseInventory(await line.ask(`INVENTORY ${after ? nameOf(after) : '-'} ${limit}`));
    },
  };
}

const nameOf = ({ cassette, level, slot }: WireAddress) => `${cassette}/${level}/${slot}`;

/**
 * Reads the reply to STATUS.
 * @throws WorklistError `garbled` naming the field that holds what it cannot hold
 */
export function parseStatus(reply: string): ControllerView {
  const fields = fieldsOf(reply.split(' '));
  const flag = (name: string): boolean => fields.oneOf(name, ['0', '1']) === '1';
  const state = fields.oneOf('STATE', STATES);
  const reason = fields.oneOf('REASON', ['NONE', ...ERROR_CODES.keys()]);
  if ((state === 'FAILED') !== (reason !== 'NONE')) throw garbled(`STATE=${state} with REASON=${reason}`);
  return {
    mode: MODES[fields.oneOf('MODE', ['AUTO', 'MANUAL', 'ESTOP'])],
    latchedNumber: fields.number('LIST', 4_294_967_295),
    busy: state === 'RUNNING',
    done: state === 'DONE',
    errorCode: ERROR_CODES.get(reason) ?? 0,
    carrier: flag('CARRIER'),
    source: flag('SOURCE'),
    target: flag('TARGET'),
    barcode: barcodeIn(fields.text('BARCODE')) ?? '',
    doorOpen: flag('DOOR'),
    unitAlarm: flag('ALARM'),
    lockedOut: flag('LOCK'),
  };
}

/**
 * Reads a page of inventory.
 * @throws WorklistError `garbled` naming what is wrong
 */
export function parseInventory(reply: string): InventoryPage {
  const [revision = '', total = '', more = '', ...tubes] = reply.split(' ').filter((part) => part !== '');
  const head = fieldsOf([revision, total, more]);
  return {
    revision: head.number('REV', Number.MAX_SAFE_INTEGER),
    total: head.number('TOTAL', 10_000_000),
    hasMore: head.oneOf('MORE', ['0', '1']) === '1',
    entries: tubes.map((tube): InventoryEntry => {
      const [, cassette, level, slot, barcode] = /^(\d{1,5})\/(\d{1,5})\/(\d{1,5})=(\S+)$/.exec(tube) ?? [];
      if (barcode === undefined) throw garbled(`${JSON.stringify(tube)}, which is no tube at an address`);
      return {
        cassette: Number(cassette),
        level: Number(level),
        slot: Number(slot),
        barcode: barcodeIn(barcode),
      };
    }),
  };
}

const garbled = (what: string) => new WorklistError('garbled', `the store says ${what}`);

/** Fields of the form NAME=VALUE. */
function fieldsOf(parts: readonly string[]) {
  const values = new Map(
    parts.map((part) => {
      const at = part.indexOf('=');
      return [part.slice(0, at), part.slice(at + 1)] as const;
    }),
  );
  const text = (name: string): string => {
    const value = values.get(name);
    if (value === undefined) throw garbled(`nothing of ${name}`);
    return value;
  };
  return {
    text,
    oneOf<const T extends string>(name: string, choices: readonly T[]): T {
      const value = text(name);
      const found = choices.find((choice) => choice === value);
      if (found === undefined) throw garbled(`${name}=${value}, which is none of ${choices.join(', ')}`);
      return found;
    },
    number(name: string, max: number): number {
      const value = Number(text(name));
      if (!/^\d+$/.test(text(name)) || value > max)
        throw garbled(`${name}=${text(name)}, which is no number up to ${max}`);
      return value;
    },
  };
}

/** A barcode as the store writes it: `-` for none, everything but letters, digits, `.` and `_` as %XX. */
function barcodeIn(text: string): string | null {
  if (text === '-') return null;
  const barcode = text.replaceAll(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  if (!/^[\w.%]+$/.test(text) || !/^[\x20-\x7e]{1,64}$/.test(barcode)) {
    throw garbled(`the barcode ${JSON.stringify(text)}, which is not 1 to 64 printable characters`);
  }
  return barcode;
}
