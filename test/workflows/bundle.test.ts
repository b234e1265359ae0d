import { readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { expect, test } from 'vitest';
import { workflowBundle } from '../setup/temporal.ts';

test('the workflow bundle holds no zod, nothing of Node, and nothing that does I/O', () => {
  const code = readFileSync(workflowBundle().codePath, 'utf8');
  // webpack names every module by its path
  const modules = [...code.matchAll(/^\/\*\*\*\/ "([^"]+)":?/gm)].map(([, path]) => path ?? '');
  expect(modules.some((path) => path.endsWith('/workflows/placement.ts'))).toBe(true);
  const forbidden =
    /node_modules\/(zod|pg|kysely|mqtt|modbus-serial|@temporalio\/(client|worker|activity))\//;
  expect(modules.filter((path) => forbidden.test(path))).toEqual([]);
  expect(modules.filter((path) => /\/(schemas|activities|db|devices|api|workers)\//.test(path))).toEqual([]);
  const builtins = new Set(builtinModules);
  expect(modules.filter((path) => builtins.has(path.replace(/^node:/, '')))).toEqual([]);
  expect(code).not.toMatch(/require\("node:/);
});
