import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApp } from '../../api/app.ts';
import { createLog } from '../../api/log.ts';
import { openDatabase } from '../../db/connection.ts';
import { freePort, until } from '../../stack/processes.ts';
import { emailOf, openApi, type TestApi } from '../setup/api.ts';
import { addLocation } from '../setup/store.ts';
import { temporalServer } from '../setup/temporal.ts';
import { TEST_PASSWORD } from '../setup/tenant.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openApi({ limits: { earlyAnswerMs: 300, answerMs: 500 } });
  await addLocation(api.store, { type: 'site', name: 'Site' });
});
afterAll(() => api.close());

const token = () => api.people.lab_administrator.token;
const bearer = () => ({ authorization: `Bearer ${token()}` });
const json = () => ({ ...bearer(), 'content-type': 'application/json' });

// biome-ignore lint/suspicious/noExplicitAny: tests look into replies of every shape
const bodyOf = (reply: Response): Promise<any> => reply.json();

describe('health', () => {
  test('tells that it is alive and how fast what it needs answers', async () => {
    expect((await api.send({ path: '/health', as: null })).body).toEqual({ status: 'alive' });
    const ready = await api.send({ path: '/health/ready', as: null });
    expect(ready.status).toBe(200);
    expect(ready.body.ready).toBe(true);
    expect(ready.body.dependencies.map(({ name }: { name: string }) => name)).toEqual([
      'database',
      'temporal',
    ]);
    for (const { latencyMs } of ready.body.dependencies) expect(latencyMs).toBeGreaterThan(0);
  });

  test('counts requests by route pattern, not by path', async () => {
    await api.send({ path: `/automation/jobs/${crypto.randomUUID()}` });
    const { body } = await api.send({ path: '/health/metrics', as: null });
    expect(body).toMatch(
      /tracseq_http_requests_total\{method="GET",route="\/automation\/jobs\/:id",status="404"\} 1/,
    );
  });
});

