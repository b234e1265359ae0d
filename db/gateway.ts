import { sql } from 'kysely';
import type { RobotDriver } from '../domain/controller.ts';
import type { Database } from './connection.ts';
import { inTenant, read } from './tenancy.ts';

/** A robot as the gateway needs it. */
export interface EnrolledRobot {
  readonly tenantId: string;
  readonly robotId: string;
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly unitId: number;
  /** what its controller speaks */
  readonly driver: RobotDriver;
  /** address of its hand-off on its wire */
  readonly handoff: { readonly cassette: number; readonly level: number };
  /** of the robot's record: a change of address makes a new connection */
  readonly version: number;
}

/** Every robot in service, tenant by tenant: what a gateway process has to serve. */
export async function enrolledRobots(db: Database): Promise<EnrolledRobot[]> {
  const tenants = await db.kysely.selectFrom('tenant').select('id').orderBy('id').execute();
  const robots: EnrolledRobot[] = [];
  for (const { id } of tenants) {
    const query = sql<Omit<EnrolledRobot, 'tenantId'>>`
      SELECT r.id AS "robotId", r.name, r.host, r.port, r.unit_id AS "unitId", r.driver, r.version,
             jsonb_build_object('cassette', l.robot_cassette, 'level', l.robot_level) AS handoff
      FROM robot r JOIN location l ON l.tenant_id = r.tenant_id AND l.id = r.handoff_id
      WHERE r.tenant_id = ${id} AND r.retired_at IS NULL`.compile(db.kysely);
    for (const row of await read(db, id, query)) robots.push({ tenantId: id, ...row });
  }
  return robots;
}

/**
 * Makes this gateway the owner of a robot's controller: from now on a gateway with a lower epoch is refused everything.
 * @param gateway a name of this process, for people
 * @returns the epoch
 */
export function takeEpoch(db: Database, tenantId: string, robotId: string, gateway: string): Promise<number> {
  return inTenant(db, tenantId, async (tx) => {
    const row = await tx
      .insertInto('robot_turn')
      .values({ tenant_id: tenantId, robot_id: robotId, epoch: 1, gateway })
      .onConflict((conflict) =>
        conflict
          .columns(['tenant_id', 'robot_id'])
          .doUpdateSet({ epoch: sql`robot_turn.epoch + 1`, gateway }),
      )
      .returning('epoch')
      .executeTakeFirstOrThrow();
    return Number(row.epoch);
  });
}

/**
 * Lets the next command's number lie above the one the controller shows, which it would refuse otherwise: a controller
 * that served another database before. Lower numbers change nothing.
 */
export async function raiseNumber(
  db: Database,
  owner: { readonly tenantId: string; readonly robotId: string; readonly epoch: number },
  latchedNumber: number,
): Promise<void> {
  await inTenant(db, owner.tenantId, (tx) =>
    tx
      .updateTable('robot_turn')
      .set({ last_number: latchedNumber })
      .where('tenant_id', '=', owner.tenantId)
      .where('robot_id', '=', owner.robotId)
      .where('epoch', '=', owner.epoch)
      .where('last_number', '<', latchedNumber)
      .execute(),
  );
}
