import { randomUUID } from 'node:crypto';
import { sql, type Transaction } from 'kysely';
import { clearAlarmsOfJob, raiseAlarm } from '../db/alarms.ts';
import type { Change } from '../db/change.ts';
import { lockSample, moveSampleCustody, type SampleRecord } from '../db/custody.ts';
import { openDeviation } from '../db/deviations.ts';
import type { JobRecord } from '../db/jobs.ts';
import { blockHeldPosition } from '../db/location-service.ts';
import { holdWithoutExpiry, lockPlaces } from '../db/places.ts';
import { checkFit, checkLockedOut } from '../db/robot-safety.ts';
import { scannedInWords } from '../db/scanned.ts';
import type { DB } from '../db/schema.ts';
import { strangersPlaces } from '../db/steps.ts';
import { clearHold, holdRobot } from '../db/turns.ts';
import { levelOf, type RobotDriver } from '../domain/controller.ts';
import type { Custody } from '../domain/custody.ts';
import { DomainError } from '../domain/errors.ts';
import {
  type FaultKind,
  needsLockOut,
  needsScan,
  type OpenFault,
  offeredAnswers,
  refusalOfAnswer,
} from '../domain/fault.ts';
import type { Decision, PlaceRef } from '../workflows/messages/job.ts';
import type { ParkedProblem, SeenAt, SettleResult, StorageActivities } from './contract.ts';
import { sourcePlace, targetPlace } from './order.ts';
import { runRefusableStep, runStep } from './step.ts';
import type { StorageDependencies } from './storage.ts';

type ParkingActivities = Pick<StorageActivities, 'park' | 'applyDecision'>;

const SEVERITY = {
  outcome_unknown: 'critical',
  dropped: 'critical',
  foreign_item: 'critical',
  compensation_stuck: 'critical',
  barcode_mismatch: 'high',
  workflow_gone: 'high',
  step_conflict: 'high',
} as const satisfies Record<FaultKind, string>;

/** Freezing a job that only a person can settle, and the person's answer. */
export function createParkingActivities({ db }: StorageDependencies): ParkingActivities {
  return {
    park: (ref, problem) =>
      runStep(
        db,
        ref,
        {
          params: ['park', problem],
          reason: 'fault',
          device: () => problem.robotId && `robot:${problem.robotId}`,
        },
        async (change, job) => {
          const { tenantId } = job.actor;
          const faultId = randomUUID();
          const sample = await lockSample(change.tx, tenantId, job.sampleId);
          if (problem.candidates !== null && sample?.jobId === job.id) {
            await moveSampleCustody(change, {
              tenantId,
              sample,
              jobId: job.id,
              to: { kind: 'unknown', candidates: problem.candidates },
              witness: 'asserted',
              type: 'storage.sample.custody_unknown',
            });
          }
          await holdWithoutExpiry(change.tx, tenantId, job.id);
          const replaced = problem.robotId === null ? null : job.faultId;
          if (problem.robotId !== null) {
            await holdRobot(change.tx, tenantId, problem.robotId, faultId, replaced, {
              jobId: job.id,
              detail: problem.detail,
            });
          }
          await raiseAlarm(change, {
            tenantId,
            kind: problem.kind,
            severity: SEVERITY[problem.kind],
            message: problem.detail,
            jobId: job.id,
            robotId: problem.robotId,
          });
          if (problem.kind === 'dropped' || problem.kind === 'barcode_mismatch') {
            await openDeviation(change, {
              tenantId,
              kind: problem.kind,
              description: problem.detail,
              sampleId: sample?.id ?? null,
              jobId: job.id,
              robotId: problem.robotId,
            });
          }
          const isLost = problem.candidates !== null || sample?.custody.kind === 'unknown';
          const question = await questionOf(change.tx, job, faultId, problem, isLost);
          return {
            result: { faultId, ...(replaced && { replaced }) },
            mark: {
              state: 'AWAITING_OPERATOR',
              phase: problem.kind === 'compensation_stuck' ? 'COMPENSATION_STUCK' : 'OUTCOME_UNKNOWN',
              question,
              faultId,
              started: true,
            },
            outcome: 'parked',
            detail: {
              faultId,
              kind: problem.kind,
              detail: problem.detail,
              ...(problem.strangerIn !== undefined && { strangerIn: problem.strangerIn }),
              ...(replaced && { replaced }),
            },
          };
        },
      ),

    applyDecision: (ref, decision) =>
      runRefusableStep<SettleResult>(
        db,
        ref,
        {
          // What it says in words is kept in the ledger alone: a repeat without them is the same answer.
          params: ['applyDecision', { ...decision, comment: null }],
          reason: 'decision',
          actor: decision.actor,
          ...(decision.comment !== null && { comment: decision.comment }),
        },
        async (change, job) => {
          const { tenantId } = job.actor;
          const open = checkAnswer(job, decision);
          if (open.hasRobot) await checkRobot(change.tx, job, open, decision);
          const sample = await lockSample(change.tx, tenantId, job.sampleId);
          const to = whereFound(job, sample, decision);
          if (to !== null && sample !== null) {
            await checkBarcode(change.tx, sample, decision);
            if (decision.answer === 'elsewhere') await claimPlace(change.tx, job, decision);
            await moveSampleCustody(change, {
              tenantId,
              sample,
              jobId: job.id,
              to,
              witness: needsScan(decision.answer) ? 'barcode' : 'person',
              type: to.kind === 'unknown' ? 'storage.sample.custody_unknown' : 'storage.sample.found',
            });
            await keepStrangersPlace(change, job);
            await openDeviationOf(change, job, sample, decision);
          }
          await clearAlarmsOfJob(change, tenantId, job.id);
          if (decision.robotFit) await clearHold(change.tx, tenantId, decision.faultId);
          const { answer, robotFit, faultId } = decision;
          return {
            result: { outcome: 'done' },
            mark: {
              state: 'RUNNING',
              question: null,
              faultId: null,
              result: { deviation: { faultId, answer, robotFit, by: decision.actor.userId } },
            },
            outcome: 'decided',
            detail: {
              faultId,
              answer,
              robotFit,
              by: decision.actor.userId,
              given: { ...decision, comment: null },
            },
          };
        },
        (refusal) => ({
          result: { outcome: 'refused', refusal },
          mark: {},
          outcome: 'refused',
          detail: { refusal },
        }),
      ),
  };
}

