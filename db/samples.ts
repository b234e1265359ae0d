import { type RawBuilder, type SqlBool, sql, type Transaction } from 'kysely';
import type { Custody, CustodyCandidate, CustodyKind, Witness } from '../domain/custody.ts';
import type { Exposure } from '../domain/exposure.ts';
import { cellLabel } from '../domain/grid.ts';
import { isId } from '../domain/reference.ts';
import type { SampleState } from '../domain/sample-state.ts';
import type { Zone } from '../domain/zone.ts';
import type { Database } from './connection.ts';
import { GRID_COLUMNS, type GridRow, gridOf } from './grid-row.ts';
import { type LifeRow, lifeColumns, lifeOf, type SampleLife } from './life-columns.ts';
import { type PathStep, unknownReference } from './locations.ts';
import type { DB } from './schema.ts';
import { read } from './tenancy.ts';

/** The position a tube is in, and the way to it. */
export interface SamplePlace {
  readonly positionId: string;
  readonly containerId: string;
  readonly containerBarcode: string | null;
  /** canonical label, e.g. `C5` */
  readonly label: string;
  /** zero-based */
  readonly row: number;
  readonly column: number;
  /** from the root to the container */
  readonly path: readonly PathStep[];
  /** zone in force there */
  readonly zone: Zone | null;
}

/** Where a sample is now, since when, and how sure that is. */
export interface SampleWhereabouts {
  readonly id: string;
  readonly custody: Custody;
  readonly since: Date;
  readonly witness: Witness;
  /** for custody in a position or hand-off */
  readonly place: SamplePlace | null;
  /** the barcode it was asked by, where that is not its own any more */
  readonly replacedBarcode: string | null;
}

/** A sample as people read it. */
export interface SampleView extends SampleWhereabouts {
  readonly barcode: string;
  readonly type: string;
  readonly project: string | null;
  readonly zone: Zone;
  readonly class: string | null;
  readonly hazard: string | null;
  readonly owner: string | null;
  /** must not stand among others */
  readonly quarantine: boolean;
  readonly aiOptimized: boolean;
  /** the live job that has it */
  readonly jobId: string | null;
  readonly exposure: Exposure;
  readonly life: SampleLife;
  readonly createdAt: Date;
  readonly version: number;
}

interface WhereaboutsRow extends GridRow {
  id: string;
  barcode: string;
  custody: CustodyKind;
  position_id: string | null;
  robot_id: string | null;
  holder_id: string | null;
  candidates: CustodyCandidate[] | null;
  custody_since: Date;
  witness: Witness;
  container_id: string | null;
  container_barcode: string | null;
  grid_row: number;
  grid_column: number;
  path: PathStep[];
  container_zone: Zone | null;
}

interface SampleRow extends WhereaboutsRow, LifeRow {
  type: string;
  project: string | null;
  zone: Zone;
  class: string | null;
  hazard: string | null;
  owner: string | null;
  quarantine: boolean;
  ai_optimized: boolean;
  job_id: string | null;
  warm_since: Date | null;
  exposure_ms: number;
  freeze_thaw_count: number;
  created_at: Date;
  version: number;
  ordinal: number;
}

const WHEREABOUTS = sql`
  s.id, s.barcode, s.custody, s.position_id, s.robot_id, s.holder_id, s.candidates, s.custody_since, s.witness,
  p.container_id, p.grid_row, p.grid_column, l.barcode AS container_barcode, ${GRID_COLUMNS}, l.path,
  l.effective_zone AS container_zone`;

const SAMPLE = sql`${WHEREABOUTS}, s.type, s.project, s.zone, s.class, s.hazard, s.owner, s.quarantine, s.ai_optimized,
  s.job_id, s.warm_since, s.exposure_ms, s.freeze_thaw_count, s.created_at, s.version, p.ordinal, ${lifeColumns('s')}`;

const FROM_SAMPLE = sql`
  FROM sample s
  LEFT JOIN position p ON p.tenant_id = s.tenant_id AND p.id = s.position_id
  LEFT JOIN location l ON l.tenant_id = p.tenant_id AND l.id = p.container_id`;
function whereaboutsOf(row: WhereaboutsRow, asked: string | null = null): SampleWhereabouts {
  return {
    replacedBarcode: asked === null || asked === row.barcode ? null : asked,
    id: row.id,
    custody: custodyOf(row),
    since: row.custody_since,
    witness: row.witness,
    place:
      row.position_id === null || row.container_id === null
        ? null
        : {
            positionId: row.position_id,
            containerId: row.container_id,
            containerBarcode: row.container_barcode,
            label: cellLabel({ row: row.grid_row, column: row.grid_column }, gridOf(row)),
            row: row.grid_row,
            column: row.grid_column,
            path: row.path,
            zone: row.container_zone,
          },
  };
}

