import { type RawBuilder, sql, type Transaction } from 'kysely';
import type { JsonValue } from '../domain/canonical.ts';
import { DomainError } from '../domain/errors.ts';
import type { EventType } from '../domain/events.ts';
import type { Change } from './change.ts';
import type { DB } from './schema.ts';

type AlarmSeverity = 'warning' | 'high' | 'critical';

/** An alarm as it is raised. */
export interface NewAlarm {
  readonly tenantId: string;
  readonly kind: string;
  readonly severity: AlarmSeverity;
  /** a sentence for people */
  readonly message: string;
  readonly jobId: string | null;
  readonly robotId: string | null;
}

interface AlarmRow {
  id: string;
  kind: string;
  severity: AlarmSeverity;
  message: string;
  job_id: string | null;
  robot_id: string | null;
  raised_at: Date;
  acknowledged_at: Date | null;
  acknowledged_by: string | null;
  cleared_at: Date | null;
  escalation: number;
  version: number;
}

const ALARM = sql`id, kind, severity, message, job_id, robot_id, raised_at, acknowledged_at, acknowledged_by,
  cleared_at, escalation, version`;

/** Raises an alarm in the change that found its cause. @returns its id */
export async function raiseAlarm(change: Change, alarm: NewAlarm): Promise<string> {
  const { rows } = await sql<AlarmRow>`
    INSERT INTO alarm (tenant_id, kind, severity, message, job_id, robot_id, raised_at)
    VALUES (${alarm.tenantId}, ${alarm.kind}, ${alarm.severity}, ${alarm.message}, ${alarm.jobId}, ${alarm.robotId},
            ${change.recordedAt}) RETURNING ${ALARM}`.execute(change.tx);
  const row = rows[0];
  if (!row) throw new DomainError('INTERNAL', 'The alarm was not written.');
  recordAlarm(change, 'alarm.raised', null, row);
  return row.id;
}

/** Clears the alarms a job has raised. @returns how many there were */
export async function clearAlarmsOfJob(change: Change, tenantId: string, jobId: string): Promise<number> {
  return clear(
    change,
    tenantId,
    await activeAlarms(change.tx, sql`tenant_id = ${tenantId} AND job_id = ${jobId}`),
  );
}

/** Clears the alarms of these kinds that concern a robot and no job. @returns how many there were */
export async function clearAlarmsOfRobot(
  change: Change,
  tenantId: string,
  robotId: string,
  kinds: readonly string[],
): Promise<number> {
  const concerning = sql`tenant_id = ${tenantId} AND robot_id = ${robotId} AND job_id IS NULL
    AND kind = ANY (${[...kinds]})`;
  return clear(change, tenantId, await activeAlarms(change.tx, concerning));
}

async function clear(change: Change, tenantId: string, before: readonly AlarmRow[]): Promise<number> {
  if (before.length === 0) return 0;
  const { rows } = await sql<AlarmRow>`
    UPDATE alarm SET cleared_at = ${change.recordedAt}, version = version + 1
    WHERE tenant_id = ${tenantId} AND id = ANY (${before.map((alarm) => alarm.id)}::uuid[]) RETURNING ${ALARM}`.execute(
    change.tx,
  );
  for (const row of rows) {
    recordAlarm(change, 'alarm.cleared', before.find((alarm) => alarm.id === row.id) ?? null, row);
  }
  return rows.length;
}

/** Step of escalation from which an unanswered question is critical. */
const CRITICAL_FROM = 2;

/** A job's question stays unanswered: its active alarms become high, then critical, and people hear of them again. */
export async function worsenAlarm(
  change: Change,
  tenantId: string,
  jobId: string,
  step: number,
): Promise<void> {
  const before = await activeAlarms(change.tx, sql`tenant_id = ${tenantId} AND job_id = ${jobId}`);
  const severity: AlarmSeverity = step >= CRITICAL_FROM ? 'critical' : 'high';
  const { rows } = await sql<AlarmRow>`
    UPDATE alarm SET severity = CASE WHEN severity = 'critical' THEN severity ELSE ${severity} END, escalation = ${step},
      version = version + 1
    WHERE tenant_id = ${tenantId} AND id = ANY (${before.map((alarm) => alarm.id)}::uuid[]) RETURNING ${ALARM}`.execute(
    change.tx,
  );
  for (const row of rows) {
    recordAlarm(change, 'alarm.escalated', before.find((alarm) => alarm.id === row.id) ?? null, row);
  }
}

async function activeAlarms(tx: Transaction<DB>, concerning: RawBuilder<unknown>): Promise<AlarmRow[]> {
  const { rows } = await sql<AlarmRow>`
    SELECT ${ALARM} FROM alarm WHERE ${concerning} AND cleared_at IS NULL ORDER BY id FOR UPDATE`.execute(tx);
  return rows;
}

function recordAlarm(change: Change, type: EventType, before: AlarmRow | null, after: AlarmRow): void {
  change.record({
    aggregate: 'alarm',
    aggregateId: after.id,
    version: after.version,
    type,
    from: before && stateOf(before),
    to: stateOf(after),
    before: before && contentOf(before),
    after: contentOf(after),
    erasable: ['message'],
    data: {
      alarm_id: after.id,
      kind: after.kind,
      severity: after.severity,
      escalation: after.escalation,
      job_id: after.job_id,
      robot_id: after.robot_id,
    },
  });
}

function stateOf(alarm: AlarmRow): 'active' | 'acknowledged' | 'cleared' {
  if (alarm.cleared_at !== null) return 'cleared';
  return alarm.acknowledged_at === null ? 'active' : 'acknowledged';
}

function contentOf(alarm: AlarmRow): Record<string, JsonValue> {
  return {
    kind: alarm.kind,
    severity: alarm.severity,
    message: alarm.message,
    escalation: alarm.escalation,
    job_id: alarm.job_id,
    robot_id: alarm.robot_id,
    raised_at: alarm.raised_at.toISOString(),
    acknowledged_at: alarm.acknowledged_at?.toISOString() ?? null,
    acknowledged_by: alarm.acknowledged_by,
    cleared_at: alarm.cleared_at?.toISOString() ?? null,
  };
}
