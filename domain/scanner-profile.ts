/** A column of a table: its number from 1, or its name in the header. */
type Column = number | string;

/** How the output of one kind of rack scanner is read. */
export interface ScannerProfile {
  /** `table`: a line a position; `sequence`: one line of barcodes; `dp5`: the JSON of a DP5 reader */
  readonly format: 'table' | 'sequence' | 'dp5';
  /** of files; a byte order mark says more and wins */
  readonly encoding: 'utf-8' | 'latin1' | 'utf-16le';
  /** whether a byte order mark may stand in front */
  readonly byteOrderMark: boolean;
  readonly delimiter: ',' | ';' | '\t' | '|';
  /** whether a delimiter stands behind the last field too */
  readonly trailingDelimiter: boolean;
  /** what ends the message, e.g. the control character 3; empty: nothing */
  readonly suffix: string;
  /** lines in front of the first position; the last of them names the columns */
  readonly headerLines: number;
  /** fields of a line; null: as many as the header names */
  readonly width: number | null;
  readonly columns: {
    readonly rack: Column | null;
    readonly position: Column;
    readonly barcode: Column;
  };
  /** how bare numbers and sequences count: A1, A2 … by rows, A1, B1 … by columns */
  readonly order: 'rows' | 'columns';
  /** size of every rack it reads; null: it may differ */
  readonly rack: { readonly rows: number; readonly columns: number } | null;
  /** words for a position without a tube, and for a tube whose code could not be read; in either case of letters */
  readonly empty: readonly string[];
  readonly unread: readonly string[];
  /** whether spaces around fields are dropped */
  readonly trim: boolean;
  /** true: a position that is not listed was not scanned; false: it is empty */
  readonly listsEmpty: boolean;
}

/** A profile under its name. */
export interface NamedProfile {
  readonly code: string;
  readonly name: string;
  readonly profile: ScannerProfile;
}

/** What most write for an empty or unreadable position. */
const EMPTY = ['', 'EMPTY', 'NO TUBE', 'NOTUBE'];
const UNREAD = ['NO READ', 'NOREAD', 'NOSCAN', 'NO SCAN'];

/** Lines of position and tube, without a header: what most scanners write. */
export const TWO_COLUMNS: ScannerProfile = {
  format: 'table',
  encoding: 'utf-8',
  byteOrderMark: true,
  delimiter: ',',
  trailingDelimiter: false,
  suffix: '',
  headerLines: 0,
  width: 2,
  columns: { rack: null, position: 1, barcode: 2 },
  order: 'rows',
  rack: null,
  empty: EMPTY,
  unread: UNREAD,
  trim: true,
  listsEmpty: true,
};

/**
 * The profiles every laboratory has until it sets its own: one a source of the table in the storage reference (2.1). What
 * DataPaq and XL20 write depends on how they are set up: compare their profile with a file of your own.
 */
export const PRESET_PROFILES: readonly NamedProfile[] = [
  {
    code: 'visionmate',
    name: 'VisionMate V3/V4 over TCP',
    profile: {
      ...TWO_COLUMNS,
      format: 'sequence',
      trailingDelimiter: true,
      suffix: '\u0003', // its settings call it [3]
      order: 'columns',
      rack: { rows: 8, columns: 12 },
      empty: ['', 'NO TUBE'],
      unread: ['NO READ'],
    },
  },
  { code: 'two_columns', name: 'Two columns: position, tube', profile: TWO_COLUMNS },
  {
    code: 'three_columns',
    name: 'Three columns: rack, position, tube',
    profile: { ...TWO_COLUMNS, width: 3, columns: { rack: 1, position: 2, barcode: 3 } },
  },
  {
    code: 'dp5_mirage',
    name: 'DP5 Mirage (JSON)',
    profile: { ...TWO_COLUMNS, format: 'dp5', unread: [...UNREAD, 'FAILED', 'NOT DECODED', 'UNDECODED'] },
  },
  {
    code: 'easyblood',
    name: 'EasyBlood CSV',
    profile: {
      ...TWO_COLUMNS,
      headerLines: 1,
      width: null,
      columns: { rack: 'RackID', position: 'TPositionID', barcode: 'TTubeBC' },
      listsEmpty: false,
    },
  },
  {
    code: 'ziath_datapaq',
    name: 'Ziath DataPaq, export of two columns with a header',
    profile: { ...TWO_COLUMNS, headerLines: 1 },
  },
  {
    code: 'biomicrolab_xl20',
    name: 'BioMicroLab XL20: rack, position, tube',
    profile: { ...TWO_COLUMNS, width: 3, columns: { rack: 1, position: 2, barcode: 3 }, listsEmpty: false },
  },
];

/** Footprints racks and boxes are sold in; what a scan covers without a gap is one of them. */
export const RACK_SIZES = [
  { rows: 4, columns: 6 },
  { rows: 5, columns: 5 },
  { rows: 6, columns: 8 },
  { rows: 9, columns: 9 },
  { rows: 8, columns: 12 },
  { rows: 10, columns: 10 },
  { rows: 16, columns: 24 },
  { rows: 32, columns: 48 },
] as const;
