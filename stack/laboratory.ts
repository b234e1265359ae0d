import { readdirSync, rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadEnvironment, type Settings, temporalConnection } from '../schemas/environment.ts';
import { parseArguments, type StartArguments, USAGE } from './arguments.ts';
import { type ChildOptions, startChild } from './child.ts';
import { type DatabaseUrls, databaseFromOutside, migrateWith, prepareCluster } from './database.ts';
import { type DemoLaboratory, ensureDemoLaboratory } from './demo-laboratory.ts';
import { clusterFolder, startCluster } from './postgres.ts';
import { portIsFree, until } from './processes.ts';
import { createScreen, type Screen } from './screen.ts';
import { State } from './state.ts';
import { type RunningPart, Supervisor } from './supervisor.ts';
import { ensureNamespace, ensureSearchAttributes, startTemporal } from './temporal.ts';
import { findTemporal } from './temporal-binary.ts';
import { ensureSigningKey } from './token-key.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const POSTGRES = 'PostgreSQL';
const POSTGRES_SETTINGS = ['max_connections=200', 'log_line_prefix=%m [%p] %q%u@%d '];

/** Runs the laboratory until Ctrl-C; the process ends with it. */
export async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  // The laboratory runs on when nobody reads along any more, e.g. behind `| head`.
  process.stdout.on('error', () => undefined);
  const screen = createScreen(
    (text) => process.stdout.write(text),
    process.stdout.isTTY === true && !env.NO_COLOR,
  );
  try {
    const asked = parseArguments(args);
    if (asked.help) {
      console.log(USAGE);
      return;
    }
    const laboratory = await Laboratory.open(asked, loadEnvironment(env, []), env, screen);
    process.exit(await laboratory.run());
  } catch (error) {
    screen.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
}

/** One run of the local laboratory. */
class Laboratory {
  readonly #settings: Settings;
  readonly #env: NodeJS.ProcessEnv;
  readonly #screen: Screen;
  readonly #state: State;
  readonly #apiPort: number;
  readonly #outside: DatabaseUrls | undefined;
  readonly #watchdog: Watchdog = startWatchdog();
  readonly #supervisor: Supervisor;

