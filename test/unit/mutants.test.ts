import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { MUTANTS } from '../mutants/mutants.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

describe('the mutants', () => {
  it('break each invariant that a mutant can break', () => {
    expect(new Set(MUTANTS.map((mutant) => mutant.invariant))).toEqual(new Set([1, 2, 3, 4, 5, 6, 7]));
  });

  it.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
    '%s: still fits the sources',
    (_, mutant) => {
      const found = readFileSync(join(ROOT, mutant.file), 'utf8').split(mutant.from).length - 1;
      expect(found, `${mutant.file} must hold the text to break exactly once`).toBe(1);
      for (const test of mutant.tests) expect(existsSync(join(ROOT, test)), test).toBe(true);
    },
  );
});
