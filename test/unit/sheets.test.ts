import fc from 'fast-check';
import { strToU8, zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { readCsv } from '../../api/sheets/csv.ts';
import { columnName } from '../../api/sheets/sheet.ts';
import { csvCell, writeCsv, writeXlsx } from '../../api/sheets/write.ts';
import { readXlsx } from '../../api/sheets/xlsx.ts';

async function* chunks(bytes: Uint8Array, size = 7): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
async function* each<T>(rows: readonly T[]): AsyncGenerator<T> {
  yield* rows;
}
async function collect<T>(from: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of from) all.push(one);
  return all;
}
const csv = (bytes: Uint8Array, encoding: 'latin1' | null = null) =>
  collect(readCsv(chunks(bytes), encoding));
const cellsOf = async (bytes: Uint8Array) => (await csv(bytes)).map(({ cells }) => cells);
const utf8 = (text: string) => new TextEncoder().encode(text);
const ROWS = [
  ['barcode', 'name'],
  ['T-1', 'Müller, "A"'],
];

describe('CSV is read', () => {
  test.each([
    ['commas', utf8('barcode,name\nT-1,"Müller, ""A"""\n')],
    ['semicolons and CRLF', utf8('barcode;name\r\nT-1;"Müller, ""A"""\r\n')],
    ['tabs', utf8('barcode\tname\nT-1\t"Müller, ""A"""')],
    ['a byte order mark', utf8('\uFEFFbarcode,name\nT-1,"Müller, ""A"""\n')],
    ['UTF-16', new Uint8Array(Buffer.from('\uFEFFbarcode;name\r\nT-1;"Müller, ""A"""\r\n', 'utf16le'))],
    ['empty lines', utf8('\nbarcode,name\n\nT-1,"Müller, ""A"""\n\n')],
  ])('with %s', async (_, bytes) => {
    expect(await cellsOf(bytes)).toEqual(ROWS);
  });

  test('with the lines as people count them, over quoted line breaks', async () => {
    expect(await csv(utf8('a,b\n1,"two\nlines"\n3,4\n'))).toEqual([
      { line: 1, cells: ['a', 'b'] },
      { line: 3, cells: ['1', 'two\nlines'] },
      { line: 4, cells: ['3', '4'] },
    ]);
  });

  test('as Latin-1 when told so, and otherwise refused with the line', async () => {
    const bytes = new Uint8Array(Buffer.from('barcode;name\nT-1;x\nT-2;Müller\n', 'latin1'));
    await expect(csv(bytes)).rejects.toThrow(/Line 3 .* Latin-1 .*encoding=latin1/);
    expect((await csv(bytes, 'latin1'))[2]?.cells).toEqual(['T-2', 'Müller']);
  });

  test.each([
    ['a quotation mark that is not closed', utf8('a,b\n1,"x\n'), /Line \d+ .*quotation mark/],
    ['one in the middle', utf8('a,b\n1,x"y\n'), /Line 2 .*quotation mark/],
    ['UTF-16 without a mark', new Uint8Array(Buffer.from('a,b', 'utf16le')), /UTF-16 without/],
  ])('not with %s', async (_, bytes, detail) => {
    await expect(csv(bytes)).rejects.toThrow(detail);
  });
});

