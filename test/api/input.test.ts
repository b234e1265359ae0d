import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inTenant } from '../../db/tenancy.ts';
import { type ApiReply, openApi, type TestApi } from '../setup/api.ts';
import { addLocation } from '../setup/store.ts';

let api: TestApi;

beforeAll(async () => {
  api = await openApi({ limits: { earlyAnswerMs: 20 } });
  const site = await addLocation(api.store, { type: 'site', name: 'Site' });
  const freezer = await addLocation(api.store, { type: 'freezer', name: 'Freezer', parent: site });
  await addLocation(api.store, { type: 'box_9x9', name: 'Box', parent: freezer, barcode: 'BOX' });
});
afterAll(() => api.close());

const SAMPLE = { barcode: 'TUBE', type: 'plasma', zone: '-80' };
const store = (json: unknown) => api.send({ path: '/storage/samples', json });
const storeText = (text: string, headers: Record<string, string> = {}) =>
  api.send({ path: '/storage/samples', method: 'POST', text, headers });

function expectProblem(reply: ApiReply, status: number, code: string): void {
  expect([reply.status, reply.body.code]).toEqual([status, code]);
  expect(reply.headers.get('content-type')).toBe('application/problem+json');
  expect(reply.body).toMatchObject({
    type: `urn:tracseq:problem:${code.toLowerCase().replaceAll('_', '-')}`,
    status,
    title: expect.any(String),
    detail: expect.any(String),
    requestId: reply.headers.get('x-request-id'),
  });
}

/** Every row that a request could have written. */
function rows(): Promise<unknown> {
  return inTenant(api.lab.app, api.lab.tenantId, async (tx) => {
    const count = async (
      table: 'sample' | 'job' | 'record_version' | 'location' | 'idempotency_key' | 'barcode',
    ) =>
      (
        await tx
          .selectFrom(table)
          .select((eb) => eb.fn.countAll().as('n'))
          .executeTakeFirstOrThrow()
      ).n;
    return {
      sample: await count('sample'),
      job: await count('job'),
      version: await count('record_version'),
      location: await count('location'),
      key: await count('idempotency_key'),
      barcode: await count('barcode'),
    };
  });
}

