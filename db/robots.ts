import { sql, type Transaction } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { RobotDriver } from '../domain/controller.ts';
import { DomainError } from '../domain/errors.ts';
import type { Dispatch } from '../domain/turns.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import type { RobotFaultKind } from './robot-faults.ts';
import type { DB } from './schema.ts';
import { read, sqlStateOf } from './tenancy.ts';

/** A robot with what was last heard of it. */
export interface RobotRecord {
  readonly id: string;
  readonly name: string;
  readonly storeId: string;
  readonly handoffId: string;
  readonly driver: RobotDriver;
  /** from the controller; null before the first contact */
  readonly mode: 'auto' | 'manual' | 'estop' | null;
  /** robots of the same gate never have a turn at the same time; null: it shares none */
  readonly gate: string | null;
  /** a door is open, the store is in alarm, the robot is locked out: as last heard; null: its controller does not tell */
  readonly doorOpen: boolean | null;
  readonly unitAlarm: boolean | null;
  readonly lockedOut: boolean | null;
  readonly lockoutSeenAt: Date | null;
  /** when it was last seen to come back to automatic mode: its hardware reset */
  readonly resetSeenAt: Date | null;
  /** what holds it, oldest first */
  readonly faults: readonly {
    readonly id: string;
    readonly kind: RobotFaultKind;
    readonly detail: string;
    readonly jobId: string | null;
    /** RFC 3339 */
    readonly raisedAt: string;
  }[];
  readonly dispatch: Dispatch;
  readonly connected: boolean;
  readonly busy: boolean | null;
  readonly carrierOccupied: boolean | null;
  readonly errorCode: number | null;
  readonly lastContactAt: Date | null;
  readonly heldFaultId: string | null;
  readonly currentJobId: string | null;
  /** as the robot's workflow projected it */
  readonly queue: readonly {
    readonly jobId: string;
    readonly priority: number;
    readonly requestedAt: number;
  }[];
}

/** Robots in service, by name; or the one of this id. */
export async function listRobots(db: Database, tenantId: string, id?: string): Promise<RobotRecord[]> {
  const rows = await read(
    db,
    tenantId,
    sql<RobotRecord>`
      SELECT r.id, r.name, r.store_id AS "storeId", r.handoff_id AS "handoffId", r.driver, s.mode,
             coalesce(s.dispatch, 'running') AS dispatch, coalesce(s.connected, false) AS connected, s.busy,
             s.carrier_occupied AS "carrierOccupied", s.error_code AS "errorCode",
             r.gate, s.door_open AS "doorOpen", s.unit_alarm AS "unitAlarm", s.locked_out AS "lockedOut",
             s.lockout_seen_at AS "lockoutSeenAt", s.reset_seen_at AS "resetSeenAt",
             (SELECT coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'kind', f.kind, 'detail', f.detail,
                'jobId', f.job_id, 'raisedAt', f.raised_at) ORDER BY f.raised_at, f.id), '[]')
              FROM robot_fault f WHERE f.tenant_id = r.tenant_id AND f.robot_id = r.id AND f.cleared_at IS NULL) AS faults,
             s.last_contact_at AS "lastContactAt", s.held_fault_id AS "heldFaultId", t.job_id AS "currentJobId",
             coalesce(s.queue, '[]') AS queue
      FROM robot r
      LEFT JOIN robot_state s ON s.tenant_id = r.tenant_id AND s.robot_id = r.id
      LEFT JOIN robot_turn t ON t.tenant_id = r.tenant_id AND t.robot_id = r.id
      WHERE r.tenant_id = ${tenantId} AND r.retired_at IS NULL AND (${id ?? null}::uuid IS NULL OR r.id = ${id ?? null}::uuid)
      ORDER BY r.name`.compile(db.kysely),
  );
  return rows;
}

