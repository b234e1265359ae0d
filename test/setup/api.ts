import { generateKeyPairSync } from 'node:crypto';
import type { OpenAPIHono } from '@hono/zod-openapi';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createHandlingActivities } from '../../activities/handling.ts';
import { createInventoryActivities } from '../../activities/inventory.ts';
import { createJobWorkflows } from '../../activities/job-workflows.ts';
import { createMotionActivities } from '../../activities/motion.ts';
import { MotionWatch } from '../../activities/motion-watch.ts';
import { createPicklistActivities } from '../../activities/picklist.ts';
import { createRackScanActivities } from '../../activities/rack-scan.ts';
import { createRobotActivities } from '../../activities/robot.ts';
import { createScheduleActivities } from '../../activities/schedule.ts';
import { createStorageActivities } from '../../activities/storage.ts';
import { createApp } from '../../api/app.ts';
import { type Authenticator, createAuthenticator } from '../../api/authenticator.ts';
import type { ApiEnv, AppDependencies, Limits } from '../../api/dependencies.ts';
import { createLog } from '../../api/log.ts';
import { createMetrics } from '../../api/metrics.ts';
import { OPENAPI_INFO } from '../../api/openapi.ts';
import { createTokenIssuer, type SigningKey, toSigningKey } from '../../api/tokens.ts';
import { createUser } from '../../db/identity.ts';
import { closedSessionsSince, openSession } from '../../db/session.ts';
import { type Actor, ROLES, type Role } from '../../domain/actor.ts';
import { CONTROL_QUEUE } from '../../workflows/ids.ts';
import { storeOf, type TestStore } from './store.ts';
import { createTestNamespace, temporalServer, workflowBundle } from './temporal.ts';
import { openLaboratory, TEST_PASSWORD, type TestLaboratory } from './tenant.ts';

/** The application in this process, on a database and a Temporal namespace of its own. */
export interface TestApi {
  readonly app: OpenAPIHono<ApiEnv>;
  readonly dependencies: AppDependencies;
  readonly lab: TestLaboratory;
  readonly store: TestStore;
  readonly key: SigningKey;
  readonly namespace: string;
  /** one person of each role, with a token */
  readonly people: Readonly<Record<Role, Person>>;
  /** the administrator of a second laboratory in the same database */
  readonly stranger: Person;
  /** an access token of a new session */
  tokenFor(actor: Actor): Promise<{ token: string; sessionId: string }>;
  /** Sends a request and holds the reply against the OpenAPI document. */
  send(request: ApiRequest): Promise<ApiReply>;
  close(): Promise<void>;
}

export interface Person {
  readonly actor: Actor;
  readonly token: string;
  readonly sessionId: string;
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'PATCH';
  readonly path: string;
  /** a person or a token; the technician when left out, nobody when null */
  readonly as?: Person | string | null;
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** a body as it is, instead of `json` */
  readonly text?: string;
}

export interface ApiReply {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into replies of every shape
  readonly body: any;
}

export interface TestApiOptions {
  readonly limits?: Partial<Limits>;
  /** run a control worker; without one no process is answered */
  readonly worker?: boolean;
  readonly automation?: boolean;
  readonly now?: () => Date;
}

