import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DomainError } from '../../domain/errors.ts';
import { cellLabel, cells, type Grid } from '../../domain/grid.ts';
import { parseRackScan } from '../../domain/rack-scan.ts';
import { sharedData } from '../setup/shared-data.ts';

const RACK: Grid = { rows: 8, columns: 12, rowLabels: 'upper', columnLabels: 'number' };

function mistakes(text: string): readonly string[] {
  try {
    parseRackScan(text, RACK);
  } catch (error) {
    if (error instanceof DomainError)
      return error.errors?.map((each) => `${each.pointer}: ${each.detail}`) ?? [];
    throw error;
  }
  return [];
}

describe('a rack scan', () => {
  const real = sharedData('racks/rack-96.csv');
  test.skipIf(real === null)('of 96 real tubes is read', () => {
    const scan = parseRackScan(readFileSync(real ?? '', 'utf8'), RACK);
    expect(scan.positions).toHaveLength(96);
    expect(scan.positions[0]).toMatchObject({
      label: 'A1',
      content: { kind: 'tube', barcode: 'FR03251632' },
    });
    expect(new Set(scan.positions.map((each) => each.label)).size).toBe(96);
  });

  test('may have a byte order mark, CRLF, spaces, quotes, A01, small letters, blank lines', () => {
    const scan = parseRackScan('\uFEFFA01, FR1\r\n\r\n"b2" ,"FR""2"\r\nH12,FR3 \r\n', RACK);
    expect(scan.positions.map((each) => [each.label, each.content])).toEqual([
      ['A1', { kind: 'tube', barcode: 'FR1' }],
      ['B2', { kind: 'tube', barcode: 'FR"2' }],
      ['H12', { kind: 'tube', barcode: 'FR3' }],
    ]);
    expect(scan.rackBarcode).toBeNull();
  });

  test.each([
    ['NO READ', 'unread'],
    ['no read', 'unread'],
    ['NOSCAN', 'unread'],
    ['EMPTY', 'empty'],
    ['', 'empty'],
    ['No Tube', 'empty'],
  ])('%j is no barcode: %s', (word, kind) => {
    expect(parseRackScan(`A1,${word}`, RACK).positions[0]?.content).toEqual({ kind });
  });

  test('of three columns names its rack', () => {
    expect(parseRackScan('RK1,A1,T1\nRK1,A2,EMPTY', RACK)).toMatchObject({ rackBarcode: 'RK1' });
    expect(mistakes('RK1,A1,T1\nRK2,A2,T2')).toEqual([
      'line 2, column 1: names rack RK2, but line 1 names RK1: one file is one rack',
    ]);
  });

  test('names line and column of each mistake', () => {
    expect(mistakes('A1,T1\nA13,T2\nA2, T1\na1,T4\nA3,tübe\nA4\nA5,"T5')).toEqual([
      'line 2, column 1: position “A13” does not exist in the rack, which has rows A–H and columns 1–12',
      'line 3, column 5: barcode T1 is in line 1 already',
      'line 4, column 1: position A1 is in line 1 already',
      'line 5, column 4: “tübe” is no barcode: 1 to 64 printable ASCII characters',
      'line 6, column 1: should have 2 fields, as in the first line, but has 1',
      'line 7, column 4: a quotation mark is opened and not closed',
    ]);
  });

  test.each([
    ['', 'line 1, column 1: there is not one position in it'],
    [
      'A1;T1',
      'line 1, column 1: should have two fields (position,barcode) or three (rack,position,barcode), but has 1',
    ],
    [
      'a,b,c,d',
      'line 1, column 1: should have two fields (position,barcode) or three (rack,position,barcode), but has 4',
    ],
    [' ,T1', 'line 1, column 2: position “” does not exist in the rack, which has rows A–H and columns 1–12'],
    ['rück,A1,T1', 'line 1, column 1: “rück” is no barcode of a rack'],
  ])('%j is refused', (text, mistake) => {
    expect(mistakes(text)).toEqual([mistake]);
  });

  test('of any text is read or refused, never anything else', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        try {
          parseRackScan(text, RACK);
        } catch (error) {
          expect(error).toBeInstanceOf(DomainError);
        }
      }),
    );
  });

  test('is read in any order of its lines', () => {
    const lines = cells(RACK).map((cell, index) => `${cellLabel(cell, RACK)},T${index}`);
    fc.assert(
      fc.property(fc.shuffledSubarray(lines, { minLength: 1 }), (some) => {
        const scan = parseRackScan(some.join('\n'), RACK);
        expect(
          scan.positions.map(
            (each) => `${each.label},${each.content.kind === 'tube' && each.content.barcode}`,
          ),
        ).toEqual(some);
      }),
      { numRuns: 30 },
    );
  });
});
