import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import type { temporal } from '@temporalio/proto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinal } from '../../domain/job.ts';
import { until } from '../../stack/processes.ts';
import { statusOf } from '../../workers/job-sweep.ts';
import type { JobOutcome } from '../../workflows/messages/job.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { reconcile } from '../workflows/branches/reconcile.ts';
import { Floor } from '../workflows/floor.ts';
import type { FakeJob } from '../workflows/laboratory.ts';
import { actOf, PLAYS, type Play, prepare, trueAnswer } from '../workflows/play.ts';

/**
 * What somebody with the Temporal CLI can do behind the laboratory's back, at every moment of a job: terminate its workflow,
 * and reset it to any of its completed workflow tasks. A cancel from there is in test/workflows/cancel.test.ts.
 */
let floor: Floor;
beforeAll(async () => {
  floor = await Floor.open(temporalServer(), workflowBundle());
});
afterAll(() => floor?.close());

const DEADLINE_MS = 60_000;

/** The sweep takes over a job whose workflow was reset, and on which nothing is written for so long. */
const QUIET_MS = 3_000;
/** Workflows that were reset, by job. */
const resets = new Map<string, string>();
/** How often the sweep had to. */
let takenOver = 0;

/** States and phases of the jobs at the moment somebody interfered. */
const hits = new Map<string, number>();

/** A moment of a job: while its n-th step runs, before or after it did anything; or while it waits for somebody. */
interface Moment {
  readonly n: number;
  readonly when: 'before' | 'after' | 'waiting';
}

/** Number of an event of a history. */
type Task = NonNullable<
  temporal.api.workflowservice.v1.IResetWorkflowExecutionRequest['workflowTaskFinishEventId']
>;

interface Interference {
  readonly at: Moment;
  strike(job: FakeJob): Promise<void>;
}

/**
 * Plays a job to its end, whoever interferes: people do what it waits for, as long as it waits, and the operator says what
 * is true.
 * @returns the job, and how many moments there were
 */
async function playOn(of: Play, interference: Interference | null) {
  const { job, setup: usual } = prepare(floor, of);
  // A run that waits for nothing any more, since its job is over, finds out when its wait ends.
  const setup = { ...usual, limits: { pickupMs: 8_000, escalateMs: [4_000], ...usual.limits } };
  const robot = floor.lab.robot(job.robotId ?? '');
  let steps = 0;
  let waits = 0;
  let hasStruck = false;
  const strike = async ({ n, when }: Moment): Promise<void> => {
    const { at } = interference ?? {};
    if (interference === null || hasStruck || at?.n !== n || at.when !== when) return;
    hasStruck = true;
    const where = `${job.state} ${job.phase}`;
    hits.set(where, (hits.get(where) ?? 0) + 1);
    await interference.strike(job);
  };
  floor.hooks.set(job.id, {
    // A step that still runs when its workflow is gone does what it was about to do: the record refuses it or has it already.
    before: ({ n }) => {
      steps += 1;
      return strike({ n, when: 'before' });
    },
    after: ({ n }) => strike({ n, when: 'after' }),
  });
  const begun = floor.begin(job, setup);
  begun.reservation.catch(() => {}); // its workflow may be gone before it answers
  begun.handle.catch(() => {});
  let said: (() => Promise<unknown>) | null = null;
  let seen = { row: '', at: 0 };
  for (const end = Date.now() + DEADLINE_MS; !(await isOver(job)); await sleep(30)) {
    if (Date.now() > end)
      throw new Error(`${job.kind} ${job.id} stays ${job.state} ${job.phase}: it went silent`);
    const row = `${job.state} ${job.phase} ${job.faultId}`;
    if (row !== seen.row) seen = { row, at: Date.now() };
    if (resets.get(job.id) === job.workflowId && Date.now() - seen.at > QUIET_MS) {
      said = null;
      takenOver += 1;
      await floor.client.workflow.getHandle(job.workflowId).terminate('reset from outside');
      await takeOver(job, 'workflow_reset');
    }
    if (said === null) {
      said = messageTo(job);
      const isHeld = job.state === 'SAFETY_HOLD' && robot.heldFaults.length > 0;
      if (said === null && !isHeld) continue;
      await strike({ n: waits, when: 'waiting' });
      waits += 1;
      // Whoever is asked, or waited for, has reset the robot and released it.
      robot.stop = null;
      if (isHeld) robot.heldFaults = [];
    }
    // Whoever gets no answer says it again, as the API does; a refusal is an answer.
    if (await said?.().then(isAnswered, isRefused)) said = null;
  }
  return { job, steps, waits, hasStruck };
}

const isAnswered = () => true;
/** Anything else is no answer: the run that would have given one is gone. */
const isRefused = (error: unknown): boolean => error instanceof WorkflowUpdateFailedError;

