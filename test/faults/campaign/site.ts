import { cellLabel, cells } from '../../../domain/grid.ts';
import { Robot } from '../../../schemas/automation.ts';
import { Location } from '../../../schemas/storage.ts';
import type { Cell, WorldSeen } from '../../../stack/demo/cell.ts';
import { placeOf } from '../../../stack/demo/cell.ts';
import type { Client } from '../../../stack/demo/client.ts';
import { addressOf, type Container, containerWithId } from '../../../stack/demo/store.ts';

/** One robot with its store, and the station beside it. */
export interface Site {
  /** PREFIX of its barcodes */
  readonly name: string;
  readonly robotId: string;
  readonly cell: Cell;
  /** signed in at the station of this robot */
  readonly client: Client;
  readonly handoff: Container;
  /** everything the robot reaches: the hand-off, two to store in, the quarantine */
  readonly containers: readonly Container[];
  /** barcodes that stand in the store and that no job has, as far as people know */
  readonly stored: Set<string>;
}

/** What every store of the campaign holds beside its hand-off. */
const INSIDE = [
  { type: 'rack_96', name: 'Rack', suffix: 'RACK', cassette: 1 },
  { type: 'box_9x9', name: 'Box', suffix: 'BOX', cassette: 2 },
  { type: 'quarantine', name: 'Quarantine', suffix: 'QUARANTINE', cassette: 3 },
] as const;

const HANDOFF = { cassette: 0, level: 0 };

/** Enters a second robot with a freezer and a hand-off of its own. @returns its id */
export async function enrolSecondRobot(
  client: Client,
  controller: { readonly host: string; readonly port: number },
): Promise<string> {
  const store = {
    type: 'freezer',
    name: 'Freezer −80, second',
    barcode: 'SECOND-STORE',
    parentId: 'DEMO-ROOM',
  };
  await client.post('/storage/locations', store, Location);
  await client.post(
    '/storage/locations',
    {
      type: 'handoff',
      name: 'Hand-off',
      barcode: 'SECOND-HANDOFF',
      parentId: store.barcode,
      robotAddress: HANDOFF,
    },
    Location,
  );
  const order = { name: 'Second robot', store: store.barcode, handoff: 'SECOND-HANDOFF', ...controller };
  return (await client.post('/automation/robots', order, Robot)).id;
}

/**
 * Fills a robot's store with empty containers.
 * @param prefix of the barcodes: the store is PREFIX-STORE, its hand-off PREFIX-HANDOFF
 */
export async function furnish(prefix: string, robotId: string, cell: Cell, client: Client): Promise<Site> {
  const containers = [await containerWithId(client, `${prefix}-HANDOFF`)];
  for (const { type, name, suffix, cassette } of INSIDE) {
    const barcode = `${prefix}-CAMPAIGN-${suffix}`;
    const wish = { type, name, barcode, parentId: `${prefix}-STORE`, robotAddress: { cassette, level: 9 } };
    const { id } = await client.post('/storage/locations', wish, Location);
    containers.push(await containerWithId(client, id));
  }
  const [handoff] = containers;
  if (handoff === undefined) throw new Error(`${prefix} has no hand-off`);
  return { name: prefix, robotId, cell, client, handoff, containers, stored: new Set() };
}

/** Where a tube physically is. */
export interface Whereabouts {
  readonly site: Site;
  /** cassette/level/slot, `carrier` or `floor` */
  readonly place: string;
}

/** Every place at which a barcode is seen; more than one would be a miracle. */
export function placesOf(worlds: ReadonlyMap<Site, WorldSeen>, barcode: string): Whereabouts[] {
  return [...worlds].flatMap(([site, world]) => [
    ...Object.entries(world.positions).flatMap(([place, tube]) =>
      tube.barcode === barcode ? [{ site, place }] : [],
    ),
    ...(world.carrier?.barcode === barcode ? [{ site, place: 'carrier' }] : []),
    ...world.floor.flatMap((tube) => (tube.barcode === barcode ? [{ site, place: 'floor' }] : [])),
  ]);
}

/** The place of a position, as the robot that reaches it counts; null when no robot of the campaign does. */
export function placeOfPosition(
  sites: readonly Site[],
  position: { readonly containerId: string; readonly label: string },
): Whereabouts | null {
  for (const site of sites) {
    const container = site.containers.find(({ id }) => id === position.containerId);
    if (container) return { site, place: placeOf(addressOf(container, position.label)) };
  }
  return null;
}

/** Label of the position of a container that the robot finds at this place; null when the place is not in it. */
export function labelAt(container: Container, place: string): string | null {
  const { grid } = container;
  const cell = cells(grid).find((each) => placeOf(addressOf(container, cellLabel(each, grid))) === place);
  return cell === undefined ? null : cellLabel(cell, grid);
}

export const isSamePlace = (one: Whereabouts | null, other: Whereabouts | null): boolean =>
  one !== null && other !== null && one.site === other.site && one.place === other.place;

/** Looks into every cell at a time. */
export async function lookEverywhere(sites: readonly Site[]): Promise<ReadonlyMap<Site, WorldSeen>> {
  return new Map(await Promise.all(sites.map(async (site) => [site, await site.cell.look()] as const)));
}
