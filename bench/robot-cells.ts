import type { BenchLaboratory } from './laboratory.ts';
import { RACK, rackLabel } from './store.ts';

/** A robot with its store, and the way into its simulator. */
export interface RobotCell {
  readonly handoffBarcode: string;
  readonly rackId: string;
  readonly controlUrl: string;
}

/**
 * A robot, its freezer with one rack, and its hand-off.
 * @param speed factor on the durations of its motions: 1 as a real store, 0 at once
 */
export async function buildCell(lab: BenchLaboratory, index: number, speed = 0): Promise<RobotCell> {
  const robot = await lab.startRobot(`robot-${index}`, index + 1, speed);
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

/** Asks the simulator's side channel. */
export async function control(cell: RobotCell, path: string, body?: unknown): Promise<unknown> {
  const reply = await fetch(`${cell.controlUrl}${path}`, {
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
  });
  if (!reply.ok) throw new Error(`simulator ${path}: ${await reply.text()}`);
  return reply.json();
}

/** One line of the simulator's own motion log. */
export interface LoggedMotion {
  readonly number: number;
  readonly operation: string;
  readonly startedAt: string;
  readonly endedAt: string;
}

/** Every motion of a robot, oldest first, by its own log. */
export async function motionsOf(cell: RobotCell): Promise<LoggedMotion[]> {
  return (await control(cell, '/log')) as LoggedMotion[];
}

/** How long a robot was at work, in seconds. */
export function secondsAtWork(motions: readonly LoggedMotion[]): number {
  return motions.reduce((sum, each) => sum + Date.parse(each.endedAt) - Date.parse(each.startedAt), 0) / 1000;
}

/** Puts tubes into a robot's hand-off, from its first position on. */
export async function fillHandoff(cell: RobotCell, barcodes: readonly string[]): Promise<void> {
  const tubes = barcodes.map((barcode, n) => ({ cassette: 1, level: 1, slot: n + 1, barcode }));
  await control(cell, '/tubes', { tubes });
}

/** Orders the n-th tube of the hand-off into the robot's rack, scanned already. */
export function orderPlacement(lab: BenchLaboratory, cell: RobotCell, n: number, barcode: string) {
  const position = rackLabel(n);
  return lab.must<{ job: { id: string } }>('POST', '/storage/samples', {
    barcode,
    type: 'plasma',
    zone: '-80',
    mode: 'robot',
    target: { within: cell.rackId },
    handoff: { location: cell.handoffBarcode, position },
    confirmation: { sampleBarcode: barcode, containerBarcode: cell.handoffBarcode, position },
  });
}
