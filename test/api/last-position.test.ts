import { afterAll, beforeAll, expect, test } from 'vitest';
import { HandWork } from '../setup/hand-work.ts';

let work: HandWork;
beforeAll(async () => {
  work = await HandWork.open();
});
afterAll(() => work.close());

test('64 clients ask for the last position: one gets it, the others are told of the next one elsewhere', async () => {
  const box = await work.addBox(1, 1);
  const elsewhere = await work.addBox(1, 2);
  const replies = await Promise.all(
    Array.from({ length: 64 }, () => work.post('/storage/samples', work.plasma({ target: { within: box } }))),
  );
  const accepted = replies.filter(({ status }) => status === 202);
  const refused = replies.filter(({ status }) => status === 409);
  expect(accepted).toHaveLength(1);
  expect(refused).toHaveLength(63);
  const full = await work.idOf(box);
  const containerId = await work.idOf(elsewhere);
  expect(accepted[0]?.body.position).toMatchObject({ containerId: full, label: 'A1' });
  for (const { body } of refused) {
    expect(body.code).toBe('NO_POSITION_FREE');
    expect(body.facts.nextFree).toMatchObject({ containerId, label: 'A1' });
    expect(body.detail).toContain('A1');
  }
  const next = refused[0]?.body.facts.nextFree;
  const there = await work.post(
    '/storage/samples',
    work.plasma({ target: { location: next.containerId, position: next.label } }),
  );
  expect(there.status).toBe(202);
  expect(there.body.position.positionId).toBe(next.positionId);
});
