import { DomainError } from './errors.ts';

/** Units by what they measure, each with its power of ten against the smallest of its kind. */
const UNITS = {
  nl: ['volume', 0],
  ul: ['volume', 3],
  ml: ['volume', 6],
  l: ['volume', 9],
  pg: ['mass', 0],
  ng: ['mass', 3],
  ug: ['mass', 6],
  mg: ['mass', 9],
  g: ['mass', 12],
  pieces: ['count', 0],
} as const satisfies Record<string, readonly ['volume' | 'mass' | 'count', number]>;

export type QuantityUnit = keyof typeof UNITS;
export const QUANTITY_UNITS = Object.keys(UNITS) as readonly QuantityUnit[];

/** Decimals that are kept; `sample.quantity` is numeric(24, 9). */
const DECIMALS = 9;
const MOST = 10n ** 24n;

/** An amount as people write it: an exact decimal such as `12.5`, and its unit. */
export interface Quantity {
  readonly amount: string;
  readonly unit: QuantityUnit;
}

/**
 * An amount in another unit of its kind, exactly.
 * @returns a decimal without superfluous zeros
 * @throws DomainError VALIDATION when the units measure different things, the text is no decimal, or the amount cannot
 *   be written in the unit with nine decimals or has more than fifteen digits before them
 */
export function convert({ amount, unit }: Quantity, into: QuantityUnit): string {
  const [kind, power] = UNITS[unit];
  const [kindInto, powerInto] = UNITS[into];
  if (kind !== kindInto) {
    throw new DomainError(
      'VALIDATION',
      `An amount in ${unit} is a ${kind}; this sample is measured in ${into}.`,
    );
  }
  const scaled = toScaled(amount);
  const shift = power - powerInto;
  const factor = 10n ** BigInt(Math.abs(shift));
  if (shift < 0 && scaled % factor !== 0n) {
    throw new DomainError(
      'VALIDATION',
      `${amount} ${unit} cannot be written in ${into} with ${DECIMALS} decimals.`,
    );
  }
  return toText(shift < 0 ? scaled / factor : scaled * factor);
}

/** What is left. @param used in the same unit @returns null when it is more than there is */
export function subtract(amount: string, used: string): string | null {
  const left = toScaled(amount) - toScaled(used);
  return left < 0n ? null : toText(left);
}

/** The same amount in its shortest form, as `12.50` is `12.5`. */
export function shortest(amount: string): string {
  return toText(toScaled(amount));
}

export function isNothing(amount: string): boolean {
  return toScaled(amount) === 0n;
}

function toScaled(text: string): bigint {
  const parts = /^(\d{1,15})(?:\.(\d{1,9}))?$/.exec(text);
  if (!parts) {
    throw new DomainError(
      'VALIDATION',
      `${text.slice(0, 40)} is no amount: write a decimal such as 12.5, without a sign, of at most 15 digits and ${DECIMALS} decimals.`,
    );
  }
  return BigInt((parts[1] ?? '') + (parts[2] ?? '').padEnd(DECIMALS, '0'));
}

function toText(scaled: bigint): string {
  if (scaled >= MOST)
    throw new DomainError('VALIDATION', 'The amount has more than 15 digits in this unit: use a larger one.');
  const digits = scaled.toString().padStart(DECIMALS + 1, '0');
  const decimals = digits.slice(-DECIMALS).replace(/0+$/, '');
  return digits.slice(0, -DECIMALS) + (decimals && `.${decimals}`);
}
