import { afterAll, beforeAll, expect, expectTypeOf, test } from 'vitest';
import type { z } from 'zod';
import { ASKING_EXAMPLE, JOB_EXAMPLE, STARTED_EXAMPLE } from '../../api/routes/examples.ts';
import type { FaultAnswer, FaultKind } from '../../domain/fault.ts';
import type { PlacementRule } from '../../domain/placement.ts';
import { Job, JobWithSteps, Started } from '../../schemas/automation.ts';
import {
  type FaultAnswerName,
  type FaultKindName,
  JobResult,
  type PlacementExplanation,
  StepDetail,
} from '../../schemas/job-view.ts';
import { HandWork, isOver } from '../setup/hand-work.ts';

let work: HandWork;
beforeAll(async () => {
  work = await HandWork.open();
});
afterAll(() => work.close());

test('the lists of the schemas are those of the domain', () => {
  expectTypeOf<z.infer<typeof FaultKindName>>().toEqualTypeOf<FaultKind>();
  expectTypeOf<z.infer<typeof FaultAnswerName>>().toEqualTypeOf<FaultAnswer>();
  expectTypeOf<PlacementExplanation['rules'][number]['rule']>().toEqualTypeOf<PlacementRule>();
});

test('the examples of the document are what its schemas say', () => {
  expect(Job.parse(JOB_EXAMPLE)).toEqual(JOB_EXAMPLE);
  expect(JobWithSteps.parse(ASKING_EXAMPLE)).toEqual(ASKING_EXAMPLE);
  expect(Started.parse(STARTED_EXAMPLE)).toEqual(STARTED_EXAMPLE);
});

test('a placement says why, what it waits for, and what came of it, in documented words alone', async () => {
  const best = await work.addBox(1, 2);
  const other = await work.addBox(1, 2);
  const tube = work.plasma();
  const { body: started } = await work.post('/storage/samples', tube);
  const { why } = started;
  expect(why.score).toEqual({ total: 0, keepTogether: 0, door: 0, fill: 0 });
  expect(why.runnersUp).toEqual([
    {
      containerId: await work.idOf(other),
      name: 'Box 9×9 Box 2',
      score: why.score,
      lostBecause: 'equal in points, but created later',
    },
  ]);

  const path = `/automation/jobs/${started.job.id}`;
  const { body: waiting } = await work.api.send({ path });
  expect(waiting.waitingFor).toEqual({ kind: 'confirm' });
  expect(waiting.result.place).toEqual(started.position);
  expect(waiting.result.explanation).toEqual(why);
  await work.post(`${path}/confirm`, {
    sampleBarcode: tube.barcode,
    containerBarcode: best,
    position: started.position.label,
  });
  const over = await work.settled(started.job.id, isOver);
  expect(over).not.toHaveProperty('waitingFor');
  expect(over.result.detail).toBe(`Stored in ${started.position.label}.`);
  expect(JobResult.strict().parse(over.result)).toEqual(over.result);
  for (const { detail } of over.steps)
    expect(Object.keys(StepDetail.shape)).toEqual(expect.arrayContaining(Object.keys(detail)));
});

test('a position asked for by name has no score, and says so by its absence', async () => {
  const box = await work.addBox(1, 1);
  const target = { location: box, position: 'A1' };
  const { body } = await work.post('/storage/samples', work.plasma({ target }));
  expect(body.why).not.toHaveProperty('score');
  expect(body.why.runnersUp).toEqual([]);
});

test('a refused job keeps its refusal', async () => {
  const box = await work.addBox(1, 1);
  await work.post('/storage/samples', work.plasma({ target: { within: box } }));
  const refused = await work.post('/storage/samples', work.plasma({ target: { within: box } }));
  const job = await work.settled(refused.body.facts.jobId, isOver);
  expect(job.result.refusal).toMatchObject({ code: 'NO_POSITION_FREE', detail: refused.body.detail });
});
