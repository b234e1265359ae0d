import { createHash } from 'node:crypto';

/**
 * The id of the n-th job of something that may be asked for again: a UUIDv7 with the given time, the rest made from a
 * seed, so that a repeat finds the job it made before.
 * @param ms time of the id, in ms since the epoch
 */
export function jobIdAt(ms: number, seed: Uint8Array, index: number): string {
  const time = ms.toString(16).padStart(12, '0');
  const rest = createHash('sha256').update(seed).update(`/${index}`).digest('hex');
  const variant = ((Number.parseInt(rest.charAt(3), 16) & 0x3) | 0x8).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${rest.slice(0, 3)}-${variant}${rest.slice(4, 7)}-${rest.slice(7, 19)}`;
}

/** The time of a UUIDv7, in ms since the epoch. */
export function timeOfId(id: string): number {
  return Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
}
