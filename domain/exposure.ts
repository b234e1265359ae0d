import type { Refusal } from './errors.ts';
import { describeZone, zoneServes } from './placement.ts';
import { ZONES, type Zone } from './zone.ts';

/** What a laboratory allows the tubes of one temperature class. */
export interface ExposureBudget {
  /** how long one move may have the tube outside its cold, in s; null = as long as it takes */
  readonly budgetSeconds: number | null;
  /** how long a person is expected to take from position to position, in s */
  readonly handSeconds: number;
  /** how long a tube may wait in the hand-off before the robot takes it back, in s; null = what the budget leaves */
  readonly pickupSeconds: number | null;
}

const HAND_SECONDS = 30;
const preset = (budgetSeconds: number | null): ExposureBudget => ({
  budgetSeconds,
  handSeconds: HAND_SECONDS,
  pickupSeconds: null,
});

/**
 * The budgets of a laboratory that has set none. The two minutes of −80 are those of the reference's example (devices,
 * 13.4: "Exposed 01:40 of 02:00"). It has no figure for the others: LN2 1 min, −20 2 min, 4 °C 30 min and 30 s for a
 * hand are conservative proposals, to be replaced by the laboratory's own limits.
 */
export const DEFAULT_BUDGETS: Readonly<Record<Zone, ExposureBudget>> = {
  LN2: preset(60),
  '-80': preset(120),
  '-20': preset(120),
  '4': preset(1800),
  RT: preset(null),
  '37': preset(null),
};

/** An uninterrupted exposure longer than this counts as a thaw of a frozen tube, in ms: a conservative proposal. */
const THAW_MS = 120_000;
/** The longest a tube waits in the hand-off, in s (reference, devices 13.2: "pickup 10 min (by class)"). */
const PICKUP_MOST_SECONDS = 600;
/** Nobody gets to the hand-off sooner, in s: a budget that leaves less allows no waiting there. A proposal. */
const PICKUP_LEAST_SECONDS = 30;

const isFrozen = (need: Zone): boolean => ZONES[need].maxC < 0;

/**
 * Whether a place keeps a sample in its cold: by the rule of placement (the place's class lies within the sample's,
 * reference storage 1.3), and for a frozen sample also in a colder place, which cannot thaw it. A place whose class
 * nobody has said is none. A sample kept at room temperature has no cold to leave: it is in it everywhere.
 * @param place zone in force at the place; null = none, as in a carrier, in a hand, on the floor
 */
export function isInCold(place: Zone | null, need: Zone): boolean {
  if (need === 'RT') return true;
  if (place === null) return false;
  return zoneServes(place, need) || (isFrozen(need) && ZONES[place].maxC <= ZONES[need].maxC);
}

/** What a sample's record says of its time outside its cold. */
export interface Exposure {
  /** since when it is outside; null: it is in its cold, or was never stored here and nobody knows */
  readonly warmSince: Date | null;
  /** over its life, without the interval that is running */
  readonly exposureMs: number;
  readonly freezeThawCount: number;
}

/**
 * The exposure after a change of custody. The clock runs from the first change that ends outside the cold to the first
 * that ends inside; there the interval is added up, and a frozen sample has thawed when it was longer than two minutes.
 * @param inCold whether the custody it has now keeps it in its cold
 */
export function exposureAfter(before: Exposure, need: Zone, inCold: boolean, at: Date): Exposure {
  const { warmSince, exposureMs, freezeThawCount } = before;
  if (!inCold) return { ...before, warmSince: warmSince ?? at };
  if (warmSince === null) return before;
  const interval = msBetween(warmSince, at);
  const hasThawed = isFrozen(need) && interval > THAW_MS;
  return {
    warmSince: null,
    exposureMs: exposureMs + interval,
    freezeThawCount: freezeThawCount + (hasThawed ? 1 : 0),
  };
}

/** Transactions begin in another order than they get the record: a negative interval is none. */
function msBetween(since: Date, at: Date): number {
  return Math.max(0, at.getTime() - since.getTime());
}

/** The motions of which a transfer by robot consists. */
export const TRANSFER_MOTIONS = ['pick', 'scan', 'place'] as const;
export type TransferMotion = (typeof TRANSFER_MOTIONS)[number];

/** Of so many recent motions the middle one is believed; of fewer the nominal duration. */
const MEDIAN_FROM = 5;
/** A proposal for a robot nobody has measured yet, in s. */
const NOMINAL_SECONDS: Readonly<Record<TransferMotion, number>> = { pick: 12, scan: 2, place: 12 };

/**
 * How long the motions of a robot take, in whole seconds, rounded up: the median of what was measured.
 * @param measured recent durations in s, in any order; fewer than five of a kind tell nothing
 */
export function typicalSeconds(
  measured: Partial<Record<TransferMotion, readonly number[]>>,
): Record<TransferMotion, number> {
  const of = (motion: TransferMotion): number => {
    const sorted = [...(measured[motion] ?? [])].sort((one, other) => one - other);
    const median = sorted[Math.floor(sorted.length / 2)];
    return median === undefined || sorted.length < MEDIAN_FROM
      ? NOMINAL_SECONDS[motion]
      : Math.max(1, Math.ceil(median));
  };
  return { pick: of('pick'), scan: of('scan'), place: of('place') };
}

