import { randomBytes } from 'node:crypto';
import { type Database, openDatabase } from '../../db/connection.ts';
import { createTenant } from '../../db/identity.ts';
import type { Actor } from '../../domain/actor.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

/** Password of the administrators of test laboratories. */
export const TEST_PASSWORD = 'a long enough password';

/** A database with one laboratory in it. */
export interface TestLaboratory {
  readonly database: TestDatabase;
  /** as the role that migrates and creates tenants */
  readonly owner: Database;
  /** as the role the application has */
  readonly app: Database;
  readonly tenantId: string;
  readonly administrator: Actor;
  /** a second laboratory in the same database */
  addTenant(): Promise<Actor>;
  close(): Promise<void>;
}

/** Clones a database and creates a laboratory in it. */
export async function openLaboratory(options: { readonly max?: number } = {}): Promise<TestLaboratory> {
  const database = await createTestDatabase();
  const owner = openDatabase(database.ownerUrl, { max: 2 });
  const app = openDatabase(database.appUrl, options);
  const addTenant = async (): Promise<Actor> => {
    const tag = randomBytes(4).toString('hex');
    const { administrator } = await createTenant(owner, {
      name: `Laboratory ${tag}`,
      administrator: { email: `admin-${tag}@example.org`, displayName: 'Ada Admin', password: TEST_PASSWORD },
    });
    return administrator;
  };
  const administrator = await addTenant();
  return {
    database,
    owner,
    app,
    tenantId: administrator.tenantId,
    administrator,
    addTenant,
    async close() {
      await Promise.all([owner.close(), app.close()]);
      await database.drop();
    },
  };
}
