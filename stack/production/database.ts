import { migrate } from '../../db/migrate.ts';
import { ensureRolesAndDatabase } from '../../db/roles.ts';

/** One-shot: roles, database and migrations of the application; repeating it changes nothing. */
function given(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const ownerUrl = given('STORAGE_OWNER_DATABASE_URL');
const database = new URL(ownerUrl).pathname.slice(1);
await ensureRolesAndDatabase(given('DATABASE_ADMIN_URL'), database, given('DATABASE_CLUSTER_SECRET'));
const applied = await migrate(ownerUrl);
console.log(applied.length === 0 ? 'the schema is current' : `applied ${applied.join(', ')}`);
