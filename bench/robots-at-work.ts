import { setTimeout as sleep } from 'node:timers/promises';
import { BenchLaboratory } from './laboratory.ts';
import { quantile } from './load.ts';
import type { Bench, Result } from './result.ts';
import {
  buildCell,
  fillHandoff,
  motionsOf,
  orderPlacement,
  type RobotCell,
  secondsAtWork,
} from './robot-cells.ts';
import { rackLabel } from './store.ts';

/** A tube that waited in the hand-off for longer than its exposure budget has arrived as well, with a deviation. */
const ARRIVED = `state IN ('COMPLETED', 'COMPLETED_WITH_DEVIATION')`;

const OVERHEAD_JOBS = 48;
/** Motions of a job by a real store take about so long, in ms; the overhead is seen beside it. */
const REAL_JOB_MS = 15_000;

/**
 * What a saga costs beyond the robot's own motion: from the order to the end of the job, less the motions by the robot's
 * own log. One job at a time, so that none waits for another's turn.
 */
export const sagaOverhead: Bench = async () => {
  const lab = await BenchLaboratory.open({ workers: true });
  try {
    const cell = await buildCell(lab, 0, 0.02);
    const barcodes = Array.from({ length: OVERHEAD_JOBS }, (_, n) => `SAGA-${n}`);
    await fillHandoff(cell, barcodes);
    const overheads: number[] = [];
    for (const [n, barcode] of barcodes.entries()) {
      const before = (await motionsOf(cell)).length;
      const began = performance.now();
      const { job } = await orderPlacement(lab, cell, n, barcode);
      await lab.untilCount(
        `SELECT count(*)::int AS n FROM job WHERE id = '${job.id}' AND state = 'COMPLETED'`,
        1,
        60,
      );
      const [ended] = await lab.sql<{ ms: number }>(
        `SELECT (extract(epoch FROM finished_at - created_at) * 1000)::float8 AS ms FROM job WHERE id = $1`,
        [job.id],
      );
      const motions = (await motionsOf(cell)).slice(before);
      if (motions.length !== 3) throw new Error(`${motions.length} motions for one placement`);
      if (n >= 4) overheads.push((ended?.ms ?? performance.now() - began) - secondsAtWork(motions) * 1000);
    }
    const results = (['p50', 'p99'] as const).map((name): Result => {
      const figure = quantile(overheads, name === 'p50' ? 0.5 : 0.99);
      return {
        name: `saga beyond the robot's own motion, ${name}`,
        figure,
        limit: REAL_JOB_MS,
        ratio: figure / REAL_JOB_MS,
        target: { atMost: 0.03 },
        unit: 'ms',
        detail: { jobs: overheads.length },
      };
    });
    return results;
  } finally {
    await lab.close();
  }
};

const RACK_OF = 96;

/** A rack of 96 tubes stored by two robots at real durations: how much of the time the slower one is at work. */
export const rackByTwoRobots: Bench = async () => {
  const lab = await BenchLaboratory.open({ workers: true });
  try {
    const cells = [await buildCell(lab, 0, 1), await buildCell(lab, 1, 1)];
    const began = performance.now();
    await Promise.all(
      cells.map(async (cell, index) => {
        const barcodes = Array.from({ length: RACK_OF / 2 }, (_, n) => `RACK-${index}-${n}`);
        await fillHandoff(cell, barcodes);
        for (const [n, barcode] of barcodes.entries()) await orderPlacement(lab, cell, n, barcode);
      }),
    );
    await lab.untilCount(`SELECT count(*)::int AS n FROM job WHERE ${ARRIVED}`, RACK_OF, 1800);
    const minutes = (performance.now() - began) / 60_000;
    const used = await Promise.all(cells.map(utilisationOf));
    const slower = used.reduce((one, other) => (other.seconds > one.seconds ? other : one));
    return [
      {
        name: '96 tubes by two robots at real durations: the slower one at work',
        figure: slower.share,
        limit: 1,
        ratio: slower.share,
        target: { atLeast: 0.97 },
        unit: 'of the time',
        detail: {
          minutes,
          'motions of both': used.reduce((sum, each) => sum + each.motions, 0),
          'of the other': Math.min(...used.map((each) => each.share)),
        },
      },
    ];
  } finally {
    await lab.close();
  }
};

/** Share of the time from a robot's first motion to the end of its last in which it moved. */
async function utilisationOf(cell: RobotCell) {
  const motions = await motionsOf(cell);
  const start = Math.min(...motions.map((each) => Date.parse(each.startedAt)));
  const end = Math.max(...motions.map((each) => Date.parse(each.endedAt)));
  const seconds = (end - start) / 1000;
  return { seconds, share: secondsAtWork(motions) / seconds, motions: motions.length };
}

const PEOPLE = 50;
const ROBOTS = 4;
const MOVES_AN_HOUR = 600;
const SHIFT_SECONDS = 240;
/** A person scans so often, in ms: a tube is taken up, scanned, looked at. */
const SCAN_EVERY_MS = 2_000;
/** One scan in so many stores a tube by hand; the others ask where one is. */
const STORES_EVERY = 5;

