import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WAITS } from '../../domain/waits.ts';
import { findTimeSkippingServer } from '../setup/time-skipping/server.ts';
import { calls } from './timeouts/calls.ts';
import { people } from './timeouts/people.ts';
import { robots } from './timeouts/robots.ts';
import { Scene } from './timeouts/scene.ts';
import { SkippingServer } from './timeouts/server.ts';
import { timersOf } from './timeouts/timers.ts';

const program = await findTimeSkippingServer((line) => console.log(line));
if ('missing' in program && process.env.CI === 'true') throw new Error(program.missing);
const note = 'missing' in program ? ` (skipped: ${program.missing})` : '';
const timings = [...people, ...robots, ...calls];

let server: SkippingServer;
let scene: Scene;
beforeAll(async () => {
  if (!('path' in program)) return;
  server = await SkippingServer.start(program.path);
  scene = new Scene(server, await server.open());
});
afterAll(() => server?.close());

describe.skipIf('missing' in program)(`waiting times by the server’s clock${note}`, () => {
  for (const { title, body } of timings) test(title, () => body(scene), 30_000);
});

const UNDER_WAY = 'the server skips no time while an activity is under way';
const LIKE_MOTIONS = `as of motions, above; kill-picklist.test.ts kills a worker that waits`;
/** Limits of calls that no test here waits for, and why. */
const NOT_HERE: Readonly<Record<string, string>> = {
  'activities.ts startToCloseTimeout 2': `15 minutes of a motion that heartbeats: ${UNDER_WAY}`,
  'activities.ts startToCloseTimeout 3': `15 minutes of a tube that heartbeats: ${UNDER_WAY}`,
  'activities.ts heartbeatTimeout 2': LIKE_MOTIONS,
  'inventory.ts startToCloseTimeout 1': `10 minutes of a comparison that heartbeats: ${UNDER_WAY}`,
  'inventory.ts heartbeatTimeout 1': `30 s: ${UNDER_WAY}`,
  'inventory.ts startToCloseTimeout 2': `10 minutes of reading that heartbeats: ${UNDER_WAY}`,
  'inventory.ts heartbeatTimeout 2': `30 s: ${UNDER_WAY}`,
  'rack-scan.ts startToCloseTimeout 1': `3 minutes of a person and a scanner: ${UNDER_WAY}`,
  'rack-scan.ts scheduleToCloseTimeout 1': `4 minutes with the attempts of others: ${UNDER_WAY}`,
  'rack-scan.ts heartbeatTimeout 1': `15 s: ${UNDER_WAY}`,
  'rack-scan.ts startToCloseTimeout 2': `10 s of one step in the database: ${UNDER_WAY}`,
};

test('every waiting time and every timer of the workflows has its test', () => {
  const shown = timings.flatMap(({ shows }) => shows);
  const timers = [...timersOf('workflows'), ...Object.keys(WAITS)];
  const untested = timers.filter((each) => !shown.includes(each) && !(each in NOT_HERE));
  expect(untested).toEqual([]);
  const gone = [...shown, ...Object.keys(NOT_HERE)].filter((each) => !timers.includes(each));
  expect(gone).toEqual([]);
});
