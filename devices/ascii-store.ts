import type { ControllerView, MotionOperation, RobotOperation } from '../domain/controller.ts';
import { AsciiError, AsciiLine } from './ascii-line.ts';
import type { TcpAddress } from './dialer.ts';
import type { GatewayLog } from './robot-gateway.ts';
import { ForeignOperation, type RobotWire, type WireCommand } from './robot-wire.ts';

/** Command set: devices/profiles/ascii-store.yaml. */
const ORDER = 'DM0 10';
const STATUS = 'RDS DM200 4';
const STATUS_COUNT = 4;
const RELAYS = 'RDS 1810 11';
const RELAY_COUNT = 11;
const BARCODE = 'RDS DM204 32';
const BARCODE_COUNT = 32;
const ERROR_REGISTER = 'RD DM200';
const RESET_ERROR = 'RS 1814';
const OPERATION_CODE: Record<MotionOperation, number> = { pick: 1, place: 2, scan: 3 };
const TRIGGER: Record<MotionOperation, string> = { pick: 'ST 1908', place: 'ST 1909', scan: 'ST 1910' };
/** No such relay, not understood, not now: replies that say nothing was done. Any other than OK does not say so. */
const REFUSALS: ReadonlySet<string> = new Set(['E0', 'E1', 'E4']);
/** The controller's error for each code of the handler; one that is not here is a motion fault. */
const ERROR_CODE: ReadonlyMap<number, number> = new Map([
  [0, 0],
  [21, 2],
  [22, 3],
  [15, 4],
  [16, 4],
  [17, 5],
  [31, 6],
]);
const MOTION_FAULT = 5;
/** How often what the controller shows is read while it changes between two readings. */
const READINGS = 5;

/** @throws ForeignOperation */
function known(operation: RobotOperation): MotionOperation {
  if (operation === 'transfer') throw new ForeignOperation(operation, 'it is told to pick, place and scan');
  return operation;
}

export interface AsciiStoreOptions extends Omit<TcpAddress, 'timeoutMs'> {
  /** default 1000 ms */
  readonly timeoutMs?: number;
  readonly log: Pick<GatewayLog, 'warn'>;
}

/**
 * The wire to a store whose controller takes ASCII commands, as devices/profiles/ascii-store.yaml has them.
 *
 * Connecting moves nothing, homes nothing, opens no gripper and resets no error. The order, number included, is written
 * and read back; the trigger goes out at most once, alone, and only on the connection on which the order was written. An
 * error of the motion before stands in the error register until then: it is read and logged before it is reset.
 */