/** The question as the operator reads it: the fact first, then where the tube may be, then what can be answered. */
async function questionOf(
  tx: Transaction<DB>,
  job: JobRecord,
  faultId: string,
  problem: ParkedProblem,
  isLost: boolean,
): Promise<Record<string, unknown>> {
  const candidates = problem.candidates ?? [];
  const places = await lockPlaces(
    tx,
    job.actor.tenantId,
    candidates.flatMap((seen) => ('positionId' in seen ? [seen.positionId] : [])),
  );
  const described = candidates.map((seen: SeenAt) => {
    const place = 'positionId' in seen ? places.get(seen.positionId) : undefined;
    return place ? { ...seen, label: place.label, containerName: place.containerName } : seen;
  });
  const source = sourcePlace(job);
  const target = targetPlace(job);
  const putsDown = await takesMoves(tx, job.actor.tenantId, problem.robotId);
  return {
    faultId,
    kind: problem.kind,
    detail: problem.detail,
    robotId: problem.robotId,
    candidates: described,
    source,
    target,
    answers: offeredAnswers(
      { faultId, kind: problem.kind, hasRobot: problem.robotId !== null, putsDown, isLost },
      { hasSource: source !== null, hasTarget: target !== null },
    ),
  };
}

/** False for a robot that can only be told whole transfers. */
async function takesMoves(tx: Transaction<DB>, tenantId: string, robotId: string | null): Promise<boolean> {
  const { rows } = await sql<{ driver: RobotDriver }>`
    SELECT driver FROM robot WHERE tenant_id = ${tenantId} AND id = ${robotId}`.execute(tx);
  return rows.every(({ driver }) => levelOf(driver) === 'motion');
}

/**
 * Where the robot found another tube than the job's, and put it back, that tube still stands: unless the job's own was
 * found there after all, nobody is offered the place before a person has looked.
 */
async function keepStrangersPlace(change: Change, job: JobRecord): Promise<void> {
  const { tenantId } = job.actor;
  for (const positionId of await strangersPlaces(change.tx, tenantId, job.id)) {
    await blockHeldPosition(
      change,
      { tenantId, jobId: job.id, positionId },
      'The robot found a tube with another barcode than the one expected here: look which it is, take it out, then unblock.',
    );
  }
}

function checkAnswer(job: JobRecord, decision: Decision): OpenFault {
  const { question, faultId } = job;
  const kind = question?.kind;
  const open =
    job.state === 'AWAITING_OPERATOR' && faultId !== null && isFaultKind(kind)
      ? { faultId, kind, hasRobot: typeof question?.robotId === 'string' }
      : null;
  const refusal = refusalOfAnswer(open, decision);
  if (refusal) {
    const { code, detail, errors, facts } = refusal;
    throw new DomainError(code, detail, { ...(errors && { errors }), ...(facts && { facts }) });
  }
  if (open === null) throw new DomainError('NOT_WAITING', 'The job asks the operator nothing now.');
  return open;
}