describe('with parts missing', () => {
  test('without the database it says so, asks to come back, and stays alive', async () => {
    const db = openDatabase(`postgresql://tracseq_app:x@127.0.0.1:${await freePort()}/none`);
    const app = createApp({ ...api.dependencies, db });
    const ready = await app.request('/health/ready');
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({
      ready: false,
      dependencies: [
        { name: 'database', ready: false },
        { name: 'temporal', ready: true },
      ],
    });
    expect((await app.request('/health')).status).toBe(200);
    for (const path of ['/automation/jobs', '/blockchain/integrity', '/automation/robots']) {
      const reply = await app.request(path, { headers: bearer() });
      expect(reply.status).toBe(503);
      expect(reply.headers.get('retry-after')).toBeTruthy();
      expect(await reply.json()).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    }
    await db.close();
  });

  test('without Temporal a process is written and told without a position; a scan is asked to come back', async () => {
    // Never closed: the readiness probe leaves a call to its retries, and a retry on a closed channel throws out of
    // a timer. Nothing is open in it, nobody listens there.
    const connection = Connection.lazy({ address: `127.0.0.1:${await freePort()}` });
    const temporal = new Client({ connection, namespace: api.namespace });
    const app = createApp({ ...api.dependencies, temporal });
    const ready = await app.request('/health/ready');
    expect(ready.status).toBe(503);
    const started = await app.request('/storage/samples', {
      method: 'POST',
      headers: json(),
      body: JSON.stringify({ barcode: 'TUBE', type: 'plasma', zone: '-80' }),
    });
    expect(started.status).toBe(202);
    const body = await bodyOf(started);
    expect(body.position).toBeUndefined();
    expect(body.job.state).toBe('QUEUED');
    const cancel = await app.request(`/automation/jobs/${body.job.id}/cancel`, {
      method: 'POST',
      headers: json(),
      body: '{}',
    });
    expect(cancel.status).toBe(503);
    expect(cancel.headers.get('retry-after')).toBeTruthy();
    expect(await cancel.json()).toMatchObject({ code: 'WORKFLOWS_UNAVAILABLE' });
  }, 30_000);

  test('with a job whose workflow is not there a scan is refused, not lost', async () => {
    // Written by the test before, and never started: there is no sweep here.
    const { body } = await api.send({ path: '/automation/jobs?live=true' });
    const reply = await api.send({ path: `/automation/jobs/${body.jobs[0].id}/cancel`, json: {} });
    expect(reply.status).toBe(409);
    expect(reply.body.code).toBe('NOT_WAITING');
  });

  test('what fails inside is a 500 that tells nothing but where to look', async () => {
    const lines: string[] = [];
    const log = createLog('info', 'api', { write: (line) => void lines.push(line) });
    const db = { ...api.dependencies.db, cursors: undefined } as never;
    const app = createApp({ ...api.dependencies, db, log });
    const reply = await app.request('/blockchain/integrity', { headers: bearer() });
    expect(reply.status).toBe(500);
    const body = await bodyOf(reply);
    expect(body.code).toBe('INTERNAL');
    expect(JSON.stringify(body)).not.toMatch(/cursors|undefined|TypeError|\.ts/);
    expect(lines.join('')).toContain(body.requestId);
    expect(lines.join('')).toContain('TypeError');
  });

  test('with automation switched off its paths say why, and are gone from the document', async () => {
    const app = createApp({ ...api.dependencies, features: { automation: false } });
    for (const [method, path] of [
      ['GET', '/automation/robots'],
      ['POST', '/automation/robots'],
      ['POST', `/automation/robots/${crypto.randomUUID()}/command`],
      ['POST', '/automation/placement'],
      ['POST', '/automation/retrieval'],
    ] as const) {
      const reply = await app.request(path, { method, headers: bearer() });
      expect(reply.status).toBe(404);
      expect(await reply.json()).toMatchObject({
        code: 'FEATURE_OFF',
        detail: expect.stringContaining('AUTOMATION_ENABLED'),
      });
    }
    const byRobot = await app.request('/storage/samples', {
      method: 'POST',
      headers: json(),
      body: JSON.stringify({ barcode: 'T-9', type: 'plasma', zone: '-80', mode: 'robot' }),
    });
    expect(await byRobot.json()).toMatchObject({ code: 'FEATURE_OFF' });
    const { paths } = await bodyOf(await app.request('/openapi.json'));
    expect(Object.keys(paths)).toContain('/storage/samples');
    expect(Object.keys(paths)).toContain('/automation/jobs/{id}/confirm');
    expect(Object.keys(paths)).not.toContain('/automation/robots');
    expect(Object.keys(paths)).not.toContain('/automation/placement');
  });
});

describe('the page', () => {
  test('is led to from /, loads everything from here, and allows nothing else', async () => {
    const root = await api.app.request('/');
    expect([root.status, root.headers.get('location')]).toEqual([302, '/docs']);
    const page = await api.app.request('/docs');
    const html = await page.text();
    const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link ?? '');
    expect(links.length).toBeGreaterThan(5);
    for (const link of links) {
      expect(link).toMatch(/^\//);
      const asset = await api.app.request(link);
      expect(asset.status, link).toBe(200);
      expect((await asset.arrayBuffer()).byteLength, link).toBeGreaterThan(100);
    }
    expect(html).not.toMatch(/<script>|onload=|https?:/);
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("script-src 'self'");
    expect(policy).not.toMatch(/script-src[^;]*unsafe|https?:/);
  });

  test('every reply carries the headers that keep browsers careful', async () => {
    const reply = await api.send({ path: '/automation/jobs' });
    expect(reply.headers.get('x-content-type-options')).toBe('nosniff');
    expect(reply.headers.get('x-frame-options')).toBe('DENY');
    expect(reply.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(reply.headers.get('x-request-id')).toBeTruthy();
  });
});

test('the log knows who asked for what and when, and no secret', async () => {
  const lines: string[] = [];
  const log = createLog('trace', 'api', { write: (line) => void lines.push(line) });
  const app = createApp({ ...api.dependencies, log });
  const email = emailOf(api.lab.tenantId, 'data_analyst');
  const signedIn = await app.request('/auth/sign-in', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': 'request-17' },
    body: JSON.stringify({ email, password: TEST_PASSWORD }),
  });
  const grant = await bodyOf(signedIn);
  await app.request('/storage/samples/SECRET-BARCODE/move', { method: 'POST', headers: json(), body: '{}' });
  log.info({ password: 'hidden-1', nested: { refreshToken: 'hidden-2', barcode: 'hidden-3' } }, 'planted');
  const text = lines.join('');
  expect(text).toContain('"requestId":"request-17"');
  expect(text).toContain('"route":"/storage/samples/:id/move"');
  expect(text).toContain(api.people.lab_administrator.actor.userId);
  for (const secret of [
    TEST_PASSWORD,
    email,
    grant.accessToken,
    grant.refreshToken,
    token(),
    'SECRET-BARCODE',
    'hidden-',
  ]) {
    expect(text.includes(secret), secret).toBe(false);
  }
});

