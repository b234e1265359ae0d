import { sql, type Transaction } from 'kysely';
import type { LocationRules, SampleTraits } from '../domain/location-rules.ts';
import {
  type ContainerCandidate,
  checkRules,
  type RuleVerdict,
  rankContainers,
  type SampleNeed,
} from '../domain/placement.ts';
import type { Zone } from '../domain/zone.ts';
import type { Database } from './connection.ts';
import { lockLocation } from './location-row.ts';
import { unknownReference } from './locations.ts';
import { findRoom } from './room.ts';
import type { DB } from './schema.ts';
import { nextFreeWithin, type PositionRef } from './taking.ts';
import { inTenant } from './tenancy.ts';

/** Whether a place can hold a sample now, rule by rule. */
export interface CanHold {
  readonly locationId: string;
  readonly canHold: boolean;
  readonly rules: readonly RuleVerdict[];
  /** the position the system would choose in it; null when there is none, or the rules refuse */
  readonly position: PositionRef | null;
}

/**
 * Asks the rules of a placement without placing: of a container itself, of any other place for the best container below.
 * Nothing is reserved, so the answer holds for this moment.
 * @param reference id or barcode of the location
 * @param need the sample, or what one would be
 * @throws DomainError NOT_FOUND, BARCODE_UNKNOWN
 */
export function canHold(
  db: Database,
  tenantId: string,
  reference: string,
  need: SampleNeed,
): Promise<CanHold> {
  return inTenant(db, tenantId, async (tx) => {
    const { id, grid_rows } = await lockLocation(tx, tenantId, reference, 'NONE');
    const own = await candidateOf(tx, tenantId, id);
    const rooms = await findRoom(tx, need, { withinId: id, robotId: null, exceptContainerId: null });
    if (grid_rows !== null) {
      const room = rooms.find((each) => each.candidate.containerId === id);
      const rules = checkRules(need, room?.candidate ?? own);
      const passed = rules.every((verdict) => verdict.passed);
      const position = passed ? await nextFreeWithin(tx, tenantId, need, id) : null;
      return { locationId: id, canHold: position !== null, rules, position };
    }
    const [best] = rankContainers(
      need,
      rooms.map((room) => room.candidate),
    );
    if (best?.score) {
      const position = await nextFreeWithin(tx, tenantId, need, id);
      return { locationId: id, canHold: position !== null, rules: best.rules, position };
    }
    return { locationId: id, canHold: false, rules: judgePlace(need, own), position: null };
  });
}

/** Why nothing below a place takes the sample: its own rules, and that no container was left. */
function judgePlace(need: SampleNeed, own: ContainerCandidate): RuleVerdict[] {
  const rules = checkRules(need, own).filter(({ rule }) => rule !== 'capacity');
  return [
    // Rooms and sites have no temperature: what stands in them has its own.
    ...rules.map((verdict) =>
      verdict.rule === 'temperature' && own.zone === null
        ? { ...verdict, passed: true, detail: 'what stands in it has temperatures of its own' }
        : verdict,
    ),
    {
      rule: 'capacity',
      passed: false,
      detail: `none of its ${own.total - own.occupied - own.reserved - own.blocked} free positions is in a container that takes the sample`,
    },
  ];
}

/** A sample's own need, by id or barcode. @throws DomainError NOT_FOUND, BARCODE_UNKNOWN */
export async function readNeed(db: Database, tenantId: string, sampleId: string): Promise<SampleNeed> {
  return inTenant(db, tenantId, async (tx) => {
    const { rows } = await sql<SampleNeed>`
      SELECT zone, type, project, class, hazard, owner, quarantine FROM sample
      WHERE tenant_id = ${tenantId} AND id = ${sampleId}`.execute(tx);
    const need = rows[0];
    if (!need) throw unknownReference('sample', sampleId);
    return need;
  });
}

interface PlaceRow {
  name: string;
  unit_id: string | null;
  zone: Zone | null;
  sample_types: string[] | null;
  rules: LocationRules;
  claim: SampleTraits | null;
  is_handoff: boolean;
  is_retired: boolean;
  total: number;
  occupied: number;
  reserved: number;
  blocked: number;
  expired: number;
}

async function candidateOf(tx: Transaction<DB>, tenantId: string, id: string): Promise<ContainerCandidate> {
  const { rows } = await sql<PlaceRow>`
    SELECT t.name || ' ' || l.name AS name, l.unit_id, l.effective_zone AS zone, l.effective_sample_types AS sample_types,
           l.effective_rules AS rules, l.is_handoff, l.retired_at IS NOT NULL AS is_retired, n.*,
           (SELECT c.claim FROM location_count c WHERE c.tenant_id = l.tenant_id AND c.location_id = l.id
              AND c.occupied + c.reserved > 0) AS claim,
           (SELECT count(*)::int FROM position p WHERE p.tenant_id = l.tenant_id AND p.container_id = l.id
              AND p.state = 'reserved' AND p.lease_expires_at < now()) AS expired
    FROM location l JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(c.total), 0)::int AS total, coalesce(sum(c.occupied), 0)::int AS occupied,
             coalesce(sum(c.reserved), 0)::int AS reserved, coalesce(sum(c.blocked), 0)::int AS blocked
      FROM location_ancestor a JOIN location_count c ON c.tenant_id = a.tenant_id AND c.location_id = a.descendant_id
      WHERE a.tenant_id = l.tenant_id AND a.ancestor_id = l.id) n
    WHERE l.tenant_id = ${tenantId} AND l.id = ${id}`.execute(tx);
  const row = rows[0];
  if (!row) throw unknownReference('location', id);
  return {
    containerId: id,
    name: row.name,
    unitId: row.unit_id,
    zone: row.zone,
    sampleTypes: row.sample_types,
    rules: row.rules,
    held: row.claim,
    total: row.total,
    occupied: row.occupied,
    reserved: row.reserved,
    blocked: row.blocked,
    expired: row.expired,
    isHandoff: row.is_handoff,
    isRetired: row.is_retired,
    reachable: null,
    projectHere: 0,
    projectSeen: 0,
    doorOpens: false,
    order: 0,
  };
}
