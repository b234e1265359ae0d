import { sql, type Transaction } from 'kysely';
import type { DB } from './schema.ts';

/** What holds a robot: a job that asks a person, what keeps people safe, or a restored laboratory. */
export type RobotFaultKind = 'job' | 'safety' | 'restored';

/** A fault as it begins to hold a robot. */
export interface NewRobotFault {
  readonly tenantId: string;
  readonly robotId: string;
  readonly id: string;
  readonly kind: RobotFaultKind;
  /** a sentence for people */
  readonly detail: string;
  readonly jobId: string | null;
}

/**
 * Freezes a robot until the fault is released by its id.
 * @param instead an earlier fault, which nobody will answer for any more: it holds the robot no longer
 */
export async function openRobotFault(
  tx: Transaction<DB>,
  fault: NewRobotFault,
  instead: string | null = null,
): Promise<void> {
  const { tenantId, robotId, id, kind, detail, jobId } = fault;
  await sql`INSERT INTO robot_fault (tenant_id, id, robot_id, kind, detail, job_id)
    VALUES (${tenantId}, ${id}, ${robotId}, ${kind}, ${detail}, ${jobId}) ON CONFLICT (tenant_id, id) DO NOTHING`.execute(
    tx,
  );
  await sql`INSERT INTO robot_state AS s (tenant_id, robot_id, held_fault_ids)
    VALUES (${tenantId}, ${robotId}, ARRAY[${id}::uuid])
    ON CONFLICT (tenant_id, robot_id) DO UPDATE
      SET held_fault_ids = array_remove(array_remove(s.held_fault_ids, ${instead}::uuid), ${id}::uuid)
        || ${id}::uuid`.execute(tx);
  if (instead !== null) await closeRobotFault(tx, tenantId, instead, null);
}

/**
 * Releases a robot from one fault; others keep holding it. The release is good once: a fault that is closed stays so.
 * @param by the user who released it; null when what raised it has ended it
 */
export async function closeRobotFault(
  tx: Transaction<DB>,
  tenantId: string,
  faultId: string,
  by: string | null,
): Promise<void> {
  await sql`UPDATE robot_state SET held_fault_ids = array_remove(held_fault_ids, ${faultId}::uuid)
    WHERE tenant_id = ${tenantId} AND ${faultId}::uuid = ANY (held_fault_ids)`.execute(tx);
  await sql`UPDATE robot_fault SET cleared_at = clock_timestamp(), cleared_by = ${by}
    WHERE tenant_id = ${tenantId} AND id = ${faultId} AND cleared_at IS NULL`.execute(tx);
}
