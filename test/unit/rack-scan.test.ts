import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DomainError } from '../../domain/errors.ts';
import { cellLabel, cells, type Grid } from '../../domain/grid.ts';
import { parseRackScan, type RackScan, readListedScan, turned } from '../../domain/rack-scan.ts';
import { scanText } from '../../domain/scan-text.ts';
import { PRESET_PROFILES, type ScannerProfile, TWO_COLUMNS } from '../../domain/scanner-profile.ts';
import { sharedData } from '../setup/shared-data.ts';

const RACK: Grid = { rows: 8, columns: 12, rowLabels: 'upper', columnLabels: 'number' };

function preset(code: string): ScannerProfile {
  const found = PRESET_PROFILES.find((each) => each.code === code);
  if (!found) throw new Error(`no profile ${code}`);
  return found.profile;
}

function parse(text: string, profile: ScannerProfile = TWO_COLUMNS, grid = RACK): RackScan {
  return parseRackScan(text, profile, grid);
}

/** Label and what was read, a barcode as it is. */
function contents(scan: RackScan, grid = RACK): (readonly [string, string])[] {
  return scan.positions.map(({ cell, content }) => [
    cellLabel(cell, grid),
    content.kind === 'tube' ? content.barcode : content.kind,
  ]);
}

function mistakes(text: string, profile: ScannerProfile = TWO_COLUMNS): readonly string[] {
  try {
    parse(text, profile);
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
    const scan = parse(readFileSync(real ?? '', 'utf8'));
    expect(scan.positions).toHaveLength(96);
    expect(contents(scan)[0]).toEqual(['A1', 'FR03251632']);
    expect(new Set(contents(scan).map(([label]) => label)).size).toBe(96);
  });

  test('may have a byte order mark, CRLF, spaces, quotes, A01, small letters, blank lines', () => {
    const scan = parse('\uFEFFA01, FR1\r\n\r\n"b2" ,"FR""2"\r\nH12,FR3 \r\n');
    expect(contents(scan)).toEqual([
      ['A1', 'FR1'],
      ['B2', 'FR"2'],
      ['H12', 'FR3'],
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
    expect(contents(parse(`A1,${word}`))).toEqual([['A1', kind]]);
  });

  test('names line and column of each mistake', () => {
    expect(mistakes('A1,T1\nA1000,T2\na1,T4\nA3,tübe\nA4\nA5,"T5')).toEqual([
      'line 2, column 1: position “A1000” does not exist in the rack, which has rows A–H and columns 1–12',
      'line 3, column 1: position A1 is in line 1 already',
      'line 4, column 4: “tübe” is no barcode: 1 to 64 printable ASCII characters',
      'line 5, column 1: should have 2 fields, but has 1',
      'line 6, column 4: a quotation mark is opened and not closed',
    ]);
  });

  test.each([
    ['', 'line 1, column 1: there is not one position in it'],
    [
      'A1;T1',
      'line 1, column 1: should have 2 fields, but has 1: it is separated by semicolons, the profile expects commas',
    ],
    ['a,b,c,d', 'line 1, column 1: should have 2 fields, but has 4'],
    [' ,T1', 'line 1, column 2: position “” does not exist in the rack, which has rows A–H and columns 1–12'],
    [
      'A1,T1\nA\u00002,T',
      'line 2, column 2: there is a null character: the file is UTF-16; send its bytes as fileBase64 with a profile that says so, or save it as UTF-8',
    ],
    [
      'A1,T\uFFFD',
      'line 1, column 5: there is a character that was not UTF-8: send the file’s bytes as fileBase64 with a profile that says Latin-1, or save it as UTF-8',
    ],
  ])('%j is refused', (text, mistake) => {
    expect(mistakes(text)).toEqual([mistake]);
  });

  test('keeps a barcode that is listed twice, and positions outside the box: the diff tells of them', () => {
    expect(contents(parse('A1,T1\nB1,T1\nP24,T2'))).toEqual([
      ['A1', 'T1'],
      ['B1', 'T1'],
      ['P24', 'T2'],
    ]);
  });

  test('reads positions as the box calls them, and bare numbers by rows or columns', () => {
    const roman: Grid = { rows: 9, columns: 9, rowLabels: 'roman_upper', columnLabels: 'number' };
    expect(contents(parse('IV3,T1\n10,T2\nB2,T3', TWO_COLUMNS, roman), roman)).toEqual([
      ['IV3', 'T1'],
      ['II1', 'T2'],
      ['II2', 'T3'],
    ]);
    const columns: ScannerProfile = { ...TWO_COLUMNS, order: 'columns' };
    expect(contents(parse('9,T1', columns))).toEqual([['A2', 'T1']]);
  });

  test('of any text is read or refused, by any profile, never anything else', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 200 }),
        fc.constantFrom(...PRESET_PROFILES.map((each) => each.profile)),
        (text, profile) => {
          try {
            parse(text, profile);
          } catch (error) {
            expect(error).toBeInstanceOf(DomainError);
          }
        },
      ),
    );
  });

  test('is read in any order of its lines', () => {
    const lines = cells(RACK).map((cell, index) => `${cellLabel(cell, RACK)},T${index}`);
    fc.assert(
      fc.property(fc.shuffledSubarray(lines, { minLength: 1 }), (some) => {
        expect(contents(parse(some.join('\n'))).map((each) => each.join(','))).toEqual(some);
      }),
      { numRuns: 30 },
    );
  });

  test('turned twice is as it was', () => {
    const scan = parse('A1,T1\nC5,T2');
    expect(contents({ ...scan, positions: turned(scan.positions, RACK) })).toEqual([
      ['H12', 'T1'],
      ['F8', 'T2'],
    ]);
    expect(turned(turned(scan.positions, RACK), RACK)).toEqual(scan.positions);
  });

  test('may be a list', () => {
    const listed = [
      { position: 'A1', barcode: 'T1' },
      { position: 'A02', read: 'empty' as const },
      { position: 'A3', read: 'unread' as const },
    ];
    expect(contents(readListedScan(listed, TWO_COLUMNS, RACK))).toEqual([
      ['A1', 'T1'],
      ['A2', 'empty'],
      ['A3', 'unread'],
    ]);
    expect(() =>
      readListedScan(
        [
          { position: 'A1', barcode: 'T1' },
          { position: 'a1', barcode: 'ü' },
        ],
        TWO_COLUMNS,
        RACK,
      ),
    ).toThrow('/positions/1/position: position A1 is in /positions/0/position already');
  });
});

