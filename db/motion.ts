import { createHash } from 'node:crypto';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { MotionReading, RobotOperation, SendRight } from '../domain/controller.ts';
import { DomainError } from '../domain/errors.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { inTenant, read } from './tenancy.ts';

/** Channels on which the database tells of motions at commit: payload is a robot's id, and a command's id. */
export const MOTION_ACCEPTED_CHANNEL = 'motion_accepted';
export const MOTION_SETTLED_CHANNEL = 'motion_settled';

export type MotionState = 'ACCEPTED' | 'SENT' | 'DONE' | 'FAILED' | 'UNKNOWN';

/** One line of the journal of motion. */
export interface Motion {
  readonly robotId: string;
  readonly jobId: string;
  /** goes over the wire; rises with every accepted command */
  readonly number: number;
  readonly commandId: string;
  readonly operation: RobotOperation;
  readonly cassette: number;
  readonly level: number;
  readonly slot: number;
  /** of a transfer: where to */
  readonly to?: { readonly cassette: number; readonly level: number; readonly slot: number };
  readonly fence: number;
  readonly state: MotionState;
  readonly latchedBefore: number | null;
  /** ms since SENT was committed, by the database's clock; null when it was not sent */
  readonly sentAgoMs: number | null;
  /** null until settled */
  readonly reading: MotionReading | null;
}

/** A motion as a saga orders it. */
export interface MotionRequest {
  readonly tenantId: string;
  readonly jobId: string;
  readonly robotId: string;
  readonly fence: number;
  /** `workflowId/step/attempt` */
  readonly commandId: string;
  readonly operation: RobotOperation;
  /** where to pick or place, or to transfer from; for a scan the position last picked from */
  readonly positionId: string;
  /** for a transfer: where to */
  readonly toPositionId?: string;
}

const COLUMNS = [
  'robot_id',
  'job_id',
  'number',
  'command_id',
  'operation',
  'cassette',
  'level',
  'slot',
  'to_cassette',
  'to_level',
  'to_slot',
  'fence',
  'state',
  'latched_before',
  'outcome',
] as const;

function selectMotion(db: Kysely<DB>) {
  return db
    .selectFrom('motion')
    .select(COLUMNS)
    .select(
      sql<number | null>`(extract(epoch FROM clock_timestamp() - sent_at) * 1000)::float8`.as('sent_ago_ms'),
    );
}

type MotionRow = Awaited<ReturnType<ReturnType<typeof selectMotion>['execute']>>[number];

function operationOf(value: string): RobotOperation {
  if (value === 'pick' || value === 'place' || value === 'scan' || value === 'transfer') return value;
  throw new DomainError('INTERNAL', `the journal names the operation ${value}, which no robot knows`);
}

function stateOf(value: string): MotionState {
  if (
    value === 'ACCEPTED' ||
    value === 'SENT' ||
    value === 'DONE' ||
    value === 'FAILED' ||
    value === 'UNKNOWN'
  )
    return value;
  throw new DomainError('INTERNAL', `the journal names the state ${value}, which no motion has`);
}

function readingOf(outcome: unknown): MotionReading | null {
  if (outcome === null || typeof outcome !== 'object') return null;
  const value = new Map<string, unknown>(Object.entries(outcome));
  const flag = (name: string): boolean | null => {
    const found = value.get(name);
    return typeof found === 'boolean' ? found : null;
  };
  const errorCode = value.get('errorCode');
  const barcode = value.get('barcode');
  const stop = value.get('stop');
  return {
    errorCode: typeof errorCode === 'number' ? errorCode : null,
    carrier: flag('carrier'),
    source: flag('source'),
    target: flag('target'),
    barcode: typeof barcode === 'string' ? barcode : null,
    stop: typeof stop === 'string' ? stop : null,
    detail: String(value.get('detail') ?? ''),
  };
}

