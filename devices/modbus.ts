import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import modbusSerial from 'modbus-serial';
import { Dialer, type TcpAddress } from './dialer.ts';

// CommonJS: its types know the class only as the property `default`, which it has at run time too.
const { default: ModbusClient } = modbusSerial;
type ModbusClient = InstanceType<typeof ModbusClient>;

export interface ModbusAddress extends TcpAddress {
  readonly unitId: number;
}

/**
 * Why a request brought no value.
 *
 * - `unreachable`: no connection; the request did not leave
 * - `exception`: the device answered that it will not (`code` of the Modbus application protocol, section 7)
 * - `lost`: it left, and no reply came; whether the device acted is not known
 * - `garbled`: the reply holds something the device cannot mean
 */
export class ModbusError extends Error {
  readonly kind: 'unreachable' | 'exception' | 'lost' | 'garbled';
  readonly code: number | null;

  constructor(kind: ModbusError['kind'], message: string, options: { code?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'ModbusError';
    this.kind = kind;
    this.code = options.code ?? null;
  }
}

/** Slave device busy: the one exception that is worth the same request again. */
const DEVICE_BUSY = 6;
const BUSY_RETRIES = 3;
const BUSY_PAUSE_MS = 50;

interface Connection {
  readonly socket: Socket;
  readonly client: ModbusClient;
  /** settles when the socket has closed */
  readonly closed: Promise<never>;
}

/**
 * A line to one Modbus TCP device: one request in flight, a deadline on each. A request without reply ends the
 * connection, so that a late reply can never be taken for another's; the next request makes a new one, at growing
 * intervals while the device does not answer.
 */
export class ModbusLine {
  readonly #address: ModbusAddress;
  readonly #dialer: Dialer;
  #connection: Connection | null = null;
  #session = 0;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(address: ModbusAddress) {
    this.#address = address;
    this.#dialer = new Dialer(address);
  }

  /** Rises with every new connection; 0 while there is none. */
  get session(): number {
    return this.#connection ? this.#session : 0;
  }

  /** Reads input registers (function 4); waits and asks again while the device says it is busy. */
  readInput(address: number, count: number): Promise<number[]> {
    return this.#repeatWhileBusy(async (client) => {
      const { data } = await client.readInputRegisters(address, count);
      if (data.length !== count) {
        throw new ModbusError('garbled', `asked ${this.#name} for ${count} registers, got ${data.length}`);
      }
      return data;
    });
  }

  /** Writes holding registers in one request (function 16): for values that move nothing, so it may be repeated. */
  writeAll(address: number, values: readonly number[]): Promise<void> {
    return this.#repeatWhileBusy(async (client) => {
      await client.writeRegisters(address, [...values]);
    });
  }

  /**
   * Writes one holding register (function 6), at most once, and only on the connection of the given session: what was
   * written and read before on that line still holds.
   * @throws ModbusError `lost` when it may or may not have arrived; any other kind means that it did nothing
   */
  writeOnce(address: number, value: number, session: number): Promise<void> {
    return this.#inTurn(async () => {
      const connection = this.#connection;
      if (!connection || this.#session !== session) {
        throw new ModbusError('unreachable', `the connection to ${this.#name} ended before the write`);
      }
      await this.#request(connection, (client) => client.writeRegister(address, value));
    });
  }

  /** Ends the connection at once; what is in flight is `lost`. The line can be used again. */
  close(): void {
    this.#connection?.socket.destroy();
    this.#connection = null;
  }

  get #name(): string {
    return `${this.#address.host}:${this.#address.port} unit ${this.#address.unitId}`;
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(act);
    this.#queue = result.catch(() => undefined); // its own caller hears of the failure; the next one starts afresh
    return result;
  }

  #repeatWhileBusy<T>(ask: (client: ModbusClient) => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      for (let attempt = 0; ; attempt++) {
        const connection = this.#connection ?? (await this.#connect());
        try {
          return await this.#request(connection, ask);
        } catch (error) {
          const isBusy =
            error instanceof ModbusError && error.kind === 'exception' && error.code === DEVICE_BUSY;
          if (!isBusy || attempt === BUSY_RETRIES) throw error;
          await sleep(BUSY_PAUSE_MS);
        }
      }
    });
  }

  async #connect(): Promise<Connection> {
    const { port, unitId, timeoutMs } = this.#address;
    const socket = await this.#dialer.dial().catch((cause: unknown) => {
      throw new ModbusError('unreachable', `${this.#name} does not answer`, { cause });
    });
    const client = new ModbusClient();
    const closed = new Promise<never>((_, reject) => {
      socket.once('close', () => reject(new ModbusError('lost', `${this.#name} ended the connection`)));
    });
    closed.catch(() => undefined); // heard only while a request is in flight
    socket.on('error', () => socket.destroy());
    client.on('error', () => socket.destroy());
    await client.linkTCP(socket, { port });
    client.setID(unitId);
    client.setTimeout(timeoutMs);
    const connection: Connection = { socket, client, closed };
    socket.once('close', () => {
      if (this.#connection === connection) this.#connection = null;
    });
    this.#session += 1;
    this.#connection = connection;
    return connection;
  }

  async #request<T>(connection: Connection, ask: (client: ModbusClient) => Promise<T>): Promise<T> {
    try {
      return await Promise.race([ask(connection.client), connection.closed]);
    } catch (error) {
      if (error instanceof ModbusError && error.kind !== 'lost') throw error;
      const code = error instanceof Error && 'modbusCode' in error ? error.modbusCode : undefined;
      if (typeof code === 'number') {
        throw new ModbusError('exception', `${this.#name} answered exception ${code}`, {
          code,
          cause: error,
        });
      }
      connection.socket.destroy();
      if (this.#connection === connection) this.#connection = null;
      throw error instanceof ModbusError
        ? error
        : new ModbusError('lost', `${this.#name} gave no usable reply`, { cause: error });
    }
  }
}
