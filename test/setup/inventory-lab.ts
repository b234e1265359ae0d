import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'kysely';
import pg from 'pg';
import { createInventoryActivities } from '../../activities/inventory.ts';
import { readInventory } from '../../activities/inventory-reading.ts';
import { beginComparison, type ComparisonRecord, findComparison } from '../../db/inventory.ts';
import type { StoreInventory } from '../../devices/store-inventory.ts';
import { ProcessLab } from './process-lab.ts';
import { storeSample } from './store.ts';

export interface DeviationRow {
  readonly kind: string;
  readonly sample_id: string | null;
  readonly robot_id: string | null;
  readonly description: string;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly closed_at: Date | null;
}

/** A store whose robot takes worklists, and comparisons of its inventory by the real activities. */
export class InventoryLab {
  readonly lab: ProcessLab;
  readonly #admin: pg.Client;

  private constructor(lab: ProcessLab, admin: pg.Client) {
    this.lab = lab;
    this.#admin = admin;
  }

  /** Its box is cassette 1, level 1, its hand-off cassette 9, level 1. */
  static async open(): Promise<InventoryLab> {
    const lab = await ProcessLab.open();
    const admin = new pg.Client({ connectionString: lab.store.lab.database.adminUrl });
    await admin.connect();
    await admin.query('SET session_replication_role = replica'); // below the triggers that guard ledgered tables
    const inventory = new InventoryLab(lab, admin);
    await inventory.plant(`UPDATE robot SET driver = 'worklist'`);
    return inventory;
  }

  async close(): Promise<void> {
    await this.#admin.end();
    await this.lab.close();
  }

  /** As superuser, below the triggers. */
  async plant(text: string, values: unknown[] = []): Promise<void> {
    await this.#admin.query(text, values);
  }

  /** A tube that is recorded in a slot of the box; its id. */
  async record(slot: number, barcode: string): Promise<string> {
    const positionId = await this.positionId(slot);
    return storeSample(this.lab.store, { barcode, positionId });
  }

  async positionId(slot: number): Promise<string> {
    const [row] = await this.lab.rows<{ id: string }>(
      sql`SELECT id FROM position WHERE container_id = ${this.lab.box} AND ordinal = ${slot}`,
    );
    if (!row) throw new Error(`the box has no slot ${slot}`);
    return row.id;
  }

  async position(slot: number) {
    return this.lab.position(await this.positionId(slot));
  }

  begin(): Promise<ComparisonRecord> {
    return beginComparison(this.lab.store.db, this.lab.actor, this.lab.robotId, 'asked');
  }

  read(comparison: ComparisonRecord, store: StoreInventory): Promise<void> {
    return new MockActivityEnvironment().run(() =>
      readInventory(this.lab.store.db, store, this.lab.store.tenantId, comparison.id),
    );
  }

  async judge(comparison: ComparisonRecord): Promise<ComparisonRecord> {
    const { db, tenantId } = this.lab.store;
    const { judgeInventory } = createInventoryActivities({ db });
    await new MockActivityEnvironment().run(() => judgeInventory(tenantId, comparison.id));
    const ended = await findComparison(db, tenantId, comparison.id);
    if (!ended) throw new Error('the comparison is gone');
    return ended;
  }

  /** One comparison from beginning to end. */
  async compare(store: StoreInventory): Promise<ComparisonRecord> {
    const comparison = await this.begin();
    await this.read(comparison, store);
    return this.judge(comparison);
  }

  deviations(): Promise<DeviationRow[]> {
    return this.lab.rows<DeviationRow>(sql`SELECT * FROM deviation ORDER BY id`);
  }
}
