import { cellLabel, cells } from '../../domain/grid.ts';
import { type Job, Started } from '../../schemas/automation.ts';
import { SampleLocation } from '../../schemas/storage.ts';
import type { Cell } from './cell.ts';
import { placeOf } from './cell.ts';
import type { Client } from './client.ts';
import type { JobWatch } from './job-watch.ts';
import type { Stage } from './stage.ts';
import { addressOf, type Container, type Store } from './store.ts';

/** Everything a scene of the demo works with. */
export interface Scene {
  readonly client: Client;
  readonly cell: Cell;
  readonly watch: JobWatch;
  readonly stage: Stage;
  readonly store: Store;
  /** the rack that this run fills */
  readonly rack: Container;
}

/** Custody of a tube, or null when nobody has registered it. */
export function whereIs(client: Client, barcode: string): Promise<SampleLocation | null> {
  return client.find(`/storage/samples/${encodeURIComponent(barcode)}/location`, SampleLocation);
}

/** The tube stands in the hand-off, and the job waits for somebody to take it. */
export const awaitsHandOver = (job: Job) => job.state === 'AWAITING_PERSON' && job.phase === 'AT_HANDOFF';

/** What every tube of the demo is. */
const SAMPLE = { type: 'plasma', project: 'DEMO', zone: '-80' };

/** How the robot brought the tubes into this run's rack. */
export interface Stored {
  readonly registered: number;
  readonly placedAgain: number;
  readonly moved: number;
  /** jobs that ended otherwise than completed */
  readonly failed: readonly Job[];
  readonly seconds: number;
}

/**
 * Brings every tube into this run's rack by robot: one that nobody knows is registered, one that a person has goes
 * through the hand-off, one that stands in the store from an earlier run is moved.
 */
export async function storeAll(scene: Scene, barcodes: readonly string[]): Promise<Stored> {
  const { client, stage, store, rack } = scene;
  const began = Date.now();
  const progress = stage.progress(barcodes.length);
  const seats = await freeSeats(scene);
  const counts = { registered: 0, placedAgain: 0, moved: 0 };
  const failed: Job[] = [];
  let explained = false;
  const waiting = barcodes.values();

  /** One tube after another through one seat of the hand-off; the seats work side by side. */
  const serve = async (seat: string) => {
    for (const barcode of waiting) {
      const where = await whereIs(client, barcode);
      const target = { within: rack.id };
      let started: Started;
      if (where?.custody.kind === 'position') {
        counts.moved += 1;
        const path = `/storage/samples/${encodeURIComponent(barcode)}/move`;
        started = await client.post(path, { target, mode: 'robot' }, Started);
      } else {
        await scene.cell.putTube(addressOf(store.handoff, seat), barcode);
        const way = {
          target,
          handoff: { location: store.handoff.barcode, position: seat },
          confirmation: { sampleBarcode: barcode, containerBarcode: store.handoff.barcode, position: seat },
          mode: 'robot',
        };
        if (where === null) {
          counts.registered += 1;
          started = await client.post('/storage/samples', { barcode, ...SAMPLE, ...way }, Started);
        } else {
          counts.placedAgain += 1;
          started = await client.post('/automation/placement', { sample: barcode, ...way }, Started);
        }
      }
      if (!explained && started.why) {
        explained = true;
        explain(stage, barcode, started);
      }
      const job = await scene.watch.until(started.job.id);
      if (job.state !== 'COMPLETED') failed.push(job);
      progress.advance(`${barcode} → ${started.position?.label ?? 'placed'}`);
    }
  };
  await Promise.all(seats.map(serve));
  const seconds = (Date.now() - began) / 1000;
  progress.end(`${(barcodes.length / seconds).toFixed(1)} tubes a second`);
  return { ...counts, failed, seconds };
}

/** Positions of the hand-off in which no tube stands. */
async function freeSeats({ cell, store }: Scene): Promise<string[]> {
  const world = await cell.look();
  const { grid } = store.handoff;
  const seats = cells(grid)
    .map((each) => cellLabel(each, grid))
    .filter((label) => world.positions[placeOf(addressOf(store.handoff, label))] === undefined);
  if (seats.length === 0)
    throw new Error('every position of the hand-off has a tube in it: take one out first');
  return seats;
}

function explain(stage: Stage, barcode: string, { position, why }: Started): void {
  if (!position || !why) return;
  const { rules } = why;
  const names = rules.map(({ rule }) => rule).join(', ');
  stage.say(`${barcode} goes to ${position.label}; the system chose by ${rules.length} rules: ${names}`);
}
