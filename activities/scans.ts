import { sql, type Transaction } from 'kysely';
import type { Change } from '../db/change.ts';
import { lockSample, moveSampleCustody, type SampleRecord } from '../db/custody.ts';
import type { JobRecord } from '../db/jobs.ts';
import { holdWithoutExpiry, lockPlaces, type Place } from '../db/places.ts';
import { locationInWords, scannedInWords } from '../db/scanned.ts';
import type { DB } from '../db/schema.ts';
import { requireSecondPerson } from '../db/second-person.ts';
import type { StepEnd } from '../db/steps.ts';
import type { Confirmation } from '../domain/confirmation.ts';
import type { Witness } from '../domain/custody.ts';
import { DomainError, type Refusal } from '../domain/errors.ts';
import { cellLabel, parseCell } from '../domain/grid.ts';
import type { PlaceRef } from '../workflows/messages/job.ts';
import { closeJob } from './closing.ts';
import type { ClosingResult, SettleResult, StorageActivities } from './contract.ts';
import { isChosenBySystem } from './order.ts';
import { markOf, runRefusableStep } from './step.ts';
import type { StorageDependencies } from './storage.ts';

type ScanActivities = Pick<
  StorageActivities,
  'confirmPlaced' | 'confirmAtHandoff' | 'confirmTaken' | 'handOver'
>;

/** A person's scans. What they read is compared here and goes nowhere else: a refusal does not repeat a barcode. */
export function createScanActivities({ db }: StorageDependencies): ScanActivities {
  return {
    confirmPlaced: (ref, place, scan) =>
      runRefusableStep<ClosingResult>(
        db,
        ref,
        { params: ['confirmPlaced', place, scan], actor: scan.actor },
        async (change, job) => {
          const { sample, witness } = await checkScan(change.tx, job, place, scan);
          await moveSampleCustody(change, {
            tenantId: job.actor.tenantId,
            sample,
            jobId: job.id,
            to: { kind: 'position', positionId: place.positionId },
            witness,
            type: 'storage.sample.placed',
            aiOptimized: isChosenBySystem(job),
          });
          return closed(change, job, `Stored in ${place.label}.`);
        },
        refusedScan,
      ),

    confirmAtHandoff: (ref, handoff, scan, next) =>
      runRefusableStep<SettleResult>(
        db,
        ref,
        { params: ['confirmAtHandoff', handoff, scan, next], actor: scan.actor, reason: 'hand_over' },
        async (change, job) => {
          const { tenantId } = job.actor;
          const { sample, witness } = await checkScan(change.tx, job, handoff, scan);
          await moveSampleCustody(change, {
            tenantId,
            sample,
            jobId: job.id,
            to: { kind: 'handoff', positionId: handoff.positionId },
            witness,
            type: 'storage.sample.at_handoff',
          });
          await requireHeld(change.tx, job);
          await holdWithoutExpiry(change.tx, tenantId, job.id);
          return { result: { outcome: 'done' }, mark: markOf(next), outcome: 'done', detail: { handoff } };
        },
        refusedScan,
      ),

    confirmTaken: (ref, source, scan) =>
      runRefusableStep<ClosingResult>(
        db,
        ref,
        { params: ['confirmTaken', source, scan], actor: scan.actor },
        async (change, job) => {
          const { sample, witness } = await checkScan(change.tx, job, source, scan);
          requireStandingIn(sample, source);
          await moveSampleCustody(change, {
            tenantId: job.actor.tenantId,
            sample,
            jobId: job.id,
            to: { kind: 'person', userId: scan.actor.userId },
            witness,
            type: 'storage.sample.taken',
          });
          return closed(change, job, `Taken from ${source.label}.`);
        },
        refusedScan,
      ),

    handOver: (ref, handoff, scan) =>
      runRefusableStep<ClosingResult>(
        db,
        ref,
        { params: ['handOver', handoff, scan], actor: scan.actor, reason: 'hand_over' },
        async (change, job) => {
          const { tenantId } = job.actor;
          const sample = await sampleOfJob(change.tx, job);
          requireStandingIn(sample, handoff);
          await requireBarcode(
            change.tx,
            tenantId,
            sample,
            scan.sampleBarcode,
            `in hand-off ${handoff.label}`,
          );
          await moveSampleCustody(change, {
            tenantId,
            sample,
            jobId: job.id,
            to: { kind: 'person', userId: scan.actor.userId },
            witness: 'barcode',
            type: 'storage.sample.taken',
          });
          return closed(change, job, `Taken from the hand-off, ${handoff.label}.`);
        },
        refusedScan,
      ),
  };
}

async function closed(change: Change, job: JobRecord, detail: string): Promise<StepEnd<ClosingResult>> {
  // An operator's answer on the way makes it a deviation, however well it ended.
  const intended = job.result?.deviation === undefined ? 'COMPLETED' : 'COMPLETED_WITH_DEVIATION';
  const mark = await closeJob(change, job, intended, detail);
  const state = mark.state === 'COMPLETED' ? mark.state : 'COMPLETED_WITH_DEVIATION';
  const told = mark.result.detail;
  return {
    result: { outcome: 'closed', state, detail: told },
    mark,
    outcome: 'done',
    detail: { detail: told },
  };
}

