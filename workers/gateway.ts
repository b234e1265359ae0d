/**
 * The robot gateway: the one process that owns the wires to the robots. Commands come from the journal of motion, so it
 * works without Temporal; it also answers `observe` for workflows.
 *
 *     node --import tsx workers/gateway.ts [--motion-deadline-ms 120000] [--wire-timeout-ms 1000] [--look-every-ms 1000]
 *
 * Prints `ready gateway robots=N`. SIGTERM, SIGINT, or the loss of its parent's channel: takes no further command,
 * watches the motions under way for at most 10 s, and ends.
 */
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { listen } from '../db/announcements.ts';
import { assertApplicationRole, openDatabase } from '../db/connection.ts';
import { MOTION_ACCEPTED_CHANNEL } from '../db/motion.ts';
import { loadEnvironment, temporalConnection } from '../schemas/environment.ts';
import type { ObserveWorkers, RobotLooks } from './observe.ts';
import { RobotFleet } from './robot-fleet.ts';

/** Longer than a pick or place usually takes. */
const GRACE_MS = 10_000;

const { values } = parseArgs({
  options: {
    'motion-deadline-ms': { type: 'string', default: '120000' },
    'wire-timeout-ms': { type: 'string', default: '1000' },
    'look-every-ms': { type: 'string', default: '1000' },
  },
});

function milliseconds(name: keyof typeof values): number {
  const value = Number(values[name]);
  if (!(value >= 1)) throw new Error(`--${name} is a number of milliseconds from 1, not ${values[name]}`);
  return value;
}

const environment = loadEnvironment(process.env, ['databaseUrl', 'temporalAddress']);
const log = pino({ name: 'gateway', level: environment.logLevel });
const db = openDatabase(environment.databaseUrl);
await assertApplicationRole(db);

const served = new Map<string, { looks: RobotLooks; end: (() => void) | undefined }>();
let observers: ObserveWorkers | null = null;
const fleet = new RobotFleet({
  db,
  instance: `${hostname()}:${process.pid}`,
  log: (fields) => log.child(fields),
  wireTimeoutMs: milliseconds('wire-timeout-ms'),
  timing: {
    motionDeadlineMs: milliseconds('motion-deadline-ms'),
    lookEveryMs: milliseconds('look-every-ms'),
  },
  onServed(robotId, looks) {
    const entry = { looks, end: observers?.serve(robotId, looks) };
    served.set(robotId, entry);
    return () => {
      entry.end?.();
      if (served.get(robotId) === entry) served.delete(robotId);
    };
  },
});
const announcements = listen(
  environment.databaseUrl,
  [MOTION_ACCEPTED_CHANNEL],
  (_, robotId) => fleet.ring(robotId),
  () => fleet.ring(),
);

let stopping = false;
const stop = async (): Promise<void> => {
  if (stopping) return;
  stopping = true;
  await fleet.stop(GRACE_MS);
  await announcements.close();
  // Whoever waits for an answer asks the next gateway.
  await Promise.race([observers?.close(), new Promise((resolve) => setTimeout(resolve, 2_000))]);
  await db.close();
  process.exit(0);
};
const stopNow = () => {
  stop().catch((error: unknown) => {
    log.error({ err: error }, 'did not end in good order');
    process.exit(1);
  });
};
process.on('SIGTERM', stopNow);
process.on('SIGINT', stopNow);
process.on('disconnect', stopNow);

const robots = await fleet.start();
console.log(`ready gateway robots=${robots}`);

// Loaded last: motion must not wait for it.
const { createObserveWorkers } = await import('./observe.ts');
if (!stopping) {
  observers = createObserveWorkers({
    connection: temporalConnection(environment),
    namespace: environment.temporalNamespace,
    log,
  });
  for (const [robotId, entry] of served) entry.end = observers.serve(robotId, entry.looks);
}