/** A hand goes in only where the robot is locked out, and the robot moves again only after its reset. */
async function checkRobot(
  tx: Transaction<DB>,
  job: JobRecord,
  open: OpenFault,
  decision: Decision,
): Promise<void> {
  const { robotId } = job.question ?? {};
  if (typeof robotId !== 'string') return;
  const question = { tenantId: job.actor.tenantId, robotId, jobId: job.id };
  if (needsLockOut(open, decision.answer)) await checkLockedOut(tx, question);
  if (decision.robotFit) await checkFit(tx, question);
}

/** The position the tube was found in is the job's from now on, if it is nobody's. */
async function claimPlace(tx: Transaction<DB>, job: JobRecord, { positionId }: Decision): Promise<void> {
  if (positionId === null) return;
  const { tenantId } = job.actor;
  const place = (await lockPlaces(tx, tenantId, [positionId])).get(positionId);
  if (!place) throw new DomainError('NOT_FOUND', `There is no position ${positionId}.`);
  if (place.jobId === job.id) return;
  if (place.state !== 'free') {
    throw new DomainError(
      'POSITION_OCCUPIED',
      `Position ${place.label} of ${place.containerName} is ${place.state} by the records: take the tube with you and answer with_me.`,
      { facts: { positionId } },
    );
  }
  await sql`UPDATE position SET state = 'reserved', job_id = ${job.id}
    WHERE tenant_id = ${tenantId} AND id = ${positionId}`.execute(tx);
}

const DEVIATION = { not_found: 'sample_lost', damaged: 'sample_damaged' } as const;

/** A tube that is lost or damaged stays a deviation until somebody has settled it. */
async function openDeviationOf(
  change: Change,
  job: JobRecord,
  sample: SampleRecord,
  { answer, comment }: Decision,
): Promise<void> {
  if (answer !== 'not_found' && answer !== 'damaged') return;
  const what = answer === 'not_found' ? 'was looked for and not found' : 'was found damaged';
  await openDeviation(change, {
    tenantId: job.actor.tenantId,
    kind: DEVIATION[answer],
    description: `The tube of a ${job.kind} ${what}.${comment === null ? '' : ` ${comment}`}`,
    sampleId: sample.id,
    jobId: job.id,
    robotId: typeof job.question?.robotId === 'string' ? job.question.robotId : null,
  });
}

function isFaultKind(kind: unknown): kind is FaultKind {
  return typeof kind === 'string' && kind in SEVERITY;
}

/** The custody an answer stands for; null when it says nothing about the tube. */
function whereFound(job: JobRecord, sample: SampleRecord | null, decision: Decision): Custody | null {
  if (decision.answer === 'retry_undo') return null;
  if (!sample) throw new DomainError('NOT_FOUND', `There is no sample ${job.sampleId}.`);
  // Where a job has no such position, the tube comes from, or goes to, a person: the one who scanned it.
  const at = (place: PlaceRef | null): Custody =>
    place
      ? { kind: 'position', positionId: place.positionId }
      : { kind: 'person', userId: decision.actor.userId };
  switch (decision.answer) {
    case 'at_source':
      return at(sourcePlace(job));
    case 'at_target':
      return at(targetPlace(job));
    case 'in_carrier': {
      const robotId = job.question?.robotId;
      if (typeof robotId === 'string') return { kind: 'carrier', robotId };
      throw new DomainError('VALIDATION', 'No robot works for this job: the tube is in no carrier.');
    }
    case 'elsewhere':
      if (decision.positionId !== null) return { kind: 'position', positionId: decision.positionId };
      throw new DomainError('VALIDATION', 'Say where the tube was found: container and position.', {
        errors: [{ pointer: '/place', detail: 'is missing' }],
      });
    case 'with_me':
    case 'damaged':
      return { kind: 'person', userId: decision.actor.userId };
    case 'not_found':
      // Whoever answers has looked into every place asked about: what stays is the floor.
      return { kind: 'unknown', candidates: [{ kind: 'floor' }] };
  }
}

async function checkBarcode(tx: Transaction<DB>, sample: SampleRecord, decision: Decision): Promise<void> {
  if (!needsScan(decision.answer)) return;
  if (decision.sampleBarcode === null) {
    throw new DomainError('VALIDATION', 'Scan the tube where it was found.', {
      errors: [{ pointer: '/sampleBarcode', detail: 'is missing' }],
    });
  }
  if (decision.sampleBarcode !== sample.barcode) {
    const what = await scannedInWords(tx, decision.actor.tenantId, decision.sampleBarcode);
    throw new DomainError(
      'BARCODE_MISMATCH',
      `What was scanned is ${what}, not the tube of this job: look for that one, or answer not_found.`,
      { errors: [{ pointer: '/sampleBarcode', detail: 'is not the barcode of the job’s sample' }] },
    );
  }
}
