import type { z } from 'zod';
import { custodyLabel } from '../../domain/custody.ts';
import { Integrity } from '../../schemas/ledger.ts';
import { Timeline } from '../../schemas/storage.ts';
import { placeOf, type WorldSeen } from './cell.ts';
import type { Client } from './client.ts';
import { addressOf, type Container, containerWithId } from './store.ts';
import { type Scene, whereIs } from './tubes.ts';

/** One tube as the three witnesses have it. */
interface TubeReport {
  readonly barcode: string;
  readonly sampleId: string | null;
  /** by the API: e.g. `position`, `person`; null when nobody registered it */
  readonly custody: string | null;
  /** container and position, for those that stand somewhere */
  readonly place: string | null;
  /** the last custody in the ledger's record of the sample */
  readonly ledger: string | null;
  /** cassette/level/slot, `carrier`, `floor`; null when it is not in the cell */
  readonly physical: string | null;
  readonly agrees: boolean;
}

export interface Audit {
  readonly tubes: readonly TubeReport[];
  readonly integrity: z.infer<typeof Integrity>;
  /** barcodes that were seen in two places, or in the carrier or on the floor */
  readonly astray: readonly string[];
}

/** Tubes looked at side by side. */
const AT_ONCE = 8;

/** Compares for every tube the API's custody with the ledger and with where the tube physically is. */
export async function audit(scene: Omit<Scene, 'rack'>, barcodes: readonly string[]): Promise<Audit> {
  const { client, cell } = scene;
  const world = await cell.look();
  const seen = placesSeen(world);
  const containers = new Map<string, Promise<Container>>();
  const container = (id: string) => {
    const known = containers.get(id) ?? containerWithId(client, id);
    containers.set(id, known);
    return known;
  };
  const tubes: TubeReport[] = [];
  const waiting = barcodes.entries();
  const look = async () => {
    for (const [index, barcode] of waiting) {
      tubes[index] = await reportOf(scene, barcode, seen.get(barcode) ?? [], container);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, look));
  const astray = [...seen]
    .filter(([, places]) => places.length > 1 || !places[0]?.includes('/'))
    .map(([code]) => code);
  return { tubes, astray, integrity: await client.get('/blockchain/integrity', Integrity) };
}

async function reportOf(
  { client }: Omit<Scene, 'rack'>,
  barcode: string,
  places: readonly string[],
  container: (id: string) => Promise<Container>,
): Promise<TubeReport> {
  const physical = places.length === 0 ? null : places.join(' and ');
  const where = await whereIs(client, barcode);
  if (where === null) {
    return { barcode, sampleId: null, custody: null, place: null, ledger: null, physical, agrees: false };
  }
  const ledger = await lastCustody(client, barcode);
  const { custody, position } = where;
  const standing = position && { container: await container(position.containerId), label: position.label };
  const expected = standing
    ? placeOf(addressOf(standing.container, standing.label))
    : custody.kind === 'carrier'
      ? 'carrier'
      : null;
  return {
    barcode,
    sampleId: where.sampleId,
    custody: custody.kind,
    place: standing ? `${standing.container.name}, ${standing.label}` : null,
    ledger,
    physical,
    agrees: ledger === custodyLabel(custody) && physical === expected,
  };
}

/** Where the ledger's last entry of the sample says it went. */
async function lastCustody(client: Client, barcode: string): Promise<string | null> {
  let last: string | null = null;
  let cursor: string | undefined;
  do {
    const query = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await client.get(
      `/storage/samples/${encodeURIComponent(barcode)}/timeline?limit=500${query}`,
      Timeline,
    );
    last = page.entries.at(-1)?.to ?? last;
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return last;
}

/** Every place at which a barcode is seen in the cell. */
function placesSeen(world: WorldSeen): Map<string, string[]> {
  const seen = new Map<string, string[]>();
  const note = (barcode: string, place: string) => seen.set(barcode, [...(seen.get(barcode) ?? []), place]);
  for (const [place, { barcode }] of Object.entries(world.positions)) note(barcode, place);
  if (world.carrier) note(world.carrier.barcode, 'carrier');
  for (const { barcode } of world.floor) note(barcode, 'floor');
  return seen;
}
