import { DomainError } from './errors.ts';
import { convert, QUANTITY_UNITS } from './quantity.ts';
import { isId } from './reference.ts';
import { ZONE_NAMES } from './zone.ts';

/** What a sheet is a list of. */
export type ImportKind = 'samples' | 'placements';

/** Everything a column may be. */
export const BULK_FIELDS = [
  'barcode',
  'type',
  'zone',
  'project',
  'class',
  'hazard',
  'owner',
  'quarantine',
  'subject',
  'lot',
  'expiresOn',
  'amount',
  'unit',
  'location',
  'position',
] as const;
export type BulkField = (typeof BULK_FIELDS)[number];

export const FIELDS_OF: Readonly<
  Record<ImportKind, { readonly required: readonly BulkField[]; readonly optional: readonly BulkField[] }>
> = {
  samples: {
    required: ['barcode', 'type', 'zone'],
    optional: [
      ...(['project', 'class', 'hazard', 'owner', 'quarantine', 'subject', 'lot', 'expiresOn'] as const),
      ...(['amount', 'unit', 'location', 'position'] as const),
    ],
  },
  placements: { required: ['barcode', 'location', 'position'], optional: [] },
};

/** Headings that are understood without a profile, besides the fields' own names; as LabKey and others write them. */
const ALIASES: Readonly<Record<string, BulkField>> = {
  sampleid: 'barcode',
  sample: 'barcode',
  tube: 'barcode',
  sampletype: 'type',
  biosafetylevel: 'hazard',
  temperature: 'zone',
  study: 'project',
  donor: 'subject',
  storedamount: 'amount',
  volume: 'amount',
  units: 'unit',
  expirydate: 'expiresOn',
  expires: 'expiresOn',
  box: 'location',
  container: 'location',
  storagelocation: 'location',
  well: 'position',
  cell: 'position',
};

/** Which heading is which field, and what holds where a sheet has no such column. */
export interface ColumnMapping {
  readonly columns: Readonly<Partial<Record<BulkField, string>>>;
  readonly defaults: Readonly<Partial<Record<BulkField, string>>>;
}

/** Where each field is found in a row. */
export interface Heading {
  readonly columns: ReadonlyMap<BulkField, { readonly index: number; readonly heading: string }>;
  readonly defaults: ColumnMapping['defaults'];
  /** headings that nobody asked for */
  readonly ignored: readonly string[];
  readonly width: number;
}

const plain = (heading: string): string => heading.toLowerCase().replaceAll(/[\s_.-]/g, '');

/**
 * Reads the first row of a sheet.
 * @param nameOf how people call a column by its index, such as `C`
 * @throws DomainError VALIDATION naming the column
 */
export function readHeading(
  kind: ImportKind,
  cells: readonly string[],
  mapping: ColumnMapping,
  nameOf: (index: number) => string,
): Heading {
  const { required, optional } = FIELDS_OF[kind];
  const fields = [...required, ...optional];
  const width = cells.findLastIndex((cell) => cell.trim() !== '') + 1;
  const columns = new Map<BulkField, { index: number; heading: string }>();
  const ignored: string[] = [];
  for (const [index, cell] of cells.slice(0, width).entries()) {
    const heading = cell.trim();
    if (heading === '') {
      throw invalid(
        `Column ${nameOf(index)} has no heading: where headings are merged, unmerge them and name each column.`,
      );
    }
    const field = fieldOf(heading, fields, mapping);
    if (field === null) {
      ignored.push(heading);
      continue;
    }
    const before = columns.get(field);
    if (before) {
      throw invalid(
        `Columns ${nameOf(before.index)} (${before.heading}) and ${nameOf(index)} (${heading}) are both the ${field}: keep one.`,
      );
    }
    columns.set(field, { index, heading });
  }
  const missing = required.filter((field) => !columns.has(field) && mapping.defaults[field] === undefined);
  if (missing.length > 0) {
    throw invalid(
      `The sheet has no column for ${missing.join(', ')}; its headings are ${cells.slice(0, width).join(', ') || 'empty'}.`,
    );
  }
  return { columns, defaults: mapping.defaults, ignored, width };
}

