import { dp5Wells } from './dp5-answer.ts';
import { DomainError, type InputProblem } from './errors.ts';
import { type Cell, cellAt, cellLabel, describeGrid, findCell, type Grid } from './grid.ts';
import type { RackScan, RackSize, ScannedPosition } from './rack-scan.ts';
import { RACK_SIZES, type ScannerProfile } from './scanner-profile.ts';
import { splitLine } from './table-line.ts';

/** Barcodes as the store takes them: printable ASCII, no space at the ends. */
const BARCODE = /^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/;
/** Mistakes named in one answer. */
const MOST_PROBLEMS = 20;
/** Rows and columns a rack may have at most. */
const MOST_LINES = 100;

/** Reads the formats of a profile; collects what was read, and every mistake. */
export class RackReading {
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
