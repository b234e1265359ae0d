import { DomainError } from './errors.ts';

/** How the rows or columns of a grid are labelled. */
export const LABEL_SCHEMES = ['number', 'upper', 'lower', 'roman_upper', 'roman_lower'] as const;
export type LabelScheme = (typeof LABEL_SCHEMES)[number];

/** How a position is named: by row and column (`C5`), by its number (`23`), or not at all: things lie loose in it. */
export const LABELLINGS = ['two_dimensional', 'linear', 'none'] as const;
export type Labelling = (typeof LABELLINGS)[number];

/** Which way numbers and filling go first from the origin: along a row, or along a column. */
export const DIRECTIONS = ['horizontal', 'vertical'] as const;
export type Direction = (typeof DIRECTIONS)[number];

/**
 * The corner where rows, columns and numbers begin, as one looks at the container: stacks count from the bottom, plates
 * from the top left. Two directions from four corners are the eight fill orders.
 */
export const ORIGINS = ['top_left', 'top_right', 'bottom_left', 'bottom_right'] as const;
export type Origin = (typeof ORIGINS)[number];

/** The positions of one container: its size and how people name them. */
export interface Grid {
  readonly rows: number;
  readonly columns: number;
  readonly rowLabels: LabelScheme;
  readonly columnLabels: LabelScheme;
  /** two-dimensional unless said */
  readonly labelling?: Labelling;
  /** horizontal first unless said */
  readonly direction?: Direction;
  /** top left unless said */
  readonly origin?: Origin;
}

/** A cell of a grid; both numbers are zero-based and count from the grid's origin, as its labels do. */
export interface Cell {
  readonly row: number;
  readonly column: number;
}

const ROMAN: readonly (readonly [number, string])[] = [
  [1000, 'M'],
  [900, 'CM'],
  [500, 'D'],
  [400, 'CD'],
  [100, 'C'],
  [90, 'XC'],
  [50, 'L'],
  [40, 'XL'],
  [10, 'X'],
  [9, 'IX'],
  [5, 'V'],
  [4, 'IV'],
  [1, 'I'],
];

function letters(index: number): string {
  let label = '';
  for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26)) {
    label = String.fromCharCode(65 + ((rest - 1) % 26)) + label;
  }
  return label;
}

function roman(index: number): string {
  let label = '';
  let rest = index + 1;
  for (const [value, numeral] of ROMAN) {
    while (rest >= value) {
      label += numeral;
      rest -= value;
    }
  }
  return label;
}

/**
 * Label of a row or column.
 * @param index zero-based: 26 is AA, 31 is AF, 52 is BA in letters
 */
export function axisLabel(index: number, scheme: LabelScheme): string {
  switch (scheme) {
    case 'number':
      return String(index + 1);
    case 'upper':
      return letters(index);
    case 'lower':
      return letters(index).toLowerCase();
    case 'roman_upper':
      return roman(index);
    case 'roman_lower':
      return roman(index).toLowerCase();
  }
}

/**
 * Zero-based index of a row or column label, in either case of letters; numbers may carry leading zeros.
 * @returns null when the text is no label of the scheme
 */
export function axisIndex(label: string, scheme: LabelScheme): number | null {
  if (scheme === 'number') {
    return /^0*[1-9]\d{0,5}$/.test(label) ? Number(label) - 1 : null;
  }
  const text = label.toUpperCase();
  if (scheme === 'upper' || scheme === 'lower') {
    if (!/^[A-Z]{1,3}$/.test(text)) return null;
    let value = 0;
    for (const letter of text) value = value * 26 + (letter.charCodeAt(0) - 64);
    return value - 1;
  }
  let rest = text;
  let value = 0;
  for (const [worth, numeral] of ROMAN) {
    while (rest.startsWith(numeral)) {
      value += worth;
      rest = rest.slice(numeral.length);
    }
  }
  // Reading back refuses IIII, VX and the like.
  return rest === '' && value > 0 && roman(value - 1) === text ? value - 1 : null;
}

/** Number of positions. */
export function capacity(grid: Grid): number {
  return grid.rows * grid.columns;
}

// Two axes of digits, or two of letters, run into each other: `11-2` needs its hyphen, `C5` does not.
function needsSeparator(grid: Grid): boolean {
  return (grid.rowLabels === 'number') === (grid.columnLabels === 'number');
}

/** What stands for the position of a thing that lies loose in its container. */
export const LOOSE = 'loose';

/**
 * The canonical label of a cell, e.g. `C5`; `3-5` or `C-V` where both axes are of one kind; `23` where positions are
 * numbered; `loose` where they are not named.
 */
export function cellLabel(cell: Cell, grid: Grid): string {
  if (grid.labelling === 'none') return LOOSE;
  if (grid.labelling === 'linear') return String(cellOrdinal(cell, grid));
  const row = axisLabel(cell.row, grid.rowLabels);
  const column = axisLabel(cell.column, grid.columnLabels);
  return needsSeparator(grid) ? `${row}-${column}` : `${row}${column}`;
}