  private constructor(
    settings: Settings,
    env: NodeJS.ProcessEnv,
    screen: Screen,
    state: State,
    apiPort: number,
    outside: DatabaseUrls | undefined,
  ) {
    this.#settings = settings;
    this.#env = env;
    this.#screen = screen;
    this.#state = state;
    this.#apiPort = apiPort;
    this.#outside = outside;
    this.#supervisor = new Supervisor({
      say: (line) => screen.note(line),
      started: (name, pid) => {
        state.note(name, pid);
        this.#watchdog.watch(pid, name === POSTGRES ? 'SIGINT' : 'SIGTERM');
      },
      ended: (_name, pid) => this.#watchdog.forget(pid),
    });
  }

  /** Takes the state folder and the API's port, or says why not; nothing has been started then. */
  static async open(
    asked: StartArguments,
    settings: Settings,
    env: NodeJS.ProcessEnv,
    screen: Screen,
  ): Promise<Laboratory> {
    const outside = databaseFromOutside(settings);
    const folder = resolve(settings.statePath ?? `${ROOT}.tracseq`);
    screen.heading('TracSeq, the local laboratory');
    const state = await State.open(folder, outside ? 'external' : 'demo', {
      reset: asked.reset,
      say: (line) => screen.note(line),
    });
    if (asked.reset) {
      // The database may live elsewhere, where PostgreSQL's user can reach it.
      const data = clusterFolder(state.path('postgres'));
      for (const path of [data, `${data}.secret`]) rmSync(path, { recursive: true, force: true });
      screen.step('state', 'thrown away: this is a new laboratory');
    }
    const port = asked.port ?? settings.storagePort;
    if (!(await portIsFree(port, settings.storageHost))) {
      let other = port + 1;
      while (!(await portIsFree(other, settings.storageHost))) other += 1;
      throw new Error(
        `Port ${port} is taken by another program. Choose another for the API: npm start -- --port ${other}`,
      );
    }
    state.claim(port);
    return new Laboratory(settings, env, screen, state, port, outside);
  }

  /** @returns the exit status, after everything has ended */
  async run(): Promise<number> {
    let interrupted = false;
    const stopped = new Promise<void>((resolve) => {
      let asked: number | undefined;
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
        process.on(signal, () => {
          asked ??= Date.now();
          // npm passes a Ctrl-C on that the terminal has sent already: only a later one means "at once".
          if (Date.now() - asked > 2000) process.exit(1);
          interrupted = true;
          resolve();
        });
      }
    });
    const begun = Date.now();
    const starting = this.#start(begun);
    try {
      await Promise.race([starting, stopped]);
      if (!interrupted) await stopped;
      return 0;
    } catch (error) {
      this.#screen.error(error instanceof Error ? error.message : String(error));
      return 1;
    } finally {
      this.#screen.note(`stopping${interrupted ? ' (what is under way goes on at the next start)' : ''}`);
      const since = Date.now();
      starting.catch(() => undefined); // what it was doing has lost its parts
      await this.#supervisor.stop();
      this.#watchdog.close();
      this.#state.release();
      this.#screen.step('stopped', 'nothing is left running', since);
    }
  }

  async #start(begun: number): Promise<void> {
    const bundling = this.#bundle();
    bundling.catch(() => undefined); // told below, where it is waited for
    const [database, temporal, mqttBrokerUrl, robot] = await Promise.all([
      this.#database(),
      this.#temporal(),
      this.#broker(),
      this.#robot(),
    ]);
    const demo = await this.#demo(database, robot);
    const key = this.#settings.tokenSigningKeyPath ?? this.#state.path('token-key.pem');
    ensureSigningKey(key);

    const common = {
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: this.#settings.temporalNamespace,
      MQTT_BROKER_URL: mqttBrokerUrl,
    };
    const app = { ...common, STORAGE_DATABASE_URL: database.app };
    const relay = { ...common, STORAGE_RELAY_DATABASE_URL: database.relay };
    const since = Date.now();
    const workflowWorker = async () =>
      this.#keep('workflow worker', 'workers/control.ts', { ...app, WORKFLOW_BUNDLE_PATH: await bundling });
    const workers = Promise.all([
      workflowWorker(),
      this.#keep('robot gateway', 'workers/gateway.ts', app),
      this.#keep('event relay', 'workers/relay.ts', relay),
      this.#keep('sweep', 'workers/sweep.ts', app),
    ]).then(() => this.#screen.step('workers', 'workflows, robot gateway, event relay, sweep', since));
    const api = this.#api({
      ...app,
      STORAGE_HOST: this.#settings.storageHost,
      STORAGE_PORT: String(this.#apiPort),
      TOKEN_SIGNING_KEY_PATH: key,
      ...(temporal.uiUrl && { TEMPORAL_UI_URL: temporal.uiUrl }),
    });
    await Promise.all([workers, api]);
    this.#welcome(temporal.uiUrl, demo, begun);
  }

  async #database(): Promise<DatabaseUrls> {
    let urls = this.#outside;
    if (urls) this.#screen.step(POSTGRES, 'the one in STORAGE_DATABASE_URL');
    else {
      const since = Date.now();
      const said = new Set<string>();
      const port = await this.#state.port(POSTGRES);
      const logFile = this.#state.logFile('postgres');
      const cluster = await this.#supervisor.keep({
        name: POSTGRES,
        logFile,
        start: () =>
          startCluster({
            dataDir: this.#state.path('postgres'),
            port,
            settings: POSTGRES_SETTINGS,
            logFile,
            say: (line) => {
              if (!said.has(line)) this.#screen.note(line);
              said.add(line);
            },
          }),
      });
      urls = await prepareCluster(cluster);
      this.#screen.step(POSTGRES, `127.0.0.1:${port}, four roles of its own`, since);
    }
    const since = Date.now();
    this.#screen.step('migrations', await migrateWith(urls), since);
    return urls;
  }

  async #temporal(): Promise<{ address: string; uiUrl: string | null }> {
    const { temporalAddress, temporalUiUrl, temporalNamespace, temporalCliPath } = this.#settings;
    if (temporalAddress !== null) {
      const { tls } = temporalConnection({ ...this.#settings, temporalAddress });
      await ensureSearchAttributes(temporalAddress, temporalNamespace, tls);
      this.#screen.step('Temporal', `the one at ${temporalAddress}, namespace ${temporalNamespace}`);
      return { address: temporalAddress, uiUrl: temporalUiUrl };
    }
    const since = Date.now();
    const binary = await findTemporal(temporalCliPath, (line) => this.#screen.note(line));
    const databaseFile = this.#state.path('temporal', `temporal-${binary.version}.db`);
    const other = readdirSync(dirname(databaseFile)).find((name) => /^temporal-.*\.db$/.test(name));
    if (other !== undefined && !databaseFile.endsWith(other)) {
      this.#screen.note(
        `Temporal has another version than ${other}: the sweep parks the jobs that were under way`,
      );
    }
    const port = await this.#state.port('Temporal');
    const uiPort = await this.#state.port('Temporal Web UI');
    const logFile = this.#state.logFile('temporal');
    const server = await this.#supervisor.keep({
      name: 'Temporal',
      logFile,
      start: () => startTemporal({ binary: binary.path, port, uiPort, databaseFile, durable: true, logFile }),
    });
    await ensureNamespace(server.address, temporalNamespace);
    this.#screen.step('Temporal', `server ${binary.version} on ${server.address}`, since);
    return { address: server.address, uiUrl: temporalUiUrl ?? server.uiUrl };
  }

  async #broker(): Promise<string> {
    if (this.#settings.mqttBrokerUrl !== null) {
      this.#screen.step('MQTT broker', 'the one in MQTT_BROKER_URL');
      return this.#settings.mqttBrokerUrl;
    }
    const since = Date.now();
    const port = await this.#state.port('MQTT broker');
    await this.#keep('MQTT broker', 'stack/broker.ts', {}, ['--port', String(port)]);
    this.#screen.step('MQTT broker', `mqtt://127.0.0.1:${port}`, since);
    return `mqtt://127.0.0.1:${port}`;
  }

  /**
   * Simulated devices belong to the demo laboratory; another one has its own.
   * @returns the port of the robot's controller
   */
  async #robot(): Promise<number | null> {
    if (this.#outside) return null;
    const since = Date.now();
    const port = await this.#state.port('simulated robot', true);
    const controlPort = await this.#state.port('simulated robot, control');
    const speed = this.#settings.simulatedRobotSpeed;
    await this.#keep('simulated robot', 'devices/simulators/store-robot.ts', {}, [
      ...['--data', this.#state.path('robot'), '--port', String(port)],
      ...['--control-port', String(controlPort), '--speed', String(speed)],
    ]);
    this.#screen.step(
      'store robot',
      `simulated, Modbus TCP on 127.0.0.1:${port}, durations × ${speed}`,
      since,
    );
    return port;
  }

  async #demo(database: DatabaseUrls, robotPort: number | null): Promise<DemoLaboratory | null> {
    if (robotPort === null || database.owner === null) return null;
    const since = Date.now();
    const demo = await ensureDemoLaboratory({
      ownerUrl: database.owner,
      appUrl: database.app,
      file: this.#state.path('demo.json'),
      robot: { host: '127.0.0.1', port: robotPort },
    });
    this.#screen.step(
      'laboratory',
      `${demo.name}: ${demo.users.length} people, a robot with its station`,
      since,
    );
    return demo;
  }

  /** The workflows as one file, so that a worker that is started again is ready at once. */
  async #bundle(): Promise<string> {
    const since = Date.now();
    const file = this.#state.path('workflows.js');
    const bundler = await startChild(this.#child('stack/bundle.ts', 'bundle', {}, [file]));
    await bundler.ended;
    this.#screen.step('workflows', 'bundled', since);
    return file;
  }

  async #api(env: NodeJS.ProcessEnv): Promise<void> {
    const since = Date.now();
    await this.#keep('API', 'api/server.ts', env);
    let said = '';
    await until(`the API's readiness ${said}`, 60_000, async () => {
      const reply = await fetch(`${this.#apiUrl()}/health/ready`, {
        signal: AbortSignal.timeout(5000),
      }).catch(() => undefined);
      said = (await reply?.text()) ?? '';
      return reply?.ok === true;
    });
    this.#screen.step('API', this.#apiUrl(), since);
  }

  #apiUrl(): string {
    const host = ['0.0.0.0', '::'].includes(this.#settings.storageHost)
      ? '127.0.0.1'
      : this.#settings.storageHost;
    return `http://${host.includes(':') ? `[${host}]` : host}:${this.#apiPort}`;
  }

  #keep(
    name: string,
    script: string,
    env: NodeJS.ProcessEnv,
    args: readonly string[] = [],
  ): Promise<RunningPart> {
    const options = this.#child(script, name.replaceAll(/[^a-zA-Z]+/g, '-').toLowerCase(), env, args);
    return this.#supervisor.keep({ name, logFile: options.logFile, start: () => startChild(options) });
  }

  #child(script: string, log: string, env: NodeJS.ProcessEnv, args: readonly string[]): ChildOptions {
    // A process is handed the passwords it needs, not those this one was started with.
    const inherited = Object.fromEntries(
      Object.entries(this.#env).filter(([name]) => !/DATABASE_URL$/.test(name)),
    );
    return { script, args, env: { ...inherited, ...env }, logFile: this.#state.logFile(log) };
  }

  #welcome(temporalUi: string | null, demo: DemoLaboratory | null, begun: number): void {
    const api = this.#apiUrl();
    this.#screen.heading(`Ready after ${((Date.now() - begun) / 1000).toFixed(1)} s`);
    this.#screen.fields([
      ['API', api],
      ['Documentation', `${api}/docs`],
      ...(temporalUi === null ? [] : [['Temporal Web UI', temporalUi] as const]),
      ['State and logs', this.#state.folder],
    ]);
    if (demo) {
      this.#screen.heading(`Sign in to ${demo.name} with the password ${demo.password}`);
      this.#screen.fields(demo.users.map((user) => [user.email, user.role.replaceAll('_', ' ')] as const));
    }
    this.#screen.heading('Ctrl-C stops it; the next start goes on where this one ended.');
  }
}
