import { describe, expect, test } from 'vitest';
import { ROLES } from '../../domain/actor.ts';
import { JOB_KINDS, JOB_STATES } from '../../domain/job.ts';
import { type Action, actionsOf, mayDo, PERMISSIONS, rolesInWords } from '../../domain/permissions.ts';
import { ZONE_NAMES } from '../../domain/zone.ts';
import { JobKindName, JobStateName, StoreSampleRequest } from '../../schemas/automation.ts';
import { RoleName } from '../../schemas/identity.ts';

const ACTIONS = Object.keys(PERMISSIONS) as Action[];

/** Read once by a person, line by line: who may do what in a laboratory. */
const TABLE: Readonly<Record<Action, string>> = {
  'session.own': 'A P T R D G',
  'location.read': 'A P T R D G',
  'location.edit': 'A P T - - -',
  'sample.read': 'A P T R D -',
  'exposure_budget.read': 'A P T R D -',
  'exposure_budget.edit': 'A P - - - -',
  'sample.place': 'A P T R - -',
  'sample.move': 'A P T R - -',
  'sample.retrieve': 'A P T R - -',
  'sample.verify': 'A P T R - -',
  'reservation.read': 'A P T R D -',
  'reservation.edit': 'A P T R - -',
  'barcode_scheme.edit': 'A P - - - -',
  'rack_scan.read': 'A P T R D -',
  'rack_scan.make': 'A P T R - -',
  'rack_scan.apply': 'A P T R - -',
  'scanner_profile.edit': 'A P T - - -',
  'rack_scanner.enrol': 'A - - - - -',
  'sample.edit': 'A P T R - -',
  'sample.use': 'A P T R - -',
  'sample.check_out': 'A P T R - -',
  'sample.hold': 'A P T - - -',
  'sample.dispose': 'A P T - - -',
  'sample.archive': 'A P T - - -',
  'consent.withdraw': 'A P - - - -',
  'bulk.import': 'A P T - - -',
  'bulk.read': 'A P T R D -',
  'bulk.undo': 'A P T - - -',
  'job.read': 'A P T R D -',
  'job.confirm': 'A P T R - -',
  'job.hand_over': 'A P T R - -',
  'job.decide': 'A P T - - -',
  'job.cancel': 'A P T R - -',
  'job.signal': 'A P T R - -',
  'deviation.read': 'A P T R D -',
  'deviation.close': 'A P - - - -',
  'picklist.read': 'A P T R D -',
  'picklist.order': 'A P T R - -',
  'picklist.cancel': 'A P T R - -',
  'schedule.read': 'A P T R D -',
  'schedule.edit': 'A P T R - -',
  'robot.read': 'A P T R D -',
  'robot.enrol': 'A - - - - -',
  'robot.inventory': 'A P T - - -',
  'robot.command': 'A - T - - -',
  'ledger.verify': 'A P - - D -',
};
const LETTERS = ['A', 'P', 'T', 'R', 'D', 'G'];

describe('permissions', () => {
  test.each(ACTIONS)('%s is for the roles the table says', (action) => {
    const allowed = ROLES.map((role, index) => (mayDo(role, action) ? LETTERS[index] : '-')).join(' ');
    expect(allowed).toBe(TABLE[action]);
  });

  test('an administrator may do everything, a guest changes nothing', () => {
    expect(actionsOf('lab_administrator')).toEqual(ACTIONS);
    expect(actionsOf('guest')).toEqual(['session.own', 'location.read']);
  });

  test('roles are told in words', () => {
    expect(rolesInWords('robot.enrol')).toBe('lab administrator');
    expect(rolesInWords('robot.command')).toBe('lab administrator or lab technician');
  });

  test('what crosses the boundary has the names the domain has', () => {
    expect(RoleName.options).toEqual([...ROLES]);
    expect(JobStateName.options).toEqual([...JOB_STATES]);
    expect(JobKindName.options).toEqual([...JOB_KINDS]);
    for (const zone of ZONE_NAMES) {
      expect(StoreSampleRequest.safeParse({ barcode: 'T', type: 'plasma', zone }).success).toBe(true);
    }
  });
});
