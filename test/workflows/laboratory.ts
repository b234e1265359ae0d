import type { Mark, MotionOrder, MotionOutcome, SeenAt } from '../../activities/contract.ts';
import type { Actor } from '../../domain/actor.ts';
import type { Confirmation } from '../../domain/confirmation.ts';
import type { RobotLevel } from '../../domain/controller.ts';
import { isFinal, type JobKind, type JobState, type Phase } from '../../domain/job.ts';
import type { Target } from '../../domain/order.ts';
import { isPicklistLive, type PicklistItemState, type PicklistState } from '../../domain/picklist.ts';
import type { Dispatch, TurnRequest } from '../../domain/turns.ts';
import { WAITS } from '../../domain/waits.ts';
import type { PlaceRef } from '../../workflows/messages/job.ts';
import type { FakeSchedule } from './fake-schedules.ts';

export interface FakePosition {
  readonly place: PlaceRef;
  readonly kind: 'position' | 'handoff';
  readonly isQuarantine: boolean;
  readonly containerBarcode: string;
  sampleId: string | null;
  reservedBy: string | null;
  /** why it may not be used */
  blockedReason: string | null;
  /** ms since the epoch; null = no end */
  leaseEnd: number | null;
}

export type FakeCustody = SeenAt | { readonly kind: 'unknown'; readonly candidates: readonly SeenAt[] };

export interface FakeSample {
  readonly id: string;
  readonly barcode: string;
  custody: FakeCustody;
  jobId: string | null;
  /** where the tube really is */
  physical: SeenAt | { readonly kind: 'floor' };
}

export interface FakeJob {
  readonly id: string;
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  readonly actor: Actor;
  readonly sampleId: string;
  robotId: string | null;
  readonly target: Target;
  /** the hand-off position that was asked for; null = any */
  readonly handoffPositionId: string | null;
  workflowId: string;
  state: JobState;
  phase: Phase;
  waitingFor: Mark['waitingFor'];
  faultId: string | null;
  /** the workflow that asked the operator last */
  parkedBy: string | null;
  isCancelRequested: boolean;
  /** the operator did not find the tube */
  isLost: boolean;
  priority: number;
  detail: string | null;
  source: PlaceRef | null;
  place: PlaceRef | null;
  handoff: PlaceRef | null;
}

/** One tube of a picklist. */
export interface FakePicklistItem {
  readonly order: Pick<FakeJob, 'kind' | 'mode' | 'sampleId' | 'robotId' | 'target' | 'handoffPositionId'>;
  /** its job, the last one where a full hand-off refused one before */
  job: FakeJob | null;
  state: PicklistItemState;
  waitsForHandoff: boolean;
  isTold: boolean;
}

export interface FakePicklist {
  readonly id: string;
  readonly window: number;
  readonly items: readonly FakePicklistItem[];
  state: PicklistState;
}

/** What a robot does wrong with the next motion of a kind. */
export type RobotFault =
  | {
      readonly on: 'pick' | 'place';
      /**
       * `no_answer`: moved, but nobody can be asked from then on; `lost_sight`: moved, and `lost_unmoved`: not, without the
       * gateway knowing, which sees the sensors again later; `stopped`: not moved, the emergency stop is pressed
       */
      readonly how:
        | 'nothing_moved'
        | 'moved_but_failed'
        | 'dropped'
        | 'no_answer'
        | 'lost_sight'
        | 'lost_unmoved'
        | 'stopped';
    }
  | { readonly on: 'scan'; readonly how: 'unreadable' | 'foreign' | 'empty_carrier' }
  | {
      readonly on: 'transfer';
      /** as above; `lost_sight` with the label read, `lost_unread` without */
      readonly how:
        | 'nothing_moved'
        | 'moved_but_failed'
        | 'dropped'
        | 'no_answer'
        | 'lost_sight'
        | 'lost_unread'
        | 'lost_unmoved'
        | 'stopped'
        | 'stays_in_carrier'
        | 'unreadable'
        | 'foreign'
        | 'foreign_nothing_moved';
    };

export interface FakeRobot {
  readonly id: string;
  readonly level: RobotLevel;
  fence: number;
  turnJobId: string | null;
  /** oldest first */
  heldFaults: string[];
  dispatch: Dispatch;
  /** robots behind the same gate never have a turn at the same time */
  gate: string | null;
  /** robots of one store do each other's work */
  store: string | null;
  queue: readonly TurnRequest[];
  faults: RobotFault[];
  /** why it stands in a safety hold */
  stop: 'the controller is in mode estop, not auto' | null;
  /** its gateway reports a stop, which opens a fault that holds it */
  isWatched: boolean;
  /** nobody can look at it */
  isBlind: boolean;
  /** a sensor that says full whatever is there */
  stuck: 'source' | null;
}

export interface FakeMotion {
  readonly commandId: string;
  readonly jobId: string;
  readonly order: MotionOrder;
  readonly outcome: MotionOutcome;
}

