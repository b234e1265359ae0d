import { type RawBuilder, type SqlBool, sql, type Transaction } from 'kysely';
import type { Refusal } from '../domain/errors.ts';
import { cellLabel } from '../domain/grid.ts';
import type { ExclusiveBy } from '../domain/location-rules.ts';
import {
  type PlacementExplanation,
  rankContainers,
  type SampleNeed,
  zonesServing,
} from '../domain/placement.ts';
import { claimContainer } from './exclusive.ts';
import { findRoom, type Room } from './room.ts';
import { needOf } from './sample-need.ts';
import type { DB } from './schema.ts';

/** A position as people and other services see it. */
export interface PositionRef {
  readonly positionId: string;
  readonly containerId: string;
  /** canonical label, e.g. `C5` */
  readonly label: string;
  /** as people know the container, e.g. `Box 9×9 B-7` */
  readonly containerName: string;
  readonly containerBarcode: string | null;
}

/** A position that a job now holds. */
export interface HeldPosition extends PositionRef {
  readonly leaseExpiresAt: Date;
}

/** What a reservation comes to. */
export type ReserveResult =
  | {
      readonly outcome: 'reserved';
      readonly position: HeldPosition;
      readonly explanation: PlacementExplanation;
    }
  | { readonly outcome: 'refused'; readonly refusal: Refusal };

/** What narrows the choice. */
export interface ReserveOptions {
  /** the robot that must reach the position */
  readonly robotId?: string | null;
  /** a container that the system does not choose: where the tube stands now */
  readonly exceptContainerId?: string | null;
}

interface TakenRow {
  id: string;
  container_id: string;
  grid_row: number;
  grid_column: number;
  lease_expires_at: Date;
}

/** Free, or held by a lease that has run out; what is set aside is for its project, until its end. */
function mayBeTaken(tenantId: string, need: SampleNeed): RawBuilder<SqlBool> {
  return sql<SqlBool>`state IN ('free', 'reserved') AND (state = 'free' OR job_id IS NULL OR lease_expires_at < now())
    AND (reservation_id IS NULL OR reserved_until < now() OR reservation_id IN (
      SELECT r.id FROM reservation r
      WHERE r.tenant_id = ${tenantId} AND r.project = ${need.project} AND r.released_at IS NULL))`;
}

/**
 * Takes a position, if it still may be taken. The rules of its container are held with it until the transaction ends and
 * asked once more: somebody may have edited or retired the container since it was looked at.
 * @param id the position's id, as an expression; a look-up that finds none takes none
 */
export async function take(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  need: SampleNeed,
  id: RawBuilder<unknown>,
  leaseMs: number,
): Promise<TakenRow | 'rules_changed' | null> {
  const { rows } = await sql<TakenRow & { rules_hold: boolean; exclusive: readonly ExclusiveBy[] | null }>`
    WITH taken AS (
      UPDATE position SET state = 'reserved', job_id = ${jobId},
        lease_expires_at = now() + ${leaseMs} * interval '1 millisecond'
      WHERE tenant_id = ${tenantId} AND id = ${id} AND ${mayBeTaken(tenantId, need)}
      RETURNING id, container_id, grid_row, grid_column, lease_expires_at)
    SELECT taken.*, l.retired_at IS NULL AND NOT l.is_handoff AND l.effective_zone = ANY (${zonesServing(need.zone)})
      AND (l.effective_sample_types IS NULL OR ${need.type} = ANY (l.effective_sample_types))
      AND rules_accept(l.effective_rules, ${needOf(need)}) AS rules_hold, l.effective_rules -> 'exclusive' AS exclusive
    FROM taken JOIN location l ON l.tenant_id = ${tenantId} AND l.id = taken.container_id FOR SHARE OF l`.execute(
    tx,
  );
  const row = rows[0];
  if (!row) return null;
  if (
    row.rules_hold &&
    (row.exclusive === null || (await claimContainer(tx, tenantId, row, row.exclusive, need)))
  ) {
    return row;
  }
  await sql`UPDATE position SET state = 'free', job_id = NULL, lease_expires_at = NULL
    WHERE tenant_id = ${tenantId} AND id = ${row.id}`.execute(tx);
  return 'rules_changed';
}

