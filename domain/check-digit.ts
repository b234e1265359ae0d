/** How the last character of a barcode is worked out of those before it. */
export const CHECK_METHODS = ['none', 'mod10', 'mod11', 'mod37_2', 'gs1'] as const;
export type CheckMethod = (typeof CHECK_METHODS)[number];

const ALPHANUMERIC = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*';

/**
 * The check character of a text; characters the method has no value for are left out.
 *
 * - `mod10`: ISO/IEC 7812-1 annex B (Luhn), digits
 * - `mod11`: weights 2, 3 … 10 from the right, again from 2 (ISBN-10); 10 is X
 * - `mod37_2`: ISO/IEC 7064 MOD 37-2, digits and capital letters; 36 is *
 * - `gs1`: GS1 General Specifications 7.9.1, weights 3, 1 from the right, digits
 * @returns empty for `none`
 */
export function checkCharacter(text: string, method: CheckMethod): string {
  const digits = [...text].filter((char) => char >= '0' && char <= '9').map(Number);
  const weighed = (weight: (fromRight: number) => number) =>
    digits.reduceRight((sum, digit, index) => sum + digit * weight(digits.length - 1 - index), 0);
  switch (method) {
    case 'none':
      return '';
    case 'mod10': {
      const sum = digits.reduceRight((total, digit, index) => {
        const doubled = (digits.length - 1 - index) % 2 === 0 ? digit * 2 : digit;
        return total + (doubled > 9 ? doubled - 9 : doubled);
      }, 0);
      return String((10 - (sum % 10)) % 10);
    }
    case 'mod11': {
      const check = (11 - (weighed((fromRight) => 2 + (fromRight % 9)) % 11)) % 11;
      return check === 10 ? 'X' : String(check);
    }
    case 'gs1':
      return String((10 - (weighed((fromRight) => (fromRight % 2 === 0 ? 3 : 1)) % 10)) % 10);
    case 'mod37_2': {
      const values = [...text]
        .map((char) => ALPHANUMERIC.indexOf(char))
        .filter((value) => value >= 0 && value < 36);
      const product = values.reduce((sum, value) => ((sum + value) * 2) % 37, 0);
      return ALPHANUMERIC[(38 - product) % 37] ?? '';
    }
  }
}
