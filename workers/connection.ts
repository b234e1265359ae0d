import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, type LogLevel, Runtime } from '@temporalio/worker';
import type { Logger } from 'pino';
import { type Settings, temporalConnection } from '../schemas/environment.ts';

type TemporalSettings = Settings & { readonly temporalAddress: string };

/** A client that connects when it is first used, and again after the server was away. */
export function openTemporalClient(environment: TemporalSettings): Client {
  const connection = Connection.lazy(temporalConnection(environment));
  return new Client({ connection, namespace: environment.temporalNamespace });
}

const PINO_LEVELS = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
} as const satisfies Record<LogLevel, string>;

/** Lets the SDK log as this process logs, and leaves signals to the process. */
export function installTemporalRuntime(log: Logger): void {
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('INFO', ({ level, message, meta }) =>
      log[PINO_LEVELS[level]]({ sdk: meta }, message),
    ),
  });
}

/** Calls `end` once when the process shall end: by a signal, or because the parent that started it is gone. */
export function onEnd(end: () => void): void {
  let called = false;
  const once = () => {
    if (called) return;
    called = true;
    end();
  };
  process.on('SIGTERM', once);
  process.on('SIGINT', once);
  process.on('disconnect', once);
}
