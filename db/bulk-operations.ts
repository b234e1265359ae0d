import { sql, type Transaction } from 'kysely';
import type { Actor } from '../domain/actor.ts';
import type { RowProblem } from '../domain/bulk.ts';
import { DomainError } from '../domain/errors.ts';
import type { Database } from './connection.ts';
import type { DB } from './schema.ts';
import { inTenant, read } from './tenancy.ts';

/** An operation of at most so many rows is one transaction; a larger one is done in batches and cannot be all or nothing. */
export const MOST_AT_ONCE = 20_000;

/** Everything or nothing, or the rows that can be done. */
export type BulkMode = 'all' | 'valid';

/** Work on many samples, as it stands. */
export interface BulkOperation {
  readonly id: string;
  readonly kind: 'import' | 'move' | 'undo';
  readonly importKind: 'samples' | 'placements' | null;
  readonly mode: BulkMode;
  readonly state: 'STAGING' | 'CHECKED' | 'READY' | 'DONE' | 'REFUSED';
  readonly undoesId: string | null;
  readonly undoHow: 'correct' | 'move_back' | null;
  readonly rows: number;
  /** rows without a problem */
  readonly doable: number;
  readonly applied: number;
  readonly problems: number;
  readonly actor: Actor;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

interface OperationRow extends Omit<BulkOperation, 'actor'> {
  actor_id: string;
  actor_role: Actor['role'];
  station_id: string | null;
}

const OPERATION = (tenantId: string, id: string) => sql<OperationRow>`
  SELECT id, kind, import_kind AS "importKind", mode, state, undoes_id AS "undoesId", undo_how AS "undoHow", rows, doable, applied,
         problems, created_at AS "createdAt", finished_at AS "finishedAt", actor_id, actor_role, station_id
  FROM bulk_operation WHERE tenant_id = ${tenantId} AND id = ${id}`;

function operationOf(tenantId: string, id: string, row: OperationRow | undefined): BulkOperation {
  if (!row) throw new DomainError('NOT_FOUND', `There is no bulk operation ${id}.`);
  const { actor_id: userId, actor_role: role, station_id: stationId, ...rest } = row;
  return { ...rest, actor: { tenantId, userId, role, stationId } };
}

/** @throws DomainError NOT_FOUND */
export async function findOperation(db: Database, tenantId: string, id: string): Promise<BulkOperation> {
  const [row] = await read(db, tenantId, OPERATION(tenantId, id).compile(db.kysely));
  return operationOf(tenantId, id, row);
}

/** As `findOperation`, held until the transaction ends. @throws DomainError NOT_FOUND */
export async function lockOperation(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
): Promise<BulkOperation> {
  const { rows } = await sql<OperationRow>`${OPERATION(tenantId, id)} FOR UPDATE`.execute(tx);
  return operationOf(tenantId, id, rows[0]);
}

/** Opens an operation whose rows are to be staged. @returns its id */
export async function openOperation(
  tx: Transaction<DB>,
  actor: Actor,
  what:
    | { readonly kind: 'import'; readonly importKind: 'samples' | 'placements'; readonly mode: BulkMode }
    | { readonly kind: 'move'; readonly mode: BulkMode }
    | {
        readonly kind: 'undo';
        readonly undoesId: string;
        readonly undoHow: 'correct' | 'move_back';
        readonly mode: 'all';
      },
): Promise<string> {
  const { rows } = await sql<{ id: string }>`
    INSERT INTO bulk_operation (tenant_id, kind, import_kind, mode, state, undoes_id, undo_how, actor_id, actor_role, station_id)
    VALUES (${actor.tenantId}, ${what.kind}, ${what.kind === 'import' ? what.importKind : null}, ${what.mode}, 'STAGING',
            ${what.kind === 'undo' ? what.undoesId : null}, ${what.kind === 'undo' ? what.undoHow : null}, ${actor.userId},
            ${actor.role}, ${actor.stationId}) RETURNING id`.execute(tx);
  const id = rows[0]?.id;
  if (id === undefined) throw new DomainError('INTERNAL', 'The operation was not written.');
  return id;
}

/** Says how far an operation is, counting its rows anew. */
export async function setOperation(
  tx: Transaction<DB>,
  tenantId: string,
  id: string,
  state: BulkOperation['state'],
): Promise<void> {
  await sql`
    UPDATE bulk_operation o SET state = ${state}, version = version + 1, rows = c.rows, doable = c.doable,
      applied = c.applied,
      problems = (SELECT count(*) FROM bulk_problem p WHERE p.tenant_id = o.tenant_id AND p.operation_id = o.id),
      finished_at = CASE WHEN ${state} IN ('DONE', 'REFUSED', 'CHECKED') THEN clock_timestamp() END
    FROM (SELECT count(*) AS rows, count(sample_version) AS applied,
            count(*) FILTER (WHERE NOT has_problem) AS doable FROM bulk_row
          WHERE tenant_id = ${tenantId} AND operation_id = ${id}) c
    WHERE o.tenant_id = ${tenantId} AND o.id = ${id}`.execute(tx);
}

/** Notes what is wrong with rows, and that they are not to be done. */
export async function noteProblems(
  tx: Transaction<DB>,
  tenantId: string,
  operationId: string,
  problems: readonly RowProblem[],
): Promise<void> {
  if (problems.length === 0) return;
  const lines = problems.map((problem) => problem.line);
  await sql`
    INSERT INTO bulk_problem (tenant_id, operation_id, line, field, code, detail)
    SELECT ${tenantId}, ${operationId}, * FROM unnest(${lines}::int[], ${problems.map((one) => one.field)}::text[],
      ${problems.map((one) => one.code)}::text[], ${problems.map((one) => one.detail)}::text[])`.execute(tx);
  await sql`UPDATE bulk_row SET has_problem = true
    WHERE tenant_id = ${tenantId} AND operation_id = ${operationId} AND line = ANY (${lines}::int[])`.execute(
    tx,
  );
}

export interface ListedProblem extends RowProblem {
  readonly id: string;
  /** of the column in the file; null: it has none */
  readonly heading: string | null;
}

/** A page of what is wrong with an operation's rows, in the order of the lines. */
export function listProblems(
  db: Database,
  tenantId: string,
  operationId: string,
  after: { readonly line: number; readonly id: string } | null,
  limit: number,
): Promise<ListedProblem[]> {
  return read(
    db,
    tenantId,
    sql<ListedProblem>`
      SELECT p.id, p.line, p.field, o.headings ->> p.field AS heading, p.code, p.detail
      FROM bulk_problem p JOIN bulk_operation o ON o.tenant_id = p.tenant_id AND o.id = p.operation_id
      WHERE p.tenant_id = ${tenantId} AND p.operation_id = ${operationId}
        AND (${after?.line ?? null}::int IS NULL
             OR (p.line, p.id) > (${after?.line ?? null}::int, ${after?.id ?? null}::uuid))
      ORDER BY p.line, p.id LIMIT ${limit}`.compile(db.kysely),
  );
}

/** Forgets the rows of what was only tried, or refused; what is wrong with them stays. */
export function forgetRows(db: Database, tenantId: string, operationId: string): Promise<void> {
  return inTenant(db, tenantId, async (tx) => {
    await sql`DELETE FROM bulk_row WHERE tenant_id = ${tenantId} AND operation_id = ${operationId}`.execute(
      tx,
    );
  });
}
