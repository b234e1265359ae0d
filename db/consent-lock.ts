import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import type { DB } from './schema.ts';

/**
 * Before a sample of a subject is entered: the subject's consent stands, and is not withdrawn until the transaction ends.
 * @throws DomainError CONSENT_WITHDRAWN
 */
export async function requireConsent(tx: Transaction<DB>, tenantId: string, subject: string): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock_shared(${lockKey(tenantId, subject)})`.execute(tx);
  // A statement of its own: it sees what was committed while the one before waited.
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM consent_withdrawal WHERE tenant_id = ${tenantId} AND subject = ${subject}`.execute(tx);
  const id = rows[0]?.id;
  if (id) {
    throw new DomainError(
      'CONSENT_WITHDRAWN',
      'The consent of this subject was withdrawn: no sample of it is entered.',
      {
        facts: { withdrawalId: id },
      },
    );
  }
}

/** Waits until nobody enters a sample of the subject, and keeps them out until the transaction ends. */
export async function lockSubject(tx: Transaction<DB>, tenantId: string, subject: string): Promise<void> {
  await sql`SELECT pg_advisory_xact_lock(${lockKey(tenantId, subject)})`.execute(tx);
}

function lockKey(tenantId: string, subject: string) {
  return sql`hashtextextended(${`consent/${tenantId}/${subject}`}, 0)`;
}
