import type { Custody, Witness } from './custody.ts';
import { type Cell, cellLabel, type Grid } from './grid.ts';
import type { RackScan, RackSize, ScannedContent, ScannedPosition } from './rack-scan.ts';
import { RACK_SIZES } from './scanner-profile.ts';

/** A tube the record knows: one that is recorded in the box, or one that was scanned in it. */
export interface KnownTube {
  readonly sampleId: string;
  readonly barcode: string;
  readonly version: number;
  readonly custody: Custody['kind'];
  readonly witness: Witness;
  /** the live job that has it */
  readonly jobId: string | null;
  /** the position it is recorded in; null: in none */
  readonly place: {
    readonly positionId: string;
    readonly locationId: string;
    readonly location: string;
    readonly position: string;
    readonly jobId: string | null;
  } | null;
}

/** A position of the box, as recorded. */
export interface ExpectedPosition {
  readonly positionId: string;
  readonly cell: Cell;
  readonly state: 'free' | 'reserved' | 'occupied' | 'blocked';
  /** blocked until a scan says what is in it */
  readonly isDoubtful: boolean;
  readonly jobId: string | null;
  readonly sampleId: string | null;
}

/** What the record says at one moment: of the box, and of every tube that was scanned in it. */
export interface Expectation {
  readonly locationId: string;
  readonly grid: Grid;
  readonly positions: readonly ExpectedPosition[];
  readonly tubes: readonly KnownTube[];
  /** scanned barcodes that are no tube's: a location's, or retired */
  readonly others: readonly { readonly barcode: string; readonly of: 'location' | 'retired' }[];
}

/** What a scan says of one position. */
export type ScanVerdict =
  | 'match' // the tube recorded here
  | 'moved' // a tube recorded in another position of this box
  | 'elsewhere' // a tube recorded in another box, or in somebody's hands
  | 'found' // a tube nobody knew the place of
  | 'unknown' // a barcode that no tube has
  | 'duplicate' // a barcode that was read in another position too
  | 'unread' // a tube whose code could not be read
  | 'missing' // nothing where a tube is recorded, which is nowhere else in the scan either
  | 'empty' // nothing, and nothing is missing
  | 'not_scanned'; // the scan does not say

export const SCAN_VERDICTS = [
  'match',
  'moved',
  'elsewhere',
  'found',
  'unknown',
  'duplicate',
  'unread',
  'missing',
  'empty',
  'not_scanned',
] as const satisfies readonly ScanVerdict[];

/** One position of the diff. */
export interface PositionDiff {
  readonly cell: Cell;
  readonly label: string;
  readonly verdict: ScanVerdict;
  /** as read */
  readonly barcode: string | null;
  /** whose barcode it is */
  readonly tube: KnownTube | null;
  /** for unknown: what the barcode belongs to instead */
  readonly barcodeOf: 'location' | 'retired' | null;
  /** for duplicate: the other positions */
  readonly alsoAt: readonly string[];
  /** the tube recorded here that is not here, and nowhere else in the scan: what stands here is another, or nothing */
  readonly absent: KnownTube | null;
  /** whether the box has this position */
  readonly isInBox: boolean;
  /** the job that holds the position */
  readonly jobId: string | null;
}

/** A scan held against the record. */
export interface RackDiff {
  /** row by row; positions that the box has, and those that were scanned outside it */
  readonly positions: readonly PositionDiff[];
  readonly counts: Readonly<Record<ScanVerdict, number>>;
  /** tubes recorded in the box that are not there */
  readonly absent: number;
  /** whether the tubes stand as if the rack had been turned by 180°: A1 is where H12 should be */
  readonly isRotated: boolean;
  /** the size that was scanned, where it is not the box's */
  readonly wrongSize: RackSize | null;
  /** the box in which most of the tubes are recorded, where that is another */
  readonly otherBox: {
    readonly locationId: string;
    readonly location: string;
    readonly tubes: number;
  } | null;
}

/**
 * Holds a scan against what is recorded, across all boxes. Pure: the same scan and record give the same diff.
 */
