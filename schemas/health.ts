import { z } from '@hono/zod-openapi';

export const Alive = z.object({ status: z.literal('alive') }).openapi('Alive');

const Dependency = z.object({
  name: z.enum(['database', 'temporal']),
  ready: z.boolean(),
  latencyMs: z.number(),
  detail: z.string().optional(),
});

export const Readiness = z
  .object({ ready: z.boolean(), dependencies: z.array(Dependency) })
  .openapi('Readiness');
export type Readiness = z.infer<typeof Readiness>;
