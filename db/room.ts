import { sql, type Transaction } from 'kysely';
import type { Grid } from '../domain/grid.ts';
import type { LocationRules, SampleTraits } from '../domain/location-rules.ts';
import { type ContainerCandidate, type SampleNeed, zonesServing } from '../domain/placement.ts';
import type { Zone } from '../domain/zone.ts';
import { type GridRow, gridOf } from './grid-row.ts';
import { needOf } from './sample-need.ts';
import type { DB } from './schema.ts';

/** A container that may take a sample, with what is needed to name its positions. */
export interface Room {
  readonly candidate: ContainerCandidate;
  readonly barcode: string | null;
  readonly grid: Grid;
}

/** Where to look. */
export interface RoomScope {
  /** only below this location (or in it) */
  readonly withinId: string | null;
  /** only where this robot reaches: below its store, with a cassette and a level */
  readonly robotId: string | null;
  /** not in this container */
  readonly exceptContainerId: string | null;
}

interface RoomRow extends GridRow {
  id: string;
  name: string;
  type_name: string;
  barcode: string | null;
  unit_id: string | null;
  zone: Zone | null;
  sample_types: string[] | null;
  rules: LocationRules;
  claim: SampleTraits | null;
  is_handoff: boolean;
  is_retired: boolean;
  total: number;
  occupied: number;
  reserved: number;
  blocked: number;
  expired: number;
  reachable: boolean | null;
  project_here: number;
  project_seen: number;
  door_opens: boolean;
  set_aside: number;
}

/**
 * The containers worth considering for a sample, a bounded number of them: `rooms_for` in
 * db/migrations/0027_reservations.sql says which.
 */
export async function findRoom(tx: Transaction<DB>, need: SampleNeed, scope: RoomScope): Promise<Room[]> {
  const { rows } = await sql<RoomRow>`
    SELECT * FROM rooms_for(${needOf(need)}, ${zonesServing(need.zone)}, ${scope.withinId}, ${scope.robotId},
      ${scope.exceptContainerId})`.execute(tx);
  return rows.map((row, order) => ({
    barcode: row.barcode,
    grid: gridOf(row),
    candidate: {
      containerId: row.id,
      name: `${row.type_name} ${row.name}`,
      unitId: row.unit_id,
      zone: row.zone,
      sampleTypes: row.sample_types,
      rules: row.rules,
      held: row.claim,
      total: row.total,
      occupied: row.occupied,
      reserved: row.reserved,
      blocked: row.blocked,
      expired: row.expired,
      isHandoff: row.is_handoff,
      isRetired: row.is_retired,
      reachable: row.reachable,
      projectHere: row.project_here,
      projectSeen: row.project_seen,
      doorOpens: row.door_opens,
      setAside: row.set_aside,
      order,
    },
  }));
}
