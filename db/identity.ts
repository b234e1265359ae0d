import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { sql } from 'kysely';
import { v7 as uuidv7 } from 'uuid';
import { type Actor, ROLES, type Role } from '../domain/actor.ts';
import { DomainError } from '../domain/errors.ts';
import { type Change, type ChangeContext, withChange } from './change.ts';
import type { Database } from './connection.ts';
import { addDefaultLocationTypes } from './location-types.ts';
import { hashPassword, passwordMatches } from './password.ts';
import { read, sqlStateOf } from './tenancy.ts';

export interface Tenant {
  readonly id: string;
  readonly name: string;
}

/** A person who may sign in, as others see them. */
export interface User {
  readonly tenantId: string;
  readonly id: string;
  readonly email: string;
  readonly displayName: string;
  readonly role: Role;
  readonly disabledAt: Date | null;
}

export interface NewUser {
  /** unique in the whole installation; kept in lower case */
  readonly email: string;
  readonly displayName: string;
  readonly role: Role;
  readonly password: string;
}

/** A place where people work with tubes: a terminal with a scanner, perhaps at a robot. */
export interface Station {
  readonly id: string;
  readonly name: string;
  /** the robot it stands at, if any */
  readonly robotId: string | null;
}

/** Every tenant's id and name: what loops and sweeps go by. */
export async function listTenants(db: Database): Promise<Tenant[]> {
  return db.kysely.selectFrom('tenant').select(['id', 'name']).orderBy('id').execute();
}

/**
 * Creates a laboratory with its ledger, the usual types of location and its first administrator, who is recorded as the
 * one who did it.
 * @param owner database opened as the owner role: the application's role cannot create tenants
 * @throws DomainError NAME_TAKEN, CONFLICT when the administrator's address is in use
 */
export async function createTenant(
  owner: Database,
  tenant: { readonly name: string; readonly administrator: Omit<NewUser, 'role'> },
): Promise<{ readonly tenantId: string; readonly administrator: Actor }> {
  const administrator: Actor = {
    tenantId: uuidv7(),
    userId: uuidv7(),
    role: 'lab_administrator',
    stationId: null,
  };
  const { tenantId } = administrator;
  const passwordHash = await hashPassword(tenant.administrator.password);
  await withChange(owner, { actor: administrator, reason: 'setup' }, async (change) => {
    await change.tx
      .insertInto('tenant')
      .values({ id: tenantId, name: tenant.name })
      .execute()
      .catch(translate('23505', 'NAME_TAKEN', `There is a laboratory named "${tenant.name}" already.`));
    await sql`SELECT ledger.open_log(${`tracseq.local/t/${tenantId}`})`.execute(change.tx);
    change.record({
      aggregate: 'tenant',
      aggregateId: tenantId,
      version: 1,
      type: 'identity.tenant.created',
      from: null,
      to: null,
      before: null,
      after: { name: tenant.name },
      erasable: ['name'],
      data: { tenant_id: tenantId },
    });
    await insertUser(change, tenantId, administrator.userId, passwordHash, {
      ...tenant.administrator,
      role: administrator.role,
    });
    await addDefaultLocationTypes(change, tenantId);
  });
  return { tenantId, administrator };
}

/**
 * Enters a person.
 * @throws DomainError CONFLICT when the address is in use, here or in another laboratory
 */
export async function createUser(
  db: Database,
  context: Pick<ChangeContext, 'actor' | 'comment'>,
  user: NewUser,
): Promise<User> {
  const { tenantId } = context.actor;
  const id = uuidv7();
  const passwordHash = await hashPassword(user.password);
  await withChange(db, { ...context, reason: 'setup' }, (change) =>
    insertUser(change, tenantId, id, passwordHash, user),
  );
  return {
    tenantId,
    id,
    email: user.email.toLowerCase(),
    displayName: user.displayName,
    role: user.role,
    disabledAt: null,
  };
}

async function insertUser(
  change: Change,
  tenantId: string,
  id: string,
  passwordHash: string,
  user: Omit<NewUser, 'password'>,
): Promise<void> {
  const email = user.email.toLowerCase();
  await change.tx
    .insertInto('app_user')
    .values({
      tenant_id: tenantId,
      id,
      email,
      display_name: user.displayName,
      role: user.role,
      password_hash: passwordHash,
    })
    .execute()
    .catch(
      translate('23505', 'CONFLICT', 'A user with this address exists already: sign in, or take another.'),
    );
  change.record({
    aggregate: 'user',
    aggregateId: id,
    version: 1,
    type: 'identity.user.created',
    from: null,
    to: 'active',
    before: null,
    after: { email, display_name: user.displayName, role: user.role },
    erasable: ['email', 'display_name'],
    data: { user_id: id, role: user.role },
  });
}