/** Opens a laboratory with a person of each role, and the application on it. */
export async function openApi(options: TestApiOptions = {}): Promise<TestApi> {
  const lab = await openLaboratory();
  const namespace = await createTestNamespace();
  const connection = await Connection.connect(temporalServer());
  const temporal = new Client({ connection, namespace });
  const now = options.now ?? (() => new Date());
  const key = await toSigningKey(generateKeyPairSync('ed25519').privateKey, 'the test’s key');
  const tokens = createTokenIssuer(key, now);
  const authenticator: Authenticator = createAuthenticator(
    key.publicKey,
    (moment) => closedSessionsSince(lab.app, moment),
    now,
  );
  const dependencies: AppDependencies = {
    db: lab.app,
    temporal,
    tokens,
    authenticator,
    metrics: createMetrics(false),
    log: createLog(process.env.TEST_LOG_LEVEL ?? 'silent', 'api'),
    now,
    features: { automation: options.automation ?? true },
    temporalUiUrl: 'http://127.0.0.1:8233',
    temporalNamespace: namespace,
    ...(options.limits && { limits: options.limits }),
  };
  const app = createApp(dependencies);
  const documented = documentedReplies(app);

  const tokenFor = async (actor: Actor) => {
    const session = await openSession(lab.app, actor);
    const { token } = await tokens.issue(session);
    return { token, sessionId: session.sessionId };
  };
  const person = async (actor: Actor): Promise<Person> => ({ actor, ...(await tokenFor(actor)) });
  const entries: [Role, Person][] = [];
  for (const role of ROLES) {
    const user = await createUser(
      lab.app,
      { actor: lab.administrator },
      { email: emailOf(lab.tenantId, role), displayName: role, role, password: TEST_PASSWORD },
    );
    entries.push([role, await person({ tenantId: lab.tenantId, userId: user.id, role, stationId: null })]);
  }
  const people = Object.fromEntries(entries) as Record<Role, Person>;
  const stranger = await person(await lab.addTenant());

  const worker = options.worker ? await startControlWorker(namespace, lab, temporal) : null;

  async function send(request: ApiRequest): Promise<ApiReply> {
    const { path, method = request.json === undefined && request.text === undefined ? 'GET' : 'POST' } =
      request;
    const who = request.as === undefined ? people.lab_technician : request.as;
    const token = who === null ? null : typeof who === 'string' ? who : who.token;
    const response = await app.request(path, {
      method,
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...((request.json !== undefined || request.text !== undefined) && {
          'content-type': 'application/json',
        }),
        ...request.headers,
      },
      ...(request.json !== undefined && { body: JSON.stringify(request.json) }),
      ...(request.text !== undefined && { body: request.text }),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    const reply = {
      status: response.status,
      headers: response.headers,
      body: isJson ? JSON.parse(text) : text,
    };
    documented(method, path, reply);
    return reply;
  }

  return {
    app,
    dependencies,
    lab,
    store: storeOf(lab),
    key,
    namespace,
    people,
    stranger,
    tokenFor,
    send,
    async close() {
      await worker?.stop();
      await connection.close();
      await lab.close();
    },
  };
}

export function emailOf(tenantId: string, role: Role): string {
  return `${role.replaceAll('_', '.')}@${tenantId.slice(-12)}.example.org`;
}

// Once a process, before its first worker.
Runtime.install({ logger: new DefaultLogger('WARN') });

/** A worker of the control queue with the real activities. */
async function startControlWorker(namespace: string, lab: TestLaboratory, temporal: Client) {
  const connection = await NativeConnection.connect(temporalServer());
  const watch = new MotionWatch(lab.database.appUrl);
  const storage = createStorageActivities({ db: lab.app });
  const motion = createMotionActivities({ db: lab.app, watch });
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue: CONTROL_QUEUE,
    workflowBundle: workflowBundle(),
    activities: {
      ...storage,
      ...motion,
      ...createHandlingActivities({ ...storage, ...motion }),
      ...createInventoryActivities({ db: lab.app }),
      ...createRackScanActivities({ db: lab.app, patience: { answerMs: 1_000, waitMs: 3_000 } }),
      ...createRobotActivities({ db: lab.app, workflows: temporal.workflow }),
      ...createPicklistActivities({ db: lab.app, jobs: createJobWorkflows(temporal) }),
      ...createScheduleActivities({ db: lab.app, workflows: temporal.workflow }),
    },
    stickyQueueScheduleToStartTimeout: '2s',
    shutdownGraceTime: '1s',
  });
  const running = worker.run();
  return {
    async stop() {
      worker.shutdown();
      await running;
      await Promise.all([connection.close(), watch.close()]);
    },
  };
}

/**
 * Fails a test whose reply has a status that the OpenAPI document does not name for the route, or holds a null: what
 * has no value is absent.
 */
function documentedReplies(app: OpenAPIHono<ApiEnv>) {
  const document = app.getOpenAPI31Document(OPENAPI_INFO);
  const routes = Object.entries(document.paths ?? {}).map(([path, operations]) => ({
    path,
    pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{[^}]+\}/g, '[^/]+')}$`),
    operations: operations as Readonly<Record<string, { responses?: Record<string, unknown> }>>,
  }));
  return (method: string, path: string, reply: ApiReply) => {
    const empty = firstNull(reply.body, '');
    if (empty !== null) throw new Error(`${method} ${path} answered null at ${empty}`);
    const bare = path.split('?')[0] ?? '';
    const candidates = routes.filter(({ pattern }) => pattern.test(bare));
    const route = candidates.find((one) => one.path === bare) ?? candidates[0];
    const operation = route?.operations[method.toLowerCase()];
    if (!operation) return;
    if (!operation.responses?.[String(reply.status)]) {
      throw new Error(
        `${method} ${route?.path} answered ${reply.status}, which its document does not name: ${JSON.stringify(reply.body)}`,
      );
    }
  };
}

/** JSON pointer of the first null in a value; null when it has none. */
function firstNull(value: unknown, at: string): string | null {
  if (value === null) return at || '/';
  if (typeof value !== 'object') return null;
  for (const [name, each] of Object.entries(value)) {
    const found = firstNull(each, `${at}/${name}`);
    if (found !== null) return found;
  }
  return null;
}
