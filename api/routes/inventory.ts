import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { beginComparison, type ComparisonRecord, listComparisons } from '../../db/inventory.ts';
import { listRobots } from '../../db/robots.ts';
import { DomainError } from '../../domain/errors.ts';
import { InventoryComparison, InventoryComparisonList } from '../../schemas/inventory.ts';
import { Id } from '../../schemas/problem.ts';
import { CONTROL_QUEUE } from '../../workflows/ids.ts';
import { COMPARE_INVENTORY } from '../../workflows/messages/inventory.ts';
import { inventoryStartOptions } from '../../workflows/messages/start.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { rememberAnswer } from '../processes.ts';
import { createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { EXAMPLE_ID } from './examples.ts';

/** How many comparisons are shown. */
const SHOWN = 20;

const RUNNING_EXAMPLE: z.input<typeof InventoryComparison> = {
  id: EXAMPLE_ID,
  robotId: EXAMPLE_ID,
  state: 'RUNNING',
  cause: 'asked',
  startedAt: '2026-03-02T08:15:00.000Z',
  opened: 0,
};
const ENDED_EXAMPLE: z.input<typeof InventoryComparison> = {
  ...RUNNING_EXAMPLE,
  state: 'COMPLETED',
  endedAt: '2026-03-02T08:15:09.000Z',
  counts: { tubes: 8_192, recorded: 8_192, missing: 1, unexpected: 1, moved: 0 },
  opened: 2,
};

const params = z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) });

const listRoute = createRoute({
  ...secured('robot.read'),
  method: 'get',
  path: '/automation/robots/{id}/inventory',
  tags: ['Automation'],
  summary: 'Comparisons of the store’s own inventory with the record, newest first',
  description: `The last ${SHOWN}. What they found is in the deviations.`,
  request: { params },
  responses: {
    200: reply(InventoryComparisonList, 'Empty for a store that keeps no inventory of its own.', {
      comparisons: [ENDED_EXAMPLE],
    }),
    ...problems('NOT_FOUND', 'VALIDATION'),
  },
});

const startRoute = createRoute({
  ...secured('robot.inventory'),
  method: 'post',
  path: '/automation/robots/{id}/inventory',
  tags: ['Automation'],
  summary: 'Compare the store’s own inventory with the record now',
  description:
    'For stores that take worklists and keep an inventory of their own. One runs at a time: while one does, that one is ' +
    'answered. Each tube about which the two differ becomes a deviation. Nothing is moved, and no record is corrected: what ' +
    'nothing vouches for any more is withdrawn.',
  request: { headers: IdempotencyHeader, params },
  responses: {
    202: {
      ...reply(InventoryComparison, 'It runs.', RUNNING_EXAMPLE),
      headers: z.object({ location: z.string().openapi({ description: 'Where it can be looked at.' }) }),
    },
    ...problems(
      'NOT_FOUND',
      'CONFLICT',
      'VALIDATION',
      'IDEMPOTENCY_KEY_BUSY',
      'IDEMPOTENCY_KEY_REUSED',
      'WORKFLOWS_UNAVAILABLE',
    ),
  },
});

/** Inventories that stores keep themselves. */
export function inventoryRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  routes.openapi(listRoute, async (c) => {
    const { tenantId } = c.var.actor;
    const { id } = c.req.valid('param');
    const [robot] = await listRobots(db, tenantId, id);
    if (!robot) throw new DomainError('NOT_FOUND', `There is no robot ${id}.`);
    const comparisons = await listComparisons(db, tenantId, id, SHOWN);
    return c.json({ comparisons: comparisons.map(present) }, 200);
  });

  routes.openapi(startRoute, async (c) => {
    const { id } = c.req.valid('param');
    const comparison = await beginComparison(db, c.var.actor, id, 'asked');
    await start(c, comparison);
    const location = `/automation/robots/${id}/inventory`;
    const shown = present(comparison);
    await rememberAnswer(c, { status: 202, reply: shown, location });
    c.header('location', location);
    return c.json(shown, 202);
  });
  return routes;
}

/** Starts its workflow, or joins it: one that was begun when the workflow service was away is started by the next request. */
async function start(c: Context<ApiEnv>, { id, robotId }: ComparisonRecord): Promise<void> {
  const { tenantId } = c.var.actor;
  const { temporal } = c.var.dependencies;
  await temporal.withDeadline(Date.now() + c.var.limits.answerMs, () =>
    temporal.workflow.start(COMPARE_INVENTORY, {
      ...inventoryStartOptions({ tenantId, robotId, comparisonId: id }),
      taskQueue: CONTROL_QUEUE,
      workflowIdConflictPolicy: 'USE_EXISTING',
    }),
  );
}

function present(comparison: ComparisonRecord): InventoryComparison {
  const { id, robotId, state, cause, startedAt, endedAt, counts, opened, detail } = comparison;
  return {
    id,
    robotId,
    state,
    cause,
    startedAt: startedAt.toISOString(),
    ...(endedAt && { endedAt: endedAt.toISOString() }),
    ...(counts && { counts: { ...counts } }),
    opened,
    ...(detail !== null && { detail }),
  };
}
