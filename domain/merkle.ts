import { createHash } from 'node:crypto';

/** Hash of a leaf, RFC 6962 section 2.1: SHA-256(0x00 ‖ leaf). */
export function leafHash(leaf: Uint8Array): Buffer {
  return createHash('sha256').update(LEAF).update(leaf).digest();
}

/** Hash of an inner node, RFC 6962 section 2.1: SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest();
}

const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);
/** Root of the tree without leaves: the hash of nothing. */
const EMPTY_ROOT = createHash('sha256').digest();

/**
 * A growing tree, kept as the roots of its perfect subtrees, largest first: at most 53 hashes however many leaves. The
 * same bytes as `ledger.log.frontier`.
 */
export class CompactRange {
  #size = 0;
  readonly #roots: Buffer[] = [];

  /** Number of leaves. */
  get size(): number {
    return this.#size;
  }

  /** Roots of the perfect subtrees, largest first. */
  get roots(): readonly Buffer[] {
    return this.#roots;
  }

  /** Adds the hash of the next leaf. */
  append(hash: Buffer): void {
    let joined = hash;
    // Each trailing one bit of the size is a subtree as large as the one just completed.
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      const left = this.#roots.pop();
      if (left === undefined) throw new Error('the compact range has fewer roots than its size has bits');
      joined = nodeHash(left, joined);
    }
    this.#roots.push(joined);
    this.#size += 1;
  }

  /** Root of the tree so far. */
  root(): Buffer {
    return rootOf(this.#roots);
  }
}

/** Root of the tree whose perfect subtrees have these roots, largest first. */
export function rootOf(roots: readonly Uint8Array[]): Buffer {
  const [smallest, ...larger] = [...roots].reverse();
  if (smallest === undefined) return EMPTY_ROOT;
  return larger.reduce<Buffer>((right, left) => nodeHash(left, right), Buffer.from(smallest));
}
