import { sql, type Transaction } from 'kysely';
import type { Role } from '../domain/actor.ts';
import { DomainError } from '../domain/errors.ts';
import { type Action, mayDo, rolesInWords } from '../domain/permissions.ts';
import type { DB } from './schema.ts';

/** A second person has signed in within so many hours: a shift, not a session somebody forgot. */
const SHIFT_HOURS = 12;

/**
 * The second person is somebody else of this laboratory who may do the same and is at work: with a session of their own
 * that is open and was begun within the last hours. That they looked at the tube is the first person's word.
 * @param secondId null: none was named
 * @param missing what to say then
 * @throws DomainError SECOND_PERSON_REQUIRED
 */
export async function requireSecondPerson(
  tx: Transaction<DB>,
  tenantId: string,
  firstId: string,
  secondId: string | null,
  action: Action,
  missing: string,
): Promise<string> {
  const refuse = (detail: string) =>
    new DomainError('SECOND_PERSON_REQUIRED', detail, {
      errors: [{ pointer: '/secondPersonId', detail }],
    });
  if (secondId === null) throw refuse(missing);
  const { rows } = await sql<{ id: string; role: Role; signed_in: boolean }>`
    SELECT u.id, u.role, EXISTS (SELECT FROM session s
      WHERE s.tenant_id = u.tenant_id AND s.user_id = u.id AND s.closed_at IS NULL
        AND s.opened_at > clock_timestamp() - make_interval(hours => ${sql.lit(SHIFT_HOURS)})) AS signed_in
    FROM app_user u WHERE u.tenant_id = ${tenantId} AND u.id = ${secondId}
      AND u.disabled_at IS NULL`.execute(tx);
  const second = rows[0];
  if (!second) throw refuse('The second person is nobody who may sign in here.');
  // Compared as the database spells it: one id has several spellings.
  if (second.id === firstId) {
    throw refuse('The second person must be somebody else than the first.');
  }
  if (!mayDo(second.role, action)) {
    throw refuse(`The second person must be a ${rolesInWords(action)}.`);
  }
  if (!second.signed_in) {
    throw refuse(
      `The second person is not signed in: they must have signed in themselves within the last ${SHIFT_HOURS} hours and not have signed out.`,
    );
  }
  return second.id;
}
