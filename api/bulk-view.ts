import { type BulkOperation, type ListedProblem, listProblems } from '../db/bulk-operations.ts';
import type { Database } from '../db/connection.ts';
import { DomainError } from '../domain/errors.ts';
import type { BulkProblem, BulkReport } from '../schemas/bulk.ts';

const SHOWN = 100;

/** A bulk operation with the first of its problems. */
export async function reportOf(
  db: Database,
  operation: BulkOperation,
  ignoredColumns?: readonly string[],
): Promise<BulkReport> {
  const { id, kind, mode, state, undoesId, rows, doable, applied, problems, createdAt, finishedAt } =
    operation;
  const first = problems === 0 ? [] : await listProblems(db, operation.actor.tenantId, id, null, SHOWN);
  return {
    id,
    kind,
    mode,
    state,
    ...(undoesId !== null && { undoes: undoesId }),
    rows,
    doable,
    applied,
    problems,
    firstProblems: first.map(presentProblem),
    ...(ignoredColumns && ignoredColumns.length > 0 && { ignoredColumns: [...ignoredColumns] }),
    createdAt: createdAt.toISOString(),
    ...(finishedAt && { finishedAt: finishedAt.toISOString() }),
  };
}

export function presentProblem({ line, field, heading, code, detail }: ListedProblem): BulkProblem {
  return {
    line,
    ...(field !== null && { field }),
    ...(heading !== null && { column: heading }),
    code,
    detail,
  };
}

/** What a caller gets whose rows were refused, whole. */
export function refusalOf(report: BulkReport): DomainError {
  const errors = report.firstProblems.map(({ line, column, field, detail }) => ({
    pointer: `line ${line}${column || field ? `, column ${column ?? field}` : ''}`,
    detail,
  }));
  const [first] = errors;
  return new DomainError(
    'BULK_REFUSED',
    `Nothing was done: ${report.problems} ${report.problems === 1 ? 'thing is' : 'things are'} wrong in ${report.rows} rows${first ? `, the first in ${first.pointer}: ${first.detail}` : ''}.`,
    { errors, facts: { operationId: report.id, rows: report.rows, problems: report.problems } },
  );
}
