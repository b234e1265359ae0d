import { judgeRules, LOCATION_RULES, type LocationRules, type SampleTraits } from './location-rules.ts';
import { ZONE_NAMES, ZONES, type Zone } from './zone.ts';

/** What a sample needs of the place it goes to. */
export interface SampleNeed extends SampleTraits {
  readonly zone: Zone;
}

/** A container that may take the sample, as it is now. */
export interface ContainerCandidate {
  readonly containerId: string;
  /** as people know it, e.g. `Box 9×9 B-7` */
  readonly name: string;
  /** the unit whose door one opens to reach it: where its temperature comes from */
  readonly unitId: string | null;
  /** zone in force; null = none is known */
  readonly zone: Zone | null;
  /** accepted kinds of sample; null = any */
  readonly sampleTypes: readonly string[] | null;
  /** what else is in force there; left out = nothing */
  readonly rules?: LocationRules;
  /** what is in it already, where it is for one of a kind; left out or null = it is empty */
  readonly held?: SampleTraits | null;
  readonly total: number;
  readonly occupied: number;
  readonly reserved: number;
  readonly blocked: number;
  /** reserved positions whose lease has run out: they may be taken */
  readonly expired: number;
  readonly isHandoff: boolean;
  readonly isRetired: boolean;
  /** within the robot's reach; null when no robot is needed */
  readonly reachable: boolean | null;
  /** tubes of the sample's project in it, of those looked at */
  readonly projectHere: number;
  /** tubes of the sample's project looked at: the newest */
  readonly projectSeen: number;
  /** the unit's door is opened anyway: a tube of the project or a job under way is in it */
  readonly doorOpens: boolean;
  /** reserved positions that are set aside for the sample's project; left out = none */
  readonly setAside?: number;
  /** creation order among the candidates, 0 first */
  readonly order: number;
}

/** The hard rules, in the order in which they are checked. */
export const PLACEMENT_RULES = [
  'in_service',
  'temperature',
  'type',
  ...LOCATION_RULES,
  'reach',
  'capacity',
] as const;
export type PlacementRule = (typeof PLACEMENT_RULES)[number];

/** One rule's verdict on one container. */
export interface RuleVerdict {
  readonly rule: PlacementRule;
  readonly passed: boolean;
  /** a sentence part, e.g. `-80 (−85…−60 °C) is what the sample needs` */
  readonly detail: string;
}

/** Points of a container: a block set aside outweighs a project kept together, which outweighs a door, a door outweighs the fill. */
export interface PlacementScore {
  readonly total: number;
  /** 0, or 100–150 by the share of the project's tubes that are here */
  readonly keepTogether: number;
  /** 200 where positions are set aside for the project; left out = none are */
  readonly setAside?: number;
  /** 10 when no further door is opened */
  readonly door: number;
  /** 0–1: how full it is, so that one container is filled before the next is begun */
  readonly fill: number;
}

/** Why this position and not another. */
export interface PlacementExplanation {
  readonly containerId: string;
  readonly rules: readonly RuleVerdict[];
  readonly score: PlacementScore | null;
  readonly runnersUp: readonly RunnerUp[];
}

/** A container that was not chosen. */
export interface RunnerUp {
  readonly containerId: string;
  readonly name: string;
  readonly score: PlacementScore | null;
  readonly lostBecause: string;
}

/** A container with its verdicts; `score` is null when a rule refuses it. */
export interface RankedContainer {
  readonly candidate: ContainerCandidate;
  readonly rules: readonly RuleVerdict[];
  readonly score: PlacementScore | null;
}

const KEEP_TOGETHER_POINTS = 100;
const KEEP_TOGETHER_SHARE_POINTS = 50;
const SET_ASIDE_POINTS = 200;
const DOOR_POINTS = 10;

/**
 * True when everything the holding zone may reach lies within what the need allows: zones are ranges, not names.
 * Limits in °C from {@link ZONES}.
 */
export function zoneServes(holding: Zone, need: Zone): boolean {
  return ZONES[holding].minC >= ZONES[need].minC && ZONES[holding].maxC <= ZONES[need].maxC;
}

/** The zones in which a sample with this need may stand. */
export function zonesServing(need: Zone): Zone[] {
  return ZONE_NAMES.filter((zone) => zoneServes(zone, need));
}

/** `-80 (−85…−60 °C)`, for messages. */
export function describeZone(zone: Zone): string {
  const degrees = (value: number) => (value < 0 ? `−${-value}` : `${value}`);
  return `${zone} (${degrees(ZONES[zone].minC)}…${degrees(ZONES[zone].maxC)} °C)`;
}

/** Positions of a container that may be given away. */
export function openPositions(candidate: ContainerCandidate): number {
  return (
    candidate.total -
    candidate.occupied -
    candidate.reserved -
    candidate.blocked +
    candidate.expired +
    (candidate.setAside ?? 0)
  );
}