export interface NewRobot {
  readonly name: string;
  readonly storeId: string;
  readonly handoffId: string;
  readonly driver: RobotDriver;
  readonly host: string;
  readonly port: number;
  readonly unitId: number;
  /** left out: it shares none */
  readonly gate?: string | null;
}

/**
 * Enters a robot, with its turn and state at rest.
 * @param also what else belongs into the same transaction
 * @throws DomainError VALIDATION when the hand-off is none or has no address on the robot's wire, NAME_TAKEN
 */
export async function enrolRobot(
  db: Database,
  context: ChangeContext,
  robot: NewRobot,
  also: (tx: Transaction<DB>, entered: RobotRecord) => Promise<void> = () => Promise.resolve(),
): Promise<RobotRecord> {
  const tenantId = context.actor.tenantId;
  try {
    return await withChange(db, context, async ({ tx, record }) => {
      const handoff = await tx
        .selectFrom('location')
        .select(['name', 'is_handoff', 'robot_cassette', 'retired_at'])
        .where('tenant_id', '=', tenantId)
        .where('id', '=', robot.handoffId)
        .executeTakeFirst();
      if (!handoff?.is_handoff || handoff.robot_cassette === null || handoff.retired_at !== null) {
        const detail = 'should be a hand-off location in service, with a robot cassette and level';
        throw new DomainError('VALIDATION', `The body’s /handoff ${detail}.`, {
          errors: [{ pointer: '/handoff', detail }],
        });
      }
      const id = uuidv7();
      const gate = robot.gate ?? null;
      const row = { tenant_id: tenantId, robot_id: id };
      await tx
        .insertInto('robot')
        .values({
          tenant_id: tenantId,
          id,
          name: robot.name,
          store_id: robot.storeId,
          handoff_id: robot.handoffId,
          driver: robot.driver,
          host: robot.host,
          port: robot.port,
          unit_id: robot.unitId,
          gate,
        })
        .execute();
      await tx.insertInto('robot_turn').values(row).execute();
      await tx.insertInto('robot_state').values(row).execute();
      record({
        aggregate: 'robot',
        aggregateId: id,
        version: 1,
        type: 'automation.robot.registered',
        from: null,
        to: 'in_service',
        before: null,
        after: {
          name: robot.name,
          store_id: robot.storeId,
          handoff_id: robot.handoffId,
          driver: robot.driver,
          host: robot.host,
          port: robot.port,
          unit_id: robot.unitId,
          gate,
        },
        data: { robot_id: id, store_id: robot.storeId, handoff_id: robot.handoffId },
      });
      const entered: RobotRecord = {
        id,
        name: robot.name,
        storeId: robot.storeId,
        handoffId: robot.handoffId,
        driver: robot.driver,
        mode: null,
        gate,
        doorOpen: null,
        unitAlarm: null,
        lockedOut: null,
        lockoutSeenAt: null,
        resetSeenAt: null,
        faults: [],
        dispatch: 'running',
        connected: false,
        busy: null,
        carrierOccupied: null,
        errorCode: null,
        lastContactAt: null,
        heldFaultId: null,
        currentJobId: null,
        queue: [],
      };
      await also(tx, entered);
      return entered;
    });
  } catch (error) {
    if (sqlStateOf(error) === '23505') {
      throw new DomainError(
        'NAME_TAKEN',
        `There is a robot named ${robot.name} already; choose another name.`,
        {
          cause: error,
        },
      );
    }
    throw error;
  }
}

/** True when the station is in service and stands at this robot. */
export async function standsAtRobot(
  db: Database,
  tenantId: string,
  stationId: string,
  robotId: string,
): Promise<boolean> {
  const rows = await read(
    db,
    tenantId,
    db.kysely
      .selectFrom('station')
      .select('id')
      .where('tenant_id', '=', tenantId)
      .where('id', '=', stationId)
      .where('robot_id', '=', robotId)
      .where('retired_at', 'is', null)
      .compile(),
  );
  return rows.length > 0;
}
