import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sqlStateOf } from '../../db/tenancy.ts';
import { openLaboratory, type TestLaboratory } from '../setup/tenant.ts';

let laboratory: TestLaboratory;
beforeAll(async () => {
  laboratory = await openLaboratory({ max: 4 });
});
afterAll(() => laboratory.close());

const ask = <R extends object>(text: string, values: unknown[] = []) =>
  laboratory.app.shared.query<R & Record<string, unknown>>({ text, values });
const backend = async () => (await ask<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]?.pid;
const terminate = (pid: number | undefined) =>
  laboratory.app.pool.query('SELECT pg_terminate_backend($1)', [pid]);

describe('shared connections', () => {
  it('give each of many statements at once its own answer, over few connections', async () => {
    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, n) =>
        ask<{ n: number; pid: number }>('SELECT $1::int AS n, pg_backend_pid() AS pid', [n]),
      ),
    );
    expect(answers.map(({ rows }) => rows[0]?.n)).toEqual(Array.from({ length: 500 }, (_, n) => n));
    expect(new Set(answers.map(({ rows }) => rows[0]?.pid)).size).toBeLessThanOrEqual(2);
  });

  it('end a setting with the statement that made it: nobody is left in another’s tenant', async () => {
    const tenants = [laboratory.administrator, await laboratory.addTenant()].map(({ tenantId }) => tenantId);
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        n % 2 === 0
          ? ask(`SELECT set_config('app.tenant', $1, true) AS tenant`, [tenants[(n / 2) % 2]])
          : ask(`SELECT current_setting('app.tenant', true) AS tenant`),
      ),
    );
    const seen = answers.map(({ rows }) => rows[0]?.tenant || null);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, n) => (n % 2 === 0 ? tenants[(n / 2) % 2] : null)));
  });

  it('fail a statement alone, not those around it', async () => {
    const [before, broken, after] = await Promise.allSettled([
      ask('SELECT 1 AS one'),
      ask('SELECT 1 / $1::int AS never', [0]),
      ask('SELECT 2 AS two'),
    ]);
    expect(before).toMatchObject({ status: 'fulfilled', value: { rows: [{ one: 1 }] } });
    expect(broken.status === 'rejected' && sqlStateOf(broken.reason)).toBe('22012');
    expect(after).toMatchObject({ status: 'fulfilled', value: { rows: [{ two: 2 }] } });
  });

  it('open anew after they broke; what was under way says so', async () => {
    const [one, two] = [await backend(), await backend()];
    expect(one).not.toBe(two);
    const underWay = Promise.allSettled([ask('SELECT pg_sleep(3)'), ask('SELECT pg_sleep(3)')]);
    // Both sleep before they are ended: a statement sent to a connection that is known to be gone would open another.
    await expect
      .poll(async () => {
        const { rows } = await laboratory.app.pool.query<{ n: number }>(
          `SELECT count(*)::int AS n FROM pg_stat_activity WHERE pid = ANY($1) AND wait_event = 'PgSleep'`,
          [[one, two]],
        );
        return rows[0]?.n;
      })
      .toBe(2);
    await Promise.all([terminate(one), terminate(two)]);
    expect((await underWay).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const reopened = [await backend(), await backend()];
    expect(reopened).not.toContain(one);
    expect(reopened).not.toContain(two);
  });
});
