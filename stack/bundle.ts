import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Bundles the workflows, so that a worker that is started again need not; does nothing when nothing has changed since
 * it did. A process of its own, because the bundler keeps the memory it took.
 *   tsx stack/bundle.ts FILE
 */
const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** All that workflow code may import of this project, and the lockfile for all else. */
const SOURCES = ['workflows', 'domain', 'schemas', 'package-lock.json'];

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error('usage: stack/bundle.ts FILE');
const digest = digestOf(SOURCES);
const note = `${file}.sha256`;
if (!existsSync(file) || !existsSync(note) || readFileSync(note, 'utf8') !== digest) {
  // Loaded here alone: the bundler takes longer to load than all the rest takes to run.
  const { bundleWorkflowCode, DefaultLogger } = await import('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(ROOT, 'workflows', 'index.ts'),
    logger: new DefaultLogger('WARN'),
  });
  writeFileSync(`${file}.new`, code);
  renameSync(`${file}.new`, file);
  writeFileSync(note, digest);
}
console.log(JSON.stringify({ ready: true, digest }));

function digestOf(sources: readonly string[]): string {
  const hash = createHash('sha256');
  const add = (path: string) => hash.update(path).update(readFileSync(join(ROOT, path)));
  for (const source of sources) {
    if (source.includes('.')) add(source);
    else
      for (const path of readdirSync(join(ROOT, source), { recursive: true, encoding: 'utf8' }).sort()) {
        if (path.endsWith('.ts')) add(join(source, path));
      }
  }
  return hash.digest('hex');
}
