import { sql, type Transaction } from 'kysely';
import { type JobRecord, jobRecord } from '../db/jobs.ts';
import type { DB } from '../db/schema.ts';
import { DomainError } from '../domain/errors.ts';
import { isFinal } from '../domain/job.ts';
import { closeJob } from './closing.ts';
import type { AdoptedJob, SeenAt, StorageActivities } from './contract.ts';
import { failingAsWorkflowsExpect } from './failures.ts';
import { markOf, runStep } from './step.ts';
import type { StorageDependencies } from './storage.ts';

type JobActivities = Pick<
  StorageActivities,
  'markPhase' | 'expectOpen' | 'recordCancel' | 'reprioritise' | 'finishJob' | 'adoptJob'
>;

/** What a process says of itself, and its end. */
export function createJobActivities({ db, waits }: StorageDependencies): JobActivities {
  return {
    markPhase: (ref, next) =>
      runStep(db, ref, { params: ['markPhase', next] }, async () => ({
        result: undefined,
        mark: { ...markOf(next), started: true },
        outcome: 'done',
        detail: {},
      })),

    expectOpen: (ref) =>
      failingAsWorkflowsExpect(async () => {
        const job = await jobRecord(db, ref.actor.tenantId, ref.jobId);
        if (job === null) throw new DomainError('NOT_FOUND', `There is no job ${ref.jobId}.`);
        if (!isFinal(job.state)) return;
        throw new DomainError('JOB_FINISHED', `Job ${job.id} is ${job.state}.`, {
          facts: { state: job.state },
        });
      }),

    recordCancel: (ref, by, reason) =>
      // The wish wakes the process, which may have ended before this is written: it was heard all the same.
      runStep(db, ref, { params: ['recordCancel', by, reason], evenWhenOver: true }, async () => ({
        result: undefined,
        mark: { cancelRequested: true },
        outcome: 'requested',
        detail: { by: by.userId, ...(reason !== null && { reason }) },
      })),

    reprioritise: (ref, by, priority, eventId) => {
      const params = ['reprioritise', by, priority, eventId];
      // The event may come while the process ends, which is no fault of its sender.
      return runStep(db, ref, { params, evenWhenOver: true }, async (_change, job) => {
        const told = { by: by.userId, eventId, from: job.priority, to: priority };
        return isFinal(job.state)
          ? { result: undefined, mark: {}, outcome: 'too late', detail: told }
          : { result: undefined, mark: { priority }, outcome: 'done', detail: told };
      });
    },

    finishJob: (ref, state, detail) =>
      runStep(db, ref, { params: ['finishJob', state, detail], evenWhenOver: true }, async (change, job) => {
        if (isFinal(job.state) && job.state !== state) {
          throw new DomainError('JOB_FINISHED', `Job ${job.id} is ${job.state}, not ${state}.`, {
            facts: { state: job.state },
          });
        }
        const end = { result: undefined, outcome: 'done' };
        if (isFinal(job.state)) return { ...end, mark: {}, detail: { state, detail } };
        const mark = await closeJob(change, job, state, detail);
        return {
          ...end,
          mark: { ...mark, started: true },
          detail: { state: mark.state, detail: mark.result.detail },
        };
      }),

    adoptJob: (ref) =>
      runStep<AdoptedJob | null>(
        db,
        ref,
        { params: ['adoptJob'], takeOver: true, evenWhenOver: true },
        async (change, job) => {
          const left = isFinal(job.state) ? null : await readLeftBehind(change.tx, job);
          const adopted = left && { ...left, ...(waits && { waits }) };
          return {
            result: adopted,
            mark: adopted ? { started: true } : {},
            outcome: 'adopted',
            detail: { from: job.workflowId },
          };
        },
      ),
  };
}

interface AdoptedRow {
  turn_robot_id: string | null;
  motion_robot_id: string | null;
  live_command_id: string | null;
  candidates: SeenAt[] | null;
}

/** What the workflow before left behind, by the journal and the sample's record. */
async function readLeftBehind(tx: Transaction<DB>, job: JobRecord): Promise<AdoptedJob> {
  const { tenantId } = job.actor;
  // A motion accepted after custody was last confirmed may have moved the tube: it is where it was, in the carrier, or
  // where the motion went.
  const { rows } = await sql<AdoptedRow>`
    WITH tube AS (
      SELECT * FROM sample WHERE tenant_id = ${tenantId} AND id = ${job.sampleId} AND job_id = ${job.id}
    ), doubtful AS (
      SELECT m.robot_id, went.position_id, l.is_handoff FROM motion m
      CROSS JOIN LATERAL (SELECT m.position_id UNION SELECT m.to_position_id) AS went
      LEFT JOIN position p ON p.tenant_id = m.tenant_id AND p.id = went.position_id
      LEFT JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
      WHERE m.tenant_id = ${tenantId} AND m.job_id = ${job.id} AND m.operation <> 'scan'
        AND m.accepted_at > (SELECT custody_since FROM tube)
    ), place AS (
      SELECT DISTINCT CASE WHEN is_handoff THEN 'handoff' ELSE 'position' END AS kind, 'positionId' AS key, position_id AS id
        FROM doubtful WHERE position_id IS NOT NULL
      UNION SELECT 'carrier', 'robotId', robot_id FROM doubtful
      UNION SELECT custody, 'positionId', position_id FROM tube
        WHERE position_id IS NOT NULL AND EXISTS (SELECT FROM doubtful)
    ), lost AS (
      SELECT jsonb_agg(c) AS candidates FROM tube, jsonb_array_elements(candidates) c
      WHERE custody = 'unknown' AND c ->> 'kind' <> 'floor'
    )
    SELECT
      (SELECT robot_id FROM robot_turn WHERE tenant_id = ${tenantId} AND job_id = ${job.id} LIMIT 1) AS turn_robot_id,
      (SELECT robot_id FROM motion WHERE tenant_id = ${tenantId} AND job_id = ${job.id}
       ORDER BY accepted_at DESC LIMIT 1) AS motion_robot_id,
      (SELECT command_id FROM motion WHERE tenant_id = ${tenantId} AND job_id = ${job.id}
         AND settled_at IS NULL ORDER BY accepted_at DESC LIMIT 1) AS live_command_id,
      CASE WHEN (SELECT custody FROM tube) = 'unknown' THEN coalesce((SELECT candidates FROM lost), '[]')
           ELSE (SELECT jsonb_agg(jsonb_build_object('kind', kind, key, id) ORDER BY kind, id) FROM place)
      END AS candidates`.execute(tx);
  const row = rows[0];
  if (!row) throw new DomainError('INTERNAL', `What job ${job.id} left behind could not be read.`);
  return {
    kind: job.kind,
    sampleId: job.sampleId,
    robotId: row.turn_robot_id ?? row.motion_robot_id ?? (job.mode === 'robot' ? job.robotId : null),
    liveCommandId: row.live_command_id,
    candidates: row.candidates,
  };
}
