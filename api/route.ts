import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { ERRORS, type ErrorCode } from '../domain/errors.ts';
import { type Action, PERMISSIONS } from '../domain/permissions.ts';
import { Problem } from '../schemas/problem.ts';
import type { ApiEnv } from './dependencies.ts';
import { refuseInvalid } from './invalid.ts';
import { authorise } from './middleware/authorise.ts';
import { acceptIdempotencyKey } from './middleware/idempotency.ts';

/** A router whose validation failures become problems. */
export function createRouter(): OpenAPIHono<ApiEnv> {
  return new OpenAPIHono<ApiEnv>({ defaultHook: refuseInvalid });
}

/**
 * What every route but the open ones spreads into `createRoute`: the action it needs, checked before its input is
 * looked at.
 * @example
 * createRoute({
 *   ...secured('location.read'),
 *   method: 'get',
 *   path: '/storage/locations/{id}',
 *   request: { params: LocationParams },
 *   responses: { 200: reply(Location, 'The location'), ...problems('NOT_FOUND') },
 * })
 */
export function secured<A extends Action>(action: A) {
  const middleware: [MiddlewareHandler<ApiEnv>, MiddlewareHandler<ApiEnv>] = [
    authorise(action),
    acceptIdempotencyKey,
  ];
  return { 'x-action': action, 'x-roles': [...PERMISSIONS[action]], security: [{ bearer: [] }], middleware };
}

/** Spread into `createRoute` by the few routes that nobody needs a token for. */
export function withoutToken() {
  return { 'x-action': 'open', security: [] };
}

/** The header every POST takes; read by the middleware, described here. */
export const IdempotencyHeader = z.object({
  'idempotency-key': z.string().optional().openapi({
    description:
      'Makes a repeat harmless: the same key with the same request gets the first reply again, for 30 days. Quoted or bare.',
    example: '"5f0e1c9a-placement-17"',
  }),
});

/** A JSON reply with its example. */
export function reply<S extends z.ZodType>(schema: S, description: string, example?: z.input<S>) {
  return {
    description,
    content: { 'application/json': { schema, ...(example !== undefined && { example }) } },
  };
}

/** A JSON request body with its example. */
export function body<S extends z.ZodType>(schema: S, example: z.input<S>) {
  return { required: true as const, content: { 'application/json': { schema, example } } };
}

type StatusOf<C extends ErrorCode> = (typeof ERRORS)[C]['status'];
type ProblemReply = {
  description: string;
  content: {
    'application/problem+json': { schema: typeof Problem; examples: Record<string, { value: Problem }> };
  };
};

/** Refusals any route with a token may give. */
const ALWAYS = [
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'DATABASE_UNAVAILABLE',
  'INTERNAL',
] as const satisfies ErrorCode[];

/** The replies a route gives for these errors, by status, with an example of each. */
export function problems<const C extends readonly ErrorCode[]>(
  ...codes: C
): Record<StatusOf<C[number] | (typeof ALWAYS)[number]>, ProblemReply> {
  return openProblems(...ALWAYS, ...codes);
}

/** As `problems`, for a route without a token: only the errors named. */
export function openProblems<const C extends readonly ErrorCode[]>(
  ...codes: C
): Record<StatusOf<C[number]>, ProblemReply> {
  const replies: Partial<Record<number, ProblemReply>> = {};
  for (const code of new Set<ErrorCode>(codes)) {
    const { status, title } = ERRORS[code];
    const found = replies[status];
    const example = {
      value: {
        type: problemType(code),
        title,
        status,
        code,
        detail: `${title}.`,
        instance: '/',
        requestId: 'b0c7a1d2-5f0e-4a55-8f0b-2f3c1f0f9d11',
      },
    };
    if (found) {
      found.description += `; ${title} (${code})`;
      found.content['application/problem+json'].examples[code] = example;
    } else {
      replies[status] = {
        description: `${title} (${code})`,
        content: { 'application/problem+json': { schema: Problem, examples: { [code]: example } } },
      };
    }
  }
  return replies as Record<StatusOf<C[number]>, ProblemReply>;
}

/** URN of a kind of problem. */
export function problemType(code: ErrorCode): string {
  return `urn:tracseq:problem:${code.toLowerCase().replaceAll('_', '-')}`;
}
