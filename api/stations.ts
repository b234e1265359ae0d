import type { Context } from 'hono';
import { listRobots, standsAtRobot } from '../db/robots.ts';
import { DomainError } from '../domain/errors.ts';
import type { ApiEnv } from './dependencies.ts';

/**
 * Whoever lets a robot run sees it.
 * @throws DomainError STATION_REQUIRED unless the sender signed in at a station enrolled at this robot
 */
export async function requireStationAt(c: Context<ApiEnv>, robotId: string): Promise<void> {
  const { actor, dependencies } = c.var;
  const { tenantId, stationId } = actor;
  if (stationId !== null && (await standsAtRobot(dependencies.db, tenantId, stationId, robotId))) return;
  const [robot] = await listRobots(dependencies.db, tenantId, robotId);
  throw new DomainError(
    'STATION_REQUIRED',
    `This is done at a station enrolled at ${robot?.name ?? 'the robot'}: sign in there.`,
    { facts: { robotId } },
  );
}
