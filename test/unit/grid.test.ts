import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DomainError } from '../../domain/errors.ts';
import {
  axisIndex,
  axisLabel,
  capacity,
  cellAt,
  cellLabel,
  cellOrdinal,
  cells,
  DIRECTIONS,
  describeGrid,
  drawnAt,
  findCell,
  type Grid,
  LABEL_SCHEMES,
  LOOSE,
  ORIGINS,
  parseCell,
} from '../../domain/grid.ts';

const RACK: Grid = { rows: 8, columns: 12, rowLabels: 'upper', columnLabels: 'number' };
const BOX: Grid = { rows: 9, columns: 9, rowLabels: 'upper', columnLabels: 'number' };

const scheme = fc.constantFrom(...LABEL_SCHEMES);
const anyGrid = fc.record({
  rows: fc.integer({ min: 1, max: 60 }),
  columns: fc.integer({ min: 1, max: 60 }),
  rowLabels: scheme,
  columnLabels: scheme,
  labelling: fc.constantFrom('two_dimensional', 'linear'),
  direction: fc.constantFrom(...DIRECTIONS),
  origin: fc.constantFrom(...ORIGINS),
});

describe('labels of rows and columns', () => {
  test.each([
    [0, 'A'],
    [25, 'Z'],
    [26, 'AA'],
    [31, 'AF'],
    [51, 'AZ'],
    [52, 'BA'],
    [701, 'ZZ'],
    [702, 'AAA'],
  ])('row %i is %s', (index, label) => {
    expect(axisLabel(index, 'upper')).toBe(label);
    expect(axisIndex(label, 'upper')).toBe(index);
    expect(axisIndex(label.toLowerCase(), 'upper')).toBe(index);
  });

  test('label and index are each other’s inverse in all five schemes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 999 }), scheme, (index, each) => {
        expect(axisIndex(axisLabel(index, each), each)).toBe(index);
      }),
    );
  });

  test.each([
    ['IIII', 'roman_upper'],
    ['VX', 'roman_upper'],
    ['', 'roman_lower'],
    ['A', 'number'],
    ['0', 'number'],
    ['1', 'upper'],
    ['Ä', 'upper'],
    ['', 'upper'],
  ] as const)('%j is no label of scheme %s', (label, each) => {
    expect(axisIndex(label, each)).toBeNull();
  });
});

