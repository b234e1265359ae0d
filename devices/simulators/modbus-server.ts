import { createServer, type Socket } from 'node:net';
import { listening } from './listening.ts';
import type { Disturbance } from './store-faults.ts';

/** Exception codes of the Modbus application protocol V1.1b3, section 7. */
export const ILLEGAL_FUNCTION = 1;
export const ILLEGAL_ADDRESS = 2;
export const ILLEGAL_VALUE = 3;
export const DEVICE_FAILURE = 4;
export const DEVICE_BUSY = 6;

/** A device's answer that it will not do what was asked. */
export class Exception extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`Modbus exception ${code}`);
    this.code = code;
  }
}

/** What the registers are made of. Each may throw Exception. */
export interface Registers {
  readHolding(address: number, count: number): number[];
  readInput(address: number, count: number): number[];
  writeHolding(address: number, values: readonly number[]): void;
}

export interface ModbusServer {
  readonly port: number;
  /** ends every connection, and every new one for some time */
  cut(forMs: number): void;
  close(): Promise<void>;
}

export interface ModbusServerOptions {
  readonly host: string;
  /** 0 = any free port */
  readonly port: number;
  /** requests to other units are not answered */
  readonly unitId: number;
  readonly registers: Registers;
  disturb(functionCode: number, address: number): Disturbance;
}

/**
 * Serves registers by Modbus TCP: functions 3, 4, 6 and 16. Requests of one connection are handled in the order in
 * which they came.
 */
export async function serveModbus(options: ModbusServerOptions): Promise<ModbusServer> {
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
    let received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 8) {
        const length = received.readUInt16BE(4);
        if (length < 2 || length > 254 || received.readUInt16BE(2) !== 0) {
          socket.destroy(); // not Modbus: there is no telling where the next request begins
          return;
        }
        if (received.length < 6 + length) return;
        const frame = received.subarray(0, 6 + length);
        received = received.subarray(6 + length);
        if (frame[6] === options.unitId) handle(socket, Buffer.from(frame), options);
      }
    });
  });
  const port = await listening(server, options.port, options.host);
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

function handle(socket: Socket, request: Buffer, options: ModbusServerOptions): void {
  const functionCode = request.readUInt8(7);
  const address = request.length >= 10 ? request.readUInt16BE(8) : 0;
  const disturbance = options.disturb(functionCode, address);
  if (disturbance.cut === 'before') {
    socket.destroy();
    return;
  }
  if (disturbance.silent === 'before') return;
  later(disturbance.delayRequestMs, () => {
    const pdu = answer(request.subarray(7), options.registers);
    if (disturbance.cut === 'after') {
      socket.destroy();
      return;
    }
    if (disturbance.silent === 'after') return;
    later(disturbance.delayReplyMs, () => {
      if (socket.destroyed) return;
      const header = Buffer.from(request.subarray(0, 7));
      header.writeUInt16BE(pdu.length + 1, 4);
      if (disturbance.wrongTransaction) header.writeUInt16BE((header.readUInt16BE(0) + 1) & 0xffff, 0);
      socket.write(Buffer.concat([header, pdu]));
    });
  });
}

function later(ms: number | undefined, act: () => void): void {
  if (ms) setTimeout(act, ms);
  else act();
}

function answer(pdu: Buffer, registers: Registers): Buffer {
  const functionCode = pdu.readUInt8(0);
  try {
    if (pdu.length < 5) throw new Exception(ILLEGAL_VALUE);
    const address = pdu.readUInt16BE(1);
    const count = pdu.readUInt16BE(3); // for function 6 the value
    switch (functionCode) {
      case 3:
      case 4: {
        if (count < 1 || count > 125) throw new Exception(ILLEGAL_VALUE);
        const values =
          functionCode === 3 ? registers.readHolding(address, count) : registers.readInput(address, count);
        const reply = Buffer.alloc(2 + 2 * values.length);
        reply.writeUInt8(functionCode, 0);
        reply.writeUInt8(2 * values.length, 1);
        for (const [index, value] of values.entries()) reply.writeUInt16BE(value, 2 + 2 * index);
        return reply;
      }
      case 6:
        registers.writeHolding(address, [count]);
        return pdu;
      case 16: {
        if (count < 1 || count > 123 || pdu.length !== 6 + 2 * count || pdu.readUInt8(5) !== 2 * count) {
          throw new Exception(ILLEGAL_VALUE);
        }
        registers.writeHolding(
          address,
          Array.from({ length: count }, (_, index) => pdu.readUInt16BE(6 + 2 * index)),
        );
        return pdu.subarray(0, 5);
      }
      default:
        throw new Exception(ILLEGAL_FUNCTION);
    }
  } catch (error) {
    return Buffer.from([functionCode | 0x80, error instanceof Exception ? error.code : DEVICE_FAILURE]);
  }
}
