import { sql, type Transaction } from 'kysely';
import type { Actor } from '../domain/actor.ts';
import type { BulkField, RowProblem } from '../domain/bulk.ts';
import { DomainError } from '../domain/errors.ts';
import { checkRows } from './bulk-check.ts';
import {
  type BulkMode,
  type BulkOperation,
  findOperation,
  forgetRows,
  lockOperation,
  MOST_AT_ONCE,
  noteProblems,
  openOperation,
  setOperation,
} from './bulk-operations.ts';
import { checkPlaces, holdPlaces } from './bulk-rules.ts';
import { type NewRow, type Reposition, registerRows, repositionRows } from './bulk-samples.ts';
import { type ReadRow, Staging } from './bulk-staging.ts';
import { type Change, withChange } from './change.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { inTenant } from './tenancy.ts';

/** Rows staged, and rows applied, in one transaction of a large operation. */
const BATCH = 1_000;

export interface BulkRequest {
  readonly what:
    | { readonly kind: 'import'; readonly importKind: 'samples' | 'placements' }
    | { readonly kind: 'move' };
  readonly mode: BulkMode;
  /** look at everything and write nothing */
  readonly dryRun: boolean;
  /** names of the file's columns */
  readonly headings: Readonly<Partial<Record<BulkField, string>>>;
}

/**
 * Stages rows as they come and checks them against the store and each other. What is to be done and can be is READY then,
 * to be done by `applyOperation`; the rows of a dry run, and of a refused one, are forgotten, what is wrong with them is kept.
 * @throws DomainError VALIDATION when there are no rows, or too many for all or nothing; whatever reading the rows throws
 */
export async function stageOperation(
  db: Database,
  actor: Actor,
  request: BulkRequest,
  rows: AsyncIterable<ReadRow>,
): Promise<BulkOperation> {
  const { tenantId } = actor;
  const id = await inTenant(db, tenantId, async (tx) => {
    const made = await openOperation(tx, actor, { ...request.what, mode: request.mode });
    await sql`UPDATE bulk_operation SET headings = ${JSON.stringify(request.headings)}::jsonb
      WHERE tenant_id = ${tenantId} AND id = ${made}`.execute(tx);
    return made;
  });
  try {
    await stageAll(new Staging(db, tenantId, id), rows);
    await inTenant(db, tenantId, async (tx) => {
      const creates = request.what.kind === 'import' && request.what.importKind === 'samples';
      await checkRows(tx, tenantId, id, creates);
      await setOperation(tx, tenantId, id, 'CHECKED');
    });
  } catch (error) {
    await inTenant(db, tenantId, (tx) => setOperation(tx, tenantId, id, 'REFUSED'));
    await forgetRows(db, tenantId, id);
    throw error;
  }
  const checked = await findOperation(db, tenantId, id);
  if (checked.rows === 0) throw new DomainError('VALIDATION', 'There are no rows below the headings.');
  if (request.mode === 'all' && checked.rows > MOST_AT_ONCE && !request.dryRun) {
    await forgetRows(db, tenantId, id);
    throw new DomainError(
      'VALIDATION',
      `All or nothing is done with ${MOST_AT_ONCE} rows at most, and these are ${checked.rows}: split them, or ask for the valid rows (mode=valid) after a dry run.`,
    );
  }
  if (request.dryRun) {
    await forgetRows(db, tenantId, id);
    return checked;
  }
  const isRefused = request.mode === 'all' && checked.problems > 0;
  await inTenant(db, tenantId, (tx) =>
    sql`UPDATE bulk_operation SET state = ${isRefused ? 'REFUSED' : 'READY'}
      WHERE tenant_id = ${tenantId} AND id = ${id}`.execute(tx),
  );
  if (isRefused) await forgetRows(db, tenantId, id);
  return findOperation(db, tenantId, id);
}

async function stageAll(staging: Staging, rows: AsyncIterable<ReadRow>): Promise<void> {
  let batch: ReadRow[] = [];
  for await (const row of rows) {
    batch.push(row);
    if (batch.length < BATCH) continue;
    await staging.add(batch);
    batch = [];
  }
  if (batch.length > 0) await staging.add(batch);
}

/**
 * Does what is READY, from where it was left: a process that dies between two batches loses nothing. All or nothing is one
 * transaction; otherwise a row that cannot be done any more is noted as a problem and passed by.
 * @param signal ends it after the batch under way
 */
export async function applyOperation(
  db: Database,
  tenantId: string,
  id: string,
  signal?: AbortSignal,
): Promise<BulkOperation> {
  const operation = await findOperation(db, tenantId, id);
  if (operation.state !== 'READY') return operation;
  try {
    while (!signal?.aborted && (await applyBatch(db, operation))) {
      // the next one
    }
  } catch (error) {
    if (!(error instanceof RowsRefused)) throw error;
    await inTenant(db, tenantId, async (tx) => {
      await noteProblems(tx, tenantId, id, error.problems);
      await setOperation(tx, tenantId, id, 'REFUSED');
    });
  }
  return findOperation(db, tenantId, id);
}

/** Rows of an all-or-nothing operation that somebody made impossible since they were checked. */
class RowsRefused extends Error {
  readonly problems: readonly RowProblem[];
  constructor(problems: readonly RowProblem[]) {
    super(`${problems.length} rows cannot be done any more`);
    this.problems = problems;
  }
}

