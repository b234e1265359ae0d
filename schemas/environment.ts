import { readFileSync } from 'node:fs';
import { z } from 'zod';

const text = z.string().min(1);
const address = z.string().regex(/^[^\s/:]+:\d{1,5}$/, 'should be host:port, e.g. 127.0.0.1:7233');
const url = (example: string, protocol: RegExp) =>
  z.url({ protocol, error: `should be a URL like ${example}` });
const postgres = url('postgresql://user:password@host:5432/tracseq', /^postgres(ql)?$/);
const service = url('http://host:8080', /^https?$/);
const flag = (preset: boolean) => z.stringbool({ error: 'should be true or false' }).default(preset);
const notAPort = 'should be a port number from 1 to 65535';
const port = z.coerce.number({ error: notAPort }).int(notAPort).min(1, notAPort).max(65_535, notAPort);
const number = (what: string) => z.coerce.number({ error: `should be ${what}` });
const positive = (what: string) => number(what).positive(`should be ${what}`);

const seconds = z.number().positive().max(86_400).optional();
const waitsExample = 'should be JSON in seconds like {"pickup":300,"escalate":[60,300]}';

/** Waiting times of the processes, in seconds, as `domain/waits.ts` names them. */
const waits = text
  .transform((json, context) => {
    try {
      return JSON.parse(json) as unknown;
    } catch {
      context.addIssue({ code: 'custom', message: waitsExample });
      return z.NEVER;
    }
  })
  .pipe(
    z.strictObject(
      {
        queue: seconds,
        notReady: seconds,
        pickup: seconds,
        observeEvery: seconds,
        observe: seconds,
        holdLook: seconds,
        escalate: z.array(z.number().positive().max(604_800)).max(10).optional(),
        undo: seconds,
        lease: seconds,
      },
      {
        error: `${waitsExample}, with queue, notReady, pickup, observeEvery, observe, holdLook, escalate, undo, lease`,
      },
    ),
  );

/** Waiting times that differ from the presets, in seconds. */
export type WaitsInSeconds = z.infer<typeof waits>;

/** All names the laboratory knows. What is not set (or empty) takes its preset, or null where a part is then absent. */
const variables = z.object({
  STORAGE_HOST: text.default('127.0.0.1'),
  STORAGE_PORT: port.default(8082),
  STORAGE_PROXY_HOPS: number('a whole number from 0 to 9')
    .int('should be a whole number from 0 to 9')
    .min(0, 'should be a whole number from 0 to 9')
    .max(9, 'should be a whole number from 0 to 9')
    .default(0),
  STORAGE_DATABASE_URL: postgres.nullable().default(null),
  STORAGE_OWNER_DATABASE_URL: postgres.nullable().default(null),
  STORAGE_RELAY_DATABASE_URL: postgres.nullable().default(null),
  STORAGE_SIGNER_DATABASE_URL: postgres.nullable().default(null),
  TEMPORAL_ADDRESS: address.nullable().default(null),
  TEMPORAL_NAMESPACE: text.default('default'),
  TEMPORAL_TLS_SERVER_CA_CERT_PATH: text.nullable().default(null),
  TEMPORAL_TLS_CLIENT_CERT_PATH: text.nullable().default(null),
  TEMPORAL_TLS_CLIENT_KEY_PATH: text.nullable().default(null),
  TEMPORAL_TLS_SERVER_NAME: text.nullable().default(null),
  TEMPORAL_UI_URL: service.nullable().default(null),
  TEMPORAL_CLI_PATH: text.nullable().default(null),
  TEMPORAL_SERVER_PATH: text.nullable().default(null),
  TEMPORAL_SQL_TOOL_PATH: text.nullable().default(null),
  WORKFLOW_BUNDLE_PATH: text.nullable().default(null),
  MQTT_BROKER_URL: url('mqtt://host:1883', /^(mqtts?|wss?)$/)
    .nullable()
    .default(null),
  REDIS_URL: url('redis://host:6379', /^rediss?$/)
    .nullable()
    .default(null),
  TOKEN_SIGNING_KEY_PATH: text.nullable().default(null),
  AUTH_SERVICE_URL: service.nullable().default(null),
  EVENT_SERVICE_URL: service.nullable().default(null),
  NOTIFICATION_SERVICE_URL: service.nullable().default(null),
  IOT_ENABLED: flag(true),
  SENSOR_POLLING_INTERVAL: positive('a number of seconds above 0').default(30),
  ALERT_THRESHOLD_TEMP: number('a number of degrees').default(2),
  REAL_TIME_MONITORING: flag(true),
  ANALYTICS_ENABLED: flag(true),
  PREDICTION_MODELS_PATH: text.nullable().default(null),
  MACHINE_LEARNING: flag(true),
  PREDICTION_HORIZON: positive('a number of days above 0').default(30),
  DIGITAL_TWIN_ENABLED: flag(true),
  BLOCKCHAIN_ENABLED: flag(true).refine(
    (on) => on,
    'cannot be false: every change is recorded in the ledger; leave it out or set true',
  ),
  AUTOMATION_ENABLED: flag(true),
  AUTOMATION_WAITS: waits.nullable().default(null),
  ENERGY_OPTIMIZATION: flag(true),
  MOBILE_ENABLED: flag(true),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
      error: 'should be fatal, error, warn, info, debug, trace or silent',
    })
    .default('info'),
  TRACSEQ_STATE: text.nullable().default(null),
  SIMULATED_ROBOT_SPEED: number('a number from 0 to 1000')
    .min(0, 'should be a number from 0 to 1000')
    .max(1000)
    .default(0.05),
});

