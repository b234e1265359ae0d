import { z } from 'zod';
import { PICK_TRIES, PLACE_TRIES } from '../../domain/waits.ts';
import { type Job, Started } from '../../schemas/automation.ts';
import type { RunningLaboratory } from './running-laboratory.ts';
import { WORKFLOW_WORKER } from './running-laboratory.ts';
import { addressOf } from './store.ts';
import { awaitsHandOver, type Scene, whereIs } from './tubes.ts';

async function retrieve({ client }: Scene, barcode: string): Promise<Started> {
  return client.post(`/storage/samples/${encodeURIComponent(barcode)}/retrieve`, { mode: 'robot' }, Started);
}

async function tellSteps({ watch, stage }: Scene, jobId: string): Promise<void> {
  const { steps, result } = await watch.withSteps(jobId);
  for (const step of steps) stage.detail(`${step.step.padEnd(24)} ${step.outcome}`);
  if (result?.detail !== undefined) stage.say(`“${result.detail}”`);
}

/** Fetches tubes to the hand-off and hands each to the person who is signed in. */
export async function handOut(scene: Scene, barcodes: readonly string[]): Promise<readonly Job[]> {
  const { client, cell, watch, stage, store } = scene;
  const jobs: Job[] = [];
  for (const barcode of barcodes) {
    const started = await retrieve(scene, barcode);
    const arrived = await watch.until(started.job.id, awaitsHandOver);
    const seat = started.handoff?.label;
    if (!awaitsHandOver(arrived) || seat === undefined) {
      stage.bad(`${barcode} did not reach the hand-off: ${arrived.state}`);
      jobs.push(arrived);
      continue;
    }
    // Hands take the tube out, then the person scans what they hold.
    await cell.takeTube(addressOf(store.handoff, seat));
    await client.post(
      `/automation/jobs/${started.job.id}/hand-over`,
      { sampleBarcode: barcode },
      z.unknown(),
    );
    const job = await watch.until(started.job.id);
    stage.good(
      `${barcode} from ${started.position?.label ?? 'its position'} to hand-off ${seat}, handed over`,
    );
    jobs.push(job);
  }
  return jobs;
}

/** What a compensation did, and whether the tube is back where it was. */
export interface Compensated {
  readonly job: Job;
  readonly isBack: boolean;
}

/**
 * Lets the robot fail in the middle of fetching a tube and follows the undo: the tube must stand where it stood.
 * @param at `pick`: the gripper misses, the tube stays in its place; `place`: it holds the tube and cannot set it down
 */
export async function failHalfWay(scene: Scene, barcode: string, at: 'pick' | 'place'): Promise<Compensated> {
  const { cell, watch, stage } = scene;
  const before = await whereIs(scene.client, barcode);
  // As often as it is tried: a robot that fails once tries again.
  const tries = at === 'pick' ? PICK_TRIES : PLACE_TRIES;
  for (let n = 0; n < tries; n += 1) {
    await cell.arm(
      at === 'pick'
        ? { kind: 'motion_fault', operation: 'pick', tube: 'source' }
        : { kind: 'motion_fault', operation: 'place', tube: 'carrier' },
    );
  }
  stage.struck(
    at === 'pick'
      ? `the gripper misses ${barcode} ${tries} times: error 5, carrier empty, tube still in its position`
      : `the robot has ${barcode} in its gripper and cannot set it down in the hand-off, ${tries} times: error 5`,
  );
  const started = await retrieve(scene, barcode);
  const job = await watch.until(started.job.id);
  await cell.disarm();
  await tellSteps(scene, job.id);
  const after = await whereIs(scene.client, barcode);
  const { carrier } = await cell.look();
  const isBack =
    job.state === 'FAILED' &&
    carrier === null &&
    after?.custody.kind === 'position' &&
    after.position?.positionId === before?.position?.positionId;
  if (isBack)
    stage.good(`undone: ${barcode} is in ${after?.position?.label}, nothing is reserved, the robot is free`);
  else stage.bad(`${barcode} is not back: job ${job.state}, custody ${after?.custody.kind}`);
  return { job, isBack };
}

/** What came of killing the worker. */
export interface Survived {
  readonly job: Job;
  /** picks of this tube by the robot's own log: one, or it was moved twice */
  readonly picks: number;
  readonly restartMs: number;
}

/** Kills the workflow worker while the robot moves a tube from the rack to the box, and sees the move complete. */
export async function killWorkerInMidMove(
  scene: Scene,
  laboratory: RunningLaboratory,
  barcode: string,
): Promise<Survived> {
  const { client, cell, watch, stage, store } = scene;
  const logged = (await cell.motions()).length;
  const target = { within: store.box.id };
  const path = `/storage/samples/${encodeURIComponent(barcode)}/move`;
  const started = await client.post(path, { target, mode: 'robot' }, Started);
  await cell.until('the pick', 60_000, ({ motion }) => motion?.operation === 'pick');
  const { before, restarted } = await laboratory.kill(WORKFLOW_WORKER);
  const killed = Date.now();
  stage.struck(`kill -9 of the workflow worker (pid ${before}) while the robot picks ${barcode}`);
  const now = await restarted();
  const restartMs = Date.now() - killed;
  stage.say(`started again as pid ${now} after ${(restartMs / 1000).toFixed(1)} s`);
  const job = await watch.until(started.job.id);
  await tellSteps(scene, job.id);
  const motions = (await cell.motions()).slice(logged);
  const picks = motions.filter(
    ({ operation, moved }) => operation === 'pick' && moved?.barcode === barcode,
  ).length;
  if (job.state === 'COMPLETED' && picks === 1) {
    stage.good(
      `the move is complete: ${barcode} is in ${store.box.name}, picked once by the robot's own log`,
    );
  } else stage.bad(`the move ended as ${job.state} with ${picks} picks`);
  return { job, picks, restartMs };
}
