import { describe, expect, test } from 'vitest';
import { type FaultKind, type OpenFault, offeredAnswers, refusalOfAnswer } from '../../domain/fault.ts';

const open: OpenFault = { faultId: 'f1', kind: 'outcome_unknown', hasRobot: true };
const answer = {
  faultId: 'f1',
  answer: 'at_source',
  next: 'release',
  robotFit: true,
  lockedOut: true,
} as const;

describe('an answer of the operator', () => {
  test('is taken for the fault that is open', () => {
    expect(refusalOfAnswer(open, answer)).toBeNull();
    expect(refusalOfAnswer(open, { ...answer, answer: 'with_me', robotFit: false })).toBeNull();
  });

  test('is refused when nothing is asked, or for another fault', () => {
    expect(refusalOfAnswer(null, answer)?.code).toBe('NOT_WAITING');
    const stale = refusalOfAnswer(open, { ...answer, faultId: 'f0' });
    expect(stale).toMatchObject({ code: 'STALE_ANSWER', facts: { faultId: 'f1' } });
  });

  test('to try again is for a stuck compensation alone, and not for a robot that is unfit', () => {
    const again = { ...answer, answer: 'retry_undo' } as const;
    const stuck: OpenFault = { ...open, kind: 'compensation_stuck' };
    expect(refusalOfAnswer(open, again)?.code).toBe('VALIDATION');
    expect(refusalOfAnswer(stuck, again)).toBeNull();
    expect(refusalOfAnswer(stuck, { ...again, robotFit: false })?.code).toBe('VALIDATION');
    expect(refusalOfAnswer({ ...stuck, hasRobot: false }, { ...again, robotFit: false })).toBeNull();
  });

  test('never leaves a tube in a carrier', () => {
    const held = { ...answer, answer: 'in_carrier' } as const;
    expect(refusalOfAnswer(open, held)).toBeNull();
    expect(refusalOfAnswer(open, { ...held, robotFit: false })?.code).toBe('VALIDATION');
    for (const kind of ['barcode_mismatch', 'workflow_gone'] as const)
      expect(refusalOfAnswer({ ...open, kind }, held)?.code).toBe('VALIDATION');
    expect(refusalOfAnswer({ ...open, hasRobot: false }, held)?.code).toBe('VALIDATION');
  });

  test('goes on only from where the robot can, and when it is fit', () => {
    const on = { ...answer, next: 'go_on' } as const;
    expect(refusalOfAnswer(open, on)).toBeNull();
    expect(refusalOfAnswer(open, { ...on, answer: 'in_carrier' })).toBeNull();
    expect(refusalOfAnswer(open, { ...on, robotFit: false })?.errors?.[0]?.pointer).toBe('/robotFit');
    for (const where of ['at_target', 'with_me', 'elsewhere', 'damaged', 'not_found'] as const)
      expect(refusalOfAnswer(open, { ...on, answer: where })?.errors?.[0]?.pointer).toBe('/next');
    for (const kind of ['barcode_mismatch', 'workflow_gone', 'compensation_stuck'] as const)
      expect(refusalOfAnswer({ ...open, kind }, on)?.code).toBe('VALIDATION');
  });

  test('that takes a hand in the cell needs the lock-out, where there is a robot', () => {
    for (const where of ['with_me', 'elsewhere', 'damaged', 'not_found'] as const) {
      const bare = { ...answer, answer: where, lockedOut: false } as const;
      expect(refusalOfAnswer(open, bare)?.errors?.[0]?.pointer).toBe('/lockedOut');
      expect(refusalOfAnswer({ ...open, hasRobot: false }, bare)).toBeNull();
    }
    expect(refusalOfAnswer(open, { ...answer, lockedOut: false })).toBeNull();
  });
});

describe('the answers that are offered', () => {
  const everywhere = { hasSource: true, hasTarget: true };

  test.each<[FaultKind, string[]]>([
    [
      'outcome_unknown',
      ['at_source', 'at_target', 'in_carrier', 'with_me', 'elsewhere', 'damaged', 'not_found'],
    ],
    [
      'compensation_stuck',
      ['at_source', 'at_target', 'in_carrier', 'with_me', 'elsewhere', 'damaged', 'not_found', 'retry_undo'],
    ],
    [
      'step_conflict',
      ['at_source', 'at_target', 'in_carrier', 'with_me', 'elsewhere', 'damaged', 'not_found'],
    ],
    ['barcode_mismatch', ['at_source', 'at_target', 'with_me', 'elsewhere', 'damaged', 'not_found']],
    ['workflow_gone', ['at_source', 'at_target', 'with_me', 'elsewhere', 'damaged', 'not_found']],
  ])('for %s are those that will be taken', (kind, answers) => {
    expect(offeredAnswers({ ...open, kind }, everywhere).map((offered) => offered.answer)).toEqual(answers);
  });

  test('name no carrier of a robot that cannot be told to put a tube down', () => {
    const offered = offeredAnswers({ ...open, putsDown: false }, everywhere);
    expect(offered.map((each) => each.answer)).toEqual([
      'at_source',
      'at_target',
      'with_me',
      'elsewhere',
      'damaged',
      'not_found',
    ]);
  });

  test('do not try an undo again before anybody knows where the tube is', () => {
    const stuck = { ...open, kind: 'compensation_stuck' } as const;
    const answers = (isLost: boolean) =>
      offeredAnswers({ ...stuck, isLost }, everywhere).map((each) => each.answer);
    expect(answers(false)).toContain('retry_undo');
    expect(answers(true)).not.toContain('retry_undo');
  });

  test('name no carrier where no robot works, and no place the job does not have', () => {
    const offered = offeredAnswers({ ...open, hasRobot: false }, { hasSource: false, hasTarget: true });
    expect(offered.map((each) => each.answer)).toEqual([
      'at_target',
      'with_me',
      'elsewhere',
      'damaged',
      'not_found',
    ]);
    expect(offered.every((each) => !each.needsLockOut)).toBe(true);
  });
});
