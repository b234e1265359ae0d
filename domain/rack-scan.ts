import { DomainError, type InputProblem } from './errors.ts';
import { type Cell, cellAt, cellLabel, describeGrid, findCell, type Grid } from './grid.ts';
import { RACK_SIZES, type ScannerProfile } from './scanner-profile.ts';
import { splitLine } from './table-line.ts';

/** What was read in one position: a barcode, `empty` = no tube there, `unread` = a tube whose code could not be read. */
export type ScannedContent =
  | { readonly kind: 'tube'; readonly barcode: string }
  | { readonly kind: 'empty' }
  | { readonly kind: 'unread' };

/** One position of a scanned rack. */
export interface ScannedPosition {
  /** may lie outside the box it was scanned for */
  readonly cell: Cell;
  readonly content: ScannedContent;
}

/** The size of a rack. */
export interface RackSize {
  readonly rows: number;
  readonly columns: number;
}

/** A scan of one rack. */
export interface RackScan {
  /** null: the scanner reads none */
  readonly rackBarcode: string | null;
  /** as the scanner says it; null: it does not */
  readonly size: RackSize | null;
  /** in the order of the file; a tube may be listed more than once, a position not */
  readonly positions: readonly ScannedPosition[];
  /** whether a position that is not listed was not scanned; otherwise it is empty */
  readonly listsEmpty: boolean;
}

/** Barcodes as the store takes them: printable ASCII, no space at the ends. */
const BARCODE = /^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/;
/** Mistakes named in one answer. */
const MOST_PROBLEMS = 20;
/** Rows and columns a rack may have at most. */
const MOST_LINES = 100;

/**
 * Reads a rack scan as a profile says. `pointer` of a mistake is `line N, column M`.
 * @param grid of the box it was scanned for: how its rows and columns are called
 * @param source how messages call the text
 * @throws DomainError VALIDATION naming the line and column of each mistake
 */
export function parseRackScan(
  text: string,
  profile: ScannerProfile,
  grid: Grid,
  source = 'the rack scan',
): RackScan {
  const reading = new Reading(profile, grid);
  const isMarked = text.startsWith('\uFEFF');
  if (isMarked && !profile.byteOrderMark) reading.wrong(1, 1, 'there is a byte order mark: save it without');
  const content = isMarked ? text.slice(1) : text;
  const strange = strangeCharacter(content);
  if (strange) reading.wrong(strange.line, strange.column, strange.detail);
  else if (profile.format === 'table') reading.readTable(content);
  else if (profile.format === 'sequence') reading.readSequence(content);
  else reading.readDp5(content);
  return reading.close(source);
}

/** What a program listed itself, position by position, instead of a file. */
export interface ListedPosition {
  readonly position: string;
  readonly barcode?: string | undefined;
  readonly read?: 'empty' | 'unread' | undefined;
}

/** As {@link parseRackScan}, of a list; `pointer` of a mistake is a JSON pointer. */
export function readListedScan(
  listed: readonly ListedPosition[],
  profile: ScannerProfile,
  grid: Grid,
): RackScan {
  const reading = new Reading(profile, grid);
  listed.forEach(({ position, barcode, read }, index) => {
    const at = `/positions/${index}`;
    const cell = reading.cellOf(position, `${at}/position`);
    if (cell) reading.take(cell, barcode ?? '', `${at}/position`, `${at}/barcode`, read);
  });
  return reading.close('the list of positions');
}

/** Turns every position of a scan by 180° in a grid: A1 becomes H12. What lies outside it stays outside. */
export function turned(positions: readonly ScannedPosition[], grid: RackSize): ScannedPosition[] {
  return positions.map(({ cell, content }) => ({
    cell: { row: grid.rows - 1 - cell.row, column: grid.columns - 1 - cell.column },
    content,
  }));
}

/** Collects what is read, and every mistake. */
class Reading {
  readonly #profile: ScannerProfile;
  readonly #grid: Grid;
  readonly #problems: InputProblem[] = [];
  readonly #positions: ScannedPosition[] = [];
  readonly #seen = new Map<string, string>();
  readonly #empty: ReadonlySet<string>;
  readonly #unread: ReadonlySet<string>;
  #rack: { barcode: string; at: string } | null = null;
  #size: RackSize | null;