describe('positions', () => {
  test('a canonical label is read back as its cell, on any grid', () => {
    fc.assert(
      fc.property(anyGrid, fc.nat(), (grid, n) => {
        const cell = cellAt((n % capacity(grid)) + 1, grid);
        expect(cell).not.toBeNull();
        if (cell) expect(findCell(cellLabel(cell, grid), grid)).toEqual(cell);
      }),
    );
  });

  test('no two cells share a label, and ordinals run from 1 to N', () => {
    fc.assert(
      fc.property(anyGrid, (grid) => {
        const all = cells(grid);
        expect(new Set(all.map((cell) => cellLabel(cell, grid))).size).toBe(capacity(grid));
        const ordinals = all.map((cell) => cellOrdinal(cell, grid));
        expect(ordinals.sort((a, b) => a - b)).toEqual(all.map((_, index) => index + 1));
      }),
      { numRuns: 30 },
    );
  });

  test('a number counts along rows, or down columns, and back', () => {
    fc.assert(
      fc.property(anyGrid, fc.nat(), (grid, n) => {
        const ordinal = (n % capacity(grid)) + 1;
        const inOrder = cellAt(ordinal, grid);
        expect(inOrder && cellOrdinal(inOrder, grid)).toBe(ordinal);
        const byRow = cellAt(ordinal, grid, 'rows');
        expect(byRow && byRow.row * grid.columns + byRow.column + 1).toBe(ordinal);
        const byColumn = cellAt(ordinal, grid, 'columns');
        expect(byColumn && byColumn.column * grid.rows + byColumn.row + 1).toBe(ordinal);
      }),
    );
  });

  test('a place as it is drawn is one cell’s, and back, from each corner', () => {
    fc.assert(
      fc.property(anyGrid, (grid) => {
        const drawn = cells(grid).map((cell) => drawnAt(cell, grid));
        expect(new Set(drawn.map(({ row, column }) => `${row}/${column}`)).size).toBe(capacity(grid));
        for (const place of drawn) {
          expect(place.row >= 0 && place.row < grid.rows).toBe(true);
          expect(place.column >= 0 && place.column < grid.columns).toBe(true);
          expect(drawnAt(drawnAt(place, grid), grid)).toEqual(place);
        }
      }),
      { numRuns: 30 },
    );
  });

  // Numbers as one looks at a container of 2 × 3, row by row.
  test.each([
    ['horizontal', 'top_left', [1, 2, 3, 4, 5, 6]],
    ['horizontal', 'top_right', [3, 2, 1, 6, 5, 4]],
    ['horizontal', 'bottom_left', [4, 5, 6, 1, 2, 3]],
    ['horizontal', 'bottom_right', [6, 5, 4, 3, 2, 1]],
    ['vertical', 'top_left', [1, 3, 5, 2, 4, 6]],
    ['vertical', 'top_right', [5, 3, 1, 6, 4, 2]],
    ['vertical', 'bottom_left', [2, 4, 6, 1, 3, 5]],
    ['vertical', 'bottom_right', [6, 4, 2, 5, 3, 1]],
  ] as const)('%s first from %s', (direction, origin, expected) => {
    const grid: Grid = { ...BOX, rows: 2, columns: 3, labelling: 'linear', direction, origin };
    const seen = new Map(
      cells(grid).map((cell) => {
        const { row, column } = drawnAt(cell, grid);
        return [row * 3 + column, cellLabel(cell, grid)];
      }),
    );
    expect(Array.from({ length: 6 }, (_, index) => Number(seen.get(index)))).toEqual(expected);
  });

  test('a numbered box prints numbers and still takes labels and pairs', () => {
    const grid: Grid = { ...BOX, labelling: 'linear' };
    expect(cellLabel({ row: 2, column: 4 }, grid)).toBe('23');
    for (const text of ['23', 'C5', 'c05', '3,5', '023'])
      expect(findCell(text, grid)).toEqual({ row: 2, column: 4 });
    expect(() => parseCell('82', grid, 'box B-7')).toThrow(/which has positions 1–81$/);
  });

  test('what lies loose has no position to be named', () => {
    const bag: Grid = { ...BOX, rows: 1, labelling: 'none' };
    expect(cellLabel({ row: 0, column: 3 }, bag)).toBe(LOOSE);
    for (const text of ['1', 'A1', LOOSE, '']) expect(findCell(text, bag)).toBeNull();
    expect(() => parseCell('4', bag, 'bag G-1')).toThrow(/things lie loose in it/);
  });

  test.each([26, 31, 52])('row %i is read back in every scheme', (row) => {
    for (const rowLabels of LABEL_SCHEMES) {
      for (const columnLabels of LABEL_SCHEMES) {
        const grid: Grid = { rows: 60, columns: 48, rowLabels, columnLabels };
        for (const column of [0, 26, 47]) {
          expect(findCell(cellLabel({ row, column }, grid), grid)).toEqual({ row, column });
        }
      }
    }
  });

  test.each(['A1', 'a1', 'A01', ' A1 ', '1', '1,1', '1-1', 'A-1', 'A 1'])('%j is A1 of a rack', (text) => {
    expect(findCell(text, RACK)).toEqual({ row: 0, column: 0 });
  });

  test('linear 1..81 and labels of a box agree both ways', () => {
    expect(findCell('81', BOX)).toEqual(findCell('I9', BOX));
    expect(findCell('10', BOX)).toEqual(findCell('B1', BOX));
    expect(findCell('10', BOX, 'columns')).toEqual(findCell('A2', BOX));
  });

  test('the rows of a 1536-well plate are A to AF', () => {
    const plate: Grid = { rows: 32, columns: 48, rowLabels: 'upper', columnLabels: 'number' };
    expect(findCell('AF48', plate)).toEqual({ row: 31, column: 47 });
    expect(findCell('AG1', plate)).toBeNull();
  });

  test('axes of one kind are kept apart by a hyphen', () => {
    const numbers: Grid = { rows: 12, columns: 12, rowLabels: 'number', columnLabels: 'number' };
    expect(cellLabel({ row: 0, column: 10 }, numbers)).toBe('1-11');
    expect(cellLabel({ row: 10, column: 0 }, numbers)).toBe('11-1');
    const letters: Grid = { rows: 3, columns: 3, rowLabels: 'upper', columnLabels: 'roman_lower' };
    expect(cellLabel({ row: 2, column: 2 }, letters)).toBe('C-iii');
    expect(findCell('ciii', letters)).toBeNull();
  });

  test.each(['C13', 'I1', '0', '97', '', 'A', '1A1', 'A1B', '🧊', '13,1', 'A0', '99999999'])(
    '%j does not exist in a rack of 96, and the error says what does',
    (text) => {
      expect(() => parseCell(text, RACK, 'box B-7')).toThrow(DomainError);
      expect(() => parseCell(text, RACK, 'box B-7')).toThrow(
        /does not exist in box B-7, which has rows A–H and columns 1–12$/,
      );
    },
  );

  test('the error of the design page', () => {
    expect(() => parseCell('C13', RACK, 'box B-7')).toThrow(
      'position C13 does not exist in box B-7, which has rows A–H and columns 1–12',
    );
    expect(describeGrid({ ...RACK, rows: 1 })).toBe('row A and columns 1–12');
  });
});
