import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Profiler } from 'node:inspector';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, expect, test } from 'vitest';
import { branchesOf } from '../workflows/taken-branches.ts';

const root = mkdtempSync(join(tmpdir(), 'tracseq-branches-'));
afterAll(() => rmSync(root, { recursive: true }));

/** Counts in a thread of its own: vitest may be counting in this one. */
const COUNTING = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { Session } = require('node:inspector/promises');
  const vm = require('node:vm');
  const run = async () => {
    const session = new Session();
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    await new vm.Script(workerData.code, { filename: 'planted.js' }).runInThisContext()();
    const { result } = await session.post('Profiler.takePreciseCoverage');
    parentPort.postMessage(result.find(({ url }) => url === 'planted.js').functions);
  };
  run();
`;

/** The branches that a body, run once, leaves out: \`line way\`. */
async function untakenOf(lines: readonly string[]): Promise<string[]> {
  mkdirSync(join(root, 'workflows'), { recursive: true });
  writeFileSync(join(root, 'workflows/planted.ts'), lines.join('\n'));
  const map = {
    version: 3,
    sources: ['workflows/planted.ts'],
    names: [],
    mappings: `;${lines.map((_, n) => (n === 0 ? 'AAAA' : 'AACA')).join(';')}`,
  };
  const body = `(() => { const modules = { "./workflows/planted.ts": async () => {\n${lines.join('\n')}\n} };`;
  const code = `${body} return modules["./workflows/planted.ts"]; })()`;
  const bundle = `${code}\n//# sourceMappingURL=data:application/json;base64,${Buffer.from(JSON.stringify(map)).toString('base64')}`;
  const thread = new Worker(COUNTING, { eval: true, workerData: { code: bundle } });
  const functions = await new Promise<Profiler.FunctionCoverage[]>((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', reject);
  });
  return branchesOf(bundle, functions, root, () => true)
    .filter(({ isTaken }) => !isTaken)
    .map(({ line, way }) => `${line} ${way}`);
}

test.each<[string, readonly string[], readonly string[]]>([
  ['a condition that held', ['const x = 1;', 'if (x === 1) x.toString();'], ['2 else']],
  ['one that did not', ['const x = 1;', 'if (x === 2) x.toString();'], ['2 if']],
  ['the way around a return', ['const x = 1;', 'if (x === 1) return;', 'x.toString();'], ['2 else']],
  ['a condition that was waited for', ['if (await Promise.resolve(true)) return;'], ['1 else']],
  ['both sides', ['for (const x of [1, 2]) if (x === 1) x.toString();', 'else x.valueOf();'], []],
  ['one of two values', ['const x = 1;', 'return x === 1 ? 2 : 3;'], ['2 no']],
  ['a right side', ['const x = 0;', 'return x && x.never();'], ['2 right of &&']],
  ['a left side that never decided', ['const x = 1;', 'return x && x.toString();'], ['2 left of && decides']],
  [
    'a case, also the last and empty one',
    ["switch ('a'.toString()) {", "case 'a': return;", "case 'b': return;", "case 'c':", '}'],
    ['3 case', '4 case'],
  ],
  [
    'a case that another one falls into',
    ["switch ('a'.toString()) {", "case 'a':", "case 'b':", 'return;', '}'],
    ['3 case'],
  ],
  ['a failure nobody met', ['try { Math.abs(1); }', 'catch { Math.abs(2); }'], ['2 catch']],
  ['a function nobody called', ['const never = () => 1;', 'return typeof never;'], ['1 function']],
  ['one that was only made', ['const make = () => () => 1;', 'return make();'], ['1 function']],
  ['a loop without a round', ['for (const x of []) x.never();'], ['1 loop']],
  [
    'what the compiler makes of ??',
    ['let y;', 'const x = 1;', 'return (y = x) !== null && y !== void 0 ? y : 2;'],
    ['3 nothing there'],
  ],
  [
    'what it makes of ?.',
    ['const x = null;', 'return x === null || x === void 0 ? void 0 : x.never;'],
    ['2 something there'],
  ],
])('names %s', async (_what, lines, untaken) => {
  await expect(untakenOf(lines)).resolves.toEqual(untaken);
});
