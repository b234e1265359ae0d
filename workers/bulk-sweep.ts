import { sql } from 'kysely';
import { applyOperation } from '../db/bulk-run.ts';
import type { Database } from '../db/connection.ts';
import { read } from '../db/tenancy.ts';
import type { SweepLog } from './job-sweep.ts';

/**
 * Does bulk operations that are READY: the large ones, and those whose process died half-way. One at a time, beside the
 * sweep's other work, since a million rows take minutes; it goes on from the last batch that was committed.
 */
export class BulkWork {
  readonly #db: Database;
  readonly #log: SweepLog;
  readonly #ending: AbortSignal;
  #underWay: Promise<void> | null = null;

  constructor(db: Database, log: SweepLog, ending: AbortSignal) {
    this.#db = db;
    this.#log = log;
    this.#ending = ending;
  }

  /** Begins a round through these tenants, unless one is under way. */
  begin(tenantIds: readonly string[]): void {
    this.#underWay ??= this.#round(tenantIds).finally(() => {
      this.#underWay = null;
    });
  }

  /** Waits until the batch under way is written. */
  async settled(): Promise<void> {
    await this.#underWay;
  }

  async #round(tenantIds: readonly string[]): Promise<void> {
    for (const tenantId of tenantIds) {
      if (this.#ending.aborted) return;
      try {
        await this.#work(tenantId);
      } catch (error) {
        this.#log.warn({ err: error, tenant: tenantId }, 'bulk work stopped: the next round goes on with it');
      }
    }
  }

  async #work(tenantId: string): Promise<void> {
    const ready = await read(
      this.#db,
      tenantId,
      sql<{ id: string }>`SELECT id FROM bulk_operation WHERE tenant_id = ${tenantId} AND state = 'READY'
        ORDER BY id LIMIT 10`.compile(this.#db.kysely),
    );
    for (const { id } of ready) {
      const { applied, state } = await applyOperation(this.#db, tenantId, id, this.#ending);
      this.#log.info({ tenant: tenantId, operation: id, applied, state }, 'bulk operation');
    }
  }
}
