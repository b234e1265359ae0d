import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { type Database, openDatabase } from '../../db/connection.ts';
import { acceptMotion, type Motion, readMotion } from '../../db/motion.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { RobotDriver } from '../../domain/controller.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { eventually } from './robot-cell.ts';

export interface LabRobot {
  readonly tenantId: string;
  readonly robotId: string;
  readonly jobId: string;
  /** positions by slot, 1…8, of cassette 1, level 1; all reserved by the job */
  readonly positions: readonly string[];
  /** positions by slot of a hand-off of its own, cassette 9, level 1 */
  readonly handoffs: readonly string[];
}

/** A database with what the journal of motion needs, planted below the triggers that guard ledgered tables. */
export class MotionLab {
  readonly database: TestDatabase;
  readonly db: Database;
  readonly #admin: pg.Client;

  private constructor(database: TestDatabase, admin: pg.Client) {
    this.database = database;
    this.#admin = admin;
    this.db = openDatabase(database.appUrl);
  }

  static async open(): Promise<MotionLab> {
    const database = await createTestDatabase();
    const admin = new pg.Client({ connectionString: database.adminUrl });
    await admin.connect();
    await admin.query(`SET session_replication_role = replica`);
    return new MotionLab(database, admin);
  }

  async close(): Promise<void> {
    await this.db.close();
    await this.#admin.end();
    await this.database.drop();
  }

  /** As superuser and below the triggers: for planting and for looking. */
  async sql<R extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<R[]> {
    return (await this.#admin.query<R>(text, values)).rows;
  }

  /**
   * A tenant with a robot at this port, and a job that has its turn under fence 1. The hand-off is the box itself; of a
   * store that takes worklists it is one of its own, cassette 9, level 1.
   */
  async addRobot(port: number, driver: RobotDriver = 'modbus'): Promise<LabRobot> {
    const [tenantId, robotId, jobId, boxId] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    const handoffId = driver === 'worklist' ? randomUUID() : boxId;
    await this.sql('INSERT INTO tenant (id, name) VALUES ($1, $2)', [tenantId, tenantId]);
    await this.sql(
      `INSERT INTO location (tenant_id, id, type, name, robot_cassette, robot_level, grid_rows, grid_columns)
       VALUES ($1, $2, 'box', 'Box', 1, 1, 2, 4)`,
      [tenantId, boxId],
    );
    await this.sql(
      `INSERT INTO robot (tenant_id, id, name, store_id, handoff_id, host, port, driver)
       VALUES ($1, $2, 'R', $3, $4, '127.0.0.1', $5, $6)`,
      [tenantId, robotId, boxId, handoffId, port, driver],
    );
    await this.sql('INSERT INTO robot_state (tenant_id, robot_id) VALUES ($1, $2)', [tenantId, robotId]);
    await this.sql('INSERT INTO ledger.log (tenant_id, origin) VALUES ($1, $2)', [tenantId, tenantId]);
    await this.addJob(tenantId, robotId, jobId);
    await this.sql(`INSERT INTO robot_turn (tenant_id, robot_id, fence, job_id) VALUES ($1, $2, 1, $3)`, [
      tenantId,
      robotId,
      jobId,
    ]);
    if (handoffId !== boxId) {
      await this.sql(
        `INSERT INTO location (tenant_id, id, type, name, is_handoff, robot_cassette, robot_level, grid_rows, grid_columns)
         VALUES ($1, $2, 'handoff', 'Hand-off', true, 9, 1, 1, 4)`,
        [tenantId, handoffId],
      );
    }
    const slots = async (containerId: string, count: number) => {
      const rows = await this.sql<{ id: string }>(
        `INSERT INTO position (tenant_id, container_id, grid_row, grid_column, ordinal, state, job_id, lease_expires_at)
       SELECT $1, $2, (n - 1) / 4, (n - 1) % 4, n, 'reserved', $3, now() + interval '1 hour'
       FROM generate_series(1, $4) n RETURNING id`,
        [tenantId, containerId, jobId, count],
      );
      return rows.map(({ id }) => id);
    };
    const positions = await slots(boxId, 8);
    const handoffs = handoffId === boxId ? [] : await slots(handoffId, 4);
    return { tenantId, robotId, jobId, positions, handoffs };
  }

  async addJob(tenantId: string, robotId: string, jobId: string = randomUUID()): Promise<string> {
    await this.sql(
      `INSERT INTO job (tenant_id, id, kind, mode, workflow_id, sample_id, robot_id, actor_id, actor_role, input)
       VALUES ($1, $2::uuid, 'move', 'robot', $2::uuid::text, $2::uuid, $3, $2::uuid, 'lab_technician', '{}')`,
      [tenantId, jobId, robotId],
    );
    return jobId;
  }

  /** Accepts a motion for the robot's job under fence 1. */
  accept(
    robot: LabRobot,
    operation: 'pick' | 'place' | 'scan',
    slot: number,
    commandId: string = randomUUID(),
  ): Promise<Motion> {
    const positionId = robot.positions[slot - 1];
    if (!positionId) throw new Error(`the test box has no slot ${slot}`);
    const { tenantId, robotId, jobId } = robot;
    return inTenant(this.db, tenantId, (tx) =>
      acceptMotion(tx, { tenantId, robotId, jobId, fence: 1, commandId, operation, positionId }),
    );
  }

  /** Accepts a transfer between two positions for the robot's job under fence 1. */
  acceptTransfer(
    { tenantId, robotId, jobId }: LabRobot,
    positionId: string | undefined,
    toPositionId: string | undefined,
    commandId: string = randomUUID(),
  ): Promise<Motion> {
    if (!positionId || !toPositionId) throw new Error('the test store has no such slot');
    const order = { operation: 'transfer', positionId, toPositionId } as const;
    return inTenant(this.db, tenantId, (tx) =>
      acceptMotion(tx, { tenantId, robotId, jobId, fence: 1, commandId, ...order }),
    );
  }

  /** The journal's line once it has a result. */
  settled(robot: LabRobot, commandId: string, withinMs?: number): Promise<Motion> {
    return eventually(
      `a result of ${commandId}`,
      async () => {
        const motion = await readMotion(this.db, robot.tenantId, commandId);
        return motion?.reading ? motion : null;
      },
      withinMs,
    );
  }

  /** Accepts and waits for the result. */
  async perform(robot: LabRobot, operation: 'pick' | 'place' | 'scan', slot: number): Promise<Motion> {
    const { commandId } = await this.accept(robot, operation, slot);
    return this.settled(robot, commandId);
  }

  /** Waits until the journal says this of a command. */
  async inState(robot: LabRobot, commandId: string, state: Motion['state']): Promise<Motion> {
    return eventually(`${commandId} being ${state}`, async () => {
      const motion = await readMotion(this.db, robot.tenantId, commandId);
      return motion?.state === state ? motion : null;
    });
  }

  /** The environment of a spawned gateway. */
  environment(temporalAddress: string): Record<string, string> {
    return {
      STORAGE_DATABASE_URL: this.database.appUrl,
      TEMPORAL_ADDRESS: temporalAddress,
      LOG_LEVEL: 'info',
    };
  }
}
