import { expect, test } from 'vitest';
import { isFinal, JOB_STATES, PHASES } from '../../domain/job.ts';
import { until } from '../../stack/processes.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import type { Call } from './fakes.ts';
import { Floor } from './floor.ts';
import type { FakeJob, RobotFault } from './laboratory.ts';
import { PLAYS, type Play, play, prepare } from './play.ts';
import { WorkerProcess } from './worker-process.ts';

/**
 * A worker dies while a step of a job runs, before the step did anything or after it did it; or while the job waits for a
 * person for the n-th time.
 */
type Death =
  | { readonly when: 'before' | 'after'; readonly step: string }
  | { readonly when: 'waiting'; readonly n: number };

/** Of jobs that hang until all do, on a machine that does much else. */
const WITHIN_MS = 240_000;

const refusesToPlace: RobotFault = { on: 'place', how: 'nothing_moved' };
/** Besides those that are cancelled at every await and terminated at every moment: the ways to the rarest phases. */
const MORE: Readonly<Record<string, Play>> = {
  'placement by robot, its undo stuck': {
    setup: { kind: 'placement', mode: 'robot', isScanned: true },
    faults: Array<RobotFault>(4).fill(refusesToPlace),
  },
  'placement by robot, dropped at the pick': {
    setup: { kind: 'placement', mode: 'robot', isScanned: true, limits: { observeMs: 30_000 } },
    faults: [{ on: 'pick', how: 'dropped' }],
  },
  'retrieval by worklist, nobody comes': {
    setup: { kind: 'retrieval', mode: 'robot', limits: { pickupMs: 1 } },
    isByWorklist: true,
    isLeft: true,
  },
};

/** Those that between them take every step there is, and pass every state and phase. */
const KILLED = [
  'placement by hand',
  'placement by robot, emergency stop at the pick',
  'placement by robot, dropped at the pick',
  'placement by robot, its undo stuck',
  'retrieval by robot, nobody comes',
  'retrieval by worklist, nobody comes',
  'move by robot',
];

/** Looks at a hold after the first go on as long as it lasts. */
const isLaterLook = (step: string): boolean => /^isHeld .*\/(?!1$)\d+$/.test(step);

/** Plays a job once, and gives every moment of it at which a worker can die. */
async function deathsOf(floor: Floor, of: Play): Promise<Death[]> {
  const prepared = prepare(floor, of);
  const steps = new Set<string>();
  floor.hooks.set(prepared.job.id, {
    before: ({ step }) => {
      if (!isLaterLook(step)) steps.add(step);
    },
  });
  const { acts } = await play(floor, prepared, undefined, WITHIN_MS);
  return [
    ...[...steps].flatMap((step): Death[] => [
      { step, when: 'before' },
      { step, when: 'after' },
    ]),
    ...Array.from({ length: acts }, (_, n): Death => ({ when: 'waiting', n })),
  ];
}

/** States and phases of the jobs whose worker died. */
const hits = new Map<string, number>();

test.each(Object.entries({ ...PLAYS, ...MORE }).filter(([name]) => KILLED.includes(name)))(
  'a worker killed at every step of a %s costs nothing but time',
  async (_name, of) => {
    const server = temporalServer();
    const floor = await Floor.openWithoutWorker(server, workflowBundle());
    const order = { server, taskQueue: floor.taskQueue, bundlePath: workflowBundle().codePath };
    let worker = await WorkerProcess.start(order, floor.activities);
    try {
      const deaths = await deathsOf(floor, of);
      const hanging = new Map<Death, FakeJob>();
      let isDead = false;
      // Whatever runs at the moment of death never comes back to its worker.
      const never = new Promise<never>(() => {});
      let bury = () => {};
      const dead = new Promise<void>((resolve) => {
        bury = resolve;
      });
      const outcomes = deaths.map((death) => {
        const prepared = prepare(floor, of);
        const { job } = prepared;
        if (death.when === 'waiting') {
          const wait = async (n: number) => {
            if (isDead || n !== death.n) return;
            hanging.set(death, job);
            await dead;
          };
          return play(floor, prepared, wait, WITHIN_MS);
        }
        // Each try of the step hangs, so that the job is there when the worker dies.
        const hang = ({ step }: Call) => {
          if (isDead || step !== death.step) return undefined;
          hanging.set(death, job);
          return never;
        };
        floor.hooks.set(job.id, { [death.when]: hang });
        return play(floor, prepared, undefined, WITHIN_MS);
      });
      const ended = Promise.all(outcomes);
      ended.catch(() => {}); // told below, unless the wait for the hanging jobs fails first
      await until('every job hanging in its step', WITHIN_MS / 2, () => hanging.size === deaths.length).catch(
        (error: Error) => {
          const missed = deaths.filter((death) => !hanging.has(death));
          throw new Error(`${error.message}: not at ${JSON.stringify(missed)}`);
        },
      );
      for (const { state, phase } of hanging.values()) {
        const where = `${state} ${phase}`;
        hits.set(where, (hits.get(where) ?? 0) + 1);
      }
      isDead = true;
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
  2 * WITHIN_MS,
);

test('every state and every phase that a job can be in has met the death of a worker', () => {
  const rows = [...hits].sort(([one], [other]) => one.localeCompare(other));
  console.log(rows.map(([where, count]) => `${String(count).padStart(5)}  ${where}`).join('\n'));
  const [states, phases] = [0, 1].map((n) => new Set(rows.map(([where]) => where.split(' ')[n])));
  const live = JOB_STATES.filter((state) => !isFinal(state));
  expect(live.filter((state) => !states?.has(state))).toEqual([]);
  expect(PHASES.filter((phase) => !phases?.has(phase))).toEqual([]);
});
