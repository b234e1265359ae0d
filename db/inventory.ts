import { sql, type Transaction } from 'kysely';
import type { Actor, Role, SystemActor } from '../domain/actor.ts';
import { levelOf, type RobotDriver } from '../domain/controller.ts';
import { DomainError } from '../domain/errors.ts';
import type { Discrepancy, InventoryCounts, InventoryEntry } from '../domain/inventory.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { inTenant, read } from './tenancy.ts';

/** One comparison of a store's own inventory with the record. */
export interface ComparisonRecord {
  readonly id: string;
  readonly robotId: string;
  readonly state: 'RUNNING' | 'COMPLETED' | 'FAILED';
  readonly cause: 'asked' | 'schedule';
  readonly actor: Actor | SystemActor;
  readonly startedAt: Date;
  readonly endedAt: Date | null;
  /** null until it was compared */
  readonly counts: InventoryCounts | null;
  /** deviations that were not open before */
  readonly opened: number;
  /** why it failed */
  readonly detail: string | null;
}

interface ComparisonRow {
  id: string;
  robot_id: string;
  state: ComparisonRecord['state'];
  cause: ComparisonRecord['cause'];
  actor_id: string;
  actor_role: Role | 'system';
  station_id: string | null;
  started_at: Date;
  ended_at: Date | null;
  tubes: number | null;
  recorded: number | null;
  missing: number | null;
  unexpected: number | null;
  moved: number | null;
  opened: number;
  detail: string | null;
}

const COMPARISON = sql`id, robot_id, state, cause, actor_id, actor_role, station_id, started_at, ended_at, tubes,
  recorded, missing, unexpected, moved, opened, detail`;

function comparisonOf(tenantId: string, row: ComparisonRow): ComparisonRecord {
  const { tubes, recorded, missing, unexpected, moved } = row;
  const isCounted =
    tubes !== null && recorded !== null && missing !== null && unexpected !== null && moved !== null;
  return {
    id: row.id,
    robotId: row.robot_id,
    state: row.state,
    cause: row.cause,
    actor: { tenantId, userId: row.actor_id, role: row.actor_role, stationId: row.station_id },
    startedAt: row.started_at,
    endedAt: row.ended_at,
    counts: isCounted ? { tubes, recorded, missing, unexpected, moved } : null,
    opened: row.opened,
    detail: row.detail,
  };
}

/**
 * Begins a comparison of one store, or gives the one that runs: there is one at a time.
 * @throws DomainError NOT_FOUND; CONFLICT when the store keeps no inventory of its own
 */
export function beginComparison(
  db: Database,
  actor: Actor | SystemActor,
  robotId: string,
  cause: ComparisonRecord['cause'],
): Promise<ComparisonRecord> {
  const { tenantId, userId, role, stationId } = actor;
  return inTenant(db, tenantId, async (tx) => {
    const { rows: robots } = await sql<{ name: string; driver: RobotDriver }>`
      SELECT name, driver FROM robot WHERE tenant_id = ${tenantId} AND id = ${robotId} AND retired_at IS NULL
      FOR UPDATE`.execute(tx);
    const robot = robots[0];
    if (!robot) throw new DomainError('NOT_FOUND', `There is no robot ${robotId}.`);
    if (levelOf(robot.driver) !== 'job') {
      throw new DomainError(
        'CONFLICT',
        `${robot.name} is told each move and keeps no inventory of its own: scan its racks instead.`,
      );
    }
    const { rows: running } = await sql<ComparisonRow>`SELECT ${COMPARISON} FROM inventory_comparison
      WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} AND state = 'RUNNING'`.execute(tx);
    if (running[0]) return comparisonOf(tenantId, running[0]);
    const { rows } = await sql<ComparisonRow>`
      INSERT INTO inventory_comparison (tenant_id, robot_id, cause, actor_id, actor_role, station_id)
      VALUES (${tenantId}, ${robotId}, ${cause}, ${userId}, ${role}, ${stationId}) RETURNING ${COMPARISON}`.execute(
      tx,
    );
    if (!rows[0]) throw new DomainError('INTERNAL', 'The comparison was not written.');
    return comparisonOf(tenantId, rows[0]);
  });
}

/** The robots of a tenant whose stores keep an inventory of their own. */
export async function inventoryRobots(db: Database, tenantId: string): Promise<string[]> {
  const query = sql<{ id: string }>`
    SELECT id FROM robot WHERE tenant_id = ${tenantId} AND driver = 'worklist' AND retired_at IS NULL
    ORDER BY id`.compile(db.kysely);
  return (await read(db, tenantId, query)).map(({ id }) => id);
}

