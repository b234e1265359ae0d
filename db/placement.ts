import { sql, type Transaction } from 'kysely';
import type { Refusal } from '../domain/errors.ts';
import { judgeRules, type LocationRules } from '../domain/location-rules.ts';
import type { Target } from '../domain/order.ts';
import {
  describeZone,
  explainChoice,
  rankContainers,
  type SampleNeed,
  zoneServes,
} from '../domain/placement.ts';
import type { Zone } from '../domain/zone.ts';
import { reserveNamed } from './named-position.ts';
import { findRoom } from './room.ts';
import type { DB } from './schema.ts';
import {
  describeNext,
  firstIn,
  nextFreeElsewhere,
  positionRef,
  type ReserveOptions,
  type ReserveResult,
  take,
} from './taking.ts';

export type { HeldPosition, ReserveOptions, ReserveResult } from './taking.ts';

/** Choices made anew when a container's rules change in between. */
const ATTEMPTS = 3;

/**
 * Reserves a position for a job: the one named, or the best the rules and the strategy find. Writers do not wait for
 * each other's choice (`SKIP LOCKED`) and do not collide; a lease that has run out may be taken, one without expiry never.
 * @param leaseMs how long the job may hold it before motion is accepted, in milliseconds
 * @returns a refusal as a value, with the next free position elsewhere in `facts.nextFree` where there is one
 */
export async function reserveTarget(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  need: SampleNeed,
  target: Target,
  leaseMs: number,
  options: ReserveOptions = {},
): Promise<ReserveResult> {
  return target.kind === 'named'
    ? reserveNamed(tx, tenantId, jobId, need, target.positionId, leaseMs, options)
    : reserveChosen(tx, tenantId, jobId, need, target.withinId, leaseMs, options);
}

async function reserveChosen(
  tx: Transaction<DB>,
  tenantId: string,
  jobId: string,
  need: SampleNeed,
  withinId: string | null,
  leaseMs: number,
  options: ReserveOptions,
): Promise<ReserveResult> {
  const scope = {
    withinId,
    robotId: options.robotId ?? null,
    exceptContainerId: options.exceptContainerId ?? null,
  };
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const rooms = await findRoom(tx, need, scope);
    const ranking = rankContainers(
      need,
      rooms.map((room) => room.candidate),
    );
    const allowed = ranking
      .filter((ranked) => ranked.score !== null)
      .map((ranked) => ranked.candidate.containerId);
    if (allowed.length === 0) break;
    const taken = await take(tx, tenantId, jobId, need, firstIn(tenantId, need, allowed), leaseMs);
    if (taken === null) break;
    if (taken === 'rules_changed') continue;
    const room = rooms.find((each) => each.candidate.containerId === taken.container_id);
    if (!room) throw new Error(`position ${taken.id} was taken in a container nobody asked for`);
    return {
      outcome: 'reserved',
      position: { ...positionRef(taken, room), leaseExpiresAt: taken.lease_expires_at },
      explanation: explainChoice(ranking, taken.container_id),
    };
  }
  return { outcome: 'refused', refusal: await refuseChoice(tx, tenantId, need, withinId, options) };
}

async function refuseChoice(
  tx: Transaction<DB>,
  tenantId: string,
  need: SampleNeed,
  withinId: string | null,
  options: ReserveOptions,
): Promise<Refusal> {
  const robotId = options.robotId ?? null;
  const reach = robotId === null ? '' : ' within the robot’s reach';
  if (withinId === null) {
    return {
      code: 'NO_POSITION_FREE',
      detail: `no position${reach} at ${describeZone(need.zone)} that takes ${need.type} is free: free one, or add a container`,
      facts: { nextFree: null },
    };
  }
  const { rows } = await sql<{
    name: string;
    zone: Zone | null;
    sample_types: string[] | null;
    rules: LocationRules;
    is_retired: boolean;
    is_handoff: boolean;
  }>`
    SELECT t.name || ' ' || l.name AS name, l.effective_zone AS zone, l.effective_sample_types AS sample_types,
           l.effective_rules AS rules, l.retired_at IS NOT NULL AS is_retired, l.is_handoff
    FROM location l JOIN location_type t ON t.tenant_id = l.tenant_id AND t.code = l.type
    WHERE l.tenant_id = ${tenantId} AND l.id = ${withinId}`.execute(tx);
  const within = rows[0];
  if (!within) return { code: 'NOT_FOUND', detail: `there is no location ${withinId}` };
  const nextFree = await nextFreeElsewhere(tx, tenantId, need, { robotId, exceptContainerId: withinId });
  const facts = { nextFree };
  const next = describeNext(nextFree);
  if (within.is_retired) {
    return { code: 'LOCATION_RETIRED', detail: `${within.name} is retired; ${next}`, facts };
  }
  if (within.is_handoff) {
    return {
      code: 'CONFLICT',
      detail: `${within.name} is a hand-off, where nothing is stored; ${next}`,
      facts,
    };
  }
  if (within.zone !== null && !zoneServes(within.zone, need.zone)) {
    return {
      code: 'ZONE_MISMATCH',
      detail: `${within.name} is at ${describeZone(within.zone)}, and the sample needs ${describeZone(need.zone)}; ${next}`,
      facts,
    };
  }
  if (within.sample_types !== null && !within.sample_types.includes(need.type)) {
    return {
      code: 'TYPE_NOT_ACCEPTED',
      detail: `${within.name} takes ${within.sample_types.join(', ') || 'nothing'}, not ${need.type}; ${next}`,
      facts,
    };
  }
  const broken = judgeRules(need, within.rules, null).find((verdict) => !verdict.passed);
  if (broken) {
    return {
      code: 'RULE_NOT_MET',
      detail: `${within.name} cannot take the sample: ${broken.detail}; ${next}`,
      facts: { rule: broken.rule, nextFree },
    };
  }
  return {
    code: 'NO_POSITION_FREE',
    detail: `no position${reach} in ${within.name} at ${describeZone(need.zone)} that takes ${need.type} is free; ${next}`,
    facts,
  };
}
