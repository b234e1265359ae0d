import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ScheduleActivities } from '../../activities/contract.ts';
import { createScheduleActivities } from '../../activities/schedule.ts';
import { markRestored } from '../../db/restore.ts';
import { cancelSchedule, changeSchedule } from '../../db/schedule-changes.ts';
import { hasActiveSchedules, listSchedules } from '../../db/schedules.ts';
import type { Trigger } from '../../domain/schedule.ts';
import { workflowIds } from '../../workflows/ids.ts';
import type { jobStartOptions } from '../../workflows/messages/start.ts';
import { AWAIT_SCAN, Job, ProcessLab } from '../setup/process-lab.ts';
import { ScheduleLab } from '../setup/schedules.ts';
import { createFakeScheduleActivities } from '../workflows/fake-schedules.ts';
import { Laboratory } from '../workflows/laboratory.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let lab: ProcessLab;
let schedules: ScheduleLab;
let act: ScheduleActivities;
const started: { readonly workflow: string; readonly options: ReturnType<typeof jobStartOptions> }[] = [];

beforeAll(async () => {
  lab = await ProcessLab.open();
  schedules = await ScheduleLab.open(lab.store);
  act = createScheduleActivities({
    db: lab.store.db,
    workflows: {
      async start(workflow, options) {
        started.push({ workflow, options });
      },
    },
  });
});
afterAll(async () => {
  await schedules.close();
  await lab.close();
});

const inAMinute = (): Trigger => ({ kind: 'at', at: new Date(Date.now() + MINUTE).toISOString() });
const everyHour = (): Trigger => ({
  kind: 'interval',
  unit: 'hours',
  count: 1,
  from: new Date(Date.now() + HOUR).toISOString(),
});
const dueRunsOf = async (id: string) =>
  (await act.dueRuns(lab.store.tenantId)).filter(({ scheduleId }) => scheduleId === id);
/** One scan, for this schedule. */
const scan = async (id: string) => {
  const runs = await dueRunsOf(id);
  return Promise.all(runs.map((run) => act.beginRun(lab.store.tenantId, run)));
};
const jobOf = (id: string | null, sampleId: string) =>
  new Job(lab, String(id), `t-${lab.store.tenantId}:retrieval:${id}`, sampleId);

