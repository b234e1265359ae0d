export const RUN_DUE = 'runDue';

export interface RunDueInput {
  readonly tenantId: string;
}

/** How a look at a due run ended; `later`: there was nothing to do yet, or somebody paused or cancelled it meanwhile. */
export type RunEnd = 'started' | 'refused' | 'missed' | 'unmet' | 'later';

/** How many of the runs that were due ended how; `failed` ones are looked at again by the next scan. */
export type RunDueReport = Readonly<Record<RunEnd | 'failed', number>>;
