import canonicalize from 'canonicalize';

/** What may stand in a leaf, a record version or an event. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** Deeper than any record; a cycle runs into it. */
const MAX_DEPTH = 64;

/**
 * Canonical JSON by RFC 8785, refusing everything the canonicaliser would silently change: `undefined`, dates and other
 * objects with a class, holes in arrays, lone surrogates, and numbers other than integers within ±(2^53 − 1). Quantities
 * are integers in a small unit (m°C, ms) or strings.
 * @throws TypeError naming the place as a JSON pointer
 */
export function canonicalJson(value: JsonValue): string {
  assertStrictJson(value, '', 0);
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('the value has no JSON form');
  return text;
}

/** The UTF-8 bytes of {@link canonicalJson}: what is stored and hashed. */
export function canonicalBytes(value: JsonValue): Buffer {
  return Buffer.from(canonicalJson(value), 'utf8');
}

function assertStrictJson(value: unknown, pointer: string, depth: number): void {
  const refuse = (what: string): never => {
    throw new TypeError(`${pointer === '' ? 'the value' : pointer} ${what}`);
  };
  if (depth > MAX_DEPTH) refuse(`is nested more than ${MAX_DEPTH} deep`);
  switch (typeof value) {
    case 'boolean':
      return;
    case 'string':
      if (hasLoneSurrogate(value)) refuse('holds a lone surrogate');
      return;
    case 'number':
      if (!Number.isSafeInteger(value)) refuse(`is ${value}: numbers are integers within ±(2^53 − 1)`);
      return;
    case 'object':
      break;
    default:
      refuse(`is ${value === undefined ? 'undefined' : `a ${typeof value}`}: JSON has no such value`);
  }
  if (value === null || typeof value !== 'object') return;
  if (Array.isArray(value)) {
    // Not forEach: it would skip holes.
    for (let i = 0; i < value.length; i++) assertStrictJson(value[i], `${pointer}/${i}`, depth + 1);
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    refuse(`is a ${value.constructor.name}, not a plain object`);
  }
  for (const [key, member] of Object.entries(value)) {
    if (hasLoneSurrogate(key)) refuse('has a key with a lone surrogate');
    assertStrictJson(member, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, depth + 1);
  }
}

function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}
