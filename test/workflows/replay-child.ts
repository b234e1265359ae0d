import { readFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { historyNames, readHistory } from './history.ts';
import type { Replay } from './replay.ts';
import { branchesOf } from './taken-branches.ts';

/**
 * Replays every committed history, while V8 counts which code of the workflows runs. A process of its own: vitest counts
 * coverage too, and there is one set of counters in a process. A replay runs its workflows in the main thread.
 */
Runtime.install({ logger: new DefaultLogger('ERROR') });
const bundlePath = process.argv[2] ?? '';
const session = new Session();
session.connect();
await session.post('Profiler.enable');
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });

const failed: string[] = [];
const histories = historyNames().map((name) => ({ workflowId: name, history: readHistory(name) }));
const replays = Worker.runReplayHistories({ workflowBundle: { codePath: bundlePath } }, histories);
for await (const { workflowId, error } of replays) {
  if (error !== undefined) failed.push(`${workflowId}: ${error.message}`);
}

const { result } = await session.post('Profiler.takePreciseCoverage');
const [counted, ...others] = result.filter(({ url }) => url === pathToFileURL(bundlePath).href);
if (counted === undefined || others.length > 0) throw new Error('the bundle is not one script to V8');
const branches = branchesOf(
  readFileSync(bundlePath, 'utf8'),
  counted.functions,
  fileURLToPath(new URL('../..', import.meta.url)),
  // Ids and messages are shared with those who start workflows: most of them is not for a workflow to run.
  (path) =>
    path.startsWith('workflows/') && path !== 'workflows/ids.ts' && !path.startsWith('workflows/messages/'),
);
process.send?.({ failed, branches } satisfies Replay);
process.disconnect?.();
