import type { Actor } from '../domain/actor.ts';
import type { RobotOperation } from '../domain/controller.ts';
import type { Refusal } from '../domain/errors.ts';
import type { FaultKind } from '../domain/fault.ts';
import type { FinalJobState, JobKind, Phase } from '../domain/job.ts';
import type { NextOfPicklist } from '../domain/picklist.ts';
import type { RobotOrder } from '../domain/robot-order.ts';
import type { RobotState, Standing, TurnKey, TurnRequest } from '../domain/turns.ts';
import type { Waits } from '../domain/waits.ts';
import type {
  Answer,
  Confirmation,
  Decision,
  HandOver,
  PlaceRef,
  Reservation,
} from '../workflows/messages/job.ts';
import type { RackScanInput } from '../workflows/messages/rack-scan.ts';
import type { RunEnd } from '../workflows/messages/schedule.ts';

/**
 * What workflows may do to the outside world. Real implementations: storage.ts, motion.ts, handling.ts, robot.ts, schedule.ts; fakes for workflow
 * tests: test/workflows/fakes.ts; test/activities/contract.test.ts holds the fakes against the real ones.
 *
 * Every step that writes is one transaction and idempotent: it stores its result under `workflowId/step` in
 * step_result with a hash of its parameters. A repeat returns the stored result; a repeat with other parameters throws
 * STEP_REPEATED_DIFFERENTLY (non-retryable). Each also writes job.state, job.phase and a job_step row, in the same
 * transaction. Domain refusals are returned as values where the signature says so, otherwise thrown as
 * ApplicationFailure with the error code as its type.
 */
export interface StepRef {
  readonly actor: Actor;
  readonly jobId: string;
  readonly workflowId: string;
  /** unique in the workflow, carrying loop index and attempt, e.g. `pick/1` */
  readonly step: string;
}

/** Where a tube was seen, for a custody change. */
export type SeenAt =
  | { readonly kind: 'position'; readonly positionId: string }
  | { readonly kind: 'handoff'; readonly positionId: string }
  | { readonly kind: 'carrier'; readonly robotId: string }
  | { readonly kind: 'person'; readonly userId: string };

/** What the job row says from a step on; every step that carries one writes it in its own transaction. */
export interface Mark {
  readonly state: 'RUNNING' | 'AWAITING_PERSON' | 'COMPENSATING';
  readonly phase: Phase;
  /** what the job waits for, written to `job.question`; null clears it */
  readonly waitingFor: Readonly<Record<string, unknown>> | null;
}

/** A scan that ends the process: the job is closed in the same transaction, as by finishJob. */
export type ClosingResult =
  | {
      readonly outcome: 'closed';
      readonly state: 'COMPLETED' | 'COMPLETED_WITH_DEVIATION';
      readonly detail: string;
    }
  | { readonly outcome: 'refused'; readonly refusal: Refusal };

/** What the workflow that takes over a job has to know of it. */
export interface AdoptedJob {
  readonly kind: JobKind;
  readonly sampleId: string;
  /** the robot whose turn the job has, or last had a motion on; null for work by hand */
  readonly robotId: string | null;
  /** a motion of the job that the journal has not settled yet */
  readonly liveCommandId: string | null;
  /** where the tube may be: null when custody is surely known and no motion was accepted since it was confirmed */
  readonly candidates: readonly SeenAt[] | null;
  /** the laboratory's own waiting times, where they differ from the presets */
  readonly waits?: Partial<Waits>;
}

export type SettleResult =
  | { readonly outcome: 'done' }
  | { readonly outcome: 'refused'; readonly refusal: Refusal };