/** What somebody has to tell the job now; null while it waits for nobody. */
function messageTo(job: FakeJob): (() => Promise<unknown>) | null {
  const act = actOf(job, floor.lab.robot(job.robotId ?? ''));
  if (act === undefined || act === 'release') return null;
  const to = () => ({
    job,
    handle: floor.client.workflow.getHandle<() => Promise<JobOutcome>>(job.workflowId),
  });
  if (act === 'hand-over') return () => floor.handOver(to());
  if (act === 'confirm') {
    const scan = floor.lab.goodScan(job);
    return () => floor.confirm(to(), scan);
  }
  const change = { faultId: job.faultId ?? '' };
  const truth = trueAnswer(floor, job);
  // Who takes a job over moves nothing: then the tube is taken out of the carrier.
  const isTakenOver = job.parkedBy?.includes(':reconcile:') === true;
  const answer = truth === 'in_carrier' && isTakenOver ? 'with_me' : truth;
  return () => floor.decide(to(), answer, change);
}

/** The job is settled, and no workflow works on it any more. */
async function isOver(job: FakeJob): Promise<boolean> {
  if (!isFinal(job.state)) return false;
  return (await statusOf(floor.client, job.workflowId)) !== 'RUNNING';
}

async function momentsOf(of: Play): Promise<Moment[]> {
  const { steps, waits } = await playOn(of, null);
  const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);
  return [
    ...numbers(steps).flatMap((n): Moment[] => [
      { n, when: 'before' },
      { n, when: 'after' },
    ]),
    ...numbers(waits).map((n): Moment => ({ n, when: 'waiting' })),
  ];
}

/** Somebody terminates the workflow; the sweep finds the job live, and has it taken over. */
async function terminate(job: FakeJob): Promise<void> {
  await floor.client.workflow.getHandle(job.workflowId).terminate('by hand');
  await takeOver(job, 'workflow_terminated');
}

/** What the sweep does with a live job whose workflow is gone, or was reset and is quiet. */
async function takeOver(job: FakeJob, cause: 'workflow_terminated' | 'workflow_reset'): Promise<void> {
  const lost = job.workflowId;
  await reconcile(floor, { job }, cause);
  await until('the job being taken over', 30_000, () => isFinal(job.state) || job.workflowId !== lost);
}

/** Events at which workflow tasks of the latest run were completed: what it can be reset to. */
async function tasksOf(job: FakeJob): Promise<{ readonly runId: string; readonly events: readonly Task[] }> {
  const handle = floor.client.workflow.getHandle(job.workflowId);
  const [{ runId }, { events }] = await Promise.all([handle.describe(), handle.fetchHistory()]);
  const completed = (events ?? []).filter((event) => event.workflowTaskCompletedEventAttributes != null);
  return { runId, events: completed.flatMap(({ eventId }) => eventId ?? []) };
}

/** Resets the workflow to one of its completed tasks, to another one for each index. */
async function resetSomewhere(job: FakeJob, index: number): Promise<void> {
  const { runId, events } = await tasksOf(job);
  const event = events[index % events.length];
  if (event === undefined) return; // its first task has not ended yet
  resets.set(job.id, job.workflowId);
  await floor.client.workflowService.resetWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId: job.workflowId, runId },
    reason: 'by hand',
    workflowTaskFinishEventId: event,
    requestId: randomUUID(),
  });
}

/** A job that is over stays as it is. */
async function resetWhenOver(job: FakeJob, index: number): Promise<void> {
  const { state, detail } = job;
  const motions = floor.lab.motions.length;
  await resetSomewhere(job, index);
  await until('the end of the reset workflow', 30_000, () => isOver(job));
  expect(job).toMatchObject({ state, detail });
  expect(floor.lab.motions.length).toBe(motions);
}

describe.each(Object.entries(PLAYS))('%s', (_name, of) => {
  test('terminated at every moment ends finished, or by a person’s answer', async () => {
    const moments = await momentsOf(of);
    expect(moments.length).toBeGreaterThan(3);
    const all = await Promise.all(moments.map((at) => playOn(of, { at, strike: terminate })));
    expect(all.filter(({ hasStruck }) => hasStruck).length).toBeGreaterThan(moments.length / 2);
    expect(floor.lab.problems()).toEqual([]);
  }, 180_000);

  test('reset at every moment, to any of its workflow tasks, ends finished and moves nothing twice', async () => {
    const moments = (await momentsOf(of)).filter(({ when }) => when !== 'after');
    // Every moment goes back to another of the tasks that are completed then; between them, each is gone back to.
    const all = await Promise.all(
      moments.map((at, index) => playOn(of, { at, strike: (job) => resetSomewhere(job, index) })),
    );
    const over = await Promise.all(all.slice(0, 8).map(({ job }, index) => resetWhenOver(job, index)));
    expect(over.length).toBeGreaterThan(0);
    expect(floor.lab.problems()).toEqual([]);
  }, 180_000);
});

test('all that was done at each state of a job', () => {
  const rows = [...hits].sort(([one], [other]) => one.localeCompare(other));
  console.log(rows.map(([where, count]) => `${String(count).padStart(5)}  ${where}`).join('\n'));
  console.log(`${resets.size} resets, of which ${takenOver} jobs were taken over`);
  const states = new Set(rows.map(([where]) => where.split(' ')[0]));
  const live = ['QUEUED', 'RUNNING', 'AWAITING_PERSON', 'AWAITING_OPERATOR', 'SAFETY_HOLD', 'COMPENSATING'];
  expect([...states]).toEqual(expect.arrayContaining(live));
});
