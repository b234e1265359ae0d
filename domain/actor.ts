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

/** Who does something, and where: on every change and in every workflow input. */
export interface Actor {
  readonly tenantId: string;
  readonly userId: string;
  readonly role: Role;
  /** the enrolled station, when the token was obtained at one */
  readonly stationId: string | null;
}
