import { randomUUID } from 'node:crypto';
import { type RawBuilder, sql, type Transaction } from 'kysely';
import { systemActor } from '../domain/actor.ts';
import { type ControllerView, safetyStop } from '../domain/controller.ts';
import { raiseAlarm } from './alarms.ts';
import { type Change, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { compareAfterRestore } from './restored-robot.ts';
import { openRobotFault } from './robot-faults.ts';
import type { DB } from './schema.ts';
import { inTenant } from './tenancy.ts';

/** The gateway that owns a robot's controller. */
interface Owner {
  readonly tenantId: string;
  readonly robotId: string;
  readonly epoch: number;
}

/** How a robot stood when it was last heard of. */
interface Before {
  readonly name: string;
  readonly epoch: number;
  /** it was out of automatic mode, or locked out */
  readonly was_out: boolean;
  /** taken for maintenance, and no job has the turn: a stop is part of the work there, and no fault */
  readonly is_drained: boolean;
  readonly is_held: boolean;
  /** it was not heard of since the laboratory was restored */
  readonly awaits_comparison: boolean;
}

/**
 * Projects what was heard of a robot into its state; `null` = it does not answer, and what was known stays. What stops a
 * robot for people's safety, or the samples', holds it until a person at the robot releases that fault by its id, and
 * raises an alarm; what else stops it meanwhile is the same fault. The first word after a restore is compared with what the
 * journal knew, which may take long in a large store.
 * @returns false when another gateway owns the controller: then nothing was written
 */
export async function reportContact(
  db: Database,
  owner: Owner,
  view: ControllerView | null,
): Promise<boolean> {
  const written = await writeContact(db, owner, view);
  if (written === null) return false;
  if (view !== null && written.awaitsComparison) await compareAfterRestore(db, owner, view.latchedNumber);
  return true;
}

/** @returns null when another gateway owns the controller */
async function writeContact(
  db: Database,
  owner: Owner,
  view: ControllerView | null,
): Promise<{ readonly awaitsComparison: boolean } | null> {
  const projected = await inTenant(db, owner.tenantId, (tx) => project(tx, owner, view, null));
  if (projected !== 'new_stop') return projected;
  const context = {
    actor: systemActor(owner.tenantId),
    reason: 'fault',
    device: `robot:${owner.robotId}`,
  } as const;
  return withChange(db, context, async (change) => {
    const opened = await project(change.tx, owner, view, change);
    return opened === 'new_stop' ? null : opened;
  });
}

/**
 * @param change opens the fault of a new stop; null: nothing is written when there is one
 * @returns null when another gateway owns the controller
 */
async function project(
  tx: Transaction<DB>,
  { tenantId, robotId, epoch }: Owner,
  view: ControllerView | null,
  change: Change | null,
): Promise<{ readonly awaitsComparison: boolean } | 'new_stop' | null> {
  const { rows } = await sql<Before>`
    SELECT r.name, t.epoch, t.restored_number IS NOT NULL AS awaits_comparison, coalesce(s.mode <> 'auto' OR s.locked_out, false) AS was_out,
           coalesce(s.dispatch = 'maintenance' AND t.job_id IS NULL, false) AS is_drained,
           EXISTS (SELECT FROM robot_fault f WHERE f.tenant_id = t.tenant_id AND f.robot_id = t.robot_id
                   AND f.kind = 'safety' AND f.cleared_at IS NULL) AS is_held
    FROM robot_turn t JOIN robot r ON r.tenant_id = t.tenant_id AND r.id = t.robot_id
    LEFT JOIN robot_state s ON s.tenant_id = t.tenant_id AND s.robot_id = t.robot_id
    WHERE t.tenant_id = ${tenantId} AND t.robot_id = ${robotId}`.execute(tx);
  const before = rows[0];
  if (before?.epoch !== epoch) return null;
  const stop = view && safetyStop(view);
  if (stop !== null && !before.is_held && !before.is_drained) {
    if (change === null) return 'new_stop';
    await stopRobot(change, tenantId, robotId, `${before.name} stands in a safety hold: ${stop}.`);
  }
  const heard = view ? seen(view, before) : [sql`connected = false`];
  await sql`UPDATE robot_state SET ${sql.join(heard)}
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId}`.execute(tx);
  return { awaitsComparison: before.awaits_comparison };
}

function seen(view: ControllerView, { was_out }: Before): RawBuilder<unknown>[] {
  const isOut = view.mode !== 'auto' || view.lockedOut === true;
  const now = sql`clock_timestamp()`;
  return [
    sql`connected = true, mode = ${view.mode}, busy = ${view.busy}, carrier_occupied = ${view.carrier}`,
    sql`error_code = ${view.errorCode}, last_contact_at = ${now}`,
    sql`door_open = ${view.doorOpen}, unit_alarm = ${view.unitAlarm}, locked_out = ${view.lockedOut}`,
    ...(view.lockedOut === true ? [sql`lockout_seen_at = ${now}`] : []),
    ...(isOut ? [sql`stop_seen_at = ${now}`] : []),
    ...(was_out && !isOut ? [sql`reset_seen_at = ${now}`] : []),
  ];
}

async function stopRobot(change: Change, tenantId: string, robotId: string, detail: string): Promise<void> {
  const id = randomUUID();
  await openRobotFault(change.tx, { tenantId, robotId, id, kind: 'safety', detail, jobId: null });
  await raiseAlarm(change, {
    tenantId,
    kind: SAFETY_STOP_ALARM,
    severity: 'high',
    message: detail,
    jobId: null,
    robotId,
  });
}

/** Kind of the alarm that a safety fault raises. */
export const SAFETY_STOP_ALARM = 'robot_safety_stop';
