import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { LAYERS, mistakesOf } from '../setup/imports.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** TypeScript sources of a layer, as paths below the root. */
function sourcesOf(layer: string): string[] {
  if (!existsSync(join(ROOT, layer))) return [];
  return readdirSync(join(ROOT, layer), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.[cm]?ts$/.test(path))
    .map((path) => `${layer}/${path.replaceAll('\\', '/')}`);
}

test('imports go one way', () => {
  const files = Object.keys(LAYERS).flatMap(sourcesOf);
  expect(files).toContain('workflows/placement.ts');
  const mistakes = files.flatMap((file) => mistakesOf(ROOT, file, readFileSync(join(ROOT, file), 'utf8')));
  expect(mistakes).toEqual([]);
});

describe('a planted violation is found:', () => {
  test.each([
    ['a value', 'domain/planted.ts', "import { readJob } from '../db/jobs.ts';", 'domain may not import db'],
    [
      'a type',
      'domain/planted.ts',
      "import type { StepRef } from '../activities/contract.ts';",
      'domain may not import activities',
    ],
    [
      'an inline type',
      'domain/planted.ts',
      "import { type JobInput } from '../workflows/messages/job.ts';",
      'domain may not import workflows',
    ],
    [
      'a type named in place',
      'domain/planted.ts',
      "export let ref: import('../activities/contract.ts').StepRef;",
      'domain may not import activities',
    ],
    ['a side effect', 'domain/planted.ts', "import '../db/jobs.ts';", 'domain may not import db'],
    ['a dynamic import', 'domain/planted.ts', "await import('../db/jobs.ts');", 'domain may not import db'],
    ['a computed import', 'domain/planted.ts', "await import('../' + layer);", 'computed'],
    ['a require', 'db/planted.ts', "require('../workflows/ids.ts');", 'db may not import workflows'],
    [
      'a re-export',
      'domain/planted.ts',
      "export { jobById } from '../db/jobs.ts';",
      'domain may not import db',
    ],
    ['a re-export of all', 'domain/planted.ts', "export * from '../db/jobs.ts';", 'domain may not import db'],
    [
      'a re-export of a type',
      'db/planted.ts',
      "export type { StepRef } from '../activities/contract.ts';",
      'db may not import activities',
    ],
    ['an unresolvable path', 'db/planted.ts', "import { gone } from '../domain/gone.ts';", 'does not exist'],
    ['a path without its ending', 'db/planted.ts', "import { Job } from '../domain/job';", 'does not exist'],
    [
      'a sibling',
      'db/planted.ts',
      "import { x } from '../devices/store-robot.ts';",
      'db may not import devices',
    ],
    ['I/O in a decision', 'domain/planted.ts', "import { readFileSync } from 'node:fs';", 'node:fs'],
    [
      'a schema as a value in domain',
      'domain/planted.ts',
      "import { environment } from '../schemas/environment.ts';",
      'domain may import schemas as types only',
    ],
    [
      'a schema as an inline type in a workflow',
      'workflows/planted.ts',
      "import { type Environment } from '../schemas/environment.ts';",
      'workflows may import schemas as types only',
    ],
    [
      'an activity as a value in a workflow',
      'workflows/planted.ts',
      "import { StepRef } from '../activities/contract.ts';",
      'workflows may import activities as types only',
    ],
    [
      'Node in a workflow',
      'workflows/planted.ts',
      "import { randomUUID } from 'crypto';",
      'may not import crypto',
    ],
    ['a package in a workflow', 'workflows/planted.ts', "import type { z } from 'zod';", 'the package zod'],
    [
      'workflow code in the API',
      'api/planted.ts',
      "import { placeSample } from '../workflows/placement.ts';",
      'api may not import workflows/placement.ts',
    ],
    [
      'an activity in the API',
      'api/routes/planted.ts',
      "import type { StepRef } from '../../activities/contract.ts';",
      'api may not import activities',
    ],
  ])('%s', (_what, file, source, complaint) => {
    expect(mistakesOf(ROOT, file, source).join('\n')).toContain(complaint);
  });

  test.each([
    ['workflows/planted.ts', "import type { StepRef } from '../activities/contract.ts';"],
    ['workflows/planted.ts', "import { ERRORS } from '../domain/errors.ts';"],
    ['api/planted.ts', "import { workflowIds } from '../workflows/ids.ts';"],
    ['api/planted.ts', "import { confirmUpdate } from '../workflows/messages/job.ts';"],
    ['activities/planted.ts', "import { sql } from 'kysely';"],
  ])('but what is allowed is not: %s %s', (file, source) => {
    expect(mistakesOf(ROOT, file, source)).toEqual([]);
  });
});
