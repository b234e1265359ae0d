/**
 * A simulated store whose controller takes ASCII commands over TCP in the manner of a LiCONiC STX (command set:
 * devices/profiles/ascii-store.yaml), with a world of tubes on disk and a side channel for what people and accidents do
 * to it. It knows nothing of the application.
 *
 *     node --import tsx devices/simulators/ascii-store.ts --data DIR [--port N] [--control-port N] [--host ADDRESS]
 *          [--speed 1] [--seed 1] [--forget-latched]
 *
 * Ports left out are chosen free. Prints `ready ascii-store ascii=HOST:PORT control=HOST:PORT`.
 */
import { parseArgs } from 'node:util';
import { AsciiRegisters } from './ascii-registers.ts';
import { serveAscii } from './ascii-server.ts';
import { runStore, STORE_OPTIONS } from './store-program.ts';

const { values } = parseArgs({ options: STORE_OPTIONS });
await runStore(
  {
    name: 'ascii-store',
    protocol: 'ascii',
    errorStops: true,
    async serve(machine, at) {
      const registers = new AsciiRegisters(machine);
      const server = await serveAscii({
        ...at,
        answer: (line) => registers.answer(line),
        disturb: (line) => machine.faults.disturb(registers.isTrigger(line)),
      });
      return { ...server, clear: () => registers.clear() };
    },
  },
  values,
);
