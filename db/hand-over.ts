import { sql, type Transaction } from 'kysely';
import type { TurnRequest } from '../domain/turns.ts';
import type { DB } from './schema.ts';

/**
 * Hands a request for a robot's turn to another robot that can do the work: one in service with the same hand-off, at work
 * and not held, that takes orders at the same level and whose store holds every position of the job; of several the one with
 * the fewest jobs. A job that has begun
 * to move its tube stays with its robot.
 * @returns the robot at which the job waits from now on; null when it stays, or waits no more
 */
export async function handRequestOver(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
  { jobId, workflowId, turn }: TurnRequest,
): Promise<string | null> {
  // The job's row first, as the grant takes it: a turn that begins is either seen or waits.
  const { rows: jobs } = await sql<{ robot_id: string | null }>`
    SELECT robot_id FROM job WHERE tenant_id = ${tenantId} AND id = ${jobId} AND workflow_id = ${workflowId}
      AND finished_at IS NULL FOR NO KEY UPDATE`.execute(tx);
  const job = jobs[0];
  if (!job) return null;
  // Done before, and the answer was lost.
  if (job.robot_id !== null && job.robot_id !== robotId) return job.robot_id;
  const { rows } = await sql<{ id: string }>`
    SELECT r.id FROM robot here
    JOIN robot r ON r.tenant_id = here.tenant_id AND r.handoff_id = here.handoff_id AND r.id <> here.id
      AND (r.driver = 'worklist') = (here.driver = 'worklist')
    JOIN robot_state s ON s.tenant_id = r.tenant_id AND s.robot_id = r.id
    WHERE here.tenant_id = ${tenantId} AND here.id = ${robotId} AND r.retired_at IS NULL
      AND s.connected AND s.dispatch = 'running' AND s.held_fault_ids = '{}'
      AND NOT EXISTS (SELECT FROM motion m WHERE m.tenant_id = ${tenantId} AND m.job_id = ${jobId})
      AND NOT EXISTS (SELECT FROM robot_turn t WHERE t.tenant_id = ${tenantId} AND t.job_id = ${jobId})
      AND NOT EXISTS (
        SELECT FROM position p JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
        WHERE p.tenant_id = ${tenantId} AND p.job_id = ${jobId} AND l.id <> r.handoff_id
          AND (l.robot_cassette IS NULL OR NOT EXISTS (
            SELECT FROM location_ancestor a WHERE a.tenant_id = l.tenant_id AND a.ancestor_id = r.store_id
              AND a.descendant_id = l.id)))
    ORDER BY (SELECT count(*) FROM job j WHERE j.tenant_id = r.tenant_id AND j.robot_id = r.id AND j.finished_at IS NULL),
             r.id LIMIT 1`.execute(tx);
  const heir = rows[0]?.id;
  if (heir === undefined) return null;
  await sql`UPDATE job SET robot_id = ${heir}, updated_at = clock_timestamp()
    WHERE tenant_id = ${tenantId} AND id = ${jobId}`.execute(tx);
  await sql`INSERT INTO job_step (tenant_id, job_id, step, outcome, detail)
    VALUES (${tenantId}, ${jobId}, 'hand-over', 'handed_over',
            jsonb_build_object('robotId', ${heir}::uuid, 'from', ${robotId}::uuid, 'turn', ${turn}::int))`.execute(
    tx,
  );
  return heir;
}
