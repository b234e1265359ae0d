import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadEnvironment, type Settings } from '../schemas/environment.ts';
import { startTemporalCluster } from './cluster/server.ts';
import { createScreen } from './screen.ts';

const USAGE = `Runs Temporal as in production, without Docker: npm run stack:cluster [-- ARGUMENTS]
The real server on PostgreSQL, with mutual TLS from a test CA.

  --port N   port of the frontend (otherwise 7233, or a free one)
  --reset    forget the workflows of earlier runs first
  --help     this text`;

/** Beside the laboratory's own state, which a reset throws away. */
const STATE = fileURLToPath(new URL('../.tracseq-cluster/', import.meta.url));

interface Arguments {
  readonly port: number;
  readonly reset: boolean;
  readonly help: boolean;
}

function parse(args: readonly string[]): Arguments {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { port: { type: 'string' }, reset: { type: 'boolean' }, help: { type: 'boolean' } },
    allowPositionals: true,
    strict: false,
  });
  const known = new Set(['port', 'reset', 'help']);
  const option = Object.keys(values).find((name) => !known.has(name));
  const unknown = option === undefined ? positionals[0] : `--${option}`;
  if (unknown !== undefined) throw new Error(`npm run stack:cluster does not know '${unknown}'.\n\n${USAGE}`);
  const port = Number(values.port ?? 7233);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new Error(`--port needs a number from 1 to 65535, not '${values.port}'.`);
  }
  return { port, reset: values.reset === true, help: values.help === true };
}

/** `npm run stack:cluster`: starts the cluster, says where it is, and stops it at Ctrl-C. */
export async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const screen = createScreen(
    (text) => process.stdout.write(text),
    process.stdout.isTTY === true && !env.NO_COLOR,
  );
  try {
    const { port, reset, help } = parse(args);
    if (help) {
      console.log(USAGE);
      return;
    }
    process.exitCode = await run(port, reset, loadEnvironment(env, []), screen);
  } catch (error) {
    screen.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}

async function run(
  port: number,
  reset: boolean,
  programs: Settings,
  screen: ReturnType<typeof createScreen>,
): Promise<number> {
  const began = Date.now();
  if (reset) rmSync(STATE, { recursive: true, force: true });
  const cluster = await startTemporalCluster({ programs, stateDir: STATE, port, say: screen.note });
  screen.step('Temporal', `${cluster.address}, namespace ${cluster.namespace}`, began);
  screen.heading('The cluster is running');
  screen.fields([
    ['frontend', `${cluster.address}, mutual TLS`],
    ['PostgreSQL', `127.0.0.1:${cluster.postgresPort}, databases temporal and temporal_visibility`],
    ['log', cluster.logFile],
    ['certificates', join(cluster.stateDir, 'certificates')],
  ]);
  screen.heading('Start the laboratory on it with this environment (npm start in another terminal)');
  for (const [name, value] of Object.entries(cluster.environment)) console.log(`  export ${name}='${value}'`);
  console.log('\n  Ctrl-C stops it; the workflows are kept.');

  const asked = new Promise<'asked'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve('asked'));
  });
  const why = await Promise.race([asked, cluster.ended.then(() => 'died' as const)]);
  if (why === 'died') screen.error(`The Temporal server has ended by itself; its log is ${cluster.logFile}`);
  await cluster.stop();
  if (why === 'asked') screen.step('stopped', 'the workflows are kept');
  return why === 'asked' ? 0 : 1;
}
