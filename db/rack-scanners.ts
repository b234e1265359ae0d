import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { Actor } from '../domain/actor.ts';
import { DomainError } from '../domain/errors.ts';
import type { Grid } from '../domain/grid.ts';
import type { RackScan } from '../domain/rack-scan.ts';
import type { ScannerProfile } from '../domain/scanner-profile.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { gridOrNull } from './grid-row.ts';
import { assertInService, lockLocation, titleOf } from './location-row.ts';
import { lockBox, type RackScanRecord, rackScanById, recordScan, writeRead } from './rack-scans.ts';
import { profileOf } from './scanner-profiles.ts';
import { inTenant, read, sqlStateOf } from './tenancy.ts';

/** After so long a scan of which nothing was heard gives way to the next; longer than its workflow runs. */
const FORGOTTEN_AFTER = '5 minutes';

/** A rack scanner on the network. */
export interface ScannerRecord {
  readonly id: string;
  readonly name: string;
  readonly driver: 'visionmate';
  readonly host: string;
  readonly port: number;
  /** code */
  readonly profile: string;
  readonly version: number;
}

const COLUMNS = sql`id, name, driver, host, port, profile, version`;

/** Scanners in service, by name; or the one of this id. */
export function listScanners(db: Database, tenantId: string, id?: string): Promise<ScannerRecord[]> {
  const one = id === undefined ? sql`` : sql`AND id = ${id}`;
  return read(
    db,
    tenantId,
    sql<ScannerRecord>`SELECT ${COLUMNS} FROM rack_scanner
      WHERE tenant_id = ${tenantId} AND retired_at IS NULL ${one} ORDER BY name`.compile(db.kysely),
  );
}

/**
 * Enters a scanner.
 * @throws DomainError NAME_TAKEN, VALIDATION (no such profile)
 */
export async function enrolScanner(
  db: Database,
  context: ChangeContext,
  scanner: Omit<ScannerRecord, 'id' | 'version'>,
  also: (change: Change, entered: ScannerRecord) => Promise<void>,
): Promise<ScannerRecord> {
  const { tenantId } = context.actor;
  const { name, driver, host, port, profile } = scanner;
  try {
    return await withChange(db, context, async (change) => {
      await profileOf(change.tx, tenantId, profile);
      const { rows } = await sql<ScannerRecord>`
        INSERT INTO rack_scanner (tenant_id, name, driver, host, port, profile)
        VALUES (${tenantId}, ${name}, ${driver}, ${host}, ${port}, ${profile}) RETURNING ${COLUMNS}`.execute(
        change.tx,
      );
      const entered = rows[0];
      if (!entered) throw new DomainError('INTERNAL', 'The scanner was not written.');
      recordScanner(change, 'storage.rack_scanner.enrolled', entered);
      await also(change, entered);
      return entered;
    });
  } catch (error) {
    if (sqlStateOf(error) !== '23505') throw error;
    throw new DomainError('NAME_TAKEN', `A rack scanner is called ${name} already: choose another name.`, {
      errors: [{ pointer: '/name', detail: 'is in use' }],
    });
  }
}

/** Takes a scanner out of use; its scans stay. @throws DomainError NOT_FOUND */
export function retireScanner(db: Database, context: ChangeContext, id: string): Promise<void> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { rows } = await sql<ScannerRecord>`
      UPDATE rack_scanner SET retired_at = ${change.recordedAt}, version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${id} AND retired_at IS NULL RETURNING ${COLUMNS}`.execute(
      change.tx,
    );
    if (!rows[0]) throw new DomainError('NOT_FOUND', `There is no rack scanner ${id}.`);
    recordScanner(change, 'storage.rack_scanner.retired', rows[0]);
  });
}

function recordScanner(
  change: Change,
  type: 'storage.rack_scanner.enrolled' | 'storage.rack_scanner.retired',
  scanner: ScannerRecord,
): void {
  const { id, version, name, driver, host, port, profile } = scanner;
  const isRetired = type === 'storage.rack_scanner.retired';
  const content = { name, driver, host, port, profile };
  change.record({
    aggregate: 'rack_scanner',
    aggregateId: id,
    version,
    type,
    from: isRetired ? 'in_service' : null,
    to: isRetired ? 'retired' : 'in_service',
    before: isRetired ? content : null,
    after: isRetired ? null : content,
    erasable: ['name', 'host'],
    data: { rack_scanner_id: id, driver },
  });
}

/**
 * Begins a scan of a box with a scanner; the same asked again while it runs is the same scan.
 * @throws DomainError CONFLICT when the scanner is at another box, NOT_FOUND, BARCODE_UNKNOWN, LOCATION_RETIRED,
 *   POSITION_UNKNOWN
 */