function motionOf(row: MotionRow): Motion {
  return {
    robotId: row.robot_id,
    jobId: row.job_id,
    number: Number(row.number),
    commandId: row.command_id,
    operation: operationOf(row.operation),
    cassette: row.cassette,
    level: row.level,
    slot: row.slot,
    ...(row.to_cassette !== null &&
      row.to_level !== null &&
      row.to_slot !== null && {
        to: { cassette: row.to_cassette, level: row.to_level, slot: row.to_slot },
      }),
    fence: Number(row.fence),
    state: stateOf(row.state),
    latchedBefore: row.latched_before === null ? null : Number(row.latched_before),
    sentAgoMs: row.sent_ago_ms === null ? null : Number(row.sent_ago_ms),
    reading: readingOf(row.outcome),
  };
}

function paramsHash(request: MotionRequest): Buffer {
  const { tenantId, jobId, robotId, fence, operation, positionId, toPositionId = [] } = request;
  return createHash('sha256')
    .update(JSON.stringify([tenantId, jobId, robotId, fence, operation, positionId].concat(toPositionId)))
    .digest();
}

/**
 * Accepts a motion into the journal, under the next number of its robot, and takes the expiry off every position the
 * job has reserved: from now on the clock gives nothing away (invariants 5 and 6). The gateway hears of it at commit.
 *
 * The same command again, whatever happened since, returns its line of the journal and changes nothing.
 * @param tx a transaction of the caller, with the tenant set
 * @throws DomainError STEP_REPEATED_DIFFERENTLY (the command id stands for another order), TURN_LOST (the robot's turn
 *   is not the job's under this fence), LEASE_LOST (the target went to somebody else), OUT_OF_REACH (the position has no
 *   address), ROBOT_UNAVAILABLE (another motion is under way, or the numbers are used up)
 */
export async function acceptMotion(tx: Transaction<DB>, request: MotionRequest): Promise<Motion> {
  const { tenantId, robotId, jobId } = request;
  const turn = await tx
    .selectFrom('robot_turn')
    .select(['fence', 'job_id', 'last_number'])
    .where('tenant_id', '=', tenantId)
    .where('robot_id', '=', robotId)
    .forUpdate()
    .executeTakeFirst();

  const hash = paramsHash(request);
  const known = await selectMotion(tx)
    .select('params_hash')
    .where('tenant_id', '=', tenantId)
    .where('command_id', '=', request.commandId)
    .executeTakeFirst();
  if (known) {
    if (known.params_hash.equals(hash)) return motionOf(known);
    throw new DomainError(
      'STEP_REPEATED_DIFFERENTLY',
      `command ${request.commandId} was accepted as number ${known.number} with another order`,
    );
  }

  if (turn?.job_id !== jobId || Number(turn.fence) !== request.fence) {
    throw new DomainError(
      'TURN_LOST',
      `the turn of robot ${robotId} is not job ${jobId}'s under fence ${request.fence}`,
    );
  }
  const live = await tx
    .selectFrom('motion')
    .select('number')
    .where('tenant_id', '=', tenantId)
    .where('robot_id', '=', robotId)
    .where('state', 'in', ['ACCEPTED', 'SENT'])
    .executeTakeFirst();
  if (live) {
    throw new DomainError(
      'ROBOT_UNAVAILABLE',
      `robot ${robotId} has command ${live.number} under way: await it first`,
    );
  }
  const number = Number(turn.last_number) + 1;
  if (number > 4_294_967_295) {
    throw new DomainError('ROBOT_UNAVAILABLE', `robot ${robotId} has used all of its 32-bit command numbers`);
  }
  const address = await addressOf(tx, request, request.positionId);
  const to =
    request.toPositionId === undefined ? undefined : await addressOf(tx, request, request.toPositionId);

  await tx
    .updateTable('robot_turn')
    .set({ last_number: number })
    .where('tenant_id', '=', tenantId)
    .where('robot_id', '=', robotId)
    .execute();
  await tx
    .insertInto('motion')
    .values({
      tenant_id: tenantId,
      robot_id: robotId,
      number,
      command_id: request.commandId,
      params_hash: hash,
      job_id: jobId,
      fence: request.fence,
      operation: request.operation,
      position_id: request.positionId,
      ...address,
      ...(to && {
        to_position_id: request.toPositionId,
        to_cassette: to.cassette,
        to_level: to.level,
        to_slot: to.slot,
      }),
    })
    .execute();
  await tx
    .updateTable('position')
    .set({ lease_expires_at: null })
    .where('tenant_id', '=', tenantId)
    .where('job_id', '=', jobId)
    .where('lease_expires_at', 'is not', null)
    .execute();
  return {
    robotId,
    jobId,
    number,
    commandId: request.commandId,
    operation: request.operation,
    ...address,
    ...(to && { to }),
    fence: request.fence,
    state: 'ACCEPTED',
    latchedBefore: null,
    sentAgoMs: null,
    reading: null,
  };
}

