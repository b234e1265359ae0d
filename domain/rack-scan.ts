import type { Cell, Grid } from './grid.ts';
import { RackReading } from './rack-reading.ts';
import { strangeCharacter } from './scan-text.ts';
import type { ScannerProfile } from './scanner-profile.ts';

/** What was read in one position: a barcode, `empty` = no tube there, `unread` = a tube whose code could not be read. */
export type ScannedContent =
  | { readonly kind: 'tube'; readonly barcode: string }
  | { readonly kind: 'empty' }
  | { readonly kind: 'unread' };

/** One position of a scanned rack. */
export interface ScannedPosition {
  /** may lie outside the box it was scanned for */
  readonly cell: Cell;
  readonly content: ScannedContent;
}

/** The size of a rack. */
export interface RackSize {
  readonly rows: number;
  readonly columns: number;
}

/** A scan of one rack. */
export interface RackScan {
  /** null: the scanner reads none */
  readonly rackBarcode: string | null;
  /** as the scanner says it; null: it does not */
  readonly size: RackSize | null;
  /** in the order of the file; a tube may be listed more than once, a position not */
  readonly positions: readonly ScannedPosition[];
  /** whether a position that is not listed was not scanned; otherwise it is empty */
  readonly listsEmpty: boolean;
}

/**
 * Reads a rack scan as a profile says. `pointer` of a mistake is `line N, column M`.
 * @param grid of the box it was scanned for: how its rows and columns are called
 * @param source how messages call the text
 * @throws DomainError VALIDATION naming the line and column of each mistake
 */
export function parseRackScan(
  text: string,
  profile: ScannerProfile,
  grid: Grid,
  source = 'the rack scan',
): RackScan {
  const reading = new RackReading(profile, grid);
  const isMarked = text.startsWith('\uFEFF');
  if (isMarked && !profile.byteOrderMark) reading.wrong(1, 1, 'there is a byte order mark: save it without');
  const content = isMarked ? text.slice(1) : text;
  const strange = strangeCharacter(content);
  if (strange) reading.wrong(strange.line, strange.column, strange.detail);
  else if (profile.format === 'table') reading.readTable(content);
  else if (profile.format === 'sequence') reading.readSequence(content);
  else reading.readDp5(content);
  return reading.close(source);
}

/** What a program listed itself, position by position, instead of a file. */
export interface ListedPosition {
  readonly position: string;
  readonly barcode?: string | undefined;
  readonly read?: 'empty' | 'unread' | undefined;
}

/** As {@link parseRackScan}, of a list; `pointer` of a mistake is a JSON pointer. */
export function readListedScan(
  listed: readonly ListedPosition[],
  profile: ScannerProfile,
  grid: Grid,
): RackScan {
  const reading = new RackReading(profile, grid);
  listed.forEach(({ position, barcode, read }, index) => {
    const at = `/positions/${index}`;
    const cell = reading.cellOf(position, `${at}/position`);
    if (cell) reading.take(cell, barcode ?? '', `${at}/position`, `${at}/barcode`, read);
  });
  return reading.close('the list of positions');
}

/** Turns every position of a scan by 180° in a grid: A1 becomes H12. What lies outside it stays outside. */
export function turned(positions: readonly ScannedPosition[], grid: RackSize): ScannedPosition[] {
  return positions.map(({ cell, content }) => ({
    cell: { row: grid.rows - 1 - cell.row, column: grid.columns - 1 - cell.column },
    content,
  }));
}