/** Names of all variables that are read. */
export const ENVIRONMENT_NAMES: readonly string[] = Object.keys(variables.shape);

/** The name outside of each setting a process may need to be given. */
const GIVEN = {
  databaseUrl: 'STORAGE_DATABASE_URL',
  ownerDatabaseUrl: 'STORAGE_OWNER_DATABASE_URL',
  relayDatabaseUrl: 'STORAGE_RELAY_DATABASE_URL',
  signerDatabaseUrl: 'STORAGE_SIGNER_DATABASE_URL',
  temporalAddress: 'TEMPORAL_ADDRESS',
  mqttBrokerUrl: 'MQTT_BROKER_URL',
  tokenSigningKeyPath: 'TOKEN_SIGNING_KEY_PATH',
} as const;

/** A setting without a preset. */
export type GivenSetting = keyof typeof GIVEN;

interface TemporalTls {
  /** certificate of the authority that vouches for the server */
  readonly caPath: string;
  readonly certPath: string;
  readonly keyPath: string;
  /** name in the server's certificate; null: the host it is reached under */
  readonly serverName: string | null;
}

export interface Settings {
  readonly storageHost: string;
  readonly storagePort: number;
  /** proxies of ours before the API, which say in X-Forwarded-For whom they speak for */
  readonly proxyHops: number;
  /** the application's role, which row-level security binds */
  readonly databaseUrl: string | null;
  /** the role that owns the tables: migrations only */
  readonly ownerDatabaseUrl: string | null;
  readonly relayDatabaseUrl: string | null;
  readonly signerDatabaseUrl: string | null;
  readonly temporalAddress: string | null;
  readonly temporalNamespace: string;
  /** PEM files for a Temporal server with mutual TLS; null: the server takes plain connections */
  readonly temporalTls: TemporalTls | null;
  /** where people look at workflows; null when nobody may */
  readonly temporalUiUrl: string | null;
  /** a Temporal CLI to use instead of finding or building one */
  readonly temporalCliPath: string | null;
  /** server and SQL tool of a Temporal cluster to use instead of building them */
  readonly temporalServerPath: string | null;
  readonly temporalSqlToolPath: string | null;
  /** the prebuilt workflow bundle; null: the worker bundles at its start */
  readonly workflowBundlePath: string | null;
  readonly mqttBrokerUrl: string | null;
  readonly redisUrl: string | null;
  /** PEM file (PKCS #8) of the Ed25519 key that signs access tokens */
  readonly tokenSigningKeyPath: string | null;
  readonly authServiceUrl: string | null;
  readonly eventServiceUrl: string | null;
  readonly notificationServiceUrl: string | null;
  readonly iotEnabled: boolean;
  readonly sensorPollingIntervalSeconds: number;
  /** °C above the upper limit of a zone at which an alarm is raised */
  readonly alertThresholdC: number;
  readonly realTimeMonitoring: boolean;
  readonly analyticsEnabled: boolean;
  readonly predictionModelsPath: string | null;
  readonly machineLearning: boolean;
  readonly predictionHorizonDays: number;
  readonly digitalTwinEnabled: boolean;
  readonly automationEnabled: boolean;
  /** waiting times of the processes that differ from the presets */
  readonly automationWaits: WaitsInSeconds | null;
  readonly energyOptimization: boolean;
  readonly mobileEnabled: boolean;
  readonly logLevel: z.infer<typeof variables>['LOG_LEVEL'];
  /** folder of the local laboratory's state; null: `.tracseq` beside the sources */
  readonly statePath: string | null;
  /** factor on the durations of the simulated robot: 1 as a real store, 0 at once */
  readonly simulatedRobotSpeed: number;
}

