import { until } from '../../stack/processes.ts';
import type { JobOutcome } from '../../workflows/messages/job.ts';
import type { Addressee, Floor, JobSetup } from './floor.ts';
import type { FakeJob, RobotFault } from './laboratory.ts';

/** A job and what people do for it, as a campaign repeats it. */
export interface Play {
  readonly setup: JobSetup;
  readonly faults?: readonly RobotFault[];
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
  'retrieval by hand': hand('retrieval'),
  'retrieval by robot': robot('retrieval'),
  'retrieval by robot, nobody comes': {
    setup: { kind: 'retrieval', mode: 'robot', limits: { pickupMs: 1 } },
  },
  'move by hand': hand('move'),
  'move by robot': robot('move'),
};

/** A moment at which a person does something: when the job says it waits for one. */
export type Act = 'confirm' | 'hand-over' | 'decide';

export function actOf({ state, phase }: FakeJob): Act | undefined {
  if (state === 'AWAITING_OPERATOR') return 'decide';
  if (state !== 'AWAITING_PERSON') return undefined;
  return phase === 'AT_HANDOFF' ? 'hand-over' : 'confirm';
}

/** A job of a play, prepared and not started. */
export function prepare(
  floor: Floor,
  { setup, faults = [] }: Play,
): { readonly job: FakeJob; readonly setup: JobSetup } {
  const arm = setup.robot ?? floor.lab.addRobot();
  arm.faults.push(...faults);
  const armed = { ...setup, robot: arm };
  return { job: floor.prepare(armed), setup: armed };
}

/**
 * Plays a prepared job to its end: people do what it waits for, the operator says what is true.
 * @param before called before each act, with its number from 0 on
 */
export async function play(
  floor: Floor,
  { job, setup }: ReturnType<typeof prepare>,
  before: (act: number, running: Addressee) => Promise<void> = async () => {},
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
  await until(`${job.kind} ${job.id} coming to its end`, 60_000, async () => {
    const act = actOf(job);
    if (outcome !== undefined || act === undefined) return outcome !== undefined;
    await before(acts, running);
    acts += 1;
    // A refusal, or a workflow that ended meanwhile, is an answer too.
    await perform(floor, running, act).catch(() => {});
    return outcome !== undefined;
  }).catch((error: Error) => {
    throw new Error(`${error.message}: ${job.state} ${job.phase}, ${acts} acts`);
  });
  if (outcome === undefined) throw new Error(`${job.kind} ${job.id} has no outcome`);
  return { outcome, acts };
}

function perform(floor: Floor, to: Addressee, act: Act): Promise<unknown> {
  if (act === 'confirm') return floor.confirm(to);
  if (act === 'hand-over') return floor.handOver(to);
  return floor.decide(to, trueAnswer(floor, to.job));
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
