import { sql } from 'kysely';
import type { ColumnMapping, ImportKind } from '../domain/bulk.ts';
import { DomainError } from '../domain/errors.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { read } from './tenancy.ts';

/** A column mapping under its name. */
export interface ProfileRecord extends ColumnMapping {
  readonly id: string;
  readonly name: string;
  readonly kind: ImportKind;
  readonly version: number;
}

const COLUMNS = sql`id, name, kind, columns, defaults, version`;

export function listProfiles(db: Database, tenantId: string): Promise<ProfileRecord[]> {
  return read(
    db,
    tenantId,
    sql<ProfileRecord>`SELECT ${COLUMNS} FROM import_profile WHERE tenant_id = ${tenantId} ORDER BY name`.compile(
      db.kysely,
    ),
  );
}

/** @throws DomainError NOT_FOUND naming those there are */
export async function findProfile(
  db: Database,
  tenantId: string,
  name: string,
  kind: ImportKind,
): Promise<ProfileRecord> {
  const profiles = (await listProfiles(db, tenantId)).filter((profile) => profile.kind === kind);
  const found = profiles.find((profile) => profile.name === name);
  if (found) return found;
  const there = profiles.map((profile) => profile.name).join(', ') || 'none yet';
  throw new DomainError('NOT_FOUND', `There is no profile ${name} for ${kind}: there is ${there}.`);
}

/**
 * Keeps a column mapping under its name.
 * @param version as the person saw it (If-Match); 0 = a new one
 * @throws DomainError PRECONDITION_FAILED
 */
export function setProfile(
  db: Database,
  context: ChangeContext,
  version: number,
  profile: Omit<ProfileRecord, 'id' | 'version'>,
): Promise<ProfileRecord> {
  const { tenantId } = context.actor;
  const { name, kind, columns, defaults } = profile;
  return withChange(db, context, async (change) => {
    const before = await sql<ProfileRecord>`SELECT ${COLUMNS} FROM import_profile
      WHERE tenant_id = ${tenantId} AND name = ${name} FOR UPDATE`.execute(change.tx);
    const { rows } = await sql<ProfileRecord>`
      INSERT INTO import_profile AS p (tenant_id, name, kind, columns, defaults)
      SELECT ${tenantId}, ${name}, ${kind}, ${JSON.stringify(columns)}::jsonb, ${JSON.stringify(defaults)}::jsonb
      WHERE ${version} = ${before.rows[0]?.version ?? 0}
      ON CONFLICT (tenant_id, name) DO UPDATE SET kind = excluded.kind, columns = excluded.columns,
        defaults = excluded.defaults, version = p.version + 1 WHERE p.version = ${version}
      RETURNING ${COLUMNS}`.execute(change.tx);
    const after = rows[0];
    if (!after) {
      throw new DomainError(
        'PRECONDITION_FAILED',
        `Profile ${name} has changed since version ${version} was read: read it again.`,
        { facts: { version: before.rows[0]?.version ?? 0 } },
      );
    }
    change.record({
      aggregate: 'import_profile',
      aggregateId: after.id,
      version: after.version,
      type: 'storage.import_profile.changed',
      from: null,
      to: null,
      before: before.rows[0] ? contentOf(before.rows[0]) : null,
      after: contentOf(after),
      data: { profile_id: after.id, kind },
    });
    return after;
  });
}

function contentOf({ name, kind, columns, defaults }: ProfileRecord) {
  return { name, kind, columns: { ...columns }, defaults: { ...defaults } };
}
