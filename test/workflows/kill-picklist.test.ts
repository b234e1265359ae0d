import { expect, test } from 'vitest';
import { until } from '../../stack/processes.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { Floor, type RunningPicklist } from './floor.ts';
import { WorkerProcess } from './worker-process.ts';

const TUBES = 3;
/** What a list takes at least: to take and to start each tube, and to find that it is over. */
const STEPS = 2 * TUBES + 1;

/** People confirm whatever tube waits for them, until the list is over. @returns how it ended */
async function work(floor: Floor, { list, handle }: RunningPicklist): Promise<string> {
  const ended = handle.result().then(({ state }) => state);
  await until('the end of a list', 90_000, async () => {
    for (const { job } of list.items) {
      if (job?.state !== 'AWAITING_PERSON') continue;
      // A refusal, or an answer lost with a worker, is looked at again.
      await floor.confirm({ job, handle: floor.client.workflow.getHandle(job.workflowId) }).catch(() => {});
    }
    return list.state !== 'RUNNING';
  });
  return ended;
}

test('a worker killed at every step of a picklist starts no tube twice and leaves none out', async () => {
  const server = temporalServer();
  const floor = await Floor.openWithoutWorker(server, workflowBundle());
  const settings = { server, taskQueue: floor.taskQueue, bundlePath: workflowBundle().codePath };
  let worker = await WorkerProcess.start(settings, floor.activities);
  try {
    let hung = 0;
    let isDead = false;
    // Whatever runs at the moment of death never comes back to its worker.
    const never = new Promise<never>(() => {});
    const deaths = Array.from({ length: STEPS }, (_, at) =>
      ['before', 'after'].map((when) => ({ at, when })),
    ).flat();
    const working = deaths.map(async ({ at, when }) => {
      const hang = ({ n }: { readonly n: number }) => {
        if (isDead || n !== at) return undefined;
        hung += 1;
        return never;
      };
      const running = await floor.startPicklist(Array(TUBES).fill({ kind: 'retrieval', mode: 'hand' }), 2, {
        prepare: ({ id }) => floor.hooks.set(id, { [when]: hang }),
      });
      return { state: await work(floor, running), list: running.list };
    });
    const ended = Promise.all(working);
    ended.catch(() => {}); // told below, unless the wait for the hanging lists fails first
    await until('every list hanging in its step', 60_000, () => hung === deaths.length);
    isDead = true;
    await worker.kill();
    worker = await WorkerProcess.start(settings, floor.activities);
    for (const { state, list } of await ended) {
      expect(state).toBe('COMPLETED');
      const samples = list.items.map(({ order: { sampleId } }) => sampleId);
      const jobs = [...floor.lab.jobs.values()].filter(({ sampleId }) => samples.includes(sampleId));
      expect(jobs).toHaveLength(TUBES);
    }
    expect(floor.lab.problems()).toEqual([]);
  } finally {
    await worker.kill();
    await floor.close();
  }
}, 180_000);
