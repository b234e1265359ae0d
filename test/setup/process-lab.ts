import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import type { Mark, MotionOrder, StepRef, StorageActivities } from '../../activities/contract.ts';
import { createMotionActivities } from '../../activities/motion.ts';
import { MotionWatch } from '../../activities/motion-watch.ts';
import { createRobotActivities } from '../../activities/robot.ts';
import { createStorageActivities } from '../../activities/storage.ts';
import { takeEpoch } from '../../db/gateway.ts';
import { createUser } from '../../db/identity.ts';
import { insertJob, type JobRecord, type JobStepRecord, jobById } from '../../db/jobs.ts';
import { markSent, readMotion, settleMotion } from '../../db/motion.ts';
import { enrolRobot } from '../../db/robots.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Actor, Role } from '../../domain/actor.ts';
import type { Confirmation } from '../../domain/confirmation.ts';
import type { MotionReading } from '../../domain/controller.ts';
import type { JobKind } from '../../domain/job.ts';
import type { NewSample, Order } from '../../domain/order.ts';
import { releaseStep } from '../../domain/turns.ts';
import { workflowIds } from '../../workflows/ids.ts';
import type { PlaceRef, Reservation } from '../../workflows/messages/job.ts';
import { addLocation, openStore, positionsOf, storeSample, type TestStore } from './store.ts';

export type Accepted = Extract<Reservation, { outcome: 'accepted' }>;

export const AWAIT_SCAN: Mark = {
  state: 'AWAITING_PERSON',
  phase: 'AWAITING_CONFIRMATION',
  waitingFor: { kind: 'scan' },
};
export const AT_WORK: Mark = { state: 'RUNNING', phase: 'AWAITING_TURN', waitingFor: null };
export const UNDOING: Mark = { state: 'COMPENSATING', phase: 'PUTTING_BACK', waitingFor: null };

/** A signal that a robot's entity was sent. */
export interface SentSignal {
  readonly workflowId: string;
  readonly signal: unknown;
  readonly args: readonly unknown[];
}

/** A sample as its row says. */
export interface SampleRow {
  readonly custody: string;
  readonly position_id: string | null;
  readonly robot_id: string | null;
  readonly holder_id: string | null;
  readonly candidates: unknown;
  readonly witness: string;
  readonly ai_optimized: boolean;
  readonly job_id: string | null;
  readonly version: number;
}

export interface PositionRow {
  readonly id: string;
  readonly state: string;
  readonly sample_id: string | null;
  readonly job_id: string | null;
  readonly lease_expires_at: Date | null;
}

export interface SampleEntry {
  readonly type: string;
  readonly from: string | null;
  readonly to: string | null;
  readonly reason: string;
  readonly actor: string;
}

/** A store with a robot, and the real activities over it. */
export class ProcessLab {
  readonly store: TestStore;
  readonly freezer: string;
  readonly box: string;
  readonly handoff: string;
  readonly robotId: string;
  readonly storage: StorageActivities;
  readonly watch: MotionWatch;
  readonly motion;
  readonly robots;
  readonly signals: SentSignal[] = [];
  /** longer than a test; short ones are made by `lapse` */
  static readonly LEASE_MS = 10 * 60_000;
  #tubes = 0;
  #epoch: number | null = null;

  private constructor(store: TestStore, freezer: string, box: string, handoff: string, robotId: string) {
    this.store = store;
    this.freezer = freezer;
    this.box = box;
    this.handoff = handoff;
    this.robotId = robotId;
    this.watch = new MotionWatch(store.lab.database.appUrl);
    this.storage = createStorageActivities({ db: store.db, leaseMs: ProcessLab.LEASE_MS });
    this.motion = createMotionActivities({ db: store.db, watch: this.watch });
    const signals = this.signals;
    this.robots = createRobotActivities({
      db: store.db,
      workflows: {
        async signalWithStart(_workflow, options) {
          const { workflowId, signal, signalArgs } = options;
          signals.push({ workflowId, signal, args: signalArgs });
        },
        getHandle: (workflowId) => ({
          async signal({ name }, told) {
            signals.push({ workflowId, signal: name, args: [told] });
          },
        }),
      },
    });
  }

  static async open(): Promise<ProcessLab> {
    const store = await openStore(32);
    const site = await addLocation(store, { type: 'site', name: 'Main' });
    const freezer = await addLocation(store, { type: 'freezer', name: 'F1', parent: site });
    const box = await addLocation(store, {
      type: 'box_9x9',
      name: 'B1',
      parent: freezer,
      barcode: 'BOX-B1',
      robotAddress: { cassette: 1, level: 1 },
    });
    const handoff = await addLocation(store, {
      type: 'handoff',
      name: 'H1',
      parent: freezer,
      barcode: 'HANDOFF-H1',
      isHandoff: true,
      grid: { rows: 1, columns: 8, rowLabels: 'upper', columnLabels: 'number' },
      robotAddress: { cassette: 9, level: 1 },
    });
    const robot = await enrolRobot(store.db, store.context, {
      name: 'R1',
      storeId: freezer,
      handoffId: handoff,
      driver: 'modbus',
      host: '127.0.0.1',
      port: 1502,
      unitId: 1,
    });
    return new ProcessLab(store, freezer, box, handoff, robot.id);
  }

