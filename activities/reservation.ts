import { sql, type Transaction } from 'kysely';
import type { Change } from '../db/change.ts';
import { recordRegistered, registerSample, type SampleRecord, takeSample } from '../db/custody.ts';
import { reserveHandoff, robotForTarget } from '../db/handoff.ts';
import type { JobRecord } from '../db/jobs.ts';
import { type HeldPosition, reserveTarget } from '../db/placement.ts';
import { holdWithoutExpiry, lockPlaces } from '../db/places.ts';
import type { DB } from '../db/schema.ts';
import type { StepEnd } from '../db/steps.ts';
import { levelOf, type RobotDriver, type RobotLevel } from '../domain/controller.ts';
import type { CustodyKind } from '../domain/custody.ts';
import { DomainError, type Refusal } from '../domain/errors.ts';
import type { ExposurePrediction } from '../domain/exposure.ts';
import type { PlacementExplanation, SampleNeed } from '../domain/placement.ts';
import { requireAction } from '../domain/sample-state.ts';
import { WAITS, type Waits } from '../domain/waits.ts';
import type { PlaceRef, Reservation } from '../workflows/messages/job.ts';
import { release } from './closing.ts';
import type { Mark, StepRef, StorageActivities } from './contract.ts';
import { predictPlacement, requireWithinBudget } from './exposure.ts';
import { placeRef, type Reserved } from './order.ts';
import { markOf, runRefusableStep, runStep } from './step.ts';
import type { StorageDependencies } from './storage.ts';

type ReservationActivities = Pick<
  StorageActivities,
  'reservePlacement' | 'reserveRetrieval' | 'reserveMove' | 'releaseReservations'
>;

/** First steps of the processes, and their undo. */
export function createReservationActivities(deps: StorageDependencies): ReservationActivities {
  const { db } = deps;
  const leaseMs = deps.leaseMs ?? deps.waits?.leaseMs ?? WAITS.leaseMs;

  function reserving(
    ref: StepRef,
    next: Mark,
    activity: string,
    body: (change: Change, job: JobRecord) => Promise<Held>,
  ): Promise<Reservation> {
    return runRefusableStep<Reservation>(
      db,
      ref,
      { params: [activity, next] },
      async (change, job) => {
        const held = await body(change, job);
        const awaitsPerson = next.state === 'AWAITING_PERSON';
        if (!awaitsPerson) await holdWithoutExpiry(change.tx, ref.actor.tenantId, job.id);
        const reserved: Reserved = {
          ...held.reserved,
          leaseExpiresAt: awaitsPerson ? held.reserved.leaseExpiresAt : null,
        };
        const robotLevel = await levelOfRobot(change.tx, ref.actor.tenantId, reserved.robotId);
        return accepted({ ...held, reserved }, robotLevel, next, deps.waits);
      },
      refusedReservation,
    );
  }

  return {
    reservePlacement: (ref, next) =>
      reserving(ref, next, 'reservePlacement', (change, job) => reserveForPlacement(change, job, leaseMs)),
    reserveRetrieval: (ref, next) =>
      reserving(ref, next, 'reserveRetrieval', (change, job) => reserveForRetrieval(change, job, leaseMs)),
    reserveMove: (ref, next) =>
      reserving(ref, next, 'reserveMove', (change, job) => reserveForMove(change, job, leaseMs)),

    releaseReservations: (ref) =>
      runStep(db, ref, { params: ['releaseReservations'], evenWhenOver: true }, async (change, job) => {
        const released = await release(change, job);
        return { result: { released }, mark: {}, outcome: 'undone', detail: { released } };
      }),
  };
}

/** What a first step got hold of, and why. */
interface Held {
  readonly reserved: Reserved;
  readonly explanation: PlacementExplanation | null;
  /** what the move is expected to cost; null = it takes the tube out of no cold */
  readonly exposure: ExposurePrediction | null;
  /** how long the tube may wait in the hand-off, in ms; null = it comes to none */
  readonly pickupMs: number | null;
}

/** At which level a robot takes orders. */
async function levelOfRobot(
  tx: Transaction<DB>,
  tenantId: string,
  robotId: string | null,
): Promise<RobotLevel> {
  if (robotId === null) return 'motion';
  const { driver } = await tx
    .selectFrom('robot')
    .select('driver')
    .where('tenant_id', '=', tenantId)
    .where('id', '=', robotId)
    .executeTakeFirstOrThrow();
  return levelOf(driver as RobotDriver); // the table's check holds it to these
}

function accepted(
  { reserved, explanation, exposure, pickupMs }: Held,
  robotLevel: RobotLevel,
  next: Mark,
  waits?: Partial<Waits>,
): StepEnd<Reservation> {
  const { place, source, handoff, robotId } = reserved;
  return {
    result: {
      outcome: 'accepted',
      ...reserved,
      robotLevel,
      ...(waits && { waits }),
      ...(pickupMs !== null && { pickupMs }),
    },
    mark: {
      ...markOf(next),
      started: true,
      ...(robotId !== null && { robotId }),
      result: {
        ...reserved,
        ...(explanation && { explanation }),
        ...(exposure && {
          exposure: { ...exposure, ...(pickupMs !== null && { pickupSeconds: pickupMs / 1000 }) },
        }),
      },
    },
    outcome: 'done',
    detail: { place, source, handoff },
  };
}

