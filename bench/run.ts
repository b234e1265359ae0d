/**
 * npm run bench [-- NAME] [--json]: measures each figure beside the machine's own limit, in one run.
 * Exits with 1 when a ratio misses its target.
 */
import { earlyAnswer } from './early-answer.ts';
import { lastPosition } from './last-position.ts';
import { locationRead } from './location-read.ts';
import { placement } from './placement.ts';
import { placementByRobot } from './placement-by-robot.ts';
import { type Bench, meets, type Result, round } from './result.ts';
import { rackByTwoRobots, sagaOverhead, shift } from './robots-at-work.ts';

const BENCHES: Readonly<Record<string, Bench>> = {
  'early-answer': earlyAnswer,
  placement,
  'placement-by-robot': placementByRobot,
  'last-position': lastPosition,
  'location-read': locationRead,
  'saga-overhead': sagaOverhead,
  'rack-by-two-robots': rackByTwoRobots,
  shift,
};

const args = process.argv.slice(2);
const json = args.includes('--json');
const names = args.filter((arg) => arg !== '--json');
const unknown = names.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(
    `There is no benchmark ${unknown.join(', ')}. There are: ${Object.keys(BENCHES).join(', ')}.`,
  );
  process.exit(2);
}

const results: Result[] = [];
for (const [name, bench] of Object.entries(BENCHES)) {
  if (names.length > 0 && !names.includes(name)) continue;
  if (!json) console.log(`── ${name}`);
  for (const result of await bench()) {
    results.push(result);
    if (!json) print(result);
  }
}
if (json) console.log(JSON.stringify(results, null, 2));
process.exit(results.every(meets) ? 0 : 1);

function print(result: Result): void {
  const target = 'atLeast' in result.target ? `≥ ${result.target.atLeast}` : `≤ ${result.target.atMost}`;
  console.log(
    `${meets(result) ? '✓' : '✗'} ${result.name}: ${round(result.figure)} ${result.unit}, limit ${round(result.limit)}, ` +
      `ratio ${round(result.ratio)} (${target})`,
  );
  for (const [key, value] of Object.entries(result.detail)) {
    console.log(`    ${key}: ${typeof value === 'number' ? round(value) : value}`);
  }
}
