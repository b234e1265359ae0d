import { sql, type Transaction } from 'kysely';
import type { Refusal } from '../domain/errors.ts';
import type { LocationRules, SampleTraits } from '../domain/location-rules.ts';
import {
  type ContainerCandidate,
  checkRules,
  type PlacementRule,
  type RuleVerdict,
  type SampleNeed,
} from '../domain/placement.ts';
import type { Zone } from '../domain/zone.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import type { Room } from './room.ts';
import type { DB } from './schema.ts';
import {
  describeNext,
  nextFreeElsewhere,
  type PositionRef,
  positionRef,
  type ReserveOptions,
  type ReserveResult,
  take,
} from './taking.ts';

interface NamedRow extends GridRow {
  id: string;
  grid_row: number;
  grid_column: number;
  state: 'free' | 'reserved' | 'occupied' | 'blocked';
  blocked_reason: string | null;
  set_aside_for: string | null;
  container_id: string;
  name: string;
  barcode: string | null;
  zone: Zone | null;
  sample_types: string[] | null;
  rules: LocationRules;
  claim: SampleTraits | null;
  is_handoff: boolean;
  is_retired: boolean;
  unit_id: string | null;
  total: number;
  occupied: number;
  reserved: number;
  blocked: number;
  reachable: boolean | null;
}

/** The code with which each hard rule refuses a place. */
export const REFUSED_BY = {
  in_service: 'LOCATION_RETIRED',
  temperature: 'ZONE_MISMATCH',
  type: 'TYPE_NOT_ACCEPTED',
  class: 'RULE_NOT_MET',
  project: 'RULE_NOT_MET',
  hazard: 'RULE_NOT_MET',
  quarantine: 'RULE_NOT_MET',
  exclusive: 'RULE_NOT_MET',
  reach: 'OUT_OF_REACH',
} as const satisfies Record<Exclude<PlacementRule, 'capacity'>, Refusal['code']>;

async function namedPosition(
  tx: Transaction<DB>,
  tenantId: string,
  positionId: string,
  robotId: string | null,
): Promise<NamedRow | undefined> {
  const { rows } = await sql<NamedRow>`
    SELECT p.id, p.grid_row, p.grid_column, p.state, p.blocked_reason,
           CASE WHEN p.job_id IS NULL THEN r.project END AS set_aside_for, p.container_id,
           t.name || ' ' || l.name AS name, l.barcode, l.effective_zone AS zone,
           l.effective_sample_types AS sample_types, l.effective_rules AS rules,
           CASE WHEN c.occupied + c.reserved > 0 THEN c.claim END AS claim, ${GRID_COLUMNS},
           l.is_handoff, l.retired_at IS NOT NULL AS is_retired, l.unit_id, c.total, c.occupied, c.reserved, c.blocked,
           CASE WHEN ${robotId}::uuid IS NULL THEN NULL ELSE l.robot_cassette IS NOT NULL AND EXISTS (
             SELECT FROM robot r JOIN location_ancestor a ON a.tenant_id = r.tenant_id AND a.ancestor_id = r.store_id
             WHERE r.tenant_id = p.tenant_id AND r.id = ${robotId}::uuid AND r.retired_at IS NULL
               AND a.descendant_id = l.id) END AS reachable
    FROM position p
    LEFT JOIN reservation r ON r.tenant_id = p.tenant_id AND r.id = p.reservation_id
    JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
    JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
    JOIN location_count c ON c.tenant_id = l.tenant_id AND c.location_id = l.id
    WHERE p.tenant_id = ${tenantId} AND p.id = ${positionId}`.execute(tx);
  return rows[0];
}

function namedCandidate(row: NamedRow): ContainerCandidate {
  return {
    containerId: row.container_id,
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
    expired: 0,
    isHandoff: row.is_handoff,
    isRetired: row.is_retired,
    reachable: row.reachable,
    projectHere: 0,
    projectSeen: 0,
    doorOpens: false,
    order: 0,
  };
}

/** Reserves the position that was asked for by name; a refusal names the next free one. */
export async function reserveNamed(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  need: SampleNeed,
  positionId: string,
  leaseMs: number,
  options: ReserveOptions,
): Promise<ReserveResult> {
  const robotId = options.robotId ?? null;
  const row = await namedPosition(tx, tenantId, positionId, robotId);
  if (!row) {
    return {
      outcome: 'refused',
      refusal: { code: 'NOT_FOUND', detail: `there is no position ${positionId}` },
    };
  }
  const room: Room = { candidate: namedCandidate(row), barcode: row.barcode, grid: gridOf(row) };
  const place = positionRef(row, room);
  // Whether this one position can be taken is asked by taking it; the rules are asked of its container.
  const rules = checkRules(need, room.candidate).filter((verdict) => verdict.rule !== 'capacity');
  const refusal = await refuseByRule(tx, tenantId, need, place, row, rules, robotId);
  if (refusal) return { outcome: 'refused', refusal };
  const taken = await take(tx, tenantId, jobId, need, sql`${positionId}`, leaseMs);
  if (taken === 'rules_changed') return reserveNamed(tx, tenantId, jobId, need, positionId, leaseMs, options);
  if (taken === null) {
    return { outcome: 'refused', refusal: await refuseTaken(tx, tenantId, need, place, row, robotId) };
  }
  return {
    outcome: 'reserved',
    position: { ...place, leaseExpiresAt: taken.lease_expires_at },
    explanation: {
      containerId: row.container_id,
      rules: [
        ...rules,
        { rule: 'capacity', passed: true, detail: `${place.label} was free, and was asked for by name` },
      ],
      score: null,
      runnersUp: [],
    },
  };
}

async function refuseByRule(
  tx: Transaction<DB>,
  tenantId: string,
  need: SampleNeed,
  place: PositionRef,
  row: NamedRow,
  rules: readonly RuleVerdict[],
  robotId: string | null,
): Promise<Refusal | null> {
  const broken = rules.find((verdict) => !verdict.passed);
  if (!broken || broken.rule === 'capacity') return null;
  const nextFree = await nextFreeElsewhere(tx, tenantId, need, { robotId });
  return {
    code:
      row.is_handoff && broken.rule === 'in_service' && !row.is_retired
        ? 'CONFLICT'
        : REFUSED_BY[broken.rule],
    detail: `position ${place.label} of ${place.containerName} cannot take the sample: ${broken.detail}; ${describeNext(nextFree)}`,
    facts: { rule: broken.rule, nextFree },
  };
}

async function refuseTaken(
  tx: Transaction<DB>,
  tenantId: string,
  need: SampleNeed,
  place: PositionRef,
  row: NamedRow,
  robotId: string | null,
): Promise<Refusal> {
  const nextFree = await nextFreeElsewhere(tx, tenantId, need, {
    robotId,
    preferContainerId: place.containerId,
  });
  const what =
    row.state === 'blocked'
      ? `is blocked (${row.blocked_reason ?? 'no reason given'})`
      : row.state === 'occupied'
        ? 'is occupied'
        : row.set_aside_for !== null
          ? `is set aside for project ${row.set_aside_for}`
          : 'is reserved for another job';
  return {
    code: row.state === 'blocked' ? 'POSITION_BLOCKED' : 'POSITION_OCCUPIED',
    detail: `position ${place.label} of ${place.containerName} ${what}; ${describeNext(nextFree)}`,
    facts: { nextFree },
  };
}
