import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { listening } from './listening.ts';
import type { Disturbance } from './store-faults.ts';

export interface AsciiServer {
  readonly port: number;
  /** ends every connection, and every new one for some time */
  cut(forMs: number): void;
  close(): Promise<void>;
}

export interface AsciiServerOptions {
  readonly host: string;
  /** 0 = any free port */
  readonly port: number;
  /** the reply to one line */
  answer(line: string): string;
  disturb(line: string): Disturbance;
}

/**
 * Serves a line protocol over TCP as a serial device server does: requests end with CR, replies with CR LF; the requests
 * of one connection are handled one after another, also when it is gone by then; and a reply whose connection is gone
 * goes to the one that came after it.
 */
export async function serveAscii({
  host,
  port: wanted,
  answer,
  disturb,
}: AsciiServerOptions): Promise<AsciiServer> {
  const sockets = new Set<Socket>();
  let deafUntil = 0;
  let replyBefore = 'OK';

  const send = (socket: Socket, text: string) => {
    const open = socket.destroyed ? [...sockets].at(-1) : socket;
    open?.write(text, 'latin1');
  };
  const handle = async (socket: Socket, line: string): Promise<void> => {
    const disturbance = disturb(line);
    if (disturbance.cut === 'before') socket.destroy();
    if (disturbance.cut === 'before' || disturbance.silent === 'before') return;
    if (disturbance.delayRequestMs) await sleep(disturbance.delayRequestMs);
    const reply = answer(line);
    if (disturbance.cut === 'after') socket.destroy();
    if (disturbance.cut === 'after' || disturbance.silent === 'after') return;
    if (disturbance.delayReplyMs) await sleep(disturbance.delayReplyMs);
    send(socket, disturbance.wrongTransaction ? `${replyBefore}\r\n${reply}\r\n` : `${reply}\r\n`);
    replyBefore = reply;
  };

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
    let queue = Promise.resolve();
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      const lines = received.split('\r');
      received = lines.pop() ?? '';
      if (received.length > 1_000) socket.destroy(); // no command is that long
      for (const line of lines) {
        queue = queue.then(() => handle(socket, line.replace(/^\n/, '')));
      }
    });
  });
  const port = await listening(server, wanted, host);
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