/** Local activities on the control queue, each one database transaction. */
export interface StorageActivities {
  /**
   * Placement's first step: marks the job started, registers the sample when `job.input.sample` holds a new one (custody:
   * the acting person), takes `sample.job_id`, chooses or takes the named position and (robot) a free hand-off position.
   * A refusal writes nothing but closes the job as REFUSED. `next` is what an accepted job waits for now. The lease has
   * an end only while a person is awaited (`next.state` AWAITING_PERSON); `leaseExpiresAt` is null otherwise.
   */
  reservePlacement(ref: StepRef, next: Mark): Promise<Reservation>;
  /**
   * Retrieval's first step: takes the sample, keeps its source; by robot also a hand-off position, and `pickupMs` says how
   * long the tube may wait there. `place` is the source. A retrieval by robot, or a move, that is expected to have the
   * tube outside its cold for longer than its class may be is refused (EXPOSURE_BUDGET).
   */
  reserveRetrieval(ref: StepRef, next: Mark): Promise<Reservation>;
  /** Move's first step: takes the sample and the target; `place` is the target, `handoff` null. */
  reserveMove(ref: StepRef, next: Mark): Promise<Reservation>;
  /** By hand: checks the scan against the reservation, moves custody to the target and closes the job. */
  confirmPlaced(ref: StepRef, place: PlaceRef, scan: Confirmation): Promise<ClosingResult>;
  /**
   * By robot: the person's scan that the tube stands in the hand-off; custody := handoff. No person is awaited any more,
   * so the job's leases have no end from here.
   */
  confirmAtHandoff(ref: StepRef, handoff: PlaceRef, scan: Confirmation, next: Mark): Promise<SettleResult>;
  /** By hand: checks the scan, moves custody from the source to the person and closes the job. */
  confirmTaken(ref: StepRef, source: PlaceRef, scan: Confirmation): Promise<ClosingResult>;
  /** By robot: the person takes the tube from the hand-off; custody := that person; closes the job. */
  handOver(ref: StepRef, handoff: PlaceRef, scan: HandOver): Promise<ClosingResult>;
  /**
   * Moves custody to where a sensor saw the tube. A position left behind stays reserved by the job until released.
   * @throws LEASE_LOST when the position is no longer the job's
   */
  moveCustody(ref: StepRef, seen: SeenAt, next: Mark): Promise<void>;
  /** Takes a position that the job holds, and in which no tube is recorded, out of use until a person has looked. */
  blockPlace(ref: StepRef, positionId: string, reason: string): Promise<void>;
  /** Writes state, phase and question where no other step does it on the way. */
  markPhase(ref: StepRef, next: Mark): Promise<void>;
  /** Looks whether the job is still open; writes nothing. @throws JOB_FINISHED with how it ended */
  expectOpen(ref: StepRef): Promise<void>;
  /** Records that somebody asked to cancel. */
  recordCancel(ref: StepRef, by: Actor, reason: string | null): Promise<void>;
  /** Writes how urgent the job is now, as the event says that `by` sent. A job that is over stays as it is. */
  reprioritise(ref: StepRef, by: Actor, priority: number, eventId: string): Promise<void>;
  /**
   * Undo of a reservation: frees the positions reserved by the job in which no sample is, and the sample itself.
   * A sample registered by this job stays registered, with the person. Nothing to undo is a success.
   */
  releaseReservations(ref: StepRef): Promise<{ readonly released: number }>;
  /** Where the job's sample is now: undo reads custody as it is. */
  custodyOf(ref: StepRef): Promise<
    | SeenAt
    | { readonly kind: 'transit' | 'disposed' }
    /** `isGivenUp`: a person has looked into every place it may be in, and not found it */
    | { readonly kind: 'unknown'; readonly isGivenUp: boolean }
  >;
  /**
   * Closes the job, releasing whatever it still holds, clearing its alarms. Last step of every process. What would be
   * COMPLETED is COMPLETED_WITH_DEVIATION where the tube was outside its cold for too long.
   */
  finishJob(ref: StepRef, state: FinalJobState, detail: string): Promise<void>;
  /**
   * Freezes: custody := unknown with candidates when the tube is not surely known, positions held without expiry, job
   * AWAITING_OPERATOR with a question and a new fault id, robot_state.held_fault_ids, alarm raised. Returns the fault id.
   * A job that is parked already, by a workflow that was lost, is asked about anew: the new fault holds the robot instead
   * of the `replaced` one, so that one answer frees it.
   */
  park(
    ref: StepRef,
    problem: ParkedProblem,
  ): Promise<{ readonly faultId: string; readonly replaced?: string }>;
  /**
   * The last motion does not say where the tube is: custody := unknown with candidates, positions held without expiry, and
   * the fence of the job's turn rises, so that whatever was ordered under the old one is refused. Returns the new fence.
   * `stop` is why the robot stands in a safety hold; null when it does not.
   * @throws TURN_LOST when the job does not have the robot's turn
   */
  freeze(
    ref: StepRef,
    doubt: {
      readonly robotId: string;
      readonly detail: string;
      readonly candidates: readonly SeenAt[];
      readonly stop: string | null;
    },
  ): Promise<{ readonly fence: number }>;
  /** The sensors agree where the tube is: custody := that place, by reconciliation; the job goes on. */
  recordFinding(
    ref: StepRef,
    finding: { readonly seen: SeenAt; readonly detail: string; readonly next: Mark },
  ): Promise<void>;
  /** Writes that the job stands in a safety hold, and why. */
  holdForSafety(ref: StepRef, robotId: string, stop: string): Promise<void>;
  /** Whether a fault of its own, not of this job, holds the robot: a person has to release that. Writes nothing. */
  isHeld(ref: StepRef, robotId: string): Promise<boolean>;
  /** Nobody has answered the question of this fault for so long: raises its alarm to the given step, from 1 on. */
  escalate(ref: StepRef, faultId: string, step: number): Promise<void>;
  /** The job waits for a robot that is not ready: raises an alarm that says why. False when the robot only has others first. */
  warnNotReady(ref: StepRef, robotId: string): Promise<boolean>;
  /**
   * A position in a quarantine container that the robot reaches and whose temperature serves the sample, reserved for the
   * job, for a tube that cannot go back to its place; null when there is none.
   */
  reserveQuarantine(ref: StepRef, robotId: string): Promise<PlaceRef | null>;
  /**
   * Applies the operator's answer: checks fault id and barcode, moves custody to where the tube was found, clears the
   * alarm and (if fit) the robot's hold. A refusal (stale, wrong barcode) changes nothing.
   */
  applyDecision(ref: StepRef, decision: Decision): Promise<SettleResult>;
  /**
   * First step of reconcileJob: makes this workflow the one that answers for the job (`job.workflow_id`) and reads what
   * it left behind. Null when the job is over.
   */
  adoptJob(ref: StepRef): Promise<AdoptedJob | null>;
}

