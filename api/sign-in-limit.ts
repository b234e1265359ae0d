import { createHash } from 'node:crypto';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { DomainError } from '../domain/errors.ts';
import type { Limits } from './dependencies.ts';

/** Slows down guessing of passwords. Counts live in this process: a restart forgives, which guessing cannot bring about. */
export interface SignInLimit {
  /**
   * Counts a try before it is made, so that tries at the same moment are counted too.
   * @param host network address the request came from; null when unknown: then only the e-mail address counts, since
   *   strangers must not share a count
   * @throws DomainError RATE_LIMITED with the seconds to wait
   */
  count(email: string, host: string | null): Promise<void>;
  /** Takes a try back that was right. */
  forgive(email: string, host: string | null): Promise<void>;
}

export function createSignInLimit(limits: Limits): SignInLimit {
  const duration = limits.signInWindowSeconds;
  const byAddress = new RateLimiterMemory({ points: limits.signInFailuresPerAddress, duration });
  const byHost = new RateLimiterMemory({ points: limits.signInFailuresPerHost, duration });
  const keyOf = (email: string) => createHash('sha256').update(email.toLowerCase()).digest('base64url');
  return {
    async count(email, host) {
      try {
        if (host !== null) await byHost.consume(host);
        await byAddress.consume(keyOf(email));
      } catch (refused) {
        if (!(refused instanceof RateLimiterRes)) throw refused;
        const retryAfterSeconds = Math.max(1, Math.ceil(refused.msBeforeNext / 1000));
        throw new DomainError(
          'RATE_LIMITED',
          `Too many sign-ins failed; try again in ${retryAfterSeconds} s.`,
          {
            facts: { retryAfterSeconds },
          },
        );
      }
    },
    async forgive(email, host) {
      await byAddress.delete(keyOf(email));
      if (host !== null) await byHost.reward(host);
    },
  };
}