/** A person of this tenant; undefined when there is none with this id. */
export async function userById(db: Database, tenantId: string, userId: string): Promise<User | undefined> {
  const [row] = await read(
    db,
    tenantId,
    db.kysely
      .selectFrom('app_user')
      .select(['tenant_id', 'id', 'email', 'display_name', 'role', 'disabled_at'])
      .where('tenant_id', '=', tenantId)
      .where('id', '=', userId)
      .compile(),
    'user_by_id',
  );
  return (
    row && {
      tenantId: row.tenant_id,
      id: row.id,
      email: row.email,
      displayName: row.display_name,
      role: roleOf(row.role),
      disabledAt: row.disabled_at,
    }
  );
}

/**
 * Checks an address and a password. An unknown address, a wrong password and a disabled user look the same from outside,
 * and take the same time.
 * @returns the user, or null
 */
export async function verifySignIn(db: Database, email: string, password: string): Promise<User | null> {
  const { rows } = await db.pool.query<{
    tenant_id: string;
    user_id: string;
    password_hash: string;
    disabled: boolean;
  }>({ name: 'find_user', text: 'SELECT * FROM signin.find_user($1)', values: [email] });
  const found = rows[0];
  const matches = await passwordMatches(password, found?.password_hash ?? null);
  if (!found || !matches || found.disabled) return null;
  return (await userById(db, found.tenant_id, found.user_id)) ?? null;
}

/**
 * Enrols a station and gives out its secret, which is stored as a digest only.
 * @param station.robotId the robot it stands at
 * @throws DomainError NAME_TAKEN, NOT_FOUND when there is no such robot
 */
export async function enrolStation(
  db: Database,
  context: Pick<ChangeContext, 'actor' | 'comment'>,
  station: { readonly name: string; readonly robotId: string | null },
): Promise<Station & { readonly secret: string }> {
  const { tenantId } = context.actor;
  const id = uuidv7();
  const secret = randomBytes(32).toString('base64url');
  await withChange(db, { ...context, reason: 'setup' }, async ({ tx, record }) => {
    await tx
      .insertInto('station')
      .values({
        tenant_id: tenantId,
        id,
        name: station.name,
        robot_id: station.robotId,
        secret_hash: digestOf(secret).toString('hex'),
      })
      .execute()
      .catch(translate('23505', 'NAME_TAKEN', `There is a station named "${station.name}" already.`))
      .catch(
        translate('23503', 'NOT_FOUND', `There is no robot ${station.robotId} a station could stand at.`),
      );
    record({
      aggregate: 'station',
      aggregateId: id,
      version: 1,
      type: 'identity.station.enrolled',
      from: null,
      to: 'active',
      before: null,
      after: { name: station.name, robot_id: station.robotId },
      data: { station_id: id, robot_id: station.robotId },
    });
  });
  return { id, name: station.name, robotId: station.robotId, secret };
}

/**
 * Is this a station of the tenant that is in use, and its secret the right one?
 * @returns the station, or null
 */
export async function verifyStation(
  db: Database,
  tenantId: string,
  stationId: string,
  secret: string,
): Promise<Station | null> {
  const [row] = await read(
    db,
    tenantId,
    db.kysely
      .selectFrom('station')
      .select(['id', 'name', 'robot_id', 'secret_hash'])
      .where('tenant_id', '=', tenantId)
      .where('id', '=', stationId)
      .where('retired_at', 'is', null)
      .compile(),
  );
  // The secret has 256 random bits: a fast digest is enough, unlike for a password.
  const stored = Buffer.from(row?.secret_hash ?? '', 'hex');
  const given = digestOf(secret);
  if (!row || stored.length !== given.length || !timingSafeEqual(stored, given)) return null;
  return { id: row.id, name: row.name, robotId: row.robot_id };
}

/** A station in use; undefined when there is none. */
export async function stationById(
  db: Database,
  tenantId: string,
  stationId: string,
): Promise<Station | undefined> {
  const [row] = await read(
    db,
    tenantId,
    db.kysely
      .selectFrom('station')
      .select(['id', 'name', 'robot_id'])
      .where('tenant_id', '=', tenantId)
      .where('id', '=', stationId)
      .where('retired_at', 'is', null)
      .compile(),
  );
  return row && { id: row.id, name: row.name, robotId: row.robot_id };
}

function digestOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/**
 * The role as stored.
 * @throws Error for a role this program does not know
 */
export function roleOf(stored: string): Role {
  const role = ROLES.find((known) => known === stored);
  if (role === undefined) throw new Error(`the database holds a role "${stored}" that is not known here`);
  return role;
}

/** Turns one database error into one of the application's; others pass. */
function translate(sqlState: string, code: ConstructorParameters<typeof DomainError>[0], detail: string) {
  return (error: unknown): never => {
    if (sqlStateOf(error) === sqlState) throw new DomainError(code, detail, { cause: error });
    throw error;
  };
}
