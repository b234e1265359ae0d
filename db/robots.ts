import { sql, type Transaction } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { RobotDriver } from '../domain/controller.ts';
import { DomainError } from '../domain/errors.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
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
  readonly dispatch: 'running' | 'paused' | 'maintenance';
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
