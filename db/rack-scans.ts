import { type SqlBool, sql, type Transaction } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { Actor, SystemActor } from '../domain/actor.ts';
import type { JsonValue } from '../domain/canonical.ts';
import { DomainError } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import type { Grid } from '../domain/grid.ts';
import type { Expectation } from '../domain/rack-diff.ts';
import type { RackScan } from '../domain/rack-scan.ts';
import type { ScannerProfile } from '../domain/scanner-profile.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { gridOrNull } from './grid-row.ts';
import { assertInService, type LocationRow, lockLocation, titleOf } from './location-row.ts';
import { readExpectation } from './rack-expectation.ts';
import { scannedInWords } from './scanned.ts';
import { profileOf } from './scanner-profiles.ts';
import type { DB } from './schema.ts';
import { inTenant } from './tenancy.ts';

export const RACK_SCAN_STATES = ['reading', 'open', 'superseded', 'applied', 'failed'] as const;
export type RackScanState = (typeof RACK_SCAN_STATES)[number];

/** What applying a scan changed. */
export interface RackOutcome {
  readonly turned: boolean;
  /** tubes recorded in another place than before */
  readonly placed: number;
  readonly confirmed: number;
  readonly lost: number;
  /** positions that something without a name stands in */
  readonly blocked: number;
  readonly deviations: readonly string[];
}

/** A scan of a rack as it stands. */
export interface RackScanRecord {
  readonly id: string;
  readonly locationId: string;
  readonly location: string;
  readonly profile: string;
  /** null: a file or a list */
  readonly scannerId: string | null;
  readonly state: RackScanState;
  /** null while a scanner reads, and when it failed */
  readonly read: { readonly scan: RackScan; readonly expected: Expectation } | null;
  /** why it failed */
  readonly detail: string | null;
  readonly scannedBy: string;
  readonly scannedAt: Date;
  readonly supersededBy: string | null;
  readonly applied: { readonly by: string; readonly at: Date; readonly outcome: RackOutcome } | null;
  readonly version: number;
}

interface ScanRow {
  id: string;
  location_id: string;
  location: string;
  profile: string;
  scanner_id: string | null;
  state: RackScanState;
  content: RackScan | null;
  expected: Expectation | null;
  detail: string | null;
  scanned_by: string;
  scanned_at: Date;
  superseded_by: string | null;
  applied_by: string | null;
  applied_at: Date | null;
  outcome: RackOutcome | null;
  version: number;
}

const COLUMNS = sql`r.id, r.location_id, l.name || coalesce(' in ' || parent.name, '') AS location, r.profile,
  r.scanner_id, r.state, r.content, r.expected, r.detail, r.scanned_by, r.scanned_at, r.superseded_by, r.applied_by,
  r.applied_at, r.outcome, r.version`;
const FROM = sql`FROM rack_scan r JOIN location l ON l.tenant_id = r.tenant_id AND l.id = r.location_id
  LEFT JOIN location parent ON parent.tenant_id = l.tenant_id AND parent.id = l.parent_id`;

function scanOf(row: ScanRow): RackScanRecord {
  return {
    id: row.id,
    locationId: row.location_id,
    location: row.location,
    profile: row.profile,
    scannerId: row.scanner_id,
    state: row.state,
    read: row.content && row.expected ? { scan: row.content, expected: row.expected } : null,
    detail: row.detail,
    scannedBy: row.scanned_by,
    scannedAt: row.scanned_at,
    supersededBy: row.superseded_by,
    applied:
      row.applied_by && row.applied_at && row.outcome
        ? { by: row.applied_by, at: row.applied_at, outcome: row.outcome }
        : null,
    version: row.version,
  };
}

/** @throws DomainError NOT_FOUND */
export function findRackScan(db: Database, tenantId: string, id: string): Promise<RackScanRecord> {
  return inTenant(db, tenantId, (tx) => rackScanById(tx, tenantId, id));
}

