import { z } from '@hono/zod-openapi';
import { Id, Instant } from './problem.ts';

/** One comparison of a store's own inventory with the record. */
export const InventoryComparison = z
  .object({
    id: Id,
    robotId: Id,
    state: z.enum(['RUNNING', 'COMPLETED', 'FAILED']),
    cause: z.enum(['asked', 'schedule']),
    startedAt: Instant,
    endedAt: Instant.optional(),
    counts: z
      .object({
        tubes: z.int().openapi({ description: 'In the store’s own inventory.' }),
        recorded: z.int().openapi({ description: 'In the record.' }),
        missing: z.int().openapi({ description: 'Recorded, and nowhere in the store’s inventory.' }),
        unexpected: z.int().openapi({ description: 'In the store’s inventory, and not recorded there.' }),
        moved: z.int().openapi({ description: 'Recorded in another place than the store has it.' }),
      })
      .optional()
      .openapi({ description: 'Once it was compared. What a job moves meanwhile is left out.' }),
    opened: z.int().openapi({
      description: 'Deviations opened by it, one a tube; what was open before is not opened again.',
    }),
    detail: z.string().optional().openapi({ description: 'Why it came to nothing.' }),
  })
  .openapi('InventoryComparison');
export type InventoryComparison = z.infer<typeof InventoryComparison>;

export const InventoryComparisonList = z
  .object({ comparisons: z.array(InventoryComparison) })
  .openapi('InventoryComparisonList');
