import { DomainError } from './errors.ts';
import type { Grid } from './grid.ts';
import type { Zone } from './zone.ts';

/** A kind of place in the tree: data, not code, so that a laboratory can have its own. */
export interface LocationType {
  /** e.g. `box_9x9` */
  readonly code: string;
  /** as people say it */
  readonly name: string;
  /** codes of the types it may stand under; none = it may stand at the root */
  readonly allowedParents: readonly string[];
  /** the zone it has unless the location says otherwise: set for units that make their own temperature */
  readonly zone: Zone | null;
  /** its positions; null = it has none: a place for other places */
  readonly grid: Grid | null;
  /** things lie in it without positions that anybody names: bags, bins */
  readonly loose?: Loose | null;
}

/** A container without positions: how many things it takes, 1–1000; null = as many as there are. */
export interface Loose {
  readonly capacity: number | null;
}

/** The positions of a container in which things lie loose: nobody names them, each holds one thing. */
export function looseGrid({ capacity }: Loose): Grid {
  return { rows: 1, columns: capacity ?? 1, rowLabels: 'upper', columnLabels: 'number', labelling: 'none' };
}

/** Code of the type whose containers take tubes that cannot go back to their place: the system stores nothing else there. */
export const QUARANTINE_TYPE = 'quarantine';

/** Code of the type whose locations are hand-offs unless they say otherwise. */
export const HANDOFF_TYPE = 'handoff';

const ROOMS = ['site', 'building', 'room'];
const UNITS = ['freezer', 'freezer_20', 'fridge', 'incubator', 'ln2_tank', 'cabinet'];
const INSIDE = [...UNITS, 'shelf', 'rack', 'drawer', 'tray'];

const place = (code: string, name: string, allowedParents: readonly string[]): LocationType => ({
  code,
  name,
  allowedParents,
  zone: null,
  grid: null,
});

const unit = (code: string, name: string, zone: Zone): LocationType => ({
  code,
  name,
  allowedParents: ROOMS,
  zone,
  grid: null,
});

const box = (code: string, name: string, rows: number, columns: number): LocationType => ({
  code,
  name,
  allowedParents: INSIDE,
  zone: null,
  grid: { rows, columns, rowLabels: 'upper', columnLabels: 'number' },
});

/**
 * The types every laboratory starts with. Sizes: cryoboxes 5×5 (25), 9×9 (81) and 10×10 (100); racks and plates in
 * the SLAS footprint, 8×12 (96), 16×24 (384), 32×48 (1536); rows in letters, columns in numbers.
 */
export const DEFAULT_LOCATION_TYPES: readonly LocationType[] = [
  place('site', 'Site', []),
  place('building', 'Building', ['site']),
  place('room', 'Room', ['site', 'building']),
  unit('ln2_tank', 'LN2 tank', 'LN2'),
  unit('freezer', 'Freezer −80', '-80'),
  unit('freezer_20', 'Freezer −20', '-20'),
  unit('fridge', 'Fridge', '4'),
  unit('cabinet', 'Cabinet', 'RT'),
  unit('incubator', 'Incubator', '37'),
  place('shelf', 'Shelf', UNITS),
  place('rack', 'Rack', [...UNITS, 'shelf']),
  place('drawer', 'Drawer', [...UNITS, 'shelf', 'rack']),
  place('tray', 'Tray', [...UNITS, 'shelf', 'rack', 'drawer']),
  { ...place('bin', 'Bin', INSIDE), loose: { capacity: null } },
  { ...place('bag', 'Bag', [...INSIDE, 'bin']), loose: { capacity: null } },
  box('box_5x5', 'Box 5×5', 5, 5),
  box('box_9x9', 'Box 9×9', 9, 9),
  box('box_10x10', 'Box 10×10', 10, 10),
  box('rack_96', 'Rack 96', 8, 12),
  box('plate_96', 'Plate 96', 8, 12),
  box('plate_384', 'Plate 384', 16, 24),
  box('plate_1536', 'Plate 1536', 32, 48),
  box(QUARANTINE_TYPE, 'Quarantine', 1, 12),
  {
    code: HANDOFF_TYPE,
    name: 'Hand-off',
    allowedParents: [...ROOMS, ...UNITS],
    zone: null,
    grid: { rows: 1, columns: 12, rowLabels: 'upper', columnLabels: 'number' },
  },
];

/**
 * Checks that a location of a type may stand there.
 * @param parent type of the parent; null = the root of the tree
 * @throws DomainError PARENT_NOT_ALLOWED saying where it may stand
 */
export function assertAllowedParent(
  type: Pick<LocationType, 'name' | 'allowedParents'>,
  parent: Pick<LocationType, 'code' | 'name'> | null,
): void {
  const atRoot = type.allowedParents.length === 0;
  if (parent === null ? atRoot : type.allowedParents.includes(parent.code)) return;
  const where = parent === null ? 'without a parent' : `in a ${parent.name}`;
  const right = atRoot
    ? 'it stands at the root, without a parent'
    : `it stands in a ${oneOf(type.allowedParents)}`;
  throw new DomainError('PARENT_NOT_ALLOWED', `a ${type.name} may not stand ${where}: ${right}`, {
    errors: [{ pointer: '/parentId', detail: right }],
  });
}

function oneOf(codes: readonly string[]): string {
  return codes.length === 1 ? String(codes[0]) : `${codes.slice(0, -1).join(', ')} or ${codes.at(-1)}`;
}
