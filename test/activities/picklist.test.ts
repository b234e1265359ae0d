import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { PicklistActivities } from '../../activities/contract.ts';
import { createPicklistActivities } from '../../activities/picklist.ts';
import { checkLedger } from '../../db/ledger.ts';
import { isDue } from '../../db/picklist-progress.ts';
import {
  createPicklist,
  livePicklists,
  type NewPicklistItem,
  type PicklistCancel,
  picklistItems,
  picklistRecord,
} from '../../db/picklists.ts';
import type { Refusal } from '../../domain/errors.ts';
import { AT_WORK, AWAIT_SCAN, Job, ProcessLab } from '../setup/process-lab.ts';

/** How long a tube waits for a full hand-off here, in ms. */
const PATIENCE_MS = 60_000;
const LONGEST_WAIT_MS = 1_500;

let lab: ProcessLab;
let act: PicklistActivities;
/** jobs whose workflows were started, and what was cancelled, in order */
const started: string[] = [];
const cancelled: { workflowId: string; wish: PicklistCancel; id: string }[] = [];
beforeAll(async () => {
  lab = await ProcessLab.open();
  act = createPicklistActivities({
    db: lab.store.db,
    handoffPatienceMs: PATIENCE_MS,
    longestWaitMs: LONGEST_WAIT_MS,
    jobs: {
      start: async ({ id }) => void started.push(id),
      cancel: async (workflowId, wish, id) => void cancelled.push({ workflowId, wish, id }),
    },
  });
});
afterAll(() => lab.close());
beforeEach(() => {
  started.length = 0;
  cancelled.length = 0;
});

const UNKNOWN: Refusal = { code: 'BARCODE_UNKNOWN', detail: 'no sample has the barcode T: scan it again' };

/** A list with its own handle on every step. */
class List {
  readonly id = uuidv7();
  readonly tenantId = lab.store.tenantId;

  static async of(
    items: readonly (Omit<NewPicklistItem, 'given'> | 'unknown')[],
    over: { mode?: 'hand' | 'robot'; window?: number } = {},
  ): Promise<List> {
    const list = new List();
    await createPicklist(
      lab.store.db,
      lab.actor,
      {
        id: list.id,
        kind: 'retrieval',
        mode: over.mode ?? 'hand',
        name: 'Shipment 12',
        priority: 30,
        window: over.window ?? 4,
        items: items.map((item, n) =>
          item === 'unknown'
            ? { given: n + 1, reference: 'T', request: UNKNOWN, place: null }
            : { ...item, given: n + 1 },
        ),
      },
      async () => {},
    );
    return list;
  }

  /** Retrievals of tubes that stand in the box. */
  static async ofTubes(n: number, over: Parameters<typeof List.of>[1] = {}): Promise<List> {
    const items = [];
    for (let i = 0; i < n; i += 1) items.push(await retrievalOfNew());
    return List.of(items, over);
  }

  advance = () => act.advancePicklist(this.tenantId, this.id);
  cancel = (reason: string | null = null) => act.cancelPicklist(this.tenantId, this.id, lab.actor, reason);
  record = () => picklistRecord(lab.store.db, this.tenantId, this.id);
  items = () => picklistItems(lab.store.db, this.tenantId, this.id);
  states = async () => (await this.items()).map(({ state }) => state);

  /** Takes the next tube and starts it. @returns its job, as its workflow would drive it */
  async start(): Promise<Job> {
    const round = await this.advance();
    if (round.next !== 'start') throw new Error(`nothing to start: ${round.next}`);
    await act.startTube(this.tenantId, this.id, round.jobId);
    return this.jobOf(round.jobId);
  }

  async jobOf(id: string): Promise<Job> {
    const { workflowId, sampleId } = await new Job(lab, id, '', '').row();
    return new Job(lab, id, workflowId, sampleId);
  }

  isDue = () => isDue(lab.store.db, this.tenantId, this.id, PATIENCE_MS);