// The table's checks see to it that each kind has what it needs; '' would show that they do not.
function custodyOf(row: WhereaboutsRow): Custody {
  switch (row.custody) {
    case 'position':
    case 'handoff':
      return { kind: row.custody, positionId: row.position_id ?? '' };
    case 'carrier':
      return { kind: row.custody, robotId: row.robot_id ?? '' };
    case 'person':
      return { kind: row.custody, userId: row.holder_id ?? '' };
    case 'unknown':
      return { kind: row.custody, candidates: row.candidates ?? [] };
    case 'transit':
    case 'disposed':
      return { kind: row.custody };
  }
}

function sampleOf(row: SampleRow, asked: string | null = null): SampleView {
  return {
    ...whereaboutsOf(row, asked),
    barcode: row.barcode,
    type: row.type,
    project: row.project,
    zone: row.zone,
    class: row.class,
    hazard: row.hazard,
    owner: row.owner,
    quarantine: row.quarantine,
    aiOptimized: row.ai_optimized,
    jobId: row.job_id,
    exposure: {
      warmSince: row.warm_since,
      exposureMs: row.exposure_ms,
      freezeThawCount: row.freeze_thaw_count,
    },
    life: lifeOf(row),
    createdAt: row.created_at,
    version: row.version,
  };
}

/** As the function of the database tells it: the row as JSON. */
type Located = Omit<WhereaboutsRow, 'custody_since'> & { readonly custody_since: string };

/**
 * Where a sample is now: three rows by their keys, since a location carries its path, in one statement that is a
 * transaction by itself (db/migrations/0013_locate_sample.sql).
 * @param reference id or barcode
 * @throws DomainError NOT_FOUND, BARCODE_UNKNOWN
 */
export async function locateSample(
  db: Database,
  tenantId: string,
  reference: string,
): Promise<SampleWhereabouts> {
  const byId = isId(reference);
  const { rows } = await db.shared.query<{ found: Located }>({
    name: 'locate_sample',
    text: 'SELECT locate_sample($1, $2, $3) AS found',
    values: [tenantId, byId ? reference : null, byId ? null : reference],
  });
  const found = rows[0]?.found;
  if (!found) throw unknownReference('sample', reference);
  return whereaboutsOf({ ...found, custody_since: new Date(found.custody_since) }, byId ? null : reference);
}

/**
 * A sample with its custody, path and position.
 * @param reference id or barcode, also one that was replaced
 * @throws DomainError NOT_FOUND, BARCODE_UNKNOWN
 */
export async function findSample(db: Database, tenantId: string, reference: string): Promise<SampleView> {
  const rows = await read(
    db,
    tenantId,
    sql<SampleRow>`SELECT ${SAMPLE} ${FROM_SAMPLE}
      WHERE s.tenant_id = ${tenantId} AND s.id = ${
        isId(reference)
          ? sql`${reference}`
          : sql`(SELECT owner_id FROM barcode WHERE tenant_id = ${tenantId} AND code = ${reference} AND kind = 'sample')`
      }`.compile(db.kysely),
    isId(reference) ? 'sample_by_id' : 'sample_by_barcode',
  );
  const row = rows[0];
  if (!row) throw unknownReference('sample', reference);
  return sampleOf(row, isId(reference) ? null : reference);
}

/** As `findSample` by id, in a transaction that has changed it. */
export async function sampleById(tx: Transaction<DB>, tenantId: string, id: string): Promise<SampleView> {
  const { rows } = await sql<SampleRow>`
    SELECT ${SAMPLE} ${FROM_SAMPLE} WHERE s.tenant_id = ${tenantId} AND s.id = ${id}`.execute(tx);
  const row = rows[0];
  if (!row) throw unknownReference('sample', id);
  return sampleOf(row);
}

/** Samples in a transaction that has changed them, in the order of the ids. */
export async function samplesByIds(
  tx: Transaction<DB>,
  tenantId: string,
  ids: readonly string[],
): Promise<SampleView[]> {
  const { rows } = await sql<SampleRow>`
    SELECT ${SAMPLE} ${FROM_SAMPLE} WHERE s.tenant_id = ${tenantId} AND s.id = ANY (${[...ids]}::uuid[])
    ORDER BY array_position(${[...ids]}::uuid[], s.id)`.execute(tx);
  return rows.map((row) => sampleOf(row));
}

/** The samples whose consent was withdrawn, place by place; those that are nowhere any more at the end. */
export async function samplesOfWithdrawal(
  tx: Transaction<DB>,
  tenantId: string,
  withdrawalId: string,
): Promise<SampleView[]> {
  const { rows } = await sql<SampleRow>`
    SELECT ${SAMPLE} ${FROM_SAMPLE} JOIN consent_withdrawal_sample m ON m.tenant_id = s.tenant_id AND m.sample_id = s.id
    WHERE s.tenant_id = ${tenantId} AND m.withdrawal_id = ${withdrawalId}
    ORDER BY l.id, p.ordinal, s.id`.execute(tx);
  return rows.map((row) => sampleOf(row));
}