/** Judges one container by the hard rules; all are checked, so that an explanation can name each. */
export function checkRules(need: SampleNeed, candidate: ContainerCandidate): RuleVerdict[] {
  const { zone, sampleTypes } = candidate;
  const open = openPositions(candidate);
  const verdicts: RuleVerdict[] = [
    {
      rule: 'in_service',
      passed: !candidate.isRetired && !candidate.isHandoff,
      detail: candidate.isRetired
        ? 'it is retired'
        : candidate.isHandoff
          ? 'it is a hand-off, not a store'
          : 'it is in service',
    },
    {
      rule: 'temperature',
      passed: zone !== null && zoneServes(zone, need.zone),
      detail:
        zone === null
          ? `no temperature is set for it, and the sample needs ${describeZone(need.zone)}`
          : zoneServes(zone, need.zone)
            ? `${describeZone(zone)} is what the sample needs`
            : `it is at ${describeZone(zone)}, and the sample needs ${describeZone(need.zone)}`,
    },
    {
      rule: 'type',
      passed: sampleTypes === null || sampleTypes.includes(need.type),
      detail:
        sampleTypes === null
          ? 'it takes any type of sample'
          : sampleTypes.includes(need.type)
            ? `it takes ${need.type}`
            : `it takes ${sampleTypes.join(', ') || 'nothing'}, not ${need.type}`,
    },
  ];
  verdicts.push(...judgeRules(need, candidate.rules ?? {}, candidate.held ?? null));
  if (candidate.reachable !== null) {
    verdicts.push({
      rule: 'reach',
      passed: candidate.reachable,
      detail: candidate.reachable ? 'the robot reaches it' : 'the robot does not reach it',
    });
  }
  verdicts.push({
    rule: 'capacity',
    passed: open > 0,
    detail:
      open > 0
        ? `${open} of ${candidate.total} positions can be given away`
        : `none of its ${candidate.total} positions is free (${candidate.occupied} occupied, ${candidate.reserved} reserved, ${candidate.blocked} blocked)`,
  });
  return verdicts;
}

/** Points of a container that has passed the rules. */
export function scoreContainer(candidate: ContainerCandidate): PlacementScore {
  const keepTogether =
    candidate.projectHere > 0
      ? KEEP_TOGETHER_POINTS +
        KEEP_TOGETHER_SHARE_POINTS * (candidate.projectHere / Math.max(1, candidate.projectSeen))
      : 0;
  const door = candidate.doorOpens ? DOOR_POINTS : 0;
  const setAside = (candidate.setAside ?? 0) > 0 ? SET_ASIDE_POINTS : 0;
  const fill = candidate.total > 0 ? (candidate.occupied + candidate.reserved) / candidate.total : 0;
  const round = (points: number) => Math.round(points * 1000) / 1000;
  return {
    total: round(setAside + keepTogether + door + fill),
    ...(setAside > 0 && { setAside }),
    keepTogether: round(keepTogether),
    door,
    fill: round(fill),
  };
}

/**
 * Orders containers: those that pass every rule by their points, the best first, equal ones in the order of their
 * creation; then those that a rule refuses.
 */
export function rankContainers(
  need: SampleNeed,
  candidates: readonly ContainerCandidate[],
): RankedContainer[] {
  return candidates
    .map((candidate) => {
      const rules = checkRules(need, candidate);
      return {
        candidate,
        rules,
        score: rules.every((rule) => rule.passed) ? scoreContainer(candidate) : null,
      };
    })
    .sort(
      (a, b) =>
        (b.score?.total ?? -1) - (a.score?.total ?? -1) ||
        b.candidate.projectHere - a.candidate.projectHere ||
        a.candidate.order - b.candidate.order,
    );
}

function lostBecause(chosen: PlacementScore, rival: RankedContainer, ahead: boolean): string {
  const refused = rival.rules.find((rule) => !rule.passed);
  if (refused) return refused.detail;
  if (ahead) return 'its free positions were being taken at the same moment';
  const score = rival.score;
  if (!score || score.total === chosen.total) return 'equal in points, but created later';
  if ((score.setAside ?? 0) < (chosen.setAside ?? 0)) return 'nothing in it is set aside for the project';
  if (score.keepTogether < chosen.keepTogether) {
    return rival.candidate.projectHere > 0
      ? `it holds fewer of the project's tubes (${rival.candidate.projectHere} of the newest ${rival.candidate.projectSeen})`
      : "it holds none of the project's tubes";
  }
  if (score.door < chosen.door) return 'a further door would have to be opened';
  return `it is less full (${rival.candidate.occupied + rival.candidate.reserved} of ${rival.candidate.total})`;
}

/**
 * Says why a container was chosen: the rules it passed, its points, and the two next best with the reason for which
 * each lost. A container that ranked higher and lost its last position to another job at that moment comes first.
 * @param ranking result of {@link rankContainers}
 */
export function explainChoice(ranking: readonly RankedContainer[], chosenId: string): PlacementExplanation {
  const place = ranking.findIndex((ranked) => ranked.candidate.containerId === chosenId);
  const chosen = ranking[place];
  if (!chosen) throw new Error(`container ${chosenId} was not among the candidates`);
  const score = chosen.score ?? scoreContainer(chosen.candidate);
  return {
    containerId: chosenId,
    rules: chosen.rules,
    score,
    runnersUp: ranking
      .map((rival, index) => ({ rival, ahead: index < place }))
      .filter(({ rival }) => rival !== chosen)
      .slice(0, 2)
      .map(({ rival, ahead }) => ({
        containerId: rival.candidate.containerId,
        name: rival.candidate.name,
        score: rival.score,
        lostBecause: lostBecause(score, rival, ahead),
      })),
  };
}
