/**
 * npm run mutants [-- WORD]: breaks one rule at a time in a copy of the sources and demands that the tests named beside
 * it turn red, and then one protection at a time and demands that a campaign (test/faults/campaign) finds what that does. A
 * mutant that survives means a rule nobody guards. Exits with 1 when one does. With the word "campaign": only the campaigns.
 */
import { spawnSync } from 'node:child_process';
import { Copy } from './breaking.ts';
import { CAMPAIGN_MUTANTS } from './campaign-mutants.ts';
import { MUTANTS } from './mutants.ts';

/** Of each campaign, which ends at its first finding. */
const CAMPAIGN = ['--sagas', '40', '--kills', '20', '--seed', '4', '--fail-fast'];
const CAMPAIGN_MS = 15 * 60_000;

const wanted = process.argv[2] ?? '';
const chosen = MUTANTS.filter(({ invariant, name }) => `${invariant} ${name}`.includes(wanted));
const chosenForCampaign = CAMPAIGN_MUTANTS.filter(({ name }) => `campaign: ${name}`.includes(wanted));
const copy = new Copy();
const survived: string[] = [];
try {
  testEach();
  campaignEach();
} finally {
  copy.remove();
}
const count = chosen.length + chosenForCampaign.length;
console.log(`${count - survived.length} of ${count} mutants killed`);
for (const name of survived) console.log(`SURVIVED ${name}`);
process.exit(survived.length === 0 ? 0 : 1);

function testEach(): void {
  const files = [...new Set(chosen.flatMap((mutant) => mutant.tests))];
  if (files.length === 0) return;
  const healthy = vitest(files);
  if (healthy.status !== 0) {
    console.error(healthy.text);
    throw new Error('the tests are red before anything is broken');
  }
  console.log(`green before: ${files.length} test files`);
  for (const { name, invariant, tests, ...edit } of chosen) {
    const run = copy.broken([edit], () => vitest(tests));
    const killed = run.status !== 0 && /(Tests|Test Files)\s+.*\d+ failed/.test(run.text);
    if (!killed) survived.push(name);
    console.log(`${killed ? 'killed  ' : 'SURVIVED'} invariant ${invariant}: ${name}`);
    if (!killed) console.log(run.text.slice(-3000));
  }
}

/** The same campaign, each time with another protection taken out. */
function campaignEach(): void {
  const rows: string[] = [];
  if (chosenForCampaign.length === 0) return;
  const healthy = campaign();
  if (healthy.status !== 0) {
    console.error(healthy.text);
    throw new Error('the campaign is red before anything is broken');
  }
  console.log('green before: the campaign');
  for (const { name, edits } of chosenForCampaign) {
    const since = Date.now();
    const run = copy.broken(edits, campaign);
    const seconds = Math.round((Date.now() - since) / 1000);
    // Only what the campaign found counts, not that it could not run.
    const found = run.status === 1 ? /^broken: (.+)\. Repeat/m.exec(run.text)?.[1] : undefined;
    if (found === undefined) survived.push(name);
    console.log(`${found === undefined ? 'SURVIVED' : 'killed  '} campaign: ${name}`);
    console.log(run.text.slice(found === undefined ? -3000 : run.text.indexOf('found:')).trimEnd());
    rows.push(`| ${name} | ${found ?? 'nothing'} | ${seconds} s |`);
  }
  console.log(['| without it | the campaign found | after |', '|---|---|---|', ...rows].join('\n'));
}

function vitest(tests: readonly string[]) {
  return run('npx', ['vitest', 'run', '--coverage.enabled=false', '--bail=1', ...tests]);
}

function campaign() {
  return run('node', ['stack/faults.mjs', ...CAMPAIGN], CAMPAIGN_MS);
}

function run(program: string, args: readonly string[], timeout?: number) {
  const { status, stdout, stderr } = spawnSync(program, args, {
    cwd: copy.folder,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
    maxBuffer: 64 * 1024 * 1024,
    ...(timeout !== undefined && { timeout }),
  });
  return { status, text: `${stdout}\n${stderr}` };
}