describe('every source of the reference has a profile that reads it:', () => {
  const line = (order: 'rows' | 'columns', values: Record<string, string>) =>
    Array.from({ length: 96 }, (_, index) => {
      const cell =
        order === 'columns'
          ? { row: index % 8, column: Math.floor(index / 8) }
          : { row: Math.floor(index / 12), column: index % 12 };
      return values[cellLabel(cell, RACK)] ?? 'No Tube';
    });

  test('VisionMate, by columns with a trailing delimiter and suffix', () => {
    const text = `${line('columns', { A1: 'T1', B1: 'T2', A2: 'No Read' }).join(',')},\u0003`;
    const scan = parse(text, preset('visionmate'));
    expect(scan.size).toEqual({ rows: 8, columns: 12 });
    expect(contents(scan).filter(([, content]) => content !== 'empty')).toEqual([
      ['A1', 'T1'],
      ['B1', 'T2'],
      ['A2', 'unread'],
    ]);
  });

  test('VisionMate, set to rows and without a suffix', () => {
    const profile: ScannerProfile = { ...preset('visionmate'), order: 'rows', suffix: '' };
    const scan = parse(`${line('rows', { A1: 'T1', A2: 'T2', H12: 'T3' }).join(',')},`, profile);
    expect(contents(scan).filter(([, content]) => content !== 'empty')).toEqual([
      ['A1', 'T1'],
      ['A2', 'T2'],
      ['H12', 'T3'],
    ]);
  });

  test('VisionMate, half a line is refused', () => {
    expect(mistakes(`${line('columns', {}).slice(0, 40).join(',')},`, preset('visionmate'))).toEqual([
      'line 1, column 313: the line should have 96 barcodes, for 8 rows and 12 columns, but has 40',
    ]);
    expect(mistakes('T1,T2,\nT3', preset('visionmate'))).toEqual([
      'line 2, column 1: a second line begins: one scan is one line of barcodes',
    ]);
  });

  test('two columns, by rows, by columns, with A01, with a space after the comma, with and without a mark', () => {
    for (const text of ['A1,T1\nA2,T2', 'A01,T1\nB01,T2', '\uFEFFA1, T1\nA2, T2']) {
      expect(contents(parse(text, preset('two_columns'))).map(([, barcode]) => barcode)).toEqual([
        'T1',
        'T2',
      ]);
    }
  });

  test('three columns, all of one rack', () => {
    const profile = preset('three_columns');
    expect(parse('FX1,A1,T1\nFX1,A2,NO READ', profile)).toMatchObject({ rackBarcode: 'FX1' });
    expect(mistakes('RK1,A1,T1\nRK2,A2,T2', profile)).toEqual([
      'line 2, column 1: names rack RK2, but line 1 names RK1: one file is one rack',
    ]);
    expect(mistakes('rück,A1,T1', profile)).toEqual(['line 1, column 1: “rück” is no barcode of a rack']);
  });

  test('DP5, as JSON with a status each', () => {
    const text = JSON.stringify({
      tubeBarcode: [
        { barcode: 'T1', decodeStatus: 'DECODED', y: 10, x: 12, row: 'A', column: 1 },
        { barcode: '', decodeStatus: 'NO READ', y: 10, x: 20, row: 'A', column: 2 },
        { barcode: '', decodeStatus: 'EMPTY', y: 10, x: 20, row: 2, column: 1 },
      ],
    });
    expect(contents(parse(text, preset('dp5_mirage')))).toEqual([
      ['A1', 'T1'],
      ['A2', 'unread'],
      ['B1', 'empty'],
    ]);
    expect(mistakes('{"a":1}', preset('dp5_mirage'))[0]).toContain('a list tubeBarcode');
    expect(mistakes('A1,T1', preset('dp5_mirage'))[0]).toContain('this is no JSON');
    expect(mistakes('{"tubeBarcode":[{"row":0,"column":0}]}', preset('dp5_mirage'))[0]).toContain(
      '“0,0” does not exist',
    );
  });

  test('EasyBlood, by the names of its header', () => {
    const header = 'RackID,TPositionID,CP Short Title,TTubeBC,EB Code';
    const scan = parse(`${header}\nRK9,A01,Study,T1,EB1\nRK9,A02,Study,T2,EB2`, preset('easyblood'));
    expect(scan).toMatchObject({ rackBarcode: 'RK9', listsEmpty: false });
    expect(contents(scan)).toEqual([
      ['A1', 'T1'],
      ['A2', 'T2'],
    ]);
    expect(mistakes(`Rack,,,\n${header}\nRK9,A01,S,T1,E`, preset('easyblood'))[0]).toBe(
      'line 1, column 1: the header should name the column “RackID” once, but it has “Rack”, “”, “”, “”: merged cells and titles above it have to go',
    );
  });

  test('Ziath DataPaq with a header, XL20 with three columns', () => {
    expect(contents(parse('Position,Barcode\nA01,T1', preset('ziath_datapaq')))).toEqual([['A1', 'T1']]);
    expect(contents(parse('RK1,A01,T1', preset('biomicrolab_xl20')))).toEqual([['A1', 'T1']]);
  });

  test('semicolons, tabs, spaces that count, a mark that may not be there', () => {
    expect(contents(parse('A1;T1;', { ...TWO_COLUMNS, delimiter: ';', trailingDelimiter: true }))).toEqual([
      ['A1', 'T1'],
    ]);
    expect(contents(parse('A1\tT1', { ...TWO_COLUMNS, delimiter: '\t' }))).toEqual([['A1', 'T1']]);
    expect(mistakes('A1, T1', { ...TWO_COLUMNS, trim: false })[0]).toContain('“ T1” is no barcode');
    expect(mistakes('\uFEFFA1,T1', { ...TWO_COLUMNS, byteOrderMark: false })[0]).toContain('byte order mark');
  });
});

describe('the bytes of a file', () => {
  const utf16 = (text: string) => new Uint8Array(Buffer.from(text, 'utf16le'));
  test('are text by their mark, or by the profile', () => {
    expect(scanText(utf16('\uFEFFA1,T1'), 'utf-8', 'the file')).toBe('\uFEFFA1,T1');
    expect(scanText(new Uint8Array(Buffer.from('A1,Tü', 'latin1')), 'latin1', 'the file')).toBe('A1,Tü');
    expect(scanText(utf16('A1'), 'utf-16le', 'the file')).toBe('A1');
    expect(scanText(new Uint8Array([0xfe, 0xff, 0, 65]), 'utf-8', 'the file')).toBe('\uFEFFA');
  });
  test('of another encoding are refused by line and column', () => {
    expect(() =>
      scanText(new Uint8Array(Buffer.from('A1,T1\nA2,Tü', 'latin1')), 'utf-8', 'the file'),
    ).toThrow(/the file, line 2, column 5: there is a byte that is not UTF-8: it looks like Latin-1/);
    expect(() => scanText(new Uint8Array([65, 0, 66]), 'utf-16le', 'the file')).toThrow(/not UTF-16/);
  });
});
