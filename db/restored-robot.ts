import { sql, type Transaction } from 'kysely';
import type { CustodyCandidate } from '../domain/custody.ts';
import { DomainError } from '../domain/errors.ts';
import { clearAlarmsOfRobot, raiseAlarm } from './alarms.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { changeSample, custodySets, lockSamples, positionIn } from './custody.ts';
import { openDeviation } from './deviations.ts';
import { lockLocation } from './location-row.ts';
import { lockPlaces } from './places.ts';
import { restoreContext } from './restore.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** Why a position is out of use whose tube a robot may have moved without a record. A scan there ends it. */
export const IN_DOUBT_AFTER_RESTORE =
  'After a restore nobody knows what is in this position: scan the tube that is in it, or unblock it when it is empty.';

interface Owner {
  readonly tenantId: string;
  readonly robotId: string;
  readonly epoch: number;
}

interface Restored {
  readonly name: string;
  readonly store_id: string;
  readonly handoff_id: string;
  /** highest number known when the database was restored */
  readonly restored_number: number;
}

/**
 * The controller's first word after a restore. Numbers only rise, so one that shows a number the journal knew, and not 0,
 * has taken nothing since that is not recorded. Any other has, or cannot prove that it has not: then every tube in its
 * reach may be anywhere in it, and is UNKNOWN until scanned. Repeating it goes on where it was broken off.
 */
export async function compareAfterRestore(db: Database, owner: Owner, latchedNumber: number): Promise<void> {
  const { tenantId, robotId } = owner;
  const [robot] = await read(
    db,
    tenantId,
    sql<Restored>`
      SELECT r.name, r.store_id, r.handoff_id, t.restored_number FROM robot_turn t
      JOIN robot r ON r.tenant_id = t.tenant_id AND r.id = t.robot_id
      WHERE t.tenant_id = ${tenantId} AND t.robot_id = ${robotId} AND t.restored_number IS NOT NULL`.compile(
      db.kysely,
    ),
  );
  if (!robot) return;
  const context = restoreContext(tenantId, `robot:${robotId}`);
  const stoodStill = latchedNumber > 0 && latchedNumber <= robot.restored_number;
  if (!stoodStill) {
    for (const containerId of await containersInReach(db, tenantId, robot)) {
      await loseTubesIn(db, context, robotId, robot, containerId);
    }
  }
  await withChange(db, context, async (change) => {
    const { rows } = await sql`UPDATE robot_turn SET restored_number = NULL
      WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} AND epoch = ${owner.epoch}
        AND restored_number IS NOT NULL RETURNING 1`.execute(change.tx);
    if (rows.length === 0 || stoodStill) return;
    await tellOfDoubt(change, owner, robot, latchedNumber);
  });
}

/** Containers that the robot reaches, its hand-off among them, and that hold tubes by the record. */
async function containersInReach(db: Database, tenantId: string, robot: Restored): Promise<string[]> {
  const rows = await read(
    db,
    tenantId,
    sql<{ id: string }>`
      SELECT l.id FROM location l
      WHERE l.tenant_id = ${tenantId} AND l.robot_cassette IS NOT NULL
        AND (l.id = ${robot.handoff_id} OR EXISTS (
          SELECT FROM location_ancestor a WHERE a.tenant_id = l.tenant_id
            AND (a.ancestor_id, a.descendant_id) = (${robot.store_id}::uuid, l.id)))
        AND EXISTS (SELECT FROM position p WHERE p.tenant_id = l.tenant_id AND p.container_id = l.id
                    AND p.sample_id IS NOT NULL)
      ORDER BY l.id`.compile(db.kysely),
  );
  return rows.map((row) => row.id);
}

/**
 * The tubes of one container: UNKNOWN, and their positions out of use. Those that something saw since the restore stay,
 * and so do those of open jobs, about which the operator is asked.
 */
