import { spawn } from 'node:child_process';

/**
 * Ends processes when this one dies, however it dies: a shell reads their numbers from a pipe and signals the last
 * list it was given when the pipe closes. It stands in a session of its own, so that neither Ctrl-C nor a signal to
 * this process's group reaches it.
 */
export interface Watchdog {
  watch(pid: number, signal: NodeJS.Signals): void;
  forget(pid: number): void;
  /** Lets the shell go; what is still watched is signalled. */
  close(): void;
}

const SCRIPT = `
list=
while IFS= read -r line; do list=$line; done
for entry in $list; do kill -s "\${entry%%:*}" "\${entry##*:}" 2>/dev/null; done
exit 0`;

export function startWatchdog(): Watchdog {
  const shell = spawn('/bin/sh', ['-c', SCRIPT], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  });
  shell.unref();
  // A watchdog that was killed costs only the tidiness of the next crash.
  shell.on('error', () => undefined);
  shell.stdin.on('error', () => undefined);
  const watched = new Map<number, string>();
  const tell = () =>
    shell.stdin.write(`${[...watched].map(([pid, signal]) => `${signal}:${pid}`).join(' ')}\n`);
  return {
    watch(pid, signal) {
      watched.set(pid, signal.replace(/^SIG/, ''));
      tell();
    },
    forget(pid) {
      if (watched.delete(pid)) tell();
    },
    close() {
      shell.stdin.end();
    },
  };
}