  constructor(profile: ScannerProfile, grid: Grid) {
    this.#profile = profile;
    this.#grid = grid;
    this.#empty = new Set(profile.empty.map((word) => word.toUpperCase()));
    this.#unread = new Set(profile.unread.map((word) => word.toUpperCase()));
    this.#size = profile.rack;
  }

  wrong(line: number, column: number, detail: string): void {
    this.#problems.push({ pointer: place(line, column), detail });
  }

  close(source: string): RackScan {
    if (this.#problems.length === 0 && this.#positions.length === 0) {
      this.wrong(1, 1, 'there is not one position in it');
    }
    const first = this.#problems[0];
    if (first) {
      const more = this.#problems.length === 1 ? '' : ` and ${this.#problems.length - 1} more, see errors`;
      throw new DomainError('VALIDATION', `${source}, ${first.pointer}: ${first.detail}${more}`, {
        errors: this.#problems.slice(0, MOST_PROBLEMS),
      });
    }
    return {
      rackBarcode: this.#rack?.barcode ?? null,
      size: this.#size,
      positions: this.#positions,
      listsEmpty: this.#profile.listsEmpty,
    };
  }

  readTable(content: string): void {
    const { headerLines, delimiter, trailingDelimiter, trim, width: asked } = this.#profile;
    const lines = this.#withoutSuffix(content).split(/\r\n|\n|\r/);
    const header = headerLines === 0 ? null : (lines[headerLines - 1] ?? '');
    const named = header === null ? [] : namesOf(header, delimiter);
    const width = asked ?? named.length;
    const columns = this.#columns(named, headerLines);
    if (columns === null) return;
    for (const [index, text] of lines.entries()) {
      const line = index + 1;
      if (line <= headerLines || text.trim() === '') continue;
      const fields = splitLine(text, delimiter, trim);
      if ('unclosedAt' in fields) {
        this.wrong(line, fields.unclosedAt, 'a quotation mark is opened and not closed');
        continue;
      }
      if (trailingDelimiter && fields.length === width + 1 && fields.at(-1)?.text === '') fields.pop();
      if (fields.length !== width) {
        this.wrong(
          line,
          1,
          `should have ${width} fields, but has ${fields.length}${otherDelimiter(text, delimiter)}`,
        );
        if (width - fields.length > 0 && otherDelimiter(text, delimiter) !== '') return;
        continue;
      }
      const rack = columns.rack === null ? null : fields[columns.rack];
      if (rack) this.#takeRack(rack.text, line, rack.column);
      const position = fields[columns.position];
      const barcode = fields[columns.barcode];
      if (!position || !barcode) continue;
      const at = place(line, position.column);
      const cell = this.cellOf(position.text, at);
      if (cell) this.take(cell, barcode.text, at, place(line, barcode.column));
    }
  }

