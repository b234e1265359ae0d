import { readInventory } from '../activities/inventory-reading.ts';
import type { Database } from '../db/connection.ts';
import { type EnrolledRobot, enrolledRobots, raiseNumber, takeEpoch } from '../db/gateway.ts';
import { liveMotion, markSent, robotAddress, settleMotion } from '../db/motion.ts';
import { reportContact } from '../db/robot-contact.ts';
import { openAsciiStore } from '../devices/ascii-store.ts';
import type { MotionJournal } from '../devices/motion-journal.ts';
import { type GatewayLog, type GatewayTiming, RobotGateway } from '../devices/robot-gateway.ts';
import type { RobotWire, WireCommand } from '../devices/robot-wire.ts';
import { keepsInventory, type StoreInventory } from '../devices/store-inventory.ts';
import { openStoreRobot } from '../devices/store-robot.ts';
import { openWorklistStore } from '../devices/worklist-store.ts';
import { levelOf } from '../domain/controller.ts';
import { DomainError } from '../domain/errors.ts';
import type { RobotLooks } from './observe.ts';

/** The addresses of a tube's places, for a look; none where there is none to look at. */
async function placesToLookAt(
  db: Database,
  { tenantId, driver }: EnrolledRobot,
  { sourceId, targetId }: { readonly sourceId: string | null; readonly targetId: string | null },
): Promise<Omit<WireCommand, 'number'>[]> {
  const at = async (positionId: string | null) =>
    positionId === null ? null : robotAddress(db, tenantId, positionId);
  const [source, target] = [await at(sourceId), await at(targetId)];
  if (levelOf(driver) === 'job')
    return source && target ? [{ operation: 'transfer', ...source, to: target }] : [];
  return [
    ...(source ? [{ operation: 'pick', ...source } as const] : []),
    ...(target ? [{ operation: 'place', ...target } as const] : []),
  ];
}

/** How often new, moved and retired robots are looked for. */
const LOOK_EVERY_MS = 1_500;

export interface FleetParts {
  readonly db: Database;
  /** name of this process in the database, for people */
  readonly instance: string;
  log(fields: Record<string, unknown>): GatewayLog;
  readonly wireTimeoutMs: number;
  readonly timing: Partial<GatewayTiming>;
  /** called when a robot begins to be served; the result is called when that ends */
  onServed(robotId: string, looks: RobotLooks): () => void;
}

interface Served {
  readonly robot: EnrolledRobot;
  readonly gateway: RobotGateway;
  readonly ended: Promise<void>;
}

/**
 * One gateway for each robot in service, of all tenants. A robot whose epoch another process took is not taken back:
 * two processes would take it from each other for ever.
 */
