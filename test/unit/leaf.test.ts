import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AGGREGATES } from '../../domain/events.ts';
import { commit, decodeLeaf, encodeContent, encodeLeaf, type Leaf, sha256Hex } from '../../domain/leaf.ts';
import { REASONS } from '../../domain/reasons.ts';

const LEAF: Leaf = {
  v: 1,
  log: '01900000-0000-7000-8000-000000000001',
  event_id: '01900000-0000-7000-8000-000000000002',
  type: 'storage.sample.placed',
  aggregate: 'sample',
  aggregate_id: '01900000-0000-7000-8000-000000000003',
  version: 2,
  from: 'person:01900000-0000-7000-8000-000000000004',
  to: 'position:01900000-0000-7000-8000-000000000005',
  actor: '01900000-0000-7000-8000-000000000004',
  role: 'lab_technician',
  device: null,
  occurred_at: '2026-11-21T04:00:00.000Z',
  recorded_at: '2026-11-21T04:00:00.120Z',
  reason: 'placement',
  payload_sha256: sha256Hex(encodeContent({ before: null, after: null, comment: null })),
};

describe('leaf', () => {
  it('keeps the bytes of version 1: a change of these bytes would be another format', () => {
    expect(encodeLeaf(LEAF).toString('utf8')).toBe(
      '{"actor":"01900000-0000-7000-8000-000000000004","aggregate":"sample",' +
        '"aggregate_id":"01900000-0000-7000-8000-000000000003","device":null,' +
        '"event_id":"01900000-0000-7000-8000-000000000002",' +
        '"from":"person:01900000-0000-7000-8000-000000000004","log":"01900000-0000-7000-8000-000000000001",' +
        '"occurred_at":"2026-11-21T04:00:00.000Z",' +
        '"payload_sha256":"bc26be194b05a6bce2bad3059f3100315e703cf9d591d9ebf11ce848ba647954",' +
        '"reason":"placement","recorded_at":"2026-11-21T04:00:00.120Z","role":"lab_technician",' +
        '"to":"position:01900000-0000-7000-8000-000000000005","type":"storage.sample.placed","v":1,"version":2}',
    );
  });

  it('reads back what it wrote', () => {
    expect(decodeLeaf(encodeLeaf(LEAF))).toEqual(LEAF);
  });

  it('refuses a leaf longer than a log entry can be', () => {
    expect(() => encodeLeaf({ ...LEAF, device: 'x'.repeat(65_536) })).toThrow(RangeError);
  });

  const encoded = encodeLeaf(LEAF).toString('utf8');
  const cases: [string, Uint8Array, RegExp][] = [
    ['other bytes of the same JSON', Buffer.from(encoded.replace(':', ': ')), /not in canonical form/],
    ['a key twice', Buffer.from(encoded.replace('{', '{"v":1,')), /not in canonical form/],
    ['an unknown field', Buffer.from(encoded.replace('{', '{"a":1,')), /does not know/],
    ['a missing field', Buffer.from(encoded.replace('"device":null,', '')), /has no device/],
    ['another version', Buffer.from(encoded.replace('"v":1', '"v":2')), /version 2/],
    ['a byte order mark', Buffer.from(`\ufeff${encoded}`), /not JSON/],
    ['bytes that are not UTF-8', Buffer.of(0xff), /not JSON in UTF-8/],
    ['a list', Buffer.from('[]'), /has no v/],
    ['a number', Buffer.from('1'), /not a JSON object/],
    ['null', Buffer.from('null'), /not a JSON object/],
  ];
  for (const [what, bytes, message] of cases) {
    it(`refuses to read ${what}`, () => {
      expect(() => decodeLeaf(bytes)).toThrow(message);
    });
  }
});

describe('commitment', () => {
  const format = readFileSync(new URL('../../docs/formats/leaf-v1.md', import.meta.url), 'utf8');

  it('is the one that docs/formats/leaf-v1.md gives as an example', () => {
    const commitment = commit(Buffer.alloc(32), 'barcode', 'TUBE-1').toString('hex');
    expect(commitment).toBe('42bb531187fd2b5ad9d0248acce3c9095d740db10ec621b95e68068f241f8b69');
    expect(format).toContain(`\`${commitment}\``);
  });

  it('property: binds to salt, field and value', () => {
    const salt = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const input = fc.tuple(salt, fc.stringMatching(/^[A-Za-z][A-Za-z0-9_]*$/), fc.string());
    fc.assert(
      fc.property(input, input, (one, other) => {
        const same = sha256Hex(one[0]) === sha256Hex(other[0]) && one[1] === other[1] && one[2] === other[2];
        expect(commit(...one).equals(commit(...other))).toBe(same);
      }),
    );
  });

  it('refuses a salt of another length and a field that could be read two ways', () => {
    expect(() => commit(Buffer.alloc(16), 'barcode', 'x')).toThrow(RangeError);
    expect(() => commit(Buffer.alloc(32), 'bar\0code', 'x')).toThrow(RangeError);
    expect(() => commit(Buffer.alloc(32), '', 'x')).toThrow(RangeError);
  });

  it('docs/formats/leaf-v1.md lists the fields, reason codes and kinds of record that the code knows', () => {
    const firstColumn = (heading: string) =>
      [
        ...(format.split(`## ${heading}`)[1]?.split('\n## ')[0] ?? '').matchAll(
          /^\| ((?:`[a-z_0-9]+`(?:, )?)+) \|/gm,
        ),
      ]
        .flatMap((row) => [...(row[1] ?? '').matchAll(/`([a-z_0-9]+)`/g)])
        .map((name) => name[1]);
    expect(firstColumn('Reason codes')).toEqual([...REASONS]);
    expect(firstColumn('Bytes').sort()).toEqual(Object.keys(LEAF).sort());
    const kinds = /`aggregate` \| kind of record: (.*) \|/.exec(format)?.[1];
    expect(kinds?.split(', ')).toEqual(AGGREGATES.map((aggregate) => `\`${aggregate}\``));
  });
});
