import { BenchLaboratory } from './laboratory.ts';
import { quantile } from './load.ts';
import type { Bench } from './result.ts';
import { buildStore } from './store.ts';

const CLIENTS = 64;
const ROUNDS = 5;
const LIMIT_MS = 1_500;
/** Rounds before those that count: a service that has just started is slower, and is said beside them. */
const COLD_ROUNDS = 2;
/** Positions of a box; all but the last are taken before the clients come. */
const POSITIONS = 9;

interface Answer {
  readonly code?: string;
  readonly facts?: { readonly nextFree?: { readonly containerId: string } };
}

/**
 * 64 clients ask over HTTP at once for the last free position of a box: one gets it, the others are told of the next one
 * elsewhere. Five rounds after two cold ones, each on a box of its own; how long the slowest of them wait.
 */
export const lastPosition: Bench = async () => {
  const lab = await BenchLaboratory.open({ workers: true });
  try {
    // Two racks beside the boxes: there is always a next position elsewhere.
    const store = await buildStore(lab, 2);
    const took: number[] = [];
    const cold: number[] = [];
    const slowest: number[] = [];
    let winners = 0;
    let refusals = 0;
    for (let round = -COLD_ROUNDS; round < ROUNDS; round++) {
      const kept = round < 0 ? cold : took;
      const box = await lab.must<{ id: string }>('POST', '/storage/locations', {
        type: 'box_9x9',
        name: `Box ${round + COLD_ROUNDS}`,
        parentId: store.freezerId,
        grid: { rows: 1, columns: POSITIONS },
      });
      const order = (n: number) => ({
        barcode: `LAST-${round + COLD_ROUNDS}-${n}`,
        type: 'plasma',
        zone: '-80',
        target: { within: box.id },
      });
      await Promise.all(
        Array.from({ length: POSITIONS - 1 }, (_, n) => lab.must('POST', '/storage/samples', order(-n - 1))),
      );
      const replies = await Promise.all(
        Array.from({ length: CLIENTS }, async (_, n) => {
          const began = performance.now();
          const reply = await lab.call<Answer>('POST', '/storage/samples', order(n));
          kept.push(performance.now() - began);
          return reply;
        }),
      );
      slowest.push(Math.max(...kept.slice(-CLIENTS)));
      const accepted = replies.filter(({ status }) => status === 202);
      const refused = replies.filter(({ status, body }) => {
        const next = body.facts?.nextFree;
        return (
          status === 409 &&
          body.code === 'NO_POSITION_FREE' &&
          next !== undefined &&
          next.containerId !== box.id
        );
      });
      if (accepted.length !== 1 || refused.length !== CLIENTS - 1) {
        const strange = replies.find((reply) => reply.status !== 202 && !refused.includes(reply));
        throw new Error(
          `${accepted.length} got the last position and ${refused.length} were told of another: ${JSON.stringify(strange)}`,
        );
      }
      winners += accepted.length;
      refusals += refused.length;
    }
    const figure = quantile(took, 0.99);
    return [
      {
        name: `last position of a box, ${CLIENTS} clients, p99`,
        figure,
        limit: LIMIT_MS,
        ratio: figure / LIMIT_MS,
        target: { atMost: 1 },
        unit: 'ms',
        detail: {
          'p50 (ms)': quantile(took, 0.5),
          'p99 of the cold rounds (ms)': quantile(cold, 0.99),
          'slowest of each round, cold ones first (ms)': slowest.map(Math.round).join(', '),
          rounds: ROUNDS,
          winners,
          refusals,
        },
      },
    ];
  } finally {
    await lab.close();
  }
};
