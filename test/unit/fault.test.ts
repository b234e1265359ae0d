import { describe, expect, test } from 'vitest';
import { type OpenFault, refusalOfAnswer } from '../../domain/fault.ts';

const open: OpenFault = { faultId: 'f1', kind: 'outcome_unknown', hasRobot: true, canPutBack: true };
const answer = { faultId: 'f1', answer: 'at_source', robotFit: true } as const;

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
    expect(refusalOfAnswer({ ...open, canPutBack: false }, held)?.code).toBe('VALIDATION');
    expect(refusalOfAnswer({ ...open, hasRobot: false }, held)?.code).toBe('VALIDATION');
  });
});
