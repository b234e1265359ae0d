import { sql, type Transaction } from 'kysely';
import type { Custody } from '../domain/custody.ts';
import { DomainError } from '../domain/errors.ts';
import { type Cell, parseCell } from '../domain/grid.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { changeSample, custodySets, lockSample, positionIn, type SampleRecord } from './custody.ts';
import { gridOrNull } from './grid-row.ts';
import { assertInService, lockLocation, titleOf } from './location-row.ts';
import { recordBlocking } from './location-service.ts';
import { lockPlaces, type Place } from './places.ts';
import { resolveReference } from './references.ts';
import { IN_DOUBT_AFTER_RESTORE } from './restored-robot.ts';
import { scannedInWords } from './scanned.ts';
import type { DB } from './schema.ts';

/** What a person scanned who stands before a tube. */
export interface TubeScan {
  readonly containerBarcode: string;
  /** label such as `C5` */
  readonly position: string;
  readonly sampleBarcode: string;
}

/**
 * A person's scan of a tube where it stands: makes known where a tube is that was UNKNOWN, and witnessed what was only
 * asserted. It corrects the record and moves no tube, so it is refused for a tube that something has seen elsewhere.
 * Where another tube was only asserted to be in the position, that one is UNKNOWN from now on. The same scan again
 * changes nothing.
 * @param reference the sample's id or barcode
 * @param also what else belongs into the same transaction
 * @returns the sample's id
 * @throws DomainError BARCODE_MISMATCH, SAMPLE_BUSY, CONFLICT (it was seen elsewhere, or disposed of),
 *   POSITION_OCCUPIED, POSITION_BLOCKED, POSITION_UNKNOWN, LOCATION_RETIRED, NOT_FOUND, BARCODE_UNKNOWN
 */
export async function verifySample(
  db: Database,
  context: ChangeContext,
  reference: string,
  scan: TubeScan,
  also: (tx: Transaction<DB>, sampleId: string) => Promise<void> = async () => {},
): Promise<string> {
  const { tenantId } = context.actor;
  const sampleId = await resolveReference(db, tenantId, 'sample', reference);
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const sample = await lockSample(tx, tenantId, sampleId);
    if (!sample) throw new DomainError('NOT_FOUND', `There is no sample ${sampleId}.`);
    await checkBarcode(tx, tenantId, sample, scan.sampleBarcode);
    const { place, left } = await lockBoth(tx, tenantId, sample, scan);
    const isSeenHere = positionIn(sample.custody) === place.positionId && sample.witness === 'barcode';
    if (!isSeenHere) {
      checkSample(sample);
      await makeRoom(change, tenantId, sample, place);
      await settle(change, tenantId, sample, place, left);
    }
    await also(tx, sample.id);
    return sample.id;
  });
}

async function checkBarcode(
  tx: Transaction<DB>,
  tenantId: string,
  sample: SampleRecord,
  scanned: string,
): Promise<void> {
  if (scanned === sample.barcode) return;
  const what = await scannedInWords(tx, tenantId, scanned);
  throw new DomainError('BARCODE_MISMATCH', `What was scanned is ${what}, not this sample.`, {
    errors: [{ pointer: '/sampleBarcode', detail: 'is not the barcode of the sample in the path' }],
  });
}

/** The position that was scanned, and the one the record has the tube in, if that is another. */
async function lockBoth(
  tx: Transaction<DB>,
  tenantId: string,
  sample: SampleRecord,
  scan: TubeScan,
): Promise<{ place: Place; left: Place | null }> {
  const container = await lockLocation(tx, tenantId, scan.containerBarcode, 'NONE');
  assertInService(container);
  const grid = gridOrNull(container);
  if (!grid) throw new DomainError('POSITION_UNKNOWN', `${titleOf(container)} has no positions.`);
  const leftId = positionIn(sample.custody);
  const positionId =
    grid.labelling === 'none'
      ? await looseIn(tx, tenantId, container.id, leftId)
      : await cellIn(tx, tenantId, container.id, parseCell(scan.position, grid, titleOf(container)));
  const wanted = [positionId, leftId].filter((id) => typeof id === 'string');
  const places = await lockPlaces(tx, tenantId, wanted);
  const place = places.get(positionId ?? '');
  if (!place) {
    throw new DomainError(
      'POSITION_UNKNOWN',
      `Position ${scan.position} of ${titleOf(container)} is out of use.`,
    );
  }
  return { place, left: leftId === positionId ? null : (places.get(leftId ?? '') ?? null) };
}

