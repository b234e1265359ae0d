import { z } from '@hono/zod-openapi';

/** RFC 9457 problem details, as every refusal of the API is written. */
export const Problem = z
  .object({
    type: z.string().openapi({ description: 'The kind of problem, a URN made from the code.' }),
    title: z.string().openapi({ description: 'The kind of problem in words, the same each time.' }),
    status: z.int().min(400).max(599),
    code: z.string().openapi({ description: 'The kind of problem for programs; never renamed.' }),
    detail: z.string().openapi({ description: 'What was wrong here, and what would be right.' }),
    instance: z.string().openapi({ description: 'The path that was asked for.' }),
    requestId: z.string().openapi({ description: 'Names this request in the log.' }),
    errors: z
      .array(
        z.object({
          pointer: z
            .string()
            .openapi({ description: 'JSON pointer into the body, or the name of a parameter.' }),
          detail: z.string(),
        }),
      )
      .optional(),
    facts: z
      .record(z.string(), z.unknown())
      .optional()
      .openapi({ description: 'What a program may use to do better, e.g. the next free position.' }),
  })
  .openapi('Problem');
export type Problem = z.infer<typeof Problem>;

/** An id made by the system, UUID version 7. */
export const Id = z.uuid().openapi({ example: '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d01' });

/** RFC 3339, UTC, milliseconds. */
export const Instant = z.iso.datetime({ precision: 3 }).openapi({ example: '2026-03-02T08:15:00.000Z' });