export class RobotFleet {
  readonly #parts: FleetParts;
  readonly #log: GatewayLog;
  readonly #served = new Map<string, Served>();
  readonly #lost = new Set<string>();
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#log = parts.log({});
  }

  /** Serves what is enrolled now, and from then on what is enrolled later. Returns how many robots there are. */
  async start(): Promise<number> {
    await this.#look();
    this.#schedule();
    return this.#served.size;
  }

  /** Tells one robot's gateway, or all of them, that the journal may hold something new. */
  ring(robotId?: string): void {
    if (robotId === undefined) for (const { gateway } of this.#served.values()) gateway.ring();
    else this.#served.get(robotId)?.gateway.ring();
  }

  /** Takes no further commands; waits for motions under way, but not longer than `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const served = [...this.#served.values()];
    for (const { gateway } of served) gateway.stop();
    const grace = setTimeout(() => {
      for (const { gateway } of served) gateway.abandon();
    }, graceMs);
    await Promise.all(served.map(({ ended }) => ended));
    clearTimeout(grace);
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      this.#look()
        .catch((error: unknown) => this.#log.warn({ err: error }, 'cannot look for robots'))
        .finally(() => {
          if (!this.#stopping) this.#schedule();
        });
    }, LOOK_EVERY_MS);
  }

  async #look(): Promise<void> {
    const enrolled = new Map((await enrolledRobots(this.#parts.db)).map((robot) => [robot.robotId, robot]));
    if (this.#stopping) return;
    for (const [robotId, { robot, gateway }] of this.#served) {
      const now = enrolled.get(robotId);
      const isSame =
        now?.driver === robot.driver &&
        now.host === robot.host &&
        now.port === robot.port &&
        now.unitId === robot.unitId;
      if (!isSame) gateway.stop(); // it is served again, at its new address, once this loop has ended
    }
    for (const robot of enrolled.values()) {
      if (!this.#served.has(robot.robotId) && !this.#lost.has(robot.robotId)) this.#serveIfKnown(robot);
    }
  }

  /** One robot that cannot be served is told, once, and does not keep the others from it. */
  #serveIfKnown(robot: EnrolledRobot): void {
    try {
      this.#serve(robot);
    } catch (error) {
      this.#lost.add(robot.robotId);
      this.#log.warn({ tenant: robot.tenantId, robot: robot.robotId, err: error }, 'cannot serve a robot');
    }
  }

  #serve(robot: EnrolledRobot): void {
    const { db, instance, timing, wireTimeoutMs } = this.#parts;
    const log = this.#parts.log({ tenant: robot.tenantId, robot: robot.robotId });
    const wire = openWire(robot, wireTimeoutMs, log);
    const gateway = new RobotGateway({ wire, journal: journalOf(db, robot, instance), log, timing });
    const onEnded = this.#parts.onServed(robot.robotId, {
      observe: () => gateway.observe(),
      inspect: async (tenantId, places) =>
        gateway.inspect(await placesToLookAt(db, { ...robot, tenantId }, places)),
      readInventory: async (tenantId, comparisonId) => {
        if (!keepsInventory(wire))
          throw new DomainError('CONFLICT', 'The store keeps no inventory of its own.');
        await readInventory(db, wire, tenantId, comparisonId);
      },
    });
    const ended = gateway
      .run()
      .then((end) => {
        if (end !== 'epoch_lost') return;
        this.#lost.add(robot.robotId);
        log.warn({}, 'another gateway owns this robot now; it is left to that one');
      })
      .catch((error: unknown) =>
        log.warn({ err: error }, 'the loop of this robot broke; it will be served again'),
      )
      .finally(() => {
        this.#served.delete(robot.robotId);
        onEnded();
      });
    this.#served.set(robot.robotId, { robot, gateway, ended });
  }
}

/** The wire to a robot, by what its controller speaks. */
function openWire(
  robot: EnrolledRobot,
  timeoutMs: number,
  log: GatewayLog,
): RobotWire | (RobotWire & StoreInventory) {
  const { driver, host, port, unitId } = robot;
  switch (driver) {
    case 'modbus':
      return openStoreRobot({ host, port, unitId, timeoutMs });
    case 'ascii':
      return openAsciiStore({ host, port, timeoutMs, log });
    case 'worklist':
      return openWorklistStore({ host, port, timeoutMs, handoff: robot.handoff });
    // A gateway may be older than the database.
    default:
      throw new Error(
        `robot ${robot.name} is enrolled with the driver ${String(driver)}, which this gateway does not know`,
      );
  }
}

/** The journal of one robot, in the database. */
export function journalOf(
  db: Database,
  robot: { readonly tenantId: string; readonly robotId: string },
  instance: string,
): MotionJournal {
  const { tenantId, robotId } = robot;
  return {
    takeEpoch: () => takeEpoch(db, tenantId, robotId, instance),
    async live() {
      const motion = await liveMotion(db, tenantId, robotId);
      if (!motion) return null;
      return { ...motion, state: motion.state === 'SENT' ? 'SENT' : 'ACCEPTED' };
    },
    markSent: (number, epoch, latchedBefore) =>
      markSent(db, { tenantId, robotId, number, epoch }, latchedBefore),
    settle: (number, epoch, state, reading) =>
      settleMotion(db, { tenantId, robotId, number, epoch }, state, reading),
    report: (epoch, view) => reportContact(db, { tenantId, robotId, epoch }, view),
    raiseNumber: (epoch, latchedNumber) => raiseNumber(db, { tenantId, robotId, epoch }, latchedNumber),
  };
}
