import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { type ChangeContext, withChange } from '../../db/change.ts';
import type { Database } from '../../db/connection.ts';
import { createLocation, type NewLocation } from '../../db/location-changes.ts';
import { inTenant } from '../../db/tenancy.ts';
import type { Actor } from '../../domain/actor.ts';
import type { Zone } from '../../domain/zone.ts';
import { openLaboratory, type TestLaboratory } from './tenant.ts';

/** A laboratory seen as its store. */
export interface TestStore {
  readonly lab: TestLaboratory;
  readonly db: Database;
  readonly tenantId: string;
  readonly actor: Actor;
  readonly context: ChangeContext;
}

/** @param max connections of the application's pool */
export async function openStore(max = 10): Promise<TestStore> {
  return storeOf(await openLaboratory({ max }));
}

export function storeOf(lab: TestLaboratory): TestStore {
  return {
    lab,
    db: lab.app,
    tenantId: lab.tenantId,
    actor: lab.administrator,
    context: { actor: lab.administrator, reason: 'setup' },
  };
}

/** A location with what most tests leave to its type and parent. */
export function addLocation(
  store: TestStore,
  location: Pick<NewLocation, 'type' | 'name'> & Partial<NewLocation>,
): Promise<string> {
  return createLocation(store.db, store.context, {
    parent: null,
    barcode: null,
    zone: null,
    sampleTypes: null,
    grid: null,
    isHandoff: null,
    robotAddress: null,
    ...location,
  });
}

/** Ids of the positions of a container, in fill order. */
export async function positionsOf(store: TestStore, containerId: string): Promise<string[]> {
  const rows = await inTenant(store.db, store.tenantId, (tx) =>
    tx
      .selectFrom('position')
      .select('id')
      .where('tenant_id', '=', store.tenantId)
      .where('container_id', '=', containerId)
      .where('retired_at', 'is', null)
      .orderBy('ordinal')
      .execute(),
  );
  return rows.map((row) => row.id);
}

export interface StoredSample {
  readonly barcode: string;
  readonly positionId: string;
  readonly type?: string;
  readonly project?: string | null;
  readonly zone?: Zone;
}

/** Enters a sample that stands in a position already, as an import would; the position must be free. */
export async function storeSample(store: Omit<TestStore, 'lab'>, sample: StoredSample): Promise<string> {
  const { tenantId } = store;
  const id = uuidv7();
  await withChange(
    store.db,
    { ...store.context, reason: 'registered' },
    async ({ tx, record, recordedAt }) => {
      await tx
        .insertInto('barcode')
        .values({ tenant_id: tenantId, code: sample.barcode, kind: 'sample', owner_id: id })
        .execute();
      await tx
        .insertInto('sample')
        .values({
          tenant_id: tenantId,
          id,
          barcode: sample.barcode,
          type: sample.type ?? 'plasma',
          project: sample.project ?? null,
          zone: sample.zone ?? '-80',
          custody: 'position',
          position_id: sample.positionId,
          custody_since: recordedAt,
          entered_storage_at: recordedAt,
          witness: 'asserted',
        })
        .execute();
      const moved = await tx
        .updateTable('position')
        .set({ state: 'occupied', sample_id: id })
        .where('tenant_id', '=', tenantId)
        .where('id', '=', sample.positionId)
        .where('state', '=', 'free')
        .executeTakeFirst();
      if (moved.numUpdatedRows !== 1n) throw new Error(`position ${sample.positionId} is not free`);
      record({
        aggregate: 'sample',
        aggregateId: id,
        version: 1,
        type: 'storage.sample.registered',
        from: null,
        to: `position:${sample.positionId}`,
        before: null,
        after: { barcode: sample.barcode },
        erasable: ['barcode'],
        data: { sample_id: id },
      });
    },
  );
  return id;
}

/** Takes a stored sample into a person's hand; its position becomes free. */
export async function takeOut(store: TestStore, sampleId: string): Promise<void> {
  const { tenantId } = store;
  await withChange(
    store.db,
    { ...store.context, reason: 'retrieval' },
    async ({ tx, record, recordedAt }) => {
      await sql`UPDATE position SET state = 'free', sample_id = NULL
      WHERE tenant_id = ${tenantId} AND sample_id = ${sampleId}`.execute(tx);
      const row = await tx
        .updateTable('sample')
        .set({
          custody: 'person',
          position_id: null,
          holder_id: store.actor.userId,
          custody_since: recordedAt,
          witness: 'person',
          version: sql`version + 1`,
        })
        .where('tenant_id', '=', tenantId)
        .where('id', '=', sampleId)
        .returning('version')
        .executeTakeFirstOrThrow();
      record({
        aggregate: 'sample',
        aggregateId: sampleId,
        version: row.version,
        type: 'storage.sample.taken',
        from: null,
        to: `person:${store.actor.userId}`,
        before: {},
        after: {},
        data: { sample_id: sampleId },
      });
    },
  );
}

/** Inserts a job row, for what must name one. */
export async function addJob(store: TestStore, sampleId: string = uuidv7()): Promise<string> {
  const id = uuidv7();
  await inTenant(store.db, store.tenantId, (tx) =>
    tx
      .insertInto('job')
      .values({
        tenant_id: store.tenantId,
        id,
        kind: 'placement',
        mode: 'hand',
        workflow_id: `t-${store.tenantId}:placement:${id}`,
        sample_id: sampleId,
        actor_id: store.actor.userId,
        actor_role: store.actor.role,
        input: '{}',
      })
      .execute(),
  );
  return id;
}

/** Containers whose counters differ from a count of their positions. */
export async function wrongCounters(store: TestStore): Promise<unknown[]> {
  const { rows } = await inTenant(store.db, store.tenantId, (tx) =>
    sql`SELECT c.location_id, c.total, c.occupied, c.reserved, c.blocked, p.n, p.o, p.r, p.b
        FROM location_count c JOIN (
          SELECT container_id, count(*) AS n, count(*) FILTER (WHERE state = 'occupied') AS o,
                 count(*) FILTER (WHERE state = 'reserved') AS r, count(*) FILTER (WHERE state = 'blocked') AS b
          FROM position WHERE tenant_id = ${store.tenantId} AND retired_at IS NULL GROUP BY container_id) p ON p.container_id = c.location_id
        WHERE c.tenant_id = ${store.tenantId} AND (c.total, c.occupied, c.reserved, c.blocked) <> (p.n, p.o, p.r, p.b)`.execute(
      tx,
    ),
  );
  return rows;
}
