import { expect, test } from 'vitest';
import { until } from '../../stack/processes.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { Floor } from './floor.ts';
import { PLAYS, type Play, play, prepare } from './play.ts';
import { WorkerProcess } from './worker-process.ts';

/** A worker dies while the n-th step of a job runs: before the step did anything, or after it did it. */
type Death = { readonly at: number; readonly when: 'before' | 'after' };

async function callsOf(floor: Floor, of: Play): Promise<number> {
  const prepared = prepare(floor, of);
  let calls = 0;
  floor.hooks.set(prepared.job.id, {
    before: () => {
      calls += 1;
    },
  });
  await play(floor, prepared);
  return calls;
}

/** Those that between them take every step there is. */
const KILLED = [
  'placement by hand',
  'placement by robot',
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
      const calls = await callsOf(floor, of);
      const deaths = Array.from({ length: calls }, (_, at): Death[] => [
        { at, when: 'before' },
        { at, when: 'after' },
      ]).flat();
      let hanging = 0;
      const isDead = { now: false };
      // Whatever runs at the moment of death never comes back to its worker.
      const never = new Promise<never>(() => {});
      const outcomes = deaths.map((death) => {
        const prepared = prepare(floor, of);
        const hang = ({ n }: { readonly n: number }) => {
          if (isDead.now || n !== death.at) return undefined;
          hanging += 1;
          return never;
        };
        floor.hooks.set(prepared.job.id, { [death.when]: hang });
        return play(floor, prepared);
      });
      const ended = Promise.all(outcomes);
      ended.catch(() => {}); // told below, unless the wait for the hanging jobs fails first
      await until('every job hanging in its step', 60_000, () => hanging === deaths.length);
      isDead.now = true;
      await worker.kill();
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
