import { type RawBuilder, sql, type Transaction } from 'kysely';
import { judgeRules, type LocationRules, type SampleTraits } from '../domain/location-rules.ts';
import { zonesServing } from '../domain/placement.ts';
import { ZONE_NAMES } from '../domain/zone.ts';
import type { DB } from './schema.ts';

/** Rows of one operation, and what their samples are. */
export interface StagedRows {
  readonly tenantId: string;
  readonly operationId: string;
  /** the rows register samples; else they name samples that exist */
  readonly creates: boolean;
  /** the first and the last line asked about; null: all */
  readonly lines: readonly [number, number] | null;
}

/**
 * Notes which rows the rules of the places they name refuse: out of service, temperature, type, class, project, hazard,
 * quarantine, one of a kind to a box. Rows with a problem already are not asked about.
 */
export async function checkPlaces(tx: Transaction<DB>, rows: StagedRows): Promise<void> {
  const { tenantId, operationId, creates, lines } = rows;
  const mine = sql`r.tenant_id = ${tenantId} AND r.operation_id = ${operationId} AND NOT r.has_problem
    AND r.sample_version IS NULL AND ${lines ? sql<boolean>`r.line BETWEEN ${lines[0]} AND ${lines[1]}` : sql<boolean>`true`}`;
  const wrong = (code: string, detail: RawBuilder<unknown>, from: RawBuilder<unknown>) =>
    sql`INSERT INTO bulk_problem (tenant_id, operation_id, line, field, code, detail)
      SELECT ${tenantId}, ${operationId}, r.line, 'location', ${code}, ${detail} ${from}`.execute(tx);
  const placed = sql`FROM bulk_row r JOIN location l ON l.tenant_id = r.tenant_id AND l.id = r.container_id WHERE ${mine}`;
  await wrong('LOCATION_RETIRED', sql`'is retired'`, sql`${placed} AND l.retired_at IS NOT NULL`);
  await wrong('CONFLICT', sql`'is a hand-off, where nothing is stored'`, sql`${placed} AND l.is_handoff`);
  const pairs = ZONE_NAMES.flatMap((need) => zonesServing(need).map((place) => `${place}>${need}`));
  await wrong(
    'ZONE_MISMATCH',
    sql`'is at ' || coalesce(l.effective_zone, 'no known temperature') || ', and the sample needs ' || r.zone`,
    sql`${placed} AND r.zone IS NOT NULL AND NOT coalesce((l.effective_zone || '>' || r.zone) = ANY (${pairs}), false)`,
  );
  await wrong(
    'TYPE_NOT_ACCEPTED',
    sql`'takes ' || array_to_string(l.effective_sample_types, ', ') || ', not ' || r.sample_type`,
    sql`${placed} AND NOT (r.sample_type = ANY (l.effective_sample_types))`,
  );
  const ruled = sql`
    SELECT r.line, r.container_id, l.effective_rules AS rules, ${creates ? NEW_NEED : sql`sample_need(s)`} AS need
    FROM bulk_row r JOIN location l ON l.tenant_id = r.tenant_id AND l.id = r.container_id
    ${creates ? sql`` : sql`JOIN sample s ON s.tenant_id = r.tenant_id AND s.id = r.sample_id`}
    WHERE ${mine}`;
  await refuse(
    tx,
    rows,
    sql`SELECT line, rules, need, NULL::jsonb AS held FROM (${ruled}) r WHERE NOT rules_accept(rules, need)`,
  );
  const { rows: alike } = await sql<{ id: string }>`
    SELECT DISTINCT l.id ${placed} AND l.effective_rules ? 'exclusive'`.execute(tx);
  if (alike.length > 0) {
    await refuse(
      tx,
      rows,
      firstOfAKind(
        tenantId,
        sql`${ruled} AND r.container_id = ANY (${alike.map((one) => one.id)}::uuid[])`,
        sql`SELECT r.sample_id FROM bulk_row r WHERE ${mine}`,
      ),
    );
  }
  await sql`UPDATE bulk_row r SET has_problem = true WHERE ${mine} AND r.line IN (
    SELECT line FROM bulk_problem WHERE tenant_id = ${tenantId} AND operation_id = ${operationId})`.execute(
    tx,
  );
}

