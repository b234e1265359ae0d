import { z } from '@hono/zod-openapi';

/** What recomputing the ledger found. */
export const Integrity = z
  .object({
    ok: z.boolean(),
    origin: z.string().openapi({ description: 'Name of the log, one a laboratory.' }),
    size: z.int().openapi({ description: 'Entries according to the head.' }),
    root: z.string().openapi({ description: 'Root of the Merkle tree (RFC 6962), recomputed, in hex.' }),
    entries: z.int(),
    recordVersions: z.int(),
    erasableValues: z.int(),
    faults: z.int().openapi({ description: 'How many things are wrong.' }),
    firstFault: z
      .object({
        kind: z.string(),
        detail: z.string(),
        seq: z.int().optional(),
        eventId: z.string().optional(),
      })
      .optional(),
  })
  .openapi('Integrity');