/** Settings in which those in `Given` are known to be there. */
export type Environment<Given extends GivenSetting = 'databaseUrl' | 'temporalAddress' | 'mqttBrokerUrl'> =
  Settings & {
    readonly [name in Given]: string;
  };

/**
 * Reads the environment, once, at the start of a process.
 * @param env the process's variables; an empty one counts as not set
 * @param given what this process cannot do without; a process is handed only the passwords it needs
 * @throws Error with one line for every mistake
 */
export function loadEnvironment(env: NodeJS.ProcessEnv): Environment;
export function loadEnvironment<Given extends GivenSetting>(
  env: NodeJS.ProcessEnv,
  given: readonly Given[],
): Environment<Given>;
export function loadEnvironment(
  env: NodeJS.ProcessEnv,
  given: readonly GivenSetting[] = ['databaseUrl', 'temporalAddress', 'mqttBrokerUrl'],
): Settings {
  const present = Object.fromEntries(Object.entries(env).filter(([, value]) => value?.trim()));
  const parsed = variables.safeParse(present);
  const mistakes = (parsed.error?.issues ?? []).map((issue) => {
    const name = String(issue.path[0]);
    // Values that may hold a password are not repeated.
    const shown = /URL$/.test(name) ? '' : ` is ${JSON.stringify(present[name])}:`;
    return `${name}${shown} ${issue.message}`;
  });
  for (const setting of given) {
    if (present[GIVEN[setting]] === undefined) mistakes.push(`${GIVEN[setting]} is not set`);
  }
  const tlsNames = ['SERVER_CA_CERT', 'CLIENT_CERT', 'CLIENT_KEY'].map((part) => `TEMPORAL_TLS_${part}_PATH`);
  const tlsMissing = tlsNames.filter((name) => present[name] === undefined);
  if (tlsMissing.length > 0 && tlsMissing.length < tlsNames.length) {
    mistakes.push(`${tlsMissing.join(' and ')} not set: mutual TLS needs all of ${tlsNames.join(', ')}`);
  }
  if (!parsed.success || mistakes.length > 0) {
    throw new Error(`The environment does not say what it should:\n  ${mistakes.join('\n  ')}`);
  }
  const v = parsed.data;
  return {
    storageHost: v.STORAGE_HOST,
    storagePort: v.STORAGE_PORT,
    proxyHops: v.STORAGE_PROXY_HOPS,
    databaseUrl: v.STORAGE_DATABASE_URL,
    ownerDatabaseUrl: v.STORAGE_OWNER_DATABASE_URL,
    relayDatabaseUrl: v.STORAGE_RELAY_DATABASE_URL,
    signerDatabaseUrl: v.STORAGE_SIGNER_DATABASE_URL,
    temporalAddress: v.TEMPORAL_ADDRESS,
    temporalNamespace: v.TEMPORAL_NAMESPACE,
    temporalTls: tlsFiles(v),
    temporalUiUrl: v.TEMPORAL_UI_URL,
    temporalCliPath: v.TEMPORAL_CLI_PATH,
    temporalServerPath: v.TEMPORAL_SERVER_PATH,
    temporalSqlToolPath: v.TEMPORAL_SQL_TOOL_PATH,
    workflowBundlePath: v.WORKFLOW_BUNDLE_PATH,
    mqttBrokerUrl: v.MQTT_BROKER_URL,
    redisUrl: v.REDIS_URL,
    tokenSigningKeyPath: v.TOKEN_SIGNING_KEY_PATH,
    authServiceUrl: v.AUTH_SERVICE_URL,
    eventServiceUrl: v.EVENT_SERVICE_URL,
    notificationServiceUrl: v.NOTIFICATION_SERVICE_URL,
    iotEnabled: v.IOT_ENABLED,
    sensorPollingIntervalSeconds: v.SENSOR_POLLING_INTERVAL,
    alertThresholdC: v.ALERT_THRESHOLD_TEMP,
    realTimeMonitoring: v.REAL_TIME_MONITORING,
    analyticsEnabled: v.ANALYTICS_ENABLED,
    predictionModelsPath: v.PREDICTION_MODELS_PATH,
    machineLearning: v.MACHINE_LEARNING,
    predictionHorizonDays: v.PREDICTION_HORIZON,
    digitalTwinEnabled: v.DIGITAL_TWIN_ENABLED,
    automationEnabled: v.AUTOMATION_ENABLED,
    automationWaits: v.AUTOMATION_WAITS,
    energyOptimization: v.ENERGY_OPTIMIZATION,
    mobileEnabled: v.MOBILE_ENABLED,
    logLevel: v.LOG_LEVEL,
    statePath: v.TRACSEQ_STATE,
    simulatedRobotSpeed: v.SIMULATED_ROBOT_SPEED,
  };
}

