import { z } from '@hono/zod-openapi';
import { ZoneName } from './automation.ts';

const Seconds = z.int().min(1).max(86_400);

/** Everything a person may set for a temperature class. */
export const ExposureBudgetRequest = z
  .strictObject({
    budgetSeconds: Seconds.nullable().openapi({
      description: 'How long one move may have a tube outside its cold; null: as long as it takes.',
    }),
    handSeconds: Seconds.openapi({ description: 'How long a move by hand is expected to take.' }),
    pickupSeconds: Seconds.optional().openapi({
      description:
        'How long a tube may wait in the hand-off before the robot takes it back. Left out: what the budget leaves, at ' +
        'least 30 s and at most 600 s.',
    }),
  })
  .openapi('ExposureBudgetRequest');

export const ExposureBudget = z
  .object({
    zone: ZoneName,
    budgetSeconds: Seconds.optional().openapi({ description: 'Absent: as long as it takes.' }),
    handSeconds: Seconds,
    pickupSeconds: Seconds.optional().openapi({ description: 'Absent: what the budget leaves.' }),
    version: z.int().openapi({ description: 'For If-Match; 0: the preset, nobody has set one.' }),
  })
  .openapi('ExposureBudget');
export type ExposureBudget = z.infer<typeof ExposureBudget>;

export const ExposureBudgetList = z
  .object({ budgets: z.array(ExposureBudget).openapi({ description: 'One a class, coldest first.' }) })
  .openapi('ExposureBudgetList');
