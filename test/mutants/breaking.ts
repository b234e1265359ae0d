import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** One text replaced by another. */
export interface Edit {
  readonly file: string;
  /** text that the file holds exactly once, and what it becomes */
  readonly from: string;
  readonly to: string;
}

/** The project's own sources, to be broken without touching them. */
export class Copy {
  readonly folder: string;
  readonly #parent: string;

  constructor() {
    this.#parent = mkdtempSync(join(tmpdir(), 'tracseq-mutants-'));
    chmodSync(this.#parent, 0o755); // PostgreSQL may run as another user
    this.folder = join(this.#parent, 'main');
    const tracked = spawnSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' })
      .stdout.split('\0')
      .filter(Boolean);
    for (const file of tracked) {
      // With its time: a lockfile younger than what is installed would be installed.
      cpSync(join(ROOT, file), join(this.folder, file), { recursive: true, preserveTimestamps: true });
    }
    symlinkSync(join(ROOT, 'node_modules'), join(this.folder, 'node_modules'));
    symlinkSync(join(dirname(ROOT.replace(/\/$/, '')), 'shared'), join(this.#parent, 'shared'));
  }

  /** Breaks the copy, sees what that does, and repairs it. @throws Error when a text is not there, or more than once */
  broken<T>(edits: readonly Edit[], see: () => T): T {
    const before = new Map<string, string>();
    try {
      for (const { file, from, to } of edits) {
        const path = join(this.folder, file);
        const text = readFileSync(path, 'utf8');
        if (text.split(from).length !== 2) throw new Error(`${file} must hold this exactly once: ${from}`);
        if (!before.has(path)) before.set(path, text);
        writeFileSync(
          path,
          text.replace(from, () => to),
        );
      }
      return see();
    } finally {
      for (const [path, text] of before) writeFileSync(path, text);
    }
  }

  remove(): void {
    rmSync(this.#parent, { recursive: true, force: true });
  }
}
