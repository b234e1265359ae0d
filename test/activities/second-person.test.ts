import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { closeSession, openSession } from '../../db/session.ts';
import { ProcessLab } from '../setup/process-lab.ts';

let lab: ProcessLab;
beforeAll(async () => {
  lab = await ProcessLab.open();
});
afterAll(() => lab.close());

/** Makes a session older than it is; past the ledger, as only the superuser can. */
async function backdate(sessionId: string, hours: number): Promise<void> {
  const client = new pg.Client({ connectionString: lab.store.lab.database.adminUrl });
  await client.connect();
  await client.query('SET session_replication_role = replica');
  await client.query('UPDATE session SET opened_at = now() - make_interval(hours => $2) WHERE id = $1', [
    sessionId,
    hours,
  ]);
  await client.end();
}

test('an unreadable label needs a second person of this laboratory who may confirm and is signed in', async () => {
  const job = await lab.placement(lab.newTube(), { withinId: lab.box });
  const { place } = await job.reserved();
  const { db } = lab.store;
  const confirm = (secondPersonId: string) =>
    lab.storage.confirmPlaced(job.ref(), place, lab.scan(place, null, { secondPersonId }));
  const stranger = await lab.store.lab.addTenant();
  const guest = await lab.addPerson('guest');
  const away = await lab.addPerson();
  const gone = await lab.addPerson();
  const here = await lab.addPerson();
  for (const actor of [lab.actor, stranger, guest]) await openSession(db, actor);
  await closeSession(db, gone, (await openSession(db, gone)).sessionId, 'signed_out');
  const { sessionId } = await openSession(db, here);
  const openedHoursAgo = (hours: number) => backdate(sessionId, hours);

  const { userId } = lab.actor;
  for (const [who, why] of [
    [userId, 'somebody else than the first'],
    // An id in capitals is the same person.
    [userId.toUpperCase(), 'somebody else than the first'],
    [stranger.userId, 'nobody who may sign in here'],
    [guest.userId, 'must be a '],
    [away.userId, 'is not signed in'],
    [gone.userId, 'is not signed in'],
  ] as const) {
    const refusal = { code: 'SECOND_PERSON_REQUIRED', detail: expect.stringContaining(why) };
    expect(await confirm(who)).toMatchObject({ outcome: 'refused', refusal });
  }
  await openedHoursAgo(13);
  expect(await confirm(here.userId)).toMatchObject({
    refusal: { detail: expect.stringContaining('within the last 12 hours') },
  });
  await openedHoursAgo(11);
  expect(await confirm(here.userId)).toMatchObject({ outcome: 'closed' });
  expect(await lab.sample(job.sampleId)).toMatchObject({ witness: 'two_persons' });
});
