import type { Transaction } from 'kysely';
import type { SampleRecord } from '../db/custody.ts';
import { recentMotions } from '../db/exposure.ts';
import { budgetOf } from '../db/exposure-budgets.ts';
import { seePlace } from '../db/places.ts';
import type { DB } from '../db/schema.ts';
import { DomainError } from '../domain/errors.ts';
import {
  type ExposurePrediction,
  predictByHand,
  predictRetrieval,
  predictTransfer,
  refusalOfExposure,
  typicalSeconds,
} from '../domain/exposure.ts';

/** Where a tube goes, as far as its exposure depends on it. */
type Route =
  | { readonly kind: 'by_hand' }
  | { readonly kind: 'move'; readonly robotId: string }
  | { readonly kind: 'retrieval'; readonly robotId: string; readonly handoffPositionId: string };

/** What was found, and how long the tube may wait in the hand-off, in ms; null = it comes to none. */
interface Exposed {
  readonly exposure: ExposurePrediction;
  readonly pickupMs: number | null;
}

/**
 * Predicts how long a move that takes a tube out of its cold will have it outside.
 * @throws DomainError EXPOSURE_BUDGET when that is longer than it may be
 */
export async function requireWithinBudget(
  tx: Transaction<DB>,
  tenantId: string,
  sample: Pick<SampleRecord, 'id' | 'zone'>,
  route: Route,
): Promise<Exposed> {
  const { exposure, pickupMs } = await predict(tx, tenantId, sample, route);
  const refusal = refusalOfExposure(sample.id, sample.zone, exposure);
  if (refusal) {
    const { code, detail, facts } = refusal;
    throw new DomainError(code, detail, { ...(facts && { facts }) });
  }
  return { exposure, pickupMs };
}

/** As expected of a placement by robot, which is never refused: it brings the tube into its cold. */
export async function predictPlacement(
  tx: Transaction<DB>,
  tenantId: string,
  sample: Pick<SampleRecord, 'id' | 'zone'>,
  robotId: string,
): Promise<ExposurePrediction> {
  return (await predict(tx, tenantId, sample, { kind: 'move', robotId })).exposure;
}

async function predict(
  tx: Transaction<DB>,
  tenantId: string,
  { zone }: Pick<SampleRecord, 'zone'>,
  route: Route,
): Promise<Exposed> {
  if (route.kind === 'by_hand') {
    return { exposure: predictByHand(zone, await budgetOf(tx, tenantId, zone)), pickupMs: null };
  }
  // Sent in one go: none of these waits for another.
  const [budget, measured, handoff] = await Promise.all([
    budgetOf(tx, tenantId, zone),
    recentMotions(tx, tenantId, route.robotId),
    route.kind === 'retrieval' ? seePlace(tx, tenantId, route.handoffPositionId) : null,
  ]);
  const takes = typicalSeconds(measured);
  if (route.kind === 'move') return { exposure: predictTransfer(zone, budget, takes), pickupMs: null };
  const { prediction, pickupSeconds } = predictRetrieval(zone, budget, takes, handoff?.zone ?? null);
  return { exposure: prediction, pickupMs: pickupSeconds * 1000 };
}
