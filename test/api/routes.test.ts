import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openApiDocument } from '../../api/openapi-document.ts';
import { createPicklist } from '../../db/picklists.ts';
import { saveRackScan } from '../../db/rack-scans.ts';
import { enrolRobot } from '../../db/robots.ts';
import { createSchedule } from '../../db/schedule-changes.ts';
import { ROLES } from '../../domain/actor.ts';
import { type Action, mayDo, PERMISSIONS } from '../../domain/permissions.ts';
import { parseRackScan } from '../../domain/rack-scan.ts';
import { type ApiRequest, openApi, type TestApi } from '../setup/api.ts';
import { addJob, addLocation, positionsOf, storeSample } from '../setup/store.ts';

interface Route {
  readonly method: NonNullable<ApiRequest['method']>;
  readonly path: string;
  readonly action: string | undefined;
  readonly example: unknown;
}

let api: TestApi;
let routes: readonly Route[];
/** what a foreign laboratory must not see: ids and barcodes of ours */
let ours: { ids: Readonly<Record<string, string>>; words: readonly string[] };

beforeAll(async () => {
  api = await openApi({ limits: { earlyAnswerMs: 20 } });
  routes = registeredRoutes();
  ours = await furnish();
});
afterAll(() => api.close());

/** Every operation the application has, from its own registry. */
function registeredRoutes(): Route[] {
  return api.app.openAPIRegistry.definitions.flatMap((definition) => {
    if (definition.type !== 'route') return [];
    const { method, path, request } = definition.route;
    const action: unknown = Reflect.get(definition.route, 'x-action');
    const content = request?.body?.content?.['application/json'];
    return [
      {
        method: method.toUpperCase() as Route['method'],
        path,
        action: typeof action === 'string' ? action : undefined,
        example: content && 'example' in content ? content.example : undefined,
      },
    ];
  });
}

/** Things with the names that the document's examples use, so that its requests mean something. */
async function furnish(): Promise<typeof ours> {
  const { store } = api;
  const site = await addLocation(store, { type: 'site', name: 'Our site', barcode: 'SITE-1' });
  const freezer = await addLocation(store, {
    type: 'freezer',
    name: 'Our freezer',
    parent: site,
    barcode: 'FREEZER-1',
  });
  const second = await addLocation(store, {
    type: 'freezer',
    name: 'Our other',
    parent: site,
    barcode: 'FREEZER-2',
  });
  const robotStore = await addLocation(store, {
    type: 'freezer',
    name: 'Our store',
    parent: site,
    barcode: 'STORE-1',
  });
  const handoff = await addLocation(store, {
    type: 'handoff',
    name: 'Our hand-off',
    parent: robotStore,
    barcode: 'HANDOFF-1',
    robotAddress: { cassette: 0, level: 0 },
  });
  const box = await addLocation(store, {
    type: 'box_9x9',
    name: 'Our box',
    parent: freezer,
    barcode: 'BOX-7',
  });
  await addLocation(store, { type: 'box_9x9', name: 'Our box 8', parent: second, barcode: 'BOX-8' });
  const [position] = await positionsOf(store, box);
  const sample = await storeSample(store, { barcode: 'OUR-TUBE', positionId: position ?? '' });
  const job = await addJob(store, sample);
  const robot = await enrolRobot(store.db, store.context, {
    name: 'Our robot',
    storeId: robotStore,
    handoffId: handoff,
    driver: 'modbus',
    host: '127.0.0.1',
    port: 1502,
    unitId: 1,
  });
  const schedule = await createSchedule(store.db, store.actor, {
    job: {
      kind: 'retrieval',
      mode: 'hand',
      priority: 20,
      sampleId: sample,
      order: { kind: 'retrieval', handoffPositionId: null },
    },
    plan: {
      trigger: { kind: 'after', jobId: job, condition: 'ended' },
      window: null,
      until: null,
      maxRuns: null,
      graceMs: 60_000,
    },
    reason: 'Our reason',
  });
  const list = uuidv7();
  const request = {
    sampleId: sample,
    order: { kind: 'retrieval', handoffPositionId: null },
    confirmation: null,
  } as const;
  await createPicklist(
    store.db,
    store.actor,
    {
      id: list,
      kind: 'retrieval',
      mode: 'hand',
      name: 'Our list',
      priority: 20,
      window: 4,
      items: [{ given: 1, reference: 'OUR-TUBE', request, place: null }],
    },
    async () => {},
  );
  const scan = await saveRackScan(store.db, store.context, {
    location: box,
    profile: 'two_columns',
    read: (profile, grid) => parseRackScan('A1,OUR-TUBE', profile, grid),
  });
  return {
    ids: {
      samples: sample,
      'rack-scans': scan.id,
      locations: box,
      jobs: job,
      robots: robot.id,
      picklists: list,
      schedule,
    },
    words: [site, freezer, box, sample, job, robot.id, list, schedule, scan.id, 'OUR-TUBE', 'Our '],
  };
}

