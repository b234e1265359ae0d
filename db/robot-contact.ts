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
  /** its controller was not heard of since the database was restored */
  readonly is_restored: boolean;
}

/**
 * Projects what was heard of a robot into its state; `null` = it does not answer, and what was known stays. What stops a
 * robot for people's safety, or the samples', holds it until a person at the robot releases that fault by its id, and
 * raises an alarm; while it is held, and what else stops it meanwhile, is the same fault.
 * @returns false when another gateway owns the controller: then nothing was written
 */
export async function reportContact(
  db: Database,
  owner: Owner,
  view: ControllerView | null,
): Promise<boolean> {
  let projected = await inTenant(db, owner.tenantId, (tx) => project(tx, owner, view, null));
  if (projected === 'new_stop') {
    const context = {
      actor: systemActor(owner.tenantId),
      reason: 'fault',
      device: `robot:${owner.robotId}`,
    } as const;
    projected = await withChange(db, context, (change) => project(change.tx, owner, view, change));
  }
  // The first word after a restore is compared with what the journal knew, which may take long in a large store.
  if (projected === 'restored' && view !== null) await compareAfterRestore(db, owner, view.latchedNumber);
  return projected !== 'not_owner';
}

/** @param change opens the fault of a new stop; null: nothing is written when there is one */
async function project(
  tx: Transaction<DB>,
  { tenantId, robotId, epoch }: Owner,
  view: ControllerView | null,
  change: Change | null,
): Promise<'written' | 'restored' | 'not_owner' | 'new_stop'> {
  const { rows } = await sql<Before>`
    SELECT r.name, t.epoch, coalesce(s.mode <> 'auto' OR s.locked_out, false) AS was_out,
           coalesce(s.dispatch = 'maintenance' AND t.job_id IS NULL, false) AS is_drained,
           EXISTS (SELECT FROM robot_fault f WHERE f.tenant_id = t.tenant_id AND f.robot_id = t.robot_id
                   AND f.kind = 'safety' AND f.cleared_at IS NULL) AS is_held,
           t.restored_number IS NOT NULL AS is_restored
    FROM robot_turn t JOIN robot r ON r.tenant_id = t.tenant_id AND r.id = t.robot_id
    LEFT JOIN robot_state s ON s.tenant_id = t.tenant_id AND s.robot_id = t.robot_id
    WHERE t.tenant_id = ${tenantId} AND t.robot_id = ${robotId}`.execute(tx);
  const before = rows[0];
  if (before?.epoch !== epoch) return 'not_owner';
  const stop = view && safetyStop(view);
  if (stop !== null && !before.is_held && !before.is_drained) {
    if (change === null) return 'new_stop';
    await stopRobot(change, tenantId, robotId, `${before.name} stands in a safety hold: ${stop}.`);
  }
  const heard = view ? seen(view, before) : [sql`connected = false`];
  await sql`UPDATE robot_state SET ${sql.join(heard)}
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId}`.execute(tx);
  return before.is_restored ? 'restored' : 'written';
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
