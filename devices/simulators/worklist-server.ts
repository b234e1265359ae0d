import { createServer, type Socket } from 'node:net';
import { listening } from './listening.ts';
import { type Address, placeName } from './store-world.ts';
import type { BooksFile } from './worklist-books.ts';
import type { WorklistMachine } from './worklist-machine.ts';

export interface WorklistServer {
  readonly port: number;
  /** ends every connection, and every new one for some time */
  cut(forMs: number): void;
  close(): Promise<void>;
}

/**
 * Serves the line protocol of devices/profiles/worklist-store.yaml: `TAG VERB …` answered by `TAG OK …` or
 * `TAG ERR CODE text`. Requests of one connection are handled in the order in which they came.
 */
export async function serveWorklists(
  machine: WorklistMachine,
  books: BooksFile,
  at: { readonly host: string; readonly port: number },
): Promise<WorklistServer> {
  const sockets = new Set<Socket>();
  let deafUntil = 0;
  const server = createServer((socket) => {
    if (Date.now() < deafUntil) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.setNoDelay();
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    let received = '';
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      const lines = received.split('\n');
      received = lines.pop() ?? '';
      if (received.length > 1_000) socket.destroy();
      for (const line of lines) handle(socket, line.trimEnd(), machine, books);
    });
  });
  const port = await listening(server, at.port, at.host);
  return {
    port,
    cut(forMs) {
      deafUntil = Date.now() + forMs;
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

function handle(socket: Socket, line: string, machine: WorklistMachine, books: BooksFile): void {
  const [, tag, request = ''] = /^(\d{1,10}) (.*)$/.exec(line) ?? [];
  if (tag === undefined) {
    socket.destroy(); // not this protocol: there is no telling which reply is whose
    return;
  }
  const disturbance = machine.faults.disturb(request.startsWith('RELEASE'));
  if (disturbance.cut === 'before') socket.destroy();
  if (disturbance.cut === 'before' || disturbance.silent === 'before') return;
  later(disturbance.delayRequestMs, () => {
    const reply = answer(request, machine, books);
    if (disturbance.cut === 'after') socket.destroy();
    if (disturbance.silent === 'after') return;
    const told = disturbance.wrongTransaction ? String(Number(tag) + 1) : tag;
    later(disturbance.delayReplyMs, () => {
      if (!socket.destroyed) socket.write(`${told} ${reply}\n`, 'latin1');
    });
  });
}

function later(ms: number | undefined, act: () => void): void {
  if (ms) setTimeout(act, ms);
  else act();
}

const ADDRESS = /^(\d{1,5})\/(\d{1,5})\/(\d{1,5})$/;
const NOT_UNDERSTOOD = 'ERR SYNTAX not understood';

function answer(request: string, machine: WorklistMachine, { books, page }: BooksFile): string {
  const [verb = '', ...args] = request.split(' ');
  switch (verb) {
    case 'STATUS': {
      const [from, to] = args.map(addressIn);
      if (args.length === 0) return status(machine, null);
      return from && to && args.length === 2 ? status(machine, { from, to }) : NOT_UNDERSTOOD;
    }
    case 'DRAFT': {
      const [number, kind = '', ...places] = args;
      const [from, to] = places.map(addressIn);
      if (!/^\d{1,10}$/.test(number ?? '') || !from || !to || places.length !== 2) return NOT_UNDERSTOOD;
      machine.draft({ number: Number(number), verb: kind, from, to });
      return 'OK';
    }
    case 'DISCARD':
      machine.discard();
      return 'OK';
    case 'RELEASE': {
      if (!/^\d{1,10}$/.test(args.join(' '))) return NOT_UNDERSTOOD;
      const refusal = machine.release(Number(args[0]));
      return refusal === null ? 'OK' : `ERR ${refusal} list ${args[0]} was not started`;
    }
    case 'INVENTORY': {
      const after = addressIn(args[0] ?? '');
      const limit = Number(args[1]);
      if ((!after && args[0] !== '-') || !(limit >= 1 && limit <= 500)) return NOT_UNDERSTOOD;
      const { tubes, total, hasMore } = page(after, limit);
      const list = tubes.map(({ at, barcode }) => ` ${placeName(at)}=${written(barcode)}`);
      return `OK REV=${books.revision} TOTAL=${total} MORE=${hasMore ? 1 : 0}${list.join('')}`;
    }
    default:
      return NOT_UNDERSTOOD;
  }
}

function status(
  machine: WorklistMachine,
  asked: { readonly from: Address; readonly to: Address } | null,
): string {
  const { world, report, ...sensors } = machine.status(asked);
  const bit = (on: boolean) => (on ? 1 : 0);
  return [
    `OK MODE=${world.mode.toUpperCase()} LIST=${world.latched}`,
    `STATE=${report?.state ?? 'NONE'} REASON=${report?.reason ?? 'NONE'} BARCODE=${written(report?.barcode ?? '')}`,
    `CARRIER=${bit(sensors.carrier)} SOURCE=${bit(sensors.source)} TARGET=${bit(sensors.target)}`,
    `DOOR=${bit(world.doorOpen)} ALARM=${bit(world.alarm)} LOCK=${bit(world.lockedOut)}`,
  ].join(' ');
}

function addressIn(text: string): Address | null {
  const [, cassette, level, slot] = ADDRESS.exec(text) ?? [];
  return slot === undefined ? null : { cassette: Number(cassette), level: Number(level), slot: Number(slot) };
}

/** A barcode as one word: everything but letters, digits, `.` and `_` as %XX. */
function written(barcode: string): string {
  if (barcode === '') return '-';
  return barcode.replaceAll(
    /[^\w.]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
