import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { SignalDefinition } from '@temporalio/common';
import type {
  ClosingResult,
  GatewayActivities,
  HandlingActivities,
  InventoryActivities,
  Mark,
  MotionActivities,
  MotionOrder,
  MotionOutcome,
  PicklistActivities,
  RackScanActivities,
  RobotActivities,
  ScheduleActivities,
  SeenAt,
  SettleResult,
  StepRef,
  StorageActivities,
} from '../../activities/contract.ts';
import { toFailure } from '../../activities/failures.ts';
import { createHandlingActivities } from '../../activities/handling.ts';
import { custodyLabel } from '../../domain/custody.ts';
import { DomainError, type ErrorCode, type Refusal } from '../../domain/errors.ts';
import { needsScan } from '../../domain/fault.ts';
import { type FinalJobState, isFinal } from '../../domain/job.ts';
import type { RobotOrder } from '../../domain/robot-order.ts';
import {
  enqueue,
  IDLE_ROBOT,
  mayBegin,
  releaseStep,
  type Standing,
  type TurnKey,
  type TurnRequest,
} from '../../domain/turns.ts';
import { CONTROL_QUEUE, workflowIds } from '../../workflows/ids.ts';
import type { Confirmation, Decision, PlaceRef, Reservation } from '../../workflows/messages/job.ts';
import {
  faultSignal,
  gateFreeSignal,
  ROBOT,
  releaseTurnSignal,
  requestTurnSignal,
  robotReleasedSignal,
  turnGrantedSignal,
} from '../../workflows/messages/robot.ts';
import { createFakePicklists, HANDOFF_FULL } from './fake-picklists.ts';
import { createFakeScheduleActivities } from './fake-schedules.ts';
import type { FakeJob, FakePosition, FakeRobot, Laboratory } from './laboratory.ts';

export type LaboratoryActivities = StorageActivities &
  MotionActivities &
  HandlingActivities &
  Pick<GatewayActivities, 'inspect' | 'readInventory'> &
  InventoryActivities &
  RackScanActivities &
  RobotActivities &
  PicklistActivities &
  ScheduleActivities;

/** One call of an activity, as a test sees it. */
export interface Call {
  readonly name: string;
  /** the job it is for; the robot, for what its entity does */
  readonly whose: string;
  /** counts the calls for one job or robot, from 0 on, repeats included */
  readonly n: number;
  /** the activity and its step, the same for each try of it */
  readonly step: string;
}

/** A test's hand in the activities: it may wait, act, or throw. */
export interface Hooks {
  before?(call: Call): Promise<void> | void;
  after?(call: Call): Promise<void> | void;
}

export interface FakeOptions {
  readonly laboratory: Laboratory;
  readonly client: Client;
  /** queue on which the robot's entity is started */
  readonly taskQueue?: string;
  readonly hooks?: Hooks;
}

const refuse = (
  code: ErrorCode,
  detail: string,
): { readonly outcome: 'refused'; readonly refusal: Refusal } => ({
  outcome: 'refused',
  refusal: { code, detail },
});

/** A failure with a domain error's code, as the real activities throw it. */
export function failure(code: ErrorCode, detail: string, facts?: Readonly<Record<string, unknown>>): Error {
  return toFailure(new DomainError(code, detail, facts && { facts }));
}

const DISPATCH = { resume: 'running', maintenance: 'maintenance' } as const;

/** Steps that may run when the job is over. */
const EVEN_WHEN_OVER = /^(cancel|expedite|finish|adopt|release)/;

