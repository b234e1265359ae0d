import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { openAsciiStore, parseStatus } from '../../devices/ascii-store.ts';

const PROFILE = new URL('../../devices/profiles/ascii-store.yaml', import.meta.url);
type Answer = string | null | undefined;
const QUIET = { warn: () => undefined };
const words = (text: string, count: number) =>
  [...(text === '' ? [] : text.split(' ')), ...new Array<string>(count).fill('00000')]
    .slice(0, count)
    .join(' ');
const RELAYS = '1 0 0 0 0 1 0 0 0 0 0';
const PICK = { number: 8, operation: 'pick', cassette: 1, level: 2, slot: 3 } as const;
const ORDER = '00001 00000 00000 00000 00000 00002 00003 00000 00008 00001';

describe('reading a store that speaks ASCII', () => {
  const { tests } = parse(readFileSync(PROFILE, 'utf8'));

  it.each(tests as Record<string, string>[])('means what its profile says: $status', (vector) => {
    const { status = '', relays = '', barcode = '', quality, latched, text, ...rest } = vector;
    const read = () => parseStatus(status, relays, words(barcode, 32));
    if (quality === 'BAD') expect(read).toThrow(expect.objectContaining({ kind: 'garbled' }));
    else expect(read()).toMatchObject({ ...rest, latchedNumber: latched, barcode: text ?? '' });
  });

  it.each([
    ['too few registers', '00000 00000', RELAYS],
    ['a register that is no number', '00000 0000x 00000 00000', RELAYS],
    ['a register above 16 bits', '00000 70000 00000 00000', RELAYS],
    ['a relay that is neither 0 nor 1', '00000 00000 00000 00000', '2 0 0 0 0 0 0 0 0 0 0'],
    ['another reply', 'OK', RELAYS],
  ])('refuses %s', (_, status, relays) => {
    expect(() => parseStatus(status, relays, words('', 32))).toThrow(/read "/);
  });

  it('refuses a barcode that cannot be printed', () => {
    expect(() => parseStatus('00000 00000 00000 00002', RELAYS, words('00321', 32))).toThrow(/not printable/);
  });
});

describe('the wire to a store that speaks ASCII', () => {
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  /**
   * A controller that answers from a table, keeps what is written to DM90 and DM0, and hears no line before its reply to
   * the one before has left. `reply` may answer a line itself; undefined = as usual.
   */
  const device = async (
    reply: (line: string, count: number, socket: Socket) => Answer | Promise<Answer> = () => undefined,
    table: Record<string, string> = {},
  ) => {
    const heard: string[] = [];
    const registers = { echo: '00000', order: words('', 10) };
    const usual = (line: string): string => {
      const [, echo] = /^WR DM90 (\d{5})$/.exec(line) ?? [];
      const [, order] = /^WRS DM0 10 (.*)$/.exec(line) ?? [];
      registers.echo = echo ?? registers.echo;
      registers.order = order ?? registers.order;
      return (
        table[line] ??
        {
          CR: 'CC',
          'RD DM90': registers.echo,
          'RDS DM0 10': registers.order,
          'RD DM200': '00000',
          'RDS DM200 4': '00000 00000 00007 00000',
          'RDS 1810 11': RELAYS,
          'RDS DM204 32': words('', 32),
        }[line] ??
        'OK'
      );
    };
    const server = createServer((socket) => {
      let queue = Promise.resolve();
      const handle = async (line: string) => {
        heard.push(line);
        const answer = usual(line);
        const own = await reply(line, heard.length, socket);
        if (own !== null) socket.write(`${own ?? answer}\r\n`);
      };
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk) => {
        for (const line of chunk.toString('latin1').split('\r').slice(0, -1)) {
          queue = queue.then(() => handle(line));
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    closing.push(() => server.close());
    return { port: address.port, heard };
  };
  const wireTo = (port: number, log: { warn(fields: object, message: string): void } = QUIET) => {
    const wire = openAsciiStore({ host: '127.0.0.1', port, timeoutMs: 200, log });
    closing.push(() => wire.close());
    return wire;
  };
  const withoutEcho = (lines: string[]) => lines.filter((line) => !line.includes('DM90'));

  it('sends nothing but questions when it connects and looks', async () => {
    const { port, heard } = await device();
    await wireTo(port).observe();
    expect(withoutEcho(heard)).toEqual([
      'CR',
      'RDS DM200 4',
      'RDS 1810 11',
      'RDS DM204 32',
      'RDS DM200 4',
      'RDS 1810 11',
    ]);
  });

  it('writes the whole order at once, reads it back, and triggers with one line', async () => {
    const { port, heard } = await device();
    const wire = wireTo(port);
    await wire.arm(PICK);
    expect(await wire.trigger()).toBe('taken');
    expect(await wire.trigger()).toBe('refused');
    expect(withoutEcho(heard)).toEqual(['CR', `WRS DM0 10 ${ORDER}`, 'RDS DM0 10', 'RD DM200', 'ST 1908']);
  });

  it('does not trigger an order that reads back otherwise', async () => {
    const { port, heard } = await device(() => undefined, { 'RDS DM0 10': words('00002', 10) });
    const wire = wireTo(port);
    await expect(wire.arm(PICK)).rejects.toMatchObject({ kind: 'garbled' });
    expect(await wire.trigger()).toBe('refused');
    expect(heard).not.toContain('ST 1908');
  });

  it('reads and logs the error register before it resets it, and resets it before the trigger alone', async () => {
    const told: string[] = [];
    const { port } = await device(
      (line) => {
        if (!line.includes('DM90')) told.push(line);
        return undefined;
      },
      { 'RD DM200': '00017' },
    );
    const wire = wireTo(port, { warn: (fields) => told.push(JSON.stringify(fields)) });
    await wire.arm(PICK);
    expect(told).not.toContain('RS 1814');
    told.length = 0;
    expect(await wire.trigger()).toBe('taken');
    expect(told).toEqual(['RD DM200', '{"handlerError":"00017"}', 'RS 1814', 'ST 1908']);
  });

  it('does not trigger when the error could not be reset', async () => {
    const { port, heard } = await device((line) => (line === 'RS 1814' ? null : undefined), {
      'RD DM200': '00017',
    });
    const wire = wireTo(port);
    await wire.arm(PICK);
    expect(await wire.trigger()).toBe('refused');
    expect(heard).not.toContain('ST 1908');
  });

  it.each([
    ['OK', 'taken'],
    ['E0', 'refused'],
    ['E1', 'refused'],
    ['E4', 'refused'],
    ['E5', 'unknown'],
    ['', 'unknown'],
    [null, 'unknown'],
  ])('takes the answer %s to a trigger as %s', async (answer, meaning) => {
    const { port, heard } = await device((line) => (line === 'ST 1908' ? answer : undefined));
    const wire = wireTo(port);
    await wire.arm(PICK);
    expect(await wire.trigger()).toBe(meaning);
    expect(heard.filter((line) => line === 'ST 1908')).toHaveLength(1);
  });

  it('believes what it sees only when it stood still meanwhile', async () => {
    let reads = 0;
    const moving = await device((line) =>
      line === 'RDS DM200 4' ? `00000 00000 0000${Math.min(++reads, 3)} 00000` : undefined,
    );
    expect(await wireTo(moving.port).observe()).toMatchObject({ latchedNumber: 3 });
    let restless = 0;
    const never = await device((line) =>
      line === 'RDS DM200 4' ? `00000 00000 0000${++restless % 10} 00000` : undefined,
    );
    await expect(wireTo(never.port).observe()).rejects.toMatchObject({ kind: 'garbled' });
  });

  it('ends a connection on which nobody begins to communicate, or somebody else does', async () => {
    for (const answer of [null, 'OK']) {
      const { port, heard } = await device((line) => (line === 'CR' ? answer : undefined));
      await expect(wireTo(port).observe()).rejects.toMatchObject({ kind: 'unreachable' });
      expect(heard).toEqual(['CR']);
    }
  });

  it('ends a connection on a line without end', async () => {
    const { port } = await device((line, _, socket) => {
      if (line !== 'RDS 1810 11') return undefined;
      socket.write('0 '.repeat(2_000));
      return null;
    });
    await expect(wireTo(port).observe()).rejects.toMatchObject({ kind: 'lost' });
  });

  it('says that nothing left when nobody listens', async () => {
    await expect(wireTo(9).observe()).rejects.toMatchObject({ kind: 'unreachable' });
  });

  // Lines 1-6: connecting and arming; 7-13: looking; 14-16: triggering; each with its echo.
  const STRAYS = ['OK', 'E4', 'CC', '00000', '00000 00000 00008 00000', '1 0 1 0 0 0 0 1 0 0 0', ORDER, ''];
  it('takes no stray line for a reply, wherever it comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 16 }),
        fc.constantFrom(...STRAYS),
        fc.boolean(),
        fc.constantFrom('OK', 'E4'),
        async (place, stray, isApart, answer) => {
          const { port, heard } = await device(
            async (_, count, socket) => {
              if (count !== place) return undefined;
              if (!isApart) {
                socket.cork(); // both lines in one packet
                setImmediate(() => socket.uncork());
              }
              socket.write(`${stray}\r\n`);
              if (isApart) await sleep(3);
              return undefined;
            },
            { 'ST 1908': answer },
          );
          const wire = wireTo(port);
          const isArmed = await wire.arm(PICK).then(
            () => true,
            () => false,
          );
          const view = await wire.observe().catch(() => null);
          if (view) expect(view).toMatchObject({ latchedNumber: 7, carrier: false, source: true });
          const outcome = await wire.trigger();
          wire.close();
          const isTaken = heard.includes('ST 1908') && answer === 'OK';
          if (!isArmed) expect(isTaken).toBe(false);
          if (outcome !== 'unknown') expect(outcome).toBe(isTaken ? 'taken' : 'refused');
        },
      ),
      { numRuns: 200 },
    );
  });
});
