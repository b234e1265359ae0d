import { sql } from 'kysely';
import {
  type BarcodeKind,
  type BarcodeScheme,
  barcodeOf,
  problemOfBarcode,
  problemOfScheme,
} from '../domain/barcode-scheme.ts';
import type { CheckMethod } from '../domain/check-digit.ts';
import { DomainError } from '../domain/errors.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { inTenant, read } from './tenancy.ts';

/** The scheme of a laboratory's samples or locations. */
export interface SchemeRecord extends BarcodeScheme {
  readonly kind: BarcodeKind;
  readonly version: number;
}

interface SchemeRow {
  id: string;
  kind: BarcodeKind;
  pattern: string;
  prefix: string;
  check_method: CheckMethod;
  is_enforced: boolean;
  gs1_company_prefix: string | null;
  version: number;
}

const COLUMNS = sql`id, kind, pattern, prefix, check_method, is_enforced, gs1_company_prefix, version`;

function schemeOf(row: SchemeRow): SchemeRecord {
  return {
    kind: row.kind,
    pattern: row.pattern,
    prefix: row.prefix,
    check: row.check_method,
    isEnforced: row.is_enforced,
    gs1CompanyPrefix: row.gs1_company_prefix,
    version: row.version,
  };
}

/** The schemes that were set; at most one a kind. */
export async function listSchemes(db: Database, tenantId: string): Promise<SchemeRecord[]> {
  const rows = await read(
    db,
    tenantId,
    sql<SchemeRow>`SELECT ${COLUMNS} FROM barcode_scheme WHERE tenant_id = ${tenantId} ORDER BY kind DESC`.compile(
      db.kysely,
    ),
    'barcode_schemes',
  );
  return rows.map(schemeOf);
}

/**
 * Sets the scheme of a kind; its counter goes on, and barcodes that exist stay.
 * @param version as the person saw it (If-Match); 0 = there was none
 * @throws DomainError VALIDATION, PRECONDITION_FAILED
 */
export function setScheme(
  db: Database,
  context: ChangeContext,
  kind: BarcodeKind,
  scheme: BarcodeScheme,
  version: number,
): Promise<SchemeRecord> {
  const { tenantId } = context.actor;
  const problem = problemOfScheme(scheme);
  if (problem !== null) {
    throw new DomainError('VALIDATION', `The barcode scheme cannot be: ${problem}.`, {
      errors: [{ pointer: '/pattern', detail: problem }],
    });
  }
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const held = await sql<SchemeRow>`
      SELECT ${COLUMNS} FROM barcode_scheme WHERE tenant_id = ${tenantId} AND kind = ${kind} FOR UPDATE`.execute(
      tx,
    );
    const before = held.rows[0];
    const { pattern, prefix, check, isEnforced, gs1CompanyPrefix } = scheme;
    const { rows } =
      (before?.version ?? 0) !== version
        ? { rows: [] }
        : await sql<SchemeRow>`
            INSERT INTO barcode_scheme AS s (tenant_id, kind, pattern, prefix, check_method, is_enforced, gs1_company_prefix)
            VALUES (${tenantId}, ${kind}, ${pattern}, ${prefix}, ${check}, ${isEnforced}, ${gs1CompanyPrefix})
            ON CONFLICT (tenant_id, kind) DO UPDATE SET pattern = excluded.pattern, prefix = excluded.prefix,
              check_method = excluded.check_method, is_enforced = excluded.is_enforced,
              gs1_company_prefix = excluded.gs1_company_prefix, version = s.version + 1 WHERE s.version = ${version}
            RETURNING ${COLUMNS}`.execute(tx);
    const row = rows[0];
    if (!row) {
      throw new DomainError(
        'PRECONDITION_FAILED',
        `The barcode scheme of ${kind}s has changed since version ${version} was read: read it again.`,
        { facts: { version: before?.version ?? 0 } },
      );
    }
    const contentOf = ({ version: _, ...content }: SchemeRecord) => ({ ...content });
    change.record({
      aggregate: 'barcode_scheme',
      aggregateId: row.id,
      version: row.version,
      type: 'storage.barcode_scheme.changed',
      from: null,
      to: null,
      before: before ? contentOf(schemeOf(before)) : null,
      after: contentOf(schemeOf(row)),
      data: { barcode_scheme_id: row.id, kind },
    });
    return schemeOf(row);
  });
}

/**
 * The barcode a new sample or location gets: the one that was given, when the scheme takes it; else the next of the
 * scheme that nothing has. Whether it is free in the end the database decides.
 * @returns null when none was given and there is no scheme
 * @throws DomainError VALIDATION when it is not made as the scheme says, CONFLICT when the scheme has no numbers left
 */
export async function barcodeFor(
  db: Database,
  tenantId: string,
  kind: BarcodeKind,
  given: string | undefined,
): Promise<string | null> {
  const scheme = (await listSchemes(db, tenantId)).find((each) => each.kind === kind);
  if (given === undefined) return scheme ? nextBarcode(db, tenantId, kind) : null;
  const problem = scheme?.isEnforced ? problemOfBarcode(scheme, given) : null;
  if (problem === null) return given;
  throw new DomainError('VALIDATION', `The barcode ${given} ${problem}.`, {
    errors: [{ pointer: '/barcode', detail: problem }],
  });
}

/** The scheme's next barcode that nothing has, retired ones included. A number that was given out is not given again. */
function nextBarcode(db: Database, tenantId: string, kind: BarcodeKind): Promise<string> {
  return inTenant(db, tenantId, async (tx) => {
    for (;;) {
      const { rows } = await sql<SchemeRow & { number: string }>`
        UPDATE barcode_scheme SET next_number = next_number + 1 WHERE tenant_id = ${tenantId} AND kind = ${kind}
        RETURNING ${COLUMNS}, next_number - 1 AS number`.execute(tx);
      const row = rows[0];
      if (!row) throw new DomainError('INTERNAL', `The barcode scheme of ${kind}s is gone.`);
      const code = barcodeOf(schemeOf(row), Number(row.number));
      const taken = await tx
        .selectFrom('barcode')
        .select('code')
        .where('tenant_id', '=', tenantId)
        .where('code', '=', code)
        .executeTakeFirst();
      if (!taken) return code;
    }
  });
}
