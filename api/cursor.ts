import type { z } from '@hono/zod-openapi';
import { DomainError } from '../domain/errors.ts';

/** Where the next page begins, as clients get it: opaque, to be sent back as it is. */
export function encodeCursor(place: Readonly<Record<string, string | number>>): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

/**
 * Reads a cursor back.
 * @throws DomainError VALIDATION when it is not one that this list gave
 */
export function decodeCursor<S extends z.ZodType>(schema: S, cursor: string | undefined): z.infer<S> | null {
  if (cursor === undefined) return null;
  const place = schema.safeParse(parse(Buffer.from(cursor, 'base64url').toString('utf8')));
  if (place.success) return place.data;
  throw new DomainError(
    'VALIDATION',
    'The query parameter cursor is none that this list gave: leave it out to begin.',
    {
      errors: [
        { pointer: 'cursor', detail: 'should be the nextCursor of the page before, in the same order' },
      ],
    },
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // no cursor of ours: the schema refuses it
  }
}
