import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinal, JOB_STATES } from '../../domain/job.ts';
import { until } from '../../stack/processes.ts';
import { temporalServer, workflowBundle } from '../setup/temporal.ts';
import { Floor } from './floor.ts';
import { PLAYS, type Play, play, prepare } from './play.ts';

let floor: Floor;
beforeAll(async () => {
  floor = await Floor.open(temporalServer(), workflowBundle());
});
afterAll(() => floor?.close());

/** Where a cancel is thrown in: while an activity runs for the n-th time, or before a person acts. */
type Await = { readonly kind: 'call' | 'act'; readonly n: number };

/** States and phases of the jobs when somebody cancelled them. */
const hits = new Map<string, number>();

/** Runs a play once, and gives every place at which its workflow waits. */
async function awaitsOf(of: Play): Promise<Await[]> {
  const prepared = prepare(floor, of);
  let calls = 0;
  floor.hooks.set(prepared.job.id, {
    before: () => {
      calls += 1;
    },
  });
  const { acts } = await play(floor, prepared);
  const places = (kind: Await['kind'], count: number) =>
    Array.from({ length: count }, (_, n) => ({ kind, n }));
  return [...places('call', calls), ...places('act', acts)];
}

async function cancelledAt(of: Play, at: Await, how: 'update' | 'temporal'): Promise<string> {
  const prepared = prepare(floor, of);
  const handle = floor.client.workflow.getHandle(prepared.job.workflowId);
  const cancel = (): Promise<unknown> => {
    const where = `${prepared.job.state} ${prepared.job.phase}`;
    hits.set(where, (hits.get(where) ?? 0) + 1);
    return how === 'temporal' ? handle.cancel() : floor.cancel({ handle });
  };
  floor.hooks.set(prepared.job.id, {
    before: async ({ n, name }) => {
      if (at.kind !== 'call' || n !== at.n) return;
      const asked = cancel().catch(() => {}); // the workflow may have ended before it heard
      // A workflow hears nothing while one of its local steps runs; it waits for the robot and hears.
      if (name === 'awaitMotion' || how === 'temporal') await asked;
    },
  });
  const { outcome } = await play(floor, prepared, async (n) => {
    if (at.kind !== 'act' || n !== at.n) return;
    await cancel().catch(() => {});
    // Who is waited for does not act any more; the operator's answer is still wanted.
    const { job } = prepared;
    await until('the cancel being heard', 20_000, () => job.state !== 'AWAITING_PERSON');
  });
  return outcome.state;
}

describe.each(Object.entries(PLAYS))('%s', (_name, of) => {
  test.each(['update', 'temporal'] as const)(
    'cancelled by %s at every await leaves nothing open',
    async (how) => {
      const places = await awaitsOf(of);
      expect(places.length).toBeGreaterThan(1);
      const states = await Promise.all(places.map((at) => cancelledAt(of, at, how)));
      expect(floor.lab.problems()).toEqual([]);
      const endings = new Set(states);
      for (const state of endings)
        expect(['CANCELLED', 'COMPLETED', 'COMPLETED_WITH_DEVIATION', 'FAILED']).toContain(state);
      // Who scans with the order is done before anybody can cancel; all others can be stopped.
      if (!of.setup.isScanned) expect(endings).toContain('CANCELLED');
    },
  );
});

test('every state that a job can be in has met a cancel', () => {
  const rows = [...hits].sort(([one], [other]) => one.localeCompare(other));
  console.log(rows.map(([where, count]) => `${String(count).padStart(5)}  ${where}`).join('\n'));
  const states = new Set(rows.map(([where]) => where.split(' ')[0]));
  expect(JOB_STATES.filter((state) => !isFinal(state) && !states.has(state))).toEqual([]);
});