  entries() {
    return lab.rows<{ type: string; from: string | null; to: string; reason: string }>(sql`
      SELECT leaf ->> 'type' AS type, leaf ->> 'from' AS from, leaf ->> 'to' AS to, leaf ->> 'reason' AS reason
      FROM (SELECT seq, convert_from(leaf, 'UTF8')::jsonb AS leaf FROM ledger.entry) e
      WHERE leaf ->> 'aggregate' = 'picklist' AND leaf ->> 'aggregate_id' = ${this.id} ORDER BY seq`);
  }
}

async function retrievalOfNew(): Promise<Omit<NewPicklistItem, 'given'>> {
  const { sampleId, barcode } = await lab.storedTube();
  return {
    reference: barcode,
    request: { sampleId, order: { kind: 'retrieval', handoffPositionId: null }, confirmation: null },
    place: null,
  };
}

const finish = (job: Job, state: 'COMPLETED' | 'FAILED' | 'CANCELLED') =>
  lab.storage.finishJob(job.ref('finish'), state, `It is ${state}.`);

describe('a list', () => {
  test('takes its tubes in order, no more at a time than its window, and goes on past one that fails', async () => {
    const list = await List.ofTubes(3, { window: 2 });
    const first = await list.start();
    expect(await first.row()).toMatchObject({
      kind: 'retrieval',
      mode: 'hand',
      priority: 30,
      state: 'QUEUED',
    });
    const second = await list.start();
    expect(await list.advance()).toEqual({ next: 'wait' });
    expect(await list.isDue()).toBe(false);
    await finish(second, 'FAILED');
    expect(await list.isDue()).toBe(true);
    const third = await list.start();
    expect(started).toEqual([first.id, second.id, third.id]);
    expect(await list.states()).toEqual(['RUNNING', 'FAILED', 'RUNNING']);
    await finish(first, 'COMPLETED');
    await finish(third, 'COMPLETED');
    expect(await livePicklists(lab.store.db, list.tenantId)).toContain(list.id);
    expect(await list.advance()).toEqual({ next: 'over', state: 'COMPLETED_WITH_DEVIATION' });
    expect(await list.advance()).toEqual({ next: 'over', state: 'COMPLETED_WITH_DEVIATION' });
    expect(await livePicklists(lab.store.db, list.tenantId)).not.toContain(list.id);
    const items = await list.items();
    expect(items.map(({ result }) => result)).toEqual([
      { detail: 'It is COMPLETED.' },
      { detail: 'It is FAILED.' },
      { detail: 'It is COMPLETED.' },
    ]);
    expect((await list.record())?.counts).toEqual({ COMPLETED: 2, FAILED: 1 });
    expect(await list.entries()).toEqual([
      { type: 'automation.picklist.ordered', from: null, to: 'RUNNING', reason: 'retrieval' },
      {
        type: 'automation.picklist.finished',
        from: 'RUNNING',
        to: 'COMPLETED_WITH_DEVIATION',
        reason: 'retrieval',
      },
    ]);
    expect(await checkLedger(lab.store.db, list.tenantId)).toMatchObject({ ok: true });
  });

  test('names a tube whose start was not confirmed again, and writes no second job for it', async () => {
    const list = await List.ofTubes(2);
    const once = await list.advance();
    expect(await list.advance()).toEqual(once);
    if (once.next !== 'start') throw new Error('nothing to start');
    await act.startTube(list.tenantId, list.id, once.jobId);
    await act.startTube(list.tenantId, list.id, once.jobId);
    expect(await list.states()).toEqual(['RUNNING', 'PLANNED']);
    const jobs = await lab.rows(
      sql`SELECT id FROM job WHERE sample_id = ${(await list.items())[0]?.sampleId}`,
    );
    expect(jobs).toEqual([{ id: once.jobId }]);
  });

  test('takes one tube when two of its workflows ask at once', async () => {
    const list = await List.ofTubes(3);
    const rounds = await Promise.all([list.advance(), list.advance(), list.advance()]);
    expect(new Set(rounds.map((round) => JSON.stringify(round))).size).toBe(1);
    expect(await list.states()).toEqual(['STARTING', 'PLANNED', 'PLANNED']);
  });

  test('records a tube that ended before its start was confirmed', async () => {
    const list = await List.ofTubes(1);
    const round = await list.advance();
    if (round.next !== 'start') throw new Error('nothing to start');
    await finish(await list.jobOf(round.jobId), 'COMPLETED');
    expect(await list.advance()).toEqual({ next: 'over', state: 'COMPLETED' });
    await act.startTube(list.tenantId, list.id, round.jobId);
    expect(await list.states()).toEqual(['COMPLETED']);
  });

  test('of nothing but refused tubes is over at once', async () => {
    const list = await List.of(['unknown', 'unknown']);
    expect(await list.advance()).toEqual({ next: 'over', state: 'FAILED' });
    expect((await list.items()).map(({ result }) => result)).toEqual([
      { refusal: UNKNOWN },
      { refusal: UNKNOWN },
    ]);
  });

  test('that nobody knows is said to be so', async () => {
    const nobodys = uuidv7();
    for (const step of [
      () => act.advancePicklist(lab.store.tenantId, nobodys),
      () => act.cancelPicklist(lab.store.tenantId, nobodys, null, null),
      () => act.stopTubes(lab.store.tenantId, nobodys),
      () => act.startTube(lab.store.tenantId, nobodys, nobodys),
    ])
      await expect(step()).rejects.toMatchObject({ type: 'NOT_FOUND', nonRetryable: true });
  });
});

