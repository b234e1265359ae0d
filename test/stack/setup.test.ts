import { Connection } from '@temporalio/client';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { createTestDatabase } from '../setup/database.ts';
import { createTestNamespace, temporalServer } from '../setup/temporal.ts';

describe('what the tests share', () => {
  it('gives each file a migrated database of its own', async () => {
    const [one, other] = await Promise.all([createTestDatabase(), createTestDatabase()]);
    try {
      expect(one.name).not.toBe(other.name);
      const client = new pg.Client({ connectionString: one.appUrl });
      await client.connect();
      const role = await client.query(
        'SELECT current_user AS name, (SELECT count(*)::int FROM pg_tables) AS tables',
      );
      await client.end();
      expect(role.rows[0].name).toBe('tracseq_app');
      expect(role.rows[0].tables).toBeGreaterThan(70);
    } finally {
      await Promise.all([one.drop(), other.drop()]);
    }
  });

  it('gives a namespace of its own that is usable at once', async () => {
    const namespace = await createTestNamespace();
    const connection = await Connection.connect(temporalServer());
    const listed = await connection.operatorService.listSearchAttributes({ namespace });
    const found = await connection.workflowService.describeNamespace({ namespace });
    await connection.close();
    expect(Object.keys(listed.customAttributes)).toContain('RobotId');
    expect(Number(found.config?.workflowExecutionRetentionTtl?.seconds)).toBe(30 * 24 * 3600);
  });
});
