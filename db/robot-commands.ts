import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import type { RobotOrder } from '../domain/robot-order.ts';
import type { Standing } from '../domain/turns.ts';
import { withChange } from './change.ts';
import type { Database } from './connection.ts';
import { endRestoredHold } from './restored-robot.ts';
import type { DB } from './schema.ts';
import { hashOf } from './steps.ts';

const EVENT = {
  pause: 'automation.robot.paused',
  resume: 'automation.robot.resumed',
  maintenance: 'automation.robot.in_maintenance',
  clear: 'automation.robot.fault_cleared',
} as const satisfies Record<RobotOrder['command'], EventType>;

const DISPATCH = { pause: 'paused', resume: 'running', maintenance: 'maintenance' } as const;

interface StandingRow {
  readonly name: string;
  readonly dispatch: Standing['dispatch'];
  readonly held_fault_ids: string[];
}

/**
 * Carries out a person's command to a robot: its standing and the ledger's entry in one transaction. A command that
 * changes nothing leaves no entry; the same key again does nothing.
 * @param key names the command: one repeated after its answer was lost is the same
 * @returns how the robot stands afterwards
 * @throws DomainError ROBOT_UNAVAILABLE (it is held: no resume), STALE_ANSWER (that fault does not hold it), CONFLICT (a
 *   job still asks about the fault), NOT_FOUND, STEP_REPEATED_DIFFERENTLY
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
    const { rows } = await sql<StandingRow>`
      SELECT r.name, s.dispatch, s.held_fault_ids FROM robot r
      JOIN robot_state s ON s.tenant_id = r.tenant_id AND s.robot_id = r.id
      WHERE r.tenant_id = ${tenantId} AND r.id = ${robotId} AND r.retired_at IS NULL
      FOR NO KEY UPDATE`.execute(tx);
    const row = rows[0];
    if (!row) throw new DomainError('NOT_FOUND', `There is no robot ${robotId}.`);
    const before: Standing = { dispatch: row.dispatch, heldFaults: row.held_fault_ids };
    if (!(await isFirst(tx, tenantId, key, [robotId, order]))) return before;
    const after = await standingAfter(tx, row.name, before, order);
    if (after === before) return before;
    if (order.command === 'clear') await endRestoredHold(change, robotId, row.name, order);
    await sql`UPDATE robot_state SET dispatch = ${after.dispatch}, held_fault_ids = ${after.heldFaults}
      WHERE tenant_id = ${tenantId} AND robot_id = ${robotId}`.execute(tx);
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

/** The rules of the commands. @returns `before` itself when the command changes nothing */
async function standingAfter(
  tx: Transaction<DB>,
  name: string,
  before: Standing,
  order: RobotOrder,
): Promise<Standing> {
  const [faultId] = before.heldFaults;
  if (order.command !== 'clear') {
    if (order.command === 'resume' && faultId !== undefined) {
      const detail = `${name} is held by fault ${faultId}: resolve that first.`;
      throw new DomainError('ROBOT_UNAVAILABLE', detail, { facts: { faultId } });
    }
    const dispatch = DISPATCH[order.command];
    return dispatch === before.dispatch ? before : { ...before, dispatch };
  }
  if (!before.heldFaults.includes(order.faultId)) {
    throw new DomainError(
      'STALE_ANSWER',
      faultId === undefined
        ? `${name} is not held by any fault.`
        : `${name} is held by fault ${faultId}, not by ${order.faultId}.`,
      faultId === undefined ? {} : { facts: { faultId } },
    );
  }
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM job WHERE tenant_id = ${order.actor.tenantId} AND fault_id = ${order.faultId}
      AND finished_at IS NULL AND state = 'AWAITING_OPERATOR' LIMIT 1`.execute(tx);
  if (rows[0]) {
    throw new DomainError(
      'CONFLICT',
      `Job ${rows[0].id} still asks where its tube is: answer that first, then the robot goes free.`,
      { facts: { jobId: rows[0].id } },
    );
  }
  return { ...before, heldFaults: before.heldFaults.filter((held) => held !== order.faultId) };
}
