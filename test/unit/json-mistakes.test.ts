import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findJsonMistake } from '../../api/malformed.ts';

describe('the place at which a text stops being JSON', () => {
  test.each([
    ['', 1, 1, 'a value'],
    ['{', 1, 2, 'a name in double quotes'],
    ['{"a":1,}', 1, 8, 'a name in double quotes'],
    ['{"a" 1}', 1, 6, 'a colon'],
    ['{"a":1 "b":2}', 1, 8, 'a comma or }'],
    ['[1 2]', 1, 4, 'a comma or ]'],
    ['{\n  "a": tru\n}', 2, 8, 'a value'],
    ['{\n  "a": 1\n} x', 3, 3, 'nothing more'],
    ['"abc', 1, 5, 'the closing quote'],
    ['"a\\x"', 1, 3, 'an escape'],
    ['"a\nb"', 1, 3, 'no control character'],
    ['01', 1, 1, 'a value'],
    ["{'a': 1}", 1, 2, 'a name in double quotes'],
    [`${'['.repeat(300)}`, 1, 202, 'levels of nesting'],
  ])('%j', (text, line, column, expected) => {
    const mistake = findJsonMistake(text);
    expect(mistake).toMatchObject({ line, column });
    expect(mistake?.expected).toContain(expected);
  });

  test('whatever JSON.parse takes has none, whatever it refuses has one', () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 4 }),
        fc.nat(),
        fc.string({ maxLength: 2 }),
        (value, at, noise) => {
          const whole = JSON.stringify(value);
          const cut = at % (whole.length + 1);
          for (const text of [whole, whole.slice(0, cut), whole.slice(0, cut) + noise + whole.slice(cut)]) {
            let parses = true;
            try {
              JSON.parse(text);
            } catch {
              parses = false;
            }
            expect(findJsonMistake(text) === null).toBe(parses);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