export function askScanner(
  db: Database,
  actor: Actor,
  scannerId: string,
  location: string,
): Promise<RackScanRecord> {
  const { tenantId, userId, stationId } = actor;
  return withChange(db, { actor, reason: 'inventory' }, async (change) => {
    const { tx, recordedAt } = change;
    const found = await sql<ScannerRecord>`SELECT ${COLUMNS} FROM rack_scanner
      WHERE tenant_id = ${tenantId} AND id = ${scannerId} AND retired_at IS NULL FOR NO KEY UPDATE`.execute(
      tx,
    );
    const scanner = found.rows[0];
    if (!scanner) throw new DomainError('NOT_FOUND', `There is no rack scanner ${scannerId}.`);
    const box = await lockBox(tx, tenantId, location);
    const { rows } = await sql<{ id: string; forgotten: boolean }>`
      SELECT id, scanned_at < clock_timestamp() - ${sql.lit(FORGOTTEN_AFTER)}::interval AS forgotten FROM rack_scan
      WHERE tenant_id = ${tenantId} AND scanner_id = ${scannerId} AND state = 'reading'`.execute(tx);
    const running = rows[0];
    if (running) {
      const scan = await rackScanById(tx, tenantId, running.id, true);
      if (running.forgotten) await fail(change, tenantId, scan, 'Nothing was heard of it any more.');
      else if (scan.locationId === box.row.id) return scan;
      else {
        throw new DomainError(
          'CONFLICT',
          `${scanner.name} is waiting for ${scan.location}: scan that, or wait until it has given up.`,
          { facts: { rackScanId: scan.id } },
        );
      }
    }
    const id = uuidv7();
    await sql`INSERT INTO rack_scan (tenant_id, id, location_id, profile, scanner_id, state, scanned_by, station_id,
        scanned_at)
      VALUES (${tenantId}, ${id}, ${box.row.id}, ${scanner.profile}, ${scannerId}, 'reading', ${userId}, ${stationId},
        ${recordedAt})`.execute(tx);
    const scan = await rackScanById(tx, tenantId, id);
    recordScan(change, 'storage.rack_scan.asked', null, scan);
    return scan;
  });
}

/** What a scanner needs to know of the scan it was asked for. */
export interface AskedScan {
  readonly state: RackScanRecord['state'];
  readonly scanner: ScannerRecord;
  readonly profile: ScannerProfile;
  readonly grid: Grid;
}

/** @throws DomainError NOT_FOUND when the scan, its scanner or its box is not there any more */
export function scannerOfScan(db: Database, tenantId: string, scanId: string): Promise<AskedScan> {
  return inTenant(db, tenantId, async (tx) => {
    const { state, scannerId, profile, locationId } = await rackScanById(tx, tenantId, scanId);
    const { rows } = await sql<ScannerRecord>`SELECT ${COLUMNS} FROM rack_scanner
      WHERE tenant_id = ${tenantId} AND id = ${scannerId} AND retired_at IS NULL`.execute(tx);
    if (!rows[0]) throw new DomainError('NOT_FOUND', 'The rack scanner is not in service any more.');
    const box = await lockLocation(tx, tenantId, locationId, 'NONE');
    assertInService(box);
    const grid = gridOrNull(box);
    if (!grid) throw new DomainError('POSITION_UNKNOWN', `${titleOf(box)} has no positions.`);
    return { state, scanner: rows[0], profile: (await profileOf(tx, tenantId, profile)).profile, grid };
  });
}

/** Saves what a scanner read; a scan that ended otherwise meanwhile stays as it is. */
export function finishScan(db: Database, actor: Actor, scanId: string, scan: RackScan): Promise<void> {
  const { tenantId } = actor;
  return inScan(db, actor, scanId, async (change, before) => {
    const box = await lockBox(change.tx, tenantId, before.locationId);
    const { profile, scannerId } = before;
    await writeRead(change, { id: scanId, by: actor, box, scan, profile, scannerId, before });
  });
}

/** Ends a scan that came to nothing; one that ended otherwise meanwhile stays as it is. */
export function failScan(db: Database, actor: Actor, scanId: string, why: string): Promise<void> {
  return inScan(db, actor, scanId, (change, before) => fail(change, actor.tenantId, before, why));
}

async function inScan(
  db: Database,
  actor: Actor,
  scanId: string,
  end: (change: Change, before: RackScanRecord) => Promise<void>,
): Promise<void> {
  const { scannerId } = await inTenant(db, actor.tenantId, (tx) => rackScanById(tx, actor.tenantId, scanId));
  const device = scannerId === null ? null : `scanner:${scannerId}`;
  await withChange(db, { actor, reason: 'inventory', device }, async (change) => {
    const before = await rackScanById(change.tx, actor.tenantId, scanId, true);
    if (before.state === 'reading') await end(change, before);
  });
}

async function fail(change: Change, tenantId: string, before: RackScanRecord, why: string): Promise<void> {
  await sql`UPDATE rack_scan SET state = 'failed', detail = ${why}, version = version + 1
    WHERE tenant_id = ${tenantId} AND id = ${before.id}`.execute(change.tx);
  const after = await rackScanById(change.tx, tenantId, before.id);
  recordScan(change, 'storage.rack_scan.failed', before, after);
}
