import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { WorklistLine } from '../../devices/worklist-line.ts';
import { parseInventory, parseStatus } from '../../devices/worklist-store.ts';

const STATUS = {
  MODE: 'AUTO',
  LIST: '7',
  STATE: 'DONE',
  REASON: 'NONE',
  BARCODE: 'AB%2D1',
  CARRIER: '0',
  SOURCE: '0',
  TARGET: '1',
  DOOR: '0',
  ALARM: '0',
  LOCK: '0',
};
const reply = (change: Record<string, string> = {}) =>
  Object.entries({ ...STATUS, ...change })
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

describe('reading a store that takes worklists', () => {
  it('understands what the profile says', () => {
    expect(parseStatus(reply())).toEqual({
      mode: 'auto',
      latchedNumber: 7,
      busy: false,
      done: true,
      errorCode: 0,
      carrier: false,
      source: false,
      target: true,
      barcode: 'AB-1',
      doorOpen: false,
      unitAlarm: false,
      lockedOut: false,
    });
    expect(parseStatus(reply({ STATE: 'FAILED', REASON: 'NOT_FOUND', BARCODE: '-' }))).toMatchObject({
      done: false,
      errorCode: 2,
      barcode: '',
    });
    expect(parseStatus(reply({ STATE: 'RUNNING' }))).toMatchObject({ busy: true, done: false });
    expect(parseStatus(reply({ STATE: 'INTERRUPTED' }))).toMatchObject({
      busy: false,
      done: false,
      errorCode: 0,
    });
  });

  it.each([
    ['a mode', { MODE: 'IDLE' }, /MODE=IDLE/],
    ['a state', { STATE: 'MAYBE' }, /STATE=MAYBE/],
    ['a reason without failure', { REASON: 'MOTION' }, /STATE=DONE with REASON=MOTION/],
    ['a failure without reason', { STATE: 'FAILED' }, /STATE=FAILED with REASON=NONE/],
    ['a number', { LIST: '4294967296' }, /LIST=4294967296/],
    ['a negative number', { LIST: '-1' }, /LIST=-1/],
    ['a flag', { CARRIER: '2' }, /CARRIER=2/],
    ['a barcode', { BARCODE: '%07' }, /barcode/],
    ['an unescaped barcode', { BARCODE: 'A"B' }, /barcode/],
  ] as const)('does not take %s that cannot be', (_, change, message) => {
    expect(() => parseStatus(reply(change))).toThrow(message);
  });

  it('misses no field', () => {
    for (const name of Object.keys(STATUS)) {
      const without = reply()
        .split(' ')
        .filter((field) => !field.startsWith(`${name}=`));
      expect(() => parseStatus(without.join(' '))).toThrow(`nothing of ${name}`);
    }
  });

  it('reads a page of inventory, and what has no label', () => {
    expect(parseInventory('REV=12 TOTAL=3 MORE=1 1/2/3=AB_1 1/2/4=-')).toEqual({
      revision: 12,
      total: 3,
      hasMore: true,
      entries: [
        { cassette: 1, level: 2, slot: 3, barcode: 'AB_1' },
        { cassette: 1, level: 2, slot: 4, barcode: null },
      ],
    });
    expect(parseInventory('REV=0 TOTAL=0 MORE=0').entries).toEqual([]);
    expect(() => parseInventory('REV=1 TOTAL=1 MORE=0 1/2=A')).toThrow(/no tube at an address/);
  });
});

describe('a line to a store that takes worklists', () => {
  /** A server that answers each request as told; null: not at all. */
  async function serving(answer: (line: string, connection: number) => string | null) {
    let connections = 0;
    const seen: string[] = [];
    const server = createServer((socket) => {
      connections += 1;
      const mine = connections;
      socket.on('data', (chunk) => {
        for (const line of chunk.toString('latin1').trimEnd().split('\n')) {
          seen.push(line);
          const text = answer(line, mine);
          if (text !== null) socket.write(`${text}\n`);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the server has no port');
    const line = new WorklistLine({ host: '127.0.0.1', port: address.port, timeoutMs: 100 });
    return {
      line,
      seen,
      close: () => {
        line.close();
        server.close();
      },
    };
  }
  const echo = (text: string) => `${text.split(' ')[0]} OK`;

  it('takes no other request’s reply for its own, and starts afresh', async () => {
    const { line, close } = await serving((text, connection) =>
      connection === 1 ? '999 OK late' : `${echo(text)} fresh`,
    );
    await expect(line.ask('STATUS')).rejects.toMatchObject({ kind: 'lost' });
    await expect(line.ask('STATUS')).resolves.toBe('fresh');
    close();
  });

  it('says within its timeout that a reply is lost', async () => {
    const { line, close } = await serving(() => null);
    await expect(line.ask('STATUS')).rejects.toMatchObject({ kind: 'lost' });
    close();
  });

  it('sends nothing on another connection than the one it was said for', async () => {
    const { line, seen, close } = await serving(echo);
    await line.ask('DRAFT 1');
    const { session } = line;
    line.close();
    await line.ask('STATUS');
    await expect(line.askOn(session, 'RELEASE 1')).rejects.toMatchObject({ kind: 'unreachable' });
    expect(seen.filter((text) => text.includes('RELEASE'))).toEqual([]);
    close();
  });

  it('tells a refusal by its code', async () => {
    const { line, close } = await serving((text) => `${text.split(' ')[0]} ERR BUSY list 3 runs`);
    await expect(line.ask('RELEASE 4')).rejects.toMatchObject({ kind: 'refused', code: 'BUSY' });
    close();
  });

  it('does not wait for what nobody serves', async () => {
    const { line, close } = await serving(echo);
    close();
    await expect(line.ask('STATUS')).rejects.toMatchObject({ kind: 'unreachable' });
  });
});
