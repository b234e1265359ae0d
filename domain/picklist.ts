/** States of a picklist, stable for clients. */
export const PICKLIST_STATES = [
  'RUNNING',
  'CANCELLING',
  'COMPLETED',
  'COMPLETED_WITH_DEVIATION',
  'FAILED',
  'CANCELLED',
] as const;
export type PicklistState = (typeof PICKLIST_STATES)[number];
export type PicklistEnd = Exclude<PicklistState, 'RUNNING' | 'CANCELLING'>;

/** States of one tube of a picklist: before its job, and then as its job ended. */
export const PICKLIST_ITEM_STATES = [
  'PLANNED',
  'STARTING',
  'RUNNING',
  'COMPLETED',
  'COMPLETED_WITH_DEVIATION',
  'REFUSED',
  'FAILED',
  'CANCELLED',
] as const;
export type PicklistItemState = (typeof PICKLIST_ITEM_STATES)[number];

/** What a list has to do next. */
export type NextOfPicklist =
  /** this job is written and to be started */
  | { readonly next: 'start'; readonly jobId: string }
  /** jobs under way have not been told that the list is cancelled */
  | { readonly next: 'stop' }
  /** nothing, until a tube has ended or a full hand-off has room again */
  | { readonly next: 'wait' }
  | { readonly next: 'over'; readonly state: PicklistEnd };

/** How many tubes of a list are in each state; a state without a tube may be left out. */
export type ItemCounts = Readonly<Partial<Record<PicklistItemState, number>>>;

/** A location on the way to a tube. */
export interface Stop {
  readonly id: string;
  /** as people say it, e.g. `Freezer −80 F1` */
  readonly name: string;
}

/** Where somebody has to go for one tube. */
export interface PicklistPlace {
  /** the unit whose door one opens: where the temperature comes from; null where there is none */
  readonly unitId: string | null;
  /** from the root of the tree down to the container, or to the location within which the system chooses */
  readonly path: readonly Stop[];
  /** the position in the container, 1..n row by row; null: the system chooses it */
  readonly ordinal: number | null;
  /** its canonical label, e.g. `C5` */
  readonly label: string | null;
}

interface Placed {
  /** null: nobody knows yet where it will go */
  readonly place: PicklistPlace | null;
}

/** Tubes that follow each other behind the same doors. */
export interface DoorRun {
  /** null: behind no door, or nobody knows yet */
  readonly unit: Stop | null;
  /** the shelf, or whatever lies directly in the unit with the containers below it */
  readonly shelf: Stop | null;
  /** places in the order, from 1 on, both included */
  readonly from: number;
  readonly to: number;
}

/** How often doors are opened on one way through a list. */
export interface DoorOpenings {
  readonly units: number;
  readonly shelves: number;
}

/** Sorts behind every position. */
const LAST = Number.MAX_SAFE_INTEGER;
const NUMBERS_BY_VALUE = new Intl.Collator('en', { numeric: true });

/**
 * The order in which every door is opened once: by site, room, unit, shelf, rack, box and position, each by its name with
 * numbers by their value. The way through the tree is compared stop by stop, so that whatever lies below one location,
 * at any depth, is one contiguous run. Tubes of the same place, and those of an unknown one at the end, keep their order.
 */
export function planPicklist<T extends Placed>(tubes: readonly T[]): T[] {
  return tubes.toSorted((one, other) => comparePlaces(one.place, other.place));
}

function comparePlaces(one: PicklistPlace | null, other: PicklistPlace | null): number {
  if (one === null || other === null) return Number(one === null) - Number(other === null);
  for (const [depth, stop] of one.path.entries()) {
    const beside = other.path[depth];
    if (beside === undefined) return 1;
    if (stop.id === beside.id) continue;
    return NUMBERS_BY_VALUE.compare(stop.name, beside.name) || (stop.id < beside.id ? -1 : 1);
  }
  if (other.path.length > one.path.length) return -1;
  return (one.ordinal ?? LAST) - (other.ordinal ?? LAST);
}

/** The doors behind which the tubes of a list stand, in its order. */
export function doorRuns(tubes: readonly Placed[]): DoorRun[] {
  const runs: { unit: Stop | null; shelf: Stop | null; from: number; to: number }[] = [];
  for (const [index, { place }] of tubes.entries()) {
    const { unit, shelf } = doorsOf(place);
    const last = runs.at(-1);
    if (last && last.unit?.id === unit?.id && last.shelf?.id === shelf?.id) last.to = index + 1;
    else runs.push({ unit, shelf, from: index + 1, to: index + 1 });
  }
  return runs;
}

function doorsOf(place: PicklistPlace | null): Pick<DoorRun, 'unit' | 'shelf'> {
  const depth = place === null ? -1 : place.path.findIndex(({ id }) => id === place.unitId);
  if (place === null || depth === -1) return { unit: null, shelf: null };
  // What lies in the unit and is the container itself is no door.
  const shelf = depth + 2 < place.path.length ? place.path[depth + 1] : undefined;
  return { unit: place.path[depth] ?? null, shelf: shelf ?? null };
}

/** How often doors are opened by whoever goes through the tubes in this order. What lies behind no door opens none. */
export function doorOpenings(tubes: readonly Placed[]): DoorOpenings {
  const runs = doorRuns(tubes);
  const behindDoors = runs.filter(({ unit }) => unit !== null);
  const units = runs.filter(({ unit }, n) => unit !== null && unit.id !== runs[n - 1]?.unit?.id);
  return { units: units.length, shelves: behindDoors.filter(({ shelf }) => shelf !== null).length };
}

/** True while nothing has closed the list. */
export function isPicklistLive(state: PicklistState): state is 'RUNNING' | 'CANCELLING' {
  return state === 'RUNNING' || state === 'CANCELLING';
}

/**
 * How a list ends whose tubes have all ended: COMPLETED when every tube did, FAILED when none did, CANCELLED when somebody
 * cancelled it before all had their turn.
 * @param isCancelled somebody asked to cancel the list
 * @returns null while a tube has not ended
 */
export function picklistEnd(counts: ItemCounts, isCancelled: boolean): PicklistEnd | null {
  const of = (...states: PicklistItemState[]) => states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  if (of('PLANNED', 'STARTING', 'RUNNING') > 0) return null;
  if (isCancelled && of('CANCELLED') > 0) return 'CANCELLED';
  const failed = of('REFUSED', 'FAILED', 'CANCELLED');
  if (failed === 0) return of('COMPLETED_WITH_DEVIATION') === 0 ? 'COMPLETED' : 'COMPLETED_WITH_DEVIATION';
  return of('COMPLETED', 'COMPLETED_WITH_DEVIATION') === 0 ? 'FAILED' : 'COMPLETED_WITH_DEVIATION';
}