export function diffRack(scan: Omit<RackScan, 'rackBarcode'>, expected: Expectation): RackDiff {
  const { grid } = expected;
  const key = (cell: Cell) => `${cell.row}/${cell.column}`;
  const scanned = new Map(scan.positions.map(({ cell, content }) => [key(cell), content]));
  const cells = new Map<string, Cell>();
  for (const { cell } of [...expected.positions, ...scan.positions]) cells.set(key(cell), cell);

  const byBarcode = new Map(expected.tubes.map((tube) => [tube.barcode, tube]));
  const byId = new Map(expected.tubes.map((tube) => [tube.sampleId, tube]));
  const recorded = new Map(expected.positions.map((position) => [key(position.cell), position]));
  const others = new Map(expected.others.map((other) => [other.barcode, other.of]));
  const readAt = readPositions(scan.positions, grid);

  const positions = [...cells.values()]
    .sort((one, other) => one.row - other.row || one.column - other.column)
    .map((cell): PositionDiff => {
      const listed = scanned.get(key(cell));
      const content: ScannedContent | { readonly kind: 'not_scanned' } =
        listed ?? (scan.listsEmpty ? { kind: 'not_scanned' } : { kind: 'empty' });
      const position = recorded.get(key(cell)) ?? null;
      const here = position?.sampleId ? (byId.get(position.sampleId) ?? null) : null;
      const label = cellLabel(cell, grid);
      const common = { cell, label, isInBox: position !== null, jobId: position?.jobId ?? null };
      const nothing = { barcode: null, tube: null, barcodeOf: null, alsoAt: [], absent: null };
      if (content.kind === 'not_scanned' || content.kind === 'unread') {
        return { ...common, ...nothing, verdict: content.kind };
      }
      if (content.kind === 'empty') {
        const absent = here && !readAt.has(here.barcode) ? here : null;
        return { ...common, ...nothing, verdict: absent ? 'missing' : 'empty', absent };
      }
      const { barcode } = content;
      const tube = byBarcode.get(barcode) ?? null;
      const alsoAt = (readAt.get(barcode) ?? []).filter((other) => other !== label);
      return {
        ...common,
        barcode,
        tube,
        barcodeOf: tube ? null : (others.get(barcode) ?? null),
        alsoAt,
        verdict:
          alsoAt.length > 0 ? 'duplicate' : tube ? verdictOf(tube, position, expected.locationId) : 'unknown',
        absent: here && !readAt.has(here.barcode) ? here : null,
      };
    });

  const wrongSize = wrongSizeOf(scan, grid);
  return {
    positions,
    counts: countVerdicts(positions),
    absent: positions.filter((position) => position.absent !== null).length,
    isRotated: wrongSize === null && isRotated(positions, expected),
    wrongSize,
    otherBox: otherBoxOf(positions, expected.locationId),
  };
}

function verdictOf(tube: KnownTube, position: ExpectedPosition | null, locationId: string): ScanVerdict {
  if (tube.custody === 'unknown') return 'found';
  if (tube.place === null || tube.place.locationId !== locationId) return 'elsewhere';
  return tube.place.positionId === position?.positionId ? 'match' : 'moved';
}

/** Where each barcode was read. */
function readPositions(positions: readonly ScannedPosition[], grid: Grid): Map<string, string[]> {
  const readAt = new Map<string, string[]>();
  for (const { cell, content } of positions) {
    if (content.kind !== 'tube') continue;
    readAt.set(content.barcode, [...(readAt.get(content.barcode) ?? []), cellLabel(cell, grid)]);
  }
  return readAt;
}

function countVerdicts(positions: readonly PositionDiff[]): Record<ScanVerdict, number> {
  const counts = Object.fromEntries(SCAN_VERDICTS.map((verdict) => [verdict, 0])) as Record<
    ScanVerdict,
    number
  >;
  for (const { verdict } of positions) counts[verdict] += 1;
  return counts;
}

/**
 * Turned, when of the tubes of this box that were read, at least two and more than half stand where a turn by 180° would
 * have put them, and more than stand where they should.
 */