/** @returns whether there may be more */
function applyBatch(db: Database, operation: BulkOperation): Promise<boolean> {
  const { id, actor, kind, mode } = operation;
  const { tenantId } = actor;
  return withChange(db, { actor, reason: kind === 'import' ? 'import' : 'move' }, async (change) => {
    const { tx } = change;
    const held = await lockOperation(tx, tenantId, id);
    if (held.state !== 'READY') return false;
    const limit = mode === 'all' ? MOST_AT_ONCE : BATCH;
    const open = await openRows(tx, tenantId, id, limit);
    if (open.length === 0) {
      await setOperation(tx, tenantId, id, 'DONE');
      return false;
    }
    const rows = await stillFit(tx, operation, open, limit);
    const done = await applyRows(change, operation, rows);
    await noteDone(tx, tenantId, id, done);
    const isDone = new Set(done.map((row) => row.line));
    const problems = rows
      .filter((row) => !isDone.has(row.line))
      .map((row) => ({
        line: row.line,
        field: null,
        code: 'CONFLICT',
        detail: 'was taken by somebody else since it was checked: the barcode, the position or the tube',
      }));
    if (mode === 'all' && problems.length > 0) throw new RowsRefused(problems);
    await noteProblems(tx, tenantId, id, problems);
    if (mode === 'all') await setOperation(tx, tenantId, id, 'DONE');
    return mode === 'valid';
  });
}

/**
 * The rows that the rules of their places take now; they may have changed since the rows were checked.
 * @throws RowsRefused when it is all or nothing, and not all are taken
 */
async function stillFit(
  tx: Transaction<DB>,
  { id, actor: { tenantId }, importKind, mode }: BulkOperation,
  open: readonly OpenRow[],
  limit: number,
): Promise<readonly OpenRow[]> {
  const positions = open.flatMap((row) => row.to_position_id ?? []);
  await holdPlaces(tx, tenantId, positions);
  const lines = [open[0]?.line ?? 0, open.at(-1)?.line ?? 0] as const; // they are in order
  await checkPlaces(tx, { tenantId, operationId: id, creates: importKind === 'samples', lines });
  const fit = new Set((await openRows(tx, tenantId, id, limit)).map((row) => row.line));
  if (mode === 'all' && fit.size < open.length) {
    throw new RowsRefused(await problemsOf(tx, tenantId, id, lines));
  }
  return open.filter((row) => fit.has(row.line));
}

async function problemsOf(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
  lines: readonly [number, number],
): Promise<RowProblem[]> {
  const { rows } = await sql<RowProblem>`SELECT line, field, code, detail FROM bulk_problem
    WHERE tenant_id = ${tenantId} AND operation_id = ${id} AND line BETWEEN ${lines[0]} AND ${lines[1]} ORDER BY line`.execute(
    tx,
  );
  return rows;
}

interface OpenRow {
  line: number;
  barcode: string | null;
  cells: Record<string, string>;
  sample_id: string | null;
  to_position_id: string | null;
}

async function openRows(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
  limit: number,
): Promise<OpenRow[]> {
  const { rows } = await sql<OpenRow>`SELECT line, barcode, cells, sample_id, to_position_id FROM bulk_row
    WHERE tenant_id = ${tenantId} AND operation_id = ${id} AND sample_version IS NULL AND NOT has_problem
    ORDER BY line LIMIT ${limit}`.execute(tx);
  return rows;
}

/** What became of a row. */
export interface DoneRow {
  readonly line: number;
  readonly sampleId: string;
  readonly version: number;
  /** where it was before; null: it was not there */
  readonly from: unknown;
}

async function applyRows(
  change: Change,
  operation: BulkOperation,
  rows: readonly OpenRow[],
): Promise<DoneRow[]> {
  const { tenantId, userId } = operation.actor;
  if (operation.importKind === 'samples') {
    const asked = rows.map(
      (row): NewRow => ({
        line: row.line,
        barcode: row.barcode ?? '',
        positionId: row.to_position_id,
        cells: row.cells,
      }),
    );
    const registered = await registerRows(change, tenantId, userId, asked);
    return [...registered].map(([line, sample]) => ({
      line,
      sampleId: sample.id,
      version: sample.version,
      from: null,
    }));
  }
  const asked = rows.flatMap((row): Reposition[] =>
    row.sample_id === null || row.to_position_id === null
      ? []
      : [{ line: row.line, sampleId: row.sample_id, positionId: row.to_position_id }],
  );
  const moved =
    operation.kind === 'import'
      ? await repositionRows(change, tenantId, asked, 'asserted', 'storage.sample.corrected')
      : await repositionRows(change, tenantId, asked, 'person', 'storage.sample.moved');
  return [...moved].map(([line, { before, after }]) => ({
    line,
    sampleId: after.id,
    version: after.version,
    from: before.custody,
  }));
}

/** Notes what was done, for the report and for an undo. */
export async function noteDone(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
  done: readonly DoneRow[],
): Promise<void> {
  await sql`UPDATE bulk_row r SET sample_id = d.sample_id, sample_version = d.version, from_custody = d.from_custody
    FROM unnest(${done.map((row) => row.line)}::int[], ${done.map((row) => row.sampleId)}::uuid[],
      ${done.map((row) => row.version)}::int[],
      ${done.map((row) => (row.from === null ? null : JSON.stringify(row.from)))}::jsonb[])
      AS d (line, sample_id, version, from_custody)
    WHERE r.tenant_id = ${tenantId} AND r.operation_id = ${id} AND r.line = d.line`.execute(tx);
}
