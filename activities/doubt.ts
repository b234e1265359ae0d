import { sql } from 'kysely';
import { raiseAlarm, worsenAlarm } from '../db/alarms.ts';
import { lockSample, moveSampleCustody } from '../db/custody.ts';
import { openDeviation } from '../db/deviations.ts';
import type { JobRecord } from '../db/jobs.ts';
import { holdWithoutExpiry } from '../db/places.ts';
import { quarantineFor } from '../db/quarantine.ts';
import { read } from '../db/tenancy.ts';
import { raiseFence } from '../db/turns.ts';
import { DomainError } from '../domain/errors.ts';
import { isFinal } from '../domain/job.ts';
import type { StorageActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';
import { placeRef } from './order.ts';
import { markOf, robotDevice, runStep } from './step.ts';
import type { StorageDependencies } from './storage.ts';

type DoubtActivities = Pick<
  StorageActivities,
  'freeze' | 'recordFinding' | 'holdForSafety' | 'isHeld' | 'escalate' | 'warnNotReady' | 'reserveQuarantine'
>;

/** What a job does while nobody knows where its tube is, or its robot must not move. */
export function createDoubtActivities({ db }: StorageDependencies): DoubtActivities {
  return {
    freeze: (ref, doubt) =>
      runStep(
        db,
        ref,
        { params: ['freeze', doubt], reason: 'fault', device: robotDevice },
        async (change, job) => {
          const { tenantId } = job.actor;
          const fence = await raiseFence(change.tx, tenantId, doubt.robotId, job.id);
          const sample = await lockSample(change.tx, tenantId, job.sampleId);
          if (sample?.jobId === job.id) {
            await moveSampleCustody(change, {
              tenantId,
              sample,
              jobId: job.id,
              to: { kind: 'unknown', candidates: doubt.candidates },
              witness: 'asserted',
              type: 'storage.sample.custody_unknown',
            });
          }
          await holdWithoutExpiry(change.tx, tenantId, job.id);
          return {
            result: { fence },
            mark: {
              state: doubt.stop === null ? 'RUNNING' : 'SAFETY_HOLD',
              phase: 'RECONCILING',
              question: null,
            },
            outcome: 'frozen',
            detail: { detail: doubt.detail, fence },
          };
        },
      ),

    recordFinding: (ref, { seen, detail, next }) =>
      runStep(
        db,
        ref,
        { params: ['recordFinding', seen, detail, next], reason: 'reconciliation', device: robotDevice },
        async (change, job) => {
          const { tenantId } = job.actor;
          const sample = await lockSample(change.tx, tenantId, job.sampleId);
          if (!sample) throw new DomainError('NOT_FOUND', `There is no sample ${job.sampleId}.`);
          await moveSampleCustody(change, {
            tenantId,
            sample,
            jobId: job.id,
            to: seen,
            witness: 'sensor',
            type: 'storage.sample.found',
          });
          return { result: undefined, mark: markOf(next), outcome: 'found', detail: { seen, detail } };
        },
      ),

    holdForSafety: (ref, robotId, stop) =>
      runStep(db, ref, { params: ['holdForSafety', robotId, stop] }, async () => ({
        result: undefined,
        mark: { state: 'SAFETY_HOLD', phase: 'RECONCILING', question: null },
        outcome: 'held',
        detail: { robotId, detail: `Safety hold: ${stop}.` },
      })),

    isHeld: (ref, robotId) =>
      failingAsWorkflowsExpect(async () => {
        const { tenantId } = ref.actor;
        const query = sql<{ held: boolean; over: string }>`
          SELECT EXISTS (SELECT FROM robot_state s WHERE s.tenant_id = j.tenant_id AND s.robot_id = ${robotId}
                         AND array_remove(s.held_fault_ids, j.fault_id) <> '{}') AS held,
                 j.state AS over
          FROM job j WHERE j.tenant_id = ${tenantId} AND j.id = ${ref.jobId}`.compile(db.kysely);
        const [row] = await read(db, tenantId, query);
        if (!row) throw new DomainError('NOT_FOUND', `There is no job ${ref.jobId}.`);
        const state = row.over as JobRecord['state'];
        if (isFinal(state)) {
          throw new DomainError('JOB_FINISHED', `Job ${ref.jobId} is ${state}.`, { facts: { state } });
        }
        return row.held;
      }),

    escalate: (ref, faultId, step) =>
      runStep(db, ref, { params: ['escalate', faultId, step], reason: 'escalation' }, async (change, job) => {
        await worsenAlarm(change, job.actor.tenantId, job.id, step);
        return { result: undefined, mark: {}, outcome: 'escalated', detail: { faultId, to: step } };
      }),

    warnNotReady: (ref, robotId) =>
      runStep(db, ref, { params: ['warnNotReady', robotId], reason: 'alarm' }, async (change, job) => {
        const { tenantId } = job.actor;
        const { rows } = await sql<{ name: string; why: string | null }>`
            SELECT r.name, CASE
              WHEN s.robot_id IS NULL OR NOT s.connected THEN 'does not answer'
              WHEN s.held_fault_ids <> '{}' THEN 'is held by a fault'
              WHEN s.dispatch <> 'running' THEN 'is ' || replace(s.dispatch, '_', ' ')
              WHEN s.mode <> 'auto' THEN 'is in mode ' || s.mode END AS why
            FROM robot r LEFT JOIN robot_state s ON s.tenant_id = r.tenant_id AND s.robot_id = r.id
            WHERE r.tenant_id = ${tenantId} AND r.id = ${robotId}`.execute(change.tx);
        const [row] = rows;
        const why = row?.why ?? null;
        if (why !== null) {
          await raiseAlarm(change, {
            tenantId,
            kind: 'robot_not_ready',
            severity: 'high',
            message: `A job waits for ${row?.name}, which ${why}.`,
            jobId: job.id,
            robotId,
          });
        }
        return {
          result: why !== null,
          mark: {},
          outcome: why === null ? 'waiting' : 'alarmed',
          detail: { robotId },
        };
      }),

    reserveQuarantine: (ref, robotId) =>
      runStep(
        db,
        ref,
        { params: ['reserveQuarantine', robotId], reason: 'deviation' },
        async (change, job) => {
          const { tenantId } = job.actor;
          const sample = await lockSample(change.tx, tenantId, job.sampleId);
          if (!sample) throw new DomainError('NOT_FOUND', `There is no sample ${job.sampleId}.`);
          const place = await quarantineFor(change.tx, tenantId, job.id, robotId, sample.zone);
          if (place === null) return { result: null, mark: {}, outcome: 'refused', detail: { robotId } };
          await openDeviation(change, {
            tenantId,
            kind: 'quarantined',
            description: `The tube could not go back to its place and goes into quarantine, ${place.label} of ${place.containerName}.`,
            sampleId: sample.id,
            jobId: job.id,
            robotId,
            facts: { position_id: place.positionId },
          });
          return { result: placeRef(place), mark: {}, outcome: 'done', detail: { place: placeRef(place) } };
        },
      ),
  };
}
