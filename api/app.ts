import type { OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { requestId } from 'hono/request-id';
import { secureHeaders } from 'hono/secure-headers';
import { DomainError } from '../domain/errors.ts';
import { type ApiEnv, type AppDependencies, DEFAULT_LIMITS } from './dependencies.ts';
import { observe } from './middleware/observe.ts';
import { serveOpenApi } from './openapi.ts';
import { answerError, problemResponse } from './problem.ts';
import { createRouter } from './route.ts';
import { authRoutes } from './routes/auth.ts';
import { jobRoutes } from './routes/automation.ts';
import { bulkRoutes } from './routes/bulk.ts';
import { consentRoutes } from './routes/consents.ts';
import { deviationRoutes } from './routes/deviations.ts';
import { docsRoutes, PAGE_POLICY } from './routes/docs.ts';
import { exportRoutes } from './routes/exports.ts';
import { exposureBudgetRoutes } from './routes/exposure-budgets.ts';
import { healthRoutes } from './routes/health.ts';
import { inventoryRoutes } from './routes/inventory.ts';
import { labelRoutes } from './routes/labels.ts';
import { ledgerRoutes } from './routes/ledger.ts';
import { locationTypeRoutes } from './routes/location-types.ts';
import { locationRoutes } from './routes/locations.ts';
import { picklistRoutes } from './routes/picklists.ts';
import { positionRoutes } from './routes/positions.ts';
import { automationProcessRoutes, storageProcessRoutes } from './routes/processes.ts';
import { rackScannerRoutes } from './routes/rack-scanners.ts';
import { rackScanRoutes } from './routes/rack-scans.ts';
import { reservationRoutes } from './routes/reservations.ts';
import { robotRoutes } from './routes/robots.ts';
import { sampleLifeRoutes } from './routes/sample-life.ts';
import { scannerProfileRoutes } from './routes/scanner-profiles.ts';
import { scheduleRoutes } from './routes/schedules.ts';
import { storageRoutes } from './routes/storage.ts';
import { structureRoutes } from './routes/structure.ts';
import { verificationRoutes } from './routes/verification.ts';

/** Why a path of automation is not there. */
const AUTOMATION_OFF = 'Automation is switched off here (AUTOMATION_ENABLED=false): work by hand.';

/**
 * The HTTP application. Holds no state of its own and reads no environment: what it needs is handed in, so that tests
 * call `app.request()` in their own process.
 */
export function createApp(dependencies: AppDependencies): OpenAPIHono<ApiEnv> {
  const limits = { ...DEFAULT_LIMITS, ...dependencies.limits };
  const app = createRouter();
  app.onError(answerError);
  app.notFound((c) =>
    problemResponse(
      new DomainError(
        'NOT_FOUND',
        `There is nothing at ${c.req.path.slice(0, 200)}; /docs lists what there is.`,
      ),
      c,
    ),
  );

  app.use('*', requestId());
  app.use('*', async (c, next) => {
    c.set('dependencies', dependencies);
    c.set('limits', limits);
    await next();
  });
  app.use('*', observe(dependencies));
  // What a page of another origin, or an old browser, could do with a data reply; the rest of the usual set is for pages.
  const common = {
    xFrameOptions: 'DENY',
    referrerPolicy: 'no-referrer',
    crossOriginOpenerPolicy: false,
    originAgentCluster: false,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
  } as const;
  const forData = secureHeaders({
    ...common,
    contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  });
  const forPage = secureHeaders({ ...common, contentSecurityPolicy: PAGE_POLICY });
  app.use('*', (c, next) => (c.req.path.startsWith('/docs') ? forPage(c, next) : forData(c, next)));
  app.use(
    '*',
    methodNotAllowed<ApiEnv>({
      app,
      onMethodNotAllowed: (c, methods) => {
        const response = problemResponse(
          new DomainError(
            'METHOD_NOT_ALLOWED',
            `${c.req.path.slice(0, 200)} takes ${methods.join(', ')}, not ${c.req.method}.`,
          ),
          c,
        );
        response.headers.set('allow', methods.join(', '));
        return response;
      },
    }),
  );
  const limitOf = (maxSize: number) =>
    bodyLimit({
      maxSize,
      onError: () => {
        throw new DomainError('BODY_TOO_LARGE', `A body may have at most ${maxSize} bytes.`);
      },
    });
  const limitBody = limitOf(limits.bodyBytes);
  const limitByPath = new Map([
    ['/storage/moves', limitOf(limits.movesBytes)],
    ['/storage/imports', limitOf(limits.importBytes)],
  ]);
  // To look for the body of a GET, which has none, costs more than the rest of the way to its handler.
  app.use('*', (c, next) =>
    c.req.method === 'GET' ? next() : (limitByPath.get(c.req.path) ?? limitBody)(c, next),
  );

  app.route('/', healthRoutes(dependencies));
  app.route('/', authRoutes(dependencies, limits));
  app.route('/', locationRoutes(dependencies));
  app.route('/', positionRoutes(dependencies));
  app.route('/', structureRoutes(dependencies));
  app.route('/', reservationRoutes(dependencies));
  app.route('/', locationTypeRoutes(dependencies));
  app.route('/', storageRoutes(dependencies));
  app.route('/', sampleLifeRoutes(dependencies));
  app.route('/', consentRoutes(dependencies));
  app.route('/', bulkRoutes(dependencies));
  app.route('/', exportRoutes(dependencies));
  app.route('/', exposureBudgetRoutes(dependencies));
  app.route('/', verificationRoutes(dependencies));
  app.route('/', rackScanRoutes(dependencies));
  app.route('/', scannerProfileRoutes(dependencies));
  app.route('/', rackScannerRoutes(dependencies));
  app.route('/', labelRoutes(dependencies));
  app.route('/', storageProcessRoutes());
  // Jobs and deviations stay with automation off: work by hand is confirmed there, and may go wrong.
  app.route('/', jobRoutes(dependencies));
  app.route('/', deviationRoutes(dependencies));
  if (dependencies.features.automation) {
    app.route('/', automationProcessRoutes());
    app.route('/', robotRoutes(dependencies));
    app.route('/', inventoryRoutes(dependencies));
    app.route('/', picklistRoutes(dependencies));
    app.route('/', scheduleRoutes(dependencies));
  } else {
    for (const path of [
      '/automation/placement',
      '/automation/retrieval',
      '/automation/robots',
      '/automation/robots/*',
      '/automation/picklists',
      '/automation/picklists/*',
      '/automation/schedule',
      '/automation/schedule/*',
    ]) {
      app.all(path, () => {
        throw new DomainError('FEATURE_OFF', AUTOMATION_OFF);
      });
    }
  }
  app.route('/', ledgerRoutes(dependencies));
  serveOpenApi(app);
  app.route('/', docsRoutes());
  return app;
}
