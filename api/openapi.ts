import type { OpenAPIHono } from '@hono/zod-openapi';
import type { ApiEnv } from './dependencies.ts';

/** What the document says about itself. */
export const OPENAPI_INFO = {
  openapi: '3.1.0',
  info: {
    title: 'TracSeq',
    version: '0.1.0',
    description: [
      'Sample storage on durable workflows.',
      'Sign in at `POST /auth/sign-in`, then send the token as `Authorization: Bearer …`.',
      'Times are RFC 3339 UTC with milliseconds, ids UUIDv7; a barcode is taken wherever the id of a sample or location is.',
      'A refusal is an RFC 9457 problem with a `code` that is never renamed.',
      'What takes time is answered `202` with a job; its `Location` tells how it goes on.',
    ].join('\n\n'),
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '/', description: 'This server' }],
  tags: [
    { name: 'Storage', description: 'Locations, samples and where they are.' },
    { name: 'Automation', description: 'Processes under way, and robots.' },
    { name: 'Ledger', description: 'The proof of how everything came to be so.' },
    { name: 'Identity', description: 'Sign-in and tokens.' },
    { name: 'Health', description: 'For operators.' },
  ],
};

/** Serves the document at /openapi.json, of what is mounted by then. */
export function serveOpenApi(app: OpenAPIHono<ApiEnv>): void {
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'Access token of POST /auth/sign-in, 15 minutes.',
  });
  let document: ReturnType<typeof app.getOpenAPI31Document> | undefined;
  app.get('/openapi.json', (c) => {
    // Made once: it takes some tens of milliseconds, and anybody may ask for it.
    document ??= app.getOpenAPI31Document(OPENAPI_INFO);
    return c.json(document, 200, { 'cache-control': 'public, max-age=60' });
  });
}