describe('a job planned at a time', () => {
  test('begins when it is due, once, with what was asked, and the schedule is done', async () => {
    const { sampleId } = await lab.storedTube();
    const id = await schedules.plan(sampleId, { trigger: inAMinute() });
    expect(await dueRunsOf(id)).toEqual([]);
    expect(await act.beginRun(lab.store.tenantId, { scheduleId: id, run: 1 })).toEqual({
      outcome: 'later',
      jobId: null,
    });
    await schedules.age(id, 2 * MINUTE);
    expect(await dueRunsOf(id)).toEqual([{ scheduleId: id, run: 1 }]);
    const [begun] = await scan(id);
    expect(begun?.outcome).toBe('started');
    const job = await jobOf(begun?.jobId ?? null, sampleId).row();
    expect(job).toMatchObject({
      kind: 'retrieval',
      mode: 'hand',
      state: 'QUEUED',
      sampleId,
      scheduleId: id,
      actor: { ...lab.actor, stationId: null },
      input: { order: { kind: 'retrieval', handoffPositionId: null }, confirmation: null },
    });
    expect(started.at(-1)).toMatchObject({
      workflow: 'retrieveSample',
      options: { workflowId: job.workflowId, workflowIdConflictPolicy: 'USE_EXISTING' },
    });
    const after = await schedules.read(id);
    expect(after).toMatchObject({ state: 'done', nextDue: null, runs: 1, lastJob: { state: 'QUEUED' } });
    expect(after.lastRun).toMatchObject({ run: 1, outcome: 'started', jobId: job.id });
    const by = { reason: 'schedule', actor: lab.actor.userId };
    expect(await schedules.entries(id)).toEqual([
      { type: 'automation.schedule.created', from: null, to: 'active', ...by },
      { type: 'automation.schedule.ran', from: 'active', to: 'done', ...by },
    ]);
  });

  test('begins once also when many scans find it at once, and when a scan comes back to it', async () => {
    const { sampleId } = await lab.storedTube();
    const id = await schedules.plan(sampleId, { trigger: everyHour() });
    await schedules.age(id, HOUR + MINUTE);
    const [run] = await dueRunsOf(id);
    if (!run) throw new Error('it is not due');
    const begin = () => act.beginRun(lab.store.tenantId, run);
    const begun = await Promise.all(Array.from({ length: 8 }, begin));
    begun.push(await begin());
    expect(new Set(begun.map(({ outcome, jobId }) => `${outcome} ${jobId}`)).size).toBe(1);
    expect(await schedules.jobsOf(id)).toEqual([{ id: begun[0]?.jobId, state: 'QUEUED' }]);
    expect((await schedules.entries(id)).map(({ type }) => type)).toEqual([
      'automation.schedule.created',
      'automation.schedule.ran',
    ]);
    expect((await schedules.read(id)).runs).toBe(1);
    expect(await dueRunsOf(id)).toEqual([]);
  });

  test('is missed when the laboratory was off for longer than the grace period', async () => {
    const { sampleId } = await lab.storedTube();
    const id = await schedules.plan(sampleId, { trigger: inAMinute(), graceMs: 10 * MINUTE });
    await schedules.age(id, 15 * MINUTE);
    expect(await scan(id)).toEqual([{ outcome: 'missed', jobId: null }]);
    expect(await schedules.read(id)).toMatchObject({
      state: 'done',
      runs: 0,
      lastRun: { outcome: 'missed', run: 1 },
    });
    expect(await schedules.jobsOf(id)).toEqual([]);
    expect((await schedules.entries(id)).at(-1)).toMatchObject({
      type: 'automation.schedule.missed',
      to: 'done',
    });
  });
});

