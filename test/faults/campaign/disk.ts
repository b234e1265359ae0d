import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { until } from '../../../stack/processes.ts';

/** Sparse: what is not written takes no room. */
const SIZE = '6G';

/**
 * `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH` (fs/ext4/ext4.h): from this moment nothing more reaches the disk,
 * neither dirty pages nor the running transaction of the file system's journal. Perl, because Node has no ioctl.
 */
const SHUTDOWN =
  'open(F, "<", $ARGV[0]) or die $!; my $flags = pack("L", 2); ioctl(F, 0x8004587D, $flags) or die $!';

const CONTENT = 'x'.repeat(4_096);

/** A file system on an image of its own whose power can be cut: what nobody synced is gone then. */
export class Disk {
  /** where it is mounted */
  readonly folder: string;
  readonly #image: string;

  private constructor(folder: string, image: string) {
    this.folder = folder;
    this.#image = image;
  }

  /**
   * @param parent an existing folder
   * @returns the disk, or why this machine has none: a mount needs root, and a kernel that lets it
   */
  static make(parent: string): Disk | string {
    if (process.platform !== 'linux') return 'a file system whose power can be cut needs Linux';
    if (process.getuid?.() !== 0) return 'mounting a file system needs root';
    const image = join(parent, 'disk.img');
    const folder = join(parent, 'disk');
    mkdirSync(folder);
    const disk = new Disk(folder, image);
    try {
      run('truncate', '-s', SIZE, image);
      run('mkfs.ext4', '-q', '-F', image);
      disk.#mount();
    } catch (error) {
      return `this machine mounts no image: ${error instanceof Error ? error.message : String(error)}`;
    }
    chmodSync(folder, 0o755);
    return disk;
  }

  /** Writes everything out, as time does by itself in half a minute. */
  sync(): void {
    run('sync', '-f', this.folder);
  }

  cutPower(): void {
    const synced = openSync(join(this.folder, 'synced'), 'w');
    writeSync(synced, CONTENT);
    fsyncSync(synced);
    closeSync(synced);
    writeFileSync(join(this.folder, 'unsynced'), CONTENT);
    run('perl', '-e', SHUTDOWN, this.folder);
  }

  /**
   * Mounts it again, when nobody uses it any more; the file system recovers from its journal.
   * @throws Error when the power cut kept what it should have lost, or lost what it should have kept
   */
  async powerUp(): Promise<void> {
    await until('the end of all use of the disk', 60_000, () => this.#unmount());
    this.#mount();
    const [synced, unsynced] = ['synced', 'unsynced'].map((name) => {
      const file = join(this.folder, name);
      return existsSync(file) && readFileSync(file, 'utf8') === CONTENT;
    });
    if (!synced) throw new Error('the power cut took a file that was synced');
    if (unsynced) throw new Error('the power cut lost nothing: a file that nobody synced is still there');
  }

  async remove(): Promise<void> {
    await until('the end of all use of the disk', 60_000, () => this.#unmount());
    rmSync(this.#image);
  }

  #mount(): void {
    run('mount', '-o', 'loop', this.#image, this.folder);
  }

  #unmount(): boolean {
    return spawnSync('umount', [this.folder]).status === 0;
  }
}

function run(program: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}