function loseTubesIn(
  db: Database,
  context: ChangeContext,
  robotId: string,
  robot: Restored,
  containerId: string,
): Promise<void> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const { rows: standing } = await sql<{ sample_id: string }>`
      SELECT p.sample_id FROM position p JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = p.sample_id
      WHERE p.tenant_id = ${tenantId} AND p.container_id = ${containerId} AND s.job_id IS NULL
        AND s.witness = 'asserted'`.execute(tx);
    const samples = (
      await lockSamples(
        tx,
        tenantId,
        standing.map((row) => row.sample_id),
      )
    ).filter((sample) => sample.jobId === null && sample.witness === 'asserted');
    const positionIds = samples.map(({ custody }) => positionIn(custody)).filter((id) => id !== null);
    if (positionIds.length === 0) return;
    const handoffs = await handoffPositions(tx, tenantId, robot.handoff_id);
    const places = await lockPlaces(tx, tenantId, positionIds);
    await sql`UPDATE position SET state = 'blocked', blocked_reason = ${IN_DOUBT_AFTER_RESTORE}, sample_id = NULL,
        job_id = NULL, lease_expires_at = NULL
      WHERE tenant_id = ${tenantId} AND id = ANY (${positionIds}::uuid[])`.execute(tx);
    for (const before of samples) {
      const place = places.get(positionIn(before.custody) ?? '');
      if (!place) continue;
      const stood: CustodyCandidate = {
        kind: place.isHandoff ? 'handoff' : 'position',
        positionId: place.positionId,
      };
      const candidates: CustodyCandidate[] = [
        stood,
        { kind: 'carrier', robotId },
        ...handoffs
          .filter((id) => id !== place.positionId)
          .map((positionId) => ({ kind: 'handoff' as const, positionId })),
        { kind: 'floor' },
      ];
      await changeSample(
        change,
        tenantId,
        before,
        'storage.sample.custody_unknown',
        custodySets({ kind: 'unknown', candidates }, change.recordedAt, before.witness),
        place,
      );
    }
    await recordBlocked(
      change,
      tenantId,
      containerId,
      [...places.values()].map((place) => place.label).sort(),
    );
  });
}

async function handoffPositions(tx: Transaction<DB>, tenantId: string, handoffId: string): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM position WHERE tenant_id = ${tenantId} AND container_id = ${handoffId} ORDER BY ordinal`.execute(
    tx,
  );
  return rows.map((row) => row.id);
}

async function recordBlocked(
  change: Change,
  tenantId: string,
  containerId: string,
  positions: readonly string[],
): Promise<void> {
  const container = await lockLocation(change.tx, tenantId, containerId, 'UPDATE');
  await sql`UPDATE location SET version = version + 1 WHERE tenant_id = ${tenantId} AND id = ${containerId}`.execute(
    change.tx,
  );
  change.record({
    aggregate: 'location',
    aggregateId: containerId,
    version: container.version + 1,
    type: 'storage.location.positions_blocked',
    from: 'occupied',
    to: 'blocked',
    before: { positions: [...positions], blocked_reason: null },
    after: { positions: [...positions], blocked_reason: IN_DOUBT_AFTER_RESTORE },
    erasable: ['blocked_reason'],
    data: { location_id: containerId, positions: [...positions] },
  });
}

/** One deviation and one alarm for the robot, however many tubes it is about. */
async function tellOfDoubt(
  change: Change,
  { tenantId, robotId }: Owner,
  robot: Restored,
  latchedNumber: number,
): Promise<void> {
  const { rows } = await sql<{ samples: number }>`
    SELECT count(*)::int AS samples FROM sample
    WHERE tenant_id = ${tenantId} AND custody = 'unknown' AND job_id IS NULL
      AND candidates @> ${JSON.stringify([{ kind: 'carrier', robotId }])}::jsonb`.execute(change.tx);
  const samples = rows[0]?.samples ?? 0;
  const description =
    latchedNumber === 0
      ? `The controller of ${robot.name} does not tell which command it took last, so it may have moved tubes since the backup: ${samples} tubes in its reach are unknown until they are scanned.`
      : `The controller of ${robot.name} has taken command ${latchedNumber}, and the restored journal ends with ${robot.restored_number}: ${samples} tubes in its reach are unknown until they are scanned.`;
  await openDeviation(change, {
    tenantId,
    kind: 'unverified',
    description,
    sampleId: null,
    jobId: null,
    robotId,
    facts: { samples, latched_number: latchedNumber, known_number: robot.restored_number },
  });
  await raiseAlarm(change, {
    tenantId,
    kind: 'unverified',
    severity: 'critical',
    message: description,
    jobId: null,
    robotId,
  });
}

/**
 * Before a fault of a restore is cleared: the controller must have been heard of, and its alarms end with the hold. Other
 * faults are none of its business.
 * @throws DomainError CONFLICT while the controller has not been compared
 */
export async function endRestoredHold(
  change: Change,
  robotId: string,
  name: string,
  order: { readonly actor: { readonly tenantId: string }; readonly faultId: string },
): Promise<void> {
  const { tenantId } = order.actor;
  const { rows } = await sql<{ pending: boolean }>`
    SELECT t.restored_number IS NOT NULL AS pending FROM robot_fault f
    JOIN robot_turn t ON t.tenant_id = f.tenant_id AND t.robot_id = f.robot_id
    WHERE f.tenant_id = ${tenantId} AND f.id = ${order.faultId} AND f.kind = 'restored'`.execute(change.tx);
  const [fault] = rows;
  if (!fault) return;
  if (fault.pending) {
    throw new DomainError(
      'CONFLICT',
      `The controller of ${name} has not been heard of since the restore: without its word nobody knows what it has moved. Connect it first.`,
    );
  }
  await clearAlarmsOfRobot(change, tenantId, robotId, ['restored', 'unverified']);
}
