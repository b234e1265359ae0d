import type { Actor } from '../../domain/actor.ts';

export const SCAN_RACK = 'scanRack';

/** Has a scanner read a rack; the scan's row stands already. */
export interface RackScanInput {
  readonly actor: Actor;
  readonly scanId: string;
}