export interface ParkedProblem {
  readonly kind: FaultKind;
  /** a sentence for the operator: what was being done, what the sensors said */
  readonly detail: string;
  readonly robotId: string | null;
  /** null when custody is surely known */
  readonly candidates: readonly SeenAt[] | null;
  /** position where another tube than the job's was found, and stands again */
  readonly strangerIn?: string;
}

/** A motion of the robot, as the workflow orders it. */
export interface MotionOrder {
  readonly operation: RobotOperation;
  readonly robotId: string;
  readonly fence: number;
  /** where to pick or place, or to transfer from; for scan the position last picked from */
  readonly positionId: string;
  /** for transfer: where to */
  readonly toPositionId?: string;
  /** rises only by a recorded decision */
  readonly attempt: number;
  /** written to the job with the order */
  readonly next: Mark;
}

/** What the sensors said when a motion settled; null = the sensor did not answer. */
export interface MotionOutcome {
  readonly state: 'DONE' | 'FAILED' | 'UNKNOWN';
  /** the command's number, as it went over the wire */
  readonly number: number;
  readonly errorCode: number | null;
  readonly carrier: boolean | null;
  readonly source: boolean | null;
  readonly target: boolean | null;
  /**
   * for scan and transfer: does what was read belong to the job's sample, null when nothing was read; compared in the database, since
   * barcodes do not enter histories
   */
  readonly barcodeMatches: boolean | null;
  /** why the robot stood in a safety hold when the motion ended; null when it did not, or was not asked */
  readonly stop: string | null;
  readonly detail: string;
}

