import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CompactRange, leafHash, nodeHash, rootOf } from '../../domain/merkle.ts';
import { sharedData } from '../setup/shared-data.ts';

const vectors = sharedData('ledger/merkle/rfc6962_reference_tree.json');

describe.skipIf(vectors === null)(
  `RFC 6962 reference tree${vectors === null ? ' (skipped: ../shared/data/ledger is absent)' : ''}`,
  () => {
    const tree: { leaf_inputs_hex: string[]; root_by_size_hex: string[] } =
      vectors === null
        ? { leaf_inputs_hex: [], root_by_size_hex: [] }
        : JSON.parse(readFileSync(vectors, 'utf8'));

    it('has the expected root at each of its nine sizes', () => {
      const range = new CompactRange();
      const roots = [range.root().toString('hex')];
      for (const input of tree.leaf_inputs_hex) {
        range.append(leafHash(Buffer.from(input, 'hex')));
        roots.push(range.root().toString('hex'));
      }
      expect(roots).toHaveLength(9);
      expect(roots).toEqual(tree.root_by_size_hex);
    });
  },
);

/** MTH of RFC 6962 section 2.1, as the text defines it. */
function treeHash(leaves: readonly Buffer[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return createHash('sha256').digest();
  if (leaves.length === 1) return leafHash(only);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(treeHash(leaves.slice(0, split)), treeHash(leaves.slice(split)));
}

describe('compact range', () => {
  it('property: has the root that the definition gives, and one root a bit of its size', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 70 }), (inputs) => {
        const leaves = inputs.map((input) => Buffer.from(input));
        const range = new CompactRange();
        for (const leaf of leaves) range.append(leafHash(leaf));
        expect(range.size).toBe(leaves.length);
        expect(range.root().equals(treeHash(leaves))).toBe(true);
        expect(rootOf(range.roots).equals(range.root())).toBe(true);
        expect(range.roots).toHaveLength(leaves.length.toString(2).replaceAll('0', '').length);
      }),
    );
  });

  it('tells a leaf from an inner node: a leaf made of two hashes has another hash than their node', () => {
    const [left, right] = [leafHash(Buffer.of(1)), leafHash(Buffer.of(2))];
    expect(leafHash(Buffer.concat([left, right])).equals(nodeHash(left, right))).toBe(false);
  });
});
