import { BenchLaboratory } from './laboratory.ts';
import { type Bench, inParallel, type Result } from './result.ts';
import { buildCell, fillHandoff, motionsOf, orderPlacement, type RobotCell } from './robot-cells.ts';

const ROBOTS = 4;
const PLACEMENTS_EACH = 48;
const CLIENTS = 32;
const BARE = 600;

/**
 * Placements by four robots whose motions take no time, from the hand-off into the store, each confirmed at once,
 * beside bare workflows of one local activity from as many clients.
 */
export const placementByRobot: Bench = async () => {
  const lab = await BenchLaboratory.open({ workers: true });
  try {
    await lab.start('bare worker', 'bench/bare/worker.ts');
    const cells: RobotCell[] = [];
    for (let i = 0; i < ROBOTS; i++) cells.push(await buildCell(lab, i));
    const bareOnce = async () => {
      await lab.temporal.workflow.execute('bareLocal', {
        workflowId: `bare-${crypto.randomUUID()}`,
        taskQueue: 'bare',
        workflowTaskTimeout: '2s',
      });
    };
    await inParallel(CLIENTS, CLIENTS, bareOnce);
    const bareSeconds = await inParallel(BARE, CLIENTS, bareOnce);

    const warmUp = 2 * ROBOTS;
    const total = PLACEMENTS_EACH * ROBOTS;
    const place = async (i: number) => {
      const cell = cells[i % ROBOTS];
      if (!cell) throw new Error('no robot');
      await orderPlacement(lab, cell, Math.floor(i / ROBOTS), `ROBOT-${i}`);
    };
    const completed = `SELECT count(*)::int AS n FROM job WHERE state = 'COMPLETED'`;
    for (const [index, cell] of cells.entries()) {
      const barcodes = Array.from({ length: PLACEMENTS_EACH + 2 }, (_, n) => `ROBOT-${n * ROBOTS + index}`);
      await fillHandoff(cell, barcodes);
    }
    await inParallel(warmUp, CLIENTS, place);
    await lab.untilCount(completed, warmUp, 60);
    const began = performance.now();
    await inParallel(total, CLIENTS, (i) => place(i + warmUp));
    await lab.untilCount(completed, warmUp + total, 300);
    const seconds = (performance.now() - began) / 1000;

    const motions = await Promise.all(cells.map(motionsOf));
    const twice = motions.reduce(
      (sum, log) => sum + log.length - new Set(log.map((motion) => motion.number)).size,
      0,
    );
    const events = await lab.longestHistory();
    const figure = total / seconds;
    const limit = BARE / bareSeconds;
    const results: Result[] = [
      {
        name: 'placement by robot at zero motion time',
        figure,
        limit,
        ratio: figure / limit,
        target: { atLeast: 0.15 },
        unit: '/s',
        detail: { robots: ROBOTS, placements: total, 'motions made twice': twice },
      },
      {
        name: 'history events of a placement by robot, most of all',
        figure: events,
        limit: 60,
        ratio: events / 60,
        target: { atMost: 1 },
        unit: 'events',
        detail: {},
      },
    ];
    return results;
  } finally {
    await lab.close();
  }
};
