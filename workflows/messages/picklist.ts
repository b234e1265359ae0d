import type { PicklistEnd } from '../../domain/picklist.ts';

export const RUN_PICKLIST = 'runPicklist';

/** Works a picklist off. Everything it knows stands in Postgres: it may be started again at any time. */
export interface PicklistInput {
  readonly tenantId: string;
  readonly picklistId: string;
  /** events after which it continues as new, where not the preset: for tests */
  readonly maxHistory?: number;
}

export interface PicklistOutcome {
  readonly state: PicklistEnd;
}
