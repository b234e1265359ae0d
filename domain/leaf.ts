import { createHash } from 'node:crypto';
import type { Role } from './actor.ts';
import { canonicalBytes, type JsonValue } from './canonical.ts';
import type { Aggregate, EventType } from './events.ts';
import type { ReasonCode } from './reasons.ts';

/** Fields of a ledger leaf, version 1: docs/formats/leaf-v1.md. Final: a change of it is a version 2. */
export interface Leaf {
  readonly v: 1;
  /** the tenant, whose log it is */
  readonly log: string;
  readonly event_id: string;
  readonly type: EventType;
  readonly aggregate: Aggregate;
  readonly aggregate_id: string;
  /** the record's version after the change */
  readonly version: number;
  /** state or custody before and after, as labels without free text; null where the record has none */
  readonly from: string | null;
  readonly to: string | null;
  /** who: the user's id; the nil UUID and `system` for what nobody did */
  readonly actor: string;
  readonly role: Role | 'system';
  /** where: `station:<id>` or another device's label; null when unknown */
  readonly device: string | null;
  /** RFC 3339, UTC, milliseconds */
  readonly occurred_at: string;
  readonly recorded_at: string;
  readonly reason: ReasonCode;
  /** lower-case hex SHA-256 of the record version's content */
  readonly payload_sha256: string;
}

/** A leaf has to fit a tlog-tiles entry, whose length is a uint16 (C2SP tlog-tiles). */
const MAX_LEAF_BYTES = 65_535;

const FIELDS = [
  'v',
  'log',
  'event_id',
  'type',
  'aggregate',
  'aggregate_id',
  'version',
  'from',
  'to',
  'actor',
  'role',
  'device',
  'occurred_at',
  'recorded_at',
  'reason',
  'payload_sha256',
] as const satisfies readonly (keyof Leaf)[];

/**
 * The bytes of a leaf: RFC 8785.
 * @throws TypeError when a field cannot be encoded, RangeError when it is longer than 65,535 bytes
 */
export function encodeLeaf(leaf: Leaf): Buffer {
  const bytes = canonicalBytes({ ...leaf });
  if (bytes.length > MAX_LEAF_BYTES) {
    throw new RangeError(
      `a leaf of ${bytes.length} bytes exceeds the ${MAX_LEAF_BYTES} a log entry can hold`,
    );
  }
  return bytes;
}

/**
 * Reads stored leaf bytes, for comparison with what they stand for. Bytes that are not exactly what {@link encodeLeaf}
 * writes are refused: a leaf is verified as stored, never re-made.
 * @throws TypeError saying what is wrong
 */
export function decodeLeaf(bytes: Uint8Array): Readonly<Record<keyof Leaf, string | number | null>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw new TypeError('the leaf is not JSON in UTF-8', { cause });
  }
  if (typeof parsed !== 'object' || parsed === null) throw new TypeError('the leaf is not a JSON object');
  const found = new Map<string, unknown>(Object.entries(parsed));
  const fields: Partial<Record<keyof Leaf, string | number | null>> = {};
  for (const name of FIELDS) {
    const value = found.get(name);
    if (typeof value !== 'string' && typeof value !== 'number' && value !== null) {
      throw new TypeError(`the leaf has no ${name}, or it is not a string, number or null`);
    }
    fields[name] = value;
  }
  if (found.size !== FIELDS.length) throw new TypeError('the leaf has fields that version 1 does not know');
  if (!canonicalBytes(fields as Record<keyof Leaf, string | number | null>).equals(bytes)) {
    throw new TypeError('the leaf is not in canonical form');
  }
  if (fields.v !== 1) throw new TypeError(`the leaf has version ${fields.v}, not 1`);
  return fields as Record<keyof Leaf, string | number | null>;
}

/** What a record version holds: the record's fields before and after the change. Null: there was, or is, none. */
export interface RecordContent {
  readonly before: Readonly<Record<string, JsonValue>> | null;
  readonly after: Readonly<Record<string, JsonValue>> | null;
  /** why, in the person's own words: always a commitment */
  readonly comment: Commitment | null;
}

/** Stands for a value that can be erased: the value and its salt lie outside, in `erasable_value`. */
export interface Commitment {
  readonly commitment: string;
}

/** The bytes of a record version; their SHA-256 is the leaf's `payload_sha256`. */
export function encodeContent(content: RecordContent): Buffer {
  return canonicalBytes({
    before: content.before,
    after: content.after,
    comment: content.comment === null ? null : { commitment: content.comment.commitment },
  });
}

/** Lower-case hex SHA-256. */
export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes of salt in a commitment. */
export const SALT_BYTES = 32;
const COMMITMENT_TAG = 'tracseq/commitment/v1';

/**
 * Commitment to one value of one field, which hides the value as long as the salt is unknown and binds to it once it is:
 * SHA-256("tracseq/commitment/v1" ‖ 0x00 ‖ salt ‖ field ‖ 0x00 ‖ value), field and value in UTF-8.
 * @param salt 32 random bytes, used for this value only
 * @param field the field's name, letters, digits and underscore
 * @throws RangeError for a salt of another length or a field name that could be read two ways
 */
export function commit(salt: Uint8Array, field: string, value: string): Buffer {
  if (salt.length !== SALT_BYTES) throw new RangeError(`a salt has ${SALT_BYTES} bytes, not ${salt.length}`);
  if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(field)) throw new RangeError(`"${field}" is not a field name`);
  return createHash('sha256')
    .update(`${COMMITMENT_TAG}\0`)
    .update(salt)
    .update(`${field}\0`)
    .update(value)
    .digest();
}