/** Rows that would be of another kind than the first in their box: what stands there and stays, else the first row. */
const firstOfAKind = (tenantId: string, staged: RawBuilder<unknown>, leaving: RawBuilder<unknown>) => sql`
  SELECT line, rules, need, held FROM (
    WITH staged AS MATERIALIZED (${staged})
    SELECT line, rules, need, first_value(need) OVER (PARTITION BY container_id ORDER BY line) AS held FROM (
      SELECT line, container_id, rules, need FROM staged
      UNION ALL
      SELECT 0 - p.ordinal, b.container_id, b.rules, sample_need(s)
      FROM (SELECT DISTINCT container_id, rules FROM staged) b
      JOIN position p ON p.tenant_id = ${tenantId} AND p.container_id = b.container_id AND p.state IN ('occupied', 'reserved')
      LEFT JOIN job j ON j.tenant_id = p.tenant_id AND j.id = p.job_id AND p.sample_id IS NULL
      JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = coalesce(p.sample_id, j.sample_id)
      WHERE s.id NOT IN (SELECT sample_id FROM (${leaving}) l WHERE sample_id IS NOT NULL)) content) judged
  WHERE line > 0 AND NOT exclusive_accepts(rules, held, need)`;

const NEW_NEED = sql`jsonb_build_object('type', r.sample_type, 'project', r.cells ->> 'project', 'class', r.cells ->> 'class',
  'hazard', r.cells ->> 'hazard', 'owner', r.cells ->> 'owner', 'quarantine', coalesce(r.cells ->> 'quarantine', 'no') = 'yes')`;

/**
 * Holds the places of rows as they are until the transaction ends: their rules, and what is in boxes for one of a kind.
 * In the order of their ids, so that two who hold several do not wait for each other.
 */
export async function holdPlaces(tx: Transaction<DB>, tenantId: string, positionIds: readonly string[]) {
  await sql`SELECT pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM (
      SELECT l.id, l.effective_rules FROM location l
      WHERE l.tenant_id = ${tenantId} AND l.id IN (SELECT container_id FROM position
        WHERE tenant_id = ${tenantId} AND id = ANY (${positionIds}::uuid[]))
      ORDER BY l.id FOR SHARE) held WHERE effective_rules ? 'exclusive'`.execute(tx);
}

interface Refused {
  rules: LocationRules;
  need: SampleTraits;
  held: SampleTraits | null;
}

/** Notes refused rows, each with the sentence the rules give a single placement. */
async function refuse(
  tx: Transaction<DB>,
  { tenantId, operationId }: StagedRows,
  refused: RawBuilder<unknown>,
): Promise<void> {
  const { rows: kinds } = await sql<Refused>`SELECT DISTINCT rules, need, held FROM (${refused}) r`.execute(
    tx,
  );
  const details = kinds.map(({ rules, need, held }) =>
    judgeRules(need, rules, held)
      .filter((verdict) => !verdict.passed)
      .map((verdict) => verdict.detail)
      .join('; '),
  );
  const texts = (of: (kind: Refused) => unknown) => kinds.map((kind) => JSON.stringify(of(kind)));
  await sql`INSERT INTO bulk_problem (tenant_id, operation_id, line, field, code, detail)
    SELECT ${tenantId}, ${operationId}, r.line, 'location', 'RULE_NOT_MET', k.detail
    FROM (${refused}) r JOIN unnest(${texts((kind) => kind.rules)}::jsonb[], ${texts((kind) => kind.need)}::jsonb[],
      ${texts((kind) => kind.held)}::jsonb[], ${details}::text[]) AS k (rules, need, held, detail)
    ON k.rules = r.rules AND k.need = r.need AND coalesce(r.held, 'null') = k.held`.execute(tx);
}
