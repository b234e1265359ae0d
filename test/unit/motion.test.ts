import { describe, expect, test } from 'vitest';
import {
  classifyLabel,
  classifyPick,
  classifyPlace,
  classifyScan,
  classifyTransfer,
  describeOutcome,
  describeSensors,
  type SensorReport,
} from '../../domain/motion.ts';

const report = (
  carrier: boolean | null,
  source: boolean | null,
  target: boolean | null,
  state: SensorReport['state'] = 'FAILED',
): SensorReport => ({ state, carrier, source, target });

describe('the sensors after a pick', () => {
  test.each([
    [true, false, 'picked'],
    [false, true, 'not_picked'],
    [false, false, 'unknown'],
    [true, true, 'unknown'],
    [null, true, 'unknown'],
    [true, null, 'unknown'],
    [null, null, 'unknown'],
  ] as const)('carrier %s, source %s: %s', (carrier, source, verdict) => {
    expect(classifyPick(report(carrier, source, null))).toBe(verdict);
    // the controller's word does not change what the sensors say
    expect(classifyPick(report(carrier, source, null, 'DONE'))).toBe(verdict);
  });

  test('are not believed when the outcome is unknown', () => {
    expect(classifyPick(report(true, false, false, 'UNKNOWN'))).toBe('unknown');
  });
});

describe('the sensors after a place', () => {
  test.each([
    [false, true, 'placed'],
    [true, false, 'still_held'],
    [false, false, 'unknown'],
    [true, true, 'unknown'],
    [null, true, 'unknown'],
    [false, null, 'unknown'],
  ] as const)('carrier %s, target %s: %s', (carrier, target, verdict) => {
    expect(classifyPlace(report(carrier, null, target))).toBe(verdict);
    expect(classifyPlace(report(carrier, null, target, 'DONE'))).toBe(verdict);
  });

  test('are not believed when the outcome is unknown', () => {
    expect(classifyPlace(report(false, false, true, 'UNKNOWN'))).toBe('unknown');
  });
});

describe('the sensors after a transfer', () => {
  const SEEN = [true, false, null] as const;
  const rows = SEEN.flatMap((carrier) =>
    SEEN.flatMap((source) => SEEN.map((target) => [carrier, source, target] as const)),
  );
  test.each(rows)('carrier %s, source %s, target %s', (carrier, source, target) => {
    const isPlaced = carrier === false && source === false && target === true;
    const isNotMoved = carrier === false && source === true && target === false;
    const verdict = isPlaced ? 'placed' : isNotMoved ? 'not_moved' : 'unknown';
    expect(classifyTransfer(report(carrier, source, target))).toBe(verdict);
    expect(classifyTransfer(report(carrier, source, target, 'DONE'))).toBe(verdict);
    expect(classifyTransfer(report(carrier, source, target, 'UNKNOWN'))).toBe('unknown');
  });
});

test.each([
  [true, 'matches'],
  [false, 'mismatch'],
  [null, 'unread'],
] as const)('a label read on the way: matches %s is %s', (barcodeMatches, verdict) => {
  expect(classifyLabel({ barcodeMatches })).toBe(verdict);
});

describe('a scan in the carrier', () => {
  test.each([
    [true, true, 'matches'],
    [true, false, 'mismatch'],
    [true, null, 'unread'],
    [null, null, 'unread'],
    [false, true, 'unknown'],
    [false, null, 'unknown'],
  ] as const)('carrier %s, matches %s: %s', (carrier, barcodeMatches, verdict) => {
    expect(classifyScan({ ...report(carrier, null, null), barcodeMatches })).toBe(verdict);
  });
});

test('what became of a motion is told as it is known: the command, then what the sensors see', () => {
  const outcome = {
    ...report(true, true, null),
    detail: 'the command was not sent: the carrier holds a tube already',
  };
  expect(describeOutcome(outcome)).toBe(
    'the command was not sent: the carrier holds a tube already. The sensors: carrier full, source full, target not seen.',
  );
  expect(describeOutcome({ ...outcome, detail: 'The gateway reported nothing.' })).toMatch(
    /^The gateway reported nothing\. The/,
  );
});

test('sensors are described for the operator', () => {
  expect(describeSensors(report(true, false, null))).toBe('carrier full, source empty, target not seen');
});
