import { hash, type Options, verify } from '@node-rs/argon2';

/** argon2id (the library's default kind) with the OWASP minimum: 19 MiB, two passes, one lane; about 20 ms. */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const satisfies Options;

/** A hash nobody's password has: checking against it takes as long as checking against a real one. */
const NOBODY =
  '$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

/** Hashes a password for storage, in PHC string format with a salt of its own. */
export function hashPassword(password: string): Promise<string> {
  return hash(password, COST);
}

/**
 * Does the password belong to the hash? Without a hash (an unknown address) the answer is no, after the same work, so that
 * the time taken does not tell which addresses exist.
 */
export async function passwordMatches(password: string, storedHash: string | null): Promise<boolean> {
  const matches = await verify(storedHash ?? NOBODY, password);
  return storedHash !== null && matches;
}
