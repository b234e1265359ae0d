import { sql } from 'kysely';
import { lockSample, moveSampleCustody } from '../db/custody.ts';
import type { JobRecord } from '../db/jobs.ts';
import { blockHeldPosition } from '../db/location-service.ts';
import { read } from '../db/tenancy.ts';
import { DomainError } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import type { SeenAt, StorageActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';
import { isChosenBySystem, reservedBy } from './order.ts';
import { markOf, robotDevice, runStep } from './step.ts';
import type { StorageDependencies } from './storage.ts';

type CustodyActivities = Pick<StorageActivities, 'moveCustody' | 'custodyOf' | 'blockPlace'>;

/** Event of a tube seen at a place. */
const SEEN_EVENT = {
  position: 'storage.sample.placed',
  handoff: 'storage.sample.at_handoff',
  carrier: 'storage.sample.picked',
  person: 'storage.sample.taken',
} as const satisfies Record<SeenAt['kind'], EventType>;

type WhereItIs = Awaited<ReturnType<StorageActivities['custodyOf']>>;

/** Custody as sensors see it, and as it stands. */
export function createCustodyActivities({ db }: StorageDependencies): CustodyActivities {
  return {
    moveCustody: (ref, seen, next) =>
      runStep(
        db,
        ref,
        {
          params: ['moveCustody', seen, next],
          device: robotDevice,
          ...(next.state === 'COMPENSATING' && { reason: 'putting_back' as const }),
        },
        async (change, job) => {
          const { tenantId } = job.actor;
          const sample = await lockSample(change.tx, tenantId, job.sampleId);
          if (!sample) throw new DomainError('NOT_FOUND', `There is no sample ${job.sampleId}.`);
          const aiOptimized = storesAsOrdered(job, seen) ? isChosenBySystem(job) : undefined;
          await moveSampleCustody(change, {
            tenantId,
            sample,
            jobId: job.id,
            to: seen,
            witness: seen.kind === 'person' ? 'person' : 'sensor',
            type: SEEN_EVENT[seen.kind],
            ...(aiOptimized !== undefined && { aiOptimized }),
          });
          return { result: undefined, mark: markOf(next), outcome: 'done', detail: { seen } };
        },
      ),

    blockPlace: (ref, positionId, reason) =>
      runStep(
        db,
        ref,
        { params: ['blockPlace', positionId, reason], reason: 'blocking' },
        async (change, job) => {
          await blockHeldPosition(
            change,
            { tenantId: job.actor.tenantId, jobId: job.id, positionId },
            reason,
          );
          return { result: undefined, mark: {}, outcome: 'done', detail: { positionId, reason } };
        },
      ),

    custodyOf: (ref) =>
      failingAsWorkflowsExpect(async () => {
        const { tenantId } = ref.actor;
        const query = sql<CustodyRow>`
          SELECT s.custody, s.position_id, s.robot_id, s.holder_id,
                 coalesce(s.candidates @> '[{"kind": "floor"}]', false) AS is_given_up FROM job j
          JOIN sample s ON s.tenant_id = j.tenant_id AND s.id = j.sample_id
          WHERE j.tenant_id = ${tenantId} AND j.id = ${ref.jobId}`.compile(db.kysely);
        const [row] = await read(db, tenantId, query);
        if (!row) throw new DomainError('NOT_FOUND', `Job ${ref.jobId} has no sample.`);
        return whereItIs(row);
      }),
  };
}

/** The tube arrived where the job's order stores it, not back where it came from. */
function storesAsOrdered(job: JobRecord, seen: SeenAt): boolean {
  return (
    seen.kind === 'position' &&
    job.kind !== 'retrieval' &&
    reservedBy(job)?.place.positionId === seen.positionId
  );
}

interface CustodyRow {
  custody: SeenAt['kind'] | 'unknown' | 'transit' | 'disposed';
  position_id: string | null;
  robot_id: string | null;
  holder_id: string | null;
  /** as an answer `not_found` leaves it */
  is_given_up: boolean;
}

function whereItIs(row: CustodyRow): WhereItIs {
  const { custody } = row;
  if ((custody === 'position' || custody === 'handoff') && row.position_id !== null) {
    return { kind: custody, positionId: row.position_id };
  }
  if (custody === 'carrier' && row.robot_id !== null) return { kind: custody, robotId: row.robot_id };
  if (custody === 'person' && row.holder_id !== null) return { kind: custody, userId: row.holder_id };
  if (custody === 'transit' || custody === 'disposed') return { kind: custody };
  return { kind: 'unknown', isGivenUp: row.is_given_up };
}