function isRotated(
  positions: readonly PositionDiff[],
  { grid, positions: expected, locationId }: Expectation,
): boolean {
  const cellOf = new Map(expected.map(({ positionId, cell }) => [positionId, cell]));
  let [own, straight, turned] = [0, 0, 0];
  for (const { cell, tube, verdict } of positions) {
    if (verdict !== 'match' && verdict !== 'moved') continue;
    const home = tube?.place?.locationId === locationId ? cellOf.get(tube.place.positionId) : undefined;
    if (!home) continue;
    own += 1;
    if (home.row === cell.row && home.column === cell.column) straight += 1;
    if (home.row === grid.rows - 1 - cell.row && home.column === grid.columns - 1 - cell.column) turned += 1;
  }
  return turned >= 2 && turned > straight && turned * 2 > own;
}

/** The scanner's own word, or what the positions cover: outside the box, or all of a smaller rack and nothing else. */
function wrongSizeOf(scan: Omit<RackScan, 'rackBarcode'>, grid: Grid): RackSize | null {
  const covered = {
    rows: Math.max(0, ...scan.positions.map(({ cell }) => cell.row + 1)),
    columns: Math.max(0, ...scan.positions.map(({ cell }) => cell.column + 1)),
  };
  const isSame = (size: RackSize) => size.rows === grid.rows && size.columns === grid.columns;
  if (scan.size !== null) return isSame(scan.size) ? null : scan.size;
  if (covered.rows > grid.rows || covered.columns > grid.columns) {
    return RACK_SIZES.find((size) => size.rows >= covered.rows && size.columns >= covered.columns) ?? covered;
  }
  const isWhole = scan.positions.length === covered.rows * covered.columns;
  const isSold = RACK_SIZES.some((size) => size.rows === covered.rows && size.columns === covered.columns);
  return isWhole && isSold && !isSame(covered) ? covered : null;
}

function otherBoxOf(positions: readonly PositionDiff[], locationId: string): RackDiff['otherBox'] {
  const read = positions.filter(({ barcode }) => barcode !== null).length;
  const boxes = new Map<string, { locationId: string; location: string; tubes: number }>();
  for (const { tube } of positions) {
    if (!tube?.place || tube.place.locationId === locationId) continue;
    const { locationId: id, location } = tube.place;
    boxes.set(id, { locationId: id, location, tubes: (boxes.get(id)?.tubes ?? 0) + 1 });
  }
  const most = [...boxes.values()].sort((one, other) => other.tubes - one.tubes)[0];
  return most && most.tubes >= 2 && most.tubes * 2 > read ? most : null;
}

/**
 * What has changed of the box, or of a tube that was scanned in it, between two looks at the record; a sentence each.
 */
export function changesBetween(before: Expectation, now: Expectation): string[] {
  const changes: string[] = [];
  const was = new Map(before.positions.map((position) => [position.positionId, position]));
  for (const position of now.positions) {
    const { state, sampleId, jobId } = was.get(position.positionId) ?? {
      state: 'gone',
      sampleId: null,
      jobId: null,
    };
    const label = cellLabel(position.cell, now.grid);
    if (state !== position.state) changes.push(`position ${label} was ${state} and is ${position.state} now`);
    else if (sampleId !== position.sampleId) changes.push(`another tube is recorded in position ${label}`);
    else if (jobId !== position.jobId)
      changes.push(`position ${label} is held by job ${position.jobId ?? 'no more'}`);
  }
  if (now.positions.length !== before.positions.length) changes.push('the box has other positions');
  const tubes = new Map(before.tubes.map((tube) => [tube.sampleId, tube]));
  for (const { sampleId, version, jobId } of now.tubes) {
    const tube = tubes.get(sampleId);
    if (tube?.version !== version) changes.push(`the record of sample ${sampleId} has changed`);
    else if (tube.jobId !== jobId) changes.push(`sample ${sampleId} belongs to job ${jobId ?? 'no more'}`);
  }
  return changes;
}
