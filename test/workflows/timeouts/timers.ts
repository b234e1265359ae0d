import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const TIMER = /(?<!function |[\w.#])(new Deadline|within|sleep)\(|\b(\w+Timeout|localRetryThreshold): '/g;

/** Every timer and time limit in a folder's files, as `file kind n`: the n-th of its kind in that file. */
export function timersOf(folder: string): readonly string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.ts') && name !== 'deadline.ts')
    .flatMap((name) => {
      const counts = new Map<string, number>();
      return [...readFileSync(join(folder, name), 'utf8').matchAll(TIMER)].map(([, call, option]) => {
        const kind = call ?? option ?? '';
        const n = (counts.get(kind) ?? 0) + 1;
        counts.set(kind, n);
        return `${name} ${kind} ${n}`;
      });
    });
}