function tlsFiles(v: z.infer<typeof variables>): TemporalTls | null {
  const caPath = v.TEMPORAL_TLS_SERVER_CA_CERT_PATH;
  const certPath = v.TEMPORAL_TLS_CLIENT_CERT_PATH;
  const keyPath = v.TEMPORAL_TLS_CLIENT_KEY_PATH;
  if (caPath === null || certPath === null || keyPath === null) return null;
  return { caPath, certPath, keyPath, serverName: v.TEMPORAL_TLS_SERVER_NAME };
}

/** What `Connection.connect` and `NativeConnection.connect` take. */
export interface TemporalConnection {
  readonly address: string;
  readonly tls?: {
    readonly serverRootCACertificate: Buffer;
    readonly clientCertPair: { readonly crt: Buffer; readonly key: Buffer };
    readonly serverNameOverride?: string;
  };
}

/**
 * How to reach Temporal; reads the certificates.
 * @throws Error when a named file cannot be read
 */
export function temporalConnection(
  environment: Settings & { readonly temporalAddress: string },
): TemporalConnection {
  const { temporalAddress: address, temporalTls: files } = environment;
  if (files === null) return { address };
  return {
    address,
    tls: {
      serverRootCACertificate: readFileSync(files.caPath),
      clientCertPair: { crt: readFileSync(files.certPath), key: readFileSync(files.keyPath) },
      ...(files.serverName !== null && { serverNameOverride: files.serverName }),
    },
  };
}
