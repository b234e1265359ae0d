import type { z } from '@hono/zod-openapi';
import type { CanHold as CanHoldRecord } from '../db/can-hold.ts';
import type { Capacity as CapacityRecord } from '../db/capacity.ts';
import type { LocationTypeRecord } from '../db/location-types.ts';
import type {
  LocationMap as LocationMapRecord,
  LocationNode as LocationNodeRecord,
  LocationRecord,
  PositionCount,
} from '../db/locations.ts';
import { type Cell, cellLabel, drawnAt, type Grid } from '../domain/grid.ts';
import type { LocationRules } from '../domain/location-rules.ts';
import { type Loose, looseGrid } from '../domain/location-type.ts';
import { ZONES } from '../domain/zone.ts';
import type {
  CanHold,
  Capacity,
  Location,
  LocationMap,
  LocationNode,
  LocationRules as LocationRulesRequest,
  LocationType,
} from '../schemas/storage.ts';

/** A location as the API shows it. */
export function presentLocation(location: LocationRecord): Location {
  const { zone, sampleTypes, ...rules } = location.rules;
  return {
    id: location.id,
    type: location.type,
    typeName: location.typeName,
    name: location.name,
    ...(location.barcode !== null && { barcode: location.barcode }),
    ...(location.parentId !== null && { parentId: location.parentId }),
    path: [...location.path],
    ...(location.zone !== null && { zone: location.zone }),
    ...(location.sampleTypes && { sampleTypes: [...location.sampleTypes] }),
    rules: {
      ...(zone !== null && { zone, range: { ...ZONES[zone] } }),
      ...(sampleTypes && { sampleTypes: [...sampleTypes] }),
      ...presentRules(rules),
    },
    ...(Object.keys(location.ownRules).length > 0 && { ownRules: presentRules(location.ownRules) }),
    ...shapeOf(location),
    handoff: location.isHandoff,
    ...(location.robotAddress && { robotAddress: location.robotAddress }),
    ...(location.positions && { positions: countsOf(location.positions) }),
    createdAt: location.createdAt.toISOString(),
    ...(location.retiredAt && { retiredAt: location.retiredAt.toISOString() }),
    version: location.version,
  };
}

function presentRules({ sampleClasses, projects, hazards, exclusive, quarantine }: LocationRules) {
  return {
    ...(sampleClasses && { sampleClasses: [...sampleClasses] }),
    ...(projects && { projects: [...projects] }),
    ...(hazards && { hazards: [...hazards] }),
    ...(exclusive && { exclusive: [...exclusive] }),
    ...(quarantine && { quarantine: true }),
  };
}

/** Whether a place can hold a sample, rule by rule. */
export function presentCanHold({ locationId, canHold, rules, position }: CanHoldRecord): CanHold {
  return {
    locationId,
    canHold,
    rules: [...rules],
    ...(position && {
      position: {
        positionId: position.positionId,
        containerId: position.containerId,
        containerName: position.containerName,
        ...(position.containerBarcode !== null && { containerBarcode: position.containerBarcode }),
        label: position.label,
      },
    }),
  };
}

/** Rules as they were asked for: what is absent is no rule. */
export function rulesOf({
  sampleClasses,
  projects,
  hazards,
  exclusive,
  quarantine,
}: z.infer<typeof LocationRulesRequest>): LocationRules {
  return {
    ...(sampleClasses && { sampleClasses }),
    ...(projects && { projects }),
    ...(hazards && { hazards }),
    ...(exclusive && { exclusive }),
    ...(quarantine && { quarantine }),
  };
}

function shapeOf({ grid, loose }: { readonly grid: Grid | null; readonly loose?: Loose | null }) {
  return {
    ...(grid && {
      grid: {
        ...grid,
        labelling: grid.labelling ?? 'two_dimensional',
        direction: grid.direction ?? 'horizontal',
        origin: grid.origin ?? 'top_left',
      },
    }),
    ...(loose && { loose: loose.capacity === null ? {} : { capacity: loose.capacity } }),
  };
}

function drawnOf(cell: Cell, grid: Grid): { row: number; column: number } {
  const { row, column } = drawnAt(cell, grid);
  return { row: row + 1, column: column + 1 };
}

export function presentNode(node: LocationNodeRecord): LocationNode {
  return { ...presentLocation(node), children: node.children.map(presentNode) };
}

function countsOf(count: PositionCount): PositionCount {
  const { total, occupied, reserved, blocked, free } = count;
  return { total, occupied, reserved, blocked, free };
}

export function presentCapacity(capacity: CapacityRecord): Capacity {
  return {
    locationId: capacity.location.id,
    ...countsOf(capacity),
    perZone: capacity.perZone.map(({ zone, ...count }) => ({ ...(zone !== null && { zone }), ...count })),
    perLevel: [...capacity.perLevel],
  };
}

/**
 * A container's grid with what is in it.
 * @param withSamples whether the reader may see samples
 */
export function presentMap(map: LocationMapRecord, withSamples: boolean): LocationMap {
  const { loose } = map.location;
  const grid = loose ? looseGrid(loose) : map.location.grid;
  return {
    location: presentLocation(map.location),
    cells: grid
      ? map.cells.map((cell) => ({
          positionId: cell.positionId,
          label: cellLabel(cell, grid),
          row: cell.row + 1,
          column: cell.column + 1,
          drawn: drawnOf(cell, grid),
          state: cell.state,
          ...(cell.blockedReason !== null && { blockedReason: cell.blockedReason }),
          ...(cell.reservationId !== null && { reservationId: cell.reservationId }),
          ...(cell.jobId !== null && { jobId: cell.jobId }),
          ...(cell.leaseExpiresAt && { leaseExpiresAt: cell.leaseExpiresAt.toISOString() }),
          ...(cell.sample &&
            withSamples && {
              sample: {
                id: cell.sample.id,
                barcode: cell.sample.barcode,
                type: cell.sample.type,
                ...(cell.sample.project !== null && { project: cell.sample.project }),
              },
            }),
        }))
      : [],
  };
}

export function presentLocationType(type: LocationTypeRecord): LocationType {
  return {
    id: type.id,
    code: type.code,
    name: type.name,
    allowedParents: [...type.allowedParents],
    ...(type.zone !== null && { zone: type.zone }),
    ...shapeOf(type),
    version: type.version,
  };
}
