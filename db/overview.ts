import { sql } from 'kysely';
import type { CustodyKind } from '../domain/custody.ts';
import type { JobState } from '../domain/job.ts';
import type { Zone } from '../domain/zone.ts';
import { FREE, TOTAL } from './capacity.ts';
import type { Database } from './connection.ts';
import type { PositionCount } from './locations.ts';
import { read } from './tenancy.ts';

/** The store at a glance. */
export interface Overview {
  readonly positions: PositionCount;
  readonly perZone: readonly (PositionCount & { readonly zone: Zone | null })[];
  /** samples by where they are */
  readonly samples: Readonly<Partial<Record<CustodyKind, number>>>;
  /** alarms that are not cleared */
  readonly alarms: { readonly active: number; readonly unacknowledged: number };
  /** jobs under way, by state */
  readonly jobs: Readonly<Partial<Record<JobState, number>>>;
}

interface OverviewRow {
  per_zone: (PositionCount & { zone: Zone | null })[] | null;
  in_positions: number;
  abroad: Partial<Record<CustodyKind, number>> | null;
  active: number;
  unacknowledged: number;
  jobs: Partial<Record<JobState, number>> | null;
}

/**
 * Totals by zone, samples by custody, active alarms, jobs under way. Samples in the store are counted by the containers'
 * counters, the others one by one: they are few.
 */
export async function readOverview(db: Database, tenantId: string): Promise<Overview> {
  const [row] = await read(
    db,
    tenantId,
    sql<OverviewRow>`
      WITH zones AS (
        SELECT l.effective_zone AS zone, sum(${TOTAL})::int AS total, sum(c.occupied)::int AS occupied,
               sum(c.reserved)::int AS reserved, sum(c.blocked)::int AS blocked, sum(${FREE})::int AS free
        FROM location_count c JOIN location l ON l.tenant_id = c.tenant_id AND l.id = c.location_id
        WHERE c.tenant_id = ${tenantId} AND l.retired_at IS NULL AND NOT l.is_handoff GROUP BY l.effective_zone)
      SELECT (SELECT jsonb_agg(to_jsonb(z) ORDER BY z.zone) FROM zones z) AS per_zone,
             coalesce((SELECT sum(occupied) FROM zones), 0)::int AS in_positions,
             (SELECT jsonb_object_agg(custody, n) FROM (
                SELECT custody, count(*) AS n FROM sample
                WHERE tenant_id = ${tenantId} AND custody <> 'position' GROUP BY custody) s) AS abroad,
             (SELECT count(*)::int FROM alarm WHERE tenant_id = ${tenantId} AND cleared_at IS NULL) AS active,
             (SELECT count(*)::int FROM alarm WHERE tenant_id = ${tenantId} AND cleared_at IS NULL
                AND acknowledged_at IS NULL) AS unacknowledged,
             (SELECT jsonb_object_agg(state, n) FROM (
                SELECT state, count(*) AS n FROM job WHERE tenant_id = ${tenantId} AND finished_at IS NULL
                GROUP BY state) j) AS jobs`.compile(db.kysely),
  );
  const perZone = row?.per_zone ?? [];
  const sum = (of: (count: PositionCount) => number) => perZone.reduce((all, count) => all + of(count), 0);
  return {
    positions: {
      total: sum((count) => count.total),
      occupied: sum((count) => count.occupied),
      reserved: sum((count) => count.reserved),
      blocked: sum((count) => count.blocked),
      free: sum((count) => count.free),
    },
    perZone,
    samples: { position: row?.in_positions ?? 0, ...row?.abroad },
    alarms: { active: row?.active ?? 0, unacknowledged: row?.unacknowledged ?? 0 },
    jobs: row?.jobs ?? {},
  };
}
