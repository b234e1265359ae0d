import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type BarcodeScheme,
  barcodeOf,
  problemOfBarcode,
  problemOfScheme,
} from '../../domain/barcode-scheme.ts';
import { CHECK_METHODS, type CheckMethod, checkCharacter } from '../../domain/check-digit.ts';

const SCHEME: BarcodeScheme = {
  pattern: '{prefix}-{counter:6}{check}',
  prefix: 'TS',
  check: 'mod37_2',
  isEnforced: true,
  gs1CompanyPrefix: null,
};

describe('a check character', () => {
  // Luhn: the number of ISO/IEC 7812’s Wikipedia example; GS1: an EAN-13; mod 11: ISBN-10s; MOD 37-2: an ISBT 128
  // donation number.
  test.each<[CheckMethod, string, string]>([
    ['mod10', '7992739871', '3'],
    ['gs1', '629104150021', '3'],
    ['gs1', '978030640615', '7'],
    ['mod11', '030640615', '2'],
    ['mod11', '080442957', 'X'],
    ['mod37_2', 'G123498654321', 'H'],
    ['none', '123', ''],
  ])('by %s of %s is %j', (method, text, check) => {
    expect(checkCharacter(text, method)).toBe(check);
  });

  test.each(CHECK_METHODS.filter((method) => method !== 'none'))('by %s shows a mistyped digit', (method) => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^\d{6}$/),
        fc.nat({ max: 5 }),
        fc.integer({ min: 1, max: 9 }),
        (text, at, by) => {
          const other = [...text].with(at, String((Number(text[at]) + by) % 10)).join('');
          expect(checkCharacter(other, method)).not.toBe(checkCharacter(text, method));
        },
      ),
    );
  });
});

describe('a barcode scheme', () => {
  test('makes barcodes that it takes, by every method, and no other', () => {
    fc.assert(
      fc.property(fc.nat({ max: 999_999 }), fc.constantFrom(...CHECK_METHODS), (number, check) => {
        const scheme = {
          ...SCHEME,
          check,
          pattern: `{prefix}-{counter:6}${check === 'none' ? '' : '{check}'}`,
        };
        const barcode = barcodeOf(scheme, number);
        expect(problemOfBarcode(scheme, barcode)).toBeNull();
        expect(problemOfBarcode(scheme, `${barcode}0`)).toMatch(/is not made as/);
        expect(problemOfBarcode(scheme, barcode.slice(1))).toMatch(/is not made as/);
      }),
    );
    expect(barcodeOf(SCHEME, 42)).toMatch(/^TS-000042[0-9A-Z*]$/);
  });

  test('names the check character that would be right', () => {
    const right = barcodeOf(SCHEME, 42);
    const wrong = `${right.slice(0, -1)}${right.endsWith('A') ? 'B' : 'A'}`;
    expect(problemOfBarcode(SCHEME, wrong)).toContain(`and ${right.at(-1)} would be right`);
  });

  test('says when its numbers are used up', () => {
    expect(() => barcodeOf(SCHEME, 1_000_000)).toThrow(/no numbers left/);
  });

  test('takes its text as it is, signs and dollars too', () => {
    const scheme: BarcodeScheme = {
      ...SCHEME,
      pattern: '$&.{prefix}{counter:2}+',
      prefix: '$1(a|b)',
      check: 'none',
    };
    expect(barcodeOf(scheme, 7)).toBe('$&.$1(a|b)07+');
    expect(problemOfBarcode(scheme, '$&.$1(a|b)07+')).toBeNull();
    expect(problemOfBarcode(scheme, '$&x$1(a|b)07+')).toMatch(/is not made as/);
  });

  test.each<[Partial<BarcodeScheme>, string | null]>([
    [{}, null],
    [{ pattern: 'X{check}' }, 'one {counter:N}'],
    [{ pattern: '{counter:2}{counter:2}{check}' }, 'one {counter:N}'],
    [{ pattern: '{counter:99}{check}' }, 'one {counter:N}'],
    [{ pattern: '{check}{counter:2}' }, '{check} at its end'],
    [{ pattern: '{counter:2}' }, 'should end with {check}'],
    [{ pattern: '{counter:2}{check}', check: 'none' }, 'no way to work it out'],
    [{ pattern: '{site}{counter:2}{check}' }, 'nothing else in braces'],
    [{ pattern: ' {counter:2}{check}' }, 'printable ASCII'],
    [{ pattern: 'ä{counter:2}{check}' }, 'printable ASCII'],
    [{ pattern: '{prefix}{prefix}{counter:15}{check}', prefix: 'x'.repeat(40) }, 'printable ASCII'],
  ])('%j', (changes, problem) => {
    const found = problemOfScheme({ ...SCHEME, ...changes });
    if (problem === null) expect(found).toBeNull();
    else expect(found).toContain(problem);
  });
});
