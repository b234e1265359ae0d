import { z } from 'zod';
import { cellLabel, cells } from '../../domain/grid.ts';
import { type Job, JobPage } from '../../schemas/automation.ts';
import { Sample } from '../../schemas/storage.ts';
import { placeOf } from './cell.ts';
import { addressOf } from './store.ts';
import { awaitsHandOver, type Scene } from './tubes.ts';

/**
 * Clears away what a demo that was broken off left: jobs under way are waited for, tubes that wait in the hand-off are
 * handed over, scans that never came are cancelled, and tubes that stand in the hand-off without a job are taken out.
 * @returns how many jobs were found
 * @throws Error when a job waits for an operator's answer: that is for a person
 */
export async function clearLeftovers(scene: Omit<Scene, 'rack'>): Promise<number> {
  const { client, cell, watch } = scene;
  const page = await client.get('/automation/jobs?live=true&limit=500', JobPage);
  // What people do by hand meanwhile is none of the demo's business.
  const jobs = page.jobs.filter((job) => job.mode === 'robot');
  const settled = (job: Job) => awaitsHandOver(job) || job.phase === 'AWAITING_CONFIRMATION';
  for (const { id } of jobs) {
    const job = await watch.until(id, settled);
    if (awaitsHandOver(job)) {
      const { barcode } = await client.get(`/storage/samples/${job.sampleId}`, Sample);
      await takeFromHandoff(scene, (seen) => seen === barcode);
      await client.post(`/automation/jobs/${id}/hand-over`, { sampleBarcode: barcode }, z.unknown());
    } else if (job.phase === 'AWAITING_CONFIRMATION') {
      await client.post(
        `/automation/jobs/${id}/cancel`,
        { reason: 'left by a demo that was broken off' },
        z.unknown(),
      );
    } else continue;
    await watch.until(id);
  }
  await cell.disarm();
  await takeFromHandoff(scene, () => true);
  return jobs.length;
}

async function takeFromHandoff(
  { cell, store }: Omit<Scene, 'rack'>,
  isWanted: (barcode: string) => boolean,
): Promise<void> {
  const world = await cell.look();
  const { grid } = store.handoff;
  for (const each of cells(grid)) {
    const at = addressOf(store.handoff, cellLabel(each, grid));
    const tube = world.positions[placeOf(at)];
    if (tube && isWanted(tube.barcode)) await cell.takeTube(at);
  }
}
