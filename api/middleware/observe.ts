import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';

/**
 * One log line and two measurements a request. Paths are logged as their pattern: barcodes and whatever else callers
 * put into a path do not belong in a log.
 */
export function observe({ log, metrics }: AppDependencies) {
  return createMiddleware<ApiEnv>(async (c, next) => {
    const started = performance.now();
    await next();
    const { status } = c.res;
    const { method } = c.req;
    const ms = performance.now() - started;
    const route = status === 404 && c.error === undefined ? 'unmatched' : routePath(c, -1);
    metrics.requests.inc({ method, route, status });
    metrics.seconds.observe({ method, route }, ms / 1000);
    const actor = c.get('actor') as ApiEnv['Variables']['actor'] | undefined;
    log.info(
      {
        requestId: c.get('requestId'),
        method,
        route,
        status,
        ms: Math.round(ms * 10) / 10,
        tenant: actor?.tenantId,
        user: actor?.userId,
      },
      'request',
    );
  });
}