describe('a repeated job', () => {
  test('goes on when a run is refused, which is told', async () => {
    const { sampleId } = await lab.storedTube();
    const id = await schedules.plan(sampleId, { trigger: everyHour() });
    await schedules.age(id, HOUR + MINUTE);
    const [first] = await scan(id);
    await jobOf(first?.jobId ?? null, sampleId).reserved();
    await schedules.age(id, HOUR);
    const [second] = await scan(id);
    expect(second?.jobId).not.toBe(first?.jobId);
    const busy = jobOf(second?.jobId ?? null, sampleId);
    expect(await lab.storage.reserveRetrieval(busy.ref('reserve'), AWAIT_SCAN)).toMatchObject({
      outcome: 'refused',
    });
    const after = await schedules.read(id);
    expect(after).toMatchObject({
      state: 'active',
      runs: 2,
      lastRun: { run: 2, outcome: 'started', jobId: second?.jobId },
      lastJob: { state: 'REFUSED', refusal: { code: 'SAMPLE_BUSY' } },
    });
    expect(after.nextDue?.getTime()).toBeGreaterThan(Date.now());
  });

  test('makes up for a night with one run, and says since when it was missed', async () => {
    const { sampleId } = await lab.storedTube();
    const id = await schedules.plan(sampleId, { trigger: everyHour() });
    await schedules.age(id, 10 * HOUR + MINUTE);
    const { nextDue: missedSince } = await schedules.read(id);
    expect((await scan(id)).map(({ outcome }) => outcome)).toEqual(['started']);
    expect(await scan(id)).toEqual([]);
    const { lastRun, nextDue } = await schedules.read(id);
    expect(lastRun?.missedSince).toBe(missedSince?.toISOString());
    expect(Date.parse(lastRun?.dueAt ?? '') - (missedSince?.getTime() ?? 0)).toBe(9 * HOUR);
    expect((nextDue?.getTime() ?? 0) - Date.parse(lastRun?.dueAt ?? '')).toBe(HOUR);
  });

  test('ends with its last run', async () => {
    const { sampleId } = await lab.storedTube();
    const id = await schedules.plan(sampleId, { trigger: everyHour(), maxRuns: 1 });
    await schedules.age(id, HOUR);
    await scan(id);
    expect(await schedules.read(id)).toMatchObject({ state: 'done', nextDue: null, runs: 1 });
  });

  test('is refused, and goes on, when whoever planned it may not any more', async () => {
    const { sampleId } = await lab.storedTube();
    const person = await lab.addPerson();
    const own = { ...lab.store, actor: person };
    const theirs = await ScheduleLab.open(own);
    const id = await theirs.plan(sampleId, { trigger: everyHour() });
    await theirs.damage(`UPDATE app_user SET role = 'data_analyst' WHERE id = $1`, [person.userId]);
    await schedules.age(id, HOUR + MINUTE);
    expect(await scan(id)).toEqual([{ outcome: 'refused', jobId: null }]);
    await theirs.damage(`UPDATE app_user SET role = 'lab_technician', disabled_at = now() WHERE id = $1`, [
      person.userId,
    ]);
    await schedules.age(id, HOUR);
    expect(await scan(id)).toEqual([{ outcome: 'refused', jobId: null }]);
    const after = await schedules.read(id);
    expect(after).toMatchObject({ state: 'active', runs: 2, lastRun: { refusal: { code: 'FORBIDDEN' } } });
    expect(await schedules.jobsOf(id)).toEqual([]);
    await theirs.close();
  });

  test('is not looked at while it is paused, and does not make up for that', async () => {
    const { sampleId } = await lab.storedTube();
    const id = await schedules.plan(sampleId, { trigger: everyHour() });
    const wish = { actor: lab.actor, reason: 'The freezer is being defrosted.' };
    await changeSchedule(lab.store.db, wish, id, 1, { paused: true });
    expect(await schedules.read(id)).toMatchObject({
      state: 'paused',
      nextDue: null,
      changed: { by: lab.actor.userId, reason: wish.reason },
    });
    await schedules.age(id, 5 * HOUR);
    expect(await scan(id)).toEqual([]);
    expect(await act.beginRun(lab.store.tenantId, { scheduleId: id, run: 1 })).toEqual({
      outcome: 'later',
      jobId: null,
    });
    await changeSchedule(lab.store.db, { ...wish, reason: 'Done.' }, id, 2, { paused: false, priority: 60 });
    const after = await schedules.read(id);
    expect(after).toMatchObject({ state: 'active', job: { priority: 60 }, version: 3, runs: 0 });
    expect(after.nextDue?.getTime()).toBeGreaterThan(Date.now());
    await cancelSchedule(lab.store.db, wish, id);
    await expect(cancelSchedule(lab.store.db, wish, id)).rejects.toMatchObject({ code: 'CONFLICT' });
    await schedules.age(id, 5 * HOUR);
    expect(await scan(id)).toEqual([]);
  });
});

