import { unzipSync } from 'fflate';
import { Parser } from 'saxen';
import { DomainError } from '../../domain/errors.ts';
import { columnName, type SheetRow } from './sheet.ts';

/** Bytes that a workbook may have when unpacked: larger ones come as CSV, which is read as it comes. */
const MOST_BYTES = 200 * 1024 * 1024;
const PARTS = /^xl\/(?:workbook\.xml|sharedStrings\.xml|_rels\/workbook\.xml\.rels|worksheets\/[^/]+\.xml)$/;

/**
 * Reads a sheet of an XLSX workbook. Cells are taken as they are written: no formulas, no merged cells, no errors.
 * @param sheet its name; null = the first
 * @throws DomainError VALIDATION that names the cell, BODY_TOO_LARGE
 */
export function readXlsx(bytes: Uint8Array, sheet: string | null = null): SheetRow[] {
  const parts = unpack(bytes);
  const names = sheetsOf(parts);
  const chosen = sheet === null ? names[0] : names.find(({ name }) => name === sheet);
  if (!chosen) {
    throw invalid(`The workbook has no sheet ${sheet}: it has ${names.map(({ name }) => name).join(', ')}.`);
  }
  return rowsOf(textOf(parts, chosen.path), sharedStrings(parts), chosen.name);
}

function unpack(bytes: Uint8Array): Readonly<Record<string, Uint8Array>> {
  let unpacked = 0;
  try {
    return unzipSync(bytes, {
      filter({ name, originalSize }) {
        if (!PARTS.test(name)) return false;
        unpacked += originalSize;
        if (unpacked > MOST_BYTES) {
          throw new DomainError(
            'BODY_TOO_LARGE',
            'The workbook is larger than 200 MB unpacked: save the sheet as CSV.',
          );
        }
        return true;
      },
    });
  } catch (error) {
    if (error instanceof DomainError) throw error;
    throw new DomainError(
      'VALIDATION',
      'The file is no XLSX workbook, or is damaged: save it anew as .xlsx, or as CSV.',
      {
        cause: error,
      },
    );
  }
}

const NO_PART = new Uint8Array();
const textOf = (parts: Readonly<Record<string, Uint8Array>>, path: string): string =>
  new TextDecoder().decode(parts[path] ?? NO_PART);

/** What the parser tells: an element with its attributes, its end, and its text. */
function walk(
  xml: string,
  on: {
    readonly open: (name: string, attributes: Readonly<Record<string, string>>) => void;
    readonly close?: (name: string) => void;
    readonly text?: (text: string) => void;
  },
): void {
  if (xml === '') return;
  const parser = new Parser();
  parser.on('openTag', (name, attributes, decode) => {
    on.open(
      local(name),
      Object.fromEntries(Object.entries(attributes()).map(([key, value]) => [local(key), decode(value)])),
    );
  });
  parser.on('closeTag', (name) => on.close?.(local(name)));
  parser.on('text', (text, decode) => on.text?.(decode(text)));
  parser.on('error', (error) => {
    throw new DomainError('VALIDATION', 'The workbook is damaged: save it anew as .xlsx, or as CSV.', {
      cause: error,
    });
  });
  parser.parse(xml);
}

const local = (name: string): string => name.slice(name.indexOf(':') + 1);

function sheetsOf(
  parts: Readonly<Record<string, Uint8Array>>,
): { readonly name: string; readonly path: string }[] {
  const paths = new Map<string, string>();
  walk(textOf(parts, 'xl/_rels/workbook.xml.rels'), {
    open(name, { Id, Target }) {
      if (name === 'Relationship' && Id && Target)
        paths.set(Id, Target.startsWith('/') ? Target.slice(1) : `xl/${Target}`);
    },
  });
  const sheets: { name: string; path: string }[] = [];
  walk(textOf(parts, 'xl/workbook.xml'), {
    open(name, attributes) {
      const path = paths.get(attributes.id ?? '');
      if (name === 'sheet' && path) sheets.push({ name: attributes.name ?? '', path });
    },
  });
  if (sheets.length === 0) throw invalid('The workbook has no sheet.');
  return sheets;
}

function sharedStrings(parts: Readonly<Record<string, Uint8Array>>): string[] {
  const strings: string[] = [];
  let inText = false;
  let inPhonetic = false;
  walk(textOf(parts, 'xl/sharedStrings.xml'), {
    open(name) {
      if (name === 'si') strings.push('');
      else if (name === 'rPh') inPhonetic = true;
      else if (name === 't') inText = true;
    },
    close(name) {
      if (name === 't') inText = false;
      else if (name === 'rPh') inPhonetic = false;
    },
    text(text) {
      if (inText && !inPhonetic) strings[strings.length - 1] += text;
    },
  });
  return strings;
}

function rowsOf(xml: string, strings: readonly string[], sheet: string): SheetRow[] {
  const rows: { line: number; cells: string[] }[] = [];
  let kind = 'n';
  let place = '';
  let value = '';
  let column = 0;
  let inValue = false;
  walk(xml, {
    open(name, attributes) {
      if (name === 'row') {
        rows.push({ line: Number(attributes.r ?? (rows.at(-1)?.line ?? 0) + 1), cells: [] });
        column = 0;
      } else if (name === 'c') {
        kind = attributes.t ?? 'n';
        value = '';
        column = attributes.r === undefined ? column : columnIndex(attributes.r);
        place = `${columnName(column)}${rows.at(-1)?.line} of sheet ${sheet}`;
      } else if (name === 'f') {
        throw invalid(
          `Cell ${place} holds a formula: paste the column as values, so that what you see is what is entered.`,
        );
      } else if (name === 'mergeCell') {
        throw invalid(
          `Cells ${attributes.ref} of sheet ${sheet} are merged: unmerge them, each column needs a heading of its own.`,
        );
      } else if (name === 'v' || name === 't') {
        inValue = true;
      }
    },
    close(name) {
      if (name === 'v' || name === 't') inValue = false;
      if (name !== 'c') return;
      if (kind === 'e') throw invalid(`Cell ${place} holds an error (${value}): correct it.`);
      const cells = rows.at(-1)?.cells;
      if (!cells) return;
      while (cells.length < column) cells.push('');
      cells[column] = kind === 's' ? (strings[Number(value)] ?? '') : value;
      column += 1;
    },
    text(text) {
      if (inValue) value += text;
    },
  });
  return rows.filter(({ cells }) => cells.some((cell) => cell.trim() !== ''));
}

function columnIndex(reference: string): number {
  let index = 0;
  for (const letter of reference.replace(/\d+$/, '')) index = index * 26 + letter.charCodeAt(0) - 64;
  return index - 1;
}

function invalid(detail: string): DomainError {
  return new DomainError('VALIDATION', detail);
}
