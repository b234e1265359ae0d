/** What the sensors of a robot said when a motion settled; null = the sensor did not answer. */
export interface SensorReport {
  /** DONE and FAILED are the controller's word, UNKNOWN the gateway's: it could not find out */
  readonly state: 'DONE' | 'FAILED' | 'UNKNOWN';
  /** is a tube in the carrier */
  readonly carrier: boolean | null;
  /** is a tube where was picked */
  readonly source: boolean | null;
  /** is a tube where was placed */
  readonly target: boolean | null;
}

/** What a barcode scan in the carrier said. */
export interface ScanReport extends SensorReport {
  readonly barcodeMatches: boolean | null;
}

export type PickVerdict = 'picked' | 'not_picked' | 'unknown';
export type PlaceVerdict = 'placed' | 'still_held' | 'unknown';
export type TransferVerdict = 'placed' | 'not_moved' | 'unknown';
export type ScanVerdict = 'matches' | 'mismatch' | 'unread' | 'unknown';

/**
 * Where the tube is after a pick. The sensors are believed, not the controller's word: a `FAILED` with a full carrier and
 * an empty source is a pick. All four rows of carrier × source; an unanswered sensor is no witness.
 */
export function classifyPick(report: SensorReport): PickVerdict {
  if (report.state === 'UNKNOWN') return 'unknown';
  if (report.carrier === true && report.source === false) return 'picked';
  if (report.carrier === false && report.source === true) return 'not_picked';
  // both full: a foreign tube or a stuck sensor; both empty: dropped, or never there
  return 'unknown';
}

/** Where the tube is after a place, by carrier × target. */
export function classifyPlace(report: SensorReport): PlaceVerdict {
  if (report.state === 'UNKNOWN') return 'unknown';
  if (report.carrier === false && report.target === true) return 'placed';
  if (report.carrier === true && report.target === false) return 'still_held';
  return 'unknown';
}

/**
 * Where the tube is after a transfer inside a store that does the picking and placing itself, by source × target with
 * nothing in the carrier. All other rows are nobody's: a tube still in the carrier is the store's to put down, one seen
 * nowhere is lost, one seen at both ends is two tubes or a lie.
 */
export function classifyTransfer(report: SensorReport): TransferVerdict {
  if (report.state === 'UNKNOWN' || report.carrier !== false) return 'unknown';
  if (report.source === false && report.target === true) return 'placed';
  if (report.source === true && report.target === false) return 'not_moved';
  return 'unknown';
}

/** What the label that a store read on a tube's way tells; it is read or not, wherever the tube ended. */
export function classifyLabel({
  barcodeMatches,
}: Pick<ScanReport, 'barcodeMatches'>): Exclude<ScanVerdict, 'unknown'> {
  if (barcodeMatches === null) return 'unread';
  return barcodeMatches ? 'matches' : 'mismatch';
}

/** What a scan in the carrier tells. A scan moves nothing, so one that failed leaves the tube where it was. */
export function classifyScan(report: ScanReport): ScanVerdict {
  if (report.carrier === false) return 'unknown';
  return classifyLabel(report);
}

/** What is known of a motion that has ended, for the operator: what became of the command, and what the sensors see. */
export function describeOutcome(outcome: SensorReport & { readonly detail: string }): string {
  return `${outcome.detail.replace(/\.$/, '')}. The sensors: ${describeSensors(outcome)}.`;
}

/** A sentence part for the operator, e.g. `carrier full, source empty, target not seen`. */
export function describeSensors(report: SensorReport): string {
  const say = (seen: boolean | null) => (seen === null ? 'not seen' : seen ? 'full' : 'empty');
  return `carrier ${say(report.carrier)}, source ${say(report.source)}, target ${say(report.target)}`;
}
