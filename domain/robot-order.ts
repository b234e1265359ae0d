import type { Actor } from './actor.ts';

/** What a person tells a robot: whether it may work, never a motion. */
export type RobotOrder = {
  readonly actor: Actor;
  /** in the person's own words */
  readonly reason: string | null;
} & (
  | { readonly command: 'pause' | 'resume' | 'maintenance' }
  | { readonly command: 'clear'; readonly faultId: string }
);