async function addressOf(tx: Transaction<DB>, request: MotionRequest, positionId: string) {
  const place = await tx
    .selectFrom('position as p')
    .innerJoin('location as l', (join) =>
      join.onRef('l.tenant_id', '=', 'p.tenant_id').onRef('l.id', '=', 'p.container_id'),
    )
    .select(['p.ordinal', 'p.job_id', 'l.robot_cassette', 'l.robot_level', 'l.name'])
    .where('p.tenant_id', '=', request.tenantId)
    .where('p.id', '=', positionId)
    .forNoKeyUpdate('p')
    .executeTakeFirst();
  if (!place) throw new DomainError('NOT_FOUND', `there is no position ${positionId}`);
  if (place.robot_cassette === null || place.robot_level === null) {
    throw new DomainError('OUT_OF_REACH', `${place.name} has no cassette and level, so no robot reaches it`);
  }
  const isEntered = request.operation === 'place' || positionId === request.toPositionId;
  if (isEntered && place.job_id !== request.jobId) {
    throw new DomainError(
      'LEASE_LOST',
      `position ${positionId} is no longer reserved by job ${request.jobId}`,
    );
  }
  return { cassette: place.robot_cassette, level: place.robot_level, slot: place.ordinal };
}

/**
 * Where a robot finds a position.
 * @throws DomainError NOT_FOUND, OUT_OF_REACH
 */
export async function robotAddress(
  db: Database,
  tenantId: string,
  positionId: string,
): Promise<{ readonly cassette: number; readonly level: number; readonly slot: number }> {
  const [place] = await read(
    db,
    tenantId,
    sql<{ slot: number; cassette: number | null; level: number | null; name: string }>`
      SELECT p.ordinal AS slot, l.robot_cassette AS cassette, l.robot_level AS level, l.name FROM position p
      JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
      WHERE p.tenant_id = ${tenantId} AND p.id = ${positionId}`.compile(db.kysely),
  );
  if (!place) throw new DomainError('NOT_FOUND', `there is no position ${positionId}`);
  const { cassette, level, slot, name } = place;
  if (cassette === null || level === null) {
    throw new DomainError('OUT_OF_REACH', `${name} has no cassette and level, so no robot reaches it`);
  }
  return { cassette, level, slot };
}

/** The journal's line of a command; null when it was never accepted. */
export async function readMotion(db: Database, tenantId: string, commandId: string): Promise<Motion | null> {
  const query = selectMotion(db.kysely).where('tenant_id', '=', tenantId).where('command_id', '=', commandId);
  const [row] = await read(db, tenantId, query.compile());
  return row ? motionOf(row) : null;
}

/**
 * The one command of a robot that is accepted or sent and has no result; null when there is none. `isHeldBack`: it was not
 * sent, and a person lets the robot begin no motion now.
 */
export async function liveMotion(
  db: Database,
  tenantId: string,
  robotId: string,
): Promise<(Motion & { readonly isHeldBack: boolean }) | null> {
  const query = selectMotion(db.kysely)
    .select(
      sql<boolean>`state = 'ACCEPTED' AND EXISTS (
        SELECT FROM robot_state s WHERE s.tenant_id = motion.tenant_id AND s.robot_id = motion.robot_id
          AND s.dispatch = 'paused_now')`.as('is_held_back'),
    )
    .where('tenant_id', '=', tenantId)
    .where('robot_id', '=', robotId)
    .where('state', 'in', ['ACCEPTED', 'SENT']);
  const [row] = await read(db, tenantId, query.compile());
  return row ? { ...motionOf(row), isHeldBack: row.is_held_back } : null;
}