describe('a job planned after another', () => {
  const after = (jobId: string, condition: 'completed' | 'ended' = 'completed'): Trigger => ({
    kind: 'after',
    jobId,
    condition,
  });

  test('begins when that one is over as asked, and not before', async () => {
    const [before, next] = [await lab.storedTube(), await lab.storedTube()];
    const job = await lab.retrieval(before.sampleId);
    const id = await schedules.plan(next.sampleId, { trigger: after(job.id) });
    expect(await scan(id)).toEqual([]);
    await job.reserved();
    expect(await scan(id)).toEqual([]);
    await lab.storage.finishJob(job.ref('finish'), 'COMPLETED', 'Taken.');
    expect((await scan(id)).map(({ outcome }) => outcome)).toEqual(['started']);
    expect(await schedules.read(id)).toMatchObject({ state: 'done', runs: 1 });
  });

  test('is over when that one ended otherwise, and nothing is started', async () => {
    const [before, next] = [await lab.storedTube(), await lab.storedTube()];
    const job = await lab.retrieval(before.sampleId);
    const onlyThen = await schedules.plan(next.sampleId, { trigger: after(job.id) });
    const anyhow = await schedules.plan(next.sampleId, { trigger: after(job.id, 'ended') });
    await lab.storage.finishJob(job.ref('finish'), 'FAILED', 'No.');
    expect(await scan(onlyThen)).toEqual([{ outcome: 'unmet', jobId: null }]);
    expect(await schedules.read(onlyThen)).toMatchObject({
      state: 'done',
      runs: 0,
      lastRun: { outcome: 'unmet', ended: 'FAILED' },
    });
    expect(await schedules.jobsOf(onlyThen)).toEqual([]);
    expect((await scan(anyhow)).map(({ outcome }) => outcome)).toEqual(['started']);
  });

  test('waits for its window, and says until when', async () => {
    const [before, next] = [await lab.storedTube(), await lab.storedTube()];
    const job = await lab.retrieval(before.sampleId);
    const hour = (hours: number) => new Date(Date.now() + hours * HOUR).toISOString().slice(11, 16);
    const window = { from: hour(2), to: hour(4), timeZone: 'UTC' };
    const id = await schedules.plan(next.sampleId, { trigger: after(job.id), window });
    await lab.storage.finishJob(job.ref('finish'), 'COMPLETED', 'Taken.');
    expect(await scan(id)).toEqual([{ outcome: 'later', jobId: null }]);
    const { nextDue, state } = await schedules.read(id);
    expect([state, nextDue?.toISOString().slice(11, 16)]).toEqual(['active', window.from]);
    expect(await scan(id)).toEqual([]);
    expect((await schedules.entries(id)).at(-1)).toMatchObject({ type: 'automation.schedule.changed' });
  });

  test('is refused for a job that is over, and for none at all', async () => {
    const tube = await lab.storedTube();
    const job = await lab.retrieval(tube.sampleId);
    await lab.storage.finishJob(job.ref('finish'), 'FAILED', 'No.');
    await expect(schedules.plan(tube.sampleId, { trigger: after(job.id) })).rejects.toMatchObject({
      code: 'JOB_FINISHED',
      errors: [{ pointer: '/when/after' }],
    });
    const nobody = '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d01';
    await expect(schedules.plan(tube.sampleId, { trigger: after(nobody) })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });
});

describe('schedules', () => {
  test('are found due with the longest due first, of the own tenant only', async () => {
    const { sampleId } = await lab.storedTube();
    const late = await schedules.plan(sampleId, { trigger: everyHour() });
    const later = await schedules.plan(sampleId, { trigger: everyHour() });
    await schedules.age(late, HOUR + 2 * MINUTE);
    await schedules.age(later, HOUR + 3 * MINUTE);
    const due = (await act.dueRuns(lab.store.tenantId)).map(({ scheduleId }) => scheduleId);
    expect(due.filter((id) => id === late || id === later)).toEqual([later, late]);
    const stranger = await lab.store.lab.addTenant();
    expect(await act.dueRuns(stranger.tenantId)).toEqual([]);
    expect(await hasActiveSchedules(lab.store.db, stranger.tenantId)).toBe(false);
    expect(await hasActiveSchedules(lab.store.db, lab.store.tenantId)).toBe(true);
    expect(await listSchedules(lab.store.db, stranger.tenantId, { limit: 10 })).toEqual([]);
    await expect(act.beginRun(stranger.tenantId, { scheduleId: late, run: 1 })).rejects.toMatchObject({
      type: 'NOT_FOUND',
    });
  });

  test('are changed by who has seen what they change', async () => {
    const { sampleId } = await lab.storedTube();
    const id = await schedules.plan(sampleId, { trigger: inAMinute() });
    const wish = { actor: lab.actor, reason: 'Earlier.' };
    await changeSchedule(lab.store.db, wish, id, 1, { trigger: everyHour(), until: Date.now() + 5 * HOUR });
    await expect(changeSchedule(lab.store.db, wish, id, 1, { paused: true })).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      facts: { version: 2 },
    });
    await expect(
      changeSchedule(lab.store.db, wish, id, 2, { until: Date.now() + 1_000 }),
    ).rejects.toMatchObject({ code: 'VALIDATION', errors: [{ pointer: '/until' }] });
    expect((await schedules.read(id)).version).toBe(2);
  });

  test('keep reason and order out of what cannot be erased', async () => {
    const tube = lab.newTube({ barcode: 'SECRET-TUBE' });
    const order = {
      kind: 'placement',
      newSample: tube,
      target: { kind: 'chosen', withinId: null },
      handoffPositionId: null,
    } as const;
    const id = await schedules.plan(
      '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d02',
      { trigger: inAMinute() },
      {
        reason: 'SECRET-REASON',
        job: {
          kind: 'placement',
          mode: 'hand',
          priority: 20,
          sampleId: '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d02',
          order,
        },
      },
    );
    await schedules.age(id, 2 * MINUTE);
    expect((await scan(id)).map(({ outcome }) => outcome)).toEqual(['started']);
    const kept = await lab.rows<{ text: string }>(sql`
      SELECT convert_from(content, 'UTF8') AS text FROM record_version WHERE aggregate_id = ${id}
      UNION ALL SELECT data::text FROM event WHERE subject = ${`schedule/${id}`}`);
    expect(kept.length).toBe(4);
    for (const { text } of kept) expect(text).not.toContain('SECRET');
    const erasable = await lab.rows<{ field: string }>(sql`
      SELECT DISTINCT field FROM erasable_value WHERE value LIKE '%SECRET%' ORDER BY 1`);
    expect(erasable.map(({ field }) => field)).toEqual(['comment', 'job_order', 'reason']);
  });
});

