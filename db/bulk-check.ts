import { type RawBuilder, sql, type Transaction } from 'kysely';
import { SAMPLE_LIFE, SAMPLE_STATES } from '../domain/sample-state.ts';
import { checkPlaces } from './bulk-rules.ts';
import type { DB } from './schema.ts';

/**
 * Looks everything up that staged rows name, all rows at once, and notes what is wrong: barcodes that are taken, unknown
 * or named twice, positions that do not exist, are in use or named twice, rules of containers, withdrawn consents.
 * @param creates the rows register samples; else they name samples that exist
 */
export async function checkRows(
  tx: Transaction<DB>,
  tenantId: string,
  operationId: string,
  creates: boolean,
): Promise<void> {
  const mine = sql`r.tenant_id = ${tenantId} AND r.operation_id = ${operationId}`;
  const wrong = (field: string, code: string, detail: RawBuilder<unknown>, from: RawBuilder<unknown>) =>
    sql`INSERT INTO bulk_problem (tenant_id, operation_id, line, field, code, detail)
      SELECT ${tenantId}, ${operationId}, r.line, ${field}, ${code}, ${detail} ${from}`.execute(tx);

  const repeated = (columns: RawBuilder<unknown>, named: RawBuilder<unknown>) =>
    sql`FROM (SELECT r.line, first_value(r.line) OVER (PARTITION BY ${columns} ORDER BY r.line) AS first
              FROM bulk_row r WHERE ${mine} AND ${named}) r WHERE r.line <> r.first`;
  await wrong(
    'barcode',
    'VALIDATION',
    sql`'is the tube of line ' || r.first || ' already: name each tube once'`,
    repeated(sql`r.barcode`, sql`r.barcode IS NOT NULL`),
  );
  await (creates ? findTaken() : findSamples());

  const { rows: containers } = await sql<{ id: string }>`
    SELECT DISTINCT r.container_id AS id FROM bulk_row r WHERE ${mine} AND r.container_id IS NOT NULL`.execute(
    tx,
  );
  // Nothing is known yet of how many rows were staged: row by row through an index it took 5 ms each.
  await sql`SET LOCAL enable_nestloop = off`.execute(tx);
  await sql`UPDATE bulk_row r SET to_position_id = p.id FROM position p
    WHERE ${mine} AND p.tenant_id = ${tenantId} AND p.container_id = ANY (${containers.map((row) => row.id)}::uuid[])
      AND p.container_id = r.container_id AND p.grid_row = r.grid_row AND p.grid_column = r.grid_column AND p.retired_at IS NULL`.execute(
    tx,
  );
  await sql`SET LOCAL enable_nestloop = on`.execute(tx);
  await wrong(
    'position',
    'VALIDATION',
    sql`'is the position of line ' || r.first || ' already: a position holds one tube'`,
    repeated(sql`r.to_position_id`, sql`r.to_position_id IS NOT NULL`),
  );
  await wrong(
    'position',
    'POSITION_UNKNOWN',
    sql`'is out of use'`,
    sql`FROM bulk_row r WHERE ${mine} AND r.container_id IS NOT NULL AND r.to_position_id IS NULL`,
  );
  await wrong(
    'position',
    'POSITION_OCCUPIED',
    sql`CASE p.state WHEN 'blocked' THEN 'is blocked (' || p.blocked_reason || ')'
        WHEN 'reserved' THEN 'is reserved by job ' || p.job_id ELSE 'holds sample ' || p.sample_id END`,
    sql`FROM bulk_row r JOIN position p ON p.tenant_id = r.tenant_id AND p.id = r.to_position_id
        WHERE ${mine} AND p.state <> 'free' AND NOT EXISTS (
          SELECT FROM bulk_row o WHERE o.tenant_id = r.tenant_id AND o.operation_id = r.operation_id
            AND o.sample_id = p.sample_id AND o.to_position_id IS NOT NULL AND NOT o.has_problem)`,
  );

  await sql`UPDATE bulk_row r SET has_problem = true WHERE ${mine} AND NOT r.has_problem AND r.line IN (
    SELECT line FROM bulk_problem WHERE tenant_id = ${tenantId} AND operation_id = ${operationId})`.execute(
    tx,
  );
  await checkPlaces(tx, { tenantId, operationId, creates, lines: null });

  async function findTaken(): Promise<void> {
    await wrong(
      'barcode',
      'BARCODE_TAKEN',
      sql`'belongs to ' || b.kind || ' ' || b.owner_id || CASE WHEN b.retired_at IS NULL THEN '' ELSE ', which it was taken from' END`,
      sql`FROM bulk_row r JOIN barcode b ON b.tenant_id = r.tenant_id AND b.code = r.barcode WHERE ${mine}`,
    );
    await wrong(
      'subject',
      'CONSENT_WITHDRAWN',
      sql`'has withdrawn consent: no sample of it is entered'`,
      sql`FROM bulk_row r JOIN consent_withdrawal w ON w.tenant_id = r.tenant_id AND w.subject = r.cells ->> 'subject'
          WHERE ${mine}`,
    );
  }

  async function findSamples(): Promise<void> {
    await sql`UPDATE bulk_row r SET sample_id = s.id, zone = s.zone, sample_type = s.type
      FROM barcode b JOIN sample s ON s.tenant_id = b.tenant_id AND s.id = b.owner_id
      WHERE ${mine} AND r.sample_id IS NULL AND b.tenant_id = r.tenant_id AND b.code = r.barcode AND b.kind = 'sample'
        AND b.retired_at IS NULL`.execute(tx);
    await wrong(
      'barcode',
      'BARCODE_UNKNOWN',
      sql`'is no sample’s: scan it again, or register it'`,
      sql`FROM bulk_row r WHERE ${mine} AND r.barcode IS NOT NULL AND r.sample_id IS NULL AND NOT r.has_problem`,
    );
    const movable = SAMPLE_STATES.filter((state) => SAMPLE_LIFE[state].store !== undefined);
    const sample = sql`FROM bulk_row r JOIN sample s ON s.tenant_id = r.tenant_id AND s.id = r.sample_id WHERE ${mine}`;
    await wrong(
      'barcode',
      'SAMPLE_STATE',
      sql`'is ' || replace(s.state, '_', ' ') || ' and is not put anywhere'`,
      sql`${sample} AND NOT (s.state = ANY (${movable}))`,
    );
    await wrong(
      'barcode',
      'SAMPLE_BUSY',
      sql`'is job ' || s.job_id || '’s: wait until it is over'`,
      sql`${sample} AND s.job_id IS NOT NULL`,
    );
    await wrong(
      'barcode',
      'CONFLICT',
      sql`'is checked out: check it in'`,
      sql`${sample} AND s.is_checked_out AND s.job_id IS NULL`,
    );
  }
}
