import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { mayBegin, releaseStep, type Standing, type TurnRequest } from '../domain/turns.ts';
import type { DB } from './schema.ts';

/** What became of a request for a robot's turn. */
export type TurnGrant =
  | { readonly outcome: 'granted'; readonly fence: number }
  /** nobody needs the turn any more: the job is over, another workflow answers for it, or it gave the turn back */
  | { readonly outcome: 'withdrawn' }
  /** no turn begins now: the robot rests, or a fault holds it */
  | ({ readonly outcome: 'not_now' } & Standing)
  /** the database says that another job has the turn */
  | { readonly outcome: 'taken'; readonly jobId: string };

/**
 * Grants a robot's turn: the fence rises in the same transaction (invariant 5). A job that has the turn gets its fence
 * again, also while the robot rests or is held: it ends what it began. No other turn begins then, whatever the robot's
 * workflow remembers.
 */
export async function grantTurnTo(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
  request: TurnRequest,
): Promise<TurnGrant> {
  // The job's row first, as every step takes it: a release of this turn is either seen or waits.
  const { rows: jobs } = await sql<{ wanted: boolean }>`
    SELECT finished_at IS NULL AND workflow_id = ${request.workflowId} AS wanted
    FROM job WHERE tenant_id = ${tenantId} AND id = ${request.jobId} FOR NO KEY UPDATE`.execute(tx);
  if (jobs[0]?.wanted !== true) return { outcome: 'withdrawn' };
  const released = [releaseStep(request.turn), releaseStep(null)].map(
    (step) => `${request.workflowId}/${step}`,
  );
  const { rows: releases } = await sql`
    SELECT FROM step_result WHERE tenant_id = ${tenantId} AND step_key = ANY (${released})`.execute(tx);
  if (releases.length > 0) return { outcome: 'withdrawn' };
  await sql`INSERT INTO robot_turn (tenant_id, robot_id) VALUES (${tenantId}, ${robotId}) ON CONFLICT DO NOTHING`.execute(
    tx,
  );
  const { rows } = await sql<{ fence: number; job_id: string | null }>`
    SELECT fence, job_id FROM robot_turn WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} FOR UPDATE`.execute(
    tx,
  );
  const turn = rows[0];
  if (!turn) throw new DomainError('NOT_FOUND', `There is no robot ${robotId}.`);
  if (turn.job_id === request.jobId) return { outcome: 'granted', fence: turn.fence };
  if (turn.job_id !== null) return { outcome: 'taken', jobId: turn.job_id };
  // Locked: a fault or a command that is being written is either seen, or waits until this turn has begun.
  const { rows: standings } = await sql<Standing>`
    SELECT dispatch, held_fault_ids AS "heldFaults" FROM robot_state
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} FOR SHARE`.execute(tx);
  const standing = standings[0];
  if (standing && !mayBegin(standing)) return { outcome: 'not_now', ...standing };
  const { rows: granted } = await sql<{ fence: number }>`
    UPDATE robot_turn SET fence = fence + 1, job_id = ${request.jobId}
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} RETURNING fence`.execute(tx);
  const fence = granted[0]?.fence;
  if (fence === undefined) throw new DomainError('NOT_FOUND', `There is no robot ${robotId}.`);
  return { outcome: 'granted', fence };
}

/**
 * Raises the fence of the job's turn: what was ordered under the old one is refused from now on.
 * @throws DomainError TURN_LOST when the job does not have the turn
 */
export async function raiseFence(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
  jobId: string,
): Promise<number> {
  const { rows } = await sql<{ fence: number }>`
    UPDATE robot_turn SET fence = fence + 1
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} AND job_id = ${jobId} RETURNING fence`.execute(
    tx,
  );
  const fence = rows[0]?.fence;
  if (fence === undefined)
    throw new DomainError('TURN_LOST', `Job ${jobId} does not have the turn of robot ${robotId}.`);
  return fence;
}

/**
 * Ends the job's turn at a robot, where it has it.
 * @throws DomainError CONFLICT while a command of the job is under way: await it first
 */
export async function endTurn(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
  jobId: string,
): Promise<boolean> {
  const { rows } = await sql<{ moving: boolean }>`
    SELECT EXISTS (SELECT FROM motion m WHERE m.tenant_id = t.tenant_id AND m.robot_id = t.robot_id
                   AND m.job_id = t.job_id AND m.state = 'SENT') AS moving
    FROM robot_turn t WHERE t.tenant_id = ${tenantId} AND t.robot_id = ${robotId} AND t.job_id = ${jobId}
    FOR UPDATE`.execute(tx);
  if (!rows[0]) return false;
  if (rows[0].moving) {
    throw new DomainError(
      'CONFLICT',
      `Robot ${robotId} carries out a command of job ${jobId}: await it first.`,
    );
  }
  await sql`UPDATE robot_turn SET job_id = NULL
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} AND job_id = ${jobId}`.execute(tx);
  return true;
}

/**
 * Freezes a robot until the fault is resolved.
 * @param instead an earlier fault of the same job, which nobody will answer for any more: it holds the robot no longer
 */
export async function holdRobot(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
  faultId: string,
  instead: string | null = null,
): Promise<void> {
  await sql`INSERT INTO robot_state AS s (tenant_id, robot_id, held_fault_ids)
    VALUES (${tenantId}, ${robotId}, ARRAY[${faultId}::uuid])
    ON CONFLICT (tenant_id, robot_id) DO UPDATE
      SET held_fault_ids = array_remove(array_remove(s.held_fault_ids, ${instead}::uuid), ${faultId}::uuid)
        || ${faultId}::uuid`.execute(tx);
}

/** Resolves one fault of the robot that it froze; others keep holding it. */
export async function clearHold(tx: Transaction<DB>, tenantId: string, faultId: string): Promise<void> {
  await sql`UPDATE robot_state SET held_fault_ids = array_remove(held_fault_ids, ${faultId}::uuid)
    WHERE tenant_id = ${tenantId} AND ${faultId}::uuid = ANY (held_fault_ids)`.execute(tx);
}

/** Shows a robot's queue to everybody. Dispatch and holds are not the entity's to write: it copies them from here. */
export async function writeRobotQueue(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
  queue: readonly TurnRequest[],
): Promise<void> {
  await sql`INSERT INTO robot_state (tenant_id, robot_id, queue)
    VALUES (${tenantId}, ${robotId}, ${JSON.stringify(queue)}::jsonb)
    ON CONFLICT (tenant_id, robot_id) DO UPDATE SET queue = excluded.queue`.execute(tx);
}
