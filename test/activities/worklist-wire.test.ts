import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WireCommand } from '../../devices/robot-wire.ts';
import { openWorklist, WorklistCell } from '../setup/worklist-cell.ts';

const inside = (slot: number) => ({ cassette: 1, level: 1, slot });
const outside = (slot: number) => ({ cassette: 9, level: 1, slot });

describe('the wire to a store that takes worklists', () => {
  let cell: WorklistCell;
  let wire: ReturnType<typeof openWorklist>;
  beforeEach(async () => {
    cell = await WorklistCell.open(['--speed', '0']);
    wire = openWorklist(cell.port, 200);
  });
  afterEach(() => {
    wire.close();
    return cell.close();
  });

  const transfer = async (number: number, from: WireCommand['to'], to: WireCommand['to']) => {
    if (!from || !to) throw new Error('a transfer has two ends');
    await wire.arm({ number, operation: 'transfer', ...from, to });
    return wire.trigger();
  };

  it('has a tube brought out, put in and moved within, and reads its label each time', async () => {
    await cell.add(1, 1, 1, 'AB-1');
    expect(await transfer(1, inside(1), outside(2))).toBe('taken');
    const out = { busy: false, done: true, carrier: false, source: false, target: true, barcode: 'AB-1' };
    expect(await wire.observe()).toMatchObject({ latchedNumber: 1, ...out });
    expect((await cell.books()).inventory).toEqual({});
    expect(await transfer(2, outside(2), inside(3))).toBe('taken');
    expect(await wire.observe()).toMatchObject({ latchedNumber: 2, ...out });
    expect(await transfer(3, inside(3), inside(4))).toBe('taken');
    expect(await wire.observe()).toMatchObject({ latchedNumber: 3, ...out });
    expect((await cell.books()).inventory).toEqual({ '1/1/4': 'AB-1' });
    expect((await cell.world()).positions).toMatchObject({ '1/1/4': { barcode: 'AB-1' } });
  });

  it('is not told to carry between two places that people reach', async () => {
    await expect(transfer(1, outside(1), outside(2))).rejects.toThrow(/both places are in its hand-off/);
  });

  it('does not put a tube onto another, nor take one while its shuttle is full', async () => {
    await cell.add(1, 1, 1, 'AB-1');
    await cell.putTube(9, 1, 1, 'AB-2');
    expect(await transfer(1, inside(1), outside(1))).toBe('taken');
    expect(await wire.observe()).toMatchObject({ errorCode: 3, source: true, target: true, carrier: false });
    await cell.fault({ kind: 'motion_fault', operation: 'pick', tube: 'carrier' });
    expect(await transfer(2, inside(1), outside(2))).toBe('taken');
    expect(await wire.observe()).toMatchObject({ errorCode: 5, source: false, target: false, carrier: true });
    expect(await transfer(3, outside(1), inside(2))).toBe('taken');
    expect(await wire.observe()).toMatchObject({ errorCode: 4, source: true, target: false, carrier: true });
  });

  it('brings a tube back to where it came from when one that its books do not know is in the way', async () => {
    await cell.add(1, 1, 1, 'AB-1');
    await cell.putTube(1, 1, 2, 'STRANGER');
    expect(await transfer(1, inside(1), inside(2))).toBe('taken');
    expect(await wire.observe()).toMatchObject({ errorCode: 3, carrier: false, source: true, target: false });
    expect((await cell.world()).positions).toMatchObject({ '1/1/1': { barcode: 'AB-1' } });
  });

  it('shows a new connection the two ends of its last list', async () => {
    await cell.add(1, 1, 1, 'AB-1');
    await transfer(1, inside(1), outside(1));
    const other = openWorklist(cell.port);
    expect(await other.observe()).toMatchObject({ latchedNumber: 1, source: false, target: true });
    other.close();
  });

  it('does not release on another connection than it drafted on', async () => {
    await cell.add(1, 1, 1, 'AB-1');
    await wire.arm({ number: 1, operation: 'transfer', ...inside(1), to: outside(1) });
    wire.close();
    await wire.observe();
    expect(await wire.trigger()).toBe('refused');
    expect((await cell.world()).triggers).toEqual({ taken: 0, refused: 0 });
  });

  it('takes no late reply for another', async () => {
    await cell.add(1, 1, 1, 'AB-1');
    await wire.arm({ number: 1, operation: 'transfer', ...inside(1), to: outside(1) });
    await cell.fault({ kind: 'late_reply', to: 'trigger', ms: 500 });
    expect(await wire.trigger()).toBe('unknown');
    expect(await wire.observe()).toMatchObject({ latchedNumber: 1, done: true });
  });

  it.each([
    ['was cut off', { kind: 'cut_at_trigger', when: 'before' }, false],
    ['was taken and cut off', { kind: 'cut_at_trigger', when: 'after' }, true],
    ['never came', { kind: 'no_reply_to_trigger', when: 'before' }, false],
    ['was taken', { kind: 'no_reply_to_trigger', when: 'after' }, true],
    ['was taken, and another’s reply came', { kind: 'wrong_transaction', to: 'trigger' }, true],
  ])('says that it does not know of a release that %s', async (_, fault, isTaken) => {
    await cell.add(1, 1, 1, 'AB-1');
    await wire.arm({ number: 1, operation: 'transfer', ...inside(1), to: outside(1) });
    await cell.fault(fault);
    expect(await wire.trigger()).toBe('unknown');
    expect(await wire.observe()).toMatchObject({ latchedNumber: isTaken ? 1 : 0, target: isTaken });
  });

  it('takes no reply to another request for its own', async () => {
    await cell.fault({ kind: 'wrong_transaction', to: 'any' });
    await expect(wire.observe()).rejects.toMatchObject({ kind: 'lost' });
    expect(await wire.observe()).toMatchObject({ latchedNumber: 0 });
  });

  it('starts nothing by a release that arrives when its draft was thrown away', async () => {
    await cell.add(1, 1, 1, 'AB-1');
    await cell.fault({ kind: 'late_trigger', ms: 400 });
    await wire.arm({ number: 1, operation: 'transfer', ...inside(1), to: outside(1) });
    expect(await wire.trigger()).toBe('unknown');
    await wire.disarm({ operation: 'transfer', ...inside(1), to: outside(1) });
    await expect
      .poll(async () => (await cell.world()).triggers, { timeout: 5_000 })
      .toEqual({ taken: 0, refused: 1 });
    expect(await cell.log()).toEqual([]);
  });

  it('keeps number and books without power, not how an interrupted list ended', async () => {
    await cell.add(1, 1, 1, 'AB-1');
    await cell.fault({ kind: 'power_cycle', when: 'during', offMs: 0 });
    expect(await transfer(1, inside(1), outside(1))).not.toBe('refused');
    const view = { latchedNumber: 1, busy: false, done: false, errorCode: 0, carrier: true, source: false };
    await expect.poll(() => wire.observe().catch(() => null), { timeout: 5_000 }).toMatchObject(view);
    await cell.restart();
    await expect.poll(() => wire.observe().catch(() => null), { timeout: 5_000 }).toMatchObject(view);
  });

  it('reads the inventory page by page, as the store believes it', async () => {
    await cell.addAll([
      { cassette: 2, level: 1, slot: 1, barcode: 'C' },
      { cassette: 1, level: 10, slot: 1, barcode: 'B' },
      { cassette: 1, level: 2, slot: 1, barcode: 'A', readable: false },
    ]);
    await cell.putTube(9, 1, 1, 'AT THE HAND-OFF');
    await cell.takeTube({ cassette: 2, level: 1, slot: 1 });
    const first = await wire.inventory(null, 2);
    expect(first).toEqual({
      revision: 3,
      total: 3,
      hasMore: true,
      entries: [
        { cassette: 1, level: 2, slot: 1, barcode: null },
        { cassette: 1, level: 10, slot: 1, barcode: 'B' },
      ],
    });
    const second = await wire.inventory({ cassette: 1, level: 10, slot: 1 }, 2);
    expect(second).toMatchObject({ hasMore: false, entries: [{ cassette: 2, barcode: 'C' }] });
    await cell.screenRemove({ cassette: 1, level: 10, slot: 1 });
    expect((await wire.inventory(null, 500)).revision).toBeGreaterThan(3);
  });
});