/** Motion: `submit` is a local activity, `await` a heartbeating activity on the control queue. Both may be retried freely. */
export interface MotionActivities {
  /**
   * Inserts ACCEPTED into the journal under command id `workflowId/step/attempt`, checking that the job has the turn
   * with this fence; from then on the job's positions have no expiry. Idempotent; another order under the same id throws.
   * @throws TURN_LOST
   */
  submitMotion(ref: StepRef, order: MotionOrder): Promise<{ readonly commandId: string }>;
  /** Reads the journal until the command is DONE, FAILED or UNKNOWN; heartbeats. */
  awaitMotion(ref: StepRef, commandId: string): Promise<MotionOutcome>;
}

/** What became of a fetch. */
export interface Fetched {
  readonly picked: MotionOutcome;
  /** why the record refuses the pick that the sensors saw; null when it does not, or nothing was picked */
  readonly refused: string | null;
  /** the last look at the label of the tube in the carrier; null when it did not come to that */
  readonly read: MotionOutcome | null;
}

/** What became of a delivery. */
export interface Delivered {
  readonly placed: MotionOutcome;
  /** why the record refuses the placing that the sensors saw; null when it does not, or nothing was placed */
  readonly refused: string | null;
}

/** What became of a tube that a store at job level was to bring from place to place. */
export interface Relocated {
  readonly moved: MotionOutcome;
  /** why the record refuses what the sensors saw; null when it does not, or nothing was recorded */
  readonly refused: string | null;
}

/** A place a tube stands in. */
type StandsAt = Extract<SeenAt, { readonly positionId: string }>;

/** What every part of a transfer is ordered with. */
export interface HandlingOrder {
  readonly robotId: string;
  readonly fence: number;
  /** counts the parts of the transfer, from 1 on: it rises only by what became of the one before */
  readonly attempt: number;
}

/**
 * A tube's way by robot: heartbeating activities on the control queue, made of the steps above (`fetch/1/pick`,
 * `fetch/1/carrier`, `fetch/1/scan/1` …; `deliver/2/place`, `deliver/2/target`; `relocate/1/transfer` …), each idempotent by
 * itself, so that all may be retried freely. A store at motion level is told to fetch and to deliver, one at job level to
 * relocate.
 */
export interface HandlingActivities {
  /** Picks the tube up from a position, records that the carrier has it, and reads its label, three times at most. */
  fetchTube(ref: StepRef, order: HandlingOrder & { readonly positionId: string }): Promise<Fetched>;
  /** Reads the label of the tube in the carrier, three times at most; `positionId` is where it was picked. */
  readLabel(ref: StepRef, order: HandlingOrder & { readonly positionId: string }): Promise<MotionOutcome>;
  /** Places the tube, and records where the sensors saw it. `arrived` is what the job waits for then. */
  deliverTube(
    ref: StepRef,
    order: HandlingOrder & {
      readonly to: StandsAt;
      readonly arrived: Mark;
    },
  ): Promise<Delivered>;
  /**
   * Has the store bring the tube, and records where the sensors saw it, unless the store read another tube's label:
   * then nothing is recorded as moved. `arrived` is what the job waits for when the label was the right one.
   */
  relocateTube(
    ref: StepRef,
    order: HandlingOrder & {
      readonly from: StandsAt;
      readonly to: StandsAt;
      readonly arrived: Mark;
    },
  ): Promise<Relocated>;
}