export interface FakeComparison {
  readonly robotId: string;
  isEnded: boolean;
  /** why it came to nothing */
  failure: string | null;
}

/** A store in memory: what is recorded, what is really where, and robots that obey or do not. */
export class Laboratory {
  readonly actor: Actor;
  readonly positions = new Map<string, FakePosition>();
  readonly samples = new Map<string, FakeSample>();
  readonly jobs = new Map<string, FakeJob>();
  readonly robots = new Map<string, FakeRobot>();
  readonly picklists = new Map<string, FakePicklist>();
  readonly motions: FakeMotion[] = [];
  readonly schedules = new Map<string, FakeSchedule>();
  readonly comparisons = new Map<string, FakeComparison>();
  /** by id: why it failed; null: it was read */
  readonly rackScans = new Map<string, string | null>();
  readonly alarms = new Set<string>();
  /** job and step of every escalation */
  readonly escalations: { readonly jobId: string; readonly step: number }[] = [];
  /** how long a reservation waits for a person, in ms */
  leaseMs = WAITS.leaseMs;
  /** how long a tube may wait in the hand-off, as retrievals by robot are told, in ms; null = they are told nothing */
  pickupMs: number | null = null;
  /** how far a server that skips time is ahead of this machine, in ms */
  skippedMs = 0;
  #ids = 0;

  /** @param tenantId part of every workflow's id: tests that share a Temporal namespace use different ones */
  constructor(tenantId: string) {
    this.actor = {
      tenantId,
      userId: '00000000-0000-7000-8000-0000000000a1',
      role: 'lab_technician',
      stationId: '00000000-0000-7000-8000-0000000000b1',
    };
  }

  /** The time of the laboratory's server, in ms since the epoch. */
  now(): number {
    return Date.now() + this.skippedMs;
  }

  /** UUID-shaped ids that rise, so that histories of two runs differ little. */
  newId(): string {
    this.#ids += 1;
    return `00000000-0000-7000-8000-${this.#ids.toString(16).padStart(12, '0')}`;
  }

  addPosition(kind: 'position' | 'handoff' = 'position', isQuarantine = false): FakePosition {
    const n = [...this.positions.values()].filter((each) => each.kind === kind).length + 1;
    const place = {
      positionId: this.newId(),
      containerId: `${kind}s`,
      label: `${kind === 'position' ? 'A' : 'H'}${n}`,
    };
    const added: FakePosition = {
      place,
      kind,
      isQuarantine,
      containerBarcode: `BOX-${kind}`,
      sampleId: null,
      reservedBy: null,
      blockedReason: null,
      leaseEnd: null,
    };
    this.positions.set(place.positionId, added);
    return added;
  }

  addRobot(level: RobotLevel = 'motion'): FakeRobot {
    const added: FakeRobot = {
      id: this.newId(),
      level,
      fence: 0,
      turnJobId: null,
      heldFaults: [],
      dispatch: 'running',
      gate: null,
      store: null,
      queue: [],
      faults: [],
      stop: null,
      isWatched: false,
      isBlind: false,
      stuck: null,
    };
    this.robots.set(added.id, added);
    return added;
  }

  addSchedule(ends: FakeSchedule['ends']): FakeSchedule {
    const added = { id: this.newId(), runs: 0, isDue: true, ends, jobId: null };
    this.schedules.set(added.id, added);
    return added;
  }

  /** A tube with the acting person, or in a position. */
  addSample(at: FakePosition | null): FakeSample {
    const id = this.newId();
    const custody: SeenAt =
      at === null
        ? { kind: 'person', userId: this.actor.userId }
        : { kind: at.kind, positionId: at.place.positionId };
    const added: FakeSample = {
      id,
      barcode: `TUBE-${this.samples.size + 1}`,
      custody,
      jobId: null,
      physical: custody,
    };
    this.samples.set(id, added);
    if (at !== null) at.sampleId = id;
    return added;
  }

  addJob(
    job: Pick<
      FakeJob,
      'kind' | 'mode' | 'sampleId' | 'robotId' | 'target' | 'handoffPositionId' | 'workflowId'
    > & { id?: string },
  ): FakeJob {
    const added: FakeJob = {
      id: this.newId(),
      ...job,
      actor: this.actor,
      state: 'QUEUED',
      phase: 'REQUESTED',
      waitingFor: null,
      faultId: null,
      parkedBy: null,
      isCancelRequested: false,
      isLost: false,
      priority: 20,
      detail: null,
      source: null,
      place: null,
      handoff: null,
    };
    this.jobs.set(added.id, added);
    return added;
  }

  /** The comparison of a store's inventory that runs, begun when none does. */
  comparisonOf(robotId: string): string {
    const running = [...this.comparisons].find(([, each]) => each.robotId === robotId && !each.isEnded);
    const id = running?.[0] ?? this.newId();
    if (!running) this.comparisons.set(id, { robotId, isEnded: false, failure: null });
    return id;
  }