  async close(): Promise<void> {
    await this.watch.close();
    await this.store.lab.close();
  }

  get actor(): Actor {
    return this.store.actor;
  }

  async addPerson(role: Role = 'lab_technician'): Promise<Actor> {
    const tag = uuidv7();
    const user = await createUser(
      this.store.db,
      { actor: this.actor },
      {
        email: `${tag}@example.org`,
        displayName: 'Second Person',
        password: 'a long enough password',
        role,
      },
    );
    return { tenantId: user.tenantId, userId: user.id, role, stationId: null };
  }

  newTube(over: Partial<NewSample> = {}): NewSample {
    this.#tubes += 1;
    return { barcode: `TUBE-${this.#tubes}`, type: 'plasma', project: null, zone: '-80', ...over };
  }

  /** A tube that stands in a free position of the box. */
  async storedTube(): Promise<{ sampleId: string; barcode: string; positionId: string }> {
    const { barcode } = this.newTube();
    const positionId = await this.freePosition();
    return { sampleId: await storeSample(this.store, { barcode, positionId }), barcode, positionId };
  }

  async freePosition(): Promise<string> {
    const ids = await positionsOf(this.store, this.box);
    const rows = await this.rows<{ id: string }>(
      sql`SELECT id FROM position WHERE id = ANY (${ids}::uuid[]) AND state = 'free' ORDER BY ordinal DESC LIMIT 1`,
    );
    return String(rows[0]?.id);
  }

  async addJob(
    kind: JobKind,
    mode: 'hand' | 'robot',
    order: Order,
    sampleId: string = uuidv7(),
    confirmation: Confirmation | null = null,
  ): Promise<Job> {
    const id = uuidv7();
    const workflowId = workflowIds[kind](this.store.tenantId, id);
    await inTenant(this.store.db, this.store.tenantId, (tx) =>
      insertJob(tx, {
        id,
        kind,
        mode,
        workflowId,
        sampleId,
        robotId: null,
        priority: 20,
        actor: this.actor,
        input: { order, confirmation },
      }),
    );
    return new Job(this, id, workflowId, sampleId);
  }

  placement(
    newSample: NewSample | null,
    over: { mode?: 'hand' | 'robot'; sampleId?: string; positionId?: string; withinId?: string } = {},
  ): Promise<Job> {
    const target = over.positionId
      ? ({ kind: 'named', positionId: over.positionId } as const)
      : ({ kind: 'chosen', withinId: over.withinId ?? null } as const);
    return this.addJob(
      'placement',
      over.mode ?? 'hand',
      { kind: 'placement', newSample, target, handoffPositionId: null },
      over.sampleId,
    );
  }

  retrieval(sampleId: string, mode: 'hand' | 'robot' = 'hand'): Promise<Job> {
    return this.addJob('retrieval', mode, { kind: 'retrieval', handoffPositionId: null }, sampleId);
  }

  move(sampleId: string, mode: 'hand' | 'robot' = 'hand', positionId?: string): Promise<Job> {
    const target = positionId
      ? ({ kind: 'named', positionId } as const)
      : ({ kind: 'chosen', withinId: this.box } as const);
    return this.addJob('move', mode, { kind: 'move', target }, sampleId);
  }

  scan(place: PlaceRef, sampleBarcode: string | null, over: Partial<Confirmation> = {}): Confirmation {
    return {
      actor: this.actor,
      sampleBarcode,
      containerBarcode: place.containerId === this.handoff ? 'HANDOFF-H1' : 'BOX-B1',
      position: place.label,
      secondPersonId: null,
      ...over,
    };
  }

  async rows<R>(query: ReturnType<typeof sql<R>>): Promise<R[]> {
    const { rows } = await inTenant(this.store.db, this.store.tenantId, (tx) => query.execute(tx));
    return rows;
  }

  async sample(id: string): Promise<SampleRow | undefined> {
    const [row] = await this.rows<SampleRow>(sql`SELECT * FROM sample WHERE id = ${id}`);
    return row;
  }

  async position(id: string): Promise<PositionRow> {
    const [row] = await this.rows<PositionRow>(sql`SELECT * FROM position WHERE id = ${id}`);
    if (!row) throw new Error(`there is no position ${id}`);
    return row;
  }

  /** The ledger's entries of one sample, in the order of the log. */
  entries(sampleId: string): Promise<SampleEntry[]> {
    return this.rows<SampleEntry>(sql`
      SELECT leaf ->> 'type' AS type, leaf ->> 'from' AS from, leaf ->> 'to' AS to, leaf ->> 'reason' AS reason,
             leaf ->> 'actor' AS actor
      FROM (SELECT seq, convert_from(leaf, 'UTF8')::jsonb AS leaf FROM ledger.entry) e
      WHERE leaf ->> 'aggregate' = 'sample' AND leaf ->> 'aggregate_id' = ${sampleId} ORDER BY seq`);
  }

