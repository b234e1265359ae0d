import { sql, type Transaction } from 'kysely';
import { DomainError } from '../domain/errors.ts';
import { DEFAULT_BUDGETS, type ExposureBudget } from '../domain/exposure.ts';
import { ZONE_NAMES, ZONES, type Zone } from '../domain/zone.ts';
import { type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** The budget in force for a temperature class. */
export interface BudgetRecord extends ExposureBudget {
  readonly zone: Zone;
  /** 0: the preset, nobody has set one */
  readonly version: number;
}

interface BudgetRow {
  id: string;
  zone: Zone;
  budget_seconds: number | null;
  hand_seconds: number;
  pickup_seconds: number | null;
  version: number;
}

const COLUMNS = sql`id, zone, budget_seconds, hand_seconds, pickup_seconds, version`;

function budgetOfRow(row: BudgetRow | undefined, zone: Zone): BudgetRecord {
  if (!row) return { zone, ...DEFAULT_BUDGETS[zone], version: 0 };
  return {
    zone,
    budgetSeconds: row.budget_seconds,
    handSeconds: row.hand_seconds,
    pickupSeconds: row.pickup_seconds,
    version: row.version,
  };
}

/** The budget in force for a class, read in a transaction that goes by it. */
export async function budgetOf(tx: Transaction<DB>, tenantId: string, zone: Zone): Promise<BudgetRecord> {
  const { rows } = await sql<BudgetRow>`
    SELECT ${COLUMNS} FROM exposure_budget WHERE tenant_id = ${tenantId} AND zone = ${zone}`.execute(tx);
  return budgetOfRow(rows[0], zone);
}

/** The budgets in force, coldest class first. */
export async function listBudgets(db: Database, tenantId: string): Promise<BudgetRecord[]> {
  const rows = await read(
    db,
    tenantId,
    sql<BudgetRow>`SELECT ${COLUMNS} FROM exposure_budget WHERE tenant_id = ${tenantId}`.compile(db.kysely),
  );
  return ZONE_NAMES.toSorted((one, other) => ZONES[one].minC - ZONES[other].minC).map((zone) =>
    budgetOfRow(
      rows.find((row) => row.zone === zone),
      zone,
    ),
  );
}

/**
 * Sets the budget of a class. Moves that were reserved before keep the waiting time they were given.
 * @param version as the person saw it (If-Match); 0 = the preset
 * @throws DomainError PRECONDITION_FAILED
 */
export function setBudget(
  db: Database,
  context: ChangeContext,
  zone: Zone,
  version: number,
  budget: ExposureBudget,
): Promise<BudgetRecord> {
  const { tenantId } = context.actor;
  return withChange(db, context, async (change) => {
    const { tx } = change;
    const { budgetSeconds, handSeconds, pickupSeconds } = budget;
    const held = await sql<BudgetRow>`
      SELECT ${COLUMNS} FROM exposure_budget WHERE tenant_id = ${tenantId} AND zone = ${zone} FOR UPDATE`.execute(
      tx,
    );
    const before = budgetOfRow(held.rows[0], zone);
    // Of two who set the first one at once, the second conflicts with a row its look did not see yet.
    const { rows } =
      before.version !== version
        ? { rows: [] }
        : await sql<BudgetRow>`
            INSERT INTO exposure_budget AS b (tenant_id, zone, budget_seconds, hand_seconds, pickup_seconds)
            VALUES (${tenantId}, ${zone}, ${budgetSeconds}, ${handSeconds}, ${pickupSeconds})
            ON CONFLICT (tenant_id, zone) DO UPDATE SET budget_seconds = excluded.budget_seconds,
              hand_seconds = excluded.hand_seconds, pickup_seconds = excluded.pickup_seconds, version = b.version + 1
              WHERE b.version = ${version}
            RETURNING ${COLUMNS}`.execute(tx);
    const row = rows[0];
    if (!row) {
      throw new DomainError(
        'PRECONDITION_FAILED',
        `The exposure budget of ${zone} has changed since version ${version} was read: read it again.`,
        { facts: { version: before.version } },
      );
    }
    const after = budgetOfRow(row, zone);
    change.record({
      aggregate: 'exposure_budget',
      aggregateId: row.id,
      version: row.version,
      type: 'storage.exposure_budget.changed',
      from: null,
      to: null,
      before: contentOf(before),
      after: contentOf(after),
      data: contentOf(after),
    });
    return after;
  });
}

/** What the ledger and the event keep; before the first change, the preset that was in force. */
function contentOf(budget: BudgetRecord): Record<string, string | number | null> {
  const { zone, budgetSeconds, handSeconds, pickupSeconds } = budget;
  return {
    zone,
    budget_seconds: budgetSeconds,
    hand_seconds: handSeconds,
    pickup_seconds: pickupSeconds,
  };
}
