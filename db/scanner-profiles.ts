import { sql, type Transaction } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { DomainError } from '../domain/errors.ts';
import { type NamedProfile, PRESET_PROFILES, type ScannerProfile } from '../domain/scanner-profile.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { inTenant } from './tenancy.ts';

/** A profile in force. */
export interface ProfileRecord extends NamedProfile {
  /** 0: a preset, nobody has set it */
  readonly version: number;
}

interface ProfileRow {
  id: string;
  code: string;
  name: string;
  profile: ScannerProfile;
  version: number;
}

const COLUMNS = sql`id, code, name, profile, version`;

/** The profiles in force, by code: what the laboratory has set, and the presets it has not. */
export function listProfiles(db: Database, tenantId: string): Promise<ProfileRecord[]> {
  return inTenant(db, tenantId, (tx) => profilesOf(tx, tenantId));
}

/** @throws DomainError VALIDATION naming the profiles there are */
export async function profileOf(tx: Transaction<DB>, tenantId: string, code: string): Promise<ProfileRecord> {
  const profiles = await profilesOf(tx, tenantId);
  const found = profiles.find((each) => each.code === code);
  if (found) return found;
  throw new DomainError(
    'VALIDATION',
    `There is no scanner profile ${code}: there are ${profiles.map((each) => each.code).join(', ')}.`,
    { errors: [{ pointer: '/profile', detail: 'is no profile of this laboratory' }] },
  );
}

async function profilesOf(tx: Transaction<DB>, tenantId: string): Promise<ProfileRecord[]> {
  const { rows } = await sql<ProfileRow>`
    SELECT ${COLUMNS} FROM scanner_profile WHERE tenant_id = ${tenantId}`.execute(tx);
  const own = new Set(rows.map((row) => row.code));
  const presets = PRESET_PROFILES.filter(({ code }) => !own.has(code)).map((each) => ({
    ...each,
    version: 0,
  }));
  return [...rows, ...presets]
    .map(({ code, name, profile, version }) => ({ code, name, profile, version }))
    .sort((one, other) => one.code.localeCompare(other.code));
}

/**
 * Sets a profile, a preset's or a new one; scans that were made before keep what was read.
 * @param version as the person saw it (If-Match); 0 = a preset, or there is none
 * @throws DomainError PRECONDITION_FAILED
 */
export function setProfile(
  db: Database,
  context: ChangeContext,
  wanted: NamedProfile,
  version: number,
): Promise<ProfileRecord> {
  const { tenantId } = context.actor;
  const { code, name, profile } = wanted;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const held = await sql<ProfileRow>`
      SELECT ${COLUMNS} FROM scanner_profile WHERE tenant_id = ${tenantId} AND code = ${code} FOR UPDATE`.execute(
      tx,
    );
    const before = held.rows[0];
    const { rows } =
      (before?.version ?? 0) !== version
        ? { rows: [] }
        : await sql<ProfileRow>`
            INSERT INTO scanner_profile AS p (tenant_id, code, name, profile)
            VALUES (${tenantId}, ${code}, ${name}, ${JSON.stringify(profile)}::jsonb)
            ON CONFLICT (tenant_id, code) DO UPDATE SET name = excluded.name, profile = excluded.profile,
              version = p.version + 1 WHERE p.version = ${version}
            RETURNING ${COLUMNS}`.execute(tx);
    const row = rows[0];
    if (!row) {
      throw new DomainError(
        'PRECONDITION_FAILED',
        `Scanner profile ${code} has changed since version ${version} was read: read it again.`,
        { facts: { version: before?.version ?? 0 } },
      );
    }
    change.record({
      aggregate: 'scanner_profile',
      aggregateId: row.id,
      version: row.version,
      type: 'storage.scanner_profile.changed',
      from: null,
      to: null,
      before: before ? contentOf(before) : null,
      after: contentOf(row),
      data: { scanner_profile_id: row.id, code },
    });
    return { code, name: row.name, profile: row.profile, version: row.version };
  });
}

function contentOf(row: ProfileRow): Record<string, JsonValue> {
  const { columns, rack, empty, unread, ...rest } = row.profile;
  return {
    code: row.code,
    name: row.name,
    ...rest,
    columns: { ...columns },
    rack: rack && { ...rack },
    empty: [...empty],
    unread: [...unread],
  };
}
