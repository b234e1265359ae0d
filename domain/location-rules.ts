/** What may be one of a kind in a box. */
export const EXCLUSIVE_BY = ['project', 'type', 'owner'] as const;
export type ExclusiveBy = (typeof EXCLUSIVE_BY)[number];

/**
 * What a place takes, beyond temperature and type of sample. What is absent is no rule. Said on any location; in force
 * on everything below it, narrowed further there, never widened.
 */
export interface LocationRules {
  /** accepted classes; a sample without a class is refused */
  readonly sampleClasses?: readonly string[];
  /** accepted projects; a sample without a project is refused */
  readonly projects?: readonly string[];
  /** accepted hazards; a sample without a known hazard is accepted */
  readonly hazards?: readonly string[];
  /** all tubes of one container are alike in this */
  readonly exclusive?: readonly ExclusiveBy[];
  /** it takes samples in quarantine, and no others; in force `any` where the container is of type quarantine */
  readonly quarantine?: boolean | 'any';
}

/** What the rules ask of a sample. */
export interface SampleTraits {
  readonly type: string;
  readonly project: string | null;
  readonly class?: string | null;
  readonly hazard?: string | null;
  readonly owner?: string | null;
  readonly quarantine?: boolean;
}

/** The rules of this file, in the order in which they are checked. */
export const LOCATION_RULES = ['class', 'project', 'hazard', 'quarantine', 'exclusive'] as const;
export type LocationRule = (typeof LOCATION_RULES)[number];

/** One rule's verdict on one place. */
export interface LocationRuleVerdict {
  readonly rule: LocationRule;
  readonly passed: boolean;
  /** a sentence part, e.g. `it is for projects HEART, not LUNG` */
  readonly detail: string;
}

/**
 * Judges a place by its rules in force; rules that are not set have no verdict. The database's `rules_accept` and
 * `exclusive_accepts` give the same answer.
 * @param held what is in the container already, as the first of it; null = it is empty, or no container
 */
export function judgeRules(
  sample: SampleTraits,
  rules: LocationRules,
  held: SampleTraits | null,
): LocationRuleVerdict[] {
  const verdicts: LocationRuleVerdict[] = [];
  const listed = (
    rule: LocationRule,
    what: string,
    accepted: readonly string[] | undefined,
    value: string | null,
    withoutPasses: boolean,
  ) => {
    if (accepted === undefined) return;
    const passed = value === null ? withoutPasses : accepted.includes(value);
    const names = accepted.join(', ') || 'none';
    const given = value === null ? `one without ${what}` : value;
    verdicts.push({
      rule,
      passed,
      detail: passed ? `it takes ${given}` : `it is for ${what} ${names}, not for ${given}`,
    });
  };
  listed('class', 'class', rules.sampleClasses, sample.class ?? null, false);
  listed('project', 'project', rules.projects, sample.project, false);
  listed('hazard', 'hazard', rules.hazards, sample.hazard ?? null, true);
  const inQuarantine = sample.quarantine ?? false;
  const forQuarantine = rules.quarantine ?? false;
  if (inQuarantine || forQuarantine !== false) {
    const passed = forQuarantine === 'any' || forQuarantine === inQuarantine;
    verdicts.push({
      rule: 'quarantine',
      passed,
      detail: passed
        ? 'it is a place of quarantine'
        : inQuarantine
          ? 'the sample is in quarantine, and it is no place of quarantine'
          : 'it is a place of quarantine, and the sample is not in quarantine',
    });
  }
  for (const by of held === null ? [] : (rules.exclusive ?? [])) {
    const [there, here] = [held?.[by] ?? null, sample[by] ?? null];
    const passed = there === here;
    verdicts.push({
      rule: 'exclusive',
      passed,
      detail: passed
        ? `what is in it has the same ${by}`
        : `one ${by} to a container: it holds ${there ?? `tubes without ${by}`}, not ${here ?? `such without ${by}`}`,
    });
  }
  return verdicts;
}
