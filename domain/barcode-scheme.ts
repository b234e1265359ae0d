import { type CheckMethod, checkCharacter } from './check-digit.ts';
import { DomainError } from './errors.ts';

export const BARCODE_KINDS = ['sample', 'location'] as const;
export type BarcodeKind = (typeof BARCODE_KINDS)[number];

/** How a laboratory's barcodes are made. */
export interface BarcodeScheme {
  /** `{prefix}`, `{counter:N}` (N digits) and, at the end, `{check}` in a text, e.g. `{prefix}-{counter:8}{check}` */
  readonly pattern: string;
  readonly prefix: string;
  readonly check: CheckMethod;
  /** whether barcodes that are not made so are refused */
  readonly isEnforced: boolean;
  /** 6 to 12 digits, licensed from GS1; null: none, and no GS1 labels */
  readonly gs1CompanyPrefix: string | null;
}

const COUNTER = /\{counter:([1-9]|1[0-5])\}/g;
/** Longest barcode. */
const LONGEST = 64;

/** What is wrong with a scheme, as a sentence; null: nothing. */
export function problemOfScheme({ pattern, prefix, check }: BarcodeScheme): string | null {
  const counters = [...pattern.matchAll(COUNTER)];
  if (counters.length !== 1) return 'the pattern should have one {counter:N} with 1 to 15 digits';
  const hasCheck = pattern.endsWith('{check}');
  if (pattern.includes('{check}') && pattern.indexOf('{check}') !== pattern.length - '{check}'.length) {
    return 'the pattern should have {check} at its end';
  }
  if (hasCheck !== (check !== 'none')) {
    return check === 'none'
      ? 'the pattern has {check}, but no way to work it out is chosen'
      : 'the pattern should end with {check}, since a check character is chosen';
  }
  const rest = pattern.replace(COUNTER, '').replaceAll('{prefix}', '').replaceAll('{check}', '');
  if (/[{}]/.test(rest)) return 'the pattern knows {prefix}, {counter:N} and {check}, nothing else in braces';
  const example = barcodeOf({ pattern, prefix, check }, 0);
  if (!/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(example) || example.length > LONGEST) {
    return `the barcodes would look like “${example.slice(0, 80)}”: they have 1 to ${LONGEST} printable ASCII characters`;
  }
  return null;
}

/** The barcode of a number. @throws DomainError CONFLICT when the pattern has no digits left for it */
export function barcodeOf(
  scheme: Pick<BarcodeScheme, 'pattern' | 'prefix' | 'check'>,
  number: number,
): string {
  const base = scheme.pattern
    .replace(/\{check\}$/, '')
    .replaceAll('{prefix}', () => scheme.prefix)
    .replace(COUNTER, (_, digits: string) => {
      const text = String(number).padStart(Number(digits), '0');
      if (text.length > Number(digits)) {
        throw new DomainError(
          'CONFLICT',
          `The barcode scheme ${scheme.pattern} has no numbers left: give it a longer counter.`,
        );
      }
      return text;
    });
  return base + checkCharacter(base, scheme.check);
}

/** Why a barcode is not one of the scheme's, as a part of a sentence; null: it is. */
export function problemOfBarcode(scheme: BarcodeScheme, barcode: string): string | null {
  const literal = (text: string) => text.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&');
  const digits = Number(COUNTER_DIGITS.exec(scheme.pattern)?.[1]);
  const [before = '', after = ''] = scheme.pattern
    .replace(/\{check\}$/, '')
    .replaceAll('{prefix}', () => scheme.prefix)
    .split(/\{counter:\d+\}/);
  const check = scheme.check === 'none' ? '' : '(?<check>[0-9A-Z*])';
  const shape = new RegExp(`^(?<base>${literal(before)}\\d{${digits}}${literal(after)})${check}$`);
  const found = shape.exec(barcode)?.groups;
  if (!found) return `is not made as ${scheme.pattern}, such as ${barcodeOf(scheme, 1)}`;
  const expected = checkCharacter(found.base ?? '', scheme.check);
  return (found.check ?? '') === expected
    ? null
    : `has the check character ${found.check}, and ${expected} would be right: it was mistyped or misread`;
}

const COUNTER_DIGITS = /\{counter:(\d+)\}/;