/** As {@link findRackScan}, inside a transaction; `held`: nobody else changes it until that ends. */
export async function rackScanById(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
  held = false,
): Promise<RackScanRecord> {
  const { rows } =
    await sql<ScanRow>`SELECT ${COLUMNS} ${FROM} WHERE r.tenant_id = ${tenantId} AND r.id = ${id}
    ${held ? sql`FOR UPDATE OF r` : sql``}`.execute(tx);
  if (!rows[0]) throw new DomainError('NOT_FOUND', `There is no rack scan ${id}.`);
  return scanOf(rows[0]);
}

export interface RackScanFilter {
  readonly locationId?: string | undefined;
  readonly state?: RackScanState | undefined;
  /** id of the last one of the page before */
  readonly before: string | null;
  readonly limit: number;
}

/** A page of scans, newest first. */
export function listRackScans(
  db: Database,
  tenantId: string,
  filter: RackScanFilter,
): Promise<RackScanRecord[]> {
  const conditions = [sql<SqlBool>`r.tenant_id = ${tenantId}`];
  if (filter.locationId) conditions.push(sql<SqlBool>`r.location_id = ${filter.locationId}`);
  if (filter.state) conditions.push(sql<SqlBool>`r.state = ${filter.state}`);
  if (filter.before) conditions.push(sql<SqlBool>`r.id < ${filter.before}`);
  return inTenant(db, tenantId, async (tx) => {
    const { rows } = await sql<ScanRow>`SELECT ${COLUMNS} ${FROM} WHERE ${sql.join(conditions, sql` AND `)}
      ORDER BY r.id DESC LIMIT ${filter.limit}`.execute(tx);
    return rows.map(scanOf);
  });
}

/** A scan that a person sends in. */
export interface NewRackScan {
  /** id or barcode; null: the rack barcode in the scan says which */
  readonly location: string | null;
  /** code of a profile */
  readonly profile: string;
  /** reads it as scanned for a box with such positions; throws what is wrong with it */
  read(profile: ScannerProfile, grid: Grid): RackScan;
}

/** Positions of no box in particular, to read a rack barcode with. */
const ANY_BOX: Grid = { rows: 32, columns: 48, rowLabels: 'upper', columnLabels: 'number' };

/**
 * Saves a scan of a box, whatever was read in it, with what is recorded at this moment. An earlier scan of the box that
 * was not applied is superseded. Nothing of the record changes.
 * @param also what else belongs into the same transaction
 * @throws DomainError VALIDATION, BARCODE_MISMATCH (the scan is of another rack), POSITION_UNKNOWN (no grid),
 *   LOCATION_RETIRED, NOT_FOUND, BARCODE_UNKNOWN
 */
export function saveRackScan(
  db: Database,
  context: ChangeContext,
  wanted: NewRackScan,
  also: (tx: Transaction<DB>, scan: RackScanRecord) => Promise<void> = async () => {},
): Promise<RackScanRecord> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const { profile } = await profileOf(tx, tenantId, wanted.profile);
    const reference = wanted.location ?? wanted.read(profile, ANY_BOX).rackBarcode;
    if (reference === null) {
      throw new DomainError('VALIDATION', 'Name the box: the scan has no barcode of the rack.', {
        errors: [{ pointer: '/location', detail: 'is missing' }],
      });
    }
    const box = await lockBox(tx, tenantId, reference);
    const scan = wanted.read(profile, box.grid);
    const id = uuidv7();
    await writeRead(change, {
      id,
      by: context.actor,
      box,
      scan,
      profile: wanted.profile,
      scannerId: null,
      before: null,
    });
    const saved = await rackScanById(tx, tenantId, id);
    await also(tx, saved);
    return saved;
  });
}

/** A box, held against other scans of it. */
export interface HeldBox {
  readonly row: LocationRow;
  readonly grid: Grid;
}

export async function lockBox(tx: Transaction<DB>, tenantId: string, reference: string): Promise<HeldBox> {
  const row = await lockLocation(tx, tenantId, reference, 'UPDATE');
  assertInService(row);
  const grid = gridOrNull(row);
  if (grid) return { row, grid };
  throw new DomainError('POSITION_UNKNOWN', `${titleOf(row)} has no positions: name a box with a grid.`);
}

