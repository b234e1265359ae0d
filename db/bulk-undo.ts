import { sql, type Transaction } from 'kysely';
import type { Actor } from '../domain/actor.ts';
import type { Custody } from '../domain/custody.ts';
import { DomainError } from '../domain/errors.ts';
import { checkRows } from './bulk-check.ts';
import {
  type BulkOperation,
  findOperation,
  forgetRows,
  lockOperation,
  MOST_AT_ONCE,
  openOperation,
  setOperation,
} from './bulk-operations.ts';
import { type DoneRow, noteDone } from './bulk-run.ts';
import { repositionRows } from './bulk-samples.ts';
import { type Change, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { changeSample, custodySets, lockSamples, type SampleRecord } from './custody.ts';
import { insertJob, type NewJob } from './jobs.ts';
import type { DB } from './schema.ts';

/** How an operation is taken back. */
export type UndoHow =
  /** the tubes never moved: the record is put right, and nothing vouches for it until the tubes are scanned again */
  | { readonly how: 'correct' }
  /** the tubes did move: each is moved back by a job of its own */
  | {
      readonly how: 'move_back';
      readonly jobFor: (back: { sampleId: string; positionId: string }) => NewJob;
    };

/**
 * Takes a bulk operation back, whole, as new entries: all of it or, where something later depends on it, nothing.
 * @returns the undo, DONE; or REFUSED, with what is in its way as its problems
 * @throws DomainError CONFLICT when it is not done, was taken back before, or cannot be moved back; VALIDATION when it is
 *   too large; NOT_FOUND
 */
export async function undoOperation(
  db: Database,
  actor: Actor,
  operationId: string,
  undo: UndoHow,
): Promise<BulkOperation> {
  const { tenantId } = actor;
  const id = await withChange(db, { actor, reason: 'undo' }, async (change) => {
    const { tx } = change;
    const operation = await lockOperation(tx, tenantId, operationId);
    await requireUndoable(tx, operation, undo);
    const made = await openOperation(tx, actor, {
      kind: 'undo',
      undoesId: operationId,
      undoHow: undo.how,
      mode: 'all',
    });
    await stageUndo(tx, tenantId, operation.id, made);
    await checkRows(tx, tenantId, made, false);
    await setOperation(tx, tenantId, made, 'REFUSED');
    const { problems } = await lockOperation(tx, tenantId, made);
    if (problems > 0) return made;
    const done =
      undo.how === 'correct'
        ? await correct(change, tenantId, made)
        : await moveBack(tx, tenantId, made, undo.jobFor);
    await noteDone(tx, tenantId, made, done);
    await setOperation(tx, tenantId, made, 'DONE');
    return made;
  });
  const undone = await findOperation(db, tenantId, id);
  if (undone.state === 'REFUSED') await forgetRows(db, tenantId, id);
  return undone;
}

async function requireUndoable(tx: Transaction<DB>, operation: BulkOperation, undo: UndoHow): Promise<void> {
  const { id, kind, state, applied } = operation;
  if (kind === 'undo')
    throw new DomainError('CONFLICT', 'An undo is not taken back: do again what it has taken back.');
  if (state !== 'DONE')
    throw new DomainError('CONFLICT', `Operation ${id} is ${state}: only what is done is taken back.`);
  if (undo.how === 'move_back' && operation.importKind === 'samples') {
    throw new DomainError(
      'CONFLICT',
      'These samples came into the record by this import: there is nowhere to move them back to; correct the record.',
    );
  }
  if (applied > MOST_AT_ONCE) {
    throw new DomainError(
      'VALIDATION',
      `At most ${MOST_AT_ONCE} rows are taken back at once, and these are ${applied}.`,
    );
  }
  const { rows } = await sql<{ id: string }>`SELECT id FROM bulk_operation
    WHERE tenant_id = ${operation.actor.tenantId} AND undoes_id = ${id} AND state <> 'REFUSED'`.execute(tx);
  if (rows[0]) {
    throw new DomainError('CONFLICT', `Operation ${id} was taken back by ${rows[0].id}.`, {
      facts: { undoneBy: rows[0].id },
    });
  }
}

/** The way back of each row, and what happened to the tube since. */
async function stageUndo(tx: Transaction<DB>, tenantId: string, of: string, into: string): Promise<void> {
  await sql`
    INSERT INTO bulk_row (tenant_id, operation_id, line, cells, sample_id, zone, sample_type, container_id, grid_row,
                          grid_column, from_custody)
    SELECT r.tenant_id, ${into}, r.line, '{}', r.sample_id, s.zone, s.type, p.container_id, p.grid_row, p.grid_column,
           r.from_custody
    FROM bulk_row r
    JOIN sample s ON s.tenant_id = r.tenant_id AND s.id = r.sample_id
    LEFT JOIN position p ON p.tenant_id = r.tenant_id AND p.id = (r.from_custody ->> 'positionId')::uuid
    WHERE r.tenant_id = ${tenantId} AND r.operation_id = ${of} AND r.sample_version IS NOT NULL`.execute(tx);
  await sql`
    INSERT INTO bulk_problem (tenant_id, operation_id, line, field, code, detail)
    SELECT r.tenant_id, ${into}, r.line, 'barcode', 'CONFLICT',
           'sample ' || s.id || ' depends on it: ' || e.type || ' at ' || to_char(e.time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM bulk_row r
    JOIN sample s ON s.tenant_id = r.tenant_id AND s.id = r.sample_id AND s.version <> r.sample_version
    JOIN record_version v ON v.tenant_id = s.tenant_id AND v.aggregate = 'sample' AND v.aggregate_id = s.id
      AND v.version = r.sample_version + 1
    JOIN event e ON e.tenant_id = v.tenant_id AND e.id = v.event_id
    WHERE r.tenant_id = ${tenantId} AND r.operation_id = ${of} AND r.sample_version IS NOT NULL`.execute(tx);
}

interface UndoRow {
  line: number;
  sample_id: string;
  to_position_id: string | null;
  from_custody: Custody | null;
}

async function undoRows(tx: Transaction<DB>, tenantId: string, id: string): Promise<UndoRow[]> {
  const { rows } = await sql<UndoRow>`SELECT line, sample_id, to_position_id, from_custody FROM bulk_row
    WHERE tenant_id = ${tenantId} AND operation_id = ${id} ORDER BY line`.execute(tx);
  return rows;
}

async function correct(change: Change, tenantId: string, id: string): Promise<DoneRow[]> {
  const rows = await undoRows(change.tx, tenantId, id);
  const back = rows.flatMap((row) =>
    row.to_position_id === null
      ? []
      : [{ line: row.line, sampleId: row.sample_id, positionId: row.to_position_id }],
  );
  const outside = rows.filter((row) => row.to_position_id === null);
  const done: DoneRow[] = await leavePositions(change, tenantId, outside);
  for (const [line, { before, after }] of await repositionRows(
    change,
    tenantId,
    back,
    'asserted',
    'storage.sample.corrected',
  )) {
    done.push({ line, sampleId: after.id, version: after.version, from: before.custody });
  }
  if (done.length < rows.length) {
    throw new DomainError(
      'CONFLICT',
      'A tube or a position was taken by somebody else meanwhile: look at it again.',
    );
  }
  return done;
}

/** Back to where there was no position: to a person, or into an archived record when the file was all that spoke of it. */
async function leavePositions(
  change: Change,
  tenantId: string,
  rows: readonly UndoRow[],
): Promise<DoneRow[]> {
  const ids = rows.map((row) => row.sample_id);
  const samples = new Map((await lockSamples(change.tx, tenantId, ids)).map((sample) => [sample.id, sample]));
  await sql`UPDATE position SET state = 'free', sample_id = NULL
    WHERE tenant_id = ${tenantId} AND sample_id = ANY (${ids}::uuid[])`.execute(change.tx);
  const done: DoneRow[] = [];
  for (const { line, sample_id: sampleId, from_custody: from } of rows) {
    const sample = samples.get(sampleId);
    if (!sample) continue;
    const after = await putBack(change, tenantId, sample, from);
    done.push({ line, sampleId, version: after.version, from: sample.custody });
  }
  return done;
}

function putBack(
  change: Change,
  tenantId: string,
  sample: SampleRecord,
  from: Custody | null,
): Promise<SampleRecord> {
  const to: Custody = from ?? { kind: 'unknown', candidates: [] };
  const options = from === null ? ({ standing: 'archived' } as const) : {};
  return changeSample(
    change,
    tenantId,
    sample,
    'storage.sample.corrected',
    custodySets(to, change.recordedAt, 'asserted', options),
  );
}

async function moveBack(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
  jobFor: Extract<UndoHow, { how: 'move_back' }>['jobFor'],
): Promise<DoneRow[]> {
  const rows = await undoRows(tx, tenantId, id);
  const samples = await lockSamples(
    tx,
    tenantId,
    rows.map((row) => row.sample_id),
  );
  const versions = new Map(samples.map((sample) => [sample.id, sample.version]));
  const done: DoneRow[] = [];
  for (const { line, sample_id: sampleId, to_position_id: positionId, from_custody: from } of rows) {
    if (positionId === null) {
      throw new DomainError(
        'CONFLICT',
        `Sample ${sampleId} was in no position before: correct the record, or fetch it.`,
      );
    }
    await insertJob(tx, jobFor({ sampleId, positionId }));
    done.push({ line, sampleId, version: versions.get(sampleId) ?? 0, from });
  }
  return done;
}
