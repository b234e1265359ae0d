import { BenchLaboratory } from './laboratory.ts';
import { type Bench, inParallel, type Result } from './result.ts';
import { RACK, rackLabel } from './store.ts';

const ROBOTS = 4;
const PLACEMENTS_EACH = 48;
const CLIENTS = 32;
const BARE = 600;

interface RobotCell {
  readonly handoffBarcode: string;
  readonly rackId: string;
  readonly controlUrl: string;
}

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
      const position = rackLabel(Math.floor(i / ROBOTS));
      const barcode = `ROBOT-${i}`;
      await lab.must('POST', '/storage/samples', {
        barcode,
        type: 'plasma',
        zone: '-80',
        mode: 'robot',
        target: { within: cell.rackId },
        handoff: { location: cell.handoffBarcode, position },
        confirmation: { sampleBarcode: barcode, containerBarcode: cell.handoffBarcode, position },
      });
    };
    const completed = `SELECT count(*)::int AS n FROM job WHERE state = 'COMPLETED'`;
    for (const [index, cell] of cells.entries()) {
      const tubes = Array.from({ length: PLACEMENTS_EACH + 2 }, (_, n) => ({
        cassette: 1,
        level: 1,
        slot: n + 1,
        barcode: `ROBOT-${n * ROBOTS + index}`,
      }));
      await control(cell, '/tubes', { tubes });
    }
    await inParallel(warmUp, CLIENTS, place);
    await lab.untilCount(completed, warmUp, 60);
    const began = performance.now();
    await inParallel(total, CLIENTS, (i) => place(i + warmUp));
    await lab.untilCount(completed, warmUp + total, 300);
    const seconds = (performance.now() - began) / 1000;

    const motions = (await Promise.all(cells.map((cell) => control(cell, '/log')))) as { number: number }[][];
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

/** A robot, its freezer with one rack, and its hand-off. */
async function buildCell(lab: BenchLaboratory, index: number): Promise<RobotCell> {
  const robot = await lab.startRobot(`robot-${index}`, index + 1);
  const create = (body: Record<string, unknown>) =>
    lab.must<{ id: string }>('POST', '/storage/locations', body);
  const site = await create({ type: 'site', name: `Cell ${index}` });
  const handoffBarcode = `HANDOFF-${index}`;
  const grid = { rows: RACK.rows, columns: RACK.columns };
  const handoff = await create({
    type: 'handoff',
    name: 'Hand-off',
    parentId: site.id,
    barcode: handoffBarcode,
    grid,
    robotAddress: { cassette: 1, level: 1 },
  });
  const freezer = await create({ type: 'freezer', name: 'Freezer', parentId: site.id, zone: '-80' });
  const rack = await create({
    type: 'rack_96',
    name: 'Rack',
    parentId: freezer.id,
    barcode: `STORE-${index}`,
    robotAddress: { cassette: 2, level: 1 },
  });
  await lab.must('POST', '/automation/robots', {
    name: `Robot ${index}`,
    store: freezer.id,
    handoff: handoff.id,
    host: '127.0.0.1',
    port: robot.modbusPort,
  });
  return { handoffBarcode, rackId: rack.id, controlUrl: robot.controlUrl };
}

async function control(cell: RobotCell, path: string, body?: unknown): Promise<unknown> {
  const reply = await fetch(`${cell.controlUrl}${path}`, {
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
  });
  if (!reply.ok) throw new Error(`simulator ${path}: ${await reply.text()}`);
  return reply.json();
}
