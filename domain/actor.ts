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

/**
 * Nobody: what a robot's controller reports, or a restored laboratory does not know any more, the system enters by itself. Its entries bear the nil UUID and a role that no
 * user can have, and name the device that saw it.
 */
export interface SystemActor extends Omit<Actor, 'role'> {
  readonly role: 'system';
}

/** The system in one laboratory. */
export function systemActor(tenantId: string): SystemActor {
  return { tenantId, userId: '00000000-0000-0000-0000-000000000000', role: 'system', stationId: null };
}
