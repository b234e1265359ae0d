import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Address, placeName } from './store-world.ts';

/** What the store reports of its last worklist. */
export interface Report {
  readonly number: number;
  readonly from: Address;
  readonly to: Address;
  state: 'RUNNING' | 'DONE' | 'FAILED' | 'INTERRUPTED';
  reason: 'NONE' | 'REFUSED' | 'NOT_FOUND' | 'TARGET_OCCUPIED' | 'CARRIER_OCCUPIED' | 'MOTION';
  /** as its reader read it on the way; empty: it read nothing */
  barcode: string;
}

/** What the store believes: its inventory and the report of its last worklist. The tubes themselves are the world's. */
export interface Books {
  /** barcode by place; empty: it could not read it */
  readonly inventory: Record<string, string>;
  /** rises with every change of the inventory */
  revision: number;
  report: Report | null;
}

export interface BooksFile {
  readonly books: Books;
  save(): void;
  /** Notes what stands at a place: a barcode, empty when it is unread, null for nothing. */
  note(place: Address, barcode: string | null): void;
  /** The inventory by address, from behind one on. */
  page(
    after: Address | null,
    limit: number,
  ): {
    readonly tubes: readonly { readonly at: Address; readonly barcode: string }[];
    readonly hasMore: boolean;
    readonly total: number;
  };
}

/** Opens the books in a folder, or begins empty ones. A list that ran when the program died was interrupted. */
export function openBooks(folder: string): BooksFile {
  const file = join(folder, 'books.json');
  const books: Books = existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : { inventory: {}, revision: 0, report: null };
  if (books.report?.state === 'RUNNING') books.report.state = 'INTERRUPTED';
  const save = () => {
    writeFileSync(`${file}.new`, JSON.stringify(books));
    renameSync(`${file}.new`, file); // atomic: a kill leaves the old books or the new ones
  };
  return {
    books,
    save,
    note(place, barcode) {
      if (barcode === null) delete books.inventory[placeName(place)];
      else books.inventory[placeName(place)] = barcode;
      books.revision += 1;
      save();
    },
    page(after, limit) {
      const all = Object.entries(books.inventory)
        .map(([place, barcode]) => ({ at: addressOf(place), barcode }))
        .sort((one, other) => compare(one.at, other.at));
      const rest = after === null ? all : all.filter(({ at }) => compare(at, after) > 0);
      return { tubes: rest.slice(0, limit), hasMore: rest.length > limit, total: all.length };
    },
  };
}

function addressOf(place: string): Address {
  const [cassette = 0, level = 0, slot = 0] = place.split('/').map(Number);
  return { cassette, level, slot };
}

const compare = (one: Address, other: Address) =>
  one.cassette - other.cassette || one.level - other.level || one.slot - other.slot;
