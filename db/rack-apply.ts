import { sql, type Transaction } from 'kysely';
import type { Custody } from '../domain/custody.ts';
import { DomainError } from '../domain/errors.ts';
import { exposureAfter, isInCold } from '../domain/exposure.ts';
import { changesBetween, diffRack, type RackDiff } from '../domain/rack-diff.ts';
import { planRack, type RackPlan, STANDS_UNNAMED } from '../domain/rack-plan.ts';
import { turned } from '../domain/rack-scan.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { lockSamples, positionIn, recordSample, type SampleRecord } from './custody.ts';
import { lockLocation } from './location-row.ts';
import { lockPlaces } from './places.ts';
import { type HeldRack, heldOf, openRackDeviations } from './rack-deviations.ts';
import { readExpectation } from './rack-expectation.ts';
import { lockBox, type RackOutcome, type RackScanRecord, rackScanById, recordScan } from './rack-scans.ts';
import type { DB } from './schema.ts';

/** What a person has looked at and says is so. */
export interface ApplyAnswers {
  /** which way the rack lay in the scanner; null: nobody said */
  readonly orientation: 'as_scanned' | 'turned' | null;
  readonly confirm: readonly ('wrong_size' | 'other_box')[];
}

/**
 * Makes the record agree with a scan, in one transaction: every tube that was read is in the position it was read in,
 * whatever order the box was in before; tubes that were only asserted are confirmed; those that are not there are UNKNOWN
 * with the positions they may be in, each with a deviation; positions in which something without a name stands are taken
 * out of use. No tube is moved. Nothing of it is done when anything of it cannot be.
 * @throws DomainError PRECONDITION_FAILED (the box has changed since), CONFLICT (superseded, applied, no scan; turned, of
 *   a wrong size or of another box and not confirmed), SAMPLE_BUSY, POSITION_OCCUPIED, POSITION_BLOCKED, NOT_FOUND
 */
