import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { Alive, Readiness } from '../../schemas/health.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { createRouter, reply, withoutToken } from '../route.ts';

/** A dependency that has not answered within this time counts as missing. */
const PROBE_MS = 2_000;

const aliveRoute = createRoute({
  ...withoutToken(),
  method: 'get',
  path: '/health',
  tags: ['Health'],
  summary: 'Is the process alive',
  responses: { 200: reply(Alive, 'It answers.', { status: 'alive' }) },
});

const readiness = (ready: boolean): z.input<typeof Readiness> => ({
  ready,
  dependencies: [
    { name: 'database', ready: true, latencyMs: 0.8 },
    ready
      ? { name: 'temporal', ready: true, latencyMs: 1.9 }
      : { name: 'temporal', ready: false, latencyMs: PROBE_MS, detail: 'did not answer within 2 s' },
  ],
});

const readyRoute = createRoute({
  ...withoutToken(),
  method: 'get',
  path: '/health/ready',
  tags: ['Health'],
  summary: 'Can it do its work: each dependency, with latency in milliseconds',
  responses: {
    200: reply(Readiness, 'Everything needed answers.', readiness(true)),
    503: reply(Readiness, 'Something needed does not answer.', readiness(false)),
  },
});

const metricsRoute = createRoute({
  ...withoutToken(),
  method: 'get',
  path: '/health/metrics',
  tags: ['Health'],
  summary: 'Measurements in the format of Prometheus',
  responses: {
    200: {
      description: 'All measurements.',
      content: {
        'text/plain': {
          schema: z.string(),
          example: 'tracseq_http_requests_total{method="GET",route="/health",status="200"} 12\n',
        },
      },
    },
  },
});

export function healthRoutes(dependencies: AppDependencies): OpenAPIHono<ApiEnv> {
  const { db, temporal, metrics } = dependencies;
  const routes = createRouter();
  routes.openapi(aliveRoute, (c) => c.json({ status: 'alive' as const }, 200));
  routes.openapi(readyRoute, async (c) => {
    const found = await Promise.all([
      probe('database', () => db.pool.query('SELECT 1')),
      probe('temporal', () =>
        temporal.connection.withDeadline(Date.now() + PROBE_MS, () =>
          temporal.workflowService.getSystemInfo({}),
        ),
      ),
    ]);
    const ready = found.every((one) => one.ready);
    return ready
      ? c.json({ ready, dependencies: found }, 200)
      : c.json({ ready, dependencies: found }, 503, { 'retry-after': '2' });
  });
  routes.openapi(metricsRoute, async (c) =>
    c.text(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType }),
  );
  return routes;
}

async function probe<N extends string>(
  name: N,
  ask: () => Promise<unknown>,
): Promise<{ name: N; ready: boolean; latencyMs: number; detail?: string }> {
  const started = performance.now();
  const latency = () => Math.round((performance.now() - started) * 10) / 10;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('late')), PROBE_MS);
  });
  try {
    await Promise.race([ask(), late]);
    return { name, ready: true, latencyMs: latency() };
  } catch (error) {
    const detail =
      error instanceof Error && error.message === 'late' ? 'did not answer within 2 s' : 'does not answer';
    return { name, ready: false, latencyMs: latency(), detail };
  } finally {
    clearTimeout(timer);
  }
}
