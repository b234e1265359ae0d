/**
 * A simulated vendor's store: worklists over TCP (protocol: devices/profiles/worklist-store.yaml), a world of tubes and
 * the store's own books on disk, and a side channel for what people and accidents do to it. It knows nothing of the
 * application.
 *
 *     node --import tsx devices/simulators/worklist-store.ts --data DIR [--port N] [--control-port N] [--host ADDRESS]
 *          [--handoff 9] [--speed 1] [--seed 1] [--forget-latched]
 *
 * --speed is a factor on every duration: 1 = as a real store, 0.1 = ten times as fast, 0 = at once. Ports left out are
 * chosen free. Beside what every simulated store's side channel answers (control-channel.ts):
 *
 *     POST /screen/add    {tubes: [{cassette, level, slot, barcode, readable?}]}   at its own screen: into world and books
 *     POST /screen/remove {cassette, level, slot}
 *     POST /screen/move   {from: {cassette, level, slot}, to: {…}}
 *     GET  /books                                    what the store believes
 *
 * POST and DELETE /tubes, in contrast, are hands inside the store that its books do not hear of. Prints
 * `ready worklist-store worklist=HOST:PORT control=HOST:PORT`.
 */
import { parseArgs } from 'node:util';
import { addressFrom, createControlChannel, field, Refused, tubeFrom } from './control-channel.ts';
import { listening } from './listening.ts';
import { openWorld } from './store-world.ts';
import { openBooks } from './worklist-books.ts';
import { WorklistMachine } from './worklist-machine.ts';
import { serveWorklists } from './worklist-server.ts';

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    'control-port': { type: 'string', default: '0' },
    handoff: { type: 'string', default: '9' },
    speed: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    'forget-latched': { type: 'boolean', default: false },
  },
});

function number(name: 'port' | 'control-port' | 'handoff' | 'speed' | 'seed', max: number): number {
  const value = Number(values[name]);
  if (!(value >= 0 && value <= max))
    throw new Error(`--${name} is a number from 0 to ${max}, not ${values[name]}`);
  return value;
}

if (!values.data) throw new Error('--data names the folder of the simulated world');
const file = openWorld(values.data);
const books = openBooks(values.data);
const machine = new WorklistMachine(file, books, {
  speed: number('speed', 1000),
  seed: number('seed', 4_294_967_295),
  handoffCassette: number('handoff', 65_535),
  forgetLatched: values['forget-latched'],
  onPowerLost: (offMs) => wire.cut(offMs),
});
const wire = await serveWorklists(machine, books, { host: values.host, port: number('port', 65_535) });

/** What a person does at the store's own screen. */
function atScreen(request: string, body: unknown): unknown {
  if (request.startsWith('POST /screen') && file.world.motion) throw new Refused(409, 'the store is busy');
  switch (request) {
    case 'GET /books':
      return books.books;
    case 'POST /screen/add': {
      const tubes = field(body, 'tubes');
      if (!Array.isArray(tubes)) throw new Refused(422, 'tubes is a list');
      for (const tube of tubes) {
        const refusal = machine.screenAdd(addressFrom(tube), tubeFrom(tube));
        if (refusal !== null) throw new Refused(409, refusal);
      }
      return { added: tubes.length };
    }
    case 'POST /screen/remove': {
      const tube = machine.screenRemove(addressFrom(body));
      if (tube === null) throw new Refused(404, 'no tube stands there');
      return tube;
    }
    case 'POST /screen/move': {
      const [from, to] = [addressFrom(field(body, 'from')), addressFrom(field(body, 'to'))];
      const tube = machine.screenRemove(from);
      if (tube === null) throw new Refused(404, 'no tube stands there');
      const refusal = machine.screenAdd(to, tube);
      if (refusal === null) return tube;
      machine.screenAdd(from, tube);
      throw new Refused(409, refusal);
    }
    default:
      return null;
  }
}

const control = createControlChannel({
  machine,
  file,
  cutWire: (forMs) => wire.cut(forMs),
  also: atScreen,
});
const controlPort = await listening(control, number('control-port', 65_535), values.host);

const stop = () => {
  control.closeAllConnections();
  control.close();
  wire.close().finally(() => process.exit(0));
};
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
process.on('disconnect', stop); // the parent that holds the other end of the channel is gone
console.log(
  `ready worklist-store worklist=${values.host}:${wire.port} control=${values.host}:${controlPort}`,
);
