import { createControlChannel } from './control-channel.ts';
import { listening } from './listening.ts';
import { StoreMachine } from './store-machine.ts';
import { openWorld } from './store-world.ts';

/** Options every simulated store has; --speed is a factor on every duration: 1 = as a real store, 0 = at once. */
export const STORE_OPTIONS = {
  data: { type: 'string' },
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', default: '0' },
  'control-port': { type: 'string', default: '0' },
  speed: { type: 'string', default: '1' },
  seed: { type: 'string', default: '1' },
  'forget-latched': { type: 'boolean', default: false },
} as const;

interface StoreValues {
  readonly data?: string | undefined;
  readonly host: string;
  readonly port: string;
  readonly 'control-port': string;
  readonly speed: string;
  readonly seed: string;
  readonly 'forget-latched': boolean;
}

/** What a store speaks. */
interface Wire {
  readonly port: number;
  /** ends every connection, and every new one for some time */
  cut(forMs: number): void;
  /** registers are lost */
  clear(): void;
  close(): Promise<void>;
}

export interface StoreProgram {
  /** of the program and of its protocol, as the line `ready NAME PROTOCOL=HOST:PORT …` tells them */
  readonly name: string;
  readonly protocol: string;
  /** after an error nothing moves until the error register has been reset */
  readonly errorStops: boolean;
  serve(machine: StoreMachine, at: { readonly host: string; readonly port: number }): Promise<Wire>;
}

/** A number from the command line. */
export function numberOption(name: string, value: string, max: number): number {
  const number = Number(value);
  if (!(number >= 0 && number <= max))
    throw new Error(`--${name} is a number from 0 to ${max}, not ${value}`);
  return number;
}

/** Runs a simulated store until it is told to end: its world on disk, its machine, its wire, and the side channel. */
export async function runStore(program: StoreProgram, values: StoreValues): Promise<void> {
  const { host } = values;
  if (!values.data) throw new Error('--data names the folder of the simulated world');
  const file = openWorld(values.data);
  const machine = new StoreMachine(file, {
    speed: numberOption('speed', values.speed, 1000),
    seed: numberOption('seed', values.seed, 4_294_967_295),
    forgetLatched: values['forget-latched'],
    errorStops: program.errorStops,
    onPowerLost(offMs) {
      wire.clear();
      wire.cut(offMs);
    },
  });
  const wire = await program.serve(machine, { host, port: numberOption('port', values.port, 65_535) });
  const control = createControlChannel({ machine, file, cutWire: (forMs) => wire.cut(forMs) });
  const controlPort = await listening(
    control,
    numberOption('control-port', values['control-port'], 65_535),
    host,
  );
  const stop = () => {
    control.closeAllConnections();
    control.close();
    wire.close().finally(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('disconnect', stop); // the parent that holds the other end of the channel is gone
  console.log(
    `ready ${program.name} ${program.protocol}=${host}:${wire.port} control=${host}:${controlPort}`,
  );
}
