import { setTimeout as sleep } from 'node:timers/promises';
import { type Findings, isClean } from './findings.ts';
import type { CampaignLaboratory } from './laboratory.ts';

const LOOK_EVERY_MS = 150;

/** Ends a campaign that shall not go on after its first finding. */
export class SomethingFound extends Error {}

/** What the records may not say at any moment, whoever was killed in the middle of what. */
const NEVER = `
  SELECT 'givenTwice' AS kind, 'position ' || p.id || ', in which sample ' || s.id || ' stands, is ' || p.state || ' for sample '
    || coalesce(p.sample_id::text, 'none') || ' and job ' || coalesce(p.job_id::text, 'none') AS what
  FROM sample s JOIN position p ON p.tenant_id = s.tenant_id AND p.id = s.position_id
  WHERE p.sample_id IS DISTINCT FROM s.id OR p.state <> 'occupied'
  UNION ALL
  SELECT 'givenTwice', 'position ' || p.id || ' of job ' || j.id || ', whose tube is in the carrier, is ' || p.state || ' for job '
    || coalesce(p.job_id::text, 'none')
  FROM job j JOIN sample s ON s.tenant_id = j.tenant_id AND s.id = j.sample_id AND s.job_id = j.id AND s.custody = 'carrier'
  CROSS JOIN LATERAL (VALUES (j.result -> 'place'), (j.result -> 'handoff')) AS reserved (place)
  JOIN position p ON p.tenant_id = j.tenant_id AND p.id = (reserved.place ->> 'positionId')::uuid
  WHERE j.finished_at IS NULL AND p.job_id IS DISTINCT FROM j.id
  UNION ALL
  SELECT 'orphanLeases', 'carrier of robot ' || robot_id || ' by sample ' || id || ', which no job has'
  FROM sample WHERE custody = 'carrier' AND job_id IS NULL`;

/** Looks again and again at what must hold at every moment, not only at the end. */
export class Watch {
  readonly #laboratory: CampaignLaboratory;
  readonly #findings: Findings;
  readonly #failFast: boolean;
  readonly #told = new Set<string>();

  /** @param failFast ends the campaign at the first finding, whoever made it */
  constructor(laboratory: CampaignLaboratory, findings: Findings, failFast: boolean) {
    this.#laboratory = laboratory;
    this.#findings = findings;
    this.#failFast = failFast;
  }

  /** Looks until told to end. @throws SomethingFound */
  async run(ending: AbortSignal): Promise<void> {
    while (!ending.aborted) {
      // The database is killed now and then: the next look tells, and the last one is made when it is back.
      await this.look().catch(() => undefined);
      if (this.#failFast && !isClean(this.#findings)) throw new SomethingFound();
      await sleep(LOOK_EVERY_MS);
    }
  }

  /** One look. @throws what pg throws while the database is away */
  async look(): Promise<void> {
    const rows = await this.#laboratory.sql<{ kind: 'givenTwice' | 'orphanLeases'; what: string }>(NEVER);
    for (const { kind, what } of rows) {
      if (this.#told.has(what)) continue;
      this.#told.add(what);
      this.#findings[kind].push(what);
    }
  }
}
