import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type Faults, isFault } from './store-faults.ts';
import { type Address, placeName, type Tube, type World, type WorldFile } from './store-world.ts';

/** A request that the side channel refuses, with its HTTP status. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** What people and accidents do to a store. */
interface Machine {
  readonly faults: Faults;
  /** triggers since the program's start */
  readonly triggers: { readonly taken: number; readonly refused: number };
  clearFaults(): void;
  setMode(mode: World['mode']): void;
  setDoor(open: boolean): void;
  setAlarm(on: boolean): void;
  setLockOut(on: boolean): void;
  powerCycle(offMs: number): void;
}

/** What the side channel works on. */
export interface Cell {
  readonly machine: Machine;
  readonly file: WorldFile;
  /** ends all connections of the wire, and new ones for some time */
  cutWire(forMs: number): void;
  /** what else this cell answers, by `METHOD /path`; null: nothing */
  also?(request: string, body: unknown): unknown;
}

/**
 * The side channel: what people and accidents do to the robot cell, and a look into it. JSON over HTTP.
 *
 *     GET    /world                                  tubes, carrier, floor, mode, latched number, triggers
 *     GET    /log                                    every motion, oldest first
 *     POST   /tubes   {tubes: [{cassette, level, slot, barcode, readable?}]}   put tubes there, all or none
 *     DELETE /tubes/{cassette}/{level}/{slot}        take one away
 *     PUT    /carrier {barcode, readable?}           put a tube into the carrier
 *     DELETE /carrier, DELETE /floor                 take it, or all from the floor, away
 *     GET    /faults, POST /faults {kind, …}, DELETE /faults
 *     POST   /mode {mode: auto | manual | estop}
 *     POST   /door {on}, /alarm {on}, /lock-out {on}   a service door, the store's alarm, the robot's lock-out
 *     POST   /power-cycle {offMs?}
 *     POST   /cut {forMs?}                           end the wire's connections
 */
export function createControlChannel(cell: Cell): Server {
  return createServer((request, response) => {
    answer(cell, request)
      .then((body) => ({ status: 200, body }))
      .catch((error: unknown) => ({
        status: error instanceof Refused ? error.status : 500,
        body: { error: error instanceof Error ? error.message : String(error) },
      }))
      .then(({ status, body }) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
      });
  });
}

async function answer(cell: Cell, request: IncomingMessage): Promise<unknown> {
  const { machine, file } = cell;
  const { world } = file;
  const path = new URL(request.url ?? '/', 'http://cell').pathname;
  const [, root = '', ...rest] = path.split('/');
  switch (`${request.method} /${root}`) {
    case 'GET /world':
      return { ...world, triggers: machine.triggers };
    case 'GET /log':
      return file.readLog();
    case 'POST /tubes':
      return putTubes(cell, field(await bodyOf(request), 'tubes'));
    case 'DELETE /tubes': {
      const [cassette, level, slot] = rest.map(Number);
      const place = placeName(addressFrom({ cassette, level, slot }));
      const tube = world.positions[place];
      if (!tube) throw new Refused(404, `no tube stands at ${place}`);
      delete world.positions[place];
      file.save();
      return tube;
    }
    case 'PUT /carrier': {
      if (world.carrier) throw new Refused(409, `the carrier holds ${world.carrier.barcode}`);
      world.carrier = tubeFrom(await bodyOf(request));
      file.save();
      return world.carrier;
    }
    case 'DELETE /carrier': {
      const tube = world.carrier;
      world.carrier = null;
      file.save();
      return { taken: tube };
    }
    case 'DELETE /floor': {
      const taken = world.floor.splice(0);
      file.save();
      return { taken };
    }
    case 'GET /faults':
      return machine.faults.list();
    case 'POST /faults': {
      const fault = await bodyOf(request);
      if (!isFault(fault)) throw new Refused(422, 'there is no such fault, or a field of it is wrong');
      machine.faults.add(fault);
      return machine.faults.list();
    }
    case 'DELETE /faults':
      machine.clearFaults();
      return [];
    case 'POST /mode': {
      const mode = field(await bodyOf(request), 'mode');
      if (mode !== 'auto' && mode !== 'manual' && mode !== 'estop') {
        throw new Refused(422, 'mode is auto, manual or estop');
      }
      machine.setMode(mode);
      return { mode };
    }
    case 'POST /door':
      return switched(await bodyOf(request), (on) => machine.setDoor(on));
    case 'POST /alarm':
      return switched(await bodyOf(request), (on) => machine.setAlarm(on));
    case 'POST /lock-out':
      return switched(await bodyOf(request), (on) => machine.setLockOut(on));
    case 'POST /power-cycle':
      machine.powerCycle(duration(await bodyOf(request), 'offMs', 200));
      return {};
    case 'POST /cut':
      cell.cutWire(duration(await bodyOf(request), 'forMs', 0));
      return {};
    default: {
      const also = cell.also?.(`${request.method} ${path}`, await bodyOf(request)) ?? null;
      if (also === null) throw new Refused(404, `there is no ${request.method} ${path}`);
      return also;
    }
  }
}

function putTubes({ file }: Cell, list: unknown): unknown {
  if (!Array.isArray(list)) throw new Refused(422, 'tubes is a list');
  const tubes = list.map((entry) => ({ place: placeName(addressFrom(entry)), tube: tubeFrom(entry) }));
  const taken = tubes.find(({ place }, index) => {
    return file.world.positions[place] || tubes.findIndex((other) => other.place === place) !== index;
  });
  if (taken) throw new Refused(409, `a tube stands at ${taken.place} already`);
  for (const { place, tube } of tubes) file.world.positions[place] = tube;
  file.save();
  return { placed: tubes.length };
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 1_000_000) throw new Refused(413, 'the body is larger than 1 MB');
  }
  try {
    return text === '' ? {} : JSON.parse(text);
  } catch {
    throw new Refused(400, 'the body is not JSON');
  }
}

export function field(body: unknown, name: string): unknown {
  return body !== null && typeof body === 'object'
    ? new Map<string, unknown>(Object.entries(body)).get(name)
    : undefined;
}

function switched(body: unknown, set: (on: boolean) => void): { on: boolean } {
  const on = field(body, 'on');
  if (typeof on !== 'boolean') throw new Refused(422, 'on is true or false');
  set(on);
  return { on };
}

function duration(body: unknown, name: string, preset: number): number {
  const value = field(body, name) ?? preset;
  if (typeof value !== 'number' || !(value >= 0))
    throw new Refused(422, `${name} is a number of milliseconds`);
  return value;
}

export function addressFrom(entry: unknown): Address {
  const part = (name: string): number => {
    const value = field(entry, name);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 65_535) {
      throw new Refused(422, `${name} is a whole number from 0 to 65535`);
    }
    return value;
  };
  return { cassette: part('cassette'), level: part('level'), slot: part('slot') };
}

export function tubeFrom(entry: unknown): Tube {
  const barcode = field(entry, 'barcode');
  if (typeof barcode !== 'string' || !/^[\x20-\x7e]{1,64}$/.test(barcode)) {
    throw new Refused(422, 'barcode is 1 to 64 printable ASCII characters');
  }
  return { barcode, readable: field(entry, 'readable') !== false };
}
