import { join } from 'node:path';
import { expect, test } from 'vitest';
import { brokenProofs, ROOT } from '../setup/proofs.ts';
import { declaredTests } from '../setup/test-titles.ts';
import { CRASH_MATRIX, crashMatrixPage } from './crash-matrix.ts';

/** The points of the specification (devices reference 13.5), and terminate beside reset. */
const SPECIFIED = [
  'A worker dies in each state',
  'The gateway dies before SENT',
  'The gateway dies after SENT',
  'The gateway dies after the motion, before DONE',
  'The TCP connection is cut in the middle of a command',
  'The controller loses power while it holds a tube',
  'A reply of an old transaction comes late',
  'Two gateways: an old epoch, an old fence',
  'A reset in Temporal',
  'A terminate in Temporal',
  'A job is started twice',
  'A cancel in every state',
  'The operator answers twice, or for an old fault',
  'The broker is down',
  'The database is down after the motion',
];

test('every point of the specification is in the matrix, each with tests that show it', () => {
  expect(CRASH_MATRIX.map(({ point }) => point)).toEqual(SPECIFIED);
  expect(CRASH_MATRIX.filter(({ proofs }) => proofs.length === 0)).toEqual([]);
});

test('every test that the matrix names is there, and runs whatever the circumstances', () => {
  expect(brokenProofs(CRASH_MATRIX.flatMap(({ proofs }) => proofs))).toEqual([]);
});

test.each([
  ['it.skip("a", run)', true],
  ['test.todo("a")', true],
  ['it.fails("a", run)', true],
  ['it.skipIf(slow)("a", run)', true],
  ['it.runIf(slow).each(rows)("a", run)', true],
  ['it("a", { skip: true }, run)', true],
  ['it("a", ({ skip }) => context.skip("why"))', true],
  ['describe.skip("b", () => { it("a", run); })', true],
  ['describe.each(rows)("b", () => { it("a", run); })', false],
  ['test.concurrent.each(rows)("a", run)', false],
  ['it("a", { timeout: 1 }, run)', false],
])('%s: may be skipped: %s', (source, mayBeSkipped) => {
  expect(declaredTests('planted.ts', source)).toEqual([{ title: 'a', mayBeSkipped }]);
});

test('the page for readers says the same', async () => {
  await expect(crashMatrixPage()).toMatchFileSnapshot(join(ROOT, 'docs/crash-matrix.md'));
});
