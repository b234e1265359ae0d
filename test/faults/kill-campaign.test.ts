import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { z } from 'zod';
import { custodyLabel } from '../../domain/custody.ts';
import { cellLabel, cells } from '../../domain/grid.ts';
import { isFinal } from '../../domain/job.ts';
import { type Job, JobWithSteps, Started } from '../../schemas/automation.ts';
import { Integrity } from '../../schemas/ledger.ts';
import { SampleLocation, Timeline } from '../../schemas/storage.ts';
import { Cell, placeOf, type WorldSeen } from '../../stack/demo/cell.ts';
import { Client } from '../../stack/demo/client.ts';
import { RunningLaboratory } from '../../stack/demo/running-laboratory.ts';
import { addressOf, buildStore, type Container, emptyRack, type Store } from '../../stack/demo/store.ts';
import { freePort } from '../../stack/processes.ts';

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
const TUBES = 20;
const VICTIMS = ['workflow worker', 'robot gateway', 'API', 'Temporal', 'PostgreSQL'] as const;

/** Mulberry32: the same seed, the same kills. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const folder = mkdtempSync(join(tmpdir(), 'tracseq-campaign-'));
chmodSync(folder, 0o755);
let laboratory: RunningLaboratory;
let cell: Cell;
let client: Client;
let store: Store;
let rack: Container;

beforeAll(async () => {
  laboratory = await RunningLaboratory.find(
    {
      ...process.env,
      TRACSEQ_STATE: join(folder, 'state'),
      STORAGE_PORT: String(await freePort()),
      TEMPORAL_CLI_PATH: inject('temporalBinary'),
      SIMULATED_ROBOT_SPEED: '0.03',
    },
    () => undefined,
  );
  cell = new Cell(laboratory.cellAddress);
  client = new Client(laboratory.apiAddress, laboratory.credentials);
  store = await buildStore(client, laboratory.controller);
  rack = await emptyRack(client);
});

afterAll(async () => {
  await laboratory?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Repeats a call until the laboratory answers with something else than "not now". */
async function insist<T>(what: string, call: () => Promise<T>): Promise<T> {
  const end = Date.now() + 120_000;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const status = error instanceof Error && 'status' in error ? Number(error.status) : 0;
      const isAnswer = status >= 400 && status < 500 && status !== 409;
      if (isAnswer || Date.now() > end) throw new Error(`${what}, seed ${SEED}`, { cause: error });
      await sleep(100);
    }
  }
}

const jobNow = (id: string) =>
  insist('a look at a job', () => client.get(`/automation/jobs/${id}`, JobWithSteps));

async function place(barcode: string, seat: string): Promise<Job> {
  await cell.putTube(addressOf(store.handoff, seat), barcode);
  const body = {
    barcode,
    type: 'plasma',
    zone: '-80',
    mode: 'robot',
    target: { within: rack.id },
    handoff: { location: store.handoff.barcode, position: seat },
    confirmation: { sampleBarcode: barcode, containerBarcode: store.handoff.barcode, position: seat },
  };
  const key = `campaign-${SEED}-${barcode}`;
  const started = await insist(`the order for ${barcode}`, () =>
    client.post('/storage/samples', body, Started, { 'idempotency-key': key }),
  );
  for (;;) {
    const job = await jobNow(started.job.id);
    if (isFinal(job.state) || job.state === 'AWAITING_OPERATOR') return job;
    await sleep(100);
  }
}

/** Where the tube physically is. */
function whereabouts(world: WorldSeen, barcode: string): string[] {
  return [
    ...Object.entries(world.positions).flatMap(([at, tube]) => (tube.barcode === barcode ? [at] : [])),
    ...(world.carrier?.barcode === barcode ? ['carrier'] : []),
    ...world.floor.flatMap((tube) => (tube.barcode === barcode ? ['floor'] : [])),
  ];
}

