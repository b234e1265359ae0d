import { randomUUID } from 'node:crypto';
import {
  Client,
  type HistoryAndWorkflowId,
  WithStartWorkflowOperation,
  type WorkflowHandle,
  type WorkflowHandleWithFirstExecutionRunId,
  WorkflowNotFoundError,
} from '@temporalio/client';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkflowBundleOption,
} from '@temporalio/worker';
import type { Confirmation } from '../../domain/confirmation.ts';
import { needsScan } from '../../domain/fault.ts';
import type { JobKind } from '../../domain/job.ts';
import type { TemporalConnection } from '../../schemas/environment.ts';
import { until } from '../../stack/processes.ts';
import { RESERVED_UPDATE_ID, workflowIds } from '../../workflows/ids.ts';
import {
  type Answer,
  cancelUpdate,
  confirmUpdate,
  type Decision,
  decideUpdate,
  handOverUpdate,
  type JobLimits,
  type JobOutcome,
  type Reservation,
  reservedUpdate,
} from '../../workflows/messages/job.ts';
import { type PicklistInput, type PicklistOutcome, RUN_PICKLIST } from '../../workflows/messages/picklist.ts';
import { jobStart, picklistStartOptions } from '../../workflows/messages/start.ts';
import { createFakeActivities, type Hooks, type LaboratoryActivities } from './fakes.ts';
import {
  type FakeJob,
  type FakePicklist,
  type FakePicklistItem,
  type FakePosition,
  type FakeRobot,
  Laboratory,
} from './laboratory.ts';

/** How a job of the tests is set up. */
export interface JobSetup {
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  readonly robot?: FakeRobot;
  /** the scan comes with the order */
  readonly isScanned?: boolean | Partial<Confirmation>;
  readonly limits?: JobLimits;
  /** the target; by default a free position of its own */
  readonly target?: FakePosition;
  /** the hand-off position that is asked for; by default one of its own */
  readonly handoff?: FakePosition;
  /** before anything runs */
  readonly prepare?: (job: FakeJob) => void;
  readonly priority?: number;
}

/** How a picklist of the tests is set up. */
export interface PicklistSetup {
  readonly maxHistory?: number;
  /** before anything runs */
  readonly prepare?: (list: FakePicklist) => void;
}

/** A picklist under way. */
export interface RunningPicklist {
  readonly list: FakePicklist;
  readonly handle: WorkflowHandleWithFirstExecutionRunId<(input: PicklistInput) => Promise<PicklistOutcome>>;
}

/** A job under way. */
export interface RunningJob {
  readonly job: FakeJob;
  readonly handle: WorkflowHandle<() => Promise<JobOutcome>>;
  readonly robot: FakeRobot;
  /** the early answer */
  readonly reservation: Reservation;
}

// One runtime a process. Refusals and stuck undos are what these tests are about: no warnings of them.
Runtime.install({ logger: new DefaultLogger('ERROR') });

/** Whom people's messages go to. */
export type Addressee = Pick<RunningJob, 'job' | 'handle'>;

const SHORT = '2 seconds';

/** Looks at a robot are near each other and few, unless a test says otherwise. */
const LIMITS: JobLimits = { observeEveryMs: 100, observeMs: 250, holdLookMs: 100 };

/**
 * Replays workflows on the code as it is.
 * @throws Error naming those that do not replay: whatever happened to a workflow, a worker that lost it must be able to take
 *   it up again
 */
export async function replayAll(
  workflowBundle: WorkflowBundleOption,
  histories: readonly HistoryAndWorkflowId[],
): Promise<void> {
  const failed: string[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle }, histories)) {
    if (error !== undefined) failed.push(`${workflowId}: ${error.message}`);
  }
  if (failed.length > 0) throw new Error(`${failed.length} histories do not replay:\n${failed.join('\n')}`);
}

/** A worker over a laboratory in memory, and the messages people send. */
export class Floor {
  readonly lab: Laboratory;
  readonly client: Client;
  readonly taskQueue: string;
  readonly activities: LaboratoryActivities;
  /** hooks of single jobs and robots, by id */
  readonly hooks = new Map<string, Hooks>();
  /** before any call's own hook */
  beforeEach: NonNullable<Hooks['before']> = () => {};
  /** of jobs that say nothing of their own */
  limits = LIMITS;
  readonly #connection: NativeConnection;
  readonly #bundle: WorkflowBundleOption;
  #worker: { readonly worker: Worker; readonly ended: Promise<void> } | null = null;

  private constructor(
    connection: NativeConnection,
    bundle: WorkflowBundleOption,
    tenantId: string,
    taskQueue: string,
  ) {
    this.#connection = connection;
    this.#bundle = bundle;
    this.lab = new Laboratory(tenantId);
    this.client = new Client({ connection, identity: 'floor' });
    this.taskQueue = taskQueue;
    this.activities = createFakeActivities({
      laboratory: this.lab,
      client: this.client,
      taskQueue: this.taskQueue,
      hooks: {
        before: async (call) => {
          await this.beforeEach(call);
          await this.hooks.get(call.whose)?.before?.(call);
        },
        after: (call) => this.hooks.get(call.whose)?.after?.(call),
      },
    });
  }

