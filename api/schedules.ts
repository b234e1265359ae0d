import type { Context } from 'hono';
import type { PlannedJob as PlannedJobRecord, ScheduleRecord } from '../db/schedules.ts';
import { DomainError } from '../domain/errors.ts';
import { ACTION_OF_JOB, mayDo, rolesInWords } from '../domain/permissions.ts';
import { priorityName } from '../domain/priority.ts';
import { every, type Plan, type Trigger } from '../domain/schedule.ts';
import type { PlannedJob, Schedule, When } from '../schemas/schedule.ts';
import { withoutNullsIn } from './absent.ts';
import type { ApiEnv } from './dependencies.ts';
import { jobPath } from './jobs.ts';
import { orderMaker } from './orders.ts';
import type { ProcessRequest } from './processes.ts';

/** Path under which a schedule is found. */
export function schedulePath(id: string): string {
  return `/automation/schedule/${id}`;
}

/**
 * The job that somebody wants done later, references resolved, as if they had started it now.
 * @throws DomainError FORBIDDEN for a job they may not start, VALIDATION, and what an order is refused with
 */
export async function plannedJob(c: Context<ApiEnv>, job: PlannedJob, when: When): Promise<PlannedJobRecord> {
  const { role } = c.var.actor;
  const action = ACTION_OF_JOB[job.kind];
  if (!mayDo(role, action)) {
    throw new DomainError('FORBIDDEN', `A ${job.kind} is planned by a ${rolesInWords(action)}.`, {
      facts: { action },
    });
  }
  const { kind, mode, sampleId, priority, order } = await requestOf(c, job, when);
  return { kind, mode, sampleId, priority, order };
}

function requestOf(c: Context<ApiEnv>, job: PlannedJob, when: When): Promise<ProcessRequest> {
  const order = orderMaker(c, job);
  switch (job.kind) {
    case 'retrieval':
      return order.retrieval(job.sample, job.handoff);
    case 'move':
      return order.move(job.sample, job.target);
    case 'placement':
      if (job.sample !== undefined && job.register === undefined) return order.placementOf(job.sample, job);
      if (job.register === undefined || job.sample !== undefined) {
        throw mistake('/job', 'names the tube by one of sample and register');
      }
      if ('every' in when) {
        throw mistake('/job/register', 'registers a tube, which is done once: plan it with at or after');
      }
      return order.placementOfNew(job.register, job);
  }
}

function mistake(pointer: string, detail: string): DomainError {
  return new DomainError('VALIDATION', `The body’s ${pointer} ${detail}.`, { errors: [{ pointer, detail }] });
}

/** When a job shall run, in the words of the domain. */
export function triggerOf(c: Context<ApiEnv>, when: When): Trigger {
  if ('at' in when) return { kind: 'at', at: when.at };
  if ('after' in when) return { kind: 'after', jobId: when.after, condition: when.condition };
  if ('unit' in when.every) {
    const { unit, count, from } = when.every;
    return every(count, unit, from ?? null, c.var.dependencies.now().getTime());
  }
  const { time, timeZone, weekdays } = when.every;
  return { kind: 'calendar', time, timeZone, weekdays: weekdays ?? null };
}

function whenOf(trigger: Trigger): When {
  switch (trigger.kind) {
    case 'at':
      return { at: trigger.at };
    case 'after':
      return { after: trigger.jobId, condition: trigger.condition };
    case 'interval': {
      const { kind: _, ...interval } = trigger;
      return { every: interval };
    }
    case 'calendar': {
      const { time, timeZone, weekdays } = trigger;
      return { every: { time, timeZone, ...(weekdays && { weekdays: [...weekdays] }) } };
    }
  }
}

/** A time of a request, as an instant; what is absent stays so. */
export function instantOf<N extends null | undefined>(time: string | N): number | N {
  return typeof time === 'string' ? Date.parse(time) : time;
}

/** A schedule as callers see it: what has no value is left out. */
export function presentSchedule(schedule: ScheduleRecord): Schedule {
  const { id, plan, changed, nextDue, lastRun } = schedule;
  return {
    id,
    state: schedule.state,
    job: presentJob(schedule.job),
    ...presentPlan(plan),
    planned: {
      by: schedule.createdBy,
      at: schedule.createdAt.toISOString(),
      reason: schedule.reason,
    },
    ...(changed && { changed: { ...changed, at: changed.at.toISOString() } }),
    ...(nextDue && { nextDue: nextDue.toISOString() }),
    runs: schedule.runs,
    ...(lastRun && { lastRun: presentRun(schedule, lastRun) }),
    version: schedule.version,
    links: { self: schedulePath(id), jobs: `/automation/jobs?schedule=${id}` },
  };
}

function presentPlan({ trigger, window, until, maxRuns, graceMs }: Plan) {
  return {
    when: whenOf(trigger),
    ...(window && { window: { ...window } }),
    ...(until !== null && { until: new Date(until).toISOString() }),
    ...(maxRuns !== null && { maxRuns }),
    graceMinutes: graceMs / 60_000,
  };
}

function presentJob({ kind, mode, priority, sampleId, order }: PlannedJobRecord): Schedule['job'] {
  const target = order.kind === 'retrieval' ? null : order.target;
  const handoffPositionId = order.kind === 'move' ? null : order.handoffPositionId;
  const sample = order.kind === 'placement' ? order.newSample : null;
  return {
    kind,
    mode,
    priority,
    priorityName: priorityName(priority),
    sampleId,
    ...(sample && {
      register: {
        barcode: sample.barcode,
        type: sample.type,
        zone: sample.zone,
        ...(sample.project !== null && { project: sample.project }),
      },
    }),
    ...(target?.kind === 'named' && { target: { positionId: target.positionId } }),
    ...(target?.kind === 'chosen' && target.withinId && { target: { withinId: target.withinId } }),
    ...(handoffPositionId && { handoffPositionId }),
  };
}

function presentRun(
  { lastJob }: ScheduleRecord,
  run: NonNullable<ScheduleRecord['lastRun']>,
): Schedule['lastRun'] {
  const refusal = run.outcome === 'refused' ? run.refusal : (lastJob?.refusal ?? null);
  return {
    outcome: run.outcome,
    at: run.at,
    dueAt: run.dueAt,
    ...(run.missedSince && { missedSince: run.missedSince }),
    ...(run.outcome === 'started' &&
      lastJob && { job: { id: run.jobId, state: lastJob.state, link: jobPath(run.jobId) } }),
    ...(refusal && {
      refusal: {
        code: refusal.code,
        detail: refusal.detail,
        ...(refusal.facts && { facts: withoutNullsIn(refusal.facts) }),
      },
    }),
    ...(run.outcome === 'unmet' && { ended: run.ended }),
  };
}
