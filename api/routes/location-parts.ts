import { z } from '@hono/zod-openapi';
import { Reference } from '../../schemas/automation.ts';

/** A location by id or barcode. */
export const LocationParams = z.object({ id: Reference.openapi({ param: { name: 'id', in: 'path' } }) });

/** The version of the record that a person edits. */
export const IfMatchHeader = z.object({
  'if-match': z
    .string()
    .optional()
    .openapi({ description: 'ETag of the record as it was read; missing: 428.', example: '"3"' }),
});

/** What any body may be refused with. */
export const BODY_REFUSALS = [
  'MALFORMED_BODY',
  'VALIDATION',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'IDEMPOTENCY_KEY_BUSY',
  'IDEMPOTENCY_KEY_REUSED',
] as const;

/** What looking a location up may end with. */
export const LOOKUP_REFUSALS = ['NOT_FOUND', 'BARCODE_UNKNOWN', 'VALIDATION'] as const;

/** A reply with a record that people edit. */
export const withEtag = <R extends object>(answer: R) => ({
  ...answer,
  headers: { ETag: { description: 'For If-Match.', schema: { type: 'string' as const } } },
});