describe('a workbook', () => {
  const SHEET = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"';
  const workbook = (sheet: string, shared = '') =>
    zipSync({
      'xl/workbook.xml': strToU8(
        `<workbook ${SHEET} xmlns:r="r"><sheets><sheet name="Tubes" sheetId="1" r:id="rId1"/></sheets></workbook>`,
      ),
      'xl/_rels/workbook.xml.rels': strToU8(
        '<Relationships><Relationship Id="rId1" Target="worksheets/sheet1.xml"/></Relationships>',
      ),
      'xl/sharedStrings.xml': strToU8(`<sst ${SHEET}>${shared}</sst>`),
      'xl/worksheets/sheet1.xml': strToU8(`<worksheet ${SHEET}>${sheet}</worksheet>`),
    });

  test('is read with shared and rich text, gaps and numbers', () => {
    const sheet =
      '<sheetData><row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c></row><row r="2"/>' +
      '<row r="4"><c r="A4"><v>12.5</v></c><c r="B4" t="inlineStr"><is><t>x &amp; y</t></is></c></row></sheetData>';
    const shared =
      '<si><t>barcode</t></si><si><r><t>two </t></r><r><t>parts</t></r><rPh><t>no</t></rPh></si>';
    expect(readXlsx(workbook(sheet, shared))).toEqual([
      { line: 1, cells: ['barcode', '', 'two parts'] },
      { line: 4, cells: ['12.5', 'x & y'] },
    ]);
  });

  test.each([
    [
      'a formula',
      '<sheetData><row r="2"><c r="B2"><f>A1+1</f><v>2</v></c></row></sheetData>',
      /Cell B2 of sheet Tubes holds a formula/,
    ],
    [
      'merged headings',
      '<sheetData/><mergeCells><mergeCell ref="A1:C1"/></mergeCells>',
      /A1:C1 of sheet Tubes are merged/,
    ],
    [
      'an error',
      '<sheetData><row r="3"><c r="A3" t="e"><v>#REF!</v></c></row></sheetData>',
      /Cell A3 .*#REF!/,
    ],
  ])('with %s is refused by its place', (_, sheet, detail) => {
    expect(() => readXlsx(workbook(sheet))).toThrow(detail);
  });

  test('that is none is refused, and so is a sheet nobody has', () => {
    expect(() => readXlsx(utf8('barcode,name'))).toThrow(/no XLSX workbook/);
    expect(() => readXlsx(workbook('<sheetData/>'), 'Other')).toThrow(/no sheet Other: it has Tubes/);
  });
});

describe('what is exported', () => {
  // biome-ignore-start lint/suspicious/noControlCharactersInRegex: XML has no such characters
  const cell = fc
    .string({ unit: 'grapheme', maxLength: 20 })
    .map((text) => text.replaceAll(/[\u0000-\u001f\ufeff]/g, ''));
  // biome-ignore-end lint/suspicious/noControlCharactersInRegex: XML has no such characters
  const table = fc.array(fc.tuple(fc.constant('x'), cell, cell), { minLength: 1, maxLength: 20 });

  test('is read back the same, from XLSX', async () => {
    await fc.assert(
      fc.asyncProperty(table, async (rows) => {
        const parts = await collect(writeXlsx(each(rows), 'Tubes'));
        expect(readXlsx(new Uint8Array(Buffer.concat(parts))).map(({ cells }) => cells)).toEqual(rows);
      }),
      { numRuns: 50 },
    );
  });

  test('is read back the same from CSV, but for the guard before what would be a formula', async () => {
    await fc.assert(
      fc.asyncProperty(table, async (rows) => {
        const bytes = new Uint8Array(
          Buffer.concat(await collect(writeCsv(each([['h', 'i', 'j'], ...rows])))),
        );
        const back = (await cellsOf(bytes))
          .slice(1)
          .map((row) => row.map((one) => one.replace(/^'(?=[=+\-@])/, '')));
        expect(back).toEqual(rows.map((row) => row.map((one) => one.replace(/^'(?=[=+\-@])/, ''))));
      }),
      { numRuns: 50 },
    );
  });

  test.each([
    ['=1+1', `'=1+1`],
    ['@SUM(A1)', `'@SUM(A1)`],
    ['+cmd', `'+cmd`],
    ['-2+3', `'-2+3`],
    ['-80', '-80'],
    ['+4.5', '+4.5'],
    ['a,b', '"a,b"'],
  ])('%s is written as %s', (value, written) => {
    expect(csvCell(value)).toBe(written);
  });

  test('columns are named as spreadsheets do', () => {
    expect([0, 25, 26, 51, 52, 701, 702].map(columnName)).toEqual(['A', 'Z', 'AA', 'AZ', 'BA', 'ZZ', 'AAA']);
  });
});