  /**
   * @param tenantId separates the floors that share a server
   * @param taskQueue on `control` nobody looks at the robots: that is the gateways' work, and there are none
   */
  static async open(
    server: TemporalConnection,
    bundle: WorkflowBundleOption,
    tenantId: string = randomUUID(),
    taskQueue = `control-${tenantId}`,
  ): Promise<Floor> {
    const floor = await Floor.openWithoutWorker(server, bundle, tenantId, taskQueue);
    await floor.startWorker();
    return floor;
  }

  /** For tests that run the worker elsewhere. */
  static async openWithoutWorker(
    server: TemporalConnection,
    bundle: WorkflowBundleOption,
    tenantId: string = randomUUID(),
    taskQueue = `control-${tenantId}`,
  ): Promise<Floor> {
    return new Floor(await NativeConnection.connect(server), bundle, tenantId, taskQueue);
  }

  async startWorker(): Promise<void> {
    const worker = await Worker.create({
      connection: this.#connection,
      identity: 'worker',
      taskQueue: this.taskQueue,
      workflowBundle: this.#bundle,
      activities: this.activities,
      stickyQueueScheduleToStartTimeout: SHORT,
    });
    this.#worker = { worker, ended: worker.run() };
  }

  /** @throws Error naming the histories that do not replay */
  async close(): Promise<void> {
    await replayAll(this.#bundle, await this.end());
  }

  /** Ends the worker. @returns what its workflows went through, for {@link replayAll} */
  async end(): Promise<HistoryAndWorkflowId[]> {
    this.#worker?.worker.shutdown();
    await this.#worker?.ended;
    const histories: HistoryAndWorkflowId[] = [];
    for await (const each of this.#histories()) histories.push(each);
    await this.#connection.close();
    return histories;
  }

  /** Of every job, robot and picklist that had a workflow. */
  async *#histories(): AsyncGenerator<HistoryAndWorkflowId> {
    const { actor, jobs, robots, picklists } = this.lab;
    const ids = [
      ...[...jobs.values()].map(({ workflowId }) => workflowId),
      ...[...robots.keys()].map((id) => workflowIds.robot(actor.tenantId, id)),
      ...[...picklists.keys()].map((id) => workflowIds.picklist(actor.tenantId, id)),
    ];
    for (const workflowId of ids) {
      const handle = this.client.workflow.getHandle(workflowId);
      const isThere = await handle.describe().catch((error: unknown) => {
        if (error instanceof WorkflowNotFoundError) return null;
        throw error;
      });
      if (isThere !== null) yield { workflowId, history: await handle.fetchHistory() };
    }
  }

  /** Puts a job's row, tube and places into the laboratory. */
  prepare(setup: JobSetup): FakeJob {
    const { lab } = this;
    const order = this.#furnish(setup);
    const id = lab.newId();
    const job = lab.addJob({ ...order, id, workflowId: workflowIds[order.kind](lab.actor.tenantId, id) });
    setup.prepare?.(job);
    return job;
  }

  #furnish(setup: JobSetup): FakePicklistItem['order'] {
    const { lab } = this;
    const { kind, mode } = setup;
    const robot = setup.robot ?? lab.addRobot();
    const sample = lab.addSample(kind === 'placement' ? null : lab.addPosition());
    const target = setup.target ?? lab.addPosition();
    const handoff = setup.handoff ?? lab.addPosition('handoff');
    return {
      kind,
      mode,
      sampleId: sample.id,
      robotId: robot.id,
      target: { kind: 'named', positionId: target.place.positionId },
      handoffPositionId: handoff.place.positionId,
    };
  }

