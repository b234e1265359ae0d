import { sql, type Transaction } from 'kysely';
import type { Refusal } from '../domain/errors.ts';
import { cellLabel } from '../domain/grid.ts';
import type { Target } from '../domain/order.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import type { HeldPosition } from './placement.ts';
import { seePlace } from './places.ts';
import type { DB } from './schema.ts';

export type HandoffResult =
  | { readonly outcome: 'reserved'; readonly position: HeldPosition }
  | { readonly outcome: 'refused'; readonly refusal: Refusal };

interface HandoffRow extends GridRow {
  id: string;
  container_id: string;
  name: string;
  barcode: string | null;
  grid_row: number;
  grid_column: number;
  lease_expires_at: Date;
}

/**
 * Reserves a position of the robot's hand-off for a job: the one named, or the first that is free.
 * @param positionId the position the tube stands or will stand in; null = the system chooses
 * @param leaseMs how long the job may hold it before motion is accepted, in milliseconds
 */
export async function reserveHandoff(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  robotId: string,
  positionId: string | null,
  leaseMs: number,
): Promise<HandoffResult> {
  const named = positionId === null ? sql`true` : sql`id = ${positionId}`;
  const { rows } = await sql<HandoffRow>`
    UPDATE position p SET state = 'reserved', job_id = ${jobId},
      lease_expires_at = now() + ${leaseMs} * interval '1 millisecond'
    FROM location l JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
    WHERE l.tenant_id = ${tenantId} AND l.id = p.container_id AND p.tenant_id = ${tenantId} AND p.id = (
      SELECT id FROM position
      WHERE tenant_id = ${tenantId} AND ${named} AND state IN ('free', 'reserved')
        AND (state = 'free' OR lease_expires_at < now())
        AND container_id = (SELECT handoff_id FROM robot
                            WHERE tenant_id = ${tenantId} AND id = ${robotId} AND retired_at IS NULL)
      ORDER BY ordinal LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING p.id, p.container_id, t.name || ' ' || l.name AS name, l.barcode, p.grid_row, p.grid_column,
      ${GRID_COLUMNS}, p.lease_expires_at`.execute(tx);
  const row = rows[0];
  if (!row) {
    return { outcome: 'refused', refusal: await refuseHandoff(tx, tenantId, robotId, positionId) };
  }
  const grid = gridOf(row);
  return {
    outcome: 'reserved',
    position: {
      positionId: row.id,
      containerId: row.container_id,
      label: cellLabel({ row: row.grid_row, column: row.grid_column }, grid),
      containerName: row.name,
      containerBarcode: row.barcode,
      leaseExpiresAt: row.lease_expires_at,
    },
  };
}

async function refuseHandoff(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
  positionId: string | null,
): Promise<Refusal> {
  const robot = await tx
    .selectFrom('robot')
    .select(['name', 'handoff_id'])
    .where('tenant_id', '=', tenantId)
    .where('id', '=', robotId)
    .where('retired_at', 'is', null)
    .executeTakeFirst();
  if (!robot) return { code: 'NOT_FOUND', detail: `there is no robot ${robotId} in service` };
  if (positionId === null) {
    return {
      code: 'NO_POSITION_FREE',
      detail: `no position of the hand-off of ${robot.name} is free: take out the tubes that wait there`,
      facts: { fullHandoff: robot.handoff_id },
    };
  }
  const place = await seePlace(tx, tenantId, positionId);
  if (!place) return { code: 'NOT_FOUND', detail: `there is no position ${positionId}` };
  if (place.containerId !== robot.handoff_id) {
    return {
      code: 'OUT_OF_REACH',
      detail: `position ${place.label} of ${place.containerName} is not in the hand-off of ${robot.name}: name one that is, or none`,
    };
  }
  const taken = place.state === 'blocked' ? 'blocked' : 'taken';
  return {
    code: taken === 'blocked' ? 'POSITION_BLOCKED' : 'POSITION_OCCUPIED',
    detail: `hand-off position ${place.label} of ${place.containerName} is ${taken}: name another, or none`,
  };
}

/**
 * Gives back the positions the job holds: those without a tube become free, those with one stay occupied and are no
 * longer the job's. Nothing to give back is a success.
 * @param except positions that stay as they are: where a tube may be that nobody has seen
 * @returns how many positions were given back
 */
export async function releasePositions(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  except: readonly string[] = [],
): Promise<number> {
  const { numAffectedRows } = await sql`
    UPDATE position SET state = CASE WHEN sample_id IS NULL THEN 'free' ELSE 'occupied' END, job_id = NULL,
      lease_expires_at = NULL
    WHERE tenant_id = ${tenantId} AND job_id = ${jobId} AND id <> ALL (${[...except]}::uuid[])`.execute(tx);
  return Number(numAffectedRows ?? 0n);
}

/**
 * The robot for a target: the one that reaches the named position, or whose store holds, or lies in, the location
 * within which the system chooses; any robot where nothing is said. Null when none does.
 */
export async function robotForTarget(
  tx: Transaction<DB>,
  tenantId: string,
  target: Target,
): Promise<string | null> {
  const locationId =
    target.kind === 'chosen'
      ? sql`${target.withinId}::uuid`
      : sql`(SELECT container_id FROM position WHERE tenant_id = ${tenantId} AND id = ${target.positionId})`;
  const { rows } = await sql<{ id: string }>`
    SELECT r.id FROM robot r
    LEFT JOIN robot_state s ON s.tenant_id = r.tenant_id AND s.robot_id = r.id
    WHERE r.tenant_id = ${tenantId} AND r.retired_at IS NULL
      AND (${target.kind === 'chosen' && target.withinId === null} OR EXISTS (
        SELECT FROM location_ancestor a WHERE a.tenant_id = r.tenant_id
          AND (a.ancestor_id, a.descendant_id) = (r.store_id, ${locationId})) OR (${target.kind === 'chosen'} AND EXISTS (
        SELECT FROM location_ancestor a WHERE a.tenant_id = r.tenant_id
          AND (a.ancestor_id, a.descendant_id) = (${locationId}, r.store_id))))
    ORDER BY coalesce(s.dispatch, 'running') = 'running' DESC, r.id LIMIT 1`.execute(tx);
  return rows[0]?.id ?? null;
}
