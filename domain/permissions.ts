import type { Role } from './actor.ts';
import type { JobKind } from './job.ts';

const EVERYBODY = [
  'lab_administrator',
  'principal_investigator',
  'lab_technician',
  'research_scientist',
  'data_analyst',
  'guest',
] as const satisfies readonly Role[];
const MEMBERS = [
  'lab_administrator',
  'principal_investigator',
  'lab_technician',
  'research_scientist',
  'data_analyst',
] as const satisfies readonly Role[];
/** Those who handle tubes. */
const BENCH = [
  'lab_administrator',
  'principal_investigator',
  'lab_technician',
  'research_scientist',
] as const satisfies readonly Role[];
/** Those who answer for the store and what stands in it. */
const KEEPERS = [
  'lab_administrator',
  'principal_investigator',
  'lab_technician',
] as const satisfies readonly Role[];

/** Those who answer for quality: they set limits and close what went wrong. */
const QUALITY = ['lab_administrator', 'principal_investigator'] as const satisfies readonly Role[];

/** Who may do what: the only place that says so. Every route names one of these actions. */
export const PERMISSIONS = {
  'session.own': EVERYBODY,
  'location.read': EVERYBODY,
  'location.edit': KEEPERS,
  'sample.read': MEMBERS,
  'exposure_budget.read': MEMBERS,
  'exposure_budget.edit': QUALITY,
  'sample.place': BENCH,
  'sample.move': BENCH,
  'sample.retrieve': BENCH,
  'sample.verify': BENCH,
  'reservation.read': MEMBERS,
  'reservation.edit': BENCH,
  'barcode_scheme.edit': QUALITY,
  'rack_scan.read': MEMBERS,
  'rack_scan.make': BENCH,
  'rack_scan.apply': BENCH,
  'scanner_profile.edit': KEEPERS,
  'rack_scanner.enrol': ['lab_administrator'],
  'sample.edit': BENCH,
  'sample.use': BENCH,
  'sample.check_out': BENCH,
  'sample.hold': KEEPERS,
  'sample.dispose': KEEPERS,
  'sample.archive': KEEPERS,
  'consent.withdraw': QUALITY,
  'bulk.import': KEEPERS,
  'bulk.read': MEMBERS,
  'bulk.undo': KEEPERS,
  'job.read': MEMBERS,
  'job.confirm': BENCH,
  'job.hand_over': BENCH,
  'job.decide': KEEPERS,
  'job.cancel': BENCH,
  'job.signal': BENCH,
  'deviation.read': MEMBERS,
  'deviation.close': QUALITY,
  'picklist.read': MEMBERS,
  'picklist.order': BENCH,
  'picklist.cancel': BENCH,
  'schedule.read': MEMBERS,
  'schedule.edit': BENCH,
  'robot.read': MEMBERS,
  'robot.enrol': ['lab_administrator'],
  'robot.inventory': KEEPERS,
  'robot.command': ['lab_administrator', 'lab_technician'],
  'ledger.verify': ['lab_administrator', 'principal_investigator', 'data_analyst'],
} as const satisfies Readonly<Record<string, readonly Role[]>>;

export type Action = keyof typeof PERMISSIONS;

/** What somebody must be allowed to have such a job done. */
export const ACTION_OF_JOB = {
  placement: 'sample.place',
  retrieval: 'sample.retrieve',
  move: 'sample.move',
} as const satisfies Readonly<Record<JobKind, Action>>;

/** True when people of this role may do this. */
export function mayDo(role: Role, action: Action): boolean {
  const roles: readonly Role[] = PERMISSIONS[action];
  return roles.includes(role);
}

/** The roles that may do this, as people read them: `lab administrator or lab technician`. */
export function rolesInWords(action: Action): string {
  const names = PERMISSIONS[action].map((role) => role.replaceAll('_', ' '));
  return names.length === 1 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}

/** Everything a role may do. */
export function actionsOf(role: Role): Action[] {
  return (Object.keys(PERMISSIONS) as Action[]).filter((action) => mayDo(role, action));
}