/**
 * Commits SENT, which must be done before the trigger. Epoch and fence are checked in the same statement, under a lock
 * on the turn: a gateway that takes the epoch meanwhile either sees this SENT, or this call finds its epoch lost.
 * @param latchedBefore the number the controller shows now
 */
export function markSent(
  db: Database,
  key: {
    readonly tenantId: string;
    readonly robotId: string;
    readonly number: number;
    readonly epoch: number;
  },
  latchedBefore: number,
): Promise<SendRight> {
  return inTenant(db, key.tenantId, async (tx) => {
    // A person's "pause now" that is being written is either seen, or comes after this motion has begun.
    const { rows } = await sql<{ owned: boolean; granted: boolean; paused: boolean; sent: boolean }>`
      WITH turn AS (
        SELECT epoch, fence, job_id FROM robot_turn
        WHERE tenant_id = ${key.tenantId} AND robot_id = ${key.robotId} FOR SHARE
      ), standing AS (
        SELECT dispatch FROM robot_state
        WHERE tenant_id = ${key.tenantId} AND robot_id = ${key.robotId} FOR SHARE
      ), sent AS (
        UPDATE motion m SET state = 'SENT', epoch = turn.epoch, sent_at = clock_timestamp(),
                            latched_before = ${latchedBefore}
        FROM turn
        WHERE m.tenant_id = ${key.tenantId} AND m.robot_id = ${key.robotId} AND m.number = ${key.number}
          AND m.state = 'ACCEPTED' AND turn.epoch = ${key.epoch}
          AND turn.fence = m.fence AND turn.job_id = m.job_id
          AND NOT EXISTS (SELECT FROM standing WHERE dispatch = 'paused_now')
        RETURNING 1
      )
      SELECT coalesce((SELECT epoch = ${key.epoch} FROM turn), false) AS owned,
             coalesce((SELECT turn.fence = m.fence AND turn.job_id = m.job_id FROM turn, motion m
                       WHERE m.tenant_id = ${key.tenantId} AND m.robot_id = ${key.robotId}
                         AND m.number = ${key.number}), false) AS granted,
             EXISTS (SELECT FROM standing WHERE dispatch = 'paused_now') AS paused,
             EXISTS (SELECT FROM sent) AS sent`.execute(tx);
    const right = rows[0];
    if (right?.sent) return 'sent';
    if (!right?.owned) return 'epoch_lost';
    if (!right.granted) return 'turn_lost';
    return right.paused ? 'paused' : 'not_accepted';
  });
}

/**
 * Writes how a motion ended. Only the gateway with the epoch may; a motion that was never sent can only have FAILED.
 * @returns `settled` also when it was settled before (the first report stands); `epoch_lost` when another gateway owns
 *   the controller
 */
export function settleMotion(
  db: Database,
  key: {
    readonly tenantId: string;
    readonly robotId: string;
    readonly number: number;
    readonly epoch: number;
  },
  state: 'DONE' | 'FAILED' | 'UNKNOWN',
  reading: MotionReading,
): Promise<'settled' | 'epoch_lost'> {
  return inTenant(db, key.tenantId, async (tx) => {
    const { rows } = await sql<{ owned: boolean }>`
      WITH turn AS (
        SELECT epoch FROM robot_turn
        WHERE tenant_id = ${key.tenantId} AND robot_id = ${key.robotId} FOR SHARE
      ), settled AS (
        UPDATE motion m SET state = ${state}, outcome = ${JSON.stringify(reading)}::jsonb, settled_at = clock_timestamp()
        FROM turn
        WHERE m.tenant_id = ${key.tenantId} AND m.robot_id = ${key.robotId} AND m.number = ${key.number}
          AND m.settled_at IS NULL AND turn.epoch = ${key.epoch}
      )
      SELECT coalesce((SELECT epoch = ${key.epoch} FROM turn), false) AS owned`.execute(tx);
    return rows[0]?.owned ? 'settled' : 'epoch_lost';
  });
}