  readSequence(content: string): void {
    const { delimiter, trailingDelimiter, trim, order, rack } = this.#profile;
    const lines = this.#withoutSuffix(content).split(/\r\n|\n|\r/);
    const line = lines.findIndex((text) => text.trim() !== '') + 1;
    const extra = lines.findIndex((text, index) => index >= line && text.trim() !== '');
    if (line === 0) return;
    if (extra >= 0)
      return void this.wrong(extra + 1, 1, 'a second line begins: one scan is one line of barcodes');
    const fields = splitLine(lines[line - 1] ?? '', delimiter, trim);
    if ('unclosedAt' in fields) {
      return void this.wrong(line, fields.unclosedAt, 'a quotation mark is opened and not closed');
    }
    if (trailingDelimiter && fields.length > 1 && fields.at(-1)?.text === '') fields.pop();
    const size = rack ?? this.#sizeOf(fields.length);
    if (!size || size.rows * size.columns !== fields.length) {
      const expected = size
        ? `${size.rows * size.columns} barcodes, for ${size.rows} rows and ${size.columns} columns`
        : 'a barcode for each position of a rack (24, 25, 48, 81, 96, 100, 384 or 1536)';
      return void this.wrong(
        line,
        fields.at(-1)?.column ?? 1,
        `the line should have ${expected}, but has ${fields.length}${otherDelimiter(lines[line - 1] ?? '', delimiter)}`,
      );
    }
    this.#size = size;
    fields.forEach(({ text, column }, index) => {
      const cell = cellAt(index + 1, { ...this.#grid, ...size }, order);
      if (cell) this.take(cell, text, place(line, column), place(line, column));
    });
  }

  readDp5(content: string): void {
    const parsed = dp5Wells(this.#withoutSuffix(content));
    if ('problem' in parsed) {
      return void this.wrong(parsed.line, parsed.column, parsed.problem);
    }
    parsed.wells.forEach(({ row, column, barcode, decodeStatus }, index) => {
      const at = `/tubeBarcode/${index}`;
      const status = String(decodeStatus ?? '')
        .trim()
        .toUpperCase();
      const read = this.#unread.has(status)
        ? 'unread'
        : status !== '' && this.#empty.has(status)
          ? 'empty'
          : undefined;
      const label = /^[A-Za-z]+$/.test(String(row)) ? `${row}${column}` : `${row},${column}`;
      const cell = this.cellOf(label, at);
      if (cell) this.take(cell, String(barcode ?? '').trim(), at, `${at}/barcode`, read);
    });
  }

  /** The cell a text names: as the box calls it, or as scanners do (A1, A01); it may lie outside the box. */
  cellOf(text: string, at: string): Cell | null {
    const label = text.trim().replace(/^([A-Za-z]+)\s+(\d+)$/, '$1$2');
    const wide = { rows: MOST_LINES, columns: MOST_LINES };
    const counted = this.#profile.rack ?? this.#grid;
    const cell = /^\d+$/.test(label)
      ? cellAt(Number(label.slice(0, 7)), { ...this.#grid, ...counted }, this.#profile.order)
      : (findCell(label, { ...this.#grid, ...wide }) ??
        findCell(label, { ...wide, rowLabels: 'upper', columnLabels: 'number' }));
    if (!cell) {
      this.#problems.push({
        pointer: at,
        detail: `position “${shorten(text)}” does not exist in the rack, which has ${describeGrid(this.#grid)}`,
      });
    }
    return cell;
  }

  take(
    cell: Cell,
    barcode: string,
    at: string,
    barcodeAt: string,
    read?: 'empty' | 'unread' | undefined,
  ): void {
    const label = cellLabel(cell, this.#grid);
    const before = this.#seen.get(label);
    if (before !== undefined) {
      this.#problems.push({ pointer: at, detail: `position ${label} is in ${before} already` });
      return;
    }
    this.#seen.set(label, at.split(',')[0] ?? at);
    const word = barcode.toUpperCase();
    const kind = read ?? (this.#empty.has(word) ? 'empty' : this.#unread.has(word) ? 'unread' : 'tube');
    if (kind !== 'tube') this.#positions.push({ cell, content: { kind } });
    else if (BARCODE.test(barcode)) this.#positions.push({ cell, content: { kind, barcode } });
    else {
      this.#problems.push({
        pointer: barcodeAt,
        detail: `“${shorten(barcode)}” is no barcode: 1 to 64 printable ASCII characters`,
      });
    }
  }

  #takeRack(barcode: string, line: number, column: number): void {
    if (!BARCODE.test(barcode)) {
      this.wrong(line, column, `“${shorten(barcode)}” is no barcode of a rack`);
    } else if (this.#rack === null) {
      this.#rack = { barcode, at: `line ${line}` };
    } else if (this.#rack.barcode !== barcode) {
      this.wrong(
        line,
        column,
        `names rack ${shorten(barcode)}, but ${this.#rack.at} names ${this.#rack.barcode}: one file is one rack`,
      );
    }
  }

  /** Zero-based fields of a line; null with a problem noted. */
  #columns(
    named: readonly string[],
    headerLine: number,
  ): { rack: number | null; position: number; barcode: number } | null {
    const find = (column: number | string): number | null => {
      if (typeof column === 'number') return column - 1;
      const found = named.filter((name) => name.toUpperCase() === column.toUpperCase()).length;
      if (found === 1) return named.findIndex((name) => name.toUpperCase() === column.toUpperCase());
      const has = named.map((name) => `“${shorten(name)}”`).join(', ') || 'nothing';
      this.wrong(
        headerLine,
        1,
        `the header should name the column “${column}” once, but it has ${has}: merged cells and titles above it have to go`,
      );
      return null;
    };
    const { rack, position, barcode } = this.#profile.columns;
    const [rackAt, positionAt, barcodeAt] = [
      rack === null ? null : find(rack),
      find(position),
      find(barcode),
    ];
    if (positionAt === null || barcodeAt === null || (rack !== null && rackAt === null)) return null;
    return { rack: rackAt, position: positionAt, barcode: barcodeAt };
  }

  #sizeOf(count: number): RackSize | null {
    const { rows, columns } = this.#grid;
    return rows * columns === count
      ? { rows, columns }
      : (RACK_SIZES.find((size) => size.rows * size.columns === count) ?? null);
  }

  #withoutSuffix(content: string): string {
    const { suffix } = this.#profile;
    const trimmed = content.trimEnd();
    return suffix !== '' && trimmed.endsWith(suffix) ? trimmed.slice(0, -suffix.length) : content;
  }
}

function place(line: number, column: number): string {
  return `line ${line}, column ${column}`;
}

function shorten(text: string): string {
  return text.length <= 40 ? text : `${text.slice(0, 40)}…`;
}

function namesOf(header: string, delimiter: string): string[] {
  const fields = splitLine(header, delimiter, true);
  return 'unclosedAt' in fields ? [] : fields.map((field) => field.text);
}

/** Says so when a line is separated by something else than the profile says. */
function otherDelimiter(text: string, delimiter: string): string {
  const words: Record<string, string> = { ',': 'commas', ';': 'semicolons', '\t': 'tabs', '|': 'bars' };
  if (text.includes(delimiter)) return '';
  const other = Object.keys(words).find((each) => text.includes(each));
  return other ? `: it is separated by ${words[other]}, the profile expects ${words[delimiter]}` : '';
}

/** The first character that no scanner writes, and what it comes from. */
function strangeCharacter(text: string): { line: number; column: number; detail: string } | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a null is what UTF-16 looks like when it is read as UTF-8
  const at = text.search(/[\u0000\uFFFD]/);
  if (at < 0) return null;
  const before = text.slice(0, at).split(/\r\n|\n|\r/);
  return {
    line: before.length,
    column: (before.at(-1)?.length ?? 0) + 1,
    detail:
      text[at] === '\u0000'
        ? 'there is a null character: the file is UTF-16; send its bytes as fileBase64 with a profile that says so, or save it as UTF-8'
        : 'there is a character that was not UTF-8: send the file’s bytes as fileBase64 with a profile that says Latin-1, or save it as UTF-8',
  };
}

interface Dp5Well {
  readonly row: unknown;
  readonly column: unknown;
  readonly barcode?: unknown;
  readonly decodeStatus?: unknown;
}

function dp5Wells(
  content: string,
): { wells: readonly Dp5Well[] } | { line: number; column: number; problem: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content);
  } catch {
    return { line: 1, column: 1, problem: 'this is no JSON: the profile reads the answer of a DP5 reader' };
  }
  const wells: unknown =
    typeof parsed === 'object' && parsed ? Reflect.get(parsed, 'tubeBarcode') : undefined;
  if (!Array.isArray(wells) || !wells.every(isWell)) {
    return {
      line: 1,
      column: 1,
      problem: 'the JSON should have a list tubeBarcode, each with row and column',
    };
  }
  return { wells };
}

function isWell(value: unknown): value is Dp5Well {
  return typeof value === 'object' && value !== null && 'row' in value && 'column' in value;
}