/** The comparisons of one store, newest first. @param limit 1–100 */
export async function listComparisons(
  db: Database,
  tenantId: string,
  robotId: string,
  limit: number,
): Promise<ComparisonRecord[]> {
  const query = sql<ComparisonRow>`SELECT ${COMPARISON} FROM inventory_comparison
    WHERE tenant_id = ${tenantId} AND robot_id = ${robotId} ORDER BY id DESC LIMIT ${limit}`.compile(
    db.kysely,
  );
  return (await read(db, tenantId, query)).map((row) => comparisonOf(tenantId, row));
}

/** A comparison; null when the tenant has none of that id. */
export async function findComparison(
  db: Database,
  tenantId: string,
  id: string,
): Promise<ComparisonRecord | null> {
  const query = sql<ComparisonRow>`SELECT ${COMPARISON} FROM inventory_comparison
    WHERE tenant_id = ${tenantId} AND id = ${id}`.compile(db.kysely);
  const [row] = await read(db, tenantId, query);
  return row ? comparisonOf(tenantId, row) : null;
}

/** Begins to read: what was read before is forgotten, and what moves from now on is left out of the comparison. */
export function beginReading(db: Database, tenantId: string, id: string): Promise<void> {
  return inTenant(db, tenantId, async (tx) => {
    await sql`DELETE FROM inventory_entry WHERE tenant_id = ${tenantId} AND comparison_id = ${id}`.execute(
      tx,
    );
    await sql`UPDATE inventory_comparison SET read_at = clock_timestamp()
      WHERE tenant_id = ${tenantId} AND id = ${id} AND state = 'RUNNING'`.execute(tx);
  });
}

/** Keeps a page of what the store says it holds. */
export function stageEntries(
  db: Database,
  tenantId: string,
  id: string,
  entries: readonly InventoryEntry[],
): Promise<void> {
  return inTenant(db, tenantId, async (tx) => {
    await sql`INSERT INTO inventory_entry (tenant_id, comparison_id, cassette, level, slot, barcode)
      SELECT ${tenantId}, ${id}, * FROM unnest(
        ${entries.map(({ cassette }) => cassette)}::int[], ${entries.map(({ level }) => level)}::int[],
        ${entries.map(({ slot }) => slot)}::int[], ${entries.map(({ barcode }) => barcode)}::text[])`.execute(
      tx,
    );
  });
}

/**
 * Where store and record differ. What a job has, or what moved since the reading began, is left out: it may be on either
 * side of the move. A tube whose label the store could not read counts as the one that is recorded there.
 */
const DISCREPANCIES = (tenantId: string, id: string) => sql`
  WITH c AS (
    SELECT k.robot_id, k.read_at, r.store_id FROM inventory_comparison k
    JOIN robot r ON r.tenant_id = k.tenant_id AND r.id = k.robot_id
    WHERE k.tenant_id = ${tenantId} AND k.id = ${id}
  ), place AS (
    SELECT p.id, p.job_id, l.robot_cassette AS cassette, l.robot_level AS level, p.ordinal AS slot
    FROM c JOIN location_ancestor a ON a.tenant_id = ${tenantId} AND a.ancestor_id = c.store_id
    JOIN location l ON l.tenant_id = ${tenantId} AND l.id = a.descendant_id
      AND l.robot_cassette IS NOT NULL AND NOT l.is_handoff AND l.retired_at IS NULL
    JOIN position p ON p.tenant_id = ${tenantId} AND p.container_id = l.id
  ), ours AS (
    SELECT s.id, s.barcode, place.id AS position_id, place.cassette, place.level, place.slot,
           s.job_id IS NOT NULL OR s.custody_since >= c.read_at AS is_busy
    FROM place CROSS JOIN c JOIN sample s ON s.tenant_id = ${tenantId} AND s.position_id = place.id
  ), theirs AS (
    SELECT e.cassette, e.level, e.slot, e.barcode, place.id AS position_id, place.job_id
    FROM inventory_entry e LEFT JOIN place USING (cassette, level, slot)
    WHERE e.tenant_id = ${tenantId} AND e.comparison_id = ${id}
  ), labelled AS (
    SELECT DISTINCT ON (barcode) * FROM theirs WHERE barcode IS NOT NULL ORDER BY barcode, cassette, level, slot
  ), absent AS (
    SELECT o.id, o.position_id, o.cassette, o.level, o.slot, f.position_id AS found_id, f.cassette AS found_cassette,
           f.level AS found_level, f.slot AS found_slot
    FROM ours o LEFT JOIN theirs there ON there.position_id = o.position_id
    LEFT JOIN labelled f ON f.barcode = o.barcode
    WHERE NOT o.is_busy AND (there.slot IS NULL OR there.barcode <> o.barcode)
  ), extra AS (
    SELECT t.cassette, t.level, t.slot, t.barcode, t.position_id, known.id AS sample_id
    FROM theirs t CROSS JOIN c
    LEFT JOIN ours here ON here.position_id = t.position_id
    LEFT JOIN sample known ON known.tenant_id = ${tenantId} AND known.barcode = t.barcode
    WHERE (here.id IS NULL OR (here.barcode <> t.barcode AND NOT here.is_busy))
      AND (here.id IS NOT NULL OR t.job_id IS NULL)
      AND (known.id IS NULL OR (known.job_id IS NULL AND known.custody_since < c.read_at))
      AND NOT EXISTS (SELECT FROM absent b WHERE b.id = known.id
                      AND (b.found_cassette, b.found_level, b.found_slot) = (t.cassette, t.level, t.slot))
  ), discrepancy AS (
    SELECT CASE WHEN found_slot IS NULL THEN 'inventory_missing' ELSE 'inventory_moved' END AS kind, id AS "sampleId",
           position_id AS "recordedId", found_id AS "foundId", NULL::text AS barcode,
           concat_ws('/', coalesce(found_cassette, cassette), coalesce(found_level, level),
                     coalesce(found_slot, slot)) AS address
    FROM absent
    UNION ALL
    SELECT 'inventory_unexpected', sample_id, NULL, position_id, barcode, concat_ws('/', cassette, level, slot)
    FROM extra
  ), fresh AS (
    SELECT * FROM discrepancy d WHERE NOT EXISTS (
      SELECT FROM deviation v CROSS JOIN c WHERE v.tenant_id = ${tenantId} AND v.robot_id = c.robot_id
        AND v.closed_at IS NULL AND v.kind = d.kind AND v.sample_id IS NOT DISTINCT FROM d."sampleId"
        AND v.facts ->> 'address' = d.address))`;

