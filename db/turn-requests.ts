import { sql } from 'kysely';
import {
  enqueue,
  IDLE_ROBOT,
  RELEASE_STEP,
  type RobotState,
  releaseStep,
  type TurnRequest,
} from '../domain/turns.ts';
import type { Database } from './connection.ts';
import { read } from './tenancy.ts';

/** A turn that a live job asked for and has not given back. */
export interface OpenRequest {
  readonly robotId: string;
  readonly request: TurnRequest;
  /** of the turn, when the job has it; null while it waits */
  readonly fence: number | null;
  /** the robot's workflow has shown it in its queue */
  readonly isQueued: boolean;
}

/**
 * What live jobs asked of robots, by the steps they wrote: it outlives the workflow that queues them. A job asks one robot
 * at a time, the one in its row: that may be another than the one it asked, after a hand-over.
 * @param of one robot; or every robot, but only jobs on which nothing was written for `quietMs` milliseconds
 */
export async function openRequests(
  db: Database,
  tenantId: string,
  of: { readonly robotId: string } | { readonly quietMs: number },
): Promise<OpenRequest[]> {
  const wanted =
    'robotId' in of
      ? sql`j.robot_id = ${of.robotId}`
      : sql`j.updated_at < now() - ${of.quietMs} * interval '1 millisecond'`;
  return read(
    db,
    tenantId,
    sql<OpenRequest>`
      SELECT j.robot_id AS "robotId", a.result - 'robotId' AS request, t.fence,
             coalesce(r.queue @> jsonb_build_array(jsonb_build_object('jobId', j.id, 'turn', s.detail -> 'turn')), false)
               AS "isQueued"
      FROM job j
      JOIN job_step s ON s.tenant_id = j.tenant_id AND s.job_id = j.id AND s.outcome = ${ASKED}
      JOIN step_result a ON a.tenant_id = j.tenant_id AND a.step_key = j.workflow_id || '/' || s.step
      LEFT JOIN robot_turn t ON t.tenant_id = j.tenant_id AND t.robot_id = j.robot_id AND t.job_id = j.id
      LEFT JOIN robot_state r ON r.tenant_id = j.tenant_id AND r.robot_id = j.robot_id
      WHERE j.tenant_id = ${tenantId} AND j.finished_at IS NULL AND j.robot_id IS NOT NULL AND ${wanted}
        AND NOT EXISTS (
          SELECT FROM step_result g WHERE g.tenant_id = j.tenant_id
            AND g.step_key IN (j.workflow_id || '/' || ${RELEASE_STEP} || (s.detail ->> 'turn'),
                               j.workflow_id || '/' || ${releaseStep(null)}))
      ORDER BY j.id, s.seq`.compile(db.kysely),
  );
}

/** Outcome under which a job notes that it asked for a turn. */
export const ASKED = 'asked';

/** What a robot's workflow needs to know when it begins: how the robot stands, whose turn it is, who waits. */
export async function robotStateOf(db: Database, tenantId: string, robotId: string): Promise<RobotState> {
  const [standing] = await read(
    db,
    tenantId,
    sql<Pick<RobotState, 'dispatch' | 'heldFaults'>>`
      SELECT dispatch, held_fault_ids AS "heldFaults" FROM robot_state
      WHERE tenant_id = ${tenantId} AND robot_id = ${robotId}`.compile(db.kysely),
  );
  const open = await openRequests(db, tenantId, { robotId });
  const waiting = open.filter(({ fence }) => fence === null).map(({ request }) => request);
  const holder = open.flatMap(({ request, fence }) => (fence === null ? [] : [{ ...request, fence }])).at(-1);
  return waiting.reduce(enqueue, { ...IDLE_ROBOT, ...standing, current: holder ?? null });
}
