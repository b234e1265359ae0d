import { WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import { until } from '../../stack/processes.ts';
import type { JobOutcome } from '../../workflows/messages/job.ts';
import { robotReleasedSignal } from '../../workflows/messages/robot.ts';
import type { Addressee, Floor, JobSetup } from './floor.ts';
import type { FakeJob, FakeRobot, RobotFault } from './laboratory.ts';

/** A job and what people do for it, as a campaign repeats it. */
export interface Play {
  readonly setup: JobSetup;
  readonly faults?: readonly RobotFault[];
  /** the robot is a store that takes worklists */
  readonly isByWorklist?: true;
  /** the tube is left in the hand-off */
  readonly isLeft?: true;
}

const hand = (kind: JobSetup['kind']): Play => ({ setup: { kind, mode: 'hand' } });
const robot = (kind: JobSetup['kind']): Play => ({ setup: { kind, mode: 'robot' } });

/** Every workflow in every mode, and the ways on which undos and operators take part. */
export const PLAYS: Readonly<Record<string, Play>> = {
  'placement by hand': hand('placement'),
  'placement by hand, scanned with the order': {
    setup: { kind: 'placement', mode: 'hand', isScanned: true },
  },
  'placement by robot': robot('placement'),
  'placement by robot, pick unanswered': {
    ...robot('placement'),
    faults: [{ on: 'pick', how: 'no_answer' }],
  },
  'placement by robot, place refused': {
    ...robot('placement'),
    faults: [{ on: 'place', how: 'nothing_moved' }],
  },
  'placement by robot, emergency stop at the pick': {
    setup: { kind: 'placement', mode: 'robot', limits: { holdLookMs: 500, observeMs: 30_000 } },
    faults: [{ on: 'pick', how: 'stopped' }],
  },
  'retrieval by hand': hand('retrieval'),
  'retrieval by robot': robot('retrieval'),
  'retrieval by robot, nobody comes': {
    setup: { kind: 'retrieval', mode: 'robot', limits: { pickupMs: 1 } },
    isLeft: true,
  },
  'move by hand': hand('move'),
  'move by robot': robot('move'),
};

/** A moment at which a person does something: when the job says it waits for one, or its robot is held for safety. */
export type Act = 'confirm' | 'hand-over' | 'decide' | 'release';

export function actOf({ state, phase }: FakeJob, robot: FakeRobot): Act | undefined {
  if (state === 'AWAITING_OPERATOR') return 'decide';
  if (state === 'SAFETY_HOLD' && robot.heldFaults.length > 0) return 'release';
  if (state !== 'AWAITING_PERSON') return undefined;
  return phase === 'AT_HANDOFF' ? 'hand-over' : 'confirm';
}

/** A job of a play, prepared and not started. */
export function prepare(
  floor: Floor,
  { setup, faults = [], isByWorklist, isLeft }: Play,
): { readonly job: FakeJob; readonly setup: JobSetup; readonly isLeft: boolean } {
  const arm = setup.robot ?? floor.lab.addRobot(isByWorklist ? 'job' : 'motion');
  arm.faults.push(...faults);
  arm.isWatched = true;
  const armed = { ...setup, robot: arm };
  return { job: floor.prepare(armed), setup: armed, isLeft: isLeft === true };
}

/**
 * Plays a prepared job to its end: people do what it waits for, the operator says what is true.
 * @param before called before each act, with its number from 0 on
 * @throws Error when the job has not ended within so many ms
 */
export async function play(
  floor: Floor,
  { job, setup, isLeft }: ReturnType<typeof prepare>,
  before: (act: number, running: Addressee) => Promise<void> = async () => {},
  withinMs = 60_000,
): Promise<{ readonly outcome: JobOutcome; readonly acts: number }> {
  const begun = floor.begin(job, setup);
  // The answer may be lost together with a worker; the workflow runs on.
  begun.reservation.catch(() => {});
  begun.handle.catch(() => {});
  const handle = floor.client.workflow.getHandle<() => Promise<JobOutcome>>(job.workflowId);
  await until(`${job.kind} ${job.id} being started`, 30_000, async () => {
    return handle.describe().then(
      () => true,
      () => false,
    );
  });
  const running = { job, handle };
  let outcome: JobOutcome | undefined;
  handle.result().then(
    (ended) => {
      outcome = ended;
    },
    () => {}, // a workflow that fails leaves its job open, which the deadline below tells
  );
  let acts = 0;
  let message: (() => Promise<unknown>) | null = null;
  await until(`${job.kind} ${job.id} coming to its end`, withinMs, async () => {
    if (outcome !== undefined) return true;
    if (message === null) {
      const act = actOf(job, floor.lab.robot(job.robotId ?? ''));
      if (act === undefined || (isLeft && act === 'hand-over')) return false;
      await before(acts, running);
      acts += 1;
      message = messageOf(floor, running, act);
    }
    // Whoever gets no answer, because the worker died with the message, says it again.
    if (await message().then(() => true, isAnswer)) message = null;
    return outcome !== undefined;
  }).catch((error: Error) => {
    throw new Error(`${error.message}: ${job.state} ${job.phase}, ${acts} acts`);
  });
  if (outcome === undefined) throw new Error(`${job.kind} ${job.id} has no outcome`);
  return { outcome, acts };
}

/** A refusal, or a workflow that ended meanwhile, is an answer too. */
const isAnswer = (error: unknown): boolean =>
  error instanceof WorkflowUpdateFailedError || error instanceof WorkflowNotFoundError;

/** What a person tells the job now, the same however often it is told. */
function messageOf(floor: Floor, to: Addressee, act: Act): () => Promise<unknown> {
  const { job } = to;
  switch (act) {
    case 'confirm': {
      const scan = floor.lab.goodScan(job);
      return () => floor.confirm(to, scan);
    }
    case 'hand-over':
      return () => floor.handOver(to);
    case 'release':
      return () => releaseRobot(floor, to);
    case 'decide': {
      const answer = trueAnswer(floor, job);
      const faultId = job.faultId ?? '';
      return () => floor.decide(to, answer, { faultId });
    }
  }
}

/** Somebody at the robot resets what stopped it, and releases the fault that holds it. */
async function releaseRobot(floor: Floor, { job, handle }: Addressee): Promise<void> {
  const robot = floor.lab.robot(job.robotId ?? '');
  const [faultId = ''] = robot.heldFaults;
  Object.assign(robot, { stop: null, heldFaults: [] });
  await handle.signal(robotReleasedSignal, { faultId });
}

/** Where the tube really is, in the words of the operator. */
export function trueAnswer(floor: Floor, job: FakeJob) {
  const { physical } = floor.lab.sample(job.sampleId);
  if (physical.kind === 'carrier') return 'in_carrier';
  if (physical.kind === 'person') return 'with_me';
  if (physical.kind === 'floor') return 'not_found';
  const source = job.source ?? job.handoff;
  return physical.positionId === source?.positionId ? 'at_source' : 'at_target';
}