  endComparison(id: string, failure: string | null): void {
    const comparison = found(this.comparisons.get(id), `comparison ${id}`);
    if (!comparison.isEnded) Object.assign(comparison, { isEnded: true, failure });
  }

  endRackScan(id: string, failure: string | null): void {
    if (!this.rackScans.has(id)) this.rackScans.set(id, failure);
  }

  addPicklist(window: number, orders: readonly FakePicklistItem['order'][]): FakePicklist {
    const added: FakePicklist = {
      id: this.newId(),
      window,
      state: 'RUNNING',
      items: orders.map((order) => ({
        order,
        job: null,
        state: 'PLANNED',
        waitsForHandoff: false,
        isTold: false,
      })),
    };
    this.picklists.set(added.id, added);
    return added;
  }

  /** A scan that the job will take. */
  goodScan(job: FakeJob): Confirmation {
    const at = job.mode === 'robot' && job.kind === 'placement' ? job.handoff : job.place;
    return {
      actor: this.actor,
      sampleBarcode: this.sample(job.sampleId).barcode,
      containerBarcode: at === null ? '' : this.position(at.positionId).containerBarcode,
      position: at?.label ?? '',
      secondPersonId: null,
    };
  }

  position(id: string): FakePosition {
    return found(this.positions.get(id), `position ${id}`);
  }
  sample(id: string): FakeSample {
    return found(this.samples.get(id), `sample ${id}`);
  }
  job(id: string): FakeJob {
    return found(this.jobs.get(id), `job ${id}`);
  }
  picklist(id: string): FakePicklist {
    return found(this.picklists.get(id), `picklist ${id}`);
  }
  robot(id: string): FakeRobot {
    return found(this.robots.get(id), `robot ${id}`);
  }

  /** Records where a tube is; a position left behind stays reserved by the job. */
  setCustody(sample: FakeSample, to: FakeCustody): void {
    for (const position of this.positions.values()) {
      if (position.sampleId !== sample.id) continue;
      position.sampleId = null;
      position.reservedBy ??= sample.jobId;
    }
    sample.custody = to;
    if (to.kind === 'position' || to.kind === 'handoff') this.position(to.positionId).sampleId = sample.id;
  }

  /** Whose tube is really at a place. */
  tubeAt(place: { readonly positionId: string } | { readonly robotId: string }): FakeSample | undefined {
    return [...this.samples.values()].find(({ physical }) =>
      'robotId' in place
        ? physical.kind === 'carrier' && physical.robotId === place.robotId
        : 'positionId' in physical && physical.positionId === place.positionId,
    );
  }

  /** What is wrong with the state, in sentences: empty when every invariant holds. */
  problems(): string[] {
    const problems: string[] = [];
    for (const job of this.jobs.values()) problems.push(...this.#problemsOfJob(job));
    for (const { id, state } of this.picklists.values())
      if (isPicklistLive(state)) problems.push(`picklist ${id} is not over: ${state}`);
    for (const sample of this.samples.values()) {
      const held = [...this.positions.values()].filter(({ sampleId }) => sampleId === sample.id);
      const { custody, physical } = sample;
      const isIn = custody.kind === 'position' || custody.kind === 'handoff';
      if (held.length !== (isIn ? 1 : 0))
        problems.push(`${sample.barcode} is recorded in ${held.length} positions`);
      if (isIn && held[0]?.place.positionId !== custody.positionId)
        problems.push(`${sample.barcode}: position and custody differ`);
      if (custody.kind !== 'unknown' && JSON.stringify(custody) !== JSON.stringify(physical)) {
        problems.push(
          `${sample.barcode} is recorded ${JSON.stringify(custody)}, but is ${JSON.stringify(physical)}`,
        );
      }
    }
    const commands = this.motions.map(({ commandId }) => commandId);
    if (new Set(commands).size !== commands.length) problems.push('a motion was commanded twice');
    return problems;
  }

  #problemsOfJob(job: FakeJob): string[] {
    const name = `${job.kind} ${job.id}`;
    const isParked = job.state === 'AWAITING_OPERATOR';
    if (isParked) return job.faultId === null ? [`${name} is parked without a question`] : [];
    if (!isFinal(job.state)) return [`${name} is neither over nor parked: ${job.state} ${job.phase}`];
    const problems: string[] = [];
    if ([...this.positions.values()].some(({ reservedBy }) => reservedBy === job.id))
      problems.push(`${name} is over and reserves a position`);
    if (this.sample(job.sampleId).jobId === job.id) problems.push(`${name} is over and has the sample`);
    if (this.sample(job.sampleId).custody.kind === 'carrier')
      problems.push(`${name} is over and the tube is in a carrier`);
    for (const robot of this.robots.values()) {
      if (robot.turnJobId === job.id) problems.push(`${name} is over and has the turn of a robot`);
    }
    return problems;
  }
}

function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`the laboratory has no ${what}`);
  return value;
}
