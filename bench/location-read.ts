import type { Actor } from '../domain/actor.ts';
import { freePort } from '../stack/processes.ts';
import { BenchLaboratory } from './laboratory.ts';
import { type LoadResult, load, quantile } from './load.ts';
import type { Bench } from './result.ts';

const SAMPLES = 1_000_000;
const TENANTS = 50;
const TOKENS = 1_000;
const CONNECTIONS = 64;
const SECONDS = 10;
const ROUNDS = 3;

/**
 * GET /storage/samples/{id}/location with a million samples and 1,000 tokens over 50 tenants, authenticated and under
 * row-level security, beside bare Hono + pg reading the same table by key. In turns; all rounds count.
 */
export const locationRead: Bench = async () => {
  const lab = await BenchLaboratory.open({ workers: false });
  try {
    const tenants = await seed(lab);
    const barePort = await freePort();
    await lab.start('bare server', 'bench/bare/server.ts', {
      BARE_DATABASE_URL: lab.adminUrl,
      PORT: String(barePort),
    });

    const readers: { token: string; tenant: Tenant }[] = [];
    for (let i = 0; i < TOKENS; i++) {
      const tenant = tenants[i % TENANTS];
      if (!tenant) throw new Error('no tenant');
      const actor: Actor = { ...lab.actor, tenantId: tenant.id, userId: crypto.randomUUID() };
      readers.push({ token: await lab.tokenOf(actor), tenant });
    }
    const pick = <T>(list: readonly T[]): T => {
      const one = list[Math.floor(Math.random() * list.length)];
      if (one === undefined) throw new Error('nothing to pick from');
      return one;
    };
    const ours = () => {
      const { token, tenant } = pick(readers);
      return Buffer.from(
        `GET /storage/samples/${pick(tenant.samples)}/location HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      );
    };
    const bare = () => {
      const tenant = pick(tenants);
      return Buffer.from(
        `GET /storage/samples/${pick(tenant.samples)}/location?tenant=${tenant.id} HTTP/1.1\r\nHost: x\r\n\r\n`,
      );
    };
    const limits: LoadResult[] = [];
    const figures: LoadResult[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      limits.push(await load(barePort, CONNECTIONS, SECONDS, bare));
      figures.push(await load(lab.apiPort, CONNECTIONS, SECONDS, ours));
    }
    const notOk = [...limits, ...figures].reduce((sum, run) => sum + run.notOk, 0);
    if (notOk > 0) throw new Error(`${notOk} replies were not 200`);
    const limit = mean(limits.map((run) => run.perSecond));
    const figure = mean(figures.map((run) => run.perSecond));
    const p99 = quantile(
      figures.flatMap((run) => run.latencies),
      0.99,
    );
    const detail = {
      samples: SAMPLES,
      tenants: TENANTS,
      tokens: TOKENS,
      connections: CONNECTIONS,
      rounds: ROUNDS,
    };
    return [
      {
        name: 'location of a sample',
        figure,
        limit,
        ratio: figure / limit,
        target: { atLeast: 0.5 },
        unit: '/s',
        detail,
      },
      {
        name: 'location of a sample, p99',
        figure: p99,
        limit: 25,
        ratio: p99 / 25,
        target: { atMost: 1 },
        unit: 'ms',
        detail: {},
      },
    ];
  } finally {
    await lab.close();
  }
};

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

interface Tenant {
  readonly id: string;
  /** some of its sample ids */
  readonly samples: readonly string[];
}

/**
 * A million stored samples, straight into the tables: triggers and foreign keys are off for this session alone, what
 * they would have written is not read here.
 */
async function seed(lab: BenchLaboratory): Promise<Tenant[]> {
  await lab.sql(`
    SET session_replication_role = replica;
    CREATE TEMP TABLE seeded AS SELECT uuidv7() AS tenant_id, n FROM generate_series(1, ${TENANTS}) n;
    INSERT INTO tenant (id, name) SELECT tenant_id, 'Bench ' || n FROM seeded;
    CREATE TEMP TABLE freezer AS SELECT tenant_id, uuidv7() AS id FROM seeded;
    CREATE TEMP TABLE box AS
      SELECT tenant_id, uuidv7() AS id, number FROM seeded CROSS JOIN generate_series(1, ${Math.ceil(SAMPLES / TENANTS / 100)}) AS numbers (number);
    INSERT INTO location (tenant_id, id, type, name, zone, effective_zone, path)
      SELECT tenant_id, id, 'freezer', 'Freezer', '-80', '-80',
             jsonb_build_array(jsonb_build_object('id', id, 'type', 'freezer', 'name', 'Freezer')) FROM freezer;
    INSERT INTO location (tenant_id, id, type, parent_id, name, grid_rows, grid_columns, effective_zone, path)
      SELECT b.tenant_id, b.id, 'box_10x10', f.id, 'Box ' || b.number, 10, 10, '-80',
             jsonb_build_array(jsonb_build_object('id', f.id, 'type', 'freezer', 'name', 'Freezer'),
                               jsonb_build_object('id', b.id, 'type', 'box_10x10', 'name', 'Box ' || b.number))
      FROM box b JOIN freezer f USING (tenant_id);
    INSERT INTO location_ancestor (tenant_id, ancestor_id, descendant_id, depth)
      SELECT tenant_id, id, id, 0 FROM location WHERE tenant_id IN (SELECT tenant_id FROM seeded)
      UNION ALL SELECT b.tenant_id, f.id, b.id, 1 FROM box b JOIN freezer f USING (tenant_id);
    CREATE TEMP TABLE tube AS
      SELECT tenant_id, uuidv7() AS position_id, uuidv7() AS sample_id, id AS container_id, n
      FROM box CROSS JOIN generate_series(0, 99) AS cells (n);
    INSERT INTO position (tenant_id, id, container_id, grid_row, grid_column, ordinal, state, sample_id)
      SELECT tenant_id, position_id, container_id, n / 10, n % 10, n + 1, 'occupied', sample_id FROM tube;
    INSERT INTO sample (tenant_id, id, barcode, type, zone, custody, position_id, custody_since, witness)
      SELECT tenant_id, sample_id, 'B' || sample_id, 'plasma', '-80', 'position', position_id, now(), 'barcode' FROM tube;`);
  // Now, and not by autovacuum in the middle of the measurement.
  await lab.sql('VACUUM ANALYZE');
  const rows = await lab.sql<{ tenant_id: string; ids: string[] }>(
    `SELECT tenant_id, (array_agg(id ORDER BY random()))[1:4000] AS ids FROM sample GROUP BY tenant_id`,
  );
  return rows.map((row) => ({ id: row.tenant_id, samples: row.ids }));
}
