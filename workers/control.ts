/**
 * The workflow worker: serves the queue `control` with all workflows and the activities on the database.
 *
 * Prints `ready control`. Ends with 0 on SIGTERM, SIGINT or the loss of its parent's channel, after the activities under
 * way; with 1 when Temporal or PostgreSQL are not there at its start or the worker breaks, so that it is started again.
 */
import { fileURLToPath } from 'node:url';
import { NativeConnection, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { createHandlingActivities } from '../activities/handling.ts';
import { createInventoryActivities } from '../activities/inventory.ts';
import { createJobWorkflows } from '../activities/job-workflows.ts';
import { createMotionActivities } from '../activities/motion.ts';
import { MotionWatch } from '../activities/motion-watch.ts';
import { createPicklistActivities } from '../activities/picklist.ts';
import { createRackScanActivities } from '../activities/rack-scan.ts';
import { createRobotActivities } from '../activities/robot.ts';
import { createScheduleActivities } from '../activities/schedule.ts';
import { createStorageActivities } from '../activities/storage.ts';
import { assertApplicationRole, openDatabase } from '../db/connection.ts';
import { waitsOf } from '../domain/waits.ts';
import { loadEnvironment, temporalConnection } from '../schemas/environment.ts';
import { CONTROL_QUEUE } from '../workflows/ids.ts';
import { installTemporalRuntime, onEnd, openTemporalClient } from './connection.ts';

const environment = loadEnvironment(process.env, ['databaseUrl', 'temporalAddress']);
const log = pino({ name: 'control', level: environment.logLevel });
installTemporalRuntime(log);

try {
  const db = openDatabase(environment.databaseUrl, { max: 20 });
  await assertApplicationRole(db);
  const client = openTemporalClient(environment);
  const watch = new MotionWatch(environment.databaseUrl);
  const connection = await NativeConnection.connect(temporalConnection(environment));
  const storage = createStorageActivities({ db, waits: waitsOf(environment.automationWaits) });
  const motion = createMotionActivities({ db, watch });
  const worker = await Worker.create({
    connection,
    namespace: environment.temporalNamespace,
    taskQueue: CONTROL_QUEUE,
    ...(environment.workflowBundlePath === null
      ? { workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)) }
      : { workflowBundle: { codePath: environment.workflowBundlePath } }),
    activities: {
      ...storage,
      ...motion,
      ...createHandlingActivities({ ...storage, ...motion }),
      ...createInventoryActivities({ db }),
      ...createRackScanActivities({ db }),
      ...createRobotActivities({ db, workflows: client.workflow }),
      ...createPicklistActivities({ db, jobs: createJobWorkflows(client) }),
      ...createScheduleActivities({ db, workflows: client.workflow }),
    },
    // Longer than a database step may take, shorter than the supervisor's patience.
    shutdownGraceTime: '5 seconds',
    shutdownForceTime: '10 seconds',
    maxConcurrentWorkflowTaskExecutions: 20,
    // One waits at each robot that moves; they cost a map entry each.
    maxConcurrentActivityTaskExecutions: 200,
    maxConcurrentLocalActivityExecutions: 40,
    workflowTaskPollerBehavior: { type: 'simple-maximum', maximum: 5 },
    activityTaskPollerBehavior: { type: 'simple-maximum', maximum: 5 },
    maxCachedWorkflows: 400,
    // What a killed worker had in its cache goes to its successor after this time; the usual 10 s are waited in full.
    stickyQueueScheduleToStartTimeout: '2 seconds',
  });
  onEnd(() => worker.shutdown());
  const running = worker.run();
  console.log('ready control');
  await running;
  await Promise.all([watch.close(), client.connection.close(), connection.close(), db.close()]);
  process.exit(0);
} catch (error) {
  log.fatal({ err: error }, 'the workflow worker ends');
  process.exit(1);
}
