import type { Actor } from './actor.ts';

/** `safe_point`: after the turn under way; `now`: after the motion under way, the turn goes on when the robot is resumed. */
export type PauseWhen = 'now' | 'safe_point';

/** What a person tells a robot: whether it may work, never a motion. */
export type RobotOrder = {
  readonly actor: Actor;
  /** in the person's own words */
  readonly reason: string | null;
} & (
  | { readonly command: 'pause'; readonly when: PauseWhen }
  | { readonly command: 'resume' | 'maintenance' }
  | { readonly command: 'clear'; readonly faultId: string }
);
