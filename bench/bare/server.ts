import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import pg from 'pg';

/** Bare Hono + pg on the same table: the limit of a read by key. No tenants, no tokens, no row-level security. */
const pool = new pg.Pool({ connectionString: process.env.BARE_DATABASE_URL, max: 16 });
const app = new Hono();
app.get('/storage/samples/:id/location', async (c) => {
  const result = await pool.query({
    name: 'by-id',
    text: 'SELECT id, custody, position_id, custody_since, witness FROM sample WHERE tenant_id = $1 AND id = $2',
    values: [c.req.query('tenant'), c.req.param('id')],
  });
  return c.json(result.rows[0]);
});
const server = serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: '127.0.0.1' }, () =>
  console.log('ready bare server'),
);
process.on('SIGTERM', () => {
  server.close();
  process.exit(0);
});