function refusedScan(refusal: Refusal): StepEnd<{ outcome: 'refused'; refusal: Refusal }> {
  return { result: { outcome: 'refused', refusal }, mark: {}, outcome: 'refused', detail: { refusal } };
}

/** Compares a scan with the reservation: tube, container, position. */
async function checkScan(
  tx: Transaction<DB>,
  job: JobRecord,
  expected: PlaceRef,
  scan: Confirmation,
): Promise<{ sample: SampleRecord; witness: Witness }> {
  const { tenantId } = job.actor;
  const sample = await sampleOfJob(tx, job);
  const place = (await lockPlaces(tx, tenantId, [expected.positionId])).get(expected.positionId);
  if (!place) throw new DomainError('NOT_FOUND', `There is no position ${expected.positionId}.`);
  await requireContainer(tx, tenantId, place, scan.containerBarcode);
  requireCell(place, scan.position);
  if (scan.sampleBarcode !== null) {
    const expectedAt = `for ${place.label} of ${place.containerName}`;
    await requireBarcode(tx, tenantId, sample, scan.sampleBarcode, expectedAt);
    return { sample, witness: 'barcode' };
  }
  await requireSecondPerson(
    tx,
    tenantId,
    scan.actor.userId,
    scan.secondPersonId,
    'job.confirm',
    'The tube’s label was not read: a second person must confirm which tube it is.',
  );
  return { sample, witness: 'two_persons' };
}

async function sampleOfJob(tx: Transaction<DB>, job: JobRecord): Promise<SampleRecord> {
  const sample = await lockSample(tx, job.actor.tenantId, job.sampleId);
  if (!sample) throw new DomainError('NOT_FOUND', `There is no sample ${job.sampleId}.`);
  return sample;
}

async function requireBarcode(
  tx: Transaction<DB>,
  tenantId: string,
  sample: SampleRecord,
  scanned: string,
  expectedAt: string,
): Promise<void> {
  if (scanned === sample.barcode) return;
  const what = await scannedInWords(tx, tenantId, scanned);
  throw new DomainError(
    'BARCODE_MISMATCH',
    `What was scanned as the tube is ${what}, not the tube of this job, which is expected ${expectedAt}: scan that one.`,
    { errors: [{ pointer: '/sampleBarcode', detail: 'is not the barcode of the job’s sample' }] },
  );
}

/** A container without a barcode is named as people name it, or by its id. */
async function requireContainer(
  tx: Transaction<DB>,
  tenantId: string,
  place: Place,
  scanned: string,
): Promise<void> {
  const names =
    place.containerBarcode === null ? [place.containerName, place.containerId] : [place.containerBarcode];
  if (names.includes(scanned)) return;
  const what = await scannedInWords(tx, tenantId, scanned);
  const expected = await locationInWords(tx, tenantId, place.containerId);
  throw new DomainError(
    'BARCODE_MISMATCH',
    `What was scanned as the container is ${what}; ${place.label} was reserved in ${expected}: scan that one.`,
    { errors: [{ pointer: '/containerBarcode', detail: `is not the barcode of ${expected}` }] },
  );
}

function requireCell(place: Place, scanned: string): void {
  // Things lie loose in it: the container is all that can be scanned.
  if (place.grid.labelling === 'none') return;
  const cell = parseCell(scanned, place.grid, place.containerName);
  if (cell.row === place.row && cell.column === place.column) return;
  throw new DomainError(
    'CONFLICT',
    `The position is ${place.label} of ${place.containerName}, not ${cellLabel(cell, place.grid)}: the tube belongs there.`,
    { errors: [{ pointer: '/position', detail: `is not ${place.label}` }] },
  );
}

function requireStandingIn(sample: SampleRecord, place: PlaceRef): void {
  const { custody } = sample;
  if (
    (custody.kind === 'position' || custody.kind === 'handoff') &&
    custody.positionId === place.positionId
  ) {
    return;
  }
  throw new DomainError(
    'SAMPLE_NOT_STORED',
    `The tube of this job is not in ${place.label}: its custody is ${custody.kind}.`,
    { facts: { custody: custody.kind } },
  );
}

/** Every place the job's first step reserved must still be its own before it keeps them without expiry. */
export async function requireHeld(tx: Transaction<DB>, job: JobRecord): Promise<void> {
  const { rows } = await sql<{ label: string }>`
    SELECT place ->> 'label' AS label
    FROM job, LATERAL (VALUES (result -> 'place'), (result -> 'handoff')) AS reserved (place)
    WHERE tenant_id = ${job.actor.tenantId} AND id = ${job.id} AND place ->> 'positionId' IS NOT NULL
      AND NOT EXISTS (SELECT FROM position p WHERE p.tenant_id = job.tenant_id
        AND p.id = (place ->> 'positionId')::uuid AND p.job_id = job.id)`.execute(tx);
  if (rows[0]) {
    throw new DomainError(
      'LEASE_LOST',
      `Position ${rows[0].label} is no longer reserved by this job: start again.`,
    );
  }
}