/** The activities over a laboratory in memory, with the semantics of the real ones. */
export function createFakeActivities(options: FakeOptions): LaboratoryActivities {
  const { laboratory: lab, client, taskQueue = CONTROL_QUEUE } = options;
  const results = new Map<string, { readonly params: string; readonly result: unknown }>();

  /** Runs a step once: a repeat gets the stored result, a repeat with other parameters fails. */
  function once<T>(ref: StepRef, params: unknown, body: (job: FakeJob) => T): T {
    const key = `${ref.workflowId}/${ref.step}`;
    const hash = JSON.stringify(params);
    const stored = results.get(key);
    if (stored !== undefined) {
      if (stored.params !== hash)
        throw failure('STEP_REPEATED_DIFFERENTLY', `step ${key} was repeated with other parameters`);
      return stored.result as T;
    }
    const job = lab.job(ref.jobId);
    if (job.workflowId !== ref.workflowId && !ref.step.startsWith('adopt'))
      throw failure('CONFLICT', `Job ${job.id} is answered for by ${job.workflowId} now.`);
    if (isFinal(job.state) && !EVEN_WHEN_OVER.test(ref.step)) {
      throw failure('JOB_FINISHED', `The job is ${job.state}.`, { state: job.state });
    }
    const result = body(job);
    results.set(key, { params: hash, result });
    return result;
  }

  function mark(job: FakeJob, next: Mark): void {
    job.state = next.state;
    job.phase = next.phase;
    job.waitingFor = next.waitingFor;
  }

  function close(job: FakeJob, state: FinalJobState, detail: string): void {
    release(job);
    Object.assign(job, {
      state,
      detail,
      phase: job.isLost ? 'SAMPLE_LOST' : 'SETTLED',
      waitingFor: null,
      faultId: null,
    });
    lab.alarms.delete(job.id);
  }

  function release(job: FakeJob): number {
    const sample = lab.sample(job.sampleId);
    const reserved = [...lab.positions.values()].filter(({ reservedBy }) => reservedBy === job.id);
    for (const position of reserved) Object.assign(position, { reservedBy: null, leaseEnd: null });
    const hadSample = sample.jobId === job.id;
    if (hadSample) sample.jobId = null;
    return reserved.length + (hadSample ? 1 : 0);
  }

  function reserve(job: FakeJob, next: Mark, positions: readonly (FakePosition | null)[]): string | null {
    const leaseEnd = next.state === 'AWAITING_PERSON' ? lab.now() + lab.leaseMs : null;
    for (const position of positions) {
      if (position !== null) Object.assign(position, { reservedBy: job.id, leaseEnd });
    }
    lab.sample(job.sampleId).jobId = job.id;
    mark(job, next);
    return leaseEnd === null ? null : new Date(leaseEnd).toISOString();
  }

  const isFree = ({ sampleId, reservedBy, blockedReason }: FakePosition) =>
    sampleId === null && reservedBy === null && blockedReason === null;
  const levelOf = ({ robotId }: FakeJob) => (robotId === null ? 'motion' : lab.robot(robotId).level);
  const freeOne = (kind: FakePosition['kind']) =>
    [...lab.positions.values()].find((each) => each.kind === kind && !each.isQuarantine && isFree(each));

  function handoffOf(job: FakeJob): FakePosition | undefined {
    if (job.handoffPositionId === null) return freeOne('handoff');
    const named = lab.position(job.handoffPositionId);
    return isFree(named) ? named : undefined;
  }

  function refused(job: FakeJob, code: ErrorCode, detail: string): Reservation {
    Object.assign(job, { state: 'REFUSED', phase: 'SETTLED', detail });
    return refuse(code, detail);
  }

  function targetOf(job: FakeJob): FakePosition | Reservation {
    if (job.target.kind === 'named') {
      const named = lab.position(job.target.positionId);
      return isFree(named)
        ? named
        : refused(job, 'POSITION_OCCUPIED', `Position ${named.place.label} is taken.`);
    }
    return freeOne('position') ?? refused(job, 'NO_POSITION_FREE', 'No position is free.');
  }

  function reserveTarget(job: FakeJob, next: Mark, withHandoff: boolean): Reservation {
    const sample = lab.sample(job.sampleId);
    if (sample.jobId !== null) return refused(job, 'SAMPLE_BUSY', `Job ${sample.jobId} has the sample.`);
    const target = targetOf(job);
    if ('outcome' in target) return target;
    const handoff = withHandoff ? handoffOf(job) : null;
    if (handoff === undefined) return refused(job, 'NO_POSITION_FREE', HANDOFF_FULL);
    const stands = sample.custody.kind === 'position' ? lab.position(sample.custody.positionId) : null;
    const leaseExpiresAt = reserve(job, next, [target, handoff, stands]);
    job.source = stands?.place ?? null;
    job.place = target.place;
    job.handoff = handoff?.place ?? null;
    const { source, place, robotId } = job;
    const robotLevel = levelOf(job);
    return { outcome: 'accepted', place, source, handoff: job.handoff, robotId, robotLevel, leaseExpiresAt };
  }

  function wrongScan(job: FakeJob, place: PlaceRef, scan: Confirmation): SettleResult | null {
    const position = lab.position(place.positionId);
    if (scan.sampleBarcode === null && scan.secondPersonId === null) {
      return refuse('SECOND_PERSON_REQUIRED', 'A label that cannot be read needs a second person.');
    }
    if (scan.sampleBarcode !== null && scan.sampleBarcode !== lab.sample(job.sampleId).barcode) {
      return refuse('BARCODE_MISMATCH', `${scan.sampleBarcode} is not the tube of this job.`);
    }
    if (scan.position !== place.label || scan.containerBarcode !== position.containerBarcode) {
      return refuse('CONFLICT', `The job expects position ${place.label}.`);
    }
    const hasLapsed = position.leaseEnd !== null && position.leaseEnd < lab.now();
    return position.reservedBy !== job.id || hasLapsed
      ? refuse('LEASE_LOST', 'The reservation has run out.')
      : null;
  }

  function arrive(job: FakeJob, seen: SeenAt): void {
    const sample = lab.sample(job.sampleId);
    lab.setCustody(sample, seen);
    sample.physical = seen;
  }

  function closeByScan(job: FakeJob, wrong: SettleResult | null, seen: SeenAt): ClosingResult {
    if (wrong?.outcome === 'refused') return wrong;
    arrive(job, seen);
    const detail = `The tube is at ${custodyLabel(seen)}.`;
    close(job, 'COMPLETED', detail);
    return { outcome: 'closed', state: 'COMPLETED', detail };
  }

  const storage: StorageActivities = {
    reservePlacement: async (ref, next) =>
      once(ref, next, (job) => reserveTarget(job, next, job.mode === 'robot')),
    reserveMove: async (ref, next) => once(ref, next, (job) => reserveTarget(job, next, false)),
    reserveRetrieval: async (ref, next) =>
      once(ref, next, (job) => {
        const sample = lab.sample(job.sampleId);
        if (sample.jobId !== null) return refused(job, 'SAMPLE_BUSY', `Job ${sample.jobId} has the sample.`);
        if (sample.custody.kind !== 'position')
          return refused(job, 'SAMPLE_NOT_STORED', 'The sample is in no position.');
        const source = lab.position(sample.custody.positionId);
        const handoff = job.mode === 'robot' ? handoffOf(job) : null;
        if (handoff === undefined) return refused(job, 'NO_POSITION_FREE', HANDOFF_FULL);
        const leaseExpiresAt = reserve(job, next, [source, handoff]);
        Object.assign(job, { source: source.place, place: source.place, handoff: handoff?.place ?? null });
        const { place } = source;
        return {
          outcome: 'accepted',
          place,
          source: place,
          handoff: job.handoff,
          robotId: job.robotId,
          robotLevel: levelOf(job),
          leaseExpiresAt,
          ...(job.mode === 'robot' && lab.pickupMs !== null && { pickupMs: lab.pickupMs }),
        } as const;
      }),
    confirmPlaced: async (ref, place, scan) =>
      once(ref, [place, scan], (job) =>
        closeByScan(job, wrongScan(job, place, scan), { kind: 'position', positionId: place.positionId }),
      ),
    confirmTaken: async (ref, source, scan) =>
      once(ref, [source, scan], (job) =>
        closeByScan(job, wrongScan(job, source, scan), { kind: 'person', userId: scan.actor.userId }),
      ),
    handOver: async (ref, handoff, scan) =>
      once(ref, [handoff, scan], (job) => {
        const isRight = scan.sampleBarcode === lab.sample(job.sampleId).barcode;
        const wrong = isRight
          ? null
          : refuse('BARCODE_MISMATCH', `${scan.sampleBarcode} is not the tube of this job.`);
        return closeByScan(job, wrong, { kind: 'person', userId: scan.actor.userId });
      }),
    confirmAtHandoff: async (ref, handoff, scan, next) =>
      once(ref, [handoff, scan, next], (job): SettleResult => {
        const wrong = wrongScan(job, handoff, scan);
        if (wrong !== null) return wrong;
        arrive(job, { kind: 'handoff', positionId: handoff.positionId });
        for (const position of lab.positions.values())
          if (position.reservedBy === job.id) position.leaseEnd = null;
        mark(job, next);
        return { outcome: 'done' };
      }),
    moveCustody: async (ref, seen, next) =>
      once(ref, [seen, next], (job) => {
        if ('positionId' in seen && lab.position(seen.positionId).reservedBy !== job.id) {
          throw failure('LEASE_LOST', `position ${seen.positionId} is no longer the job's`);
        }
        lab.setCustody(lab.sample(job.sampleId), seen);
        mark(job, next);
      }),
    blockPlace: async (ref, positionId, reason) =>
      once(ref, [positionId, reason], (job) => {
        const position = lab.position(positionId);
        if (position.reservedBy !== job.id || position.sampleId !== null) return;
        Object.assign(position, { reservedBy: null, leaseEnd: null, blockedReason: reason });
      }),
    markPhase: async (ref, next) => once(ref, next, (job) => mark(job, next)),
    expectOpen: async ({ jobId }) => {
      const { state } = lab.job(jobId);
      if (isFinal(state)) throw failure('JOB_FINISHED', `The job is ${state}.`, { state });
    },
    recordCancel: async (ref, by, reason) =>
      once(ref, [by, reason], (job) => {
        job.isCancelRequested = true;
      }),
    reprioritise: async (ref, by, priority, eventId) =>
      once(ref, [by, priority, eventId], (job) => {
        if (!isFinal(job.state)) job.priority = priority;
      }),
    releaseReservations: async (ref) => once(ref, null, (job) => ({ released: release(job) })),
    custodyOf: async (ref) => {
      const { isLost, sampleId } = lab.job(ref.jobId);
      const { custody } = lab.sample(sampleId);
      return custody.kind === 'unknown' ? { kind: 'unknown', isGivenUp: isLost } : custody;
    },
    finishJob: async (ref, state, detail) =>
      once(ref, [state, detail], (job) => {
        if (!isFinal(job.state)) return close(job, state, detail);
        if (job.state !== state)
          throw failure('JOB_FINISHED', `The job is ${job.state}.`, { state: job.state });
      }),
    park: async (ref, problem) =>
      once(ref, problem, (job) => {
        const faultId = lab.newId();
        if (problem.candidates !== null) {
          lab.setCustody(lab.sample(job.sampleId), { kind: 'unknown', candidates: problem.candidates });
        }
        const replaced = problem.robotId === null ? null : job.faultId;
        if (problem.robotId !== null) {
          const robot = lab.robot(problem.robotId);
          robot.heldFaults = [...robot.heldFaults.filter((held) => held !== replaced), faultId];
        }
        for (const position of lab.positions.values())
          if (position.reservedBy === job.id) position.leaseEnd = null;
        lab.alarms.add(job.id);
        const phase = problem.kind === 'compensation_stuck' ? 'COMPENSATION_STUCK' : 'OUTCOME_UNKNOWN';
        Object.assign(job, {
          state: 'AWAITING_OPERATOR',
          phase,
          faultId,
          parkedBy: ref.workflowId,
          waitingFor: { kind: problem.kind, detail: problem.detail },
        });
        return { faultId, ...(replaced && { replaced }) };
      }),
    freeze: async (ref, doubt) =>
      once(ref, doubt, (job) => {
        const robot = lab.robot(doubt.robotId);
        if (robot.turnJobId !== job.id) throw failure('TURN_LOST', 'the job does not have the turn');
        robot.fence += 1;
        lab.setCustody(lab.sample(job.sampleId), { kind: 'unknown', candidates: doubt.candidates });
        const state = doubt.stop === null ? 'RUNNING' : 'SAFETY_HOLD';
        Object.assign(job, { state, phase: 'RECONCILING', waitingFor: null });
        return { fence: robot.fence };
      }),
    recordFinding: async (ref, finding) =>
      once(ref, finding, (job) => {
        lab.setCustody(lab.sample(job.sampleId), finding.seen);
        mark(job, finding.next);
      }),
    holdForSafety: async (ref, robotId, stop) =>
      once(ref, [robotId, stop], (job) => {
        const robot = lab.robot(robotId);
        if (robot.isWatched && robot.stop !== null) robot.heldFaults = [lab.newId()];
        Object.assign(job, { state: 'SAFETY_HOLD', phase: 'RECONCILING', waitingFor: null });
      }),
    isHeld: async ({ jobId }, robotId) => {
      const { state, faultId } = lab.job(jobId);
      if (isFinal(state)) throw failure('JOB_FINISHED', `The job is ${state}.`, { state });
      return lab.robot(robotId).heldFaults.some((held) => held !== faultId);
    },
    escalate: async (ref, faultId, step) =>
      once(ref, [faultId, step], (job) => {
        lab.escalations.push({ jobId: job.id, step });
      }),
    warnNotReady: async (ref, robotId) =>
      once(ref, robotId, (job) => {
        const isReady = mayBegin(lab.robot(robotId));
        if (!isReady) lab.alarms.add(job.id);
        return !isReady;
      }),
    reserveQuarantine: async (ref, robotId) =>
      once(ref, robotId, (job) => {
        const free = [...lab.positions.values()].find((each) => each.isQuarantine && isFree(each));
        if (free === undefined) return null;
        free.reservedBy = job.id;
        return free.place;
      }),
    applyDecision: async (ref, decision) => once(ref, decision, (job) => decide(job, decision)),
    adoptJob: async (ref) =>
      once(ref, null, (job) => {
        if (isFinal(job.state)) return null;
        job.workflowId = ref.workflowId;
        const last = lab.motions.findLast((motion) => motion.jobId === job.id);
        const candidates =
          last === undefined ? null : ([{ kind: 'carrier', robotId: last.order.robotId }] as const);
        const holding = [...lab.robots.values()].find(({ turnJobId }) => turnJobId === job.id);
        return {
          kind: job.kind,
          sampleId: job.sampleId,
          robotId: holding?.id ?? last?.order.robotId ?? null,
          liveCommandId: last?.commandId ?? null,
          candidates,
        };
      }),
  };

  function decide(job: FakeJob, decision: Decision): SettleResult {
    const { answer, faultId, sampleBarcode, robotFit, actor, positionId } = decision;
    if (faultId !== job.faultId) return refuse('STALE_ANSWER', 'The answer is for another fault.');
    const sample = lab.sample(job.sampleId);
    if (needsScan(answer) && sampleBarcode !== sample.barcode)
      return refuse('BARCODE_MISMATCH', 'That is another tube.');
    const source = job.source ?? job.handoff;
    const isToHandoff = job.kind === 'retrieval' && job.handoff !== null;
    const target = isToHandoff ? job.handoff : job.place;
    const at = (place: PlaceRef | null): SeenAt =>
      place === null
        ? { kind: 'person', userId: actor.userId }
        : { kind: lab.position(place.positionId).kind, positionId: place.positionId };
    if (answer === 'at_source') arrive(job, at(source));
    if (answer === 'at_target') arrive(job, at(target));
    if (answer === 'elsewhere' && positionId !== null) {
      lab.position(positionId).reservedBy ??= job.id;
      arrive(job, { kind: 'position', positionId });
    }
    if (answer === 'not_found') job.isLost = true;
    if (answer === 'not_found') lab.setCustody(sample, { kind: 'unknown', candidates: [] });
    if (answer === 'with_me' || answer === 'damaged') arrive(job, { kind: 'person', userId: actor.userId });
    if (answer === 'in_carrier' && job.robotId !== null)
      arrive(job, { kind: 'carrier', robotId: job.robotId });
    if (robotFit)
      for (const robot of lab.robots.values())
        robot.heldFaults = robot.heldFaults.filter((held) => held !== faultId);
    lab.alarms.delete(job.id);
    Object.assign(job, { state: 'RUNNING', faultId: null, waitingFor: null });
    return { outcome: 'done' };
  }

  /** Moves the tube, or does what the robot's next fault says. The interlock refuses before anything is sent. */
  function execute(order: MotionOrder, jobId: string): MotionOutcome {
    if (order.operation === 'transfer') return transfer(order, jobId);
    const { operation, robotId, positionId } = order;
    const robot = lab.robot(robotId);
    const inCarrier = lab.tubeAt({ robotId });
    const atPlace = lab.tubeAt({ positionId });
    const index = robot.faults.findIndex(({ on }) => on === operation);
    const fault = index < 0 ? undefined : robot.faults.splice(index, 1)[0];
    const isRefused =
      robot.stop !== null ||
      (operation === 'pick'
        ? inCarrier !== undefined || !atPlace
        : operation === 'place' && (!inCarrier || atPlace !== undefined));
    const how = isRefused ? 'nothing_moved' : fault?.how;
    const tube = operation === 'pick' ? atPlace : inCarrier;
    if (how === 'stopped') robot.stop = 'the controller is in mode estop, not auto';
    if (how === 'no_answer') robot.isBlind = true;
    const isMoved = how !== 'nothing_moved' && how !== 'stopped' && how !== 'lost_unmoved';
    if (tube !== undefined && operation !== 'scan' && isMoved) {
      const { kind } = lab.position(positionId);
      if (how === 'dropped') tube.physical = { kind: 'floor' };
      else tube.physical = operation === 'pick' ? { kind: 'carrier', robotId } : { kind, positionId };
    }
    if (how === 'empty_carrier' && tube !== undefined) tube.physical = { kind: 'floor' };
    const isSilent = how === 'no_answer' || how === 'lost_sight' || how === 'lost_unmoved';
    const see = (at: { positionId: string } | { robotId: string }) =>
      isSilent ? null : lab.tubeAt(at) !== undefined;
    const isRead =
      operation === 'scan' && robot.stop === null && how !== 'unreadable' && how !== 'empty_carrier';
    const barcode = isRead && inCarrier ? (how === 'foreign' ? 'FOREIGN' : inCarrier.barcode) : null;
    return {
      state: isSilent ? 'UNKNOWN' : how === undefined || how === 'foreign' ? 'DONE' : 'FAILED',
      number: lab.motions.length + 1,
      errorCode: isSilent ? null : how === undefined ? 0 : 5,
      carrier: see({ robotId }),
      source: operation === 'place' ? null : see({ positionId }),
      target: operation === 'place' ? see({ positionId }) : null,
      barcodeMatches: barcode === null ? null : barcode === lab.sample(lab.job(jobId).sampleId).barcode,
      stop: robot.stop,
      detail: how === undefined ? 'done' : how.replaceAll('_', ' '),
    };
  }

  /** Brings the tube from place to place and reads its label, or does what the store's next fault says. */
  function transfer({ robotId, positionId, toPositionId = '' }: MotionOrder, jobId: string): MotionOutcome {
    const robot = lab.robot(robotId);
    const tube = lab.tubeAt({ positionId });
    const isHindered = lab.tubeAt({ robotId }) ?? lab.tubeAt({ positionId: toPositionId });
    const isRefused = robot.stop !== null || !tube || isHindered !== undefined;
    const index = isRefused ? -1 : robot.faults.findIndex(({ on }) => on === 'transfer');
    const fault = index < 0 ? undefined : robot.faults.splice(index, 1)[0];
    const how = isRefused ? 'nothing_moved' : fault?.how;
    if (how === 'stopped') robot.stop = 'the controller is in mode estop, not auto';
    if (how === 'no_answer') robot.isBlind = true;
    const stays = ['nothing_moved', 'foreign_nothing_moved', 'stopped', 'lost_unmoved'].includes(how ?? '');
    if (tube !== undefined && !stays) {
      const { kind } = lab.position(toPositionId);
      if (how === 'dropped') tube.physical = { kind: 'floor' };
      else if (how === 'stays_in_carrier') tube.physical = { kind: 'carrier', robotId };
      else tube.physical = { kind, positionId: toPositionId };
    }
    const isSilent = ['no_answer', 'lost_sight', 'lost_unread', 'lost_unmoved'].includes(how ?? '');
    const see = (at: { positionId: string } | { robotId: string }) =>
      isSilent ? null : lab.tubeAt(at) !== undefined;
    const isRead = ![
      'unreadable',
      'nothing_moved',
      'stopped',
      'no_answer',
      'lost_unread',
      'lost_unmoved',
    ].includes(how ?? '');
    const isRight =
      !how?.startsWith('foreign') && tube?.barcode === lab.sample(lab.job(jobId).sampleId).barcode;
    const isDone = how === undefined || how === 'foreign' || how === 'unreadable';
    return {
      state: isSilent ? 'UNKNOWN' : isDone ? 'DONE' : 'FAILED',
      number: lab.motions.length + 1,
      errorCode: isSilent ? null : isDone ? 0 : 5,
      carrier: see({ robotId }),
      source: see({ positionId }),
      target: see({ positionId: toPositionId }),
      barcodeMatches: isRead ? isRight : null,
      stop: robot.stop,
      detail: how === undefined ? 'done' : how.replaceAll('_', ' '),
    };
  }

  /** What the robot's controller shows of a job's own places. */
  const inspect: GatewayActivities['inspect'] = async (_tenantId, robotId, { sourceId, targetId }) => {
    const robot = lab.robot(robotId);
    if (robot.isBlind) throw failure('ROBOT_UNAVAILABLE', 'the robot does not answer');
    const isAt = (positionId: string | null) =>
      positionId !== null && lab.tubeAt({ positionId }) !== undefined;
    const last = lab.motions.findLast(({ order }) => order.robotId === robotId);
    return {
      mode: robot.stop === null ? 'auto' : 'estop',
      latchedNumber: last?.outcome.number ?? 0,
      busy: false,
      done: true,
      errorCode: 0,
      carrier: lab.tubeAt({ robotId }) !== undefined,
      source: robot.stuck === 'source' || isAt(sourceId),
      target: isAt(targetId),
      barcode: '',
      doorOpen: false,
      unitAlarm: false,
      lockedOut: null,
    };
  };

  const motion: MotionActivities = {
    submitMotion: async (ref, order) =>
      once(ref, order, (job) => {
        const robot = lab.robot(order.robotId);
        if (robot.turnJobId !== job.id || robot.fence !== order.fence)
          throw failure('TURN_LOST', 'the job does not have the turn');
        mark(job, order.next);
        const commandId = `${ref.workflowId}/${ref.step}`;
        lab.motions.push({ commandId, jobId: job.id, order, outcome: execute(order, job.id) });
        return { commandId };
      }),
    awaitMotion: async (_ref, commandId) => {
      const settled = lab.motions.find((each) => each.commandId === commandId);
      if (settled === undefined) throw failure('NOT_FOUND', `the journal has no command ${commandId}`);
      return settled.outcome;
    },
  };

  /** An entity that is not there is started by whoever has something to tell it. */
  async function tell<Told>(
    { actor: { tenantId } }: Pick<StepRef, 'actor'>,
    robotId: string,
    signal: SignalDefinition<[Told]>,
    told: Told,
  ): Promise<void> {
    await client.workflow.signalWithStart(ROBOT, {
      workflowId: workflowIds.robot(tenantId, robotId),
      taskQueue,
      workflowTaskTimeout: '2 seconds',
      args: [{ tenantId, robotId, state: null }],
      signal: signal.name,
      signalArgs: [told],
    });
  }
  const requests: TurnRequest[] = [];
  function isOpen({ jobId, workflowId, turn }: TurnRequest): boolean {
    const job = lab.jobs.get(jobId);
    const isGivenBack = [turn, null].some((each) => results.has(`${workflowId}/${releaseStep(each)}`));
    return job !== undefined && !isFinal(job.state) && job.workflowId === workflowId && !isGivenBack;
  }
  const behindGateOf = (robot: FakeRobot) =>
    [...lab.robots.values()].filter(
      (other) => other !== robot && robot.gate !== null && other.gate === robot.gate,
    );
  const ignoreGone = (error: unknown) => {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  };
  const standingOf = ({ dispatch, heldFaults }: Standing): Standing => ({ dispatch, heldFaults });

  function refusalOfOrder({ dispatch, heldFaults }: Standing, order: RobotOrder) {
    const rests = order.command === 'maintenance' || (order.command === 'pause' && order.when !== 'now');
    if (rests && dispatch === 'paused_now') return refuse('CONFLICT', 'The robot is paused now.');
    if (order.command === 'resume' && heldFaults.length > 0)
      return refuse('ROBOT_UNAVAILABLE', `The robot is held by fault ${heldFaults[0]}.`);
    if (order.command !== 'clear') return null;
    if (!heldFaults.includes(order.faultId)) return refuse('STALE_ANSWER', 'The robot is not held by it.');
    const isAsked = [...lab.jobs.values()].some(
      ({ faultId, state }) => faultId === order.faultId && state === 'AWAITING_OPERATOR',
    );
    return isAsked ? refuse('CONFLICT', 'A job still asks where its tube is.') : null;
  }

  const robots: RobotActivities = {
    requestTurn: async (ref, robotId, priority, turn, revision = 0) => {
      const at = revision > 0 ? (lab.job(ref.jobId).robotId ?? robotId) : robotId;
      lab.job(ref.jobId).robotId = at;
      const request = {
        jobId: ref.jobId,
        turn,
        workflowId: ref.workflowId,
        priority,
        requestedAt: lab.now(),
        revision,
      };
      requests.push(request);
      await tell(ref, at, requestTurnSignal, request);
    },
    releaseTurn: async (ref, robotId, turn) => {
      once(ref, turn, (job) => {
        for (const robot of lab.robots.values()) if (robot.turnJobId === job.id) robot.turnJobId = null;
      });
      for (const at of new Set([robotId, lab.job(ref.jobId).robotId ?? robotId]))
        await tell(ref, at, releaseTurnSignal, { jobId: ref.jobId, turn });
      for (const other of behindGateOf(lab.robot(robotId)))
        if (other.queue.length > 0) await tell(ref, other.id, gateFreeSignal, {});
    },
    reportFault: async (ref, robotId, faultId, cleared) => {
      await tell(ref, robotId, faultSignal, { faultId, cleared });
    },
    grantTurn: async (_tenantId, robotId, request, waiting) => {
      const robot = lab.robot(robotId);
      if (!isOpen(request)) return null;
      const job = lab.job(request.jobId);
      if (job.robotId !== null && job.robotId !== robotId) {
        await tell({ actor: job.actor }, job.robotId, requestTurnSignal, request);
        return null;
      }
      if (robot.turnJobId !== null && robot.turnJobId !== request.jobId) return { taken: true };
      if (robot.turnJobId !== request.jobId && !mayBegin(robot)) return { standing: standingOf(robot) };
      if (robot.turnJobId !== request.jobId && behindGateOf(robot).some((other) => other.turnJobId !== null))
        return { taken: true };
      if (robot.turnJobId !== request.jobId)
        Object.assign(robot, { turnJobId: request.jobId, fence: robot.fence + 1 });
      robot.queue = waiting;
      const { turn, workflowId } = request;
      const { fence } = robot;
      await client.workflow
        .getHandle(workflowId)
        .signal(turnGrantedSignal, { turn, fence, robotId })
        .catch(ignoreGone);
      return { fence };
    },
    loadRobot: async (_tenantId, robotId) => {
      const robot = lab.robot(robotId);
      const open = requests.filter((each) => lab.jobs.get(each.jobId)?.robotId === robotId && isOpen(each));
      const waiting = open.filter((request) => robot.turnJobId !== request.jobId);
      const holder = open.findLast((request) => robot.turnJobId === request.jobId);
      const current = holder ? { ...holder, fence: robot.fence } : null;
      return waiting.reduce(enqueue, { ...IDLE_ROBOT, ...standingOf(robot), current });
    },
    commandRobot: async (robotId, _key, order) => {
      const robot = lab.robot(robotId);
      const refusal = refusalOfOrder(robot, order);
      if (refusal !== null) return { answer: refusal, standing: null };
      if (order.command === 'clear')
        robot.heldFaults = robot.heldFaults.filter((held) => held !== order.faultId);
      else if (order.command === 'pause') robot.dispatch = order.when === 'now' ? 'paused_now' : 'paused';
      else robot.dispatch = DISPATCH[order.command];
      const holder = order.command === 'clear' ? lab.jobs.get(robot.turnJobId ?? '') : undefined;
      if (holder && order.command === 'clear') {
        await client.workflow
          .getHandle(holder.workflowId)
          .signal(robotReleasedSignal, { faultId: order.faultId })
          .catch(ignoreGone);
      }
      return { answer: { outcome: 'accepted' }, standing: standingOf(robot) };
    },
    handQueueOver: async (_tenantId, robotId, offered) => {
      const robot = lab.robot(robotId);
      const moved: TurnKey[] = [];
      for (const request of offered) {
        const job = lab.job(request.jobId);
        if (job.robotId === robotId) {
          const heir = [...lab.robots.values()].find(
            (other) =>
              other !== robot && other.store !== null && other.store === robot.store && mayBegin(other),
          );
          if (!heir || !isOpen(request) || lab.motions.some(({ jobId }) => jobId === job.id)) continue;
          job.robotId = heir.id;
        }
        await tell({ actor: job.actor }, job.robotId ?? robotId, requestTurnSignal, request);
        moved.push({ jobId: request.jobId, turn: request.turn });
      }
      return moved;
    },
    projectRobot: async (_tenantId, robotId, queue) => {
      lab.robot(robotId).queue = queue;
    },
  };

  const inventory: InventoryActivities & Pick<GatewayActivities, 'readInventory'> = {
    beginComparisons: async () =>
      [...lab.robots.values()].flatMap(({ id, level }) => {
        if (level !== 'job') return [];
        const comparisonId = lab.comparisonOf(id);
        return [{ comparisonId, robotId: id }];
      }),
    readInventory: async (_tenantId, robotId) => {
      if (lab.robot(robotId).isBlind) throw failure('ROBOT_UNAVAILABLE', 'the store does not answer');
    },
    judgeInventory: async (_tenantId, comparisonId) => {
      lab.endComparison(comparisonId, null);
    },
    failComparison: async (_tenantId, comparisonId, why) => {
      lab.endComparison(comparisonId, why);
    },
  };

  const rackScans: RackScanActivities = {
    readRack: async ({ scanId }) => lab.endRackScan(scanId, null),
    failRackScan: async ({ scanId }, why) => lab.endRackScan(scanId, why),
  };

  const hooked = hookedBy(options.hooks ?? {});
  const picklists = createFakePicklists(lab, client, taskQueue);
  const steps = hooked({
    ...storage,
    ...motion,
    ...robots,
    ...inventory,
    ...rackScans,
    ...picklists,
    ...createFakeScheduleActivities(lab),
    inspect,
  });
  // What is made of steps passes the hooks itself, and at each of them.
  return { ...steps, ...hooked(createHandlingActivities(steps)) };
}

