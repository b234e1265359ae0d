import type { BenchLaboratory } from './laboratory.ts';

export interface Box {
  readonly id: string;
  readonly barcode: string;
}

export interface Store {
  readonly siteId: string;
  readonly freezerId: string;
  readonly boxes: readonly Box[];
}

/** Rows and columns of a rack of 96. */
export const RACK = { rows: 8, columns: 12, size: 96 } as const;

/** Label of the i-th position (from 0) of a rack of 96, row by row. */
export function rackLabel(i: number): string {
  return `${String.fromCharCode(65 + Math.floor(i / RACK.columns))}${(i % RACK.columns) + 1}`;
}

/** A site with one −80 freezer and racks of 96 on a shelf, through the API. */
export async function buildStore(lab: BenchLaboratory, racks: number): Promise<Store> {
  const create = (body: Record<string, unknown>) =>
    lab.must<{ id: string }>('POST', '/storage/locations', body);
  const site = await create({ type: 'site', name: `Site ${crypto.randomUUID().slice(0, 8)}` });
  const freezer = await create({ type: 'freezer', name: 'Freezer', parentId: site.id, zone: '-80' });
  const shelf = await create({ type: 'shelf', name: 'Shelf', parentId: freezer.id });
  const boxes: Box[] = [];
  for (let i = 0; i < racks; i++) {
    const barcode = `RACK-${crypto.randomUUID().slice(0, 8)}`;
    const rack = await create({
      type: 'rack_96',
      name: `Rack ${i + 1}`,
      parentId: shelf.id,
      barcode,
    });
    boxes.push({ id: rack.id, barcode });
  }
  return { siteId: site.id, freezerId: freezer.id, boxes };
}
