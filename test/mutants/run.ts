/**
 * npm run mutants [-- WORD]: breaks one rule at a time in a copy of the sources and demands that the tests named beside
 * it turn red. A mutant that survives means a rule nobody guards. Exits with 1 when one does.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MUTANTS, type Mutant } from './mutants.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const wanted = process.argv[2];
const chosen = MUTANTS.filter((mutant) => !wanted || `${mutant.invariant} ${mutant.name}`.includes(wanted));

const folder = mkdtempSync(join(tmpdir(), 'tracseq-mutants-'));
let survived = 0;
try {
  const copy = join(folder, 'main');
  const tracked = spawnSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' })
    .stdout.split('\0')
    .filter(Boolean);
  for (const file of tracked) cpSync(join(ROOT, file), join(copy, file), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  symlinkSync(join(dirname(ROOT.replace(/\/$/, '')), 'shared'), join(folder, 'shared'));

  const files = [...new Set(chosen.flatMap((mutant) => mutant.tests))];
  const healthy = vitest(copy, files);
  if (healthy.status !== 0) {
    console.error(healthy.text);
    throw new Error('the tests are red before anything is broken');
  }
  console.log(`green before: ${files.length} test files`);
  for (const mutant of chosen) {
    const restore = breakOne(copy, mutant);
    const run = vitest(copy, mutant.tests);
    restore();
    const killed = run.status !== 0 && /(Tests|Test Files)\s+.*\d+ failed/.test(run.text);
    if (!killed) survived += 1;
    console.log(`${killed ? 'killed  ' : 'SURVIVED'} invariant ${mutant.invariant}: ${mutant.name}`);
    if (!killed) console.log(run.text.slice(-3000));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${chosen.length - survived} of ${chosen.length} mutants killed`);
process.exit(survived === 0 ? 0 : 1);

function breakOne(copy: string, { file, from, to }: Mutant): () => void {
  const path = join(copy, file);
  const before = readFileSync(path, 'utf8');
  if (before.split(from).length !== 2) throw new Error(`${file} must hold this exactly once: ${from}`);
  writeFileSync(
    path,
    before.replace(from, () => to),
  );
  return () => writeFileSync(path, before);
}

function vitest(cwd: string, tests: readonly string[]): { status: number | null; text: string } {
  const run = spawnSync('npx', ['vitest', 'run', '--coverage.enabled=false', '--bail=1', ...tests], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
    maxBuffer: 64 * 1024 * 1024,
  });
  return { status: run.status, text: `${run.stdout}\n${run.stderr}` };
}
