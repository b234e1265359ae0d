import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { Connection, type TLSConfig } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { until } from './processes.ts';

/** Search attributes of every workflow; all of type Keyword. */
const SEARCH_ATTRIBUTES = [
  'Tenant',
  'JobKind',
  'JobState',
  'SampleId',
  'RobotId',
  'InstrumentId',
  'LocationId',
] as const;

/** How long a closed workflow's history is kept; the record of what happened is in PostgreSQL. */
const RETENTION = '30 days';

/** `temporal.api.enums.v1.IndexedValueType` */
const KEYWORD = 2;

/** Status codes of gRPC. */
const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;

/**
 * The server's presets cost a small laboratory: 20 queue reads a second add 50 ms to every step under load, and four
 * partitions of a task queue leave workflows of a burst waiting 2 s for a poller.
 */
const DYNAMIC_CONFIG = [
  'history.transferProcessorMaxPollRPS=200',
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
];

export interface TemporalOptions {
  readonly binary: string;
  readonly port: number;
  /** port of the Web UI; null runs without */
  readonly uiPort: number | null;
  /** SQLite file of the server's state */
  readonly databaseFile: string;
  /** true: a power cut loses nothing (synchronous=FULL); false: for tests */
  readonly durable: boolean;
  /** file that gets the server's own log; null drops it */
  readonly logFile: string | null;
}

/** A Temporal server of this machine. */
export interface Temporal {
  readonly address: string;
  readonly uiUrl: string | null;
  readonly pid: number;
  /** resolves when the server has ended, for whatever reason */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/** Version of the server inside a Temporal CLI, e.g. `1.29.1`; undefined when it is no Temporal CLI. */
export function serverVersion(binary: string): string | undefined {
  try {
    const text = execFileSync(binary, ['--version'], {
      encoding: 'utf8',
      timeout: 20_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return /Server (\d+\.\d+\.\d+)/.exec(text)?.[1];
  } catch {
    return undefined; // not a program, or not one that knows --version
  }
}

/**
 * Starts the development server and waits until it answers.
 * @throws Error with the server's last words when it ends instead
 */
export async function startTemporal(options: TemporalOptions): Promise<Temporal> {
  const { port, uiPort } = options;
  const pragmas = ['journal_mode=wal', `synchronous=${options.durable ? 'FULL' : 'OFF'}`];
  const child = spawn(
    options.binary,
    [
      ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--log-level', 'error'],
      ...['--db-filename', options.databaseFile],
      ...pragmas.flatMap((pragma) => ['--sqlite-pragma', pragma]),
      ...DYNAMIC_CONFIG.flatMap((value) => ['--dynamic-config-value', value]),
      ...SEARCH_ATTRIBUTES.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
      ...(uiPort === null ? ['--headless'] : ['--ui-port', String(uiPort), ...newsFlag(options.binary)]),
    ],
    {
      // A heap this small would be collected many times a second; four times as much garbage costs some 100 MB.
      env: { GOGC: '400', ...process.env },
      stdio: ['ignore', 'ignore', options.logFile === null ? 'ignore' : openSync(options.logFile, 'a')],
      cwd: '/',
      // A group of its own: Ctrl-C is for us to handle, in order.
      detached: true,
    },
  );
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const address = `127.0.0.1:${port}`;
  try {
    await until(`Temporal on ${address} answering`, 60_000, () => answers(child, address, options.logFile));
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  return {
    address,
    uiUrl: uiPort === null ? null : `http://127.0.0.1:${uiPort}`,
    pid: child.pid ?? -1,
    ended,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const insist = setTimeout(() => child.kill('SIGKILL'), 15_000);
      await ended;
      clearTimeout(insist);
    },
  };
}

async function answers(child: ChildProcess, address: string, logFile: string | null): Promise<boolean> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
    throw new Error(`Temporal did not start${logFile === null ? '' : `; its log is ${logFile}`}`);
  }
  try {
    const connection = await Connection.connect({ address, connectTimeout: '1s' });
    try {
      await connection.workflowService.describeNamespace({ namespace: 'default' });
    } finally {
      await connection.close();
    }
    return true;
  } catch {
    return false; // not up yet; the deadline tells when that is an error
  }
}

/** Newer versions of the Web UI fetch news from the internet unless told not to. */
function newsFlag(binary: string): string[] {
  const help = execFileSync(binary, ['server', 'start-dev', '--help'], { encoding: 'utf8' });
  return help.includes('--ui-disable-news-fetch') ? ['--ui-disable-news-fetch'] : [];
}

/**
 * Sees to it that the namespace is there with its retention and search attributes; safe to repeat.
 * @param address host:port of the server
 * @param tls for a server that asks for a certificate
 */
export async function ensureNamespace(address: string, namespace: string, tls?: TLSConfig): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: '10s', ...(tls && { tls }) });
  const retention = msToTs(RETENTION);
  try {
    try {
      await connection.workflowService.registerNamespace({
        namespace,
        workflowExecutionRetentionPeriod: retention,
      });
    } catch (error) {
      if (!isCode(error, ALREADY_EXISTS)) throw error;
      await connection.workflowService.updateNamespace({
        namespace,
        config: { workflowExecutionRetentionTtl: retention },
      });
    }
  } finally {
    await connection.close();
  }
  await ensureSearchAttributes(address, namespace, tls);
}

/**
 * Adds the search attributes to a namespace that has not got them; safe to repeat.
 * @throws Error when there is no such namespace
 */
export async function ensureSearchAttributes(
  address: string,
  namespace: string,
  tls?: TLSConfig,
): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: '10s', ...(tls && { tls }) });
  try {
    // A namespace that was made a moment ago is not yet known to every part of the server.
    await until(`namespace ${namespace} of ${address} taking search attributes`, 30_000, async () => {
      try {
        await connection.operatorService.addSearchAttributes({
          namespace,
          searchAttributes: Object.fromEntries(SEARCH_ATTRIBUTES.map((name) => [name, KEYWORD])),
        });
        return true;
      } catch (error) {
        if (isCode(error, ALREADY_EXISTS)) return true;
        if (isCode(error, NOT_FOUND)) return false;
        throw error;
      }
    });
  } finally {
    await connection.close();
  }
}

/** Is it a gRPC error with this status code? */
function isCode(error: unknown, code: number): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}
