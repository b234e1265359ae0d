import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Motion } from '../../db/motion.ts';
import { MotionLab } from './motion-lab.ts';
import { type CellDriver, RobotCell, type Spawned, start } from './robot-cell.ts';

const GATEWAY_ARGS = ['--wire-timeout-ms', '150', '--motion-deadline-ms', '20000', '--look-every-ms', '200'];

/** What the gateway says of a command that surely moved nothing. */
const NOTHING_MOVED = /^the (command was not sent|controller (did not take|refused) the command)/;

/** Small seeded generator of numbers from 0 to 1. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}

/**
 * Picks and places one tube for ever, while gateways and controller are killed, the wire is cut and its messages come
 * late, all by the seed. Demands that nothing moves twice, that what is DONE was done, that what is called not sent, not
 * taken or refused did not move, and that the tube is still there.
 * @returns a sentence with the seed and how the motions ended
 */
export async function runGatewayCampaign(driver: CellDriver, seed: number, motions: number): Promise<string> {
  const random = generator(seed);
  const lab = await MotionLab.open();
  const cell = await RobotCell.open(['--speed', '0.02', '--seed', String(seed)], driver);
  const gateways: Spawned[] = [];
  const startGateway = async () => {
    gateways.push(await start('workers/gateway.ts', GATEWAY_ARGS, lab.environment('127.0.0.1:9')));
  };
  const robot = await lab.addRobot(cell.port, driver);
  await cell.putTube(1, 1, 1, 'TUBE-1');
  await startGateway();
  const ended: Motion[] = [];
  const disturbances: Record<string, () => Promise<unknown>> = {
    nothing: async () => undefined,
    'kill gateway': async () => {
      await Promise.all(gateways.splice(0).map((gateway) => gateway.kill()));
      await startGateway();
    },
    'second gateway': async () => {
      await startGateway();
      await gateways.shift()?.kill();
    },
    'kill controller': () => cell.restart(),
    'cut wire': () => cell.cut(random() * 300),
    'cut before trigger': () => cell.fault({ kind: 'cut_at_trigger', when: 'before' }),
    'cut after trigger': () => cell.fault({ kind: 'cut_at_trigger', when: 'after' }),
    'no reply': () => cell.fault({ kind: 'no_reply_to_trigger', when: random() < 0.5 ? 'before' : 'after' }),
    'another’s reply': () =>
      cell.fault({ kind: 'wrong_transaction', to: random() < 0.5 ? 'trigger' : 'any' }),
    'late trigger': () => cell.fault({ kind: 'late_trigger', ms: random() * 600 }),
    'late reply': () =>
      cell.fault({ kind: 'late_reply', to: random() < 0.5 ? 'trigger' : 'any', ms: random() * 400 }),
    'power cycle': () =>
      cell.fault({ kind: 'power_cycle', when: random() < 0.5 ? 'before' : 'after', offMs: 100 }),
  };
  const kinds = Object.keys(disturbances);
  const told: string[] = [];
  try {
    for (let count = 0; count < motions; count++) {
      const { carrier } = await cell.world();
      const kind = kinds[Math.floor(random() * kinds.length)] ?? 'nothing';
      const strikesFirst = random() < 0.5;
      const strike = async () => {
        told.push(`${count}: ${kind}`);
        await disturbances[kind]?.();
      };
      if (strikesFirst) await strike();
      const { commandId } = await lab.accept(robot, carrier ? 'place' : 'pick', 1);
      if (!strikesFirst) {
        await sleep(random() * 120); // anywhere in the life of the command
        await strike();
      }
      const motion = await lab.settled(robot, commandId, 30_000);
      ended.push(motion);
      await cell.clearFaults();
    }
    const log = await cell.log();
    const numbers = log.map(({ number }) => number);
    expect(new Set(numbers).size, 'motions per number').toBe(numbers.length);
    for (const { number, state, reading } of ended) {
      const moved = log.find((line) => line.number === number);
      if (state === 'DONE') expect(moved, `motion ${number} is DONE`).toMatchObject({ result: 'done' });
      if (NOTHING_MOVED.test(reading?.detail ?? ''))
        expect(moved, `motion ${number}: ${reading?.detail}`).toBeUndefined();
    }
    const world = await cell.world();
    const tubes = [
      ...Object.values(world.positions),
      ...(world.carrier ? [world.carrier] : []),
      ...world.floor,
    ];
    expect(tubes).toHaveLength(1);
  } catch (error) {
    throw new Error(`seed ${seed}; disturbances ${told.slice(-5).join(', ')}`, { cause: error });
  } finally {
    await Promise.all(gateways.map((gateway) => gateway.kill()));
    await cell.close();
    await lab.close();
  }
  const count = (state: Motion['state']) =>
    `${state} ${ended.filter((motion) => motion.state === state).length}`;
  const states = (['DONE', 'FAILED', 'UNKNOWN'] as const).map(count);
  return `gateway campaign on ${driver}, seed ${seed}: ${motions} motions, ${states.join(', ')}`;
}
