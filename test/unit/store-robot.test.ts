import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { ModbusLine } from '../../devices/modbus.ts';
import { parseInputs } from '../../devices/store-robot.ts';

const registers = (hex: string) => {
  const words = hex.split(' ').map((word) => Number.parseInt(word, 16));
  return [...words, ...new Array<number>(45 - words.length).fill(0)];
};

describe('reading a store robot', () => {
  it('puts words together, high word first, and text two letters a register', () => {
    expect(parseInputs(registers('0001 0001 0002 0000 0001 0000 0001 0000 0000 0002 4142'))).toEqual({
      mode: 'auto',
      latchedNumber: 65_538,
      busy: false,
      done: true,
      errorCode: 0,
      carrier: true,
      source: false,
      target: false,
      barcode: 'AB',
      doorOpen: false,
      unitAlarm: false,
      lockedOut: false,
    });
  });

  it.each([
    ['a mode', '0003', /register 0 holds 3/],
    ['a flag', '0001 0000 0000 0002', /register 3 holds 2/],
    ['an error code', '0001 0000 0000 0000 0000 0007', /register 5 holds 7/],
    ['a length', '0001 0000 0000 0000 0000 0000 0000 0000 0000 0041', /65 bytes/],
    ['a barcode', '0001 0000 0000 0000 0000 0000 0000 0000 0000 0002 0141', /not printable/],
  ])('refuses %s that cannot be', (_, hex, message) => {
    expect(() => parseInputs(registers(hex))).toThrow(message);
  });

  it('refuses a short answer', () => {
    expect(() => parseInputs([1, 0, 0])).toThrow(/missing/);
  });
});

describe('a line to a Modbus device', () => {
  /** Answers each request with these bytes after the transaction id and protocol. */
  const device = (reply: (request: Buffer, count: number) => Buffer | null | Promise<Buffer>) => {
    let count = 0;
    return new Promise<{ port: number; requests: () => number; close: () => void }>((resolve) => {
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.on('data', async (request) => {
          count += 1;
          const answer = await reply(request, count);
          if (!answer) return;
          const header = Buffer.from(request.subarray(0, 7));
          header.writeUInt16BE(answer.length + 1, 4);
          socket.write(Buffer.concat([header, answer]));
        });
      });
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        if (address === null || typeof address === 'string') throw new Error('no port');
        resolve({ port: address.port, requests: () => count, close: () => server.close() });
      });
    });
  };
  const line = (port: number) => new ModbusLine({ host: '127.0.0.1', port, unitId: 1, timeoutMs: 200 });

  it('asks again while the device is busy, and gives up after three times', async () => {
    const busyTwice = await device((_, count) =>
      count <= 2 ? Buffer.from([0x84, 6]) : Buffer.from([4, 2, 0, 7]),
    );
    const patient = line(busyTwice.port);
    expect(await patient.readInput(0, 1)).toEqual([7]);
    patient.close();
    busyTwice.close();
    const alwaysBusy = await device(() => Buffer.from([0x84, 6]));
    const impatient = line(alwaysBusy.port);
    await expect(impatient.readInput(0, 1)).rejects.toMatchObject({ kind: 'exception', code: 6 });
    expect(alwaysBusy.requests()).toBe(4);
    impatient.close();
    alwaysBusy.close();
  });

  it('never repeats a single write', async () => {
    const busy = await device((request) =>
      request[7] === 6 ? Buffer.from([0x86, 6]) : Buffer.from([4, 2, 0, 7]),
    );
    const once = line(busy.port);
    await once.readInput(0, 1);
    await expect(once.writeOnce(6, 1, once.session)).rejects.toMatchObject({ kind: 'exception', code: 6 });
    expect(busy.requests()).toBe(2);
    once.close();
    busy.close();
  });

  it('has one request in flight, and tells a lost one', async () => {
    let inFlight = 0;
    let most = 0;
    const slow = await device((request) => {
      if (request[7] !== 4) return null;
      inFlight += 1;
      most = Math.max(most, inFlight);
      return new Promise((resolve) => {
        setTimeout(() => {
          inFlight -= 1;
          resolve(Buffer.from([4, 2, 0, 7]));
        }, 20);
      });
    });
    const asked = line(slow.port);
    await Promise.all([asked.readInput(0, 1), asked.readInput(0, 1), asked.readInput(0, 1)]);
    expect(most).toBe(1);
    const write = asked.writeOnce(6, 1, asked.session);
    await expect(write).rejects.toMatchObject({ kind: 'lost' });
    expect(asked.session).toBe(0);
    asked.close();
    slow.close();
  });

  it('tells a lost request at once when the connection is closed', async () => {
    const silent = await device(() => null);
    const closing = new ModbusLine({ host: '127.0.0.1', port: silent.port, unitId: 1, timeoutMs: 10_000 });
    const read = closing.readInput(0, 1);
    const failed = expect(read).rejects.toMatchObject({ kind: 'lost' });
    while (silent.requests() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    closing.close();
    await failed;
    silent.close();
  });

  it('says that nothing left when nobody listens', async () => {
    await expect(line(9).readInput(0, 1)).rejects.toMatchObject({ kind: 'unreachable' });
    await expect(line(9).writeOnce(6, 1, 1)).rejects.toMatchObject({ kind: 'unreachable' });
  });
});
