import { sql } from 'kysely';
import type { BulkField, RowProblem } from '../domain/bulk.ts';
import { describeGrid, findCell, type Grid } from '../domain/grid.ts';
import { isId } from '../domain/reference.ts';
import { noteProblems } from './bulk-operations.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, gridOrNull } from './grid-row.ts';
import { inTenant, read } from './tenancy.ts';

/** A row as it was read, with what was wrong with it. */
export interface ReadRow {
  readonly line: number;
  readonly values: Readonly<Partial<Record<BulkField, string>>>;
  /** named by id instead of by barcode */
  readonly sampleId?: string;
  readonly problems: readonly RowProblem[];
}

interface Container {
  readonly id: string;
  readonly name: string;
  readonly grid: Grid | null;
}

/** Containers remembered at a time: memory stays flat however many a file names. */
const MOST_REMEMBERED = 20_000;

/** Stages rows, and remembers from batch to batch which container is which. */
export class Staging {
  readonly #db: Database;
  readonly #tenantId: string;
  readonly #operationId: string;
  #containers = new Map<string, Container | null>();

  constructor(db: Database, tenantId: string, operationId: string) {
    this.#db = db;
    this.#tenantId = tenantId;
    this.#operationId = operationId;
  }

  /** Writes a batch; containers and labels are looked up, what is wrong is noted. */
  async add(rows: readonly ReadRow[]): Promise<void> {
    await this.#know(rows.flatMap(({ values }) => (values.location === undefined ? [] : [values.location])));
    const placed = rows.map((row) => this.#place(row));
    const tenantId = this.#tenantId;
    await inTenant(this.#db, tenantId, async (tx) => {
      await sql`
        INSERT INTO bulk_row (tenant_id, operation_id, line, cells, barcode, zone, sample_type, container_id, grid_row,
                              grid_column, sample_id)
        SELECT ${tenantId}, ${this.#operationId}, * FROM unnest(
          ${rows.map((row) => row.line)}::int[], ${rows.map((row) => JSON.stringify(row.values))}::jsonb[],
          ${rows.map((row) => row.values.barcode ?? null)}::text[], ${rows.map((row) => row.values.zone ?? null)}::text[],
          ${rows.map((row) => row.values.type ?? null)}::text[], ${placed.map((one) => one.containerId)}::uuid[],
          ${placed.map((one) => one.row)}::int[], ${placed.map((one) => one.column)}::int[],
          ${rows.map((row) => row.sampleId ?? null)}::uuid[])`.execute(tx);
      const problems = [...rows.flatMap((row) => row.problems), ...placed.flatMap((one) => one.problems)];
      await noteProblems(tx, tenantId, this.#operationId, problems);
    });
  }

  #place({ line, values }: ReadRow) {
    const nowhere = { containerId: null, row: null, column: null, problems: [] as RowProblem[] };
    const { location, position } = values;
    if (location === undefined || position === undefined) return nowhere;
    const wrong = (field: BulkField, code: string, detail: string) => ({
      ...nowhere,
      problems: [{ line, field, code, detail }],
    });
    const container = this.#containers.get(location);
    if (!container) {
      return wrong(
        'location',
        'NOT_FOUND',
        `“${location}” is no location: give its barcode, its id, or its path as Site/Freezer/Box`,
      );
    }
    if (!container.grid) return wrong('location', 'POSITION_UNKNOWN', `${container.name} has no positions`);
    const cell = findCell(position, container.grid);
    if (!cell) {
      const has = `${container.name}, which has ${describeGrid(container.grid)}`;
      return wrong('position', 'POSITION_UNKNOWN', `${position} does not exist in ${has}`);
    }
    return { ...nowhere, containerId: container.id, row: cell.row, column: cell.column };
  }

  async #know(references: readonly string[]): Promise<void> {
    if (this.#containers.size > MOST_REMEMBERED) this.#containers = new Map();
    const asked = [...new Set(references)].filter((reference) => !this.#containers.has(reference));
    if (asked.length === 0) return;
    const found = await read(
      this.#db,
      this.#tenantId,
      sql<GridRow & { reference: string; id: string; name: string }>`
        SELECT a.reference, l.id, l.name, ${GRID_COLUMNS}
        FROM unnest(${asked}::text[], ${asked.map((one) => (isId(one) ? one : null))}::uuid[],
                    ${asked.map((one) => one.split('/').at(-1)?.trim() ?? '')}::text[]) AS a (reference, id, last)
        JOIN LATERAL (
          SELECT * FROM location WHERE tenant_id = ${this.#tenantId} AND id = a.id
          UNION ALL
          SELECT * FROM location WHERE tenant_id = ${this.#tenantId} AND barcode = a.reference
          UNION ALL
          SELECT * FROM location WHERE tenant_id = ${this.#tenantId} AND name = a.last AND retired_at IS NULL
            AND a.reference = (SELECT string_agg(step ->> 'name', '/' ORDER BY n)
                               FROM jsonb_array_elements(path) WITH ORDINALITY AS s (step, n))
          LIMIT 1) l ON true`.compile(this.#db.kysely),
    );
    for (const reference of asked) this.#containers.set(reference, null);
    for (const row of found) {
      this.#containers.set(row.reference, { id: row.id, name: row.name, grid: gridOrNull(row) });
    }
  }
}
