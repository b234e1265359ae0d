import { z } from '@hono/zod-openapi';

/** Lists of domain/label.ts, check-digit.ts and barcode-scheme.ts; the compiler compares them where they are used. */
export const LabelQuery = z.strictObject({
  format: z.enum(['svg', 'png', 'zpl']).default('svg'),
  symbology: z.enum(['code128', 'datamatrix', 'qr', 'gs1_128', 'gs1_datamatrix']).default('datamatrix'),
  dpmm: z.coerce
    .number()
    .pipe(z.union([z.literal(6), z.literal(8), z.literal(12), z.literal(24)]))
    .default(8)
    .openapi({ description: 'ZPL: dots a mm of the print head.' }),
});

export const BoxLabelsQuery = LabelQuery.extend({ format: z.enum(['svg', 'zpl']).default('zpl') });

const schemeFields = {
  pattern: z.string().min(1).max(100).openapi({
    description: '{prefix}, one {counter:N} with N digits and, at the end, {check} in a text.',
    example: '{prefix}-{counter:8}{check}',
  }),
  prefix: z
    .string()
    .regex(/^[\x20-\x7e]{0,40}$/, { error: 'at most 40 printable ASCII characters' })
    .default(''),
  check: z.enum(['none', 'mod10', 'mod11', 'mod37_2', 'gs1']).default('none').openapi({
    description: 'The check character: Luhn, ISBN-10’s, ISO 7064 MOD 37-2, GS1’s.',
  }),
  enforced: z.boolean().default(false).openapi({
    description: 'Whether barcodes that are not made so are refused when something is registered.',
  }),
  gs1CompanyPrefix: z
    .string()
    .regex(/^\d{6,12}$/, { error: '6 to 12 digits, as licensed from GS1' })
    .optional(),
};

export const BarcodeSchemeRequest = z.strictObject(schemeFields).openapi('BarcodeSchemeRequest');

export const BarcodeSchemeView = z
  .object({
    kind: z.enum(['sample', 'location']),
    ...schemeFields,
    version: z.int().openapi({ description: 'For If-Match; 0 when none was set.' }),
  })
  .openapi('BarcodeScheme');

export const BarcodeSchemeList = z
  .object({ schemes: z.array(BarcodeSchemeView).openapi({ description: 'Those that were set.' }) })
  .openapi('BarcodeSchemeList');
