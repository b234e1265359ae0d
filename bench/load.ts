import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';

export interface LoadResult {
  readonly perSecond: number;
  /** latencies in ms */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly requests: number;
  /** of every request, in ms */
  readonly latencies: readonly number[];
  readonly notOk: number;
}

/** The p-th quantile (0–1) of values, by nearest rank. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;
}

/**
 * Loads an HTTP/1.1 server with GETs over keep-alive connections, one request in flight each. Requests are ready-made
 * bytes on raw sockets, so that the generator takes as little of the machine from the server as it can.
 * @param next makes the bytes of the next request
 * @param seconds how long; a tenth of it again is spent warming up before
 */
export async function load(
  port: number,
  connections: number,
  seconds: number,
  next: () => Buffer,
): Promise<LoadResult> {
  const latencies: number[] = [];
  let notOk = 0;
  const startAt = performance.now() + seconds * 100;
  const endAt = startAt + seconds * 1000;
  await Promise.all(
    Array.from({ length: connections }, () =>
      oneConnection(port, next, startAt, endAt, latencies, () => notOk++),
    ),
  );
  return {
    perSecond: latencies.length / seconds,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    max: quantile(latencies, 1),
    requests: latencies.length,
    latencies,
    notOk,
  };
}

function oneConnection(
  port: number,
  next: () => Buffer,
  startAt: number,
  endAt: number,
  latencies: number[],
  bad: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let sentAt = 0;
    let buffered: Buffer = Buffer.alloc(0);
    const send = () => {
      sentAt = performance.now();
      socket.write(next());
    };
    socket.on('connect', send);
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
      const end = responseEnd(buffered);
      if (end === null || buffered.length < end) return;
      const now = performance.now();
      if (!buffered.subarray(0, 12).equals(OK)) bad();
      buffered = buffered.subarray(end);
      if (now >= startAt) latencies.push(now - sentAt);
      if (now >= endAt) {
        socket.end();
        resolve();
      } else send();
    });
  });
}

const OK = Buffer.from('HTTP/1.1 200');

/** Where the first response in the buffer ends; null while its head is incomplete. */
function responseEnd(buffer: Buffer): number | null {
  const head = buffer.indexOf('\r\n\r\n');
  if (head < 0) return null;
  const text = buffer.toString('latin1', 0, head).toLowerCase();
  const length = /content-length: (\d+)/.exec(text)?.[1];
  if (length !== undefined) return head + 4 + Number(length);
  const last = buffer.indexOf('0\r\n\r\n', head + 4);
  return last < 0 ? null : last + 5;
}
