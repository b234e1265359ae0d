/**
 * A simulated store robot: a controller on Modbus TCP (register map: devices/profiles/store-robot.yaml), a world of
 * tubes on disk, and a side channel for what people and accidents do to it. It knows nothing of the application.
 *
 *     node --import tsx devices/simulators/store-robot.ts --data DIR [--port N] [--control-port N] [--host ADDRESS]
 *          [--unit 1] [--speed 1] [--seed 1] [--forget-latched]
 *
 * --speed is a factor on every duration: 1 = as a real store, 0.1 = ten times as fast, 0 = at once. Ports left out are
 * chosen free. Prints `ready store-robot modbus=HOST:PORT control=HOST:PORT`.
 */
import { parseArgs } from 'node:util';
import { createControlChannel } from './control-channel.ts';
import { listening, serveModbus } from './modbus-server.ts';
import { StoreController } from './store-controller.ts';
import { openWorld } from './store-world.ts';

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    'control-port': { type: 'string', default: '0' },
    unit: { type: 'string', default: '1' },
    speed: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    'forget-latched': { type: 'boolean', default: false },
  },
});

function number(name: 'port' | 'control-port' | 'unit' | 'speed' | 'seed', max: number): number {
  const value = Number(values[name]);
  if (!(value >= 0 && value <= max))
    throw new Error(`--${name} is a number from 0 to ${max}, not ${values[name]}`);
  return value;
}

if (!values.data) throw new Error('--data names the folder of the simulated world');
const file = openWorld(values.data);
const controller = new StoreController(file, {
  speed: number('speed', 1000),
  seed: number('seed', 4_294_967_295),
  forgetLatched: values['forget-latched'],
  onPowerLost: (offMs) => wire.cut(offMs),
});
const wire = await serveModbus({
  host: values.host,
  port: number('port', 65_535),
  unitId: number('unit', 255),
  registers: controller,
  disturb: (functionCode, address) => controller.disturb(functionCode, address),
});
const control = createControlChannel({ controller, file, cutWire: (forMs) => wire.cut(forMs) });
const controlPort = await listening(control, number('control-port', 65_535), values.host);

const stop = () => {
  control.closeAllConnections();
  control.close();
  wire.close().finally(() => process.exit(0));
};
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
process.on('disconnect', stop); // the parent that holds the other end of the channel is gone
console.log(`ready store-robot modbus=${values.host}:${wire.port} control=${values.host}:${controlPort}`);
