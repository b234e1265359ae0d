import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Path of a file of the shared test data, which lies beside the project; null when it is absent, and then the tests that
 * need it are skipped. Under CI=true that is an error.
 */
export function sharedData(path: string): string | null {
  const file = fileURLToPath(new URL(`../../../shared/data/${path}`, import.meta.url));
  if (existsSync(file)) return file;
  if (process.env.CI === 'true') throw new Error(`${file} is absent: under CI=true nothing is skipped`);
  return null;
}