  /** Puts a picklist and its tubes into the laboratory, in the planned order, and starts its workflow. */
  async startPicklist(
    setups: readonly JobSetup[],
    window: number,
    { maxHistory, prepare }: PicklistSetup = {},
  ): Promise<RunningPicklist> {
    const list = this.lab.addPicklist(
      window,
      setups.map((setup) => this.#furnish(setup)),
    );
    prepare?.(list);
    const { args, ...options } = picklistStartOptions(this.lab.actor.tenantId, list.id);
    const handle = await this.client.workflow.start<(input: PicklistInput) => Promise<PicklistOutcome>>(
      RUN_PICKLIST,
      {
        workflowId: options.workflowId,
        workflowTaskTimeout: SHORT,
        taskQueue: this.taskQueue,
        args: [{ ...args[0], ...(maxHistory !== undefined && { maxHistory }) }],
      },
    );
    return { list, handle };
  }

  /** A tube's job under way, once the list has started it. */
  async tube({ list }: RunningPicklist, n: number): Promise<Addressee> {
    const item = list.items[n];
    if (!item) throw new Error(`the list has no tube ${n}`);
    await until(`tube ${n} being under way`, 20_000, () => item.state === 'RUNNING');
    const { job } = item;
    if (job === null) throw new Error(`tube ${n} is under way without a job`);
    return { job, handle: this.client.workflow.getHandle(job.workflowId) };
  }

  /** Starts a job as the API does, and waits for the early answer. */
  async start(setup: JobSetup): Promise<RunningJob> {
    const job = this.prepare(setup);
    const { handle, reservation } = this.begin(job, setup);
    return {
      job,
      handle: await handle,
      robot: this.lab.robot(job.robotId ?? ''),
      reservation: await reservation,
    };
  }

  /** Starts the workflow of a prepared job. */
  begin(job: FakeJob, setup: JobSetup) {
    const confirmation = setup.isScanned ? this.#firstScan(job, setup.isScanned) : null;
    const start = jobStart({ ...job, priority: setup.priority ?? 20, input: { confirmation } });
    const operation = new WithStartWorkflowOperation<() => Promise<JobOutcome>>(start.workflowName, {
      workflowId: start.workflowId,
      taskQueue: this.taskQueue,
      workflowTaskTimeout: SHORT,
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      args: [{ ...start.input, limits: { ...this.limits, ...setup.limits } }] as never,
    });
    const reservation = this.client.workflow.executeUpdateWithStart(reservedUpdate, {
      updateId: RESERVED_UPDATE_ID,
      startWorkflowOperation: operation,
    });
    return { handle: operation.workflowHandle(), reservation };
  }

  #firstScan(job: FakeJob, given: true | Partial<Confirmation>): Confirmation {
    const at = job.mode === 'robot' ? this.lab.position(job.handoffPositionId ?? '') : this.#targetOf(job);
    const right: Confirmation = {
      actor: this.lab.actor,
      sampleBarcode: this.lab.sample(job.sampleId).barcode,
      containerBarcode: at.containerBarcode,
      position: at.place.label,
      secondPersonId: null,
    };
    return given === true ? right : { ...right, ...given };
  }

  #targetOf(job: FakeJob): FakePosition {
    if (job.target.kind !== 'named') throw new Error('the job has no named target');
    return this.lab.position(job.target.positionId);
  }

  confirm({ job, handle }: Addressee, change: Partial<Confirmation> = {}): Promise<Answer> {
    return handle.executeUpdate(confirmUpdate, { args: [{ ...this.lab.goodScan(job), ...change }] });
  }

  handOver(
    { job, handle }: Addressee,
    sampleBarcode = this.lab.sample(job.sampleId).barcode,
  ): Promise<Answer> {
    return handle.executeUpdate(handOverUpdate, { args: [{ actor: this.lab.actor, sampleBarcode }] });
  }

  cancel({ handle }: Pick<RunningJob | RunningPicklist, 'handle'>): Promise<Answer> {
    return handle.executeUpdate(cancelUpdate, { args: [{ actor: this.lab.actor, reason: null }] });
  }

  decide(
    { job, handle }: Addressee,
    answer: Decision['answer'],
    change: Partial<Decision> = {},
  ): Promise<Answer> {
    const decision: Decision = {
      actor: this.lab.actor,
      faultId: job.faultId ?? '',
      answer,
      next: 'release',
      positionId: null,
      lockedOut: true,
      sampleBarcode: needsScan(answer) ? this.lab.sample(job.sampleId).barcode : null,
      robotFit: true,
      comment: null,
      ...change,
    };
    return handle.executeUpdate(decideUpdate, { args: [decision] });
  }

  /** Waits until the job's row says this. */
  async reaches(
    { job }: Pick<RunningJob, 'job'>,
    state: FakeJob['state'],
    phase?: FakeJob['phase'],
  ): Promise<void> {
    const isThere = () => job.state === state && (phase === undefined || job.phase === phase);
    await until(`${job.kind} ${job.id} reaching ${state} ${phase ?? ''}`, 20_000, isThere).catch(
      (error: Error) => {
        throw new Error(
          `${error.message}; it is ${job.state} ${job.phase}: ${job.detail ?? JSON.stringify(job.waitingFor)}`,
        );
      },
    );
  }

  /** Waits until a job stands in a robot's queue. */
  queues(robotId: string, jobId: string): Promise<void> {
    const robot = this.lab.robot(robotId);
    return until(`job ${jobId} being queued`, 10_000, () => robot.queue.some((each) => each.jobId === jobId));
  }

  /** Waits until a workflow has asked the operator about a job. */
  parkedBy(job: FakeJob, workflowId: string): Promise<void> {
    return until(`job ${job.id} being parked by ${workflowId}`, 10_000, () => job.parkedBy === workflowId);
  }
}
