import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { convert, isNothing, QUANTITY_UNITS, shortest, subtract } from '../../domain/quantity.ts';

const decimal = fc
  .tuple(fc.bigInt({ min: 0n, max: 10n ** 9n }), fc.integer({ min: 0, max: 999 }))
  .map(([whole, part]) => `${whole}.${String(part).padStart(3, '0')}`);

describe('quantities', () => {
  test.each([
    ['1', 'ml', 'ul', '1000'],
    ['0.5', 'ml', 'ul', '500'],
    ['50', 'ul', 'ml', '0.05'],
    ['12.50', 'ul', 'ul', '12.5'],
    ['3', 'ng', 'mg', '0.000003'],
    ['2', 'g', 'ng', '2000000000'],
    ['7', 'pieces', 'pieces', '7'],
  ] as const)('%s %s are %s: %s', (amount, unit, into, expected) => {
    expect(convert({ amount, unit }, into)).toBe(expected);
  });

  test.each([
    ['1', 'ml', 'mg', /a volume; this sample is measured in mg/],
    ['1', 'pg', 'g', /cannot be written in g with 9 decimals/],
    ['-1', 'ml', 'ml', /no amount/],
    ['1e3', 'ml', 'ml', /no amount/],
    ['1,5', 'ml', 'ml', /no amount/],
    ['', 'ml', 'ml', /no amount/],
    ['0.0000000001', 'ml', 'ml', /no amount/],
    ['999999999999999', 'g', 'pg', /more than 15 digits/],
  ] as const)('%s %s into %s is refused', (amount, unit, into, detail) => {
    expect(() => convert({ amount, unit }, into)).toThrow(detail);
  });

  test('are exact: what a float would lose stays', () => {
    expect(subtract('0.3', '0.1')).toBe('0.2');
    expect(subtract('1', '0.000000001')).toBe('0.999999999');
    expect(isNothing(subtract('0.300', '0.3') ?? '1')).toBe(true);
    expect(subtract('0.1', '0.100000001')).toBeNull();
  });

  test('there and back is the same, for every pair of units of one kind', () => {
    fc.assert(
      fc.property(decimal, fc.constantFrom(...QUANTITY_UNITS), (amount, unit) => {
        for (const [small, large] of [
          ['ul', 'ml'],
          ['nl', 'ul'],
          ['ng', 'ug'],
        ] as const) {
          expect(convert({ amount: convert({ amount, unit: large }, small), unit: small }, large)).toBe(
            shortest(amount),
          );
        }
        expect(convert({ amount, unit }, unit)).toBe(shortest(amount));
      }),
    );
  });

  test('what is taken and what is left are together what there was', () => {
    fc.assert(
      fc.property(decimal, decimal, (one, other) => {
        const left = subtract(one, other);
        if (left === null) expect(Number(one)).toBeLessThan(Number(other));
        else expect(subtract(one, left)).toBe(shortest(other));
      }),
    );
  });
});
