import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
  /** for connecting and for every reply; must be longer than a gateway's own on the way */
  readonly timeoutMs: number;
}

const BACKOFF_MS = { first: 50, max: 2_000 } as const;

/** Connects to one device, at growing intervals while it does not answer. */
export class Dialer {
  readonly #address: TcpAddress;
  #failures = 0;
  #notBefore = 0;

  constructor(address: TcpAddress) {
    this.#address = address;
  }

  /** @throws the socket's error, or that of its timeout, when the device does not answer */
  async dial(): Promise<Socket> {
    const wait = this.#notBefore - performance.now();
    if (wait > 0) await sleep(wait);
    const { host, port, timeoutMs } = this.#address;
    const socket = connect({ host, port, noDelay: true });
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(timeoutMs) });
    } catch (error) {
      socket.destroy();
      this.#failures += 1;
      const pause = Math.min(BACKOFF_MS.first * 2 ** (this.#failures - 1), BACKOFF_MS.max);
      this.#notBefore = performance.now() + pause;
      throw error;
    }
    this.#failures = 0;
    return socket;
  }
}
