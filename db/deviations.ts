import { type SqlBool, sql, type Transaction } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { DomainError } from '../domain/errors.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** What kind of difference between what is and what should be. */
export type DeviationKind =
  | 'sample_lost'
  | 'sample_damaged'
  | 'dropped'
  | 'barcode_mismatch'
  | 'quarantined'
  | 'exposure_exceeded'
  | 'inventory_missing'
  | 'inventory_unexpected'
  | 'inventory_moved'
  | 'unverified';

export interface NewDeviation {
  readonly tenantId: string;
  readonly kind: DeviationKind;
  /** a sentence for people */
  readonly description: string;
  readonly sampleId: string | null;
  readonly jobId: string | null;
  readonly robotId: string | null;
  /** ids and numbers; barcodes and names only as commitments elsewhere */
  readonly facts?: Readonly<Record<string, JsonValue>>;
}

/** Opens a deviation in the change that found it; it stays open until a person closes it. @returns its id */
export async function openDeviation(change: Change, deviation: NewDeviation): Promise<string> {
  const { tenantId, kind, description, sampleId, jobId, robotId, facts = {} } = deviation;
  const { rows } = await sql<{ id: string }>`
    INSERT INTO deviation (tenant_id, kind, description, sample_id, job_id, robot_id, facts, opened_at)
    VALUES (${tenantId}, ${kind}, ${description}, ${sampleId}, ${jobId}, ${robotId}, ${JSON.stringify(facts)}::jsonb,
            ${change.recordedAt}) RETURNING id`.execute(change.tx);
  const id = rows[0]?.id;
  if (id === undefined) throw new DomainError('INTERNAL', 'The deviation was not written.');
  change.record({
    aggregate: 'deviation',
    aggregateId: id,
    version: 1,
    type: 'deviation.opened',
    from: null,
    to: 'open',
    before: null,
    after: contentOf({ kind, description, sampleId, jobId, robotId, facts, closed: null }),
    erasable: ['description', 'closing_comment'],
    data: { deviation_id: id, kind, sample_id: sampleId, job_id: jobId, robot_id: robotId },
  });
  return id;
}

/** A deviation as it stands. */
export interface DeviationRecord extends Required<Omit<NewDeviation, 'tenantId'>> {
  readonly id: string;
  readonly openedAt: Date;
  /** null: it is open */
  readonly closed: { readonly at: Date; readonly by: string; readonly comment: string | null } | null;
  readonly version: number;
}

interface DeviationRow {
  id: string;
  kind: DeviationKind;
  description: string;
  sample_id: string | null;
  job_id: string | null;
  robot_id: string | null;
  facts: Readonly<Record<string, JsonValue>>;
  opened_at: Date;
  closed_at: Date | null;
  closed_by: string | null;
  closing_comment: string | null;
  version: number;
}

const COLUMNS = sql`id, kind, description, sample_id, job_id, robot_id, facts, opened_at, closed_at, closed_by,
  closing_comment, version`;

function deviationOf(row: DeviationRow): DeviationRecord {
  return {
    id: row.id,
    kind: row.kind,
    description: row.description,
    sampleId: row.sample_id,
    jobId: row.job_id,
    robotId: row.robot_id,
    facts: row.facts,
    openedAt: row.opened_at,
    closed:
      row.closed_at === null || row.closed_by === null
        ? null
        : { at: row.closed_at, by: row.closed_by, comment: row.closing_comment },
    version: row.version,
  };
}

export interface DeviationFilter {
  /** left out: both */
  readonly isClosed?: boolean;
  readonly kind?: DeviationKind;
  readonly sampleId?: string;
  /** the last one of the page before */
  readonly after: { readonly closed: boolean; readonly id: string } | null;
  /** at most this many */
  readonly limit: number;
}

/** A page of deviations: the open ones first, each part newest first. */
export async function listDeviations(
  db: Database,
  tenantId: string,
  filter: DeviationFilter,
): Promise<DeviationRecord[]> {
  const isClosed = sql<SqlBool>`(closed_at IS NOT NULL)`;
  const conditions = [sql<SqlBool>`tenant_id = ${tenantId}`];
  if (filter.isClosed !== undefined) conditions.push(sql<SqlBool>`${isClosed} = ${filter.isClosed}`);
  if (filter.kind) conditions.push(sql<SqlBool>`kind = ${filter.kind}`);
  if (filter.sampleId) conditions.push(sql<SqlBool>`sample_id = ${filter.sampleId}`);
  if (filter.after) {
    const { closed, id } = filter.after;
    conditions.push(sql<SqlBool>`(${isClosed} > ${closed} OR (${isClosed} = ${closed} AND id < ${id}))`);
  }
  const rows = await read(
    db,
    tenantId,
    sql<DeviationRow>`SELECT ${COLUMNS} FROM deviation WHERE ${sql.join(conditions, sql` AND `)}
      ORDER BY ${isClosed}, id DESC LIMIT ${filter.limit}`.compile(db.kysely),
  );
  return rows.map(deviationOf);
}

/**
 * Closes a deviation, once.
 * @param comment how it was settled, in the person's own words
 * @throws DomainError CONFLICT when it is closed, NOT_FOUND
 */
export function closeDeviation(
  db: Database,
  context: ChangeContext,
  id: string,
  comment: string,
  alsoWrite: (tx: Transaction<DB>, closed: DeviationRecord) => Promise<void> = async () => {},
): Promise<DeviationRecord> {
  const { tenantId, userId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const held = await sql<DeviationRow>`
      SELECT ${COLUMNS} FROM deviation WHERE tenant_id = ${tenantId} AND id = ${id} FOR UPDATE`.execute(tx);
    const found = held.rows[0];
    if (!found) throw new DomainError('NOT_FOUND', `There is no deviation ${id}.`);
    const before = deviationOf(found);
    if (before.closed) {
      const { at, by } = before.closed;
      throw new DomainError(
        'CONFLICT',
        `User ${by} closed the deviation at ${at.toISOString()}: it stays so.`,
        {
          facts: { closedAt: at.toISOString(), closedBy: by },
        },
      );
    }
    const { rows } = await sql<DeviationRow>`
      UPDATE deviation SET closed_at = ${change.recordedAt}, closed_by = ${userId}, closing_comment = ${comment},
        version = version + 1
      WHERE tenant_id = ${tenantId} AND id = ${id} RETURNING ${COLUMNS}`.execute(tx);
    const row = rows[0];
    if (!row) throw new DomainError('INTERNAL', 'The deviation was not written.');
    const after = deviationOf(row);
    const { kind, sampleId, jobId, robotId } = after;
    change.record({
      aggregate: 'deviation',
      aggregateId: id,
      version: after.version,
      type: 'deviation.closed',
      from: 'open',
      to: 'closed',
      before: contentOf(before),
      after: contentOf(after),
      erasable: ['description', 'closing_comment'],
      data: { deviation_id: id, kind, sample_id: sampleId, job_id: jobId, robot_id: robotId },
    });
    await alsoWrite(tx, after);
    return after;
  });
}

/** What the ledger keeps of a deviation; what people wrote as commitments. */
function contentOf(
  deviation: Omit<DeviationRecord, 'id' | 'openedAt' | 'version'>,
): Record<string, JsonValue> {
  const { kind, description, sampleId, jobId, robotId, facts, closed } = deviation;
  return {
    kind,
    description,
    sample_id: sampleId,
    job_id: jobId,
    robot_id: robotId,
    facts: { ...facts },
    closed_at: closed?.at.toISOString() ?? null,
    closed_by: closed?.by ?? null,
    closing_comment: closed?.comment ?? null,
  };
}
