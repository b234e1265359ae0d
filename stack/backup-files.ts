import { createHash } from 'node:crypto';
import { createReadStream, existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { type FileHandle, mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BackupManifest } from '../schemas/backup.ts';

/** A file of a backup as its manifest lists it. */
export type BackupFile = BackupManifest['files'][number];

export const MANIFEST = 'manifest.json';

/**
 * Copies a file for its owner alone, onto the disk.
 * @returns what was copied, by its hash; undefined when there is no such file (any more)
 */
export async function copyFile(from: string, to: string): Promise<Omit<BackupFile, 'path'> | undefined> {
  let source: FileHandle;
  try {
    source = await open(from, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    const target = await open(to, 'wx', 0o600);
    try {
      for await (const chunk of source.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
        hash.update(chunk);
        bytes += chunk.length;
        await target.writeFile(chunk);
      }
      await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Writes a file for its owner alone, onto the disk. */
export async function writeSynced(path: string, content: string | Buffer): Promise<Omit<BackupFile, 'path'>> {
  const target = await open(path, 'wx', 0o600);
  try {
    await target.writeFile(content);
    await target.sync();
  } finally {
    await target.close();
  }
  return {
    bytes: Buffer.byteLength(content),
    sha256: createHash('sha256').update(content).digest('hex'),
  };
}

/** Makes the names in a folder outlive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Reads a backup's manifest.
 * @throws Error when there is none, or it is not one
 */
export function readManifest(folder: string): BackupManifest {
  const file = join(folder, MANIFEST);
  if (!existsSync(file)) {
    throw new Error(
      `${folder} is no backup: it has no ${MANIFEST}. npm run backup writes one, and says where.`,
    );
  }
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new Error(`${file} is not JSON: the backup is damaged, take another.`, { cause });
  }
  const parsed = BackupManifest.safeParse(content);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(
    `${file} is not a manifest of a backup: ${issue?.path.join('.')} ${issue?.message}. Take another backup.`,
  );
}

/**
 * Holds every file of a backup against its manifest.
 * @throws Error naming the first file that is missing, strange or different
 */
export async function verifyFiles(folder: string, manifest: BackupManifest): Promise<void> {
  const expected = new Map(manifest.files.map((file) => [file.path, file]));
  for (const path of filesBelow(folder)) {
    if (path !== MANIFEST && !expected.has(path)) {
      throw new Error(`${join(folder, path)} is not in the manifest: the backup was changed, take another.`);
    }
  }
  for (const { path, bytes, sha256 } of manifest.files) {
    const file = join(folder, path);
    if (!existsSync(file)) throw new Error(`${file} is missing: the backup is incomplete, take another.`);
    const found = await hashOf(file);
    if (found.bytes !== bytes || found.sha256 !== sha256) {
      throw new Error(`${file} is not the file that was backed up: the backup is damaged, take another.`);
    }
  }
}

async function hashOf(file: string): Promise<Omit<BackupFile, 'path'>> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Paths of the files below a folder, relative to it. */
function filesBelow(folder: string, inside = ''): string[] {
  return readdirSync(join(folder, inside)).flatMap((name) => {
    const path = inside === '' ? name : `${inside}/${name}`;
    return lstatSync(join(folder, path)).isDirectory() ? filesBelow(folder, path) : [path];
  });
}

/** The same content twice in a row: a small file that the server writes as a whole. */
export async function settledContent(path: string): Promise<Buffer> {
  for (let before = await readFile(path); ; ) {
    const now = await readFile(path);
    if (now.equals(before)) return now;
    before = now;
  }
}
