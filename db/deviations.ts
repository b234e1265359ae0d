import { sql } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { DomainError } from '../domain/errors.ts';
import type { Change } from './change.ts';

/** What kind of difference between what is and what should be. */
export type DeviationKind =
  | 'sample_lost'
  | 'sample_damaged'
  | 'dropped'
  | 'barcode_mismatch'
  | 'quarantined'
  | 'exposure_exceeded'
  | 'inventory_missing'
  | 'inventory_unexpected'
  | 'inventory_moved'
  | 'unverified';

export interface NewDeviation {
  readonly tenantId: string;
  readonly kind: DeviationKind;
  /** a sentence for people */
  readonly description: string;
  readonly sampleId: string | null;
  readonly jobId: string | null;
  readonly robotId: string | null;
  /** ids and numbers; barcodes and names only as commitments elsewhere */
  readonly facts?: Readonly<Record<string, JsonValue>>;
}

/** Opens a deviation in the change that found it; it stays open until a person closes it. @returns its id */
export async function openDeviation(change: Change, deviation: NewDeviation): Promise<string> {
  const { tenantId, kind, description, sampleId, jobId, robotId, facts = {} } = deviation;
  const { rows } = await sql<{ id: string }>`
    INSERT INTO deviation (tenant_id, kind, description, sample_id, job_id, robot_id, facts, opened_at)
    VALUES (${tenantId}, ${kind}, ${description}, ${sampleId}, ${jobId}, ${robotId}, ${JSON.stringify(facts)}::jsonb,
            ${change.recordedAt}) RETURNING id`.execute(change.tx);
  const id = rows[0]?.id;
  if (id === undefined) throw new DomainError('INTERNAL', 'The deviation was not written.');
  change.record({
    aggregate: 'deviation',
    aggregateId: id,
    version: 1,
    type: 'deviation.opened',
    from: null,
    to: 'open',
    before: null,
    after: { kind, description, sample_id: sampleId, job_id: jobId, robot_id: robotId, facts: { ...facts } },
    erasable: ['description'],
    data: { deviation_id: id, kind, sample_id: sampleId, job_id: jobId, robot_id: robotId },
  });
  return id;
}
