import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError } from '../domain/errors.ts';
import type { RackSize } from '../domain/rack-scan.ts';
import type { TcpAddress } from './dialer.ts';

/** Ends every reply; what the scanner’s own settings call `[3]`. */
const END_OF_TEXT = '\u0003';
/** Longer than any reply: 1536 barcodes of 64 characters. */
const LONGEST_REPLY = 110_000;
/** Between two looks at whether a rack was scanned, in ms. */
const LOOK_EVERY_MS = 200;

/** Bits of the scanner’s status. */
const DATA_READY = 8;
const ERROR = 128;

/** How a rack is read. */
export interface RackReading {
  /** the scanner cannot sense it, so it is told */
  readonly size: RackSize;
  /** how long a person may take to put the rack on the scanner, in ms */
  readonly waitMs: number;
  /** after every look at the scanner; what it throws ends the reading */
  readonly onLook: () => void;
}

/**
 * Reads one rack with a Thermo VisionMate over its TCP server: sets the size of the rack, forgets the scan before, waits
 * until one was made, and fetches it. Commands end with CR LF, replies begin with `OK` and the command and end with
 * {@link END_OF_TEXT}. The scanner has one connection at a time; a new one ends the other. Protocol as in
 * github.com/miso-lims/visionmate-client.
 * @returns the line of barcodes, with its trailing delimiter
 * @throws DomainError SCANNER_UNAVAILABLE when it does not answer, refuses the size, reports an error, or nobody scans in
 *   time
 */
export async function readVisionMate(address: TcpAddress, reading: RackReading): Promise<string> {
  const scanner = await Scanner.open(address);
  try {
    const product = productOf(reading.size);
    await scanner.ask(`P${product}`, 'P');
    const set = await scanner.ask('C');
    if (set !== product) {
      throw unavailable(`it does not read racks of ${product}: it stays set to ${set.slice(0, 20)}`);
    }
    await scanner.ask('Q');
    const until = performance.now() + reading.waitMs;
    for (;;) {
      const answer = await scanner.ask('L');
      const status = /^\d{1,3}$/.test(answer) ? Number(answer) : Number.NaN;
      if (Number.isNaN(status)) throw unavailable(`its status makes no sense: ${answer.slice(0, 20)}`);
      if (status & ERROR) throw unavailable(`it reports an error: ${(await scanner.ask('E')).slice(0, 100)}`);
      if (status & DATA_READY) return await scanner.ask('D');
      reading.onLook();
      if (performance.now() > until) {
        throw unavailable(`nobody scanned a rack within ${Math.round(reading.waitMs / 1000)} s`);
      }
      await sleep(LOOK_EVERY_MS);
    }
  } finally {
    scanner.close();
  }
}

/** How the scanner calls a size: M0812 has 8 rows and 12 columns. */
function productOf({ rows, columns }: RackSize): string {
  const two = (count: number) => String(count).padStart(2, '0');
  return `M${two(rows)}${two(columns)}`;
}

function unavailable(why: string, cause?: unknown): DomainError {
  return new DomainError('SCANNER_UNAVAILABLE', `The scanner gave no scan: ${why}.`, { cause });
}

/** The one connection to a scanner; one request at a time. */
class Scanner {
  readonly #socket: Socket;
  readonly #address: TcpAddress;
  #received = '';
  #ended: DomainError | null = null;
  #wake: () => void = () => {};

  private constructor(socket: Socket, address: TcpAddress) {
    this.#socket = socket;
    this.#address = address;
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      this.#received += chunk;
      if (this.#received.length > LONGEST_REPLY) this.#end('it sends without end');
      this.#wake();
    });
    socket.on('error', (error) => this.#end(`the connection broke (${error.message})`));
    socket.on('close', () => this.#end('it ended the connection; somebody else may have connected'));
  }

  static async open(address: TcpAddress): Promise<Scanner> {
    const { host, port, timeoutMs } = address;
    const socket = connect({ host, port, noDelay: true });
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(timeoutMs) });
    } catch (error) {
      socket.destroy();
      throw unavailable(`${host}:${port} does not answer`, error);
    }
    return new Scanner(socket, address);
  }

  /** @param echo the part of the command that comes back in the reply */
  async ask(command: string, echo = command): Promise<string> {
    this.#received = '';
    this.#socket.write(`${command}\r\n`, 'latin1');
    const reply = await this.#reply(command);
    const begin = [`OK${command}`, `OK${echo}`].find((each) => reply.startsWith(each));
    if (begin === undefined) throw unavailable(`it answered ${command} with ${reply.slice(0, 40)}`);
    return reply.slice(begin.length);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #reply(command: string): Promise<string> {
    const deadline = setTimeout(() => {
      this.#end(`it gave no answer to ${command} within ${this.#address.timeoutMs} ms`);
    }, this.#address.timeoutMs);
    try {
      for (;;) {
        const end = this.#received.indexOf(END_OF_TEXT);
        if (end >= 0) return this.#received.slice(0, end);
        if (this.#ended) throw this.#ended;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(deadline);
    }
  }

  #end(why: string): void {
    this.#ended ??= unavailable(why);
    this.#socket.destroy();
    this.#wake();
  }
}
