import { randomInt } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { type Database, openDatabase } from '../db/connection.ts';
import { createTenant, createUser, enrolStation, verifySignIn } from '../db/identity.ts';
import { createLocation, type NewLocation } from '../db/location-changes.ts';
import { findLocation } from '../db/locations.ts';
import { enrolRobot, listRobots } from '../db/robots.ts';
import type { Actor, Role } from '../domain/actor.ts';
import { DomainError } from '../domain/errors.ts';

/** The laboratory everybody can sign in to on a machine of their own, and only there. */
export interface DemoLaboratory {
  readonly name: string;
  readonly tenantId: string;
  readonly password: string;
  readonly users: readonly { readonly email: string; readonly role: Role }[];
  readonly site: { readonly id: string };
  /** the freezer that the robot stands at: what is put below it with a cassette and level is in the robot's reach */
  readonly store: { readonly id: string };
  readonly handoff: { readonly id: string };
  readonly robot: { readonly id: string; readonly name: string };
  /** the one at the robot: its hand-over and decisions are made there */
  readonly station: { readonly id: string; readonly name: string; readonly secret: string };
}

const NAME = 'Demo Laboratory';
const ROBOT = 'Store robot';
const STATION = 'Robot station';
const ADMINISTRATOR = { email: 'ada@demo.tracseq', displayName: 'Ada Administrator' };
const PEOPLE: readonly { email: string; displayName: string; role: Role }[] = [
  { email: 'ines@demo.tracseq', displayName: 'Ines Investigator', role: 'principal_investigator' },
  { email: 'tom@demo.tracseq', displayName: 'Tom Technician', role: 'lab_technician' },
  { email: 'rosa@demo.tracseq', displayName: 'Rosa Scientist', role: 'research_scientist' },
  { email: 'dan@demo.tracseq', displayName: 'Dan Analyst', role: 'data_analyst' },
  { email: 'gil@demo.tracseq', displayName: 'Gil Guest', role: 'guest' },
];

interface Wishes {
  readonly ownerUrl: string;
  readonly appUrl: string;
  /** file that keeps what people need to sign in; readable by its owner */
  readonly file: string;
  readonly robot: { readonly host: string; readonly port: number };
}

/** Makes the demo laboratory, or what an interrupted start has not made of it yet. */
export async function ensureDemoLaboratory(wishes: Wishes): Promise<DemoLaboratory> {
  const kept: Partial<DemoLaboratory> & { password: string } = existsSync(wishes.file)
    ? JSON.parse(readFileSync(wishes.file, 'utf8'))
    : { password: newPassword() };
  if (isWhole(kept)) return kept;
  keep(wishes.file, kept);
  const app = openDatabase(wishes.appUrl, { max: 2 });
  try {
    const administrator = await ensureTenant(wishes.ownerUrl, app, kept.password);
    for (const person of PEOPLE) {
      await createUser(app, { actor: administrator }, { ...person, password: kept.password }).catch(
        unless('CONFLICT'), // made by the start that was interrupted
      );
    }
    const place = locationMaker(app, administrator);
    const site = await place({ type: 'site', name: 'Demo site', barcode: 'DEMO-SITE' });
    const room = await place({ type: 'room', name: 'Cold room', barcode: 'DEMO-ROOM', parent: site });
    const store = await place({
      type: 'freezer',
      name: 'Freezer −80 with robot',
      barcode: 'DEMO-STORE',
      parent: room,
    });
    const handoff = await place({
      type: 'handoff',
      name: 'Hand-off',
      barcode: 'DEMO-HANDOFF',
      parent: store,
      robotAddress: { cassette: 0, level: 0 },
    });
    const robot = await ensureRobot(app, administrator, {
      ...wishes.robot,
      storeId: store,
      handoffId: handoff,
    });
    const station = await enrolRobotStation(app, administrator, robot);
    const whole: DemoLaboratory = {
      name: NAME,
      tenantId: administrator.tenantId,
      password: kept.password,
      users: [{ ...ADMINISTRATOR, role: administrator.role }, ...PEOPLE].map(({ email, role }) => ({
        email,
        role,
      })),
      site: { id: site },
      store: { id: store },
      handoff: { id: handoff },
      robot: { id: robot, name: ROBOT },
      station: { id: station.id, name: station.name, secret: station.secret },
    };
    keep(wishes.file, whole);
    return whole;
  } finally {
    await app.close();
  }
}

async function ensureTenant(ownerUrl: string, app: Database, password: string): Promise<Actor> {
  const owner = openDatabase(ownerUrl, { max: 1 });
  try {
    const made = await createTenant(owner, { name: NAME, administrator: { ...ADMINISTRATOR, password } });
    return made.administrator;
  } catch (error) {
    unless('NAME_TAKEN')(error);
  } finally {
    await owner.close();
  }
  const user = await verifySignIn(app, ADMINISTRATOR.email, password);
  if (user === null)
    throw new Error(
      `the demo laboratory is there, but ${ADMINISTRATOR.email} cannot sign in: npm start -- --reset`,
    );
  return { tenantId: user.tenantId, userId: user.id, role: user.role, stationId: null };
}

type Wanted = Pick<NewLocation, 'type' | 'name'> & {
  readonly barcode: string;
  readonly parent?: string;
} & Partial<Pick<NewLocation, 'robotAddress'>>;

/** Creates locations, or finds those that stand already, by barcode. */
function locationMaker(app: Database, administrator: Actor): (wanted: Wanted) => Promise<string> {
  const fromType = { zone: null, sampleTypes: null, grid: null, isHandoff: null, robotAddress: null };
  return async (wanted) => {
    const standing = await findLocation(app, administrator.tenantId, wanted.barcode).catch(
      unless('BARCODE_UNKNOWN'),
    );
    if (standing) return standing.id;
    return createLocation(
      app,
      { actor: administrator, reason: 'setup' },
      { ...fromType, parent: null, ...wanted },
    );
  };
}

async function ensureRobot(
  app: Database,
  administrator: Actor,
  robot: {
    readonly host: string;
    readonly port: number;
    readonly storeId: string;
    readonly handoffId: string;
  },
): Promise<string> {
  const standing = (await listRobots(app, administrator.tenantId)).find((each) => each.name === ROBOT);
  if (standing) return standing.id;
  const entered = await enrolRobot(
    app,
    { actor: administrator, reason: 'setup' },
    { ...robot, name: ROBOT, driver: 'modbus', unitId: 1 },
  );
  return entered.id;
}

/** A station whose secret an interrupted start took with it stays behind unused, and another is enrolled. */
async function enrolRobotStation(app: Database, administrator: Actor, robotId: string) {
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? STATION : `${STATION} ${number}`;
    const station = await enrolStation(app, { actor: administrator }, { name, robotId }).catch(
      unless('NAME_TAKEN'),
    );
    if (station) return station;
  }
}

/** Lets one kind of refusal pass. */
function unless(code: DomainError['code']) {
  return (error: unknown): undefined => {
    if (!(error instanceof DomainError && error.code === code)) throw error;
  };
}

function isWhole(kept: Partial<DemoLaboratory>): kept is DemoLaboratory {
  return kept.station !== undefined;
}

function keep(file: string, value: unknown): void {
  writeFileSync(`${file}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Of this machine's demo alone, easy to type: 10 characters of an alphabet without look-alikes, 49 bits. */
function newPassword(): string {
  const alphabet = 'abcdefghjkmnpqrstuvwxyz23456789';
  return Array.from({ length: 10 }, () => alphabet[randomInt(alphabet.length)]).join('');
}
