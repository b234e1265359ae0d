import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { expect } from 'vitest';
import { readMotion } from '../../db/motion.ts';
import { type LabRobot, MotionLab } from './motion-lab.ts';
import { type CellDriver, eventually, RobotCell, type Spawned, start } from './robot-cell.ts';

/** Nobody listens there: motion does not need a Temporal server. */
const NO_TEMPORAL = '127.0.0.1:9';
/** Of the gateway that dies: every window stays open until it does. */
const WAITS_LONG = ['--wire-timeout-ms', '60000', '--motion-deadline-ms', '120000', '--look-every-ms', '200'];
/** On a busy machine a reply that comes late is lost, and the command honestly not taken: what must succeed is given time. */
export const PATIENT = [
  '--wire-timeout-ms',
  '3000',
  '--motion-deadline-ms',
  '30000',
  '--look-every-ms',
  '200',
];

/** Where a command of a dead gateway was, by the journal, the robot's own log and what met the trigger. */
export const WINDOWS = [
  'accepted, not SENT',
  'SENT, not triggered',
  'triggered, not taken',
  'moving',
  'moved, not settled',
] as const;
export type Window = (typeof WINDOWS)[number];

/** A robot, its simulator and the command that was under way. */
export interface Rig {
  readonly cell: RobotCell;
  readonly robot: LabRobot;
  commandId: string;
}

interface HeldRow {
  isWaitedFor(): Promise<unknown>;
  release(): Promise<void>;
}

/** Robots of one gateway, each of which stands in a window of its own when the gateway dies. */
export class GatewayDeaths {
  readonly lab: MotionLab;
  readonly driver: CellDriver;
  readonly #rigs: Rig[] = [];
  readonly #gateways: Spawned[] = [];
  readonly #locks: pg.Client[] = [];
  /** commands whose trigger a fault was armed for */
  readonly #aimedAt = new Set<string>();

  private constructor(lab: MotionLab, driver: CellDriver) {
    this.lab = lab;
    this.driver = driver;
  }

  static async open(driver: CellDriver): Promise<GatewayDeaths> {
    return new GatewayDeaths(await MotionLab.open(), driver);
  }