export function applyRackScan(
  db: Database,
  context: ChangeContext,
  id: string,
  answers: ApplyAnswers,
  also: (tx: Transaction<DB>, scan: RackScanRecord) => Promise<void> = async () => {},
): Promise<RackScanRecord> {
  const { tenantId, userId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const before = await rackScanById(tx, tenantId, id, true);
    const { scan, expected } = readOf(before);
    const box = await lockBox(tx, tenantId, before.locationId);
    const samples = await lockSamples(
      tx,
      tenantId,
      expected.tubes.map((tube) => tube.sampleId),
    );
    const places = await lockPlaces(tx, tenantId, [
      ...expected.positions.map((position) => position.positionId),
      ...samples.flatMap((sample) => positionIn(sample.custody) ?? []),
    ]);
    const barcodes = scan.positions.flatMap(({ content }) =>
      content.kind === 'tube' ? [content.barcode] : [],
    );
    const now = await readExpectation(tx, tenantId, { id: box.row.id, grid: box.grid }, barcodes);
    const changes = changesBetween(expected, now);
    if (changes[0]) {
      const more = changes.length === 1 ? '' : ` and ${changes.length - 1} more`;
      throw new DomainError(
        'PRECONDITION_FAILED',
        `${before.location} has changed since it was scanned (${changes[0]}${more}): scan it again.`,
        { errors: changes.slice(0, 20).map((detail) => ({ pointer: box.row.name, detail })) },
      );
    }
    const isTurned = answers.orientation === 'turned';
    const straight = diffRack(scan, now);
    requireAnswers(straight, answers);
    const diff = isTurned
      ? diffRack({ ...scan, positions: turned(scan.positions, box.grid) }, now)
      : straight;
    const plan = planRack(diff, now);
    const held = { tenantId, samples: new Map(samples.map((sample) => [sample.id, sample])), places };
    await writePositions(change, held, plan, box.row.id);
    await writePlaced(change, held, plan);
    await writeLost(change, held, plan);
    await writeConfirmed(change, held, plan);
    const deviations = await openRackDeviations(change, held, plan, before);
    const outcome: RackOutcome = {
      turned: isTurned,
      placed: plan.placed.length,
      confirmed: plan.confirmed.length,
      lost: plan.lost.length,
      blocked: plan.blocked.length,
      deviations,
    };
    await sql`UPDATE rack_scan SET state = 'applied', applied_by = ${userId}, applied_at = ${change.recordedAt},
        outcome = ${JSON.stringify(outcome)}::jsonb, version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx);
    const after = await rackScanById(tx, tenantId, id);
    recordScan(change, 'storage.rack_scan.applied', before, after);
    await also(tx, after);
    return after;
  });
}

/** @throws DomainError CONFLICT unless the scan is the newest of its box and was not applied yet */
function readOf(scan: RackScanRecord): NonNullable<RackScanRecord['read']> {
  if (scan.state === 'open' && scan.read) return scan.read;
  const why = {
    open: 'nothing was read',
    reading: 'the scanner is still reading: wait for it',
    failed: 'the scanner gave nothing: scan again',
    superseded: `the box was scanned again since: apply scan ${scan.supersededBy}`,
    applied: `it was applied by user ${scan.applied?.by} at ${scan.applied?.at.toISOString()}`,
  }[scan.state];
  throw new DomainError('CONFLICT', `Rack scan ${scan.id} cannot be applied: ${why}.`, {
    facts: { state: scan.state, ...(scan.supersededBy !== null && { supersededBy: scan.supersededBy }) },
  });
}

/** @throws DomainError CONFLICT naming every question that has no answer */
function requireAnswers(diff: RackDiff, { orientation, confirm }: ApplyAnswers): void {
  const questions: { pointer: string; detail: string }[] = [];
  if (diff.isRotated && orientation === null) {
    questions.push({
      pointer: '/orientation',
      detail:
        'the tubes stand as if the rack had been turned by 180°: say “turned” when it lay that way round in the scanner, “as_scanned” when the tubes really stand so',
    });
  }
  if (diff.wrongSize && !confirm.includes('wrong_size')) {
    const { rows, columns } = diff.wrongSize;
    questions.push({
      pointer: '/confirm',
      detail: `a rack of ${rows} rows and ${columns} columns was scanned, which is not the size of the box: set the scanner to the box and scan again, or confirm “wrong_size”`,
    });
  }
  if (diff.otherBox && !confirm.includes('other_box')) {
    questions.push({
      pointer: '/confirm',
      detail: `${diff.otherBox.tubes} of the tubes are recorded in ${diff.otherBox.location}: scan the right box, or confirm “other_box”`,
    });
  }
  const first = questions[0];
  if (first)
    throw new DomainError('CONFLICT', `The scan is doubtful: ${first.detail}.`, { errors: questions });
}

/** Empties every position that is left before the first one is filled: tubes of one box may change places. */
async function writePositions(
  change: Change,
  { tenantId, samples }: HeldRack,
  plan: RackPlan,
  boxId: string,
): Promise<void> {
  const { tx } = change;
  const leaving = [...plan.placed, ...plan.lost].map(({ sampleId }) => sampleId);
  const left = leaving.flatMap((id) => positionIn(samples.get(id)?.custody ?? { kind: 'transit' }) ?? []);
  const opened = plan.unblocked.map(({ positionId }) => positionId);
  const blocked = plan.blocked.map(({ positionId }) => positionId);
  await sql`UPDATE position SET state = 'free', sample_id = NULL, blocked_reason = NULL
    WHERE tenant_id = ${tenantId} AND id = ANY (${[...left, ...opened]}::uuid[])`.execute(tx);
  await sql`UPDATE position SET state = 'blocked', blocked_reason = ${STANDS_UNNAMED}
    WHERE tenant_id = ${tenantId} AND id = ANY (${blocked}::uuid[])`.execute(tx);
  await sql`UPDATE position p SET state = 'occupied', sample_id = v.sample_id
    FROM unnest(${plan.placed.map((each) => each.positionId)}::uuid[], ${plan.placed.map((each) => each.sampleId)}::uuid[])
      AS v (position_id, sample_id)
    WHERE p.tenant_id = ${tenantId} AND p.id = v.position_id`.execute(tx);
  if (opened.length + blocked.length === 0) return;
  const container = await lockLocation(tx, tenantId, boxId, 'UPDATE');
  await sql`UPDATE location SET version = version + 1 WHERE tenant_id = ${tenantId} AND id = ${boxId}`.execute(
    tx,
  );
  const labels = (of: readonly { readonly label: string }[]) => of.map(({ label }) => label);
  change.record({
    aggregate: 'location',
    aggregateId: boxId,
    version: container.version + 1,
    type: 'storage.location.positions_blocked',
    from: null,
    to: null,
    before: { blocked: labels(plan.unblocked), blocked_reason: null },
    after: { blocked: labels(plan.blocked), blocked_reason: STANDS_UNNAMED },
    erasable: ['blocked_reason'],
    data: { location_id: boxId, positions: labels(plan.blocked), unblocked: labels(plan.unblocked) },
  });
}

async function writePlaced(
  change: Change,
  { tenantId, samples, places }: HeldRack,
  plan: RackPlan,
): Promise<void> {
  const after = plan.placed.map(({ sampleId, positionId }) => {
    const before = heldOf(samples, sampleId);
    const place = heldOf(places, positionId);
    const custody: Custody = { kind: place.isHandoff ? 'handoff' : 'position', positionId };
    const inCold = isInCold(place.zone, before.zone);
    return {
      before,
      place,
      after: seenAt(
        change,
        { ...before, ...exposureAfter(before, before.zone, inCold, change.recordedAt) },
        custody,
      ),
    };
  });
  const ids = after.map((each) => each.after.id);
  // Two tubes that change places would for a moment have one position: they have none in between.
  await sql`UPDATE sample SET custody = 'unknown', candidates = '[]', position_id = NULL, robot_id = NULL, holder_id = NULL
    WHERE tenant_id = ${tenantId} AND id = ANY (${ids}::uuid[])`.execute(change.tx);
  await sql`UPDATE sample s SET custody = v.custody, position_id = v.position_id, candidates = NULL,
      custody_since = ${change.recordedAt}, witness = 'barcode', warm_since = v.warm_since, exposure_ms = v.exposure_ms,
      freeze_thaw_count = v.thaws, version = s.version + 1
    FROM unnest(${ids}::uuid[], ${after.map((each) => each.after.custody.kind)}::text[],
      ${after.map((each) => each.place.positionId)}::uuid[], ${after.map((each) => each.after.warmSince)}::timestamptz[],
      ${after.map((each) => each.after.exposureMs)}::bigint[], ${after.map((each) => each.after.freezeThawCount)}::int[])
      AS v (id, custody, position_id, warm_since, exposure_ms, thaws)
    WHERE s.tenant_id = ${tenantId} AND s.id = v.id`.execute(change.tx);
  for (const each of after)
    recordSample(change, 'storage.sample.verified', each.before, each.after, each.place);
}

async function writeLost(
  change: Change,
  { tenantId, samples, places }: HeldRack,
  plan: RackPlan,
): Promise<void> {
  for (const { sampleId, candidates } of plan.lost) {
    const before = heldOf(samples, sampleId);
    const custody: Custody = {
      kind: 'unknown',
      candidates:
        candidates.length > 0
          ? candidates.map((positionId) => ({ kind: 'position', positionId }))
          : [{ kind: 'floor' }],
    };
    const after: SampleRecord = {
      ...before,
      custody,
      custodySince: change.recordedAt,
      witness: 'asserted',
      warmSince: before.warmSince ?? change.recordedAt,
      version: before.version + 1,
    };
    await sql`UPDATE sample SET custody = 'unknown', position_id = NULL, robot_id = NULL, holder_id = NULL,
        candidates = ${JSON.stringify(custody.candidates)}::jsonb, custody_since = ${after.custodySince},
        witness = 'asserted', warm_since = ${after.warmSince}, version = ${after.version}
      WHERE tenant_id = ${tenantId} AND id = ${sampleId}`.execute(change.tx);
    const left = places.get(positionIn(before.custody) ?? '') ?? null;
    recordSample(change, 'storage.sample.custody_unknown', before, after, left);
  }
}

async function writeConfirmed(
  change: Change,
  { tenantId, samples, places }: HeldRack,
  plan: RackPlan,
): Promise<void> {
  await sql`UPDATE sample SET witness = 'barcode', version = version + 1
    WHERE tenant_id = ${tenantId} AND id = ANY (${[...plan.confirmed]}::uuid[])`.execute(change.tx);
  for (const id of plan.confirmed) {
    const before = heldOf(samples, id);
    const after: SampleRecord = { ...before, witness: 'barcode', version: before.version + 1 };
    recordSample(
      change,
      'storage.sample.verified',
      before,
      after,
      places.get(positionIn(after.custody) ?? '') ?? null,
    );
  }
}

function seenAt(change: Change, before: SampleRecord, custody: Custody): SampleRecord {
  return {
    ...before,
    custody,
    custodySince: change.recordedAt,
    witness: 'barcode',
    version: before.version + 1,
  };
}
