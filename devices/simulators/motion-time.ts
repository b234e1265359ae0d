import type { Address } from './store-world.ts';

/** Durations in ms at speed 1, of a mid-sized automated store. */
const TRAVEL_MS = { cassette: 400, level: 60, slot: 15 } as const;
const LONGEST_TRAVEL_MS = 8000;

/** How long a carrier is on its way, in ms at speed 1. */
export function travel(from: Address, to: Address): number {
  const ms =
    Math.abs(from.cassette - to.cassette) * TRAVEL_MS.cassette +
    Math.abs(from.level - to.level) * TRAVEL_MS.level +
    Math.abs(from.slot - to.slot) * TRAVEL_MS.slot;
  return Math.min(ms, LONGEST_TRAVEL_MS);
}

/** Small seeded generator, so that a run can be repeated (T. Ettinger's mulberry32). */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