describe('the process', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'tracseq-api-'));
    const pem = api.key.privateKey.export({ type: 'pkcs8', format: 'pem' });
    writeFileSync(join(folder, 'key.pem'), pem, { mode: 0o600 });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function startServer(changed: NodeJS.ProcessEnv = {}) {
    const port = await freePort();
    const child = fork('api/server.ts', {
      execArgv: ['--import', 'tsx'],
      silent: true,
      env: {
        PATH: process.env.PATH,
        STORAGE_HOST: '127.0.0.1',
        STORAGE_PORT: String(port),
        STORAGE_DATABASE_URL: api.lab.database.appUrl,
        TEMPORAL_ADDRESS: temporalServer().address,
        TEMPORAL_NAMESPACE: api.namespace,
        TOKEN_SIGNING_KEY_PATH: join(folder, 'key.pem'),
        ...changed,
      },
    });
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const ended = once(child, 'exit');
    const url = `http://127.0.0.1:${port}`;
    return { child, ended, port, url, said: () => said };
  }
  const answers = (url: string) =>
    until('the API answering', 30_000, () =>
      fetch(`${url}/health`).then(
        (reply) => reply.ok,
        () => false,
      ),
    );

  test('serves, finishes what is under way at SIGTERM, and ends', async () => {
    const server = await startServer();
    await answers(server.url);
    const ready = await fetch(`${server.url}/health/ready`);
    expect(ready.status).toBe(200);
    // A request whose body is still on its way when the signal comes.
    const socket = createConnection(server.port, '127.0.0.1');
    await once(socket, 'connect');
    const text = '{"refreshToken":"x"}';
    socket.write(
      `POST /auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text.slice(0, 5)}`,
    );
    await until('the request being under way', 5_000, async () => {
      const metrics = await (await fetch(`${server.url}/health/metrics`)).text();
      return metrics.includes('process_cpu_seconds_total');
    });
    server.child.kill('SIGTERM');
    await until('the port closing', 5_000, () =>
      fetch(`${server.url}/health`).then(
        () => false,
        () => true,
      ),
    );
    let answer = '';
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    socket.write(text.slice(5));
    await once(socket, 'close');
    expect(answer).toContain('HTTP/1.1 401');
    expect(await server.ended).toEqual([0, null]);
  }, 60_000);

  test('refuses 10 MB while they are still coming, and ends when whoever started it is gone', async () => {
    const server = await startServer();
    await answers(server.url);
    const tooLarge = await fetch(`${server.url}/auth/sign-in`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email: 'x'.repeat(10 * 1024 * 1024) }),
    });
    expect(tooLarge.status).toBe(413);
    expect(await tooLarge.json()).toMatchObject({ code: 'BODY_TOO_LARGE' });
    server.child.disconnect();
    expect(await server.ended).toEqual([0, null]);
  }, 60_000);

  test('refuses a role that row-level security does not bind, and an environment that lacks something', async () => {
    const asAdmin = await startServer({ STORAGE_DATABASE_URL: api.lab.database.adminUrl });
    expect((await asAdmin.ended)[0]).not.toBe(0);
    expect(asAdmin.said()).toContain('superuser');
    const keyless = await startServer({ TOKEN_SIGNING_KEY_PATH: '' });
    expect((await keyless.ended)[0]).not.toBe(0);
    expect(keyless.said()).toContain('TOKEN_SIGNING_KEY_PATH is not set');
  }, 60_000);
});
