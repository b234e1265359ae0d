import { DomainError, type InputProblem } from './errors.ts';
import { type Cell, cellLabel, describeGrid, findCell, type Grid } from './grid.ts';

/** One position of a scanned rack. */
export interface ScannedPosition {
  readonly cell: Cell;
  /** canonical label, e.g. `A1` */
  readonly label: string;
  /** what was read: a barcode, `empty` = no tube there, `unread` = a tube whose code could not be read */
  readonly content:
    | { readonly kind: 'tube'; readonly barcode: string }
    | { readonly kind: 'empty' | 'unread' };
}

/** A scan of one rack. */
export interface RackScan {
  /** barcode of the rack, from the first of three columns; null in a file of two */
  readonly rackBarcode: string | null;
  /** in the order of the file */
  readonly positions: readonly ScannedPosition[];
}

const EMPTY = new Set(['', 'EMPTY', 'NO TUBE', 'NOTUBE']);
const UNREAD = new Set(['NO READ', 'NOREAD', 'NOSCAN', 'NO SCAN']);
/** Barcodes as the store takes them: printable ASCII, no space at the ends. */
const BARCODE = /^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/;
/** Mistakes named in one answer. */
const MOST_PROBLEMS = 20;

interface Field {
  readonly text: string;
  /** first character in its line, from 1 */
  readonly column: number;
}

/**
 * Reads a rack scan: lines of `position,barcode`, or `rack,position,barcode`, without a header. Takes a byte order mark,
 * CRLF, quoted fields, spaces around fields, `A01` for `A1`, rows or columns first, blank lines, and the words scanners
 * write for an empty or unreadable position. `pointer` of a mistake is `line N, column M`.
 * @param text content of the file
 * @param grid of the rack
 * @param source how messages call the file
 * @throws DomainError VALIDATION naming the line and column of each mistake
 */
export function parseRackScan(text: string, grid: Grid, source = 'the rack scan'): RackScan {
  const problems: InputProblem[] = [];
  const positions: ScannedPosition[] = [];
  const seenCell = new Map<string, number>();
  const seenBarcode = new Map<string, number>();
  let width: number | null = null;
  let rack: { barcode: string; line: number } | null = null;
  const wrong = (line: number, column: number, detail: string) =>
    problems.push({ pointer: `line ${line}, column ${column}`, detail });

  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  for (const [index, content] of lines.entries()) {
    const line = index + 1;
    if (content.trim() === '') continue;
    const fields = splitLine(content);
    if ('unclosedAt' in fields) {
      wrong(line, fields.unclosedAt, 'a quotation mark is opened and not closed');
      continue;
    }
    width ??= fields.length;
    if ((width !== 2 && width !== 3) || fields.length !== width) {
      const expected =
        width === 2 || width === 3
          ? `${width} fields, as in the first line`
          : 'two fields (position,barcode) or three (rack,position,barcode)';
      wrong(line, 1, `should have ${expected}, but has ${fields.length}`);
      if (width !== 2 && width !== 3) break;
      continue;
    }
    const [rackField, positionField, barcodeField] = width === 3 ? fields : [null, ...fields];
    if (!positionField || !barcodeField) continue;
    if (rackField) {
      if (!BARCODE.test(rackField.text)) {
        wrong(line, rackField.column, `“${shorten(rackField.text)}” is no barcode of a rack`);
      } else if (rack === null) {
        rack = { barcode: rackField.text, line };
      } else if (rack.barcode !== rackField.text) {
        wrong(
          line,
          rackField.column,
          `names rack ${shorten(rackField.text)}, but line ${rack.line} names ${rack.barcode}: one file is one rack`,
        );
      }
    }
    const cell = /^[A-Za-z]+\s*\d+$|^\d+$/.test(positionField.text)
      ? findCell(positionField.text.replace(/\s+/, ''), grid)
      : null;
    if (!cell) {
      wrong(
        line,
        positionField.column,
        `position “${shorten(positionField.text)}” does not exist in the rack, which has ${describeGrid(grid)}`,
      );
      continue;
    }
    const label = cellLabel(cell, grid);
    const before = seenCell.get(label);
    if (before !== undefined) {
      wrong(line, positionField.column, `position ${label} is in line ${before} already`);
      continue;
    }
    seenCell.set(label, line);
    const word = barcodeField.text.toUpperCase();
    if (EMPTY.has(word)) positions.push({ cell, label, content: { kind: 'empty' } });
    else if (UNREAD.has(word)) positions.push({ cell, label, content: { kind: 'unread' } });
    else if (!BARCODE.test(barcodeField.text)) {
      wrong(
        line,
        barcodeField.column,
        `“${shorten(barcodeField.text)}” is no barcode: 1 to 64 printable ASCII characters`,
      );
    } else {
      const first = seenBarcode.get(barcodeField.text);
      if (first !== undefined) {
        wrong(line, barcodeField.column, `barcode ${barcodeField.text} is in line ${first} already`);
        continue;
      }
      seenBarcode.set(barcodeField.text, line);
      positions.push({ cell, label, content: { kind: 'tube', barcode: barcodeField.text } });
    }
  }
  if (problems.length === 0 && positions.length === 0) {
    wrong(1, 1, 'there is not one position in it');
  }
  const first = problems[0];
  if (first) {
    const more = problems.length === 1 ? '' : ` and ${problems.length - 1} more, see errors`;
    throw new DomainError('VALIDATION', `${source}, ${first.pointer}: ${first.detail}${more}`, {
      errors: problems.slice(0, MOST_PROBLEMS),
    });
  }
  return { rackBarcode: rack?.barcode ?? null, positions };
}

function shorten(text: string): string {
  return text.length <= 40 ? text : `${text.slice(0, 40)}…`;
}

/** Fields of one line of CSV (RFC 4180), trimmed, with the column at which each begins. */
function splitLine(line: string): readonly Field[] | { readonly unclosedAt: number } {
  const fields: Field[] = [];
  let at = 0;
  for (;;) {
    while (line[at] === ' ' || line[at] === '\t') at++;
    const begin = at;
    let text = '';
    if (line[at] === '"') {
      at++;
      for (;;) {
        const end = line.indexOf('"', at);
        if (end < 0) return { unclosedAt: begin + 1 };
        text += line.slice(at, end);
        at = end + 1;
        if (line[at] !== '"') break;
        text += '"';
        at++;
      }
      const comma = line.indexOf(',', at);
      text += line.slice(at, comma < 0 ? line.length : comma).trimEnd();
      at = comma < 0 ? line.length : comma;
    } else {
      const comma = line.indexOf(',', at);
      at = comma < 0 ? line.length : comma;
      text = line.slice(begin, at).trimEnd();
    }
    fields.push({ text: text.trim(), column: begin + 1 });
    if (at >= line.length) return fields;
    at++;
  }
}
