import type { Context } from 'hono';
import { DomainError } from '../domain/errors.ts';
import type { ApiEnv } from './dependencies.ts';

/** The ETag of a record people edit: its version. */
export function etagOf(record: { readonly version: number }): string {
  return `"${record.version}"`;
}

/**
 * The version the person saw, from If-Match; quoted as the ETag came, or bare.
 * @throws DomainError PRECONDITION_REQUIRED when it is missing, VALIDATION when it is no ETag of ours
 */
export function versionFromIfMatch(c: Context<ApiEnv>): number {
  const header = c.req.header('if-match');
  if (header === undefined) {
    throw new DomainError(
      'PRECONDITION_REQUIRED',
      'If-Match is missing: send the ETag of the record as you read it, such as "3".',
    );
  }
  const version = /^(?:"(\d{1,9})"|(\d{1,9}))$/.exec(header.trim());
  if (!version) {
    throw new DomainError(
      'VALIDATION',
      'If-Match should be the ETag of the record as you read it, such as "3".',
      {
        errors: [{ pointer: 'If-Match', detail: 'should be one ETag such as "3"' }],
      },
    );
  }
  return Number(version[1] ?? version[2]);
}