/**
 * Turns of a robot. All are local activities: a row and a signal, both idempotent. A job that needs the robot again after
 * it gave the turn back (a tube nobody collected) asks under the next `turn` number, from 1 on.
 */
export interface RobotActivities {
  /**
   * signal-with-start of the robot entity (a workflow cannot). A job whose priority changes while it waits asks again for
   * the same turn under the next `revision`, from 1 on; it is put to the robot at which the job waits now.
   */
  requestTurn(
    ref: StepRef,
    robotId: string,
    priority: number,
    turn: number,
    revision?: number,
  ): Promise<void>;
  /**
   * Signals the entity that the turn is over, or withdraws; first ends the turn in the database, where the job has it. The
   * robot to which the request was handed over, and robots that wait for the gate, are told as well.
   * `ref.step` is `releaseStep(turn)` of domain/turns.ts, with the run behind it for a workflow that asks for no turn itself;
   * `turn` null gives back every turn of the job.
   */
  releaseTurn(ref: StepRef, robotId: string, turn: number | null): Promise<void>;
  /** Tells the entity of a fault or of its end. */
  reportFault(ref: StepRef, robotId: string, faultId: string, cleared: boolean): Promise<void>;
  /**
   * Step of the entity: fence + 1 and job_id in one transaction; returns the fence. Idempotent: a job that has the turn
   * gets its fence again. Null when the job is over, when another workflow answers for it now, or when it has given back
   * this turn (step_result of `releaseStep(request.turn)`): a withdrawal may overtake the grant; also when the request was
   * handed to another robot, which is told of it again. While the robot rests or is held, no turn begins: the answer is how
   * it stands. `taken`: another job has the turn, or it is the turn of a robot behind the same gate. A grant shows the queue
   * behind it in robot_state and signals the job's workflow; one that is gone cannot be told, and its job is reconciled.
   */
  grantTurn(
    tenantId: string,
    robotId: string,
    request: TurnRequest,
    waiting: readonly TurnRequest[],
  ): Promise<{ readonly fence: number } | { readonly standing: Standing } | { readonly taken: true } | null>;
  /** First step of an entity that continues none: what the database knows of the robot, and of who waits for it. */
  loadRobot(tenantId: string, robotId: string): Promise<RobotState>;
  /**
   * Step of the entity: carries out a person's command with its entry in the ledger. `key` names the command: a repeat
   * does nothing. A refusal is a value. `standing` is how the robot stands afterwards; null when it is refused. When a fault
   * is cleared, the workflow of the job with the turn is told (`robotReleased`).
   */
  commandRobot(
    robotId: string,
    key: string,
    order: RobotOrder,
  ): Promise<{ readonly answer: Answer; readonly standing: Standing | null }>;
  /**
   * Step of the entity of a robot in maintenance: hands requests to other robots that can do the work, writes that into
   * their jobs and tells those robots. Returns the turns that wait elsewhere now; a repeat returns them again.
   */
  handQueueOver(
    tenantId: string,
    robotId: string,
    requests: readonly TurnRequest[],
  ): Promise<readonly TurnKey[]>;
  /** Step of the entity: shows its queue in robot_state. */
  projectRobot(tenantId: string, robotId: string, queue: readonly TurnRequest[]): Promise<void>;
}

/** Comparisons of stores' own inventories with the record: activities on the control queue, each may be repeated. */
export interface InventoryActivities {
  /**
   * Begins a comparison for each store of the tenant that keeps an inventory of its own, in nobody's name; one that runs
   * already is given again.
   */
  beginComparisons(
    tenantId: string,
  ): Promise<readonly { readonly comparisonId: string; readonly robotId: string }[]>;
  /**
   * Compares what was read with the record, opens one deviation for each tube they differ about, unless one is open, has
   * the record withdraw what it cannot vouch for, and ends the comparison. Heartbeats.
   */
  judgeInventory(tenantId: string, comparisonId: string): Promise<void>;
  /** Ends a comparison that came to nothing. */
  failComparison(tenantId: string, comparisonId: string, why: string): Promise<void>;
}

