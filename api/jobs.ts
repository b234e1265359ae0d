import type { JobRecord, JobStepRecord } from '../db/jobs.ts';
import { priorityName } from '../domain/priority.ts';
import type { Job, JobWithSteps, Started } from '../schemas/automation.ts';
import {
  type ExposureClock,
  JobResult,
  OperatorQuestion,
  StepDetail,
  WaitingFor,
} from '../schemas/job-view.ts';
import { withoutNulls } from './absent.ts';
import type { ApiEnv } from './dependencies.ts';
import type { ProcessAnswer } from './processes.ts';

/** What links of replies are made of. */
export type Links = Pick<ApiEnv['Variables']['dependencies'], 'temporalUiUrl' | 'temporalNamespace'>;

/** Path under which a job is found. */
export function jobPath(jobId: string): string {
  return `/automation/jobs/${jobId}`;
}

/** Where people look at a workflow; nothing without Temporal's Web UI. */
export function temporalLink(
  { temporalUiUrl, temporalNamespace }: Links,
  workflowId: string,
): { readonly temporal?: string } {
  if (temporalUiUrl === null) return {};
  const namespace = encodeURIComponent(temporalNamespace);
  return {
    temporal: `${temporalUiUrl}/namespaces/${namespace}/workflows/${encodeURIComponent(workflowId)}`,
  };
}

/** A job as callers see it: what has no value is left out. */
export function presentJob(job: JobRecord, links: Links): Job {
  const { question, faultId } = job;
  const awaited = waitingFor(job);
  const result = job.result && JobResult.parse(withoutNulls(job.result));
  return {
    id: job.id,
    kind: job.kind,
    mode: job.mode,
    state: job.state,
    phase: job.phase,
    sampleId: job.sampleId,
    ...(job.robotId !== null && { robotId: job.robotId }),
    ...(job.scheduleId && { scheduleId: job.scheduleId }),
    priority: job.priority,
    priorityName: priorityName(job.priority),
    requestedBy: {
      userId: job.actor.userId,
      role: job.actor.role,
      ...(job.actor.stationId !== null && { stationId: job.actor.stationId }),
    },
    createdAt: job.createdAt.toISOString(),
    ...(job.startedAt && { startedAt: job.startedAt.toISOString() }),
    updatedAt: job.updatedAt.toISOString(),
    ...(job.finishedAt && { finishedAt: job.finishedAt.toISOString() }),
    ...(job.cancelRequestedAt && { cancelRequestedAt: job.cancelRequestedAt.toISOString() }),
    ...(awaited && { waitingFor: awaited }),
    ...(question &&
      faultId !== null && { question: OperatorQuestion.parse(withoutNulls({ ...question, faultId })) }),
    ...(job.exposed && { exposure: exposureOf(job.exposed, result) }),
    ...(result && { result }),
    links: {
      self: jobPath(job.id),
      ...temporalLink(links, job.workflowId),
    },
  };
}

function exposureOf(
  { since, elapsedMs }: NonNullable<JobRecord['exposed']>,
  result: JobResult | null,
): ExposureClock {
  const { budgetSeconds, predictedSeconds } = result?.exposure ?? {};
  return {
    since: since.toISOString(),
    elapsedSeconds: Math.round(elapsedMs) / 1000,
    ...(budgetSeconds !== undefined && { budgetSeconds }),
    ...(predictedSeconds !== undefined && { predictedSeconds }),
  };
}

/** What keeps a job from going on, or undefined: it works, or is over. */
function waitingFor({ state, phase, question, faultId, robotId }: JobRecord): WaitingFor | undefined {
  if (state === 'AWAITING_OPERATOR') return { kind: 'decision' };
  if (question && faultId === null) return WaitingFor.parse(withoutNulls(question));
  if (phase === 'AWAITING_TURN') return { kind: 'robot_turn', ...(robotId !== null && { robotId }) };
  return undefined;
}

export function presentJobWithSteps(
  job: JobRecord & { readonly steps: readonly JobStepRecord[] },
  links: Links,
): JobWithSteps {
  return {
    ...presentJob(job, links),
    steps: job.steps.map((step) => ({
      step: step.step,
      outcome: step.outcome,
      detail: StepDetail.parse(withoutNulls(step.detail)),
      at: step.at.toISOString(),
    })),
  };
}

/** The 202 of a process: the job, and the position with its reasons when they are known in time. */
export function presentStarted(
  answer: Extract<ProcessAnswer, { outcome: 'accepted' }>,
  links: Links,
): Started {
  const { job, reservation } = answer;
  const presented = presentJob(job, links);
  const why = presented.result?.explanation;
  return {
    job: presented,
    ...(reservation && { position: { ...reservation.place } }),
    ...(reservation && why && { why }),
    ...(reservation?.handoff && { handoff: { ...reservation.handoff } }),
    ...(reservation?.leaseExpiresAt && {
      leaseExpiresAt: new Date(reservation.leaseExpiresAt).toISOString(),
    }),
  };
}