function fieldOf(heading: string, fields: readonly BulkField[], mapping: ColumnMapping): BulkField | null {
  const named = fields.find((field) => mapping.columns[field] === heading);
  if (named) return named;
  const free = fields.filter((field) => mapping.columns[field] === undefined);
  const own = free.find((field) => plain(field) === plain(heading));
  const alias = ALIASES[plain(heading)];
  return own ?? (alias !== undefined && free.includes(alias) ? alias : null);
}

/** One thing wrong with a row. */
export interface RowProblem {
  readonly line: number;
  /** null: the row as a whole */
  readonly field: BulkField | null;
  readonly code: string;
  /** a sentence that says what would be right */
  readonly detail: string;
}

/** A row by its fields, with what can be seen to be wrong without looking anything up. */
export function readRow(
  kind: ImportKind,
  heading: Heading,
  line: number,
  cells: readonly string[],
): {
  readonly values: Readonly<Partial<Record<BulkField, string>>>;
  readonly problems: readonly RowProblem[];
} {
  const { required, optional } = FIELDS_OF[kind];
  const values: Partial<Record<BulkField, string>> = {};
  const problems: RowProblem[] = [];
  const wrong = (field: BulkField | null, detail: string) => {
    problems.push({ line, field, code: 'VALIDATION', detail });
  };
  const extra = cells.slice(heading.width).findIndex((cell) => cell.trim() !== '');
  if (extra >= 0) {
    wrong(
      null,
      `the row has a value in column ${heading.width + extra + 1}, and ${heading.width} columns have a heading`,
    );
  }
  for (const field of [...required, ...optional]) {
    const column = heading.columns.get(field);
    const text = (column === undefined ? '' : (cells[column.index] ?? '')).trim() || heading.defaults[field];
    if (text === undefined || text === '') {
      if (required.includes(field)) wrong(field, `is empty: every row needs a ${field}`);
      continue;
    }
    const refusal = refuse(field, text);
    if (refusal === null) values[field] = text;
    else wrong(field, refusal);
  }
  if (problems.length === 0) {
    if ((values.location === undefined) !== (values.position === undefined)) {
      wrong(
        values.location === undefined ? 'location' : 'position',
        'location and position come together, or neither',
      );
    }
    if ((values.amount === undefined) !== (values.unit === undefined)) {
      wrong(values.amount === undefined ? 'amount' : 'unit', 'amount and unit come together, or neither');
    }
  }
  return { values, problems };
}

function refuse(field: BulkField, text: string): string | null {
  switch (field) {
    case 'barcode':
      if (!/^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/.test(text)) {
        return `“${shown(text)}” is no barcode: 1 to 64 printable ASCII characters`;
      }
      return isId(text) ? 'is shaped like a UUID, which is taken for an id' : null;
    case 'zone':
      return ZONE_NAMES.some((zone) => zone === text)
        ? null
        : `“${shown(text)}” is no temperature class: there are ${ZONE_NAMES.join(', ')}`;
    case 'unit':
      return QUANTITY_UNITS.some((unit) => unit === text)
        ? null
        : `“${shown(text)}” is no unit: there are ${QUANTITY_UNITS.join(', ')}`;
    case 'amount':
      return isAmount(text)
        ? null
        : `“${shown(text)}” is no amount: write a decimal such as 12.5, without a sign`;
    case 'expiresOn':
      return isDate(text) ? null : `“${shown(text)}” is no date: write it as 2031-12-31`;
    case 'quarantine':
      return text === 'yes' || text === 'no' ? null : `“${shown(text)}” is neither yes nor no`;
    case 'location':
      return text.length <= 500 ? null : 'is longer than 500 characters';
    case 'position':
      return text.length <= 25 ? null : `“${shown(text)}” is no position such as C5`;
    case 'type':
    case 'project':
    case 'class':
    case 'hazard':
    case 'owner':
    case 'subject':
    case 'lot':
      return text.length <= 100 ? null : 'is longer than 100 characters';
  }
}

const shown = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

function isAmount(text: string): boolean {
  try {
    convert({ amount: text, unit: 'ul' }, 'ul');
    return true;
  } catch (error) {
    if (error instanceof DomainError) return false;
    throw error;
  }
}

function isDate(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const date = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

function invalid(detail: string): DomainError {
  return new DomainError('VALIDATION', detail);
}