/** Makes every activity pass the test's hooks. */
function hookedBy(hooks: Hooks): <A extends object>(activities: A) => A {
  const counts = new Map<string, number>();
  return (activities) => ({ ...activities, ...Object.fromEntries(hookedEntries(activities, hooks, counts)) });
}

function hookedEntries(activities: object, hooks: Hooks, counts: Map<string, number>) {
  return Object.entries(activities).map(([name, run]: [string, (...args: never[]) => Promise<unknown>]) => [
    name,
    async (...args: never[]) => {
      const whose = whoseCall(name, args);
      const n = counts.get(whose) ?? 0;
      counts.set(whose, n + 1);
      const call: Call = { name, whose, n, step: stepOf(name, args) };
      await hooks.before?.(call);
      const result = await run(...args);
      await hooks.after?.(call);
      return result;
    },
  ]);
}

function stepOf(name: string, [first]: readonly unknown[]): string {
  const isStep = typeof first === 'object' && first !== null && 'step' in first;
  return isStep ? `${name} ${first.step}` : name;
}

/**
 * The step reference names the job, the order of a rack scan the scan. A robot's entity has none: it gives the robot, behind the tenant if it gives that; a
 * scan gives the schedule there, or only the tenant.
 */
function whoseCall(name: string, [first, second]: readonly unknown[]): string {
  if (typeof first === 'object' && first !== null && 'jobId' in first) return String(first.jobId);
  if (typeof first === 'object' && first !== null && 'scanId' in first) return String(first.scanId);
  if (typeof second === 'object' && second !== null && 'scheduleId' in second)
    return String(second.scheduleId);
  // A look at a robot is the job's, which asks under no name: it is nobody's step.
  if (name === 'inspect') return `looks at ${String(second)}`;
  return String(name === 'commandRobot' || name === 'dueRuns' ? first : second);
}
