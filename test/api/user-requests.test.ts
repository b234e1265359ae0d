import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openApiDocument } from '../../api/openapi-document.ts';
import { brokenProofs, ROOT } from '../setup/proofs.ts';
import { FIRSTS, REQUESTS, userRequestsPage } from './user-requests.ts';

const ALL = [...REQUESTS, ...FIRSTS];

test('all seventeen requests and all ten firsts are there, each with a path and a test, or what is missing', () => {
  expect([REQUESTS.length, FIRSTS.length]).toEqual([17, 10]);
  expect(ALL.filter(({ endpoints, proofs }) => endpoints.length === 0 || proofs.length === 0)).toEqual([]);
});

test('every path that is named is in the OpenAPI document', async () => {
  const { paths } = (await openApiDocument()) as { paths: Record<string, Record<string, unknown>> };
  const absent = ALL.flatMap(({ endpoints }) => endpoints).filter((endpoint) => {
    const [method = '', path = ''] = endpoint.split(' ');
    return paths[path]?.[method.toLowerCase()] === undefined;
  });
  expect(absent).toEqual([]);
});

test('every test that is named is there, and runs whatever the circumstances', () => {
  expect(brokenProofs(ALL.flatMap(({ proofs }) => proofs))).toEqual([]);
});

test('the page for readers says the same', async () => {
  await expect(userRequestsPage()).toMatchFileSnapshot(join(ROOT, 'docs/user-requests.md'));
});
