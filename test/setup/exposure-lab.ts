import { sql } from 'kysely';
import pg from 'pg';
import { enrolRobot } from '../../db/robots.ts';
import type { Zone } from '../../domain/zone.ts';
import { addJob, addLocation, positionsOf, storeSample, type TestStore } from './store.ts';

/** A freezer with a robot whose hand-off stands in the room, where nothing keeps a tube cold. */
export interface WarmCell {
  readonly box: string;
  readonly handoff: string;
  readonly robotId: string;
}

let cells = 0;

/** Adds such a freezer to a laboratory; the hand-off has room for eight tubes, the box for 25. */
export async function addWarmCell(store: TestStore, zone: Zone = '-80'): Promise<WarmCell> {
  cells += 1;
  const name = `Cell ${cells}`;
  const site = await addLocation(store, { type: 'site', name });
  const freezer = await addLocation(store, { type: 'freezer', name, parent: site, zone });
  const box = await addLocation(store, {
    type: 'box_5x5',
    name: `Box of ${name}`,
    parent: freezer,
    robotAddress: { cassette: 1, level: 1 },
  });
  const handoff = await addLocation(store, {
    type: 'handoff',
    name: `Bench of ${name}`,
    parent: site,
    isHandoff: true,
    grid: { rows: 1, columns: 8, rowLabels: 'upper', columnLabels: 'number' },
    robotAddress: { cassette: 9, level: 1 },
  });
  const robot = await enrolRobot(store.db, store.context, {
    name,
    driver: 'modbus',
    storeId: freezer,
    handoffId: handoff,
    host: '127.0.0.1',
    port: 2000 + cells,
    unitId: 1,
  });
  return { box, handoff, robotId: robot.id };
}

/** A tube that stands in the n-th position of the cell's box. */
export async function storeInCell(
  store: TestStore,
  { box }: WarmCell,
  n: number,
  zone: Zone = '-80',
): Promise<{ readonly sampleId: string; readonly barcode: string; readonly positionId: string }> {
  const positionId = (await positionsOf(store, box))[n] ?? '';
  const barcode = `WARM-${cells}-${n}`;
  return { sampleId: await storeSample(store, { barcode, positionId, zone }), barcode, positionId };
}

/** Below the triggers that guard ledgered rows: what would take minutes to happen. */
async function asAdmin(store: TestStore, ...statements: [string, unknown[]][]): Promise<void> {
  const client = new pg.Client({ connectionString: store.lab.database.adminUrl });
  await client.connect();
  try {
    await client.query('SET session_replication_role = replica');
    for (const [text, values] of statements) await client.query(text, values);
  } finally {
    await client.end();
  }
}

/** Lets the exposure of a tube have begun, and its custody have moved, so many seconds earlier. */
export async function letTimePass(store: TestStore, sampleId: string, seconds: number): Promise<void> {
  const earlier = `- $2 * interval '1 second'`;
  await asAdmin(
    store,
    [
      `UPDATE sample SET warm_since = warm_since ${earlier}, custody_since = custody_since ${earlier} WHERE id = $1`,
      [sampleId, seconds],
    ],
    [
      `UPDATE event SET recorded_at = recorded_at ${earlier} WHERE subject = 'sample/' || $1`,
      [sampleId, seconds],
    ],
  );
}

/** Writes motions into a robot's journal that took so many seconds each. */
export async function addMotions(
  store: TestStore,
  robotId: string,
  durations: Readonly<Partial<Record<'pick' | 'scan' | 'place', readonly number[]>>>,
  state: 'DONE' | 'FAILED' = 'DONE',
): Promise<void> {
  const jobId = await addJob(store);
  const rows = Object.entries(durations).flatMap(([operation, seconds]) =>
    seconds.map((each) => [operation, each] as const),
  );
  await asAdmin(
    store,
    ...rows.map(([operation, seconds]): [string, unknown[]] => [
      `INSERT INTO motion (tenant_id, robot_id, number, command_id, params_hash, job_id, fence, epoch, operation, cassette,
         level, slot, state, sent_at, settled_at)
       SELECT $1, $2, n, 'planted/' || $2 || '/' || n, '', $3, 1, 1, $4, 1, 1, 1, $6, now(), now() + $5 * interval '1 second'
       FROM (SELECT coalesce(max(number), 0) + 1 AS n FROM motion WHERE robot_id = $2::uuid) AS next`,
      [store.tenantId, robotId, jobId, operation, seconds, state],
    ]),
  );
}

/** What the newest ledger entry of a record keeps of it. */
export function contentOf(aggregateId: string) {
  return sql<{ after: Record<string, unknown> }>`
    SELECT convert_from(content, 'UTF8')::jsonb -> 'after' AS after FROM record_version
    WHERE aggregate_id = ${aggregateId} ORDER BY version DESC LIMIT 1`;
}
