import { type RawBuilder, sql } from 'kysely';
import type { SampleTraits } from '../domain/location-rules.ts';

/** What the rules ask of a sample, as the functions of the database take it; absent and null are the same. */
export function needOf(sample: SampleTraits): RawBuilder<unknown> {
  const { type, project } = sample;
  return sql`${JSON.stringify({
    type,
    project,
    class: sample.class ?? null,
    hazard: sample.hazard ?? null,
    owner: sample.owner ?? null,
    quarantine: sample.quarantine ?? false,
  })}::jsonb`;
}
