// npm test: installs what is missing, then runs everything that guards a change. --all adds the long campaigns.
// Further arguments go to vitest: npm test -- test/stack
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureDependencies, requireNode } from './install.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const all = process.argv.includes('--all');
const forVitest = process.argv.slice(2).filter((argument) => argument !== '--all');

requireNode();
ensureDependencies((line) => console.log(`dependencies: ${line}`));

const { register } = await import('tsx/esm/api');
register();
const { findTemporal } = await import('./temporal-binary.ts');
const temporal = await findTemporal(process.env.TEMPORAL_CLI_PATH || null, (line) => console.log(line));
process.env.TEMPORAL_CLI_PATH = temporal.path;
console.log(`Temporal: server ${temporal.version}`);

const program = (name) => join(root, 'node_modules', '.bin', name);

const projects = ['unit', 'real', ...(all ? ['long'] : [])].flatMap((name) => ['--project', name]);
// Coverage of a part of the tests would only say that it is a part.
const coverage = forVitest.length > 0 ? [] : ['--coverage'];
const steps = [
  ['types', 'tsc', ['--noEmit']],
  ['style', 'biome', ['check', '.']],
  ['unused code', 'knip', []],
  ['tests', 'vitest', ['run', ...projects, ...coverage, ...forVitest]],
];

if (all) {
  // The same workflows on the server of the production shape: PostgreSQL below it, mutual TLS in front.
  const cluster = { TEST_TEMPORAL: 'cluster' };
  steps.push(['workflows on the cluster', 'vitest', ['run', '--project', 'real', 'test/workflows'], cluster]);
  // A whole laboratory that works on while its parts are killed and its power is cut.
  steps.push(['campaign', 'tsx', ['test/faults/campaign/run.ts', '--sagas', '1000', '--kills', '500']]);
  // Each rule broken on purpose, one by one: the tests beside it must turn red.
  steps.push(['mutants', 'tsx', ['test/mutants/run.ts']]);
}

const failed = [];
for (const [name, command, args, env] of steps) {
  console.log(`\n── ${name}`);
  const since = Date.now();
  const { status } = spawnSync(program(command), args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  const seconds = ((Date.now() - since) / 1000).toFixed(0);
  console.log(`── ${name}: ${status === 0 ? 'passed' : 'FAILED'} after ${seconds} s`);
  if (status !== 0) failed.push(name);
}
console.log(failed.length === 0 ? '\nAll passed.' : `\nFailed: ${failed.join(', ')}`);
process.exit(failed.length === 0 ? 0 : 1);
