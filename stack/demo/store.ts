import { cellOrdinal, findCell, type Grid } from '../../domain/grid.ts';
import { Robot, RobotList } from '../../schemas/automation.ts';
import { Location } from '../../schemas/storage.ts';
import type { CellAddress } from './cell.ts';
import type { Client } from './client.ts';

/** A container the robot reaches. */
export interface Container {
  readonly id: string;
  readonly barcode: string;
  readonly name: string;
  readonly grid: Grid;
  readonly cassette: number;
  readonly level: number;
}

/** The laboratory's store, as the demo uses it. */
export interface Store {
  readonly handoff: Container;
  readonly box: Container;
  /** what had to be made in this run */
  readonly made: readonly string[];
}

interface Wish {
  readonly type: string;
  readonly name: string;
  readonly barcode: string;
  readonly parentId?: string;
  readonly robotAddress?: { readonly cassette: number; readonly level: number };
}

const ROBOT = 'Store robot';
const SITE: Wish = { type: 'site', name: 'Demo site', barcode: 'DEMO-SITE' };
const ROOM: Wish = { type: 'room', name: 'Cold room', barcode: 'DEMO-ROOM', parentId: SITE.barcode };
const FREEZER: Wish = {
  type: 'freezer',
  name: 'Freezer −80 with robot',
  barcode: 'DEMO-STORE',
  parentId: ROOM.barcode,
};
const HANDOFF: Wish = {
  type: 'handoff',
  name: 'Hand-off',
  barcode: 'DEMO-HANDOFF',
  parentId: FREEZER.barcode,
  robotAddress: { cassette: 0, level: 0 },
};
const SHELVES: readonly Wish[] = [1, 2].map((number) => ({
  type: 'shelf',
  name: `Shelf ${number}`,
  barcode: `DEMO-SHELF-${number}`,
  parentId: FREEZER.barcode,
}));
const TOWERS: readonly Wish[] = SHELVES.map((shelf, index) => ({
  type: 'rack',
  name: `Rack ${index + 1}`,
  barcode: `DEMO-TOWER-${index + 1}`,
  parentId: shelf.barcode,
}));
const BOX: Wish = {
  type: 'box_9x9',
  name: 'Box 9×9',
  barcode: 'DEMO-BOX-1',
  parentId: 'DEMO-TOWER-2',
  robotAddress: { cassette: 2, level: 1 },
};
/** Racks of 96 stand in the first tower, one a level. A run fills an empty one, which is new when there is none. */
const rack = (number: number): Wish => ({
  type: 'rack_96',
  name: `Rack 96, ${number}`,
  barcode: `DEMO-RACK-${number}`,
  parentId: 'DEMO-TOWER-1',
  robotAddress: { cassette: 1, level: number },
});

/** Builds the laboratory over the API: what stands already is taken as it is. */
export async function buildStore(
  client: Client,
  controller: { readonly host: string; readonly port: number },
): Promise<Store> {
  const made: string[] = [];
  const ensure = async (wish: Wish): Promise<Location> => {
    const standing = await client.find(`/storage/locations/${wish.barcode}`, Location);
    if (standing) return standing;
    made.push(wish.name);
    return client.post('/storage/locations', wish, Location);
  };
  for (const wish of [SITE, ROOM, FREEZER]) await ensure(wish);
  const handoff = containerOf(await ensure(HANDOFF));
  for (const wish of [...SHELVES, ...TOWERS]) await ensure(wish);
  const box = containerOf(await ensure(BOX));

  const { robots } = await client.get('/automation/robots', RobotList);
  if (!robots.some(({ handoffId }) => handoffId === handoff.id)) {
    made.push(ROBOT);
    await client.post(
      '/automation/robots',
      { name: ROBOT, store: FREEZER.barcode, handoff: HANDOFF.barcode, ...controller },
      Robot,
    );
  }
  return { handoff, box, made };
}

/** A rack all of whose positions are free: one from an earlier run, or a new one. */
export async function emptyRack(client: Client): Promise<Container> {
  for (let number = 1; ; number += 1) {
    const wish = rack(number);
    const found =
      (await client.find(`/storage/locations/${wish.barcode}`, Location)) ??
      (await client.post('/storage/locations', wish, Location));
    if (found.positions && found.positions.free === found.positions.total) return containerOf(found);
  }
}

/** The container with this id, for comparing with where the robot sees a tube. */
export async function containerWithId(client: Client, id: string): Promise<Container> {
  return containerOf(await client.get(`/storage/locations/${id}`, Location));
}

function containerOf(location: Location): Container {
  const { id, name, barcode, grid, robotAddress } = location;
  if (barcode === undefined || !grid || !robotAddress) {
    throw new Error(`${name} is no container that the robot reaches`);
  }
  return { id, name, barcode, grid, ...robotAddress };
}

/** Where the robot finds a position: its number in the container is the slot. */
export function addressOf(container: Container, label: string): CellAddress {
  const cell = findCell(label, container.grid);
  if (!cell) throw new Error(`${container.name} has no position ${label}`);
  return {
    cassette: container.cassette,
    level: container.level,
    slot: cellOrdinal(cell, container.grid),
  };
}