  /** Lets the leases of a job have run out. */
  async lapse(jobId: string): Promise<void> {
    await inTenant(this.store.db, this.store.tenantId, (tx) =>
      sql`UPDATE position SET lease_expires_at = now() - ${3 * ProcessLab.LEASE_MS} * interval '1 millisecond'
        WHERE job_id = ${jobId} AND lease_expires_at IS NOT NULL`.execute(tx),
    );
  }

  /** The gateway's part: commits SENT. */
  async send(commandId: string): Promise<void> {
    const motion = await readMotion(this.store.db, this.store.tenantId, commandId);
    if (!motion) throw new Error(`there is no command ${commandId}`);
    this.#epoch ??= await takeEpoch(this.store.db, this.store.tenantId, this.robotId, 'test');
    const key = {
      tenantId: this.store.tenantId,
      robotId: this.robotId,
      number: motion.number,
      epoch: this.#epoch,
    };
    const right = await markSent(this.store.db, key, motion.number - 1);
    if (right !== 'sent') throw new Error(`the gateway may not send: ${right}`);
  }

  /** The gateway's part: writes how a sent motion ended. */
  async settle(
    commandId: string,
    state: 'DONE' | 'FAILED' | 'UNKNOWN',
    reading: Partial<MotionReading>,
  ): Promise<void> {
    const motion = await readMotion(this.store.db, this.store.tenantId, commandId);
    if (!motion || this.#epoch === null) throw new Error(`command ${commandId} was not sent`);
    const key = {
      tenantId: this.store.tenantId,
      robotId: this.robotId,
      number: motion.number,
      epoch: this.#epoch,
    };
    const silent = {
      errorCode: null,
      carrier: null,
      source: null,
      target: null,
      barcode: null,
      stop: null,
      detail: 'test',
    };
    await settleMotion(this.store.db, key, state, { ...silent, ...reading });
  }
}

/** A job, driven step by step as its workflow would. */
export class Job {
  readonly lab: ProcessLab;
  readonly id: string;
  readonly workflowId: string;
  readonly sampleId: string;
  #steps = 0;
  #fence = 0;

  constructor(lab: ProcessLab, id: string, workflowId: string, sampleId: string) {
    this.lab = lab;
    this.id = id;
    this.workflowId = workflowId;
    this.sampleId = sampleId;
  }

  /** A step's reference; without a name, the next one nobody has used. */
  ref(step?: string): StepRef {
    this.#steps += 1;
    return {
      actor: this.lab.actor,
      jobId: this.id,
      workflowId: this.workflowId,
      step: step ?? `step/${this.#steps}`,
    };
  }

  async row(): Promise<JobRecord & { readonly steps: readonly JobStepRecord[] }> {
    const row = await jobById(this.lab.store.db, this.lab.store.tenantId, this.id);
    if (!row) throw new Error(`there is no job ${this.id}`);
    return row;
  }

  async reserve(next: Mark = AWAIT_SCAN): Promise<Reservation> {
    const { kind } = await this.row();
    const { storage } = this.lab;
    if (kind === 'placement') return storage.reservePlacement(this.ref('reserve'), next);
    if (kind === 'retrieval') return storage.reserveRetrieval(this.ref('reserve'), next);
    return storage.reserveMove(this.ref('reserve'), next);
  }

  async reserved(next: Mark = AWAIT_SCAN): Promise<Accepted> {
    const answer = await this.reserve(next);
    if (answer.outcome === 'refused') throw new Error(`refused: ${answer.refusal.detail}`);
    return answer;
  }

  async takeTurn(turn = 1): Promise<number> {
    const { lab } = this;
    const request = { jobId: this.id, turn, workflowId: this.workflowId, priority: 20, requestedAt: 0 };
    const grant = await lab.robots.grantTurn(lab.store.tenantId, lab.robotId, request, []);
    if (!grant || !('fence' in grant)) throw new Error('the turn was not granted');
    this.#fence = grant.fence;
    return grant.fence;
  }

  async endTurn(turn: number | null = null): Promise<void> {
    await this.lab.robots.releaseTurn(this.ref(releaseStep(turn)), this.lab.robotId, turn);
  }

  order(operation: MotionOrder['operation'], positionId: string): MotionOrder {
    return {
      operation,
      robotId: this.lab.robotId,
      fence: this.#fence,
      positionId,
      attempt: 1,
      next: { state: 'RUNNING', phase: 'PICKING', waitingFor: null },
    };
  }

  async submit(operation: MotionOrder['operation'], positionId: string): Promise<string> {
    const { commandId } = await this.lab.motion.submitMotion(this.ref(), this.order(operation, positionId));
    return commandId;
  }
}
