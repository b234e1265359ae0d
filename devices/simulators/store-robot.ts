/**
 * A simulated store robot: a controller on Modbus TCP (register map: devices/profiles/store-robot.yaml), a world of
 * tubes on disk, and a side channel for what people and accidents do to it. It knows nothing of the application.
 *
 *     node --import tsx devices/simulators/store-robot.ts --data DIR [--port N] [--control-port N] [--host ADDRESS]
 *          [--unit 1] [--speed 1] [--seed 1] [--forget-latched]
 *
 * Ports left out are chosen free. Prints `ready store-robot modbus=HOST:PORT control=HOST:PORT`.
 */
import { parseArgs } from 'node:util';
import { ModbusRegisters } from './modbus-registers.ts';
import { serveModbus } from './modbus-server.ts';
import { numberOption, runStore, STORE_OPTIONS } from './store-program.ts';

const { values } = parseArgs({ options: { ...STORE_OPTIONS, unit: { type: 'string', default: '1' } } });
await runStore(
  {
    name: 'store-robot',
    protocol: 'modbus',
    errorStops: false,
    async serve(machine, at) {
      const registers = new ModbusRegisters(machine);
      const server = await serveModbus({
        ...at,
        unitId: numberOption('unit', values.unit, 255),
        registers,
        disturb: (functionCode, address) =>
          machine.faults.disturb(registers.isTrigger(functionCode, address)),
      });
      return { ...server, clear: () => registers.clear() };
    },
  },
  values,
);
