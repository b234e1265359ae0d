import { WithStartWorkflowOperation } from '@temporalio/client';
import { type bareEarlyAnswer, bareUpdate } from './bare/workflows.ts';
import { BenchLaboratory } from './laboratory.ts';
import { quantile } from './load.ts';
import type { Bench } from './result.ts';
import { buildStore } from './store.ts';

const RUNS = 150;

/** Early answer of POST /storage/samples over HTTP beside a bare update-with-start; one after the other, in turns. */
export const earlyAnswer: Bench = async () => {
  const lab = await BenchLaboratory.open({ workers: true });
  try {
    await lab.start('bare worker', 'bench/bare/worker.ts');
    const store = await buildStore(lab, 2);
    const ours: number[] = [];
    const bare: number[] = [];
    for (let i = -20; i < RUNS; i++) {
      const kept = i >= 0;
      const bareBegan = performance.now();
      await lab.temporal.workflow.executeUpdateWithStart(bareUpdate, {
        updateId: 'bare',
        startWorkflowOperation: new WithStartWorkflowOperation<typeof bareEarlyAnswer>('bareEarlyAnswer', {
          workflowId: `bare-${crypto.randomUUID()}`,
          taskQueue: 'bare',
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowTaskTimeout: '2s',
          args: [],
        }),
      });
      if (kept) bare.push(performance.now() - bareBegan);
      const began = performance.now();
      await lab.must('POST', '/storage/samples', {
        barcode: `EARLY-${i + 20}`,
        type: 'plasma',
        zone: '-80',
        target: { within: store.freezerId },
      });
      if (kept) ours.push(performance.now() - began);
    }
    const [figure, limit] = [quantile(ours, 0.5), quantile(bare, 0.5)];
    return [
      {
        name: 'early answer, p50',
        figure,
        limit,
        ratio: figure / limit,
        target: { atMost: 1.5 },
        unit: 'ms',
        detail: { 'p99 (ms)': quantile(ours, 0.99), 'bare p99 (ms)': quantile(bare, 0.99), runs: RUNS },
      },
    ];
  } finally {
    await lab.close();
  }
};