test('in a restored laboratory all that was planned waits until a person lets it go on', async () => {
  const actor = await lab.store.lab.addTenant();
  const { tenantId } = actor;
  const restored = await ScheduleLab.open({ ...lab.store, tenantId, actor });
  const id = await restored.plan('0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d04', { trigger: everyHour() });
  await restored.age(id, HOUR + MINUTE);
  expect(await act.dueRuns(tenantId)).toHaveLength(1);
  const marked = await markRestored(lab.store.db, tenantId, new Date(), workflowIds.restored);
  expect(marked.schedules).toBe(1);
  expect(await act.dueRuns(tenantId)).toEqual([]);
  const { state, changed } = await restored.read(id);
  expect([state, changed?.reason]).toEqual(['paused', expect.stringContaining('was restored')]);
  expect((await restored.entries(id)).at(-1)).toMatchObject({ reason: 'restore', to: 'paused' });
  await changeSchedule(lab.store.db, { actor, reason: 'Checked.' }, id, 2, { paused: false });
  expect((await restored.read(id)).state).toBe('active');
  await restored.close();
});

test('the fake tells the story that the real one tells', async () => {
  const { sampleId } = await lab.storedTube();
  const real = await schedules.plan(sampleId, { trigger: everyHour() });
  await schedules.age(real, HOUR + MINUTE);
  const memory = new Laboratory(lab.store.tenantId);
  const fake = memory.addSchedule('started').id;
  const tell = async (steps: ScheduleActivities, id: string) => {
    const story: unknown[] = [];
    const due = async () => (await steps.dueRuns(lab.store.tenantId)).filter((run) => run.scheduleId === id);
    const [run] = await due();
    if (!run) throw new Error('nothing is due');
    story.push(run.run);
    const first = await steps.beginRun(lab.store.tenantId, run);
    const again = await steps.beginRun(lab.store.tenantId, run);
    story.push(first.outcome, again.outcome, first.jobId === again.jobId, await due());
    const unknown = { scheduleId: '0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d03', run: 1 };
    const refused = await steps.beginRun(lab.store.tenantId, unknown).catch((error) => error);
    story.push([refused.type, refused.nonRetryable]);
    return story;
  };
  const story = await tell(act, real);
  expect(story).toEqual([1, 'started', 'started', true, [], ['NOT_FOUND', true]]);
  expect(await tell(createFakeScheduleActivities(memory), fake)).toEqual(story);
});