/** Writes what was read: a new scan, or the end of one that a scanner was asked for. */
export async function writeRead(
  change: Change,
  entered: {
    readonly id: string;
    readonly by: Actor | SystemActor;
    readonly box: HeldBox;
    readonly scan: RackScan;
    readonly profile: string;
    readonly scannerId: string | null;
    /** the scan that was asked for; null: there was none */
    readonly before: RackScanRecord | null;
  },
): Promise<void> {
  const { tx, recordedAt } = change;
  const { id, box, scan, profile, scannerId, before } = entered;
  const { tenantId, userId, stationId } = entered.by;
  if (scan.rackBarcode !== null && scan.rackBarcode !== box.row.barcode) {
    const what = await scannedInWords(tx, tenantId, scan.rackBarcode);
    throw new DomainError(
      'BARCODE_MISMATCH',
      `The scan is of ${what}, not of ${titleOf(box.row)}: scan the right rack, or name the one that was scanned.`,
      { errors: [{ pointer: '/location', detail: 'is not the rack of the scan' }] },
    );
  }
  const barcodes = scan.positions.flatMap(({ content }) =>
    content.kind === 'tube' ? [content.barcode] : [],
  );
  const expected = await readExpectation(tx, tenantId, { id: box.row.id, grid: box.grid }, barcodes);
  await supersede(change, tenantId, box.row.id, id);
  const content = JSON.stringify(scan);
  if (before === null) {
    await sql`INSERT INTO rack_scan (tenant_id, id, location_id, profile, scanner_id, state, content, expected,
        scanned_by, station_id, scanned_at)
      VALUES (${tenantId}, ${id}, ${box.row.id}, ${profile}, ${scannerId}, 'open', ${content}::jsonb,
        ${JSON.stringify(expected)}::jsonb, ${userId}, ${stationId}, ${recordedAt})`.execute(tx);
  } else {
    await sql`UPDATE rack_scan SET state = 'open', content = ${content}::jsonb,
        expected = ${JSON.stringify(expected)}::jsonb, scanned_at = ${recordedAt}, version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx);
  }
  recordScan(change, 'storage.rack_scan.read', before, await rackScanById(tx, tenantId, id));
}

async function supersede(change: Change, tenantId: string, locationId: string, by: string): Promise<void> {
  const { rows } = await sql<{ id: string }>`SELECT id FROM rack_scan
    WHERE tenant_id = ${tenantId} AND location_id = ${locationId} AND state = 'open' FOR UPDATE`.execute(
    change.tx,
  );
  for (const { id } of rows) {
    const before = await rackScanById(change.tx, tenantId, id);
    await sql`UPDATE rack_scan SET state = 'superseded', superseded_by = ${by}, version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(change.tx);
    recordScan(change, 'storage.rack_scan.superseded', before, await rackScanById(change.tx, tenantId, id));
  }
}

/** Announces the new version of a scan. */
export function recordScan(
  change: Change,
  type: Extract<EventType, `storage.rack_scan.${string}`>,
  before: RackScanRecord | null,
  after: RackScanRecord,
): void {
  change.record({
    aggregate: 'rack_scan',
    aggregateId: after.id,
    version: after.version,
    type,
    from: before?.state ?? null,
    to: after.state,
    before: before && contentOf(before),
    after: contentOf(after),
    // What was read is barcodes.
    erasable: ['content', 'detail'],
    data: {
      rack_scan_id: after.id,
      location_id: after.locationId,
      scanner_id: after.scannerId,
      state: after.state,
      positions: after.read?.scan.positions.length ?? null,
    },
  });
}

function contentOf(scan: RackScanRecord): Record<string, JsonValue> {
  const { applied } = scan;
  return {
    location_id: scan.locationId,
    profile: scan.profile,
    scanner_id: scan.scannerId,
    state: scan.state,
    content: scan.read && JSON.stringify(scan.read.scan),
    detail: scan.detail,
    superseded_by: scan.supersededBy,
    applied_by: applied?.by ?? null,
    outcome: applied && { ...applied.outcome, deviations: [...applied.outcome.deviations] },
  };
}
