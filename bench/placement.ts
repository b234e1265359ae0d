import { readFileSync } from 'node:fs';
import { BenchLaboratory } from './laboratory.ts';
import { type Bench, inParallel, type Result } from './result.ts';
import { buildStore, RACK, rackLabel } from './store.ts';

const CLIENTS = 64;
const PLACEMENTS = 1000;
const BARE = 1000;

/**
 * 1,000 placements by hand through the API from 64 clients, each confirmed at once by its scan, beside as many bare
 * workflows of one local activity from as many clients; then the audit for doubles, the histories, the memory.
 */
export const placement: Bench = async () => {
  const lab = await BenchLaboratory.open({ workers: true });
  try {
    await lab.start('bare worker', 'bench/bare/worker.ts');
    const bareOnce = () =>
      lab.temporal.workflow.execute('bareLocal', {
        workflowId: `bare-${crypto.randomUUID()}`,
        taskQueue: 'bare',
        workflowTaskTimeout: '2s',
      });
    const store = await buildStore(lab, Math.ceil((PLACEMENTS + CLIENTS) / RACK.size));
    let used = 0;
    const place = async () => {
      const i = used++;
      const box = store.boxes[Math.floor(i / RACK.size)];
      if (!box) throw new Error('the store is full');
      const position = rackLabel(i % RACK.size);
      const barcode = `HAND-${i}`;
      await lab.must('POST', '/storage/samples', {
        barcode,
        type: 'plasma',
        zone: '-80',
        target: { location: box.barcode, position },
        confirmation: { sampleBarcode: barcode, containerBarcode: box.barcode, position },
      });
    };
    await inParallel(CLIENTS, CLIENTS, place);
    await inParallel(CLIENTS, CLIENTS, async () => void (await bareOnce()));
    const bareSeconds = await inParallel(BARE, CLIENTS, async () => void (await bareOnce()));
    const answered = await inParallel(PLACEMENTS, CLIENTS, place);
    const began = performance.now();
    await lab.untilCount(
      `SELECT count(*)::int AS n FROM job WHERE state = 'COMPLETED'`,
      PLACEMENTS + CLIENTS,
      60,
    );
    const seconds = answered + (performance.now() - began) / 1000;

    const [doubles] = await lab.sql<{ positions: number; samples: number; stored: number }>(
      `SELECT (SELECT count(*) FROM (SELECT sample_id FROM position WHERE sample_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1) d)::int AS samples,
              (SELECT count(*) FROM (SELECT position_id FROM sample WHERE position_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1) d)::int AS positions,
              (SELECT count(*) FROM sample WHERE custody = 'position')::int AS stored`,
    );
    if (doubles?.stored !== PLACEMENTS + CLIENTS) {
      const lost = await lab.sql(
        `SELECT j.*, s.custody, s.barcode, (SELECT array_agg(step || ' ' || outcome ORDER BY seq) FROM job_step t WHERE t.job_id = j.id) AS steps
         FROM job j LEFT JOIN sample s ON s.id = j.sample_id WHERE s.custody IS DISTINCT FROM 'position' OR j.state <> 'COMPLETED'`,
      );
      throw new Error(
        `${doubles?.stored} of ${PLACEMENTS + CLIENTS} are stored: ${JSON.stringify(lost, null, 2)}`,
      );
    }
    const figure = PLACEMENTS / seconds;
    const limit = BARE / bareSeconds;
    const memory: Record<string, string> = {};
    for (const [name, pid] of lab.pids()) memory[`memory ${name}`] = `${memoryMb(pid)} MB`;
    const results: Result[] = [
      {
        name: 'placement by hand, confirmed at once',
        figure,
        limit,
        ratio: figure / limit,
        target: { atLeast: 0.35 },
        unit: '/s',
        detail: { placements: PLACEMENTS, clients: CLIENTS, ...memory },
      },
      {
        name: 'doubles among 1,000 placements from 64 clients',
        figure: (doubles?.positions ?? Number.NaN) + (doubles?.samples ?? Number.NaN),
        limit: 1,
        ratio: (doubles?.positions ?? Number.NaN) + (doubles?.samples ?? Number.NaN),
        target: { atMost: 0 },
        unit: 'doubles',
        detail: { stored: doubles?.stored ?? Number.NaN, expected: PLACEMENTS + CLIENTS },
      },
    ];
    const events = await lab.longestHistory();
    results.push({
      name: 'history events of a placement by hand, most of all',
      figure: events,
      limit: 60,
      ratio: events / 60,
      target: { atMost: 1 },
      unit: 'events',
      detail: {},
    });
    return results;
  } finally {
    await lab.close();
  }
};

/** Memory in MB of a process and its children; what several share is divided among them. */
function memoryMb(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const own = Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? Number.NaN) / 1024;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  return Math.round(children.reduce((sum, child) => sum + memoryMb(Number(child)), own));
}
