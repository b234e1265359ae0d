import { sql, type Transaction } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { systemActor } from '../domain/actor.ts';
import type { CustodyCandidate } from '../domain/custody.ts';
import { raiseAlarm } from './alarms.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { lockSamples, moveSampleCustody, positionIn, recordSample } from './custody.ts';
import { lockPlaces } from './places.ts';
import { openRobotFault } from './robot-faults.ts';
import { pauseSchedules } from './schedule-changes.ts';
import type { DB } from './schema.ts';
import { inTenant } from './tenancy.ts';

/**
 * How far epoch, fence and command number rise: above whatever was granted or sent between the backup and the restore.
 * At 600 motions an hour without a pause it is ten weeks' worth.
 */
export const RESTORE_JUMP = 1_000_000;

const LAST_NUMBER = 4_294_967_295;
/** Samples of one transaction. */
const BATCH = 500;

/** What marking a laboratory as restored has done. */
export interface RestoredMark {
  readonly robots: number;
  /** commands without a result, which now have the result UNKNOWN */
  readonly motions: number;
  /** open jobs, which the sweep parks */
  readonly jobs: number;
  /** planned jobs that were paused: some may have been done since */
  readonly schedules: number;
  /** samples of those jobs: UNKNOWN, with candidates */
  readonly unknown: number;
  /** samples whose record stands, and which nothing has seen since */
  readonly unverified: number;
}

/** The change in which a laboratory notes that it was restored. */
export function restoreContext(tenantId: string, device: string): ChangeContext {
  return { actor: systemActor(tenantId), reason: 'restore', device };
}

/**
 * Makes a tenant's restored rows safe to work on, before any process of the laboratory runs: nobody's turn and no
 * gateway's epoch from before is worth anything, no command is sent or waited for, every robot is held until a person
 * at it clears the fault, open jobs are answered for by no workflow, nothing planned begins, and of no tube more is claimed than is known.
 * @param takenAt when the backup was taken
 * @param restoredId `workflowIds.restored`: the id that answers for an open job until it is taken over
 * Repeating it is safe: everything is held once more.
 */
export async function markRestored(
  db: Database,
  tenantId: string,
  takenAt: Date,
  restoredId: (tenantId: string, jobId: string) => string,
): Promise<RestoredMark> {
  const context = restoreContext(tenantId, 'restore');
  const marked = await withChange(db, context, async (change) => {
    const { tx } = change;
    const robots = await holdRobots(change, tenantId, takenAt);
    const motions = await forgetMotions(tx, tenantId);
    const jobs = await orphanJobs(tx, tenantId, restoredId);
    const unknown = await loseTubesOfJobs(change, tenantId, jobs);
    const reason = `The laboratory was restored to what it knew at ${takenAt.toISOString()}.`;
    const schedules = await pauseSchedules(change, { actor: context.actor, reason });
    return { robots, motions, jobs: jobs.length, schedules, unknown };
  });
  return { ...marked, unverified: await withdrawWitnesses(db, context) };
}

async function holdRobots(change: Change, tenantId: string, takenAt: Date): Promise<number> {
  const { tx } = change;
  const { rows } = await sql<{ id: string; name: string }>`
    SELECT id, name FROM robot WHERE tenant_id = ${tenantId} AND retired_at IS NULL ORDER BY id FOR SHARE`.execute(
    tx,
  );
  for (const { id, name } of rows) {
    // The number known is that of the first restore the controller has not been heard of since.
    await sql`
      INSERT INTO robot_turn AS t (tenant_id, robot_id, epoch, fence, last_number, restored_number)
      VALUES (${tenantId}, ${id}, ${RESTORE_JUMP}, ${RESTORE_JUMP}, ${RESTORE_JUMP}, 0)
      ON CONFLICT (tenant_id, robot_id) DO UPDATE SET
        epoch = t.epoch + ${RESTORE_JUMP}, fence = t.fence + ${RESTORE_JUMP},
        last_number = least(t.last_number + ${RESTORE_JUMP}, ${LAST_NUMBER}),
        restored_number = coalesce(t.restored_number, t.last_number)`.execute(tx);
    const faultId = uuidv7();
    const detail =
      `The laboratory was restored to what it knew at ${takenAt.toISOString()}. What ${name} has done since is not ` +
      'recorded: look into its carrier, its hand-off and its store before it is cleared.';
    await openRobotFault(tx, { tenantId, robotId: id, id: faultId, kind: 'restored', detail, jobId: null });
    // What was heard of it is as old as the backup.
    await sql`UPDATE robot_state SET connected = false WHERE tenant_id = ${tenantId} AND robot_id = ${id}`.execute(
      tx,
    );
    await raiseAlarm(change, {
      tenantId,
      kind: 'restored',
      severity: 'critical',
      message: detail,
      jobId: null,
      robotId: id,
    });
  }
  return rows.length;
}

/** Whatever was accepted or sent may have been carried out since: nobody triggers it any more, and nobody knows. */
async function forgetMotions(tx: Transaction<DB>, tenantId: string): Promise<number> {
  const detail =
    'The laboratory was restored to a time at which this command had no result: whether the robot carried it out is not known.';
  const outcome = { errorCode: null, carrier: null, source: null, target: null, barcode: null, detail };
  const { numAffectedRows } = await sql`
    UPDATE motion SET state = 'UNKNOWN', outcome = ${JSON.stringify(outcome)}::jsonb, settled_at = clock_timestamp()
    WHERE tenant_id = ${tenantId} AND settled_at IS NULL`.execute(tx);
  return Number(numAffectedRows ?? 0n);
}