describe('bad input changes nothing and is told what would be right', () => {
  let before: unknown;
  beforeAll(async () => {
    before = await rows();
  });
  afterAll(async () => {
    expect(await rows()).toEqual(before);
  });

  test('malformed JSON, with line and column', async () => {
    const reply = await storeText('{\n  "barcode": "TUBE",\n  "type": plasma\n}');
    expectProblem(reply, 400, 'MALFORMED_BODY');
    expect(reply.body.detail).toContain('line 3, column 11');
    expect(reply.body.facts).toEqual({ line: 3, column: 11 });
  });

  test('no body, an empty body, a body that is no object', async () => {
    expect((await api.send({ path: '/storage/samples', method: 'POST' })).status).toBeLessThan(500);
    expectProblem(await storeText(''), 400, 'MALFORMED_BODY');
    expectProblem(await storeText('null'), 422, 'VALIDATION');
    expectProblem(await storeText('[]'), 422, 'VALIDATION');
    expectProblem(await storeText('"text"'), 422, 'VALIDATION');
  });

  test('10 MB, announced or not', async () => {
    const big = JSON.stringify({ ...SAMPLE, project: 'x'.repeat(10 * 1024 * 1024) });
    expectProblem(await storeText(big, { 'content-length': String(big.length) }), 413, 'BODY_TOO_LARGE');
    const chunk = new TextEncoder().encode('x'.repeat(64 * 1024));
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent++ < 160) controller.enqueue(chunk);
        else controller.close();
      },
    });
    const response = await api.app.request('/storage/samples', {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'transfer-encoding': 'chunked',
        authorization: `Bearer ${api.people.lab_technician.token}`,
      },
      body: endless,
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(413);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(sent).toBeLessThan(160);
  });

  test('another content type', async () => {
    for (const type of ['text/plain', 'application/xml', 'multipart/form-data; boundary=x']) {
      const reply = await storeText(JSON.stringify(SAMPLE), { 'content-type': type });
      expectProblem(reply, 415, 'UNSUPPORTED_MEDIA_TYPE');
      expect(reply.body.detail).toContain('application/json');
    }
  });

  test('wrong types, each named by its pointer', async () => {
    const reply = await store({
      barcode: 5,
      type: '',
      zone: 'cold',
      mode: 'magic',
      priority: 1.5,
      target: { location: 'BOX' },
      surprise: true,
    });
    expectProblem(reply, 422, 'VALIDATION');
    const told = Object.fromEntries(
      reply.body.errors.map((one: { pointer: string; detail: string }) => [one.pointer, one.detail]),
    );
    expect(told['/barcode']).toBe('should be a text, but is 5');
    expect(told['/type']).toContain('at least 1 character');
    expect(told['/zone']).toMatch(/^should be one of .*-80.*, but is "cold"$/);
    expect(told['/mode']).toContain('one of hand, robot');
    expect(told['/priority']).toContain('a whole number');
    expect(told['/target/position']).toContain('is missing');
    expect(told['/surprise']).toContain('leave it out');
  });

  test('what is missing is said to be missing', async () => {
    const reply = await store({});
    expect(reply.body.errors).toContainEqual({ pointer: '/type', detail: 'is missing; should be a text' });
    expect(reply.body.detail).toContain('and 1 more mistake');
  });

  test('barcodes that are shaped like ids, or hold what no label has', async () => {
    for (const barcode of [crypto.randomUUID(), '', ' T', 'T\u0000', 'Tübe', 'x'.repeat(65)]) {
      expectProblem(await store({ ...SAMPLE, barcode }), 422, 'VALIDATION');
    }
  });

  test('texts that PostgreSQL cannot hold', async () => {
    const reply = await store({ ...SAMPLE, project: 'a\u0000b' });
    expectProblem(reply, 422, 'VALIDATION');
  });

  test('__proto__ and the same key twice do no harm', async () => {
    const own = await storeText(
      '{"__proto__": {"polluted": true}, "barcode": "T", "type": "p", "zone": "-80"}',
    );
    expectProblem(own, 422, 'VALIDATION');
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
    const nested = await storeText(
      '{"barcode":"T","type":"p","zone":"-80","target":{"constructor":{"prototype":{"polluted":1}}}}',
    );
    expectProblem(nested, 422, 'VALIDATION');
    const twice = await storeText('{"barcode": "T", "type": "p", "zone": "-80", "zone": "hot"}');
    expectProblem(twice, 422, 'VALIDATION');
  });

  test('query parameters', async () => {
    for (const query of [
      'limit=0',
      'limit=501',
      'limit=x',
      'state=DONE',
      'cursor=1',
      'sample=1',
      'what=1',
      'limit=1&limit=2',
    ]) {
      const reply = await api.send({ path: `/automation/jobs?${query}` });
      expectProblem(reply, 422, 'VALIDATION');
      expect(reply.body.errors[0].pointer).toBe(query.split('=')[0]);
    }
  });

  test('path parameters', async () => {
    for (const id of ['x', '1', '%00', '%ff', '..%2f..%2fetc', "'%20OR%201=1"]) {
      const reply = await api.send({ path: `/automation/jobs/${id}` });
      expect(reply.status, id).toBeGreaterThanOrEqual(400);
      expect(reply.status, id).toBeLessThan(500);
      expect(reply.headers.get('content-type')).toBe('application/problem+json');
    }
  });

  test('Idempotency-Keys that are none', async () => {
    for (const key of ['', ' ', '"', '""', 'two words', `"${'x'.repeat(256)}"`, 'ü']) {
      const reply = await api.send({
        path: '/storage/samples',
        json: SAMPLE,
        headers: { 'idempotency-key': key },
      });
      expectProblem(reply, 422, 'VALIDATION');
      expect(reply.body.errors[0].pointer).toBe('Idempotency-Key');
    }
  });

  test('unknown paths are 404, known paths with another method 405 and what they take', async () => {
    const nowhere = await api.send({ path: '/storage/nothing-here/at-all' });
    expectProblem(nowhere, 404, 'NOT_FOUND');
    const wrong = await api.send({ path: '/automation/robots', method: 'DELETE' });
    expectProblem(wrong, 405, 'METHOD_NOT_ALLOWED');
    expect(wrong.headers.get('allow')).toBe('GET, HEAD, POST');
    const withId = await api.send({ path: `/automation/jobs/${crypto.randomUUID()}/confirm`, method: 'GET' });
    expectProblem(withId, 405, 'METHOD_NOT_ALLOWED');
    expect(withId.headers.get('allow')).toBe('POST');
  });

  test('an expired token', async () => {
    const reply = await api.send({ path: '/storage/samples', json: SAMPLE, as: await expiredToken() });
    expectProblem(reply, 401, 'UNAUTHENTICATED');
  });

  test('a decision without the scan it needs', async () => {
    const reply = await api.send({
      path: `/automation/jobs/${crypto.randomUUID()}/decision`,
      json: { faultId: crypto.randomUUID(), answer: 'at_source', robotFit: true },
    });
    expectProblem(reply, 422, 'VALIDATION');
    expect(reply.body.errors[0].pointer).toBe('/sampleBarcode');
  });
});

async function expiredToken(): Promise<string> {
  const { createTokenIssuer } = await import('../../api/tokens.ts');
  const { actor, sessionId } = api.people.lab_technician;
  const issuer = createTokenIssuer(api.key, () => new Date(Date.now() - 3_600_000));
  return (await issuer.issue({ actor, sessionId })).token;
}

test('whatever is sent, the answer is a reply the document names and never a 5xx', async () => {
  const posts = api.app.openAPIRegistry.definitions.flatMap((definition) => {
    if (definition.type !== 'route' || definition.route.method === 'get') return [];
    const content = definition.route.request?.body?.content?.['application/json'];
    const example = content && 'example' in content ? content.example : {};
    return [
      { path: definition.route.path, method: definition.route.method, example: Object(example) as object },
    ];
  });
  const junk = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom<unknown>(
      '\u0000',
      '\ud800',
      -1,
      1e308,
      2 ** 53,
      '',
      ' ',
      [],
      {},
      null,
      'A1',
      'BOX',
      '-80',
      true,
    ),
    fc.uuid(),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...posts),
      fc.dictionary(fc.string({ maxLength: 8 }), junk, { maxKeys: 2 }),
      fc.array(fc.tuple(fc.nat(), junk), { maxLength: 3 }),
      fc.oneof(fc.uuid(), fc.string({ minLength: 1, maxLength: 12 }).map(encodeURIComponent)),
      async ({ path, method, example }, extra, changes, id) => {
        const json: Record<string, unknown> = { ...example, ...extra };
        const keys = Object.keys(json);
        for (const [at, value] of changes) {
          const key = keys[at % keys.length];
          if (key !== undefined) json[key] = value;
        }
        const reply = await api.send({
          path: path.replaceAll(/\{[^}]+\}/g, id),
          method: method.toUpperCase() as 'POST',
          as: api.people.lab_administrator,
          json,
          headers: { 'if-match': '"1"' },
        });
        expect(reply.status).toBeLessThan(500);
        if (reply.status >= 400) expect(reply.headers.get('content-type')).toBe('application/problem+json');
      },
    ),
    { numRuns: 300 },
  );
});
