import type { Socket } from 'node:net';
import { Dialer, type TcpAddress } from './dialer.ts';

/**
 * Why a request brought no value.
 *
 * - `unreachable`: no connection; the request did not leave
 * - `refused`: the store answered that it will not (`code` of devices/profiles/worklist-store.yaml)
 * - `lost`: it left, and no reply came that is its own; whether the store acted is not known
 * - `garbled`: the reply holds something the store cannot mean
 */
export class WorklistError extends Error {
  readonly kind: 'unreachable' | 'refused' | 'lost' | 'garbled';
  readonly code: string | null;

  constructor(
    kind: WorklistError['kind'],
    message: string,
    options: { code?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'WorklistError';
    this.kind = kind;
    this.code = options.code ?? null;
  }
}

/** Longer than a full page of inventory. */
const LONGEST_LINE = 200_000;

interface Connection {
  readonly socket: Socket;
  received: string;
  /** the one request in flight */
  waiting: { readonly tag: string; settle(answer: string | WorklistError): void } | null;
}

/**
 * A line to one store that takes worklists: requests and replies are lines of ASCII, each request with a tag that its
 * reply repeats. One request is in flight, with a deadline. A request without reply, and a reply that nobody waits for, end
 * the connection, so that a late reply can never be taken for another's; the next request makes a new one.
 */
export class WorklistLine {
  readonly #address: TcpAddress;
  readonly #dialer: Dialer;
  #connection: Connection | null = null;
  #session = 0;
  #tag = 0;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(address: TcpAddress) {
    this.#address = address;
    this.#dialer = new Dialer(address);
  }

  /** Rises with every new connection; 0 while there is none. */
  get session(): number {
    return this.#connection ? this.#session : 0;
  }

  /**
   * Sends a request, on a new connection if there is none. It may be repeated only where the request moves nothing.
   * @returns what follows OK in the reply
   */
  ask(request: string): Promise<string> {
    return this.#inTurn(async () => this.#request(this.#connection ?? (await this.#connect()), request));
  }

  /**
   * Sends a request once, and only on the connection of the given session: what was said before on that line still holds.
   * @throws WorklistError `lost` when it may or may not have arrived; any other kind means that it did nothing
   */
  askOn(session: number, request: string): Promise<string> {
    return this.#inTurn(async () => {
      const connection = this.#connection;
      if (!connection || this.#session !== session) {
        throw new WorklistError('unreachable', `the connection to ${this.#name} ended before the request`);
      }
      return this.#request(connection, request);
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

  async #connect(): Promise<Connection> {
    const socket = await this.#dialer.dial().catch((cause: unknown) => {
      throw new WorklistError('unreachable', `${this.#name} does not answer`, { cause });
    });
    const connection: Connection = { socket, received: '', waiting: null };
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#end(connection, `${this.#name} ended the connection`));
    socket.on('data', (chunk) => this.#receive(connection, chunk));
    this.#session += 1;
    this.#connection = connection;
    return connection;
  }

  #request(connection: Connection, request: string): Promise<string> {
    this.#tag += 1;
    const tag = String(this.#tag);
    return new Promise((resolve, reject) => {
      if (this.#connection !== connection) {
        reject(new WorklistError('lost', `${this.#name} ended the connection`));
        return;
      }
      const deadline = setTimeout(
        () => this.#end(connection, `${this.#name} gave no reply to ${request}`),
        this.#address.timeoutMs,
      );
      const settle = (answer: string | WorklistError) => {
        clearTimeout(deadline);
        connection.waiting = null;
        if (answer instanceof WorklistError) reject(answer);
        else resolve(answer);
      };
      connection.waiting = { tag, settle };
      connection.socket.write(`${tag} ${request}\n`, 'latin1');
    });
  }

  #receive(connection: Connection, chunk: Buffer): void {
    connection.received += chunk.toString('latin1');
    for (let end = connection.received.indexOf('\n'); end >= 0; end = connection.received.indexOf('\n')) {
      const line = connection.received.slice(0, end).trimEnd();
      connection.received = connection.received.slice(end + 1);
      this.#take(connection, line);
    }
    if (connection.received.length > LONGEST_LINE)
      this.#end(connection, `${this.#name} sent a line without end`);
  }

  #take(connection: Connection, line: string): void {
    const [, tag, kind, rest = ''] = /^(\d+) (OK|ERR)(?: (.*))?$/.exec(line) ?? [];
    const { waiting } = connection;
    if (!waiting || waiting.tag !== tag) {
      this.#end(connection, `a line from ${this.#name} was not the reply to its request`);
      return;
    }
    const code = rest.split(' ')[0];
    if (kind === 'OK') waiting.settle(rest);
    else waiting.settle(new WorklistError('refused', `${this.#name} answered ${rest}`, { code }));
  }

  #end(connection: Connection, why: string): void {
    connection.socket.destroy();
    if (this.#connection === connection) this.#connection = null;
    connection.waiting?.settle(new WorklistError('lost', why));
  }
}
