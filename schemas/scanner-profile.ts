import { z } from '@hono/zod-openapi';

const Column = z.union([z.int().min(1).max(100), z.string().trim().min(1).max(100)]).openapi({
  description: 'Its number from 1, or its name in the header.',
  example: 2,
});
const Words = z.array(z.string().max(50)).max(20);

/** domain/scanner-profile.ts; the compiler compares them where requests and replies are made. */
const profileFields = {
  name: z.string().trim().min(1).max(100),
  format: z.enum(['table', 'sequence', 'dp5']).openapi({
    description: 'table: a line a position; sequence: one line of barcodes; dp5: the JSON of a DP5 reader.',
  }),
  encoding: z.enum(['utf-8', 'latin1', 'utf-16le']).default('utf-8').openapi({
    description: 'Of files sent as bytes; a byte order mark says more.',
  }),
  byteOrderMark: z.boolean().default(true).openapi({ description: 'Whether one may stand in front.' }),
  delimiter: z.enum([',', ';', '\t', '|']).default(','),
  trailingDelimiter: z.boolean().default(false),
  suffix: z
    .string()
    .max(20)
    .default('')
    .openapi({ description: 'What ends the message, such as control character 3.' }),
  headerLines: z.int().min(0).max(20).default(0).openapi({
    description: 'Lines in front of the first position; the last of them names the columns.',
  }),
  width: z.int().min(2).max(100).optional().openapi({
    description: 'Fields of a line; left out: as many as the header names.',
  }),
  columns: z
    .strictObject({ rack: Column.optional(), position: Column, barcode: Column })
    .default({ position: 1, barcode: 2 }),
  order: z.enum(['rows', 'columns']).default('rows').openapi({
    description: 'How bare numbers and sequences count: A1, A2 … or A1, B1 ….',
  }),
  rack: z
    .strictObject({ rows: z.int().min(1).max(100), columns: z.int().min(1).max(100) })
    .optional()
    .openapi({ description: 'Size of every rack it reads; left out: it may differ.' }),
  empty: Words.default(['', 'EMPTY', 'NO TUBE']).openapi({ description: 'Words for: no tube here.' }),
  unread: Words.default(['NO READ', 'NOSCAN']).openapi({
    description: 'Words for: a tube that was not read.',
  }),
  trim: z.boolean().default(true).openapi({ description: 'Whether spaces around fields are dropped.' }),
  listsEmpty: z.boolean().default(true).openapi({
    description: 'true: a position that is not listed was not scanned; false: it is empty.',
  }),
};

export const ScannerProfileRequest = z
  .strictObject(profileFields)
  .refine(({ headerLines, width }) => headerLines > 0 || width !== undefined, {
    error: 'should be a number of fields, since there is no header that names them',
    path: ['width'],
  })
  .refine(
    ({ headerLines, columns }) =>
      headerLines > 0 || Object.values(columns).every((column) => typeof column !== 'string'),
    { error: 'should be numbers, since there is no header that names them', path: ['columns'] },
  )
  .openapi('ScannerProfileRequest');

/** Of a profile. */
export const ProfileCode = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,49}$/, { error: 'a code of small letters, digits and _, such as two_columns' })
  .openapi({ example: 'two_columns' });

export const ScannerProfile = z
  .object({
    ...profileFields,
    code: ProfileCode,
    version: z.int().openapi({ description: 'For If-Match; 0: a preset, nobody has set it.' }),
  })
  .openapi('ScannerProfile');
export type ScannerProfile = z.input<typeof ScannerProfile>;

export const ScannerProfileList = z
  .object({ profiles: z.array(ScannerProfile).openapi({ description: 'By code.' }) })
  .openapi('ScannerProfileList');
