/**
 * npm run faults [-- --sagas N] [--kills N] [--seed N] [--fail-fast] [--cluster]: the campaign. Exits with 1 when a promise was broken.
 */
import { parseArgs } from 'node:util';
import { runCampaign } from './campaign.ts';
import { isClean } from './findings.ts';

const USAGE = `Lets a laboratory work while its parts are killed: npm run faults [-- ARGUMENTS]

  --sagas N    placements, retrievals and moves by robot (otherwise 1000)
  --kills N    processes killed on the way (otherwise 500)
  --seed N     the same seed, the same throws (otherwise a new one, printed first)
  --fail-fast  ends at the first finding
  --cluster    Temporal as in production: its real server on PostgreSQL, with mutual TLS
  --help       this text

As root on Linux the power is cut once as well: what nobody synced is lost then.`;

const { values, positionals } = parseArgs({
  options: {
    sagas: { type: 'string', default: '1000' },
    kills: { type: 'string', default: '500' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'fail-fast': { type: 'boolean', default: false },
    cluster: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
  allowPositionals: true,
  strict: false,
});
const unknown =
  positionals[0] ??
  Object.keys(values).find((name) => !/^(sagas|kills|seed|fail-fast|cluster|help)$/.test(name));
if (unknown !== undefined) {
  console.error(`npm run faults does not know '${unknown}'.\n\n${USAGE}`);
  process.exit(2);
}
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
// The laboratory is stopped when this process ends, which it does not by itself on this signal.
process.once('SIGTERM', () => process.exit(3));
const campaign = await runCampaign({
  sagas: wholeNumber('sagas'),
  kills: wholeNumber('kills'),
  seed: wholeNumber('seed'),
  cluster: values.cluster === true,
  failFast: values['fail-fast'] === true,
  say: (line) => console.log(line),
});
process.exit(isClean(campaign.findings) ? 0 : 1);

function wholeNumber(name: 'sagas' | 'kills' | 'seed'): number {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value >= 0) return value;
  console.error(`--${name} needs a whole number, not '${values[name]}'.`);
  process.exit(2);
}
