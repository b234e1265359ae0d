import { expect, test } from 'vitest';
import { isFinal, JOB_STATES } from '../../domain/job.ts';
import { until } from '../../stack/processes.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import type { Call } from './fakes.ts';
import { Floor } from './floor.ts';
import { PLAYS, type Play, play, prepare } from './play.ts';
import { WorkerProcess } from './worker-process.ts';

/**
 * A worker dies while the n-th step of a job runs, before the step did anything or after it did it; or while the job waits
 * for a person for the n-th time.
 */
type Death = { readonly at: number; readonly when: 'before' | 'after' | 'waiting' };

async function deathsOf(floor: Floor, of: Play): Promise<Death[]> {
  const prepared = prepare(floor, of);
  let calls = 0;
  floor.hooks.set(prepared.job.id, {
    before: () => {
      calls += 1;
    },
  });
  const { acts } = await play(floor, prepared);
  const numbers = (count: number) => Array.from({ length: count }, (_, at) => at);
  return [
    ...numbers(calls).flatMap((at): Death[] => [
      { at, when: 'before' },
      { at, when: 'after' },
    ]),
    ...numbers(acts).map((at): Death => ({ at, when: 'waiting' })),
  ];
}

/** States and phases of the jobs whose worker died. */
const hits = new Map<string, number>();

/** Those that between them take every step there is. */
const KILLED = [
  'placement by hand',
  'placement by robot',
  'placement by robot, pick unanswered',
  'placement by robot, place refused',
  'retrieval by robot, nobody comes',
  'move by robot',
];

test.each(Object.entries(PLAYS).filter(([name]) => KILLED.includes(name)))(
  'a worker killed at every step of a %s costs nothing but time',
  async (_name, of) => {
    const server = temporalServer();
    const floor = await Floor.openWithoutWorker(server, workflowBundle());
    const order = { server, taskQueue: floor.taskQueue, bundlePath: workflowBundle().codePath };
    let worker = await WorkerProcess.start(order, floor.activities);
    try {
      const deaths = await deathsOf(floor, of);
      let hanging = 0;
      const isDead = { now: false };
      // Whatever runs at the moment of death never comes back to its worker.
      const never = new Promise<never>(() => {});
      let bury = () => {};
      const dead = new Promise<void>((resolve) => {
        bury = resolve;
      });
      const outcomes = deaths.map((death) => {
        const prepared = prepare(floor, of);
        const isHere = (n: number): boolean => {
          if (isDead.now || n !== death.at) return false;
          const where = `${prepared.job.state} ${prepared.job.phase}`;
          hits.set(where, (hits.get(where) ?? 0) + 1);
          hanging += 1;
          return true;
        };
        if (death.when === 'waiting') {
          return play(floor, prepared, (n) => (isHere(n) ? dead : Promise.resolve()));
        }
        floor.hooks.set(prepared.job.id, { [death.when]: ({ n }: Call) => (isHere(n) ? never : undefined) });
        return play(floor, prepared);
      });
      const ended = Promise.all(outcomes);
      ended.catch(() => {}); // told below, unless the wait for the hanging jobs fails first
      await until('every job hanging in its step', 60_000, () => hanging === deaths.length);
      isDead.now = true;
      await worker.kill();
      bury(); // whoever was waited for comes while nobody listens
      worker = await WorkerProcess.start(order, floor.activities);
      for (const { outcome } of await ended) {
        expect(['COMPLETED', 'FAILED', 'COMPLETED_WITH_DEVIATION']).toContain(outcome.state);
      }
      expect(floor.lab.problems()).toEqual([]);
    } finally {
      await worker.kill();
      await floor.close();
    }
  },
  120_000,
);

test('every state that a job can be in has met the death of a worker', () => {
  const rows = [...hits].sort(([one], [other]) => one.localeCompare(other));
  console.log(rows.map(([where, count]) => `${String(count).padStart(5)}  ${where}`).join('\n'));
  const states = rows.map(([where]) => where.split(' ')[0]);
  for (const state of JOB_STATES)
    if (!isFinal(state) && state !== 'SAFETY_HOLD') expect(states).toContain(state);
});
