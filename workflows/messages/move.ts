import type { JobInput } from './job.ts';

export const MOVE_SAMPLES = 'moveSamples';

/** Moves one tube from its position to another. */
export type MoveInput = JobInput;
