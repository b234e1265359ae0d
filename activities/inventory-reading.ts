import { Context } from '@temporalio/activity';
import type { Database } from '../db/connection.ts';
import { beginReading, stageEntries } from '../db/inventory.ts';
import type { WireAddress } from '../devices/robot-wire.ts';
import type { InventoryPage, StoreInventory } from '../devices/store-inventory.ts';
import { DomainError } from '../domain/errors.ts';

/** Tubes asked for at a time. */
const PAGE = 200;
/** A store whose inventory changes while it is read is read so often. */
const READINGS = 5;

/**
 * Reads a store's whole inventory into the database, page by page, for one comparison. A repeat reads it afresh.
 * @throws DomainError ROBOT_UNAVAILABLE when the inventory changed in every reading, INTERNAL, which may be tried again,
 *   when the store does not answer; whatever the database throws
 */
export async function readInventory(
  db: Database,
  store: StoreInventory,
  tenantId: string,
  comparisonId: string,
): Promise<void> {
  for (let n = 1; n <= READINGS; n += 1) {
    if (await readOnce(db, store, tenantId, comparisonId)) return;
  }
  throw new DomainError('ROBOT_UNAVAILABLE', 'The store’s inventory changed each time while it was read.');
}

/** @returns false when the pages do not belong together */
async function readOnce(
  db: Database,
  store: StoreInventory,
  tenantId: string,
  comparisonId: string,
): Promise<boolean> {
  await beginReading(db, tenantId, comparisonId);
  let after: WireAddress | null = null;
  let revision: number | null = null;
  let count = 0;
  for (;;) {
    const page: InventoryPage = await store.inventory(after, PAGE).catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      throw new DomainError('INTERNAL', `The store’s inventory could not be read: ${why}`, { cause: error });
    });
    revision ??= page.revision;
    if (page.revision !== revision) return false;
    if (page.entries.length > 0) await stageEntries(db, tenantId, comparisonId, page.entries);
    count += page.entries.length;
    Context.current().heartbeat(count);
    after = page.entries.at(-1) ?? null;
    if (!page.hasMore || after === null) return count === page.total;
  }
}
