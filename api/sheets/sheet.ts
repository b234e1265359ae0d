/** A row of a sheet, as text. */
export interface SheetRow {
  /** as people count it in the file, from 1 */
  readonly line: number;
  readonly cells: readonly string[];
}

/** Name of a column as spreadsheets show it: 0 is A, 26 is AA. */
export function columnName(index: number): string {
  const letter = String.fromCharCode(65 + (index % 26));
  return index < 26 ? letter : columnName(Math.floor(index / 26) - 1) + letter;
}
