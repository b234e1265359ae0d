import type { Database } from './connection.ts';
import { forgetOldKeys } from './idempotency.ts';
import { deleteExpiredTokens } from './session.ts';
import { inTenant } from './tenancy.ts';

/** What a tenant's bookkeeping no longer needs. */
export interface Forgotten {
  readonly idempotencyKeys: number;
  readonly refreshTokens: number;
}

/** Deletes a tenant's idempotency keys and refresh tokens whose time is over. To be called now and then. */
export function forgetExpired(db: Database, tenantId: string): Promise<Forgotten> {
  return inTenant(db, tenantId, async (tx) => ({
    idempotencyKeys: await forgetOldKeys(tx, tenantId),
    refreshTokens: await deleteExpiredTokens(tx, tenantId),
  }));
}