/** 600 moves an hour by four robots, with 50 people scanning at the same time: from the scan to the answer on the screen. */
export const shift: Bench = async () => {
  const lab = await BenchLaboratory.open({ workers: true });
  try {
    const cells = await Promise.all(Array.from({ length: ROBOTS }, (_, index) => buildCell(lab, index, 1)));
    const moves = Math.round((MOVES_AN_HOUR / 3600) * SHIFT_SECONDS);
    const perCell = Math.ceil(moves / ROBOTS);
    for (const [index, cell] of cells.entries()) {
      await fillHandoff(
        cell,
        Array.from({ length: perCell }, (_, n) => `MOVE-${index}-${n}`),
      );
    }
    const shelves = await handStore(lab);
    const known: string[] = [];
    const latencies: { readonly ms: number; readonly stores: boolean }[] = [];
    const end = Date.now() + SHIFT_SECONDS * 1000;

    const robots = (async () => {
      for (let i = 0; i < moves; i += 1) {
        const cell = cells[i % ROBOTS];
        if (!cell) throw new Error('no robot');
        const n = Math.floor(i / ROBOTS);
        const barcode = `MOVE-${i % ROBOTS}-${n}`;
        await orderPlacement(lab, cell, n, barcode);
        known.push(barcode);
        await sleep((3600 / MOVES_AN_HOUR) * 1000);
      }
    })();
    const person = async (who: number) => {
      await sleep((who / PEOPLE) * SCAN_EVERY_MS);
      for (let scan = 0; Date.now() < end; scan += 1) {
        const stores = (who + scan) % STORES_EVERY === STORES_EVERY - 1; // not all people at once
        const shown = known[(who * 7 + scan) % Math.max(1, known.length)];
        const began = performance.now();
        if (stores) {
          const barcode = `HAND-${who}-${scan}`;
          await storeByHand(lab, shelves, barcode);
          known.push(barcode);
        } else if (shown !== undefined) {
          await lab.must('GET', `/storage/samples/${shown}/location`);
        }
        const ms = performance.now() - began;
        if (shown !== undefined || stores) latencies.push({ ms, stores });
        await sleep(Math.max(0, SCAN_EVERY_MS - ms));
      }
    };
    await Promise.all([robots, ...Array.from({ length: PEOPLE }, (_, who) => person(who))]);
    await lab.untilCount(
      `SELECT count(*)::int AS n FROM job WHERE mode = 'robot' AND ${ARRIVED}`,
      moves,
      600,
    );
    const of = (stores: boolean) => latencies.flatMap((each) => (each.stores === stores ? [each.ms] : []));
    const p99 = quantile(
      latencies.map(({ ms }) => ms),
      0.99,
    );
    return [
      {
        name: '50 people scanning beside 600 robot moves an hour: scan to screen, p99',
        figure: p99,
        limit: 500,
        ratio: p99 / 500,
        target: { atMost: 1 },
        unit: 'ms',
        detail: {
          scans: latencies.length,
          'robot moves': moves,
          'p99 of look-ups, ms': quantile(of(false), 0.99),
          'p50 of look-ups, ms': quantile(of(false), 0.5),
          'p99 of tubes stored by hand, ms': quantile(of(true), 0.99),
          'p50 of tubes stored by hand, ms': quantile(of(true), 0.5),
        },
      },
    ];
  } finally {
    await lab.close();
  }
};

interface Shelves {
  readonly racks: readonly { readonly id: string; readonly barcode: string }[];
  next: number;
}

/** Racks for what people store by hand. */
async function handStore(lab: BenchLaboratory): Promise<Shelves> {
  const create = (body: Record<string, unknown>) =>
    lab.must<{ id: string }>('POST', '/storage/locations', body);
  const site = await create({ type: 'site', name: 'By hand' });
  const freezer = await create({ type: 'freezer', name: 'Freezer', parentId: site.id, zone: '-80' });
  const racks: { id: string; barcode: string }[] = [];
  for (let n = 0; n < 20; n += 1) {
    const barcode = `SHELF-${n}`;
    const { id } = await create({ type: 'rack_96', name: `Rack ${n}`, parentId: freezer.id, barcode });
    racks.push({ id, barcode });
  }
  return { racks, next: 0 };
}

/** A tube stored by hand where it stands already: order and scan in one. */
async function storeByHand(lab: BenchLaboratory, shelves: Shelves, barcode: string): Promise<void> {
  const n = shelves.next++;
  const rack = shelves.racks[Math.floor(n / 96)];
  if (rack === undefined) throw new Error('the racks are full');
  const position = rackLabel(n % 96);
  await lab.must('POST', '/storage/samples', {
    barcode,
    type: 'plasma',
    zone: '-80',
    mode: 'hand',
    target: { location: rack.barcode, position },
    confirmation: { sampleBarcode: barcode, containerBarcode: rack.barcode, position },
  });
}
