import type { Confirmation, JobInput } from './job.ts';

/** Name under which the API starts it. */
export const PLACE_SAMPLE = 'placeSample';

/** Registers the sample when it is new, reserves a position, and sees it put there. */
export interface PlacementInput extends JobInput {
  /** the scan, when the tube was already put there (by hand) or into the hand-off (by robot) */
  readonly confirmation: Confirmation | null;
}