describe('a tube that a full hand-off refuses', () => {
  /** Fills the hand-off. @returns how to make room in it */
  async function fillHandoff(): Promise<() => Promise<unknown>> {
    await lab.rows(sql`UPDATE position SET state = 'reserved', lease_expires_at = now() + interval '1 hour',
      job_id = (SELECT id FROM job LIMIT 1) WHERE container_id = ${lab.handoff} AND state = 'free'`);
    return () =>
      lab.rows(sql`UPDATE position SET state = 'free', job_id = NULL, lease_expires_at = NULL WHERE id = (
        SELECT id FROM position WHERE container_id = ${lab.handoff} AND state = 'reserved' ORDER BY ordinal LIMIT 1)`);
  }

  test('keeps its turn, and is tried again when there is room', async () => {
    const makeRoom = await fillHandoff();
    const list = await List.ofTubes(2, { mode: 'robot' });
    const refused = await list.start();
    expect(await refused.reserve(AT_WORK)).toMatchObject({ outcome: 'refused' });
    expect(await list.isDue()).toBe(true);
    expect(await list.advance()).toEqual({ next: 'wait' });
    expect(await list.items()).toMatchObject([
      { state: 'PLANNED', handoffId: lab.handoff, result: { refusal: { code: 'NO_POSITION_FREE' } } },
      { state: 'PLANNED', handoffId: null },
    ]);
    expect(await list.isDue()).toBe(false);
    await makeRoom();
    expect(await list.isDue()).toBe(true);
    const again = await list.start();
    expect(again.sampleId).toBe(refused.sampleId);
    expect(await again.reserve(AT_WORK)).toMatchObject({ outcome: 'accepted' });
    await finish(again, 'COMPLETED');
    const { sampleId } = await list.start();
    expect(sampleId).not.toBe(refused.sampleId);
  });

  test('is refused when there is none for too long, and the next has its turn', async () => {
    await fillHandoff();
    const list = await List.ofTubes(2, { mode: 'robot' });
    await (await list.start()).reserve(AT_WORK);
    expect(await list.advance()).toEqual({ next: 'wait' });
    await lab.rows(sql`UPDATE picklist_item SET waits_since = now() - ${2 * PATIENCE_MS} * interval '1 millisecond'
      WHERE picklist_id = ${list.id} AND handoff_id IS NOT NULL`);
    expect(await list.isDue()).toBe(true);
    await list.start();
    expect(await list.states()).toEqual(['REFUSED', 'RUNNING']);
    expect((await list.items())[0]?.result).toMatchObject({ refusal: { code: 'NO_POSITION_FREE' } });
  });

  test('is not tried again in a list that is cancelled', async () => {
    await fillHandoff();
    const list = await List.ofTubes(1, { mode: 'robot' });
    await (await list.start()).reserve(AT_WORK);
    await list.advance();
    await list.cancel();
    expect(await list.isDue()).toBe(true);
    expect(await list.advance()).toEqual({ next: 'over', state: 'CANCELLED' });
  });
});