async function cellIn(tx: Transaction<DB>, tenantId: string, containerId: string, cell: Cell) {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM position WHERE tenant_id = ${tenantId} AND container_id = ${containerId}
      AND grid_row = ${cell.row} AND grid_column = ${cell.column} AND retired_at IS NULL`.execute(tx);
  return rows[0]?.id;
}

/** Where a thing lies loose no position can be scanned: it is the one the record has it in, or any that is free. */
async function looseIn(
  tx: Transaction<DB>,
  tenantId: string,
  containerId: string,
  recorded: string | null | undefined,
) {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM position WHERE tenant_id = ${tenantId} AND container_id = ${containerId} AND retired_at IS NULL
      AND (state = 'free' OR id = ${recorded ?? null})
    ORDER BY id IS NOT DISTINCT FROM ${recorded ?? null}::uuid DESC, ordinal LIMIT 1 FOR UPDATE SKIP LOCKED`.execute(
    tx,
  );
  return rows[0]?.id;
}

function checkSample(sample: SampleRecord): void {
  if (sample.jobId !== null) {
    throw new DomainError(
      'SAMPLE_BUSY',
      `Job ${sample.jobId} has the sample: answer its question, or wait until it is over.`,
      { facts: { jobId: sample.jobId } },
    );
  }
  if (sample.custody.kind === 'disposed') {
    throw new DomainError(
      'CONFLICT',
      'The sample was disposed of: a tube with its barcode should not exist.',
    );
  }
  const { state } = sample.life;
  if (state === 'archived' || state === 'consumed') {
    throw new DomainError(
      'SAMPLE_STATE',
      `The sample is ${state}: a tube of it should not be in the store.`,
      {
        facts: { state },
      },
    );
  }
  if (sample.custody.kind !== 'unknown' && sample.witness !== 'asserted') {
    throw new DomainError(
      'CONFLICT',
      'The tube was seen where the record has it, so it must have been moved since: enter the move instead.',
    );
  }
}

/** Sees to it that nothing else is recorded where the tube was seen. */
async function makeRoom(change: Change, tenantId: string, sample: SampleRecord, place: Place): Promise<void> {
  const where = `Position ${place.label} of ${place.containerName}`;
  if (place.jobId !== null) {
    throw new DomainError(
      'POSITION_OCCUPIED',
      `${where} is held by job ${place.jobId}: wait until it is over.`,
      {
        facts: { jobId: place.jobId },
      },
    );
  }
  if (place.state === 'blocked') await unblock(change, tenantId, place, where);
  if (place.sampleId === null || place.sampleId === sample.id) return;
  const other = await lockSample(change.tx, tenantId, place.sampleId);
  if (!other) throw new DomainError('INTERNAL', `${where} names a sample that is not there.`);
  if (other.witness !== 'asserted' || other.jobId !== null) {
    throw new DomainError('POSITION_OCCUPIED', `${where} holds another tube, which was seen there.`, {
      facts: { sampleId: other.id },
    });
  }
  // Nothing ever saw that one here, and it is not here now.
  await write(change, tenantId, other, { kind: 'unknown', candidates: [{ kind: 'floor' }] }, place);
}

async function unblock(change: Change, tenantId: string, place: Place, where: string): Promise<void> {
  const { rows } = await sql<{ blocked_reason: string }>`
    UPDATE position SET state = 'free', blocked_reason = NULL
    WHERE tenant_id = ${tenantId} AND id = ${place.positionId} AND blocked_reason = ${IN_DOUBT_AFTER_RESTORE}
    RETURNING blocked_reason`.execute(change.tx);
  if (rows.length === 0) {
    throw new DomainError(
      'POSITION_BLOCKED',
      `${where} may not be used: unblock it first, or take the tube out.`,
    );
  }
  const container = await lockLocation(change.tx, tenantId, place.containerId, 'UPDATE');
  await recordBlocking(change, tenantId, container, place.label, { from: 'blocked', reason: null });
}

async function settle(
  change: Change,
  tenantId: string,
  sample: SampleRecord,
  place: Place,
  left: Place | null,
): Promise<void> {
  if (left) {
    await sql`UPDATE position SET state = 'free', sample_id = NULL
      WHERE tenant_id = ${tenantId} AND id = ${left.positionId}`.execute(change.tx);
  }
  await sql`UPDATE position SET state = 'occupied', sample_id = ${sample.id}
    WHERE tenant_id = ${tenantId} AND id = ${place.positionId}`.execute(change.tx);
  const kind = place.isHandoff ? 'handoff' : 'position';
  await write(change, tenantId, sample, { kind, positionId: place.positionId }, place);
}

async function write(
  change: Change,
  tenantId: string,
  before: SampleRecord,
  custody: Custody,
  place: Place,
): Promise<void> {
  const isSeen = custody.kind !== 'unknown';
  await changeSample(
    change,
    tenantId,
    before,
    isSeen ? 'storage.sample.verified' : 'storage.sample.custody_unknown',
    custodySets(custody, change.recordedAt, isSeen ? 'barcode' : 'asserted'),
    place,
  );
}
