/**
 * The sweep: goes through the tenants every few seconds and looks after jobs, queues of robots and picklists that no
 * workflow looks after; sees that Temporal scans for the planned jobs of every tenant that has some, and has the inventories
 * compared of stores that keep one; does bulk operations that are ready; once an hour it forgets idempotency keys and refresh tokens whose time is over.
 *
 *     node --import tsx workers/sweep.ts [--every-ms 5000] [--unstarted-ms 5000] [--quiet-ms 10000]
 *         [--look-ms 60000] [--inventory-every-ms 3600000]
 *
 * Prints `ready sweep`. A look that fails, because PostgreSQL or Temporal are away or for the job's own sake, is made again
 * in a later round and keeps nothing else waiting. Ends with 0 on SIGTERM, SIGINT or the loss of its parent's channel.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { assertApplicationRole, openDatabase } from '../db/connection.ts';
import { forgetExpired } from '../db/expiry.ts';
import { loadEnvironment } from '../schemas/environment.ts';
import { BulkWork } from './bulk-sweep.ts';
import { onEnd, openTemporalClient } from './connection.ts';
import { DueSchedules } from './due-schedules.ts';
import { ensureInventorySchedules } from './inventory-schedule.ts';
import { JobLooks } from './job-looks.ts';
import { sweepTenants } from './job-sweep.ts';
import { sweepPicklistsOf } from './picklist-sweep.ts';
import { sweepRobotsOf } from './robot-sweep.ts';

const { values } = parseArgs({
  options: {
    'every-ms': { type: 'string', default: '5000' },
    'unstarted-ms': { type: 'string', default: '5000' },
    'quiet-ms': { type: 'string', default: '10000' },
    'look-ms': { type: 'string', default: '60000' },
    'inventory-every-ms': { type: 'string', default: '3600000' },
  },
});

function milliseconds(name: keyof typeof values): number {
  const value = Number(values[name]);
  if (!(value >= 1)) throw new Error(`--${name} is a number of milliseconds from 1, not ${values[name]}`);
  return value;
}

const everyMs = milliseconds('every-ms');
const timing = { unstartedMs: milliseconds('unstarted-ms'), quietMs: milliseconds('quiet-ms') };
const looks = new JobLooks(milliseconds('look-ms'));
const inventoryEveryMs = milliseconds('inventory-every-ms');
const scheduled = new Set<string>();
const environment = loadEnvironment(process.env, ['databaseUrl', 'temporalAddress']);
const log = pino({ name: 'sweep', level: environment.logLevel });
const db = openDatabase(environment.databaseUrl, { max: 4 });
await assertApplicationRole(db);
const client = openTemporalClient(environment);

const due = new DueSchedules({ db, client, log, isOn: environment.automationEnabled });

/** Keys and tokens expire after days: an hour more or less does not matter. */
const FORGET_EVERY_MS = 3_600_000;
let forgotAt = 0;

const ending = new AbortController();
onEnd(() => ending.abort());
const bulk = new BulkWork(db, log, ending.signal);
console.log('ready sweep');
while (!ending.signal.aborted) {
  await sweepAll();
  await sleep(everyMs, undefined, { signal: ending.signal }).catch(() => undefined); // woken to end
}
await bulk.settled();
await Promise.all([client.connection.close(), db.close()]);
process.exit(0);

async function sweepAll(): Promise<void> {
  const forgetNow = Date.now() - forgotAt >= FORGET_EVERY_MS;
  try {
    const tenants = await db.kysely.selectFrom('tenant').select('id').orderBy('id').execute();
    const ids = tenants.map(({ id }) => id);
    await sweepTenants({ db, client, log, looks, ...timing }, ids, ending.signal);
    await sweepRobotsOf({ db, client, log, quietMs: timing.quietMs }, ids, ending.signal);
    await ensureInventorySchedules({ db, client, log, everyMs: inventoryEveryMs }, ids, scheduled);
    await sweepPicklistsOf({ db, client, log }, ids, ending.signal);
    bulk.begin(ids);
    await due.ensure(ids, ending.signal);
    if (forgetNow) for (const id of ids) await forget(id);
  } catch (error) {
    log.warn({ err: error }, 'the tenants could not be listed: the next round lists them again');
    return;
  }
  if (forgetNow) forgotAt = Date.now();
}

async function forget(tenant: string): Promise<void> {
  try {
    await forgetExpired(db, tenant);
  } catch (error) {
    log.warn(
      { err: error, tenant },
      'expired keys were kept: they harm nobody, and the next hour forgets them',
    );
  }
}
