import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ControllerView,
  interlockRefusal,
  judgeSent,
  type RobotOperation,
  readingOf,
} from '../../domain/controller.ts';

const IDLE: ControllerView = {
  mode: 'auto',
  latchedNumber: 6,
  busy: false,
  done: true,
  errorCode: 0,
  carrier: false,
  source: true,
  target: false,
  barcode: 'B',
  doorOpen: false,
  unitAlarm: false,
  lockedOut: null,
};
const view = fc.record({
  mode: fc.constantFrom('auto' as const, 'manual' as const, 'estop' as const),
  latchedNumber: fc.integer({ min: 0, max: 9 }),
  busy: fc.boolean(),
  done: fc.boolean(),
  errorCode: fc.integer({ min: 0, max: 6 }),
  carrier: fc.boolean(),
  source: fc.boolean(),
  target: fc.boolean(),
  barcode: fc.string(),
  doorOpen: fc.constantFrom(true, false, null),
  unitAlarm: fc.constantFrom(true, false, null),
  lockedOut: fc.constantFrom(true, false, null),
});

describe('the interlock', () => {
  it.each([
    ['pick', {}, null],
    ['pick', { carrier: true }, 'the carrier holds a tube already'],
    ['pick', { source: false }, 'no tube stands at the source'],
    ['place', { carrier: true }, null],
    ['place', {}, 'the carrier holds no tube'],
    ['place', { carrier: true, target: true }, 'a tube stands at the target already'],
    ['scan', { carrier: true }, null],
    ['scan', {}, 'the carrier holds no tube to scan'],
    ['transfer', {}, null],
    ['transfer', { carrier: true }, 'the carrier holds a tube already'],
    ['transfer', { source: false }, 'no tube stands at the source'],
    ['transfer', { target: true }, 'a tube stands at the target already'],
    ['pick', { mode: 'manual' }, 'the controller is in mode manual, not auto'],
    ['pick', { doorOpen: true }, 'a door is open'],
    ['pick', { unitAlarm: true }, 'the store is in alarm'],
    ['pick', { lockedOut: true }, 'the robot is locked out'],
    ['pick', { busy: true }, 'the controller is busy with command 6'],
    ['pick', { latchedNumber: 7 }, 'the controller has already taken command 7, so number 7 is too low'],
  ] as const)('%s with %j: %s', (operation, change, refusal) => {
    expect(interlockRefusal(operation, 7, { ...IDLE, ...change })).toBe(refusal);
  });

  it('lets nothing move that could hit a tube, or is told from outside auto', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('pick' as const, 'place' as const, 'scan' as const, 'transfer' as const),
        view,
        (operation, seen) => {
          if (interlockRefusal(operation, 7, seen) !== null) return;
          expect(seen.mode).toBe('auto');
          expect(seen.doorOpen).not.toBe(true);
          expect(seen.unitAlarm).not.toBe(true);
          expect(seen.lockedOut).not.toBe(true);
          expect(seen.busy).toBe(false);
          expect(seen.latchedNumber).toBeLessThan(7);
          expect(seen.carrier).toBe(operation === 'place' || operation === 'scan');
          if (operation === 'place' || operation === 'transfer') expect(seen.target).toBe(false);
        },
      ),
    );
  });
});

describe('judging a command that was sent', () => {
  it.each([
    [{ latchedNumber: 7, busy: true, done: false }, 6, 'moving'],
    [{ latchedNumber: 7 }, 6, 'done'],
    [{ latchedNumber: 7, done: false, errorCode: 5 }, 6, 'failed'],
    [{ latchedNumber: 7, done: true, errorCode: 5 }, 6, 'failed'],
    [{ latchedNumber: 7, done: false }, 6, 'unknown'],
    [{}, 6, 'not_taken'],
    [{ busy: true }, 6, 'unknown'],
    [{}, 5, 'unknown'],
    [{ latchedNumber: 0 }, 0, 'unknown'],
    [{ latchedNumber: 0 }, 6, 'unknown'],
    [{}, null, 'unknown'],
  ] as const)('%j after %s: %s', (change, before, kind) => {
    expect(judgeSent(7, before, { ...IDLE, ...change }).kind).toBe(kind);
  });

  it('says "not taken" only of an idle controller that keeps its number', () => {
    fc.assert(
      fc.property(view, fc.option(fc.integer({ min: 0, max: 9 })), (seen, before) => {
        if (judgeSent(7, before, seen).kind !== 'not_taken') return;
        expect(seen.busy).toBe(false);
        expect(before).toBeGreaterThan(0);
        expect(seen.latchedNumber).toBe(before);
        expect(seen.latchedNumber).not.toBe(7);
      }),
    );
  });
});

describe('what is written of a motion', () => {
  it('holds the sensors that belong to the operation', () => {
    const command = (operation: RobotOperation) => ({ number: 6, operation });
    expect(readingOf(command('pick'), IDLE, 'x')).toEqual({
      errorCode: 0,
      carrier: false,
      source: true,
      target: null,
      barcode: null,
      stop: null,
      detail: 'x',
    });
    expect(readingOf(command('place'), IDLE, 'x')).toMatchObject({
      source: null,
      target: false,
      barcode: null,
    });
    expect(readingOf(command('scan'), IDLE, 'x')).toMatchObject({ source: null, target: null, barcode: 'B' });
    expect(readingOf(command('scan'), { ...IDLE, done: false }, 'x').barcode).toBeNull();
    expect(readingOf(command('transfer'), { ...IDLE, done: false }, 'x')).toMatchObject({
      source: true,
      target: false,
      barcode: 'B',
    });
    expect(readingOf(command('transfer'), { ...IDLE, barcode: '' }, 'x').barcode).toBeNull();
    expect(readingOf(command('scan'), null, 'x')).toEqual({
      errorCode: null,
      carrier: null,
      source: null,
      target: null,
      barcode: null,
      stop: null,
      detail: 'x',
    });
  });

  it.each(['scan', 'transfer'] as const)(
    'gives no %s that was not taken the label of the one before',
    (operation) => {
      expect(
        readingOf({ number: 7, operation }, IDLE, 'the command was not sent: a door is open').barcode,
      ).toBeNull();
    },
  );
});
