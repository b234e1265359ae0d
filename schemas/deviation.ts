import { z } from '@hono/zod-openapi';
import { Id, Instant } from './problem.ts';

/** List of db/deviations.ts; the compiler compares them where replies are made. */
export const DeviationKindName = z.enum([
  'sample_lost',
  'sample_damaged',
  'dropped',
  'barcode_mismatch',
  'quarantined',
  'exposure_exceeded',
  'inventory_missing',
  'inventory_unexpected',
  'inventory_moved',
  'unverified',
]);

/** Where what is and what should be differ, until a person has settled it. */
export const Deviation = z
  .object({
    id: Id,
    kind: DeviationKindName,
    description: z.string(),
    sampleId: Id.optional(),
    jobId: Id.optional().openapi({ description: 'The job that found it.' }),
    robotId: Id.optional(),
    facts: z
      .record(z.string(), z.unknown())
      .openapi({ description: 'Ids and numbers; which of them depends on the kind.' }),
    openedAt: Instant,
    closed: z
      .object({ at: Instant, by: Id, comment: z.string().optional() })
      .optional()
      .openapi({ description: 'Absent: it is open.' }),
    version: z.int(),
  })
  .openapi('Deviation');
export type Deviation = z.infer<typeof Deviation>;

export const DeviationPage = z
  .object({ deviations: z.array(Deviation), nextCursor: z.string().optional() })
  .openapi('DeviationPage');

export const CloseDeviationRequest = z
  .strictObject({
    comment: z.string().trim().min(1).max(1_000).openapi({ description: 'How it was settled.' }),
  })
  .openapi('CloseDeviationRequest');