/** How many tubes store and record have, and about how many they differ. */
export function countDiscrepancies(db: Database, tenantId: string, id: string): Promise<InventoryCounts> {
  return inTenant(db, tenantId, async (tx) => {
    const { rows } = await sql<InventoryCounts>`${DISCREPANCIES(tenantId, id)}
      SELECT (SELECT count(*)::int FROM theirs) AS tubes, (SELECT count(*)::int FROM ours) AS recorded,
             count(*) FILTER (WHERE kind = 'inventory_missing')::int AS missing,
             count(*) FILTER (WHERE kind = 'inventory_unexpected')::int AS unexpected,
             count(*) FILTER (WHERE kind = 'inventory_moved')::int AS moved FROM discrepancy`.execute(tx);
    if (!rows[0]) throw new DomainError('INTERNAL', 'The discrepancies were not counted.');
    return rows[0];
  });
}

/** The discrepancies about which no deviation is open, at most so many. */
export function freshDiscrepancies(
  db: Database,
  tenantId: string,
  id: string,
  limit: number,
): Promise<Discrepancy[]> {
  return inTenant(db, tenantId, async (tx) => {
    const { rows } = await sql<Discrepancy>`${DISCREPANCIES(tenantId, id)}
      SELECT * FROM fresh ORDER BY address, kind LIMIT ${limit}`.execute(tx);
    return rows;
  });
}

/** When the reading of a comparison began, as the transaction that judges a tube sees it. */
export async function readAtOf(tx: Transaction<DB>, tenantId: string, id: string): Promise<Date | null> {
  const { rows } = await sql<{ read_at: Date | null }>`
    SELECT read_at FROM inventory_comparison WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx);
  return rows[0]?.read_at ?? null;
}

/** Counts one deviation more that a comparison has opened. */
export async function countOpened(tx: Transaction<DB>, tenantId: string, id: string): Promise<void> {
  await sql`UPDATE inventory_comparison SET opened = opened + 1
    WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx);
}

/** Ends a comparison and forgets what was read for it. One that has ended stays as it is. */
export function endComparison(
  db: Database,
  tenantId: string,
  id: string,
  end: { readonly counts: InventoryCounts | null; readonly failure: string | null },
): Promise<void> {
  const { counts, failure } = end;
  return inTenant(db, tenantId, async (tx) => {
    await sql`DELETE FROM inventory_entry WHERE tenant_id = ${tenantId} AND comparison_id = ${id}`.execute(
      tx,
    );
    await sql`UPDATE inventory_comparison SET state = ${failure === null ? 'COMPLETED' : 'FAILED'}, detail = ${failure},
        tubes = ${counts?.tubes ?? null}, recorded = ${counts?.recorded ?? null}, missing = ${counts?.missing ?? null},
        unexpected = ${counts?.unexpected ?? null}, moved = ${counts?.moved ?? null}, ended_at = clock_timestamp()
      WHERE tenant_id = ${tenantId} AND id = ${id} AND state = 'RUNNING'`.execute(tx);
  });
}
