import { sql, type Transaction } from 'kysely';
import type { CustodyKind, Witness } from '../domain/custody.ts';
import { cellLabel, type Grid } from '../domain/grid.ts';
import type { Expectation, ExpectedPosition, KnownTube } from '../domain/rack-diff.ts';
import { STANDS_UNNAMED } from '../domain/rack-plan.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import { IN_DOUBT_AFTER_RESTORE } from './restored-robot.ts';
import type { DB } from './schema.ts';

interface TubeRow extends GridRow {
  id: string;
  barcode: string;
  version: number;
  custody: CustodyKind;
  witness: Witness;
  job_id: string | null;
  position_id: string | null;
  location_id: string | null;
  location: string | null;
  held_by: string | null;
  grid_row: number;
  grid_column: number;
}

/** What is recorded of a box, and of every tube whose barcode was read in it, wherever that is. */
export async function readExpectation(
  tx: Transaction<DB>,
  tenantId: string,
  box: { readonly id: string; readonly grid: Grid },
  barcodes: readonly string[],
): Promise<Expectation> {
  const read = [...new Set(barcodes)];
  const [positions, tubes, others] = await Promise.all([
    sql<{
      id: string;
      grid_row: number;
      grid_column: number;
      state: ExpectedPosition['state'];
      blocked_reason: string | null;
      job_id: string | null;
      sample_id: string | null;
    }>`SELECT id, grid_row, grid_column, state, blocked_reason, job_id, sample_id FROM position
      WHERE tenant_id = ${tenantId} AND container_id = ${box.id} AND retired_at IS NULL ORDER BY ordinal`.execute(
      tx,
    ),
    sql<TubeRow>`
      SELECT s.id, s.barcode, s.version, s.custody, s.witness, s.job_id, p.id AS position_id, l.id AS location_id,
             l.name || coalesce(' in ' || parent.name, '') AS location, p.job_id AS held_by, p.grid_row, p.grid_column,
             ${GRID_COLUMNS}
      FROM sample s
      LEFT JOIN position p ON p.tenant_id = s.tenant_id AND p.id = s.position_id
      LEFT JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id
      LEFT JOIN location parent ON parent.tenant_id = l.tenant_id AND parent.id = l.parent_id
      WHERE s.tenant_id = ${tenantId} AND (s.barcode = ANY (${read}::text[]) OR s.id IN (
        SELECT sample_id FROM position WHERE tenant_id = ${tenantId} AND container_id = ${box.id}))
      ORDER BY s.id`.execute(tx),
    sql<{ barcode: string; of: 'location' | 'retired' }>`
      SELECT code AS barcode, CASE WHEN kind = 'location' THEN 'location' ELSE 'retired' END AS of FROM barcode
      WHERE tenant_id = ${tenantId} AND code = ANY (${read}::text[])
        AND (kind = 'location' OR retired_at IS NOT NULL) ORDER BY code`.execute(tx),
  ]);
  return {
    locationId: box.id,
    grid: box.grid,
    positions: positions.rows.map((row) => ({
      positionId: row.id,
      cell: { row: row.grid_row, column: row.grid_column },
      state: row.state,
      isDoubtful: row.blocked_reason === STANDS_UNNAMED || row.blocked_reason === IN_DOUBT_AFTER_RESTORE,
      jobId: row.job_id,
      sampleId: row.sample_id,
    })),
    tubes: tubes.rows.map(tubeOf),
    others: others.rows,
  };
}

function tubeOf(row: TubeRow): KnownTube {
  const { position_id: positionId, location_id: locationId } = row;
  return {
    sampleId: row.id,
    barcode: row.barcode,
    version: row.version,
    custody: row.custody,
    witness: row.witness,
    jobId: row.job_id,
    place:
      positionId === null || locationId === null
        ? null
        : {
            positionId,
            locationId,
            location: row.location ?? '',
            position: cellLabel({ row: row.grid_row, column: row.grid_column }, gridOf(row)),
            jobId: row.held_by,
          },
  };
}
