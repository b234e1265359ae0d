import { Client, Connection } from '@temporalio/client';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { checkLedger } from '../../db/ledger.ts';
import { picklistPlaces } from '../../db/picklist-places.ts';
import {
  createPicklist,
  type PicklistItemRecord,
  picklistItems,
  picklistRecord,
} from '../../db/picklists.ts';
import { enrolRobot } from '../../db/robots.ts';
import { inTenant } from '../../db/tenancy.ts';
import { planPicklist } from '../../domain/picklist.ts';
import { workflowIds } from '../../workflows/ids.ts';
import { handOverUpdate } from '../../workflows/messages/job.ts';
import { RUN_PICKLIST } from '../../workflows/messages/picklist.ts';
import { picklistStartOptions } from '../../workflows/messages/start.ts';
import { eventually, RobotCell, type Spawned, start } from '../setup/robot-cell.ts';
import { addLocation, openStore, positionsOf, storeSample, type TestStore } from '../setup/store.ts';
import { createTestNamespace, temporalServer, workflowBundle } from '../setup/temporal.ts';

/** Boxes on two shelves of one freezer, by their address in the robot's store. */
const BOXES = [
  { shelf: 1, cassette: 1, level: 1 },
  { shelf: 1, cassette: 1, level: 2 },
  { shelf: 2, cassette: 2, level: 1 },
];
const TUBES_A_BOX = 3;
/** How many tubes have been fetched when the list's workflow is terminated. */
const TERMINATED_AFTER = 3;
const HANDOFF = { cassette: 9, level: 1, places: 2 };

let store: TestStore;
let cell: RobotCell;
let connection: Connection;
let client: Client;
let environment: Record<string, string>;
let control: Spawned;
let barcodes: Map<string, string>;
const others: Spawned[] = [];

beforeAll(async () => {
  store = await openStore();
  cell = await RobotCell.open(['--speed', '0.02', '--seed', '18']);
  connection = await Connection.connect(temporalServer());
  const namespace = await createTestNamespace();
  client = new Client({ connection, namespace });
  environment = {
    STORAGE_DATABASE_URL: store.lab.database.appUrl,
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    TEMPORAL_NAMESPACE: namespace,
    WORKFLOW_BUNDLE_PATH: workflowBundle().codePath,
    LOG_LEVEL: 'warn',
    ...inject('temporalTls'),
  };
  barcodes = await furnish();
  control = await start('workers/control.ts', [], environment);
  others.push(await start('workers/gateway.ts', ['--wire-timeout-ms', '3000'], environment));
  others.push(await start('workers/sweep.ts', ['--every-ms', '100'], environment));
});
afterAll(async () => {
  await Promise.all([control, ...others].map((each) => each?.kill()));
  await cell?.close();
  await connection?.close();
  await store?.lab.close();
});

/** A store with its robot, and tubes in it, as records and as things. @returns barcodes by the tubes' ids */
async function furnish(): Promise<Map<string, string>> {
  const site = await addLocation(store, { type: 'site', name: 'Main' });
  const freezer = await addLocation(store, { type: 'freezer', name: 'F1', parent: site });
  const handoff = await addLocation(store, {
    type: 'handoff',
    name: 'H1',
    parent: freezer,
    grid: { rows: 1, columns: HANDOFF.places, rowLabels: 'upper', columnLabels: 'number' },
    robotAddress: HANDOFF,
  });
  await enrolRobot(store.db, store.context, {
    name: 'R1',
    driver: 'modbus',
    storeId: freezer,
    handoffId: handoff,
    host: '127.0.0.1',
    port: cell.port,
    unitId: 1,
  });
  const shelves = new Map<number, string>();
  const known = new Map<string, string>();
  for (const { shelf, cassette, level } of BOXES) {
    const parent =
      shelves.get(shelf) ?? (await addLocation(store, { type: 'shelf', name: `S${shelf}`, parent: freezer }));
    shelves.set(shelf, parent);
    const box = await addLocation(store, {
      type: 'box_5x5',
      name: `B${cassette}-${level}`,
      parent,
      robotAddress: { cassette, level },
    });
    const positions = await positionsOf(store, box);
    for (let slot = 1; slot <= TUBES_A_BOX; slot += 1) {
      const barcode = `TUBE-${cassette}-${level}-${slot}`;
      known.set(await storeSample(store, { barcode, positionId: positions[slot - 1] ?? '' }), barcode);
      await cell.putTube(cassette, level, slot, barcode);
    }
  }
  return known;
}

const items = (id: string): Promise<PicklistItemRecord[]> => picklistItems(store.db, store.tenantId, id);

