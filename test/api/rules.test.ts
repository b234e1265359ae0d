import { afterAll, beforeAll, expect, test } from 'vitest';
import { HandWork, isOver } from '../setup/hand-work.ts';

let work: HandWork;
beforeAll(async () => {
  work = await HandWork.open();
});
afterAll(() => work.close());

/** A box with these rules, entered over HTTP. @returns its barcode */
async function boxWith(rules: Record<string, unknown>): Promise<string> {
  const barcode = `RULED-${work.nextTube()}`;
  const { status } = await work.post('/storage/locations', {
    type: 'box_5x5',
    parentId: 'FREEZER',
    name: barcode,
    barcode,
    rules,
  });
  expect(status).toBe(201);
  return barcode;
}

test('a rule holds when a tube is placed and when it is moved, and a bag is confirmed by its label alone', async () => {
  const lung = await boxWith({ projects: ['LUNG'], hazards: ['BSL-1'] });
  const heart = await boxWith({ projects: ['HEART'] });
  const tube = work.plasma({ project: 'LUNG', hazard: 'BSL-1' });
  const refused = await work.post('/storage/samples', { ...tube, target: { within: heart } });
  expect([refused.status, refused.body.code, refused.body.facts.rule]).toEqual([
    409,
    'RULE_NOT_MET',
    'project',
  ]);
  const tooDangerous = work.plasma({ project: 'LUNG', hazard: 'BSL-3' });
  expect(
    (await work.post('/storage/samples', { ...tooDangerous, target: { within: lung } })).body,
  ).toMatchObject({
    code: 'RULE_NOT_MET',
    facts: { rule: 'hazard' },
  });

  const stored = await work.post('/storage/samples', {
    ...tube,
    target: { location: lung, position: 'c05' },
    confirmation: { sampleBarcode: tube.barcode, containerBarcode: lung, position: '3,5' },
  });
  expect([stored.status, stored.body.detail]).toEqual([202, undefined]);
  await work.settled(stored.body.job.id, isOver);
  const sample = (await work.api.send({ path: `/storage/samples/${tube.barcode}` })).body;
  expect(sample).toMatchObject({ hazard: 'BSL-1', position: { label: 'C5' } });

  const moved = await work.post(`/storage/samples/${sample.id}/move`, {
    target: { location: heart, position: 'A1' },
  });
  expect([moved.status, moved.body.code, moved.body.facts.rule]).toEqual([409, 'RULE_NOT_MET', 'project']);
  expect((await work.api.send({ path: `/storage/samples/${sample.id}` })).body.position.label).toBe('C5');

  const bag = await work.post('/storage/locations', {
    type: 'bag',
    parentId: 'FREEZER',
    name: 'G-1',
    barcode: 'BAG-1',
  });
  expect(bag.status).toBe(201);
  const loose = await work.post(`/storage/samples/${sample.id}/move`, { target: { within: 'BAG-1' } });
  expect(loose.status).toBe(202);
  const confirmed = await work.post(`/automation/jobs/${loose.body.job.id}/confirm`, {
    sampleBarcode: tube.barcode,
    containerBarcode: 'BAG-1',
    position: 'loose',
  });
  expect(confirmed.status).toBeLessThan(300);
  expect((await work.settled(loose.body.job.id, isOver)).state).toBe('COMPLETED');
  expect((await work.api.send({ path: `/storage/samples/${sample.id}/location` })).body.position.label).toBe(
    'loose',
  );
}, 120_000);
