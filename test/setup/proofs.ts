import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { declaredTests } from './test-titles.ts';

/** Where files are named from. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** A test that shows something a page says. */
export interface Proof {
  /** below the root */
  readonly file: string;
  /** the first argument of its `it` or `test`, as it stands in the source */
  readonly title: string;
}

/** Names tests of a file below `test/`: `of('api/bulk')('is text/csv or a workbook')`. */
export const of =
  (file: string) =>
  (...titles: string[]): Proof[] =>
    titles.map((title) => ({ file: `test/${file}.test.ts`, title }));

/** Tests that are named and not there, or that circumstances may skip; each in a sentence. */
export function brokenProofs(proofs: readonly Proof[]): string[] {
  const declared = new Map(
    [...new Set(proofs.map(({ file }) => file))].map((file) => [
      file,
      declaredTests(file, readFileSync(join(ROOT, file), 'utf8')),
    ]),
  );
  return proofs.flatMap(({ file, title }) => {
    const found = declared.get(file)?.filter((each) => each.title === title) ?? [];
    if (found.length === 0) return `${file} has no test "${title}"`;
    return found.some(({ mayBeSkipped }) => mayBeSkipped) ? `${file}: "${title}" may be skipped` : [];
  });
}