interface OrphanedJob {
  readonly id: string;
  readonly sample_id: string;
  readonly robot_id: string | null;
  readonly actor_id: string;
}

/**
 * Takes every open job away from the workflow that answered for it: one that still runs, older or newer than these rows,
 * may write no step of it any more. A job that nothing had started counts as started: it may have been done since. What
 * the jobs hold has no expiry from now on, since their tubes may be there.
 */
async function orphanJobs(
  tx: Transaction<DB>,
  tenantId: string,
  restoredId: (tenantId: string, jobId: string) => string,
): Promise<OrphanedJob[]> {
  const { rows: jobs } = await sql<OrphanedJob>`
    SELECT id, sample_id, robot_id, actor_id FROM job WHERE tenant_id = ${tenantId} AND finished_at IS NULL
    ORDER BY id FOR NO KEY UPDATE`.execute(tx);
  const ids = jobs.map((job) => job.id);
  await sql`
    WITH held AS (
      UPDATE position SET lease_expires_at = NULL
      WHERE tenant_id = ${tenantId} AND job_id = ANY (${ids}::uuid[]) AND lease_expires_at IS NOT NULL
    ), noted AS (
      INSERT INTO job_step (tenant_id, job_id, step, outcome)
      SELECT ${tenantId}, id, 'restore', 'restored' FROM unnest(${ids}::uuid[]) AS j (id)
    )
    UPDATE job SET workflow_id = o.workflow_id, started_at = coalesce(started_at, clock_timestamp())
    FROM unnest(${ids}::uuid[], ${ids.map((id) => restoredId(tenantId, id))}::text[]) AS o (id, workflow_id)
    WHERE job.tenant_id = ${tenantId} AND job.id = o.id`.execute(tx);
  return jobs;
}

/** The tube of a job under way is where it was, where the job was taking it, with whom it went, or nowhere of these. */
async function loseTubesOfJobs(
  change: Change,
  tenantId: string,
  jobs: readonly OrphanedJob[],
): Promise<number> {
  let lost = 0;
  const { tx } = change;
  const samples = new Map(
    (
      await lockSamples(
        tx,
        tenantId,
        jobs.map((job) => job.sample_id),
      )
    ).map((sample) => [sample.id, sample]),
  );
  for (const job of jobs) {
    const sample = samples.get(job.sample_id);
    if (sample?.jobId !== job.id || sample.custody.kind === 'unknown') continue;
    const { rows: held } = await sql<{ id: string; kind: 'position' | 'handoff' }>`
      SELECT p.id, CASE WHEN l.is_handoff THEN 'handoff' ELSE 'position' END AS kind
      FROM position p JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
      WHERE p.tenant_id = ${tenantId} AND (p.job_id = ${job.id} OR p.id = ${positionIn(sample.custody)})
      ORDER BY p.id`.execute(tx);
    const candidates: CustodyCandidate[] = held.map(({ id, kind }) => ({ kind, positionId: id }));
    const robotId = sample.custody.kind === 'carrier' ? sample.custody.robotId : job.robot_id;
    if (robotId !== null) candidates.push({ kind: 'carrier', robotId });
    const userId = sample.custody.kind === 'person' ? sample.custody.userId : job.actor_id;
    candidates.push({ kind: 'person', userId }, { kind: 'floor' });
    await moveSampleCustody(change, {
      tenantId,
      sample,
      jobId: job.id,
      to: { kind: 'unknown', candidates },
      witness: 'asserted',
      type: 'storage.sample.custody_unknown',
    });
    lost += 1;
  }
  return lost;
}

/** What saw a tube saw it before the backup: the record stands, and is asserted until something sees the tube again. */
async function withdrawWitnesses(db: Database, context: ChangeContext): Promise<number> {
  const { tenantId } = context.actor;
  for (let withdrawn = 0; ; ) {
    const ids = await inTenant(db, tenantId, async (tx) => {
      const { rows } = await sql<{ id: string }>`
        SELECT id FROM sample WHERE tenant_id = ${tenantId} AND witness <> 'asserted'
          AND custody NOT IN ('unknown', 'disposed') ORDER BY id LIMIT ${BATCH}`.execute(tx);
      return rows.map((row) => row.id);
    });
    if (ids.length === 0) return withdrawn;
    await withChange(db, context, async (change) => {
      const { tx } = change;
      const samples = await lockSamples(tx, tenantId, ids);
      const positions = samples.map(({ custody }) => positionIn(custody)).filter((id) => id !== null);
      const places = await lockPlaces(tx, tenantId, positions);
      await sql`UPDATE sample SET witness = 'asserted', version = version + 1
        WHERE tenant_id = ${tenantId} AND id = ANY (${ids}::uuid[])`.execute(tx);
      for (const before of samples) {
        const after = { ...before, witness: 'asserted' as const, version: before.version + 1 };
        const place = places.get(positionIn(before.custody) ?? '') ?? null;
        recordSample(change, 'storage.sample.unverified', before, after, place);
      }
    });
    withdrawn += ids.length;
  }
}