/** The first position that may be taken, going through the containers in their order; passes by what others are taking. */
export function firstIn(
  tenantId: string,
  need: SampleNeed,
  containerIds: readonly string[],
): RawBuilder<unknown> {
  return sql`(
    SELECT p.id FROM unnest(${[...containerIds]}::uuid[]) AS c (id) CROSS JOIN LATERAL (
      SELECT id FROM position WHERE tenant_id = ${tenantId} AND container_id = c.id AND ${mayBeTaken(tenantId, need)}
      ORDER BY ordinal LIMIT 1 FOR UPDATE SKIP LOCKED) p
    LIMIT 1)`;
}

/** How people know a position of this container. */
export function positionRef(
  cell: { readonly id: string; readonly grid_row: number; readonly grid_column: number },
  room: Room,
): PositionRef {
  return {
    positionId: cell.id,
    containerId: room.candidate.containerId,
    label: cellLabel({ row: cell.grid_row, column: cell.grid_column }, room.grid),
    containerName: room.candidate.name,
    containerBarcode: room.barcode,
  };
}

/**
 * The position the system would offer instead, unreserved: in the preferred container if that has one, else in the
 * best container elsewhere. Null when there is none.
 */
export async function nextFreeElsewhere(
  tx: Transaction<DB>,
  tenantId: string,
  need: SampleNeed,
  options: {
    readonly robotId?: string | null;
    readonly exceptContainerId?: string | null;
    readonly preferContainerId?: string | null;
  } = {},
): Promise<PositionRef | null> {
  const robotId = options.robotId ?? null;
  const elsewhere = await findRoom(tx, need, {
    withinId: null,
    robotId,
    exceptContainerId: options.exceptContainerId ?? null,
  });
  const preferred = options.preferContainerId
    ? await findRoom(tx, need, {
        withinId: options.preferContainerId,
        robotId,
        exceptContainerId: null,
      })
    : [];
  return firstFree(tx, tenantId, need, [preferred, elsewhere]);
}

/** The position the system would choose in or below a location, unreserved; null when there is none. */
export async function nextFreeWithin(
  tx: Transaction<DB>,
  tenantId: string,
  need: SampleNeed,
  withinId: string,
): Promise<PositionRef | null> {
  const rooms = await findRoom(tx, need, { withinId, robotId: null, exceptContainerId: null });
  return firstFree(tx, tenantId, need, [rooms]);
}

async function firstFree(
  tx: Transaction<DB>,
  tenantId: string,
  need: SampleNeed,
  groups: readonly (readonly Room[])[],
): Promise<PositionRef | null> {
  const ids = groups.flatMap((rooms) =>
    rankContainers(
      need,
      rooms.map((room) => room.candidate),
    )
      .filter((ranked) => ranked.score !== null)
      .map((ranked) => ranked.candidate.containerId),
  );
  const { rows } = await sql<TakenRow>`
    SELECT p.* FROM unnest(${ids}::uuid[]) AS c (id) CROSS JOIN LATERAL (
      SELECT id, container_id, grid_row, grid_column FROM position
      WHERE tenant_id = ${tenantId} AND container_id = c.id AND ${mayBeTaken(tenantId, need)} ORDER BY ordinal LIMIT 1) p
    LIMIT 1`.execute(tx);
  const cell = rows[0];
  const room = groups.flat().find((each) => each.candidate.containerId === cell?.container_id);
  return cell && room ? positionRef(cell, room) : null;
}

/** The end of a refusal: where there is room. */
export function describeNext(next: PositionRef | null): string {
  return next === null
    ? 'no other position is free either'
    : `the next free position is ${next.label} of ${next.containerName}`;
}
