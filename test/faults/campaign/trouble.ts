import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../../../devices/simulators/store-faults.ts';
import type { Dice } from './dice.ts';
import type { Site } from './site.ts';

type Trouble = readonly [name: string, make: (site: Site, dice: Dice) => Promise<void>];

const fault = (name: string, make: (dice: Dice) => Fault): Trouble => [
  name,
  ({ cell }, dice) => cell.arm(make(dice)),
];

/** Switched off again after a moment: it lasts until then. */
const lasting = (name: string, make: (dice: Dice) => Fault): Trouble => [
  name,
  async ({ cell }, dice) => {
    await cell.arm(make(dice));
    await sleep(dice.between(300, 2_000));
    await cell.disarm();
  },
];

/** Once is not enough for what is tried again. */
async function times(count: number, make: () => Promise<void>): Promise<void> {
  for (let n = 0; n < count; n += 1) await make();
}

const PLACE_FAILS = { kind: 'motion_fault', operation: 'place', tube: 'carrier' } as const;
const WHEN = ['before', 'after'] as const;

const DROPS: readonly Trouble[] = [
  fault('tube dropped at the pick', () => ({ kind: 'drop', operation: 'pick' })),
  fault('tube dropped at the place', () => ({ kind: 'drop', operation: 'place' })),
];

/** What can happen to a robot, its wire and its doors. */
const TROUBLES: readonly Trouble[] = [
  fault('pick fails', (dice) => ({
    kind: 'motion_fault',
    operation: 'pick',
    tube: dice.pick(['source', 'carrier', 'floor']),
  })),
  fault('place fails', (dice) => ({
    kind: 'motion_fault',
    operation: 'place',
    tube: dice.pick(['carrier', 'target', 'floor']),
  })),
  [
    'place fails again and again',
    ({ cell }, dice) => times(dice.pick([2, 4, 6]), () => cell.arm(PLACE_FAILS)),
  ],
  ...DROPS,
  ...DROPS, // more often: of all troubles, these alone a person is always asked about
  fault('label unreadable', () => ({ kind: 'barcode_unreadable' })),
  ['label never readable', ({ cell }) => times(3, () => cell.arm({ kind: 'barcode_unreadable' }))],
  fault('another label', () => ({ kind: 'barcode_other', barcode: 'STRANGER' })),
  fault('cut at the trigger', (dice) => ({ kind: 'cut_at_trigger', when: dice.pick(WHEN) })),
  fault('late reply', (dice) => ({
    kind: 'late_reply',
    to: dice.pick(['trigger', 'any']),
    ms: dice.between(200, 3_000),
  })),
  fault('late trigger', (dice) => ({ kind: 'late_trigger', ms: dice.between(200, 3_000) })),
  fault('power cycle of the controller', (dice) => ({
    kind: 'power_cycle',
    when: dice.pick(WHEN),
    offMs: 300,
  })),
  lasting('robot stands still', (dice) => ({ kind: 'freeze', when: dice.pick(WHEN) })),
  lasting('sensor stuck', (dice) => ({
    kind: 'sensor_stuck',
    sensor: dice.pick(['carrier', 'source', 'target']),
    value: dice.chance(0.5),
  })),
  ['wire cut', ({ cell }, dice) => cell.cut(dice.between(0, 1_500))],
  ['emergency stop', ({ cell }) => cell.setMode('estop')],
  ['door opened', ({ cell }) => cell.turn('door', true)],
];

/**
 * Does something to a robot. One thing at a time each: of two at once, e.g. a dropped tube and a sensor that says it
 * arrived, nobody could know.
 * @returns what it was
 */
export async function makeTrouble(site: Site, dice: Dice): Promise<string> {
  const [name, make] = dice.pick(TROUBLES);
  await site.cell.disarm();
  await make(site, dice);
  return name;
}
