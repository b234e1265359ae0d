import { sql, type Transaction } from 'kysely';
import { type ControllerView, safetyStop } from '../domain/controller.ts';
import { DomainError } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import type { RobotOrder } from '../domain/robot-order.ts';
import type { Dispatch, Standing } from '../domain/turns.ts';
import { clearAlarmsOfRobot } from './alarms.ts';
import { type Change, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { MOTION_ACCEPTED_CHANNEL } from './motion.ts';
import { endRestoredHold } from './restored-robot.ts';
import { SAFETY_STOP_ALARM } from './robot-contact.ts';
import { closeRobotFault, type RobotFaultKind } from './robot-faults.ts';
import type { DB } from './schema.ts';
import { hashOf } from './steps.ts';

const EVENT = {
  pause: 'automation.robot.paused',
  resume: 'automation.robot.resumed',
  maintenance: 'automation.robot.in_maintenance',
  clear: 'automation.robot.fault_cleared',
} as const satisfies Record<RobotOrder['command'], EventType>;

/** A safety fault is released only while the robot is heard of: what it showed longer ago says nothing of now. */
const HEARD_WITHIN_S = 10;

interface RobotRow {
  readonly name: string;
  readonly dispatch: Dispatch;
  readonly held_fault_ids: string[];
  readonly mode: ControllerView['mode'] | null;
  readonly door_open: boolean | null;
  readonly unit_alarm: boolean | null;
  readonly locked_out: boolean | null;
  /** seconds since it was last heard of; null: never */
  readonly silent_s: number | null;
  /** it was out of automatic mode, or locked out, and was not seen to come back */
  readonly lacks_reset: boolean;
}

/**
 * Carries out a person's command to a robot: its standing and the ledger's entry in one transaction. A command that
 * changes nothing leaves no entry; the same key again does nothing.
 * @param key names the command: one repeated after its answer was lost is the same
 * @returns how the robot stands afterwards
 * @throws DomainError ROBOT_UNAVAILABLE (what stops it stands, as last reported, or a fault holds it: no resume),
 *   STALE_ANSWER (that fault does not hold it), CONFLICT (a job still asks about the fault; the robot was paused at once),
 *   NOT_FOUND, STEP_REPEATED_DIFFERENTLY
 */
export function commandRobot(
  db: Database,
  robotId: string,
  key: string,
  order: RobotOrder,
): Promise<Standing> {
  const { actor, command, reason } = order;
  const { tenantId } = actor;
  const context = {
    actor,
    reason: command === 'clear' ? 'clearance' : 'dispatch',
    ...(reason !== null && { comment: reason }),
  } as const;
  return withChange(db, context, async (change) => {
    const { tx, record } = change;
    const { rows } = await sql<RobotRow>`
      SELECT r.name, s.dispatch, s.held_fault_ids, s.mode, s.door_open, s.unit_alarm, s.locked_out,
             extract(epoch FROM clock_timestamp() - s.last_contact_at)::float8 AS silent_s,
             coalesce(s.stop_seen_at > coalesce(s.reset_seen_at, '-infinity'), false) AS lacks_reset
      FROM robot r
      JOIN robot_state s ON s.tenant_id = r.tenant_id AND s.robot_id = r.id
      WHERE r.tenant_id = ${tenantId} AND r.id = ${robotId} AND r.retired_at IS NULL
      FOR NO KEY UPDATE`.execute(tx);
    const row = rows[0];
    if (!row) throw new DomainError('NOT_FOUND', `There is no robot ${robotId}.`);
    const before: Standing = { dispatch: row.dispatch, heldFaults: row.held_fault_ids };
    if (!(await isFirst(tx, tenantId, key, [robotId, order]))) return before;
    const after =
      order.command === 'clear'
        ? await released(change, robotId, row, before, order)
        : dispatched(row, before, order);
    if (after === before) return before;
    await sql`UPDATE robot_state SET dispatch = ${after.dispatch}, held_fault_ids = ${after.heldFaults}
      WHERE tenant_id = ${tenantId} AND robot_id = ${robotId}`.execute(tx);
    // A motion that was held back begins at once: its gateway hears of it at commit.
    await sql`SELECT pg_notify(${MOTION_ACCEPTED_CHANNEL}, ${robotId}) WHERE ${after.dispatch === 'running'}`.execute(
      tx,
    );
    const { rows: versions } = await sql<{ version: number }>`
      UPDATE robot SET version = version + 1 WHERE tenant_id = ${tenantId} AND id = ${robotId}
      RETURNING version`.execute(tx);
    record({
      aggregate: 'robot',
      aggregateId: robotId,
      version: versions[0]?.version ?? 0,
      type: EVENT[command],
      from: labelOf(before),
      to: labelOf(after),
      before: fieldsOf(before),
      after: fieldsOf(after),
      data: {
        robot_id: robotId,
        dispatch: after.dispatch,
        held: after.heldFaults.length > 0,
        ...(order.command === 'clear' && { fault_id: order.faultId }),
      },
    });
    return after;
  });
}

const labelOf = ({ dispatch, heldFaults }: Standing): string => (heldFaults.length > 0 ? 'held' : dispatch);
const fieldsOf = ({ dispatch, heldFaults }: Standing) => ({ dispatch, held_faults: [...heldFaults] });

/** Notes the command under its key. False when that was done before. */
async function isFirst(
  tx: Transaction<DB>,
  tenantId: string,
  key: string,
  params: readonly unknown[],
): Promise<boolean> {
  const hash = hashOf(params);
  const { rows } = await sql`INSERT INTO step_result (tenant_id, step_key, params_hash, result)
    VALUES (${tenantId}, ${key}, ${hash}, 'null') ON CONFLICT DO NOTHING RETURNING 1`.execute(tx);
  if (rows.length > 0) return true;
  const { rows: known } = await sql<{ params_hash: Buffer }>`
    SELECT params_hash FROM step_result WHERE tenant_id = ${tenantId} AND step_key = ${key}`.execute(tx);
  if (known[0]?.params_hash.equals(hash)) return false;
  throw new DomainError('STEP_REPEATED_DIFFERENTLY', `Command ${key} was given with another content.`);
}

/** The rules of pause, resume and maintenance. @returns `before` itself when the command changes nothing */
function dispatched(
  row: RobotRow,
  before: Standing,
  order: Exclude<RobotOrder, { readonly command: 'clear' }>,
): Standing {
  const dispatch = dispatchOf(order);
  if (order.command === 'resume') {
    const [faultId] = before.heldFaults;
    if (faultId !== undefined) {
      const detail = `${row.name} is held by fault ${faultId}: resolve that first.`;
      throw new DomainError('ROBOT_UNAVAILABLE', detail, { facts: { faultId } });
    }
    refuseWhileStopped(row, 'resumed');
  } else if (before.dispatch === 'paused_now' && dispatch !== 'paused_now') {
    // It would let the motion begin that a person stopped, and nobody at the robot has said that it may.
    throw new DomainError('CONFLICT', `${row.name} is paused now: resume it at the robot first.`);
  }
  return dispatch === before.dispatch ? before : { ...before, dispatch };
}

function dispatchOf(order: Exclude<RobotOrder, { readonly command: 'clear' }>): Dispatch {
  switch (order.command) {
    case 'pause':
      return order.when === 'now' ? 'paused_now' : 'paused';
    case 'resume':
      return 'running';
    case 'maintenance':
      return 'maintenance';
  }
}

/** Releases the robot from one fault, once, and ends the alarm that the fault raised. */
async function released(
  change: Change,
  robotId: string,
  row: RobotRow,
  before: Standing,
  order: Extract<RobotOrder, { readonly command: 'clear' }>,
): Promise<Standing> {
  const { tx } = change;
  const { faultId, actor } = order;
  const { tenantId, userId } = actor;
  if (!before.heldFaults.includes(faultId)) {
    const [held] = before.heldFaults;
    throw new DomainError(
      'STALE_ANSWER',
      held === undefined
        ? `${row.name} is not held by any fault.`
        : `${row.name} is held by fault ${held}, not by ${faultId}.`,
      held === undefined ? {} : { facts: { faultId: held } },
    );
  }
  const { rows: asking } = await sql<{ id: string }>`
    SELECT id FROM job WHERE tenant_id = ${tenantId} AND fault_id = ${faultId}
      AND finished_at IS NULL AND state = 'AWAITING_OPERATOR' LIMIT 1`.execute(tx);
  if (asking[0]) {
    throw new DomainError(
      'CONFLICT',
      `Job ${asking[0].id} still asks where its tube is: answer that first, then the robot goes free.`,
      { facts: { jobId: asking[0].id } },
    );
  }
  const { rows: faults } = await sql<{ kind: RobotFaultKind }>`
    SELECT kind FROM robot_fault WHERE tenant_id = ${tenantId} AND id = ${faultId}`.execute(tx);
  const kind = faults[0]?.kind ?? 'job';
  if (kind === 'safety') refuseUnheard(row);
  refuseWhileStopped(row, 'released');
  if (kind === 'restored') await endRestoredHold(change, robotId, row.name, order);
  await closeRobotFault(tx, tenantId, faultId, userId);
  if (kind === 'safety') await clearAlarmsOfRobot(change, tenantId, robotId, [SAFETY_STOP_ALARM]);
  return { ...before, heldFaults: before.heldFaults.filter((held) => held !== faultId) };
}

function refuseUnheard({ name, silent_s }: RobotRow): void {
  if (silent_s !== null && silent_s <= HEARD_WITHIN_S) return;
  const since = silent_s === null ? 'never' : `last ${Math.round(silent_s)} s ago`;
  throw new DomainError(
    'ROBOT_UNAVAILABLE',
    `${name} was ${since} heard of: it is released when its controller shows that all is clear.`,
  );
}

function refuseWhileStopped(row: RobotRow, what: string): void {
  const { name, mode, door_open, unit_alarm, locked_out } = row;
  if (mode === null) return; // never heard of: nothing stops it that anybody knows of, and the gateway looks again
  const stop = safetyStop({ mode, doorOpen: door_open, unitAlarm: unit_alarm, lockedOut: locked_out });
  if (stop !== null) {
    throw new DomainError(
      'ROBOT_UNAVAILABLE',
      `${name} is not ${what} yet: ${stop}. End that at the machine first.`,
    );
  }
  if (row.lacks_reset) {
    throw new DomainError(
      'ROBOT_UNAVAILABLE',
      `${name} is not ${what} yet: its hardware reset was not seen. Reset it at the machine first.`,
    );
  }
}
