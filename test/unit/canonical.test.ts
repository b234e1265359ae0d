import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalBytes, canonicalJson, type JsonValue } from '../../domain/canonical.ts';
import { sharedData } from '../setup/shared-data.ts';

const vectors = sharedData('ledger/jcs/testdata');

describe.skipIf(vectors === null)(
  `RFC 8785 vectors${vectors === null ? ' (skipped: ../shared/data/ledger is absent)' : ''}`,
  () => {
    for (const file of vectors === null ? [] : readdirSync(join(vectors, 'input'))) {
      const read = (folder: string, name: string) => readFileSync(join(vectors ?? '', folder, name));

      it(`${file}: the canonicaliser writes the expected bytes`, () => {
        const input: unknown = JSON.parse(read('input', file).toString('utf8'));
        const hex = read('outhex', file.replace('.json', '.txt')).toString('utf8').replaceAll(/\s/g, '');
        expect(Buffer.from(canonicalize(input) ?? '', 'utf8').toString('hex')).toBe(hex);
      });

      it(`${file}: ours writes the same bytes, or refuses numbers that are not integers`, () => {
        const input = JSON.parse(read('input', file).toString('utf8'));
        if (numbersIn(input).some((number) => !Number.isSafeInteger(number))) {
          expect(() => canonicalBytes(input)).toThrow(/numbers are integers/);
        } else {
          expect(canonicalBytes(input).equals(read('output', file))).toBe(true);
        }
      });
    }
  },
);

function numbersIn(value: unknown): number[] {
  if (typeof value === 'number') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(numbersIn) : [];
}

describe('canonical JSON refuses what would be changed in silence', () => {
  const hole: unknown[] = [1, 2];
  delete hole[0];
  const cycle: Record<string, unknown> = {};
  cycle.itself = cycle;
  const cases: [string, unknown, RegExp][] = [
    ['undefined', undefined, /^the value is undefined/],
    ['an undefined member', { a: { b: undefined } }, /^\/a\/b is undefined/],
    ['a hole in an array', hole, /^\/0 is undefined/],
    ['NaN', { a: Number.NaN }, /^\/a is NaN/],
    ['Infinity', [Number.POSITIVE_INFINITY], /^\/0 is Infinity/],
    ['a fraction', { mass: 0.5 }, /^\/mass is 0.5/],
    ['an integer beyond 2^53 − 1', { n: 2 ** 53 }, /^\/n is 9007199254740992/],
    ['an integer below −(2^53 − 1)', { n: -(2 ** 53) }, /^\/n is -9007199254740992/],
    ['a bigint', { n: 1n }, /^\/n is a bigint/],
    ['a function', { f: () => 1 }, /^\/f is a function/],
    ['a symbol', { s: Symbol('s') }, /^\/s is a symbol/],
    ['a date', { at: new Date(0) }, /^\/at is a Date, not a plain object/],
    ['a map', new Map(), /^the value is a Map/],
    ['a lone surrogate', { text: '\ud800' }, /^\/text holds a lone surrogate/],
    ['a lone surrogate in a key', { '\udc00': 1 }, /^the value has a key with a lone surrogate/],
    ['a cycle', cycle, /nested more than 64 deep/],
    ['a key that needs escaping in a pointer', { 'a/b~c': undefined }, /^\/a~1b~0c is undefined/],
  ];
  for (const [what, value, message] of cases) {
    it(what, () => {
      expect(() => canonicalJson(value as JsonValue)).toThrow(message);
    });
  }

  it('takes what JSON has: a pair of surrogates, null, nested values, the largest integers', () => {
    const value = { b: [null, true, { z: -(2 ** 53 - 1), a: 2 ** 53 - 1 }], a: '😀\u0000"' };
    expect(canonicalJson(value)).toBe(
      '{"a":"😀\\u0000\\"","b":[null,true,{"a":9007199254740991,"z":-9007199254740991}]}',
    );
  });

  it('property: reads back as the same value, whatever the order of keys', () => {
    const json = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.constant(null),
        fc.boolean(),
        fc.maxSafeInteger(),
        fc.string({ unit: 'grapheme' }),
        fc.array(tie('value')),
        fc.dictionary(fc.string(), tie('value')),
      ),
    })).value;
    fc.assert(
      fc.property(json, (value) => {
        const text = canonicalJson(value as JsonValue);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
    );
  });
});
