import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import type { DB } from './schema.ts';

/** A question about a tube, at a robot that stands still until it is answered. */
interface Question {
  readonly tenantId: string;
  readonly robotId: string;
  readonly jobId: string;
}

interface SafetyRow {
  name: string;
  stop: string | null;
  /** null: the controller does not tell of its lock-out */
  locked_out: boolean | null;
  locked_since: boolean;
  reset_since: boolean;
}

/** What the controller last told of what keeps people safe, beside the time at which the job asked its question. */
async function safetyOf(
  tx: Transaction<DB>,
  { tenantId, robotId, jobId }: Question,
): Promise<SafetyRow | null> {
  const { rows } = await sql<SafetyRow>`
    WITH asked AS (
      SELECT max(at) AS at FROM job_step WHERE tenant_id = ${tenantId} AND job_id = ${jobId} AND outcome = 'parked'
    )
    SELECT r.name, s.locked_out,
      CASE WHEN s.locked_out THEN 'is locked out' WHEN s.mode <> 'auto' THEN 'is in mode ' || s.mode
           WHEN s.door_open THEN 'has a door open' WHEN s.unit_alarm THEN 'is in alarm' END AS stop,
      coalesce(s.lockout_seen_at >= asked.at, false) AS locked_since,
      coalesce(s.reset_seen_at >= s.lockout_seen_at, false) AS reset_since
    FROM robot r JOIN robot_state s ON s.tenant_id = r.tenant_id AND s.robot_id = r.id CROSS JOIN asked
    WHERE r.tenant_id = ${tenantId} AND r.id = ${robotId}`.execute(tx);
  return rows[0] ?? null;
}

/**
 * Where the controller tells of its lock-out, the person's word is not enough.
 * @throws DomainError CONFLICT when no lock-out was seen since the question was asked
 */
export async function checkLockedOut(tx: Transaction<DB>, question: Question): Promise<void> {
  const safety = await safetyOf(tx, question);
  if (safety === null || safety.locked_out === null || safety.locked_out || safety.locked_since) return;
  throw new DomainError(
    'CONFLICT',
    `The lock-out of ${safety.name} has not been seen since the question was asked: lock it out, look, then answer.`,
    { errors: [{ pointer: '/lockedOut', detail: 'the controller does not say so' }] },
  );
}

/**
 * A robot is fit when it stands ready again by its own word; after a lock-out, when its reset was seen.
 * @throws DomainError CONFLICT saying what is in the way
 */
export async function checkFit(tx: Transaction<DB>, question: Question): Promise<void> {
  const safety = await safetyOf(tx, question);
  if (safety === null) return;
  const { name, stop, locked_since, reset_since } = safety;
  const missing =
    stop ?? (locked_since && !reset_since ? 'was locked out and its reset has not been seen' : null);
  if (missing === null) return;
  throw new DomainError(
    'CONFLICT',
    `${name} ${missing}: see to that first, or answer that it is not fit to run.`,
    { errors: [{ pointer: '/robotFit', detail: `the robot ${missing}` }] },
  );
}