/** Orders all tubes, given box by box in turn, so that the order given opens the doors again and again. */
async function order(): Promise<string> {
  const id = uuidv7();
  const given = [...barcodes].toSorted(([, one], [, other]) => one.slice(-1).localeCompare(other.slice(-1)));
  const places = await picklistPlaces(store.db, store.tenantId, {
    samples: given.map(([sampleId]) => sampleId),
    positions: [],
    locations: [],
  });
  const tubes = given.map(([sampleId, reference], index) => ({
    given: index + 1,
    reference,
    request: { sampleId, order: { kind: 'retrieval', handoffPositionId: null }, confirmation: null } as const,
    place: places.samples.get(sampleId)?.place ?? null,
  }));
  await createPicklist(
    store.db,
    store.actor,
    { id, kind: 'retrieval', mode: 'robot', name: null, priority: 20, window: 4, items: planPicklist(tubes) },
    async () => {},
  );
  await client.workflow.start(RUN_PICKLIST, picklistStartOptions(store.tenantId, id));
  return id;
}

/** Takes every tube from the hand-off that stands there, as a person does, until the list is over. */
async function collect(id: string): Promise<void> {
  const taken = new Set<string>();
  await eventually(
    'the end of the list',
    async () => {
      for (const { job, sampleId } of await items(id)) {
        if (job?.phase !== 'AT_HANDOFF' || job.state !== 'AWAITING_PERSON' || taken.has(job.id)) continue;
        const sampleBarcode = barcodes.get(sampleId ?? '') ?? '';
        const { positions } = await cell.world();
        const at = Object.entries(positions).find(([, tube]) => tube.barcode === sampleBarcode)?.[0];
        const [cassette = 0, level = 0, slot = 0] = (at ?? '').split('/').map(Number);
        await cell.takeTube(cassette, level, slot);
        taken.add(job.id);
        await handOver(workflowIds.retrieval(store.tenantId, job.id), sampleBarcode);
      }
      return (await picklistRecord(store.db, store.tenantId, id))?.finishedAt;
    },
    180_000,
  );
}

/** A scan whose answer was lost with a worker is made again; the job may have taken it. */
async function handOver(workflowId: string, sampleBarcode: string): Promise<void> {
  await eventually(
    `the hand-over of ${sampleBarcode}`,
    () =>
      client.workflow
        .getHandle(workflowId)
        .executeUpdate(handOverUpdate, {
          args: [{ actor: store.actor, sampleBarcode }],
          updateId: `taken/${sampleBarcode}`,
        })
        .then(({ outcome }) => outcome === 'accepted')
        .catch(
          async () => (await client.workflow.getHandle(workflowId).describe()).status.name !== 'RUNNING',
        ),
    60_000,
  );
}

const endedOf = async (id: string) =>
  (await items(id)).filter(({ finishedAt }) => finishedAt !== null).length;

test('a list whose workers are killed and whose workflow is terminated fetches each tube once, each door once', {
  timeout: 300_000,
}, async () => {
  const id = await order();
  const collecting = collect(id);
  for (const after of [0, TERMINATED_AFTER, 6]) {
    await eventually(`${after} tubes being fetched`, async () => (await endedOf(id)) >= after, 120_000);
    const { motion } = await eventually('a motion', async () => {
      const world = await cell.world();
      return world.motion !== null && world;
    });
    if (after === TERMINATED_AFTER)
      await client.workflow.getHandle(workflowIds.picklist(store.tenantId, id)).terminate();
    await control.kill();
    expect(motion).not.toBeNull();
    control = await start('workers/control.ts', [], environment);
  }
  await collecting;

  const list = await picklistRecord(store.db, store.tenantId, id);
  expect(list).toMatchObject({ state: 'COMPLETED', counts: { COMPLETED: barcodes.size } });
  // The simulator's own log: each tube was picked from its box once, in the planned order.
  const log = await cell.log();
  const picked = log.filter(({ operation, moved }) => operation === 'pick' && moved !== null);
  expect(picked.map(({ moved }) => moved?.barcode)).toEqual(
    (await items(id)).map(({ reference }) => reference),
  );
  const boxes = picked.map(({ cassette, level }) => `${cassette}/${level}`);
  expect(boxes.filter((box, n) => box !== boxes[n - 1])).toEqual(['1/1', '1/2', '2/1']);
  const { rows } = await inTenant(store.db, store.tenantId, (tx) =>
    sql<{ state: string; n: number }>`SELECT state, count(*) AS n FROM job
        WHERE state <> 'REFUSED' GROUP BY state`.execute(tx),
  );
  expect(rows).toEqual([{ state: 'COMPLETED', n: barcodes.size }]);
  expect(await checkLedger(store.db, store.tenantId)).toMatchObject({ ok: true });
});
