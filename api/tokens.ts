import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { calculateJwkThumbprint, exportJWK, SignJWT } from 'jose';
import type { Actor } from '../domain/actor.ts';

export const ISSUER = 'tracseq';
export const AUDIENCE = 'tracseq-api';
/** RFC 9068 */
export const TOKEN_TYPE = 'at+jwt';
export const ACCESS_TOKEN_S = 15 * 60;

/** RFC 8037 */
interface PublicJwk {
  readonly kty: string;
  readonly crv: string;
  readonly x: string;
  readonly kid: string;
  readonly use: 'sig';
  readonly alg: 'EdDSA';
}

/** The laboratory's Ed25519 key, ready for use. */
export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** RFC 7638 thumbprint, names the key in a token's header */
  readonly kid: string;
  readonly jwk: PublicJwk;
}

/**
 * Reads an Ed25519 private key from a PEM file (PKCS #8).
 * @throws Error naming the file when it holds anything else
 */
export async function loadSigningKey(path: string): Promise<SigningKey> {
  let key: KeyObject;
  try {
    key = createPrivateKey(readFileSync(path));
  } catch (error) {
    throw new Error(`The token signing key cannot be read from ${path}`, { cause: error });
  }
  return toSigningKey(key, path);
}

/** @param origin where the key came from, for the message when it is of another kind */
export async function toSigningKey(privateKey: KeyObject, origin: string): Promise<SigningKey> {
  if (privateKey.asymmetricKeyType !== 'ed25519') {
    throw new Error(`${origin} holds a ${privateKey.asymmetricKeyType} key; tokens are signed with Ed25519`);
  }
  const publicKey = createPublicKey(privateKey);
  const { kty, crv, x } = await exportJWK(publicKey);
  if (!kty || !crv || !x) throw new Error(`the public key of ${origin} cannot be written as a JWK`);
  const kid = await calculateJwkThumbprint({ kty, crv, x });
  return { privateKey, publicKey, kid, jwk: { kty, crv, x, kid, use: 'sig', alg: 'EdDSA' } };
}

/** Issues access tokens. */
export interface TokenIssuer {
  /** @returns a token good for `ACCESS_TOKEN_S` seconds, and when it ends */
  issue(grant: { actor: Actor; sessionId: string }): Promise<{ token: string; expiresAt: Date }>;
  /** RFC 7517 key set for whoever verifies our tokens */
  readonly keySet: { readonly keys: readonly PublicJwk[] };
}

export function createTokenIssuer(key: SigningKey, now: () => Date): TokenIssuer {
  return {
    keySet: { keys: [key.jwk] },
    async issue({ actor, sessionId }) {
      const issuedAt = Math.floor(now().getTime() / 1000);
      const expiresAt = issuedAt + ACCESS_TOKEN_S;
      const token = await new SignJWT({
        tid: actor.tenantId,
        sid: sessionId,
        role: actor.role,
        ...(actor.stationId !== null && { station: actor.stationId }),
      })
        .setProtectedHeader({ alg: 'EdDSA', typ: TOKEN_TYPE, kid: key.kid })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject(actor.userId)
        .setJti(crypto.randomUUID())
        .setIssuedAt(issuedAt)
        .setExpirationTime(expiresAt)
        .sign(key.privateKey);
      return { token, expiresAt: new Date(expiresAt * 1000) };
    },
  };
}