const fill = (path: string, id: string) => path.replaceAll(/\{[^}]+\}/g, id);
const request = (route: Route, id: string, as: ApiRequest['as']): ApiRequest => ({
  method: route.method,
  path: fill(route.path, id),
  as: as ?? null,
  ...(route.example !== undefined && { json: route.example }),
  headers: { 'if-match': '"1"' },
});

describe('every route', () => {
  test('names an action of the permission table, or is one of the few that are open', () => {
    expect(routes.length).toBeGreaterThan(20);
    const open = routes
      .filter(({ action }) => action === 'open')
      .map(({ method, path }) => `${method} ${path}`);
    expect(open.sort()).toEqual([
      'GET /.well-known/jwks.json',
      'GET /health',
      'GET /health/metrics',
      'GET /health/ready',
      'POST /auth/refresh',
      'POST /auth/sign-in',
    ]);
    for (const { method, path, action } of routes) {
      if (action !== 'open') expect(PERMISSIONS, `${method} ${path}`).toHaveProperty([action ?? 'none']);
    }
  });

  test('is in the document, but for the document itself', () => {
    const known = new Set(
      routes.map(({ method, path }) => `${method} ${path.replaceAll(/\{([^}]+)\}/g, ':$1')}`),
    );
    const others = api.app.routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path}`)
      .filter((name) => !known.has(name));
    expect([...new Set(others)].filter((name) => !name.startsWith('GET /docs'))).toEqual([
      'GET /openapi.json',
      'GET /',
    ]);
  });

  test('asks for a token first', async () => {
    for (const route of routes.filter(({ action }) => action !== 'open')) {
      const reply = await api.send(request(route, uuidv7(), null));
      expect([route.method, route.path, reply.status]).toEqual([route.method, route.path, 401]);
      expect(reply.body.code).toBe('UNAUTHENTICATED');
    }
  });

  test.each(ROLES)('lets a %s do what the table says and nothing else', async (role) => {
    for (const route of routes.filter(({ action }) => action !== 'open' && action !== 'session.own')) {
      const reply = await api.send(request(route, uuidv7(), api.people[role]));
      const where = `${role} ${route.method} ${route.path} answered ${reply.status}`;
      if (mayDo(role, route.action as Action)) {
        expect([401, 403], where).not.toContain(reply.status);
        expect(reply.status, where).toBeLessThan(500);
      } else {
        expect(reply.status, where).toBe(403);
        expect(reply.body).toMatchObject({ code: 'FORBIDDEN', facts: { action: route.action } });
      }
    }
  });

  test('knows nothing of another laboratory: its ids are 404, its lists hold nothing of ours', async () => {
    for (const route of routes.filter(({ action }) => action !== 'open' && action !== 'session.own')) {
      const kind = route.path.split('/')[2] ?? '';
      const hasId = route.path.includes('{');
      const reply = await api.send(request(route, ours.ids[kind] ?? uuidv7(), api.stranger));
      const where = `${route.method} ${route.path} answered ${reply.status} ${JSON.stringify(reply.body)}`;
      if (hasId) expect(reply.status, where).toBe(404);
      expect(reply.status, where).toBeLessThan(500);
      // What the request itself named may come back in the refusal.
      const told = JSON.stringify({ ...reply.body, detail: null, instance: null });
      for (const word of ours.words) expect(told.includes(word), `${where} holds ${word}`).toBe(false);
    }
  });

  test('names of another laboratory in a body are unknown', async () => {
    for (const [path, json] of [
      ['/storage/samples', { barcode: 'T-1', type: 'plasma', zone: '-80', target: { within: 'FREEZER-1' } }],
      [
        '/storage/samples',
        { barcode: 'T-1', type: 'plasma', zone: '-80', target: { within: ours.ids.locations } },
      ],
      ['/storage/moves', { sample: 'OUR-TUBE' }],
      ['/storage/moves', { sample: ours.ids.samples }],
      ['/automation/retrieval', { sample: ours.ids.samples }],
      ['/automation/robots', { name: 'R', store: 'STORE-1', handoff: 'HANDOFF-1', host: '127.0.0.1' }],
    ] as const) {
      const reply = await api.send({ path, json, as: api.stranger });
      expect([path, reply.status]).toEqual([path, 404]);
    }
  });
});

interface Operation {
  readonly summary?: string;
  readonly requestBody?: { content: Record<string, { example?: unknown; schema: unknown }> };
  readonly responses: Record<
    string,
    { description: string; content?: Record<string, Record<string, unknown>> }
  >;
}

describe('the OpenAPI document', () => {
  test('is OpenAPI 3.1, served as printed, with a summary and an example everywhere', async () => {
    const served = await api.send({ path: '/openapi.json', as: null });
    expect(served.status).toBe(200);
    expect(served.body.openapi).toMatch(/^3\.1/);
    expect(JSON.parse(JSON.stringify(await openApiDocument()))).toEqual(served.body);
    for (const [path, operations] of Object.entries<Record<string, Operation>>(served.body.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        const where = `${method} ${path}`;
        expect(operation.summary, where).toBeTruthy();
        for (const content of Object.values(operation.requestBody?.content ?? {})) {
          expect(content.example, `${where} request`).toBeDefined();
        }
        expect(
          Object.keys(operation.responses).some((status) => status.startsWith('2')),
          where,
        ).toBe(true);
        for (const [status, response] of Object.entries(operation.responses)) {
          for (const content of Object.values(response.content ?? {})) {
            expect(content.example ?? content.examples, `${where} ${status}`).toBeDefined();
          }
        }
      }
    }
  });

  test('all its references lead somewhere', async () => {
    const { body } = await api.send({ path: '/openapi.json', as: null });
    for (const [, name] of JSON.stringify(body).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      expect(body.components.schemas).toHaveProperty([name ?? '']);
    }
  });

  test('its examples are what its schemas take', () => {
    let checked = 0;
    const check = (where: string, content: unknown) => {
      for (const media of Object.values(Object(content))) {
        const schema: unknown = Reflect.get(Object(media), 'schema');
        if (!isZod(schema)) continue;
        const one: unknown = Reflect.get(Object(media), 'example');
        const several: object = Object(Reflect.get(Object(media), 'examples'));
        const values = Object.values(several).map((each: unknown) => Reflect.get(Object(each), 'value'));
        for (const example of one === undefined ? values : [one, ...values]) {
          const result = schema.safeParse(example);
          expect(result.success, `${where}: ${JSON.stringify(result.error?.issues)}`).toBe(true);
          checked++;
        }
      }
    };
    for (const definition of api.app.openAPIRegistry.definitions) {
      if (definition.type !== 'route') continue;
      const { method, path, request: asked, responses } = definition.route;
      check(`${method} ${path} request`, asked?.body?.content);
      for (const [status, response] of Object.entries(responses)) {
        if ('content' in response) check(`${method} ${path} ${status}`, response.content);
      }
    }
    expect(checked).toBeGreaterThan(100);
  });
});

interface Checkable {
  safeParse(value: unknown): { success: boolean; error?: { issues: unknown } };
}
function isZod(schema: unknown): schema is Checkable {
  return typeof schema === 'object' && schema !== null && 'safeParse' in schema;
}
