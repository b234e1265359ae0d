import type { InventoryEntry } from '../domain/inventory.ts';
import type { WireAddress } from './robot-wire.ts';

export interface InventoryPage {
  /** by cassette, level and slot */
  readonly entries: readonly InventoryEntry[];
  readonly hasMore: boolean;
  /** how many tubes the store has in all */
  readonly total: number;
  /** rises with every change: pages of different revisions do not belong together */
  readonly revision: number;
}

/** A store that keeps an inventory of its own. Reading it moves nothing and may be repeated. */
export interface StoreInventory {
  /**
   * One page of what the store believes to hold, without its hand-off.
   * @param after the last address of the page before; null: from the beginning
   * @param limit at most so many, 1–500
   * @throws when the store does not answer
   */
  inventory(after: WireAddress | null, limit: number): Promise<InventoryPage>;
}

/** True for a wire whose store keeps an inventory of its own. */
export function keepsInventory<T extends object>(wire: T): wire is T & StoreInventory {
  return 'inventory' in wire;
}