/** Racks read by scanners on the network: activities on the control queue, each may be repeated. */
export interface RackScanActivities {
  /** Has the scanner read the rack, waiting for the person who puts it there, and saves what was read. Heartbeats. */
  readRack(input: RackScanInput): Promise<void>;
  /** Ends a scan that came to nothing. */
  failRackScan(input: RackScanInput, why: string): Promise<void>;
}

/**
 * Steps of a picklist. All that is known of one stands in its rows, under whose lock each step decides, so that a step may
 * be repeated, by this run of the workflow or by the next.
 */
export interface PicklistActivities {
  /** Records which tubes have ended, closes the list when all have, else takes the next tube: local activity. */
  advancePicklist(tenantId: string, picklistId: string): Promise<NextOfPicklist>;
  /** Records that somebody wants the list cancelled; `by` null: whoever ordered it. Local activity. */
  cancelPicklist(
    tenantId: string,
    picklistId: string,
    by: Actor | null,
    reason: string | null,
  ): Promise<Answer>;
  /** Starts a tube's job as the API does, and waits for its first decision: its robot is asked before the next one's. */
  startTube(tenantId: string, picklistId: string, jobId: string): Promise<void>;
  /** Tells every job under way that has not been told that the list is cancelled. */
  stopTubes(tenantId: string, picklistId: string): Promise<void>;
  /** Waits, heartbeating, until `advancePicklist` has something to do; returns without it after some minutes. */
  awaitTubes(tenantId: string, picklistId: string): Promise<void>;
}

/** A run of a schedule that is to be looked at: which one, from 1 on. */
export interface DueRun {
  readonly scheduleId: string;
  readonly run: number;
}

/** What the scan for due jobs does. All are local activities. */
export interface ScheduleActivities {
  /** Runs that are due, longest due first; at most 200, the rest at the next scan. Writes nothing. */
  dueRuns(tenantId: string): Promise<readonly DueRun[]>;
  /**
   * Looks at a due run in one transaction: writes its job, or that it was missed or refused, and when the next is due; then
   * starts the job's workflow. Of two that look at the same run at once the second finds what the first did and joins its
   * workflow. A job that is left without one is started by the sweep.
   * @throws NOT_FOUND
   */
  beginRun(
    tenantId: string,
    run: DueRun,
  ): Promise<{ readonly outcome: RunEnd; readonly jobId: string | null }>;
}

/** Served on `gateway-<robot>` by the process that owns the wire; moves nothing. */
export interface GatewayActivities {
  observe(robotId: string): Promise<Observation>;
  /**
   * Points the controller's sensors at a job's own places, and looks. Only while no command is under way.
   * @throws CONFLICT while one is
   */
  inspect(
    tenantId: string,
    robotId: string,
    places: { readonly sourceId: string | null; readonly targetId: string | null },
  ): Promise<Observation>;
  /**
   * Reads the whole inventory of a store that keeps one, page by page into the database, for one comparison; heartbeats.
   * @throws CONFLICT when the store keeps none, ROBOT_UNAVAILABLE when its inventory changes each time while it is read
   */
  readInventory(tenantId: string, robotId: string, comparisonId: string): Promise<void>;
}

export interface Observation {
  readonly mode: 'auto' | 'manual' | 'estop';
  readonly latchedNumber: number;
  readonly busy: boolean;
  readonly done: boolean;
  readonly errorCode: number;
  readonly carrier: boolean;
  readonly source: boolean;
  readonly target: boolean;
  readonly barcode: string;
  readonly doorOpen: boolean | null;
  readonly unitAlarm: boolean | null;
  readonly lockedOut: boolean | null;
}
