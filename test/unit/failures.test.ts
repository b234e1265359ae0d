import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { describe, expect, test } from 'vitest';
import { failingAsWorkflowsExpect, toFailure } from '../../activities/failures.ts';
import { DomainError, ERRORS, type ErrorCode } from '../../domain/errors.ts';

const withCode = (code: string, extra: object = {}) =>
  Object.assign(new Error('secret TUBE-1'), { code, ...extra });

describe('a domain error', () => {
  test.each(Object.keys(ERRORS) as ErrorCode[])('%s keeps its code, retryable by the table', (code) => {
    const failure = toFailure(new DomainError(code, 'What was wrong.', { facts: { jobId: 'j' } }));
    expect(failure).toMatchObject({
      type: code,
      nonRetryable: !ERRORS[code].retryable,
      message: ERRORS[code].title,
      details: [{ code, detail: 'What was wrong.', facts: { jobId: 'j' } }],
      ...(ERRORS[code].status < 500 && { category: 'BENIGN' }),
    });
  });

  test('keeps its sentence short and out of the message, which is stored in clear', () => {
    const failure = toFailure(new DomainError('CONFLICT', 'x'.repeat(10_000)));
    expect(failure.message).toBe(ERRORS.CONFLICT.title);
    expect(JSON.stringify(failure).length).toBeLessThan(1_500);
  });
});

describe('an error of the database', () => {
  test.each(['ECONNREFUSED', 'ECONNRESET', '08006', '57P01', '57P03', '53300'])(
    '%s may be tried again',
    (code) => {
      expect(toFailure(withCode(code))).toMatchObject({ type: 'DATABASE_UNAVAILABLE', nonRetryable: false });
    },
  );
  test('a connection that ended may be tried again', () => {
    const ended = new Error('Connection terminated unexpectedly');
    expect(toFailure(ended)).toMatchObject({ type: 'DATABASE_UNAVAILABLE', nonRetryable: false });
  });
  test.each(['40001', '40P01', '25P02'])('%s may be tried again', (code) => {
    expect(toFailure(withCode(code))).toMatchObject({ type: 'INTERNAL', nonRetryable: false });
  });
  test.each(['23505', '23514', '22P02', '42703', 'P0001'])('%s would end the same way', (code) => {
    const failure = toFailure(withCode(code, { constraint: 'sample_carrier' }));
    expect(failure).toMatchObject({
      type: 'INTERNAL',
      nonRetryable: true,
      details: [{ detail: `The database refused it (${code}, sample_carrier).` }],
    });
    expect(failure.message).not.toContain('TUBE-1');
  });
});

test('failures of Temporal pass as they are; anything else may be tried again', async () => {
  const cancelled = new CancelledFailure('stop');
  expect(toFailure(cancelled)).toBe(cancelled);
  const known = ApplicationFailure.create({ type: 'TURN_TAKEN' });
  await expect(failingAsWorkflowsExpect(() => Promise.reject(known))).rejects.toBe(known);
  expect(toFailure(new TypeError('oops'))).toMatchObject({ type: 'INTERNAL', nonRetryable: false });
  expect(toFailure('thrown text')).toMatchObject({ type: 'INTERNAL', nonRetryable: false });
});