function refusedReservation(refusal: Refusal): StepEnd<Reservation> {
  return {
    result: { outcome: 'refused', refusal },
    mark: { state: 'REFUSED', phase: 'SETTLED', question: null, started: true, result: { refusal } },
    outcome: 'refused',
    detail: { refusal },
  };
}

async function reserveForPlacement(change: Change, job: JobRecord, leaseMs: number): Promise<Held> {
  const { order } = job.input;
  if (order.kind !== 'placement') throw wrongKind(job);
  const { tx } = change;
  const { tenantId, userId } = job.actor;
  const choose = async (need: SampleNeed) => {
    const robotId = job.mode === 'robot' ? await robotFor(tx, job, order.target) : null;
    const target = await reserveTarget(tx, tenantId, job.id, need, order.target, leaseMs, { robotId });
    return { robotId, target };
  };
  let sample: SampleRecord;
  let standing: PlaceRef | null = null;
  let chosen: Awaited<ReturnType<typeof choose>>;
  if (order.newSample) {
    // A tube nobody has stored yet waits for nothing: its registration and the look for room go out together.
    [sample, chosen] = await together(
      registerSample(change, {
        ...order.newSample,
        tenantId,
        id: job.sampleId,
        holderId: userId,
        jobId: job.id,
      }),
      choose(order.newSample),
    );
  } else {
    sample = await takeSample(tx, tenantId, job.sampleId, job.id);
    // A tube nobody could find may turn up again: the scan that confirms its placement settles where it is.
    requireCustody(sample, ['person', 'handoff', 'unknown'], 'placed', 'move it instead');
    requireAction(sample.id, sample.life.state, 'store');
    standing = await holdWhereItStands(tx, tenantId, sample, job.id);
    chosen = await choose(needOf(sample));
  }
  const { robotId, target } = chosen;
  if (target.outcome === 'refused') throw errorOf(target.refusal);
  const [handoff, exposure] =
    robotId === null
      ? [null, null]
      : await together(
          standing === null
            ? handoffFor(tx, tenantId, job.id, robotId, order.handoffPositionId, leaseMs)
            : Promise.resolve(standing),
          predictPlacement(tx, tenantId, sample, robotId),
        );
  if (order.newSample) recordRegistered(change, sample);
  return {
    reserved: {
      place: placeRef(target.position),
      handoff,
      robotId,
      leaseExpiresAt: target.position.leaseExpiresAt.toISOString(),
      source: standing,
    },
    explanation: target.explanation,
    exposure,
    pickupMs: null,
  };
}

async function reserveForRetrieval(change: Change, job: JobRecord, leaseMs: number): Promise<Held> {
  const { order } = job.input;
  if (order.kind !== 'retrieval') throw wrongKind(job);
  const { tx } = change;
  const { tenantId } = job.actor;
  const sample = await takeSample(tx, tenantId, job.sampleId, job.id);
  requireCustody(
    sample,
    job.mode === 'robot' ? ['position'] : ['position', 'handoff'],
    'retrieved',
    'store it first',
  );
  requireAction(sample.id, sample.life.state, 'retrieve');
  const source = await sourceFor(tx, tenantId, sample, job.id);
  if (job.mode === 'hand') {
    return {
      reserved: { place: source, handoff: null, robotId: null, leaseExpiresAt: null, source },
      explanation: null,
      exposure: null,
      pickupMs: null,
    };
  }
  const robotId = await robotAt(tx, job, source);
  const handoff = await reserveHandoff(tx, tenantId, job.id, robotId, order.handoffPositionId, leaseMs);
  if (handoff.outcome === 'refused') throw errorOf(handoff.refusal);
  const exposed = await requireWithinBudget(tx, tenantId, sample, {
    kind: 'retrieval',
    robotId,
    handoffPositionId: handoff.position.positionId,
  });
  return {
    reserved: {
      place: source,
      handoff: placeRef(handoff.position),
      robotId,
      leaseExpiresAt: handoff.position.leaseExpiresAt.toISOString(),
      source,
    },
    explanation: null,
    ...exposed,
  };
}

async function reserveForMove(change: Change, job: JobRecord, leaseMs: number): Promise<Held> {
  const { order } = job.input;
  if (order.kind !== 'move') throw wrongKind(job);
  const { tx } = change;
  const { tenantId } = job.actor;
  const sample = await takeSample(tx, tenantId, job.sampleId, job.id);
  requireCustody(sample, ['position'], 'moved', 'store it first');
  requireAction(sample.id, sample.life.state, 'move');
  const source = await sourceFor(tx, tenantId, sample, job.id);
  const robotId = job.mode === 'robot' ? await robotAt(tx, job, source) : null;
  const exposed = await requireWithinBudget(
    tx,
    tenantId,
    sample,
    robotId === null ? { kind: 'by_hand' } : { kind: 'move', robotId },
  );
  const target = await reserveTarget(tx, tenantId, job.id, needOf(sample), order.target, leaseMs, {
    robotId,
    exceptContainerId: order.target.kind === 'chosen' ? source.containerId : null,
  });
  if (target.outcome === 'refused') throw errorOf(target.refusal);
  return {
    reserved: {
      place: placeRef(target.position),
      handoff: null,
      robotId,
      leaseExpiresAt: target.position.leaseExpiresAt.toISOString(),
      source,
    },
    explanation: target.explanation,
    ...exposed,
  };
}

