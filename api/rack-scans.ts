import type { RackScanRecord } from '../db/rack-scans.ts';
import { diffRack, type KnownTube, type PositionDiff, type RackDiff } from '../domain/rack-diff.ts';
import type { RackScan } from '../schemas/rack-scan.ts';

/** A scan as the API shows it, position by position. */
export function presentRackScan(record: RackScanRecord): RackScan {
  const diff = diffOf(record);
  return {
    ...presentScan(record),
    ...(diff && { diff: { ...summaryOf(diff), positions: diff.positions.map(presentPosition) } }),
  };
}

/** A scan in a list: counted, without its positions. */
export function presentRackScanSummary(record: RackScanRecord) {
  const diff = diffOf(record);
  return { ...presentScan(record), ...(diff && { diff: summaryOf(diff) }) };
}

function diffOf({ read }: RackScanRecord): RackDiff | null {
  return read && diffRack(read.scan, read.expected);
}

function presentScan(record: RackScanRecord): Omit<RackScan, 'diff'> {
  const { id, locationId, location, profile, scannerId, state, read, detail, supersededBy, applied } = record;
  return {
    id,
    locationId,
    location,
    profile,
    ...(scannerId !== null && { scannerId }),
    state,
    ...(read?.scan.rackBarcode && { rackBarcode: read.scan.rackBarcode }),
    ...(detail !== null && { detail }),
    scannedBy: record.scannedBy,
    scannedAt: record.scannedAt.toISOString(),
    ...(supersededBy !== null && { supersededBy }),
    ...(applied && {
      applied: {
        at: applied.at.toISOString(),
        by: applied.by,
        ...applied.outcome,
        deviations: [...applied.outcome.deviations],
      },
    }),
    version: record.version,
  };
}

function summaryOf({ counts, absent, isRotated, wrongSize, otherBox }: RackDiff) {
  return {
    counts: { ...counts },
    absent,
    rotated: isRotated,
    ...(wrongSize && { wrongSize: { ...wrongSize } }),
    ...(otherBox && { otherBox: { ...otherBox } }),
  };
}

function presentPosition(position: PositionDiff): NonNullable<RackScan['diff']>['positions'][number] {
  const { label, verdict, barcode, tube, barcodeOf, alsoAt, absent, isInBox, jobId } = position;
  return {
    position: label,
    verdict,
    ...(barcode !== null && { barcode }),
    ...(tube && { tube: presentTube(tube) }),
    ...(barcodeOf && { barcodeOf }),
    ...(alsoAt.length > 0 && { alsoAt: [...alsoAt] }),
    ...(absent && { absent: presentTube(absent) }),
    inBox: isInBox,
    ...(jobId !== null && { jobId }),
  };
}

function presentTube({ sampleId, barcode, custody, place, jobId }: KnownTube) {
  return {
    sampleId,
    barcode,
    custody,
    ...(place && {
      recorded: { locationId: place.locationId, location: place.location, position: place.position },
    }),
    ...(jobId !== null && { jobId }),
  };
}
