import { z } from '@hono/zod-openapi';

/** Units of domain/quantity.ts; the compiler compares them where requests and replies are made. */
const UnitName = z.enum(['nl', 'ul', 'ml', 'l', 'pg', 'ng', 'ug', 'mg', 'g', 'pieces']);
const Amount = z
  .string()
  .regex(/^\d{1,15}(?:\.\d{1,9})?$/, {
    error: 'a decimal without a sign, such as "12.5", of at most 15 digits and 9 decimals',
  })
  .openapi({ description: 'An exact decimal, as a string.', example: '12.5' });

export const Quantity = z.strictObject({ amount: Amount, unit: UnitName }).openapi('Quantity');
export const QuantityLeft = z
  .object({ amount: z.string(), initial: z.string(), unit: UnitName })
  .openapi('QuantityLeft', { description: 'What is left, and what there was at first; exact decimals.' });

export const Subject = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .openapi({ description: 'The donor’s reference, never a name.', example: 'DONOR-0042' });
export const Lot = z.string().trim().min(1).max(100).openapi({ example: 'LOT-7' });
export const ExpiryDate = z.iso
  .date()
  .openapi({ description: 'The last day on which it may be used.', example: '2031-12-31' });
