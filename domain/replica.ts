import { DomainError } from './errors.ts';

/** What a pattern may name of one location of a copy. */
export interface PatternFields {
  /** number of the copy */
  readonly n: number;
  /** name of the original */
  readonly name: string;
  /** barcode of the original; null = it has none */
  readonly barcode: string | null;
}

const FIELD = /\{(n|name|barcode)(?::(\d{1,2}))?\}/g;

/**
 * Writes the name or barcode of a copy: `{n}` is its number, `{n:3}` the number in three digits, `{name}` and `{barcode}`
 * are the original's.
 * @throws DomainError VALIDATION when it names `{barcode}` of an original that has none
 */
export function writePattern(pattern: string, fields: PatternFields): string {
  return pattern.replace(FIELD, (_, field: string, width: string | undefined) => {
    if (field === 'n') return String(fields.n).padStart(Number(width ?? 0), '0');
    if (field === 'name') return fields.name;
    if (fields.barcode !== null) return fields.barcode;
    throw new DomainError(
      'VALIDATION',
      `the pattern ${pattern} uses {barcode}, and ${fields.name} has none: use {name}`,
      { errors: [{ pointer: '/barcode', detail: `${fields.name} has no barcode` }] },
    );
  });
}

/** True when copies with different numbers get different texts. */
export function tellsCopiesApart(pattern: string): boolean {
  return /\{n(:\d{1,2})?\}/.test(pattern);
}
