import type { JobInput } from './job.ts';

export const RETRIEVE_SAMPLE = 'retrieveSample';

/** Fetches one sample out of its position: by hand to the person, by robot to the hand-off and then to the person. */
export type RetrievalInput = JobInput;