describe('the wait for a list', () => {
  /** Waits as a worker does. @param onBeat what happens at each heartbeat */
  function wait(list: List, onBeat: (env: MockActivityEnvironment) => void): Promise<void> {
    const env = new MockActivityEnvironment();
    env.on('heartbeat', () => onBeat(env));
    return env.run(() => act.awaitTubes(list.tenantId, list.id));
  }

  test('ends when a tube has ended', async () => {
    const list = await List.ofTubes(1);
    const job = await list.start();
    let beats = 0;
    await wait(list, () => {
      beats += 1;
      if (beats === 1) void finish(job, 'COMPLETED');
    });
    expect(await list.advance()).toEqual({ next: 'over', state: 'COMPLETED' });
    expect(beats).toBeGreaterThan(0);
  });

  test('ends by itself after some time, so that a worker is not kept for ever', async () => {
    const list = await List.ofTubes(1);
    await list.start();
    let beats = 0;
    await wait(list, () => {
      beats += 1;
    });
    expect(await list.isDue()).toBe(false);
    expect(beats).toBeGreaterThan(1);
  });

  test('ends when the worker does', async () => {
    const list = await List.ofTubes(1);
    await list.start();
    await expect(wait(list, (env) => env.cancel())).rejects.toThrow(/CANCELLED/);
  });
});

describe('a list that is cancelled', () => {
  test('begins no more tubes, tells those under way once, and ends with the last of them', async () => {
    const list = await List.ofTubes(3, { window: 2 });
    const [first, second] = [await list.start(), await list.start()];
    await first.reserve(AWAIT_SCAN);
    await expect(act.stopTubes(list.tenantId, list.id)).rejects.toMatchObject({ type: 'CONFLICT' });
    expect(await list.isDue()).toBe(false);
    expect(await list.cancel('The wrong project')).toEqual({ outcome: 'accepted' });
    expect(await list.cancel('again')).toEqual({ outcome: 'accepted' });
    expect(await list.isDue()).toBe(true);
    expect(await list.advance()).toEqual({ next: 'stop' });
    expect(await list.states()).toEqual(['RUNNING', 'RUNNING', 'CANCELLED']);
    await act.stopTubes(list.tenantId, list.id);
    const wish = { actor: lab.actor, reason: 'The wrong project' };
    expect(cancelled).toEqual(
      [first, second].map(({ workflowId }) => ({ workflowId, wish, id: `cancel/${list.id}` })),
    );
    expect(await list.advance()).toEqual({ next: 'wait' });
    expect(await list.isDue()).toBe(false);
    await finish(first, 'CANCELLED');
    await finish(second, 'COMPLETED');
    expect(await list.advance()).toEqual({ next: 'over', state: 'CANCELLED' });
    expect(await list.cancel()).toMatchObject({ outcome: 'refused', refusal: { code: 'JOB_FINISHED' } });
    expect((await list.entries()).map(({ type, to }) => [type, to])).toEqual([
      ['automation.picklist.ordered', 'RUNNING'],
      ['automation.picklist.cancel_requested', 'CANCELLING'],
      ['automation.picklist.finished', 'CANCELLED'],
    ]);
  });

  test('in Temporal, is cancelled by whoever ordered it', async () => {
    const list = await List.ofTubes(1);
    await act.cancelPicklist(list.tenantId, list.id, null, 'asked for in Temporal');
    expect((await list.record())?.cancel).toEqual({ actor: lab.actor, reason: 'asked for in Temporal' });
  });
});
