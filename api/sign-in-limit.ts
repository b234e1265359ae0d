import { createHash } from 'node:crypto';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { DomainError } from '../domain/errors.ts';
import type { Limits } from './dependencies.ts';

/**
 * Slows down guessing of passwords, without a lock that a stranger could close. Tries for one e-mail address from one host
 * are few; those for the address from everywhere are more, and then each has to wait longer than the one before, at most a
 * minute: who guesses from many hosts gets a try a minute, and the address's owner still gets in. From a host where the
 * owner has signed in before, other hosts' tries do not count at all. Counts live in this process: a restart forgives, which
 * guessing cannot bring about.
 */
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

const LONGEST_WAIT_SECONDS = 60;
/** How long a host is remembered from which somebody has signed in: two weeks. */
const KNOWN_SECONDS = 14 * 24 * 3600;

export function createSignInLimit(limits: Limits): SignInLimit {
  const duration = limits.signInWindowSeconds;
  const byPair = new RateLimiterMemory({ points: limits.signInFailuresPerAddressAndHost, duration });
  const byHost = new RateLimiterMemory({ points: limits.signInFailuresPerHost, duration });
  const byAddress = new RateLimiterMemory({ points: limits.signInFailuresPerAddress, duration });
  /** lets one try through in each wait */
  const gate = new RateLimiterMemory({ points: 1, duration: LONGEST_WAIT_SECONDS });
  const known = new RateLimiterMemory({ points: 1, duration: KNOWN_SECONDS });

  async function countForAddress(address: string): Promise<void> {
    const { consumedPoints } = await byAddress.penalty(address);
    const over = consumedPoints - limits.signInFailuresPerAddress;
    if (over < 0) return;
    try {
      await gate.consume(address, 1, { customDuration: Math.min(2 ** over, LONGEST_WAIT_SECONDS) });
    } catch (refused) {
      // A try that is not made is no failure: hammering at the gate does not make the wait longer.
      await byAddress.reward(address);
      throw refused;
    }
  }

  return {
    async count(email, host) {
      const address = digest(email.toLowerCase());
      const pair = host === null ? null : pairOf(address, host);
      try {
        if (host !== null && pair !== null) {
          await byHost.consume(host);
          await byPair.consume(pair);
          if ((await known.get(pair)) !== null) return;
        }
        await countForAddress(address).catch(async (refused: unknown) => {
          if (host !== null && pair !== null) await Promise.all([byHost.reward(host), byPair.reward(pair)]);
          throw refused;
        });
      } catch (refused) {
        if (!(refused instanceof RateLimiterRes)) throw refused;
        const retryAfterSeconds = Math.max(1, Math.ceil(refused.msBeforeNext / 1000));
        throw new DomainError(
          'RATE_LIMITED',
          `Too many sign-ins failed; try again in ${retryAfterSeconds} s.`,
          { facts: { retryAfterSeconds } },
        );
      }
    },
    async forgive(email, host) {
      const address = digest(email.toLowerCase());
      const pair = host === null ? null : pairOf(address, host);
      const wasCounted = pair === null || (await known.get(pair)) === null;
      if (wasCounted) await byAddress.reward(address);
      if (host === null || pair === null) return;
      await Promise.all([byHost.reward(host), byPair.delete(pair), known.set(pair, 1, KNOWN_SECONDS)]);
    },
  };
}

const digest = (text: string) => createHash('sha256').update(text).digest('base64url');
const pairOf = (address: string, host: string) => digest(`${address} ${host}`);