/** 1..N from the origin in the grid's direction: linear label, fill order and a robot's slot. */
export function cellOrdinal(cell: Cell, grid: Grid): number {
  return grid.direction === 'vertical'
    ? cell.column * grid.rows + cell.row + 1
    : cell.row * grid.columns + cell.column + 1;
}

/** How a bare number counts: along rows or down columns. */
export type Numbering = 'rows' | 'columns';

/** The cell with a number 1..N, counted in the grid's direction unless another is said; null outside the grid. */
export function cellAt(ordinal: number, grid: Grid, numbering: Numbering = numberingOf(grid)): Cell | null {
  if (!Number.isInteger(ordinal) || ordinal < 1 || ordinal > capacity(grid)) return null;
  const index = ordinal - 1;
  return numbering === 'rows'
    ? { row: Math.floor(index / grid.columns), column: index % grid.columns }
    : { row: index % grid.rows, column: Math.floor(index / grid.rows) };
}

function numberingOf(grid: Grid): Numbering {
  return grid.direction === 'vertical' ? 'columns' : 'rows';
}

/**
 * Where a cell is drawn, as one looks at the container: zero-based from the top left. Its own inverse: the cell at a
 * drawn place is found by the same turn.
 */
export function drawnAt(cell: Cell, grid: Grid): Cell {
  const { origin = 'top_left' } = grid;
  return {
    row: origin.startsWith('bottom') ? grid.rows - 1 - cell.row : cell.row,
    column: origin.endsWith('right') ? grid.columns - 1 - cell.column : cell.column,
  };
}

/** Every cell, row by row. */
export function cells(grid: Grid): Cell[] {
  return Array.from({ length: capacity(grid) }, (_, index) => ({
    row: Math.floor(index / grid.columns),
    column: index % grid.columns,
  }));
}

/** `rows A–H and columns 1–12`, for messages; `positions 1–81` where they are numbered. */
export function describeGrid(grid: Grid): string {
  if (grid.labelling === 'none') return 'no named positions: things lie loose in it';
  if (grid.labelling === 'linear') return `positions 1–${capacity(grid)}`;
  const span = (count: number, scheme: LabelScheme, one: string, many: string) =>
    count === 1
      ? `${one} ${axisLabel(0, scheme)}`
      : `${many} ${axisLabel(0, scheme)}–${axisLabel(count - 1, scheme)}`;
  return `${span(grid.rows, grid.rowLabels, 'row', 'rows')} and ${span(grid.columns, grid.columnLabels, 'column', 'columns')}`;
}

function splitLabel(text: string, grid: Grid): Cell | null {
  const pair = /^([A-Za-z]+|\d+)\s*[-,:/ ]\s*([A-Za-z]+|\d+)$/.exec(text);
  const joined = needsSeparator(grid) ? null : /^(?:([A-Za-z]+)(\d+)|(\d+)([A-Za-z]+))$/.exec(text);
  const first = pair?.[1] ?? joined?.[1] ?? joined?.[3];
  const second = pair?.[2] ?? joined?.[2] ?? joined?.[4];
  if (first === undefined || second === undefined) return null;
  const row = axisIndex(first, grid.rowLabels);
  const column = axisIndex(second, grid.columnLabels);
  if (row !== null && column !== null) return { row, column };
  // A pair of numbers is row, column on any grid: `3,5` is C5.
  const bothNumbers = /^\d+$/.test(first) && /^\d+$/.test(second);
  const numericRow = bothNumbers ? axisIndex(first, 'number') : null;
  const numericColumn = bothNumbers ? axisIndex(second, 'number') : null;
  return numericRow !== null && numericColumn !== null ? { row: numericRow, column: numericColumn } : null;
}

/**
 * Reads a position as people and scanners write it: `A1`, `A01`, `a1`, a number 1..N, or a pair `1,5` (row, column,
 * both from 1).
 * @param numbering how a bare number counts; as the grid's positions are numbered unless said
 * @returns null when the text names no cell of the grid
 */
export function findCell(text: string, grid: Grid, numbering?: Numbering): Cell | null {
  if (grid.labelling === 'none') return null;
  const trimmed = text.trim();
  if (/^\d{1,7}$/.test(trimmed)) return cellAt(Number(trimmed), grid, numbering);
  const cell = splitLabel(trimmed, grid);
  return cell && cell.row < grid.rows && cell.column < grid.columns ? cell : null;
}

/**
 * As {@link findCell}, for a container people know by name.
 * @param container how a person knows it, e.g. `box B-7`
 * @throws DomainError POSITION_UNKNOWN naming the container and its grid
 */
export function parseCell(text: string, grid: Grid, container: string, numbering?: Numbering): Cell {
  const cell = findCell(text, grid, numbering);
  if (cell) return cell;
  throw new DomainError(
    'POSITION_UNKNOWN',
    `position ${text.trim() === '' ? '“”' : text.trim().slice(0, 40)} does not exist in ${container}, which has ${describeGrid(grid)}`,
  );
}
