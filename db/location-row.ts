import { sql, type Transaction } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { DomainError } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import type { LocationRules } from '../domain/location-rules.ts';
import type { Zone } from '../domain/zone.ts';
import type { Change } from './change.ts';
import { GRID_COLUMNS, type GridRow } from './grid-row.ts';
import { named, unknownReference } from './locations.ts';
import type { DB } from './schema.ts';

/** A location as a change sees it. */
export interface LocationRow extends GridRow {
  id: string;
  type: string;
  type_name: string;
  type_zone: Zone | null;
  parent_id: string | null;
  name: string;
  barcode: string | null;
  zone: Zone | null;
  sample_types: string[] | null;
  rules: LocationRules;
  effective_zone: Zone | null;
  unlimited: boolean;
  is_handoff: boolean;
  robot_cassette: number | null;
  robot_level: number | null;
  retired_at: Date | null;
  version: number;
}

const LOCATION = sql`l.id, l.type, t.name AS type_name, t.zone AS type_zone, l.parent_id, l.name, l.barcode, l.zone,
           l.sample_types, l.rules, l.effective_zone, ${GRID_COLUMNS}, l.unlimited, l.is_handoff,
           l.robot_cassette, l.robot_level, l.retired_at, l.version`;
const FROM_LOCATION = sql`FROM location l JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type`;
const LOCKS = { NONE: sql``, SHARE: sql`FOR SHARE OF l`, UPDATE: sql`FOR NO KEY UPDATE OF l` };

/** A location and its type, the row held against edits (`SHARE`), for one (`UPDATE`), or only read. */
export async function lockLocation(
  tx: Transaction<DB>,
  tenantId: string,
  reference: string,
  strength: 'NONE' | 'SHARE' | 'UPDATE',
): Promise<LocationRow> {
  const { rows } = await sql<LocationRow>`
    SELECT ${LOCATION} ${FROM_LOCATION}
    WHERE l.tenant_id = ${tenantId} AND ${named(reference, 'l')} ${LOCKS[strength]}`.execute(tx);
  const row = rows[0];
  if (!row) throw unknownReference('location', reference);
  return row;
}

/** A location in service with all that stand in it, the rows held; each after the one it stands in. */
export async function lockBelow(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
  strength: 'SHARE' | 'UPDATE',
): Promise<LocationRow[]> {
  const { rows } = await sql<LocationRow>`
    SELECT ${LOCATION} ${FROM_LOCATION}
    JOIN location_ancestor a ON a.tenant_id = l.tenant_id AND a.descendant_id = l.id
    WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${id} AND l.retired_at IS NULL
    ORDER BY a.depth, l.id ${LOCKS[strength]}`.execute(tx);
  return rows;
}

/** `Box 9×9 B-7`, for messages. */
export function titleOf(row: Pick<LocationRow, 'type_name' | 'name'>): string {
  return `${row.type_name} ${row.name}`;
}

/** @throws DomainError LOCATION_RETIRED */
export function assertInService(row: LocationRow): void {
  if (row.retired_at !== null) {
    throw new DomainError(
      'LOCATION_RETIRED',
      `${titleOf(row)} was retired on ${row.retired_at.toISOString().slice(0, 10)}`,
    );
  }
}

/** @throws DomainError PRECONDITION_FAILED */
export function assertVersion(row: LocationRow, version: number): void {
  if (row.version === version) return;
  throw new DomainError(
    'PRECONDITION_FAILED',
    `${titleOf(row)} has changed since version ${version} was read: read it again, it is version ${row.version} now`,
    { facts: { version: row.version } },
  );
}

/** Announces the new version of a location. */
export function recordLocation(
  change: Change,
  type: Extract<EventType, `storage.location.${string}`>,
  before: LocationRow | null,
  after: LocationRow,
): void {
  change.record({
    aggregate: 'location',
    aggregateId: after.id,
    version: after.version,
    type,
    from: before && stateOf(before),
    to: stateOf(after),
    before: before && recordOf(before),
    after: recordOf(after),
    erasable: ['name', 'barcode'],
    data: {
      location_id: after.id,
      location_type: after.type,
      parent_id: after.parent_id,
      zone: after.effective_zone,
      timestamp: change.recordedAt.toISOString(),
    },
  });
}

function rulesOf({ sampleClasses, projects, hazards, exclusive, quarantine }: LocationRules): JsonValue {
  return {
    ...(sampleClasses && { sampleClasses: [...sampleClasses] }),
    ...(projects && { projects: [...projects] }),
    ...(hazards && { hazards: [...hazards] }),
    ...(exclusive && { exclusive: [...exclusive] }),
    ...(quarantine !== undefined && { quarantine }),
  };
}

function stateOf(row: LocationRow): string {
  return row.retired_at === null ? 'in_service' : 'retired';
}

function recordOf(row: LocationRow): Record<string, JsonValue> {
  return {
    type: row.type,
    parent_id: row.parent_id,
    name: row.name,
    barcode: row.barcode,
    zone: row.zone,
    sample_types: row.sample_types,
    rules: rulesOf(row.rules),
    grid_rows: row.grid_rows,
    grid_columns: row.grid_columns,
    row_labels: row.row_labels,
    column_labels: row.column_labels,
    labelling: row.labelling,
    direction: row.direction,
    origin: row.origin,
    unlimited: row.unlimited,
    is_handoff: row.is_handoff,
    robot_cassette: row.robot_cassette,
    robot_level: row.robot_level,
    retired_at: row.retired_at?.toISOString() ?? null,
  };
}
