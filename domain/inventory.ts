/** A tube as a store itself has it in its books. */
export interface InventoryEntry {
  readonly cassette: number;
  readonly level: number;
  readonly slot: number;
  /** as its reader read it when the tube came; null: it could not */
  readonly barcode: string | null;
}

/** How a store's own inventory and the record differ about one tube. */
export type DiscrepancyKind = 'inventory_missing' | 'inventory_unexpected' | 'inventory_moved';

/** A tube about which a store's own inventory and the record differ. */
export interface Discrepancy {
  readonly kind: DiscrepancyKind;
  /** null: nobody has registered a tube of this label */
  readonly sampleId: string | null;
  /** where it is recorded; null where the record does not have it in this store */
  readonly recordedId: string | null;
  /** the position at which the store has it; null where the store has none, or we know no such position */
  readonly foundId: string | null;
  /** cassette/level/slot: where the store has it; for a missing one, where it should be */
  readonly address: string;
  /** as the store has it; null: it could not read it, or has none */
  readonly barcode: string | null;
}

/** How many tubes a comparison was about. */
export interface InventoryCounts {
  /** in the store's inventory */
  readonly tubes: number;
  /** in the record */
  readonly recorded: number;
  readonly missing: number;
  readonly unexpected: number;
  readonly moved: number;
}

/** Fewer tubes than this are lost one by one. */
const FEW = 10;

/**
 * Why a comparison says more of the store's books than of its tubes: so many tubes do not vanish between two comparisons
 * without anybody having heard of it. Null when it may be believed.
 */
export function refusalOfInventory({ tubes, recorded, missing }: InventoryCounts): string | null {
  if (missing < FEW || missing * 2 <= recorded) return null;
  return `The store lists ${tubes} tubes and lacks ${missing} of the ${recorded} that are recorded there: its inventory seems to be lost or incomplete, so nothing was concluded from it. Have it restored or taken anew.`;
}

/**
 * What a deviation says of a discrepancy, for people.
 * @param at names of the places: where it is recorded, and where the store has it
 */
export function describeDiscrepancy(
  { kind, sampleId, barcode, address }: Discrepancy,
  store: string,
  at: { readonly recorded: string | null; readonly found: string | null },
): string {
  const there = at.found === null ? `at its address ${address}, which is no position here` : `in ${at.found}`;
  switch (kind) {
    case 'inventory_missing':
      return `${store} has no tube in ${at.recorded ?? address}, where this one is recorded.`;
    case 'inventory_moved':
      return `${store} has the tube that is recorded in ${at.recorded ?? 'it'} ${there}.`;
    case 'inventory_unexpected': {
      const tube =
        barcode === null ? 'a tube whose label it could not read' : `a tube with the label ${barcode}`;
      const known =
        barcode === null
          ? ''
          : sampleId === null
            ? ', which nobody registered'
            : ', which is recorded elsewhere';
      return `${store} has ${tube}${known}, ${there}, where none is recorded.`;
    }
  }
}
