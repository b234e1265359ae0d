import { sql } from 'kysely';
import pg from 'pg';
import { createSchedule, type NewSchedule } from '../../db/schedule-changes.ts';
import { findSchedule, type ScheduleRecord } from '../../db/schedules.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Plan, Trigger } from '../../domain/schedule.ts';
import type { TestStore } from './store.ts';

/** Schedules of a test laboratory, whose time can be moved. */
export class ScheduleLab {
  readonly #store: TestStore;
  readonly #admin: pg.Client;

  private constructor(store: TestStore, admin: pg.Client) {
    this.#store = store;
    this.#admin = admin;
  }

  static async open(store: TestStore): Promise<ScheduleLab> {
    const admin = new pg.Client({ connectionString: store.lab.database.adminUrl });
    await admin.connect();
    // Below the triggers that guard ledgered tables.
    await admin.query('SET session_replication_role = replica');
    return new ScheduleLab(store, admin);
  }

  close(): Promise<void> {
    return this.#admin.end();
  }

  /** Plans the retrieval of a sample by hand. @returns its id */
  plan(
    sampleId: string,
    plan: Pick<Plan, 'trigger'> & Partial<Plan>,
    over: Partial<NewSchedule> = {},
  ): Promise<string> {
    return createSchedule(this.#store.db, this.#store.actor, {
      job: {
        kind: 'retrieval',
        mode: 'hand',
        priority: 20,
        sampleId,
        order: { kind: 'retrieval', handoffPositionId: null },
      },
      plan: { window: null, until: null, maxRuns: null, graceMs: 3_600_000, ...plan },
      reason: 'The control sample.',
      ...over,
    });
  }

  read(id: string): Promise<ScheduleRecord> {
    return findSchedule(this.#store.db, this.#store.tenantId, id);
  }

  /** Lets so much time have passed since everything about the schedule was planned. */
  async age(id: string, ms: number): Promise<void> {
    const { rows } = await this.#admin.query<{ trigger: Trigger }>(
      'SELECT trigger FROM schedule WHERE id = $1',
      [id],
    );
    const trigger = rows[0]?.trigger;
    if (!trigger) throw new Error(`there is no schedule ${id}`);
    const earlier = (time: string) => new Date(Date.parse(time) - ms).toISOString();
    if (trigger.kind === 'at') Object.assign(trigger, { at: earlier(trigger.at) });
    if (trigger.kind === 'interval') Object.assign(trigger, { from: earlier(trigger.from) });
    await this.damage(
      `UPDATE schedule SET next_due = next_due - $2 * interval '1 millisecond', trigger = $3 WHERE id = $1`,
      [id, ms, JSON.stringify(trigger)],
    );
  }

  /** Changes a row as nothing of the application would. */
  async damage(statement: string, values: unknown[]): Promise<void> {
    await this.#admin.query(statement, values);
  }

  jobsOf(id: string): Promise<{ readonly id: string; readonly state: string }[]> {
    return inTenant(this.#store.db, this.#store.tenantId, async (tx) => {
      const { rows } = await sql<{ id: string; state: string }>`
        SELECT id, state FROM job WHERE schedule_id = ${id} ORDER BY id`.execute(tx);
      return rows;
    });
  }

  /** The ledger's entries of a schedule, in the order of the log. */
  entries(
    id: string,
  ): Promise<{ type: string; from: string | null; to: string; reason: string; actor: string }[]> {
    return inTenant(this.#store.db, this.#store.tenantId, async (tx) => {
      const { rows } = await sql<{ type: string; from: string; to: string; reason: string; actor: string }>`
        SELECT leaf ->> 'type' AS type, leaf ->> 'from' AS from, leaf ->> 'to' AS to, leaf ->> 'reason' AS reason,
               leaf ->> 'actor' AS actor
        FROM (SELECT seq, convert_from(leaf, 'UTF8')::jsonb AS leaf FROM ledger.entry) e
        WHERE leaf ->> 'aggregate' = 'schedule' AND leaf ->> 'aggregate_id' = ${id} ORDER BY seq`.execute(tx);
      return rows;
    });
  }
}
