import { sql, type Transaction } from 'kysely';
import { exceededSeconds, type TransferMotion } from '../domain/exposure.ts';
import { describeZone } from '../domain/placement.ts';
import type { Zone } from '../domain/zone.ts';
import type { Change } from './change.ts';
import { openDeviation } from './deviations.ts';
import { budgetOf } from './exposure-budgets.ts';
import type { DB } from './schema.ts';

/** Of each kind so many of the last motions are looked at, among so many of the robot's. */
const MOTIONS = 50;
const LOOKED_AT = 4 * MOTIONS;

/** How long the last motions of a robot took that were done, by kind, newest first, in s. */
export async function recentMotions(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
): Promise<Partial<Record<TransferMotion, readonly number[]>>> {
  const { rows } = await sql<{ operation: TransferMotion; seconds: number[] }>`
    SELECT operation, (array_agg(seconds ORDER BY number DESC))[:${sql.lit(MOTIONS)}] AS seconds
    FROM (SELECT number, operation, extract(epoch FROM settled_at - sent_at)::float8 AS seconds FROM motion
          WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} AND state = 'DONE'
          ORDER BY number DESC LIMIT ${sql.lit(LOOKED_AT)}) AS recent
    GROUP BY operation`.execute(tx);
  return Object.fromEntries(rows.map(({ operation, seconds }) => [operation, seconds]));
}

/** An exposure to be judged: a sample's that is, or until now was, outside its cold. */
interface Exposed {
  readonly tenantId: string;
  readonly sampleId: string;
  readonly zone: Zone;
  readonly jobId: string;
  readonly warmSince: Date;
}

/**
 * Opens a deviation where a job has had its tube outside the cold for longer than the budget in force. Counted is what
 * the job answers for: from its first move of the tube in this exposure on, so that the hours a person worked with the
 * tube before are not held against the placement that brings it back.
 * @returns the deviation's description; null: within the budget
 */
export async function judgeExposure(change: Change, exposed: Exposed): Promise<string | null> {
  const { tx, recordedAt } = change;
  const { tenantId, sampleId, zone, jobId, warmSince } = exposed;
  const { budgetSeconds } = await budgetOf(tx, tenantId, zone);
  if (exceededSeconds(budgetSeconds, warmSince, recordedAt) === null) return null;
  const { rows } = await sql<{ first: Date | null }>`
    SELECT min(recorded_at) AS first FROM event
    WHERE tenant_id = ${tenantId} AND subject = ${`sample/${sampleId}`} AND recorded_at >= ${warmSince}
      AND data ->> 'job_id' = ${jobId} AND type <> 'storage.sample.registered'`.execute(tx);
  const since = rows[0]?.first ?? recordedAt;
  const exceeded = exceededSeconds(budgetSeconds, since, recordedAt);
  if (exceeded === null) return null;
  const description = `The tube was outside ${describeZone(zone)} for ${exceeded.exposedSeconds} s in this move; it may be for ${exceeded.budgetSeconds} s.`;
  await openDeviation(change, {
    tenantId,
    kind: 'exposure_exceeded',
    description,
    sampleId,
    jobId,
    robotId: null,
    facts: {
      zone,
      exposed_seconds: exceeded.exposedSeconds,
      budget_seconds: exceeded.budgetSeconds,
      since: since.toISOString(),
    },
  });
  return description;
}

/** Judges the exposure that a job ends with: its tube is still outside the cold. Nothing where the job has no tube. */
export async function judgeStillOut(
  change: Change,
  tenantId: string,
  sampleId: string,
  jobId: string,
): Promise<void> {
  const { rows } = await sql<{ zone: Zone; warm_since: Date }>`
    SELECT zone, warm_since FROM sample
    WHERE tenant_id = ${tenantId} AND id = ${sampleId} AND job_id = ${jobId} AND warm_since IS NOT NULL`.execute(
    change.tx,
  );
  const out = rows[0];
  if (out) {
    await judgeExposure(change, { tenantId, sampleId, zone: out.zone, jobId, warmSince: out.warm_since });
  }
}

/** What a job's deviations say of its tube's exposure, the first of them; null when it kept within the budget. */
export async function exposureDeviation(
  tx: Transaction<DB>,
  tenantId: string,
  sampleId: string,
  jobId: string,
): Promise<string | null> {
  const { rows } = await sql<{ description: string }>`
    SELECT description FROM deviation WHERE tenant_id = ${tenantId} AND sample_id = ${sampleId} AND job_id = ${jobId}
      AND kind = 'exposure_exceeded' ORDER BY id LIMIT 1`.execute(tx);
  return rows[0]?.description ?? null;
}
