import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { mayBegin, releaseStep, type Standing, type TurnRequest } from '../domain/turns.ts';
import type { Database } from './connection.ts';
import { closeRobotFault, openRobotFault } from './robot-faults.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** What became of a request for a robot's turn. */
export type TurnGrant =
  | { readonly outcome: 'granted'; readonly fence: number }
  /** nobody needs the turn any more: the job is over, another workflow answers for it, or it gave the turn back */
  | { readonly outcome: 'withdrawn' }
  /** no turn begins now: the robot rests, or a fault holds it */
  | ({ readonly outcome: 'not_now' } & Standing)
  /** another job has the turn, or that of a robot behind the same gate, or such a robot waits longer for it */
  | { readonly outcome: 'taken' }
  /** the job's request was handed to another robot */
  | { readonly outcome: 'moved'; readonly robotId: string };

/** How long a robot that found its gate taken keeps its place before others: longer than it takes to ask again. */
const GATE_CLAIM = sql`interval '25 seconds'`;

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
  const { rows: jobs } = await sql<{ wanted: boolean; robot_id: string | null }>`
    SELECT finished_at IS NULL AND workflow_id = ${request.workflowId} AS wanted, robot_id
    FROM job WHERE tenant_id = ${tenantId} AND id = ${request.jobId} FOR NO KEY UPDATE`.execute(tx);
  const job = jobs[0];
  if (job?.wanted !== true) return { outcome: 'withdrawn' };
  if (job.robot_id !== null && job.robot_id !== robotId) return { outcome: 'moved', robotId: job.robot_id };
  const released = [releaseStep(request.turn), releaseStep(null)].map(
    (step) => `${request.workflowId}/${step}`,
  );
  const { rows: releases } = await sql`
    SELECT FROM step_result WHERE tenant_id = ${tenantId} AND step_key = ANY (${released})`.execute(tx);
  if (releases.length > 0) return { outcome: 'withdrawn' };
  await sql`INSERT INTO robot_turn (tenant_id, robot_id) VALUES (${tenantId}, ${robotId}) ON CONFLICT DO NOTHING`.execute(
    tx,
  );
  const turns = await lockTurns(tx, tenantId, robotId);
  const own = turns.find((turn) => turn.robot_id === robotId);
  if (!own) throw new DomainError('NOT_FOUND', `There is no robot ${robotId}.`);
  if (own.job_id === request.jobId) return { outcome: 'granted', fence: own.fence };
  if (own.job_id !== null) return { outcome: 'taken' };
  // Locked: a fault or a command that is being written is either seen, or waits until this turn has begun.
  const { rows: standings } = await sql<Standing>`
    SELECT dispatch, held_fault_ids AS "heldFaults" FROM robot_state
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} FOR SHARE`.execute(tx);
  const standing = standings[0];
  if (standing && !mayBegin(standing)) {
    await claimGate(tx, tenantId, own, false);
    return { outcome: 'not_now', ...standing };
  }
  const others = turns.filter((turn) => turn !== own);
  if (others.some((turn) => turn.job_id !== null || claimsBefore(turn, own))) {
    await claimGate(tx, tenantId, own, true);
    return { outcome: 'taken' };
  }
  const { rows: granted } = await sql<{ fence: number }>`
    UPDATE robot_turn SET fence = fence + 1, job_id = ${request.jobId}, gate_asked_at = NULL
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} RETURNING fence`.execute(tx);
  const fence = granted[0]?.fence;
  if (fence === undefined) throw new DomainError('NOT_FOUND', `There is no robot ${robotId}.`);
  return { outcome: 'granted', fence };
}

interface LockedTurn {
  readonly robot_id: string;
  readonly fence: number;
  readonly job_id: string | null;
  /** since when it waits for the gate; null when it does not, or has not asked for long */
  readonly claimed_at: Date | null;
}

/** Holds the turns of a robot and of those behind the same gate, in the order of their ids so that no two wait for each other. */
async function lockTurns(tx: Transaction<DB>, tenantId: string, robotId: string): Promise<LockedTurn[]> {
  const { rows } = await sql<LockedTurn>`
    SELECT t.robot_id, t.fence, t.job_id,
           CASE WHEN t.gate_asked_at > clock_timestamp() - ${GATE_CLAIM} THEN t.gate_asked_at END AS claimed_at
    FROM robot_turn t JOIN robot r ON r.tenant_id = t.tenant_id AND r.id = t.robot_id
    WHERE t.tenant_id = ${tenantId} AND (t.robot_id = ${robotId} OR r.gate = (
      SELECT gate FROM robot WHERE tenant_id = ${tenantId} AND id = ${robotId}))
    ORDER BY t.robot_id FOR UPDATE OF t`.execute(tx);
  return rows;
}

/** Whether a robot has waited longer for the gate than another that asks now. */
function claimsBefore(other: LockedTurn, own: LockedTurn): boolean {
  if (other.claimed_at === null) return false;
  return own.claimed_at === null || other.claimed_at < own.claimed_at;
}

/** Notes since when a robot waits for its gate, or that it does not. */
async function claimGate(
  tx: Transaction<DB>,
  tenantId: string,
  own: LockedTurn,
  waits: boolean,
): Promise<void> {
  if (waits ? own.claimed_at !== null : own.claimed_at === null) return;
  await sql`UPDATE robot_turn SET gate_asked_at = ${waits ? sql`clock_timestamp()` : null}
    WHERE tenant_id = ${tenantId} AND robot_id = ${own.robot_id}`.execute(tx);
}

/** The robots that wait for the gate they share with this one. */
export async function waitingAtGate(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
): Promise<string[]> {
  const { rows } = await sql<{ robot_id: string }>`
    SELECT t.robot_id FROM robot here JOIN robot r ON r.tenant_id = here.tenant_id AND r.gate = here.gate AND r.id <> here.id
    JOIN robot_turn t ON t.tenant_id = r.tenant_id AND t.robot_id = r.id AND t.gate_asked_at IS NOT NULL
    WHERE here.tenant_id = ${tenantId} AND here.id = ${robotId} ORDER BY t.gate_asked_at`.execute(tx);
  return rows.map((row) => row.robot_id);
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
 * Freezes a robot until the question of a job is answered.
 * @param instead an earlier fault of the same job, which nobody will answer for any more: it holds the robot no longer
 * @param about the job and what it asks, for people who look at the robot
 */
export async function holdRobot(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string,
  faultId: string,
  instead: string | null = null,
  about: { readonly jobId: string | null; readonly detail: string } = ASKS,
): Promise<void> {
  await openRobotFault(tx, { tenantId, robotId, id: faultId, kind: 'job', ...about }, instead);
}

const ASKS = { jobId: null, detail: 'A job asks where its tube is.' };

/** The question of a job is answered, and the robot may go on: other faults keep holding it. */
export async function clearHold(tx: Transaction<DB>, tenantId: string, faultId: string): Promise<void> {
  await closeRobotFault(tx, tenantId, faultId, null);
}

/** The workflow that answers for the job with the robot's turn; null when no job has it. */
export async function workflowAt(db: Database, tenantId: string, robotId: string): Promise<string | null> {
  const [row] = await read(
    db,
    tenantId,
    sql<{ workflow_id: string }>`
      SELECT j.workflow_id FROM robot_turn t JOIN job j ON j.tenant_id = t.tenant_id AND j.id = t.job_id
      WHERE t.tenant_id = ${tenantId} AND t.robot_id = ${robotId}`.compile(db.kysely),
  );
  return row?.workflow_id ?? null;
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
