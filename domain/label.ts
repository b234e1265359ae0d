import { DomainError } from './errors.ts';

export const SYMBOLOGIES = ['code128', 'datamatrix', 'qr', 'gs1_128', 'gs1_datamatrix'] as const;
export type Symbology = (typeof SYMBOLOGIES)[number];

/** What is printed on one thing. */
export interface Label {
  readonly barcode: string;
  /** in words, below or beside the symbol; the first is the barcode */
  readonly lines: readonly string[];
}

/** Size of a label in mm, two inches by one. */
export const LABEL_MM = { width: 51, height: 25 } as const;

export function isGs1(symbology: Symbology): boolean {
  return symbology === 'gs1_128' || symbology === 'gs1_datamatrix';
}

/** Width of the narrowest bar of Code 128 that lets the content fit on a label, in mm; at most 0.33. */
function barMm(content: string): number {
  // Start, FNC1, a character each, check character and stop, in modules; subset B throughout.
  const modules = 11 * (content.length + 3) + 13;
  return Math.min(0.33, (LABEL_MM.width - 4) / modules);
}

/** @throws DomainError VALIDATION when bars would be too narrow for a printer and a reader */
export function requirePrintable(symbology: Symbology, content: string): void {
  if (isSquare(symbology) || barMm(content) >= 0.125) return;
  throw new DomainError(
    'VALIDATION',
    `${content.length} characters are too many for bars on a label of ${LABEL_MM.width} mm: use datamatrix or qr.`,
    { errors: [{ pointer: 'symbology', detail: 'has no room for this barcode' }] },
  );
}

/** Whether the symbol is a square and not a row of bars. */
export function isSquare(symbology: Symbology): boolean {
  return symbology === 'datamatrix' || symbology === 'qr' || symbology === 'gs1_datamatrix';
}

/**
 * The GS1 element string of a barcode: GIAI, application identifier 8004, the company prefix and the barcode as the
 * individual asset reference; at most 30 characters of GS1’s set 82.
 * @throws DomainError CONFLICT when the laboratory has no company prefix, VALIDATION when the barcode does not fit
 */
export function gs1Element(barcode: string, companyPrefix: string | null): string {
  if (companyPrefix === null) {
    throw new DomainError(
      'CONFLICT',
      'A GS1 label needs the laboratory’s GS1 company prefix: set gs1CompanyPrefix in the barcode scheme.',
    );
  }
  const giai = `${companyPrefix}${barcode}`;
  if (giai.length > 30 || !/^[!"%&'()*+,\-./0-9:;<=>?A-Z_a-z]+$/.test(barcode)) {
    throw new DomainError(
      'VALIDATION',
      `The barcode ${barcode.slice(0, 64)} cannot be a GS1 asset number: with the company prefix it may have 30 letters, digits and some signs, no space.`,
    );
  }
  return `(8004)${giai}`;
}

/**
 * A label in Zebra’s ZPL II: the printer draws the symbol itself. Fields are hexadecimal where a character would be a
 * command.
 * @param content what the symbol holds: the barcode, or a GS1 element string
 * @param dpmm dots a mm of the print head: 6, 8, 12 or 24
 */
export function zplLabel(label: Label, symbology: Symbology, content: string, dpmm: number): string {
  const dots = (mm: number) => Math.round(mm * dpmm);
  const text = (line: string, x: number, y: number) =>
    `^FO${dots(x)},${dots(y)}^A0N,${dots(2.8)},${dots(2.8)}${field(line.slice(0, 40))}`;
  const [symbolX, symbolY] = [2, 2];
  const lines = isSquare(symbology)
    ? label.lines.map((line, index) => text(line, 20, 3 + index * 4))
    : label.lines.map((line, index) => text(line, symbolX, 14 + index * 3.5));
  return [
    `^XA^CI28^PW${dots(LABEL_MM.width)}^LL${dots(LABEL_MM.height)}`,
    `^FO${dots(symbolX)},${dots(symbolY)}${zplSymbol(symbology, content, dots)}`,
    ...lines,
    '^XZ',
  ].join('\n');
}

function zplSymbol(symbology: Symbology, content: string, dots: (mm: number) => number): string {
  const bars = `^BY${Math.max(1, Math.floor(dots(barMm(content))))}^BCN,${dots(10)},N,N,N`;
  switch (symbology) {
    case 'code128':
      // Subset B throughout; `>` begins an invocation code, and is itself `>0`.
      return `${bars},N${field(`>:${content.replaceAll('>', '>0')}`)}`;
    case 'gs1_128':
      // Mode D: FNC1 in front, parentheses around application identifiers are taken out.
      return `${bars},D${field(content)}`;
    case 'datamatrix':
      return `^BXN,${dots(0.6)},200,,,,${escapeFor(content)}${field(content)}`;
    case 'gs1_datamatrix': {
      const data = content.replace(/^\((\d+)\)/, '$1');
      const fnc1 = escapeFor(data);
      return `^BXN,${dots(0.6)},200,,,,${fnc1}${field(`${fnc1}1${data}`)}`;
    }
    case 'qr':
      return `^BQN,2,${Math.max(1, dots(0.6))}${field(`QA,${content}`)}`;
  }
}

/** A character that is not in the data: printers take another one by default, which may be. */
function escapeFor(data: string): string {
  const free = ['_', '|', '!', '#', '@', '$'].find((each) => !data.includes(each));
  if (free === undefined) {
    throw new DomainError(
      'VALIDATION',
      `The barcode ${data.slice(0, 64)} cannot be printed as DataMatrix by ZPL.`,
    );
  }
  return free;
}

/** Field data, with the characters that are commands to the printer in hexadecimal. */
function field(data: string): string {
  const printable = data.replaceAll(
    /[\^~\\]/g,
    (char) => `\\${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
  return `^FH\\^FD${printable.replaceAll(/\p{Cc}/gu, ' ')}^FS`;
}