describe('the death of any process', () => {
  it(`loses no tube and moves none twice (seed ${SEED})`, { timeout: 600_000 }, async () => {
    const random = randomFrom(SEED);
    const seats = cells(store.handoff.grid).map((each) => cellLabel(each, store.handoff.grid));
    const waiting = Array.from({ length: TUBES }, (_, n) => `CRASH-${n}`).values();
    const jobs = new Map<string, Job>();
    let settled = false;

    const placing = Promise.all(
      seats.map(async (seat) => {
        for (const barcode of waiting) {
          const job = await place(barcode, seat);
          jobs.set(barcode, job);
          if (job.state === 'AWAITING_OPERATOR') await answerTruly(barcode, seat, job, jobs);
        }
      }),
    ).finally(() => {
      settled = true;
    });
    const victims = [...VICTIMS].sort(() => random() - 0.5);
    const killing = (async () => {
      for (const victim of victims) {
        if (settled)
          throw new Error(`all tubes were placed before the ${victim} was killed: fewer seats, more tubes`);
        await cell.until('a motion', 120_000, (world) => world.motion !== null || settled);
        await sleep(Math.floor(random() * 60));
        const killed = await laboratory.kill(victim);
        await killed.restarted();
      }
    })();
    await Promise.all([placing, killing]);

    const world = await cell.look();
    const log = await cell.motions();
    const numbers = log.map((motion) => motion.number);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const [barcode, before] of jobs) {
      const job = await jobNow(before.id);
      expect(isFinal(job.state), `${barcode}: ${job.state}`).toBe(true);
      const moves = log.filter((motion) => motion.moved?.barcode === barcode);
      if (job.state === 'COMPLETED') {
        expect(
          moves.map((motion) => motion.operation),
          barcode,
        ).toEqual(['pick', 'place']);
      }
      await expectTruth(barcode, world);
    }
    const integrity = await client.get('/blockchain/integrity', Integrity);
    expect(integrity).toMatchObject({ ok: true, faults: 0 });
    const states = [...jobs.values()].map((job) => job.state);
    console.log(
      `seed ${SEED}: killed ${victims.join(', ')}; ${states.filter((s) => s === 'COMPLETED').length} of ${TUBES} ` +
        `went through alone, ${states.filter((s) => s === 'AWAITING_OPERATOR').length} asked; ${log.length} motions`,
    );
  });
});

/** A question is true when the tube is at one of its candidates; the operator then says where. */
async function answerTruly(
  barcode: string,
  seat: string,
  parked: Job,
  jobs: Map<string, Job>,
): Promise<void> {
  let job = parked;
  while (!isFinal(job.state)) {
    if (job.state === 'AWAITING_OPERATOR' && job.question) {
      const [at] = whereabouts(await cell.look(), barcode);
      const answer =
        at === 'carrier'
          ? 'in_carrier'
          : at === placeOf(addressOf(store.handoff, seat))
            ? 'at_source'
            : 'at_target';
      const { faultId } = job.question;
      await insist('the answer', () =>
        client
          .post(
            `/automation/jobs/${job.id}/decision`,
            { faultId, answer, sampleBarcode: barcode, robotFit: true },
            JobWithSteps.partial(),
          )
          .catch((error: unknown) => {
            // Answered meanwhile: the first of two deliveries counted.
            if (error instanceof Error && /JOB_FINISHED|STALE_ANSWER|NOT_WAITING/.test(error.message))
              return undefined;
            throw error;
          }),
      );
    }
    await sleep(100);
    job = await jobNow(parked.id);
  }
  jobs.set(barcode, { ...job, state: 'AWAITING_OPERATOR' });
}

/** What the records say of a tube is where it is, and the ledger's entries are its transitions, one after the other. */
async function expectTruth(barcode: string, world: WorldSeen): Promise<void> {
  const where: z.infer<typeof SampleLocation> = await client.get(
    `/storage/samples/${barcode}/location`,
    SampleLocation,
  );
  const { custody, position } = where;
  const container =
    position && [store.handoff, rack, store.box].find(({ id }) => id === position.containerId);
  const recorded = container && position ? placeOf(addressOf(container, position.label)) : custody.kind;
  expect(whereabouts(world, barcode), barcode).toEqual([recorded]);
  const { entries } = await client.get(`/storage/samples/${barcode}/timeline?limit=500`, Timeline);
  expect(entries.map((entry) => entry.version)).toEqual(entries.map((_, index) => index + 1));
  for (const [index, entry] of entries.entries()) {
    if (index > 0) expect(entry.from, barcode).toBe(entries[index - 1]?.to);
  }
  expect(entries.at(-1)?.to).toBe(custodyLabel(custody));
}
