const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/**
 * How a record is named from outside: a UUID-shaped text is an id, anything else a barcode; barcodes are never
 * UUID-shaped.
 */
export function isId(reference: string): boolean {
  return UUID.test(reference);
}
