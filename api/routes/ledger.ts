import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import { checkLedger } from '../../db/ledger.ts';
import { Integrity } from '../../schemas/ledger.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { createRouter, problems, reply, secured } from '../route.ts';

const integrityRoute = createRoute({
  ...secured('ledger.verify'),
  method: 'get',
  path: '/blockchain/integrity',
  tags: ['Ledger'],
  summary: 'Recompute the laboratory’s whole ledger and compare',
  description:
    'Reads every entry, record version and event of the laboratory: seconds for a hundred thousand entries. A ledger that was rewritten as a whole cannot be told from an honest one without a checkpoint kept elsewhere.',
  responses: {
    200: reply(Integrity, 'What was found; `ok` says whether all is well.', {
      ok: true,
      origin: 'tracseq.local/t/0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d01',
      size: 412,
      root: '3f9a6e0a4a3bd0a6a5f4f7c8e2b1d09c8b7a6f5e4d3c2b1a09f8e7d6c5b4a392',
      entries: 412,
      recordVersions: 412,
      erasableValues: 96,
      faults: 0,
    }),
    ...problems(),
  },
});

export function ledgerRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();
  routes.openapi(integrityRoute, async (c) => {
    const { firstFault, ...report } = await checkLedger(db, c.var.actor.tenantId);
    return c.json(
      {
        ...report,
        ...(firstFault && {
          firstFault: {
            kind: firstFault.kind,
            detail: firstFault.detail,
            ...(firstFault.seq !== null && { seq: firstFault.seq }),
            ...(firstFault.eventId !== null && { eventId: firstFault.eventId }),
          },
        }),
      },
      200,
    );
  });
  return routes;
}
