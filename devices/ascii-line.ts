import type { Socket } from 'node:net';
import { Dialer, type TcpAddress } from './dialer.ts';

/**
 * Why a request brought no value.
 *
 * - `unreachable`: no connection; the request did not leave
 * - `lost`: it left, and no reply came that is surely its own; whether the device acted is not known
 * - `garbled`: the reply holds something the device cannot mean
 */
export class AsciiError extends Error {
  readonly kind: 'unreachable' | 'lost' | 'garbled';

  constructor(kind: AsciiError['kind'], message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'AsciiError';
    this.kind = kind;
  }
}

/** A free register: what is written there moves nothing and is read back. */
const ECHO_REGISTER = 'DM90';
/** Longer than any reply. */
const LONGEST_LINE = 1_000;

interface Connection {
  readonly socket: Socket;
  received: string;
  /** why it ended */
  ended: string | null;
  /** the one request in flight */
  waiting: { resolve(line: string): void; reject(error: AsciiError): void } | null;
}

/**
 * A line to a device that takes ASCII commands over TCP: commands end with CR, replies with CR LF.
 *
 * Replies carry no transaction id, and a serial device server may hand a late one to the next connection. So one request
 * is in flight at a time with a deadline; a request without reply, and a line that nobody asked for, end the connection;
 * and an exchange ends with an echo: a new number is written to a free register and read back. A device answers in order,
 * so a stray line anywhere shifts all that follows and the echo fails. Nothing of an exchange is believed before that.
 */
export class AsciiLine {
  readonly #address: TcpAddress;
  readonly #dialer: Dialer;
  #connection: Connection | null = null;
  #session = 0;
  #echo = Math.floor(Math.random() * 0xffff);
  #queue: Promise<unknown> = Promise.resolve();

  constructor(address: TcpAddress) {
    this.#address = address;
    this.#dialer = new Dialer(address);
  }

  /** Rises with every new connection; 0 while there is none. */
  get session(): number {
    return this.#connection ? this.#session : 0;
  }

  /** Sends commands one after another, on a new connection if there is none. Returns the reply to each. */
  exchange(commands: readonly string[]): Promise<string[]> {
    return this.#inTurn(async () => this.#exchange(this.#connection ?? (await this.#connect()), commands));
  }

  /**
   * The same, but only on the connection of the given session: what was written and read before on that line still holds.
   * @throws AsciiError `lost` when it may or may not have arrived; any other kind means that it did nothing
   */
  exchangeOn(session: number, commands: readonly string[]): Promise<string[]> {
    return this.#inTurn(async () => {
      const connection = this.#connection;
      if (!connection || this.#session !== session) {
        throw new AsciiError('unreachable', `the connection to ${this.#name} ended before the command`);
      }
      return this.#exchange(connection, commands);
    });
  }

  /** Ends the connection at once; what is in flight is `lost`. The line can be used again. */
  close(): void {
    if (this.#connection) this.#end(this.#connection, 'the connection was ended from this side');
  }

  get #name(): string {
    return `${this.#address.host}:${this.#address.port}`;
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(act);
    this.#queue = result.catch(() => undefined); // its own caller hears of the failure; the next one starts afresh
    return result;
  }

  async #exchange(connection: Connection, commands: readonly string[]): Promise<string[]> {
    const replies: string[] = [];
    for (const command of commands) replies.push(await this.#request(connection, command));
    this.#echo = (this.#echo + 1) % 0x1_0000;
    const echo = String(this.#echo).padStart(5, '0');
    const written = await this.#request(connection, `WR ${ECHO_REGISTER} ${echo}`);
    const read = await this.#request(connection, `RD ${ECHO_REGISTER}`);
    if (written !== 'OK' || read !== echo) {
      const why = `a line from ${this.#name} was not the reply to its request`;
      this.#end(connection, why);
      throw new AsciiError('lost', why);
    }
    return replies;
  }

  #request(connection: Connection, command: string): Promise<string> {
    return new Promise<string>((resolve, reject) => {
      if (connection.ended !== null) {
        reject(new AsciiError('lost', connection.ended));
        return;
      }
      const deadline = setTimeout(() => {
        this.#end(connection, `${this.#name} gave no reply to ${command}`);
      }, this.#address.timeoutMs);
      connection.waiting = {
        resolve(line) {
          clearTimeout(deadline);
          resolve(line);
        },
        reject(error) {
          clearTimeout(deadline);
          reject(error);
        },
      };
      connection.socket.write(`${command}\r`, 'latin1');
    });
  }

  async #connect(): Promise<Connection> {
    const socket = await this.#dialer.dial().catch((cause: unknown) => {
      throw new AsciiError('unreachable', `${this.#name} does not answer`, { cause });
    });
    const connection: Connection = { socket, received: '', ended: null, waiting: null };
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#end(connection, `${this.#name} ended the connection`));
    socket.on('data', (chunk) => this.#receive(connection, chunk));
    this.#connection = connection;
    // Opens the communication; it moves nothing and resets nothing.
    const reply = await this.#request(connection, 'CR').catch((cause: unknown) => {
      throw new AsciiError('unreachable', `${this.#name} did not begin to communicate`, { cause });
    });
    if (reply !== 'CC') {
      const why = `${this.#name} began to communicate with ${JSON.stringify(reply)}, not with CC`;
      this.#end(connection, why);
      throw new AsciiError('unreachable', why);
    }
    this.#session += 1;
    return connection;
  }

  #receive(connection: Connection, chunk: Buffer): void {
    const lines = (connection.received + chunk.toString('latin1')).split('\r\n');
    connection.received = lines.pop() ?? '';
    if (connection.received.length > LONGEST_LINE) {
      this.#end(connection, `${this.#name} sent a line without end`);
    }
    for (const line of lines) {
      const { waiting } = connection;
      connection.waiting = null;
      if (waiting) waiting.resolve(line);
      else this.#end(connection, `${this.#name} sent a line that nobody asked for`);
    }
  }

  #end(connection: Connection, why: string): void {
    if (this.#connection === connection) this.#connection = null;
    connection.ended ??= why;
    const { waiting } = connection;
    connection.waiting = null;
    waiting?.reject(new AsciiError('lost', why));
    connection.socket.destroy();
  }
}
