export const COMPARE_INVENTORY = 'compareInventory';
export const COMPARE_INVENTORIES = 'compareInventories';

/** Compares one store's own inventory with the record. */
export interface InventoryInput {
  readonly tenantId: string;
  readonly robotId: string;
  readonly comparisonId: string;
}

/** Compares the inventories of all stores of a tenant that keep one. */
export interface InventoriesInput {
  readonly tenantId: string;
}