export interface SampleFilter {
  readonly type?: string;
  readonly project?: string;
  /** the temperature it needs */
  readonly zone?: Zone;
  readonly custody?: CustodyKind;
  readonly witness?: Witness;
  readonly state?: SampleState;
  readonly subject?: string;
  /** aliquots of this sample */
  readonly parentId?: string;
}

function matching(tenantId: string, filter: SampleFilter): RawBuilder<SqlBool>[] {
  const conditions = [sql<SqlBool>`s.tenant_id = ${tenantId}`];
  if (filter.type !== undefined) conditions.push(sql<SqlBool>`s.type = ${filter.type}`);
  if (filter.project !== undefined) conditions.push(sql<SqlBool>`s.project = ${filter.project}`);
  if (filter.zone !== undefined) conditions.push(sql<SqlBool>`s.zone = ${filter.zone}`);
  if (filter.witness !== undefined) conditions.push(sql<SqlBool>`s.witness = ${filter.witness}`);
  if (filter.subject !== undefined) conditions.push(sql<SqlBool>`s.subject = ${filter.subject}`);
  if (filter.parentId !== undefined) conditions.push(sql<SqlBool>`s.parent_id = ${filter.parentId}`);
  if (filter.state === 'stored') conditions.push(sql<SqlBool>`s.state = 'stored'`);
  else if (filter.state !== undefined) {
    // Said twice for the index, as below.
    conditions.push(sql<SqlBool>`s.state = ${filter.state} AND s.state <> 'stored'`);
  }
  if (filter.custody === 'position') conditions.push(sql<SqlBool>`s.custody = 'position'`);
  else if (filter.custody !== undefined) {
    // Said twice, so that the small index of tubes outside the store is used.
    conditions.push(sql<SqlBool>`s.custody = ${filter.custody} AND s.custody <> 'position'`);
  }
  return conditions;
}

/**
 * A page of samples by their registration.
 * @param after id of the last sample of the page before
 */
export async function listSamples(
  db: Database,
  tenantId: string,
  filter: SampleFilter,
  sort: 'created' | '-created',
  after: string | null,
  limit: number,
): Promise<SampleView[]> {
  const conditions = matching(tenantId, filter);
  if (after !== null) {
    conditions.push(
      sort === 'created' ? sql<SqlBool>`s.id > ${after}::uuid` : sql<SqlBool>`s.id < ${after}::uuid`,
    );
  }
  const rows = await read(
    db,
    tenantId,
    sql<SampleRow>`SELECT ${SAMPLE} ${FROM_SAMPLE} WHERE ${sql.join(conditions, sql` AND `)}
      ORDER BY ${sort === 'created' ? sql`s.id` : sql`s.id DESC`} LIMIT ${limit}`.compile(db.kysely),
  );
  return rows.map((row) => sampleOf(row));
}

/** Where a page of samples in their places begins: after this position. */
export interface PlaceCursor {
  readonly containerId: string;
  readonly positionId: string;
}

/**
 * A page of the samples in and below a location, container by container in fill order.
 * @param locationId id of the location
 */
export async function listSamplesWithin(
  db: Database,
  tenantId: string,
  locationId: string,
  filter: SampleFilter,
  after: PlaceCursor | null,
  limit: number,
): Promise<SampleView[]> {
  const conditions = matching(tenantId, filter);
  const start =
    after === null
      ? sql``
      : sql`AND (a.descendant_id, p.ordinal) > (${after.containerId}::uuid, (SELECT ordinal FROM position
          WHERE tenant_id = ${tenantId} AND id = ${after.positionId}))
        AND a.descendant_id >= ${after.containerId}::uuid`;
  const rows = await read(
    db,
    tenantId,
    sql<SampleRow>`SELECT ${SAMPLE}
      FROM location_ancestor a
      JOIN location_count c ON c.tenant_id = a.tenant_id AND c.location_id = a.descendant_id AND c.occupied > 0
      JOIN location l ON l.tenant_id = a.tenant_id AND l.id = a.descendant_id
      JOIN position p ON p.tenant_id = a.tenant_id AND p.container_id = a.descendant_id AND p.sample_id IS NOT NULL
      JOIN sample s ON s.tenant_id = p.tenant_id AND s.id = p.sample_id
      WHERE a.tenant_id = ${tenantId} AND a.ancestor_id = ${locationId} AND ${sql.join(conditions, sql` AND `)} ${start}
      ORDER BY a.descendant_id, p.ordinal LIMIT ${limit}`.compile(db.kysely),
  );
  return rows.map((row) => sampleOf(row));
}
