/** The six roles. */
export const ROLES = [
  'lab_administrator',
  'principal_investigator',
  'lab_technician',
  'research_scientist',
  'data_analyst',
  'guest',
] as const;
export type Role = (typeof ROLES)[number];

/**
 * The user's id where no person acts: a restored laboratory that notes what it does not know any more, a comparison of
 * inventories that was due.
 */
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** The laboratory itself. No user has its id. */
export function systemActor(tenantId: string): Actor {
  return { tenantId, userId: NOBODY, role: 'lab_administrator', stationId: null };
}

/** Who does something, and where: on every change and in every workflow input. */
export interface Actor {
  readonly tenantId: string;
  readonly userId: string;
  readonly role: Role;
  /** the enrolled station, when the token was obtained at one */
  readonly stationId: string | null;
}