/** The parts of a move in which the tube is outside its cold, in s. */
export interface ExposureParts {
  readonly pick?: number;
  readonly read?: number;
  readonly place?: number;
  /** in the hand-off */
  readonly waiting?: number;
  /** back into the cold when nobody collects it */
  readonly wayBack?: number;
  readonly byHand?: number;
}
const PARTS: Readonly<Record<keyof ExposureParts, string>> = {
  pick: 'pick',
  read: 'read',
  place: 'place',
  waiting: 'waiting at the hand-off',
  wayBack: 'way back if nobody comes',
  byHand: 'by hand',
};

/** What a move is expected to cost. */
export interface ExposurePrediction {
  readonly budgetSeconds: number | null;
  /** the sum of the parts; the tube is in its cold elsewhere */
  readonly predictedSeconds: number;
  readonly parts: ExposureParts;
}

function predict(budget: ExposureBudget, parts: ExposureParts): ExposurePrediction {
  const predictedSeconds = Object.values(parts).reduce((sum: number, seconds: number) => sum + seconds, 0);
  return { budgetSeconds: budget.budgetSeconds, predictedSeconds, parts };
}

/** A move by a person, from position to position. */
export function predictByHand(need: Zone, budget: ExposureBudget): ExposurePrediction {
  return predict(budget, need === 'RT' ? {} : { byHand: budget.handSeconds });
}

/** A transfer by robot, from cold to cold or from the hand-off into the cold. */
export function predictTransfer(
  need: Zone,
  budget: ExposureBudget,
  takes: Readonly<Record<TransferMotion, number>>,
): ExposurePrediction {
  return predict(budget, need === 'RT' ? {} : { pick: takes.pick, read: takes.scan, place: takes.place });
}

/**
 * A retrieval by robot, and how long the tube may wait in the hand-off. Where that is not in the sample's cold, the time
 * there and the way back are part of the exposure; unless the laboratory has set a pick-up time, the tube waits as long
 * as the budget leaves, half a minute at least and ten at most.
 * @param handoff zone in force at the hand-off; null = none
 */
export function predictRetrieval(
  need: Zone,
  budget: ExposureBudget,
  takes: Readonly<Record<TransferMotion, number>>,
  handoff: Zone | null,
): { readonly prediction: ExposurePrediction; readonly pickupSeconds: number } {
  const transfer = predictTransfer(need, budget, takes);
  if (isInCold(handoff, need)) {
    return { prediction: transfer, pickupSeconds: budget.pickupSeconds ?? PICKUP_MOST_SECONDS };
  }
  const wayBack = takes.pick + takes.place;
  const left =
    budget.budgetSeconds === null
      ? PICKUP_MOST_SECONDS
      : budget.budgetSeconds - transfer.predictedSeconds - wayBack;
  const waiting = budget.pickupSeconds ?? Math.min(PICKUP_MOST_SECONDS, Math.max(PICKUP_LEAST_SECONDS, left));
  return {
    prediction: predict(budget, { ...transfer.parts, waiting, wayBack }),
    pickupSeconds: waiting,
  };
}

/** Why a move is not begun: it is expected to have the tube outside its cold for longer than it may. Null: it may. */
export function refusalOfExposure(
  sampleId: string,
  need: Zone,
  { budgetSeconds, predictedSeconds, parts }: ExposurePrediction,
): Refusal | null {
  if (budgetSeconds === null || predictedSeconds <= budgetSeconds) return null;
  const said = (Object.keys(PARTS) as (keyof ExposureParts)[])
    .flatMap((part) => (parts[part] === undefined ? [] : [`${PARTS[part]} ${parts[part]}`]))
    .join(', ');
  return {
    code: 'EXPOSURE_BUDGET',
    detail:
      `Sample ${sampleId} may be outside ${describeZone(need)} for ${budgetSeconds} s a move; ` +
      `this move is expected to take ${predictedSeconds} s (${said}): ${wayOut(parts)}, ` +
      `or have a larger budget set at /storage/exposure-budgets.`,
    facts: { zone: need, budgetSeconds, predictedSeconds, parts: { ...parts } },
  };
}

function wayOut(parts: ExposureParts): string {
  if (parts.byHand !== undefined) return 'move it by robot';
  if (parts.waiting === undefined) return 'use a faster robot, move it by hand';
  return 'use a colder hand-off, a shorter pick-up time or a faster robot';
}

/** How long a sample was outside its cold in one move, where that was longer than it may be; else null. In s. */
export function exceededSeconds(
  budgetSeconds: number | null,
  since: Date,
  at: Date,
): { readonly exposedSeconds: number; readonly budgetSeconds: number } | null {
  const exposedSeconds = Math.ceil(msBetween(since, at) / 1000);
  return budgetSeconds === null || msBetween(since, at) <= budgetSeconds * 1000
    ? null
    : { exposedSeconds, budgetSeconds };
}
