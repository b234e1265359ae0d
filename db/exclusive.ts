import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { cellLabel } from '../domain/grid.ts';
import {
  type ExclusiveBy,
  judgeRules,
  type LocationRules,
  type SampleTraits,
} from '../domain/location-rules.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import { needOf } from './sample-need.ts';
import type { DB } from './schema.ts';

/**
 * Whether a container for one of a kind may take the sample whose position was just taken. Who takes there waits for whoever
 * took there before: two kinds do not become the first at once. The tubes in it and on their way to it decide; what they
 * are is noted where the next look for room begins.
 */
export async function claimContainer(
  tx: Transaction<DB>,
  tenantId: string,
  taken: { readonly id: string; readonly container_id: string },
  exclusive: readonly ExclusiveBy[],
  need: SampleTraits,
): Promise<boolean> {
  await sql`SELECT pg_advisory_xact_lock(hashtextextended(${taken.container_id}, 0))`.execute(tx);
  const { rows } = await sql<{ traits: SampleTraits }>`
    SELECT sample_need(s) AS traits FROM position p
    LEFT JOIN job j ON j.tenant_id = p.tenant_id AND j.id = p.job_id AND p.sample_id IS NULL
    JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = coalesce(p.sample_id, j.sample_id)
    WHERE p.tenant_id = ${tenantId} AND p.container_id = ${taken.container_id} AND p.state IN ('occupied', 'reserved')
      AND p.id <> ${taken.id}
    ORDER BY exclusive_accepts(jsonb_build_object('exclusive', ${JSON.stringify(exclusive)}::jsonb), sample_need(s),
      ${needOf(need)}), p.ordinal LIMIT 1`.execute(tx);
  const held = rows[0]?.traits ?? null;
  const claim = held === null ? needOf(need) : needOf(held);
  await sql`UPDATE location_count SET claim = ${claim}
    WHERE tenant_id = ${tenantId} AND location_id = ${taken.container_id} AND claim IS DISTINCT FROM ${claim}`.execute(
    tx,
  );
  return judgeRules(need, { exclusive }, held).every((verdict) => verdict.passed);
}

interface HeldRow extends GridRow {
  container_id: string;
  container: string;
  barcode: string;
  traits: SampleTraits;
  first: SampleTraits;
  rules: LocationRules;
  grid_row: number;
  grid_column: number;
}

/**
 * Notes anew what the containers for one of a kind hold, in and below a location.
 * @throws DomainError RULE_BROKEN_BY_CONTENT naming the first tube that is not of its container's kind
 */
export async function claimBelow(tx: Transaction<DB>, tenantId: string, locationId: string): Promise<void> {
  const content = sql`
    SELECT l.id AS container_id, t.name || ' ' || l.name AS container, s.barcode, sample_need(s) AS traits,
           first_value(sample_need(s)) OVER (PARTITION BY l.id ORDER BY p.ordinal) AS first, l.effective_rules AS rules,
           p.grid_row, p.grid_column, p.ordinal, ${GRID_COLUMNS}
    FROM location_ancestor a
    JOIN location l ON l.tenant_id = a.tenant_id AND l.id = a.descendant_id AND NOT l.is_handoff
      AND l.effective_rules ? 'exclusive'
    JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
    JOIN position p ON p.tenant_id = a.tenant_id AND p.container_id = l.id AND p.state IN ('occupied', 'reserved')
    LEFT JOIN job j ON j.tenant_id = p.tenant_id AND j.id = p.job_id AND p.sample_id IS NULL
    JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = coalesce(p.sample_id, j.sample_id)
    WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${locationId}`;
  const { rows } = await sql<HeldRow>`
    SELECT * FROM (${content}) c WHERE NOT exclusive_accepts(c.rules, c.first, c.traits)
    ORDER BY c.container_id, c.ordinal LIMIT 1`.execute(tx);
  const other = rows[0];
  if (other) {
    const label = cellLabel({ row: other.grid_row, column: other.grid_column }, gridOf(other));
    const why = judgeRules(other.traits, other.rules, other.first).find((verdict) => !verdict.passed);
    throw new DomainError(
      'RULE_BROKEN_BY_CONTENT',
      `the sample with barcode ${other.barcode} in position ${label} of ${other.container} would break its rule (${why?.detail}): move it first`,
      { facts: { barcode: other.barcode, position: label } },
    );
  }
  await sql`
    UPDATE location_count n SET claim = c.first FROM (SELECT DISTINCT container_id, first FROM (${content}) c) c
    WHERE n.tenant_id = ${tenantId} AND n.location_id = c.container_id AND n.claim IS DISTINCT FROM c.first`.execute(
    tx,
  );
}
