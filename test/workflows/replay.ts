import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CodeBranch } from './taken-branches.ts';

/** What replaying the committed histories showed. */
export interface Replay {
  /** histories that do not replay, with the reason */
  readonly failed: readonly string[];
  /** every branch of the workflows' sources */
  readonly branches: readonly CodeBranch[];
}

/** Replays the committed histories on a bundle, in a process of its own. */
export function replayAll(bundlePath: string): Promise<Replay> {
  const child = fork(fileURLToPath(new URL('replay-child.ts', import.meta.url)), [bundlePath], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    child.once('message', (replay: Replay) => resolve(replay));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the replay ended with ${code} before it was done`)));
  });
}