  async close(): Promise<void> {
    await Promise.all(this.#gateways.map((gateway) => gateway.kill()));
    await Promise.all(this.#locks.map((lock) => lock.end()));
    await Promise.all(this.#rigs.map(({ cell }) => cell.close()));
    await this.lab.close();
  }

  /** A store with one tube, TUBE-1 in slot 1. */
  async rig(): Promise<Rig> {
    const cell = await RobotCell.open(['--speed', '0.05', '--seed', '7'], this.driver);
    await cell.putTube(1, 1, 1, 'TUBE-1');
    const rig = { cell, robot: await this.lab.addRobot(cell.port, this.driver), commandId: '' };
    this.#rigs.push(rig);
    return rig;
  }

  /** A store whose robot has picked the tube: its controller shows a number that it keeps. */
  async warmRig(): Promise<Rig> {
    const rig = await this.rig();
    expect(await this.lab.perform(rig.robot, 'pick', 1)).toMatchObject({ state: 'DONE', number: 1 });
    return rig;
  }

  async startGateway(args = WAITS_LONG): Promise<Spawned> {
    const gateway = await start('workers/gateway.ts', args, this.lab.environment(NO_TEMPORAL));
    this.#gateways.push(gateway);
    return gateway;
  }

  // ── windows ───────────────────────────────────────────────────────────────────────────────────────────

  /** The gateway waits for the database to mark the command SENT. */
  async accepted(rig: Rig): Promise<void> {
    await this.#atTheDoorOfSent(rig);
  }

  /** SENT is committed, and the last look at the interlock gets no answer: the trigger has not left the gateway. */
  async sent(rig: Rig): Promise<void> {
    const { cell, robot } = rig;
    const held = await this.#atTheDoorOfSent(rig);
    await cell.fault({ kind: 'late_reply', to: 'any', ms: 600_000 });
    await held.release();
    await this.lab.inState(robot, rig.commandId, 'SENT');
    await eventually('the last look', async () => (await cell.faults()).length === 0);
  }

  async #atTheDoorOfSent(rig: Rig): Promise<HeldRow> {
    const { tenantId, robotId, jobId } = rig.robot;
    const held = await this.#hold('SELECT 1 FROM robot_turn WHERE robot_id = $1 FOR UPDATE', robotId);
    // Accepting needs the same row, so the command is planted as accepting would have.
    rig.commandId = randomUUID();
    await this.lab.sql(
      `INSERT INTO motion (tenant_id, robot_id, number, command_id, params_hash, job_id, fence, operation, cassette, level, slot)
       VALUES ($1, $2, 2, $3, 'x', $4, 1, 'place', 1, 1, 4)`,
      [tenantId, robotId, rig.commandId, jobId],
    );
    await held.isWaitedFor();
    return held;
  }

  /** The trigger has left the gateway and meets this fault. */
  async triggered(rig: Rig, operation: 'pick' | 'place', fault: Record<string, unknown>): Promise<void> {
    await rig.cell.fault(fault);
    rig.commandId = (await this.lab.accept(rig.robot, operation, operation === 'pick' ? 1 : 2)).commandId;
    this.#aimedAt.add(rig.commandId);
    await this.lab.inState(rig.robot, rig.commandId, 'SENT');
    await eventually('the trigger on its way', async () => (await rig.cell.faults()).length === 0);
  }

  /** The robot moves, and does not come to its end. */
  async moving(rig: Rig): Promise<void> {
    await rig.cell.fault({ kind: 'freeze', when: 'before' });
    rig.commandId = (await this.lab.accept(rig.robot, 'pick', 1)).commandId;
    await eventually('the motion', async () => (await rig.cell.world()).motion?.number === 1);
    await this.lab.inState(rig.robot, rig.commandId, 'SENT');
  }

  /** The robot has moved, and the gateway waits for the database to write so. */
  async moved(rig: Rig): Promise<void> {
    await this.moving(rig);
    const held = await this.#hold('SELECT 1 FROM motion WHERE command_id = $1 FOR UPDATE', rig.commandId);
    await rig.cell.clearFaults();
    await held.isWaitedFor();
    expect(await rig.cell.log()).toMatchObject([{ number: 1, result: 'done' }]);
  }

  /** Kills the gateway. @returns how many commands it left in each window */
  async kill(gateway: Spawned): Promise<ReadonlyMap<Window, number>> {
    await gateway.kill();
    const hits = new Map<Window, number>(WINDOWS.map((window) => [window, 0]));
    for (const rig of this.#rigs) {
      const window = await this.#windowOf(rig);
      hits.set(window, (hits.get(window) ?? 0) + 1);
    }
    // A dead gateway's transaction may get its row yet; the database takes it back once it notices that nobody is there.
    await Promise.all(this.#locks.splice(0).map((lock) => lock.end()));
    return hits;
  }

  async #windowOf({ robot, cell, commandId }: Rig): Promise<Window> {
    const motion = await readMotion(this.lab.db, robot.tenantId, commandId);
    if (motion === null || motion.reading !== null)
      throw new Error(`command ${commandId} is not under way any more: ${JSON.stringify(motion)}`);
    if (motion.state === 'ACCEPTED') return 'accepted, not SENT';
    if ((await cell.log()).some(({ number }) => number === motion.number)) return 'moved, not settled';
    if ((await cell.world()).motion?.number === motion.number) return 'moving';
    return this.#aimedAt.has(commandId) ? 'triggered, not taken' : 'SENT, not triggered';
  }

  /** Holds the row that the gateway needs next, as a slow database would. */
  async #hold(statement: string, id: string): Promise<HeldRow> {
    const client = new pg.Client({ connectionString: this.lab.database.adminUrl });
    await client.connect();
    await client.query('BEGIN');
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await client.query(statement, [id]);
    this.#locks.push(client);
    const waiting = 'SELECT 1 FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))';
    return {
      isWaitedFor: () =>
        eventually(
          'the gateway waiting for the row',
          async () => (await this.lab.sql(waiting, [rows[0]?.pid])).length > 0,
          60_000,
        ),
      release: async () => {
        await client.query('ROLLBACK');
      },
    };
  }

  /** At most one motion a number, by the simulators' own logs. */
  async expectAtMostOnce(): Promise<void> {
    for (const { cell } of this.#rigs) {
      const numbers = (await cell.log()).map(({ number }) => number);
      expect(new Set(numbers).size).toBe(numbers.length);
    }
  }
}