export function openAsciiStore({ host, port, timeoutMs = 1000, log }: AsciiStoreOptions): RobotWire {
  const line = new AsciiLine({ host, port, timeoutMs });
  let armed: {
    readonly operation: MotionOperation;
    readonly session: number;
    readonly hasError: boolean;
  } | null = null;

  /** Returns what the error register holds. */
  const write = async (number: number, command: Omit<WireCommand, 'number'>) => {
    const { cassette, level, slot } = command;
    const operation = known(command.operation);
    const words = [cassette, 0, 0, 0, 0, level, slot, number >>> 16, number & 0xffff];
    const order = [...words, OPERATION_CODE[operation]].map(word).join(' ');
    const [written, back, handlerError] = await line.exchange([
      `WRS ${ORDER} ${order}`,
      `RDS ${ORDER}`,
      ERROR_REGISTER,
    ]);
    if (written !== 'OK') throw new AsciiError('garbled', `the order was answered with ${written}`);
    if (back !== order) throw new AsciiError('garbled', `the order reads back as ${back}, not as ${order}`);
    return handlerError;
  };

  /** Nothing is triggered while the error register holds an error. */
  const resetError = async (session: number) => {
    const [handlerError] = await line.exchangeOn(session, [ERROR_REGISTER]);
    log.warn({ handlerError }, 'the error register is reset');
    const [reply] = await line.exchangeOn(session, [RESET_ERROR]);
    if (reply !== 'OK') throw new AsciiError('garbled', `resetting the error was answered with ${reply}`);
  };

  return {
    timeoutMs,
    async arm(command) {
      armed = null;
      const operation = known(command.operation);
      const hasError = (await write(command.number, command)) !== word(0);
      armed = { operation, session: line.session, hasError };
    },
    async disarm(address) {
      // Number 0 is never above the last one taken, so no trigger can start this; the sensors look at the address.
      await write(0, address);
    },
    async observe() {
      // Relays and registers come in several replies: they belong together when the status around them stood still.
      for (let reading = 0; reading < READINGS; reading++) {
        const [status = '', relays = '', barcode = '', ...again] = await line.exchange([
          STATUS,
          RELAYS,
          BARCODE,
          STATUS,
          RELAYS,
        ]);
        if (status !== again[0] || relays !== again[1]) continue;
        return parseStatus(status, relays, barcode);
      }
      throw new AsciiError('garbled', `the controller showed something else in each of ${READINGS} readings`);
    },
    async trigger() {
      const order = armed;
      armed = null;
      if (!order) return 'refused';
      try {
        if (order.hasError) await resetError(order.session);
      } catch (error) {
        if (!(error instanceof AsciiError)) throw error;
        log.warn({ err: error }, 'the error register could not be reset, so nothing was triggered');
        return 'refused';
      }
      try {
        const [reply = ''] = await line.exchangeOn(order.session, [TRIGGER[order.operation]]);
        if (reply === 'OK') return 'taken';
        return REFUSALS.has(reply) ? 'refused' : 'unknown';
      } catch (error) {
        if (!(error instanceof AsciiError)) throw error;
        return error.kind === 'unreachable' ? 'refused' : 'unknown';
      }
    },
    close() {
      armed = null;
      line.close();
    },
  };
}

const word = (value: number) => String(value).padStart(5, '0');

/**
 * Reads the controller's registers and relays.
 * @throws AsciiError `garbled` naming what it cannot mean
 */
export function parseStatus(statusLine: string, relayLine: string, barcodeLine: string): ControllerView {
  const registers = numbers(statusLine, STATUS_COUNT, /^\d{5}$/, 'status registers');
  const relays = numbers(relayLine, RELAY_COUNT, /^[01]$/, 'relays').map((value) => value === 1);
  const [handlerError = 0, high = 0, low = 0, length = 0] = registers;
  const [auto, estop, carrier, target, error, source, busy, done, doorOpen, unitAlarm, lockedOut] = relays;
  if (auto && estop) throw new AsciiError('garbled', 'relays 1810 and 1811 are on, which no mode is');
  if (error !== (handlerError !== 0)) {
    throw new AsciiError('garbled', `DM200 holds ${handlerError}, and relay 1814 says otherwise`);
  }
  const bytes = Buffer.alloc(2 * BARCODE_COUNT);
  numbers(barcodeLine, BARCODE_COUNT, /^\d{5}$/, 'barcode registers').forEach((value, index) => {
    bytes.writeUInt16BE(value, 2 * index);
  });
  if (length > bytes.length) {
    throw new AsciiError(
      'garbled',
      `DM203 says ${length} bytes of barcode; there is room for ${bytes.length}`,
    );
  }
  const barcode = bytes.toString('latin1', 0, length);
  if (!/^[\x20-\x7e]*$/.test(barcode)) {
    throw new AsciiError('garbled', 'the barcode registers hold something that is not printable ASCII');
  }
  return {
    mode: estop ? 'estop' : auto ? 'auto' : 'manual',
    latchedNumber: high * 0x1_0000 + low,
    busy: busy === true,
    done: done === true,
    errorCode: ERROR_CODE.get(handlerError) ?? MOTION_FAULT,
    carrier: carrier === true,
    source: source === true,
    target: target === true,
    barcode,
    doorOpen: doorOpen === true,
    unitAlarm: unitAlarm === true,
    lockedOut: lockedOut === true,
  };
}

function numbers(line: string, count: number, one: RegExp, what: string): number[] {
  const words = line.split(' ');
  if (words.length !== count || !words.every((text) => one.test(text) && Number(text) <= 0xffff)) {
    throw new AsciiError('garbled', `the ${what} read ${JSON.stringify(line.slice(0, 100))}`);
  }
  return words.map(Number);
}
