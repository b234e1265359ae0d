import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { cellLabel } from '../domain/grid.ts';
import { judgeRules, type LocationRules, type SampleTraits } from '../domain/location-rules.ts';
import { describeZone, zonesServing } from '../domain/placement.ts';
import { ZONE_NAMES, type Zone } from '../domain/zone.ts';
import { claimBelow } from './exclusive.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import type { DB } from './schema.ts';

/** Which zone in force serves which need, as two lists to be joined. */
const SERVING = ZONE_NAMES.flatMap((need) => zonesServing(need).map((holding) => ({ holding, need })));
const HOLDING = SERVING.map((pair) => pair.holding);
const NEEDED = SERVING.map((pair) => pair.need);

interface BrokenBy extends GridRow {
  barcode: string;
  type: string;
  zone: Zone;
  reserved: boolean;
  container: string;
  effective_zone: Zone | null;
  effective_sample_types: string[] | null;
  effective_rules: LocationRules;
  traits: SampleTraits;
  grid_row: number;
  grid_column: number;
}

/**
 * Holds the rules now in force in and below a location against what is stored there, and against the tubes that jobs are
 * about to put there.
 * @throws DomainError RULE_BROKEN_BY_CONTENT naming the first item that breaks one
 */
export async function assertContentFits(
  tx: Transaction<DB>,
  tenantId: string,
  locationId: string,
): Promise<void> {
  await assertOwnZonesFit(tx, tenantId, locationId);
  const { rows } = await sql<BrokenBy>`
    SELECT s.barcode, s.type, s.zone, p.state = 'reserved' AS reserved, t.name || ' ' || l.name AS container,
           l.effective_zone, l.effective_sample_types, l.effective_rules, sample_need(s) AS traits, p.grid_row, p.grid_column, ${GRID_COLUMNS}
    FROM location_ancestor a
    JOIN location l ON l.tenant_id = a.tenant_id AND l.id = a.descendant_id AND NOT l.is_handoff
    JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
    JOIN position p ON p.tenant_id = a.tenant_id AND p.container_id = l.id AND p.state IN ('occupied', 'reserved')
    LEFT JOIN job j ON j.tenant_id = p.tenant_id AND j.id = p.job_id AND p.sample_id IS NULL
    JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = coalesce(p.sample_id, j.sample_id)
    WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${locationId}
      AND (NOT EXISTS (SELECT FROM unnest(${HOLDING}::text[], ${NEEDED}::text[]) z (holding, need)
                       WHERE z.holding = l.effective_zone AND z.need = s.zone)
           OR s.type <> ALL (l.effective_sample_types) OR NOT rules_accept(l.effective_rules, sample_need(s)))
    ORDER BY l.id, p.ordinal LIMIT 1`.execute(tx);
  const item = rows[0];
  if (!item) return claimBelow(tx, tenantId, locationId);
  const label = cellLabel({ row: item.grid_row, column: item.grid_column }, gridOf(item));
  const zoneFits = item.effective_zone !== null && zonesServing(item.zone).includes(item.effective_zone);
  const typeFits = item.effective_sample_types?.includes(item.type) ?? true;
  const broken = judgeRules(item.traits, item.effective_rules, null).find((verdict) => !verdict.passed);
  const why =
    zoneFits && typeFits && broken
      ? `would break a rule of ${item.container} (${broken.detail})`
      : zoneFits
        ? `is ${item.type}, and ${item.container} would take ${item.effective_sample_types?.join(', ') || 'nothing'}`
        : `needs ${describeZone(item.zone)}, and ${item.container} would be at ${
            item.effective_zone === null ? 'no set temperature' : describeZone(item.effective_zone)
          }`;
  throw new DomainError(
    'RULE_BROKEN_BY_CONTENT',
    `the sample with barcode ${item.barcode} ${item.reserved ? 'on its way to' : 'in'} position ${label} of ${item.container} ${why}: move it first`,
    { facts: { barcode: item.barcode, position: label } },
  );
}

/** What stands in a unit has the unit's temperature; a zone of its own must still be true. */
async function assertOwnZonesFit(tx: Transaction<DB>, tenantId: string, locationId: string): Promise<void> {
  const { rows } = await sql<{ title: string; zone: Zone; parent_zone: Zone }>`
    SELECT t.name || ' ' || l.name AS title, l.zone, u.effective_zone AS parent_zone
    FROM location_ancestor a
    JOIN location l ON l.tenant_id = a.tenant_id AND l.id = a.descendant_id AND l.zone IS NOT NULL AND l.retired_at IS NULL
    JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type AND t.zone IS NULL
    JOIN location u ON u.tenant_id = l.tenant_id AND u.id = l.parent_id AND u.effective_zone IS NOT NULL
    WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${locationId} AND a.depth > 0
      AND NOT EXISTS (SELECT FROM unnest(${HOLDING}::text[], ${NEEDED}::text[]) z (holding, need)
                      WHERE z.holding = u.effective_zone AND z.need = l.zone)
    ORDER BY a.depth, l.id LIMIT 1`.execute(tx);
  const broken = rows[0];
  if (!broken) return;
  throw new DomainError(
    'RULE_BROKEN_BY_CONTENT',
    `${broken.title} is set to ${describeZone(broken.zone)}, and would stand at ${describeZone(broken.parent_zone)}: change it first`,
  );
}