/**
 * Two parts of one transaction whose statements do not wait for each other. Both are over when this ends, so that none
 * sends anything after the transaction; when both fail, the first one's error counts.
 */
async function together<A, B>(first: Promise<A>, second: Promise<B>): Promise<[A, B]> {
  const [one, other] = await Promise.allSettled([first, second]);
  if (one.status === 'rejected') throw one.reason;
  if (other.status === 'rejected') throw other.reason;
  return [one.value, other.value];
}

/** The position a sample is recorded in, held by the job from now on; null when it is in none. */
async function holdWhereItStands(
  tx: Transaction<DB>,
  tenantId: string,
  sample: SampleRecord,
  jobId: string,
): Promise<PlaceRef | null> {
  if (sample.custody.kind !== 'position' && sample.custody.kind !== 'handoff') return null;
  const { positionId } = sample.custody;
  const place = (await lockPlaces(tx, tenantId, [positionId])).get(positionId);
  if (!place) throw new DomainError('NOT_FOUND', `There is no position ${positionId}.`);
  await sql`UPDATE position SET job_id = ${jobId}
    WHERE tenant_id = ${tenantId} AND id = ${positionId} AND sample_id = ${sample.id}`.execute(tx);
  return placeRef(place);
}

async function sourceFor(
  tx: Transaction<DB>,
  tenantId: string,
  sample: SampleRecord,
  jobId: string,
): Promise<PlaceRef> {
  const source = await holdWhereItStands(tx, tenantId, sample, jobId);
  if (!source) throw new DomainError('SAMPLE_NOT_STORED', `Sample ${sample.id} is in no position.`);
  return source;
}

async function handoffFor(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  robotId: string,
  positionId: string | null,
  leaseMs: number,
): Promise<PlaceRef> {
  const handoff = await reserveHandoff(tx, tenantId, jobId, robotId, positionId, leaseMs);
  if (handoff.outcome === 'refused') throw errorOf(handoff.refusal);
  const position: HeldPosition = handoff.position;
  return placeRef(position);
}

async function robotFor(
  tx: Transaction<DB>,
  job: JobRecord,
  target: Parameters<typeof robotForTarget>[2],
): Promise<string> {
  const robotId = job.robotId ?? (await robotForTarget(tx, job.actor.tenantId, target));
  if (robotId === null) {
    throw new DomainError('OUT_OF_REACH', 'No robot in service reaches this place: place the tube by hand.');
  }
  return robotId;
}

/** The robot that works at a source: the one asked for, if it reaches the position. */
async function robotAt(tx: Transaction<DB>, job: JobRecord, source: PlaceRef): Promise<string> {
  const { tenantId } = job.actor;
  const robotId = await robotFor(tx, job, { kind: 'named', positionId: source.positionId });
  const { rows } = await sql<{ reached: boolean }>`
    SELECT l.robot_cassette IS NOT NULL AND EXISTS (
      SELECT FROM robot r JOIN location_ancestor a ON a.tenant_id = r.tenant_id AND a.ancestor_id = r.store_id
      WHERE r.tenant_id = l.tenant_id AND r.id = ${robotId} AND r.retired_at IS NULL AND a.descendant_id = l.id
    ) AS reached FROM location l WHERE l.tenant_id = ${tenantId} AND l.id = ${source.containerId}`.execute(
    tx,
  );
  if (rows[0]?.reached !== true) {
    throw new DomainError(
      'OUT_OF_REACH',
      `Robot ${robotId} does not reach position ${source.label}: fetch the tube by hand.`,
    );
  }
  return robotId;
}

function requireCustody(
  sample: SampleRecord,
  allowed: readonly CustodyKind[],
  done: string,
  instead: string,
): void {
  if (allowed.includes(sample.custody.kind)) return;
  throw new DomainError(
    'SAMPLE_NOT_STORED',
    `Sample ${sample.id} is in custody ${sample.custody.kind}, from where it cannot be ${done}: ${instead}.`,
    { facts: { custody: sample.custody.kind } },
  );
}

function needOf(sample: SampleRecord): SampleNeed {
  const { zone, type, project, hazard, owner, quarantine } = sample;
  return { zone, type, project, class: sample.class, hazard, owner, quarantine };
}

function wrongKind(job: JobRecord): DomainError {
  return new DomainError('CONFLICT', `Job ${job.id} was asked for a ${job.input.order.kind}.`);
}

function errorOf(refusal: Refusal): DomainError {
  const { code, detail, errors, facts } = refusal;
  return new DomainError(code, detail, { ...(errors && { errors }), ...(facts && { facts }) });
}
