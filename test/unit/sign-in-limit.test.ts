import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DEFAULT_LIMITS } from '../../api/dependencies.ts';
import { createSignInLimit, type SignInLimit } from '../../api/sign-in-limit.ts';
import { DomainError } from '../../domain/errors.ts';

const EMAIL = 'ada@example.org';
const HOME = '192.0.2.1';
const limits = {
  ...DEFAULT_LIMITS,
  signInFailuresPerAddressAndHost: 3,
  signInFailuresPerAddress: 5,
  signInWindowSeconds: 900,
};

let limit: SignInLimit;
beforeEach(() => {
  vi.useFakeTimers();
  limit = createSignInLimit(limits);
});
afterEach(() => {
  vi.useRealTimers();
});

/** Seconds to wait, or 0 when the try is let through. */
async function tries(host: string | null, email = EMAIL): Promise<number> {
  try {
    await limit.count(email, host);
    return 0;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return Number(error.facts?.retryAfterSeconds);
  }
}
const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);
/** So many failures from as many hosts as that takes. */
async function attack(failures: number): Promise<void> {
  for (let n = 0; n < failures; n += 1) expect(await tries(`198.51.100.${n}`)).toBe(0);
}

describe('failed sign-ins', () => {
  it('from one host end for the window, however the address is written, and for that host alone', async () => {
    for (const email of [EMAIL, EMAIL.toUpperCase(), EMAIL]) expect(await tries(HOME, email)).toBe(0);
    expect(await tries(HOME)).toBe(900);
    expect(await tries('192.0.2.2')).toBe(0);
    await pass(900);
    expect(await tries(HOME)).toBe(0);
  });

  it('from everywhere make each next try wait longer, and never for the whole window', async () => {
    await attack(5);
    const waits: number[] = [];
    for (let n = 0; n < 8; n += 1) {
      const wait = await tries(`203.0.113.${n}`);
      waits.push(wait);
      await pass(wait);
      expect(await tries(`203.0.113.${n}`)).toBe(0);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  });

  it('of others do not lock out who has signed in from there before', async () => {
    await limit.count(EMAIL, HOME);
    await limit.forgive(EMAIL, HOME);
    await attack(5);
    expect(await tries('203.0.113.1')).toBe(1);
    expect(await tries(HOME)).toBe(0);
  });

  it('that were refused to be tried are no failures: whoever waits as told gets in', async () => {
    await attack(5);
    for (let n = 0; n < 50; n += 1) expect(await tries(HOME)).toBe(1);
    await pass(1);
    expect(await tries(HOME)).toBe(0);
  });

  it('count by address where no host is known, and with it for nobody else', async () => {
    for (let n = 0; n < 5; n += 1) expect(await tries(null)).toBe(0);
    expect(await tries(null)).toBe(1);
    expect(await tries(null, 'grace@example.org')).toBe(0);
  });
});

it('a right password takes its own try back', async () => {
  for (let n = 0; n < 20; n += 1) {
    expect(await tries(HOME)).toBe(0);
    await limit.forgive(EMAIL, HOME);
  }
});
