// npm run histories: plays every branch of the workflows and writes its history down in test/histories/.
// Until the first release a changed workflow re-records them, in a commit of its own that says why.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ensureDependencies, requireNode } from './install.mjs';

requireNode();
ensureDependencies((line) => console.log(`  dependencies   ${line}`));
const root = new URL('..', import.meta.url).pathname;
const folder = join(root, 'test', 'histories');
for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) rmSync(join(folder, file));
const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');
const { status } = spawnSync(
  process.execPath,
  [vitest, 'run', '--project', 'real', 'test/workflows/branches.test.ts'],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, RECORD_HISTORIES: 'true' },
  },
);
process.exit(status ?? 1);
